//! `conex blob`: single blobs, out of a place and into it.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

use conex_spec::{Descriptor, Digest, Error, Kind, Location, MediaType, Name, Result};
use conex_store::blobs::Blobs;
use conex_store::bridge::{blocking, file_stream};
use conex_store::commit::Folder;
use conex_store::{ByteStream, Event, Source, SourceExt};

use crate::open::{Context, name_in};

/// A blob, and where it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Where it is.
    pub location: Location,
    /// Its digest and its size in bytes.
    pub blob: Descriptor,
    /// Whether it was there before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub present: Option<bool>,
}

/// Looks for a blob: in a registry by one HEAD request.
///
/// # Errors
/// `NotFound` where it is not there.
pub async fn head(context: &Context, location: &Location) -> Result<Report> {
    let (_, blob) = find(context, location).await?;
    Ok(Report { location: location.clone(), blob, present: None })
}

/// A blob as a stream that ends in an error unless it is what its digest says.
pub async fn get(context: &Context, location: &Location) -> Result<(Descriptor, ByteStream)> {
    let (source, blob) = find(context, location).await?;
    let content = source.fetch(&blob).await?;
    Ok((blob, content))
}

async fn find(context: &Context, location: &Location) -> Result<(Arc<dyn Source>, Descriptor)> {
    let digest = digest_in(location)?;
    let source = context.source(location)?;
    let blob = match location {
        Location::Registry(reference) => {
            let repository = context.client.repository(reference);
            match repository.find_blob(&digest).await {
                // A manifest is a blob to its digest.
                Err(err) if err.kind() == Kind::NotFound => {
                    source.resolve(Some(&Name::Digest(digest))).await.map_err(|_| err)?
                }
                blob => blob?,
            }
        }
        // Which image of the local store it belongs to is all one.
        Location::Store(_) => in_store(context, location, digest).await?,
        _ => source.resolve(Some(&Name::Digest(digest))).await?,
    };
    Ok((source, blob))
}

async fn in_store(context: &Context, location: &Location, digest: Digest) -> Result<Descriptor> {
    let keep = context.keep_of(location)?;
    blocking(move || {
        let size = match keep.folder() {
            Some(folder) => Blobs(folder).look(&digest)?,
            None => None,
        };
        match size {
            Some((size, _)) => Ok(Descriptor::new(MediaType::OCTETS, digest, size)),
            None => Err(Error::not_found(format!("{digest} is not in the local store"))),
        }
    })
    .await
}

fn digest_in(location: &Location) -> Result<Digest> {
    match name_in(location)? {
        Some(Name::Digest(digest)) => Ok(digest),
        _ => Err(Error::new(Kind::Usage, format!("{location} names no blob"))
            .expected("LOCATION@DIGEST")),
    }
}

/// Puts what a file holds into a place, under its digest: by the algorithm of the digest that the
/// location names, which it must then have. What is no regular file is read once, and waits in a
/// file without a name in the meantime.
///
/// # Errors
/// `Mismatch` where the location names another digest.
pub async fn put(
    context: &Context,
    location: &Location,
    file: File,
    media_type: MediaType,
) -> Result<Report> {
    let named = match location.name() {
        Some(Name::Digest(digest)) => Some(digest),
        Some(Name::Tag(tag)) => {
            return Err(Error::new(Kind::Usage, "a blob has no tag")
                .expected("a place, or LOCATION@DIGEST")
                .found(tag));
        }
        None => None,
    };
    if matches!(location, Location::OciArchive { .. } | Location::DockerArchive { .. }) {
        return Err(crate::manifest::whole_archive(location));
    }
    let spool = context.stage_folder(location)?.to_owned();
    let (file, blob) = blocking(move || described(file, &spool, named, media_type)).await?;
    let sink = context.sink(location)?;
    let present = sink.has(&blob).await?;
    if present {
        context.observer.event(Event::Present(&blob));
    } else {
        context.observer.event(Event::Started(&blob));
        let content = file_stream(Arc::new(file), 0..blob.size, "cannot read the blob".into());
        sink.put(&blob, content).await?;
        context.observer.event(Event::Done(&blob));
    }
    Ok(Report { location: location.clone(), blob, present: Some(present) })
}

/// The file from its beginning, or its content in another one, and what it holds.
fn described(
    mut file: File,
    spool: &Path,
    named: Option<Digest>,
    media_type: MediaType,
) -> Result<(File, Descriptor)> {
    let cannot = |err| Error::from_io(err, || "cannot read the blob".into());
    let mut hasher = match &named {
        Some(named) => named.algorithm()?.hasher(),
        None => conex_spec::Algorithm::Sha256.hasher(),
    };
    let regular = file.metadata().map_err(cannot)?.is_file();
    let mut copy = match regular {
        true => None,
        false => Some(Folder::create(spool)?.temporary_file()?),
    };
    let (mut size, mut buffer) = (0, vec![0; 1 << 18]);
    loop {
        let count = file.read(&mut buffer).map_err(cannot)?;
        if count == 0 {
            break;
        }
        hasher.update(&buffer[..count]);
        if let Some(copy) = &mut copy {
            let written = copy.write_all(&buffer[..count]);
            written.map_err(|err| Error::from_io(err, || "cannot keep the blob".into()))?;
        }
        size += count as u64;
    }
    let digest = hasher.finish();
    if let Some(named) = named {
        named.check(&digest, || "the content has another digest than its location names".into())?;
    }
    let mut file = copy.unwrap_or(file);
    file.rewind().map_err(cannot)?;
    Ok((file, Descriptor::new(media_type, digest, size)))
}

/// Deletes a blob of a registry, whatever needs it.
pub async fn delete(context: &Context, location: &Location) -> Result<Report> {
    let Location::Registry(reference) = location else {
        return Err(Error::new(
            Kind::Unsupported,
            format!("{location} keeps what its images need"),
        )
        .hint("`conex gc` removes blobs that no image needs"));
    };
    let digest = digest_in(location)?;
    let repository = context.client.repository(reference);
    let blob = repository.find_blob(&digest).await?;
    repository.delete_blob(&digest).await?;
    Ok(Report { location: location.clone(), blob, present: None })
}

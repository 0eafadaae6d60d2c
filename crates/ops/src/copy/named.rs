//! The images that a chart of Helm or a bundle of CNAB names, carried along with it.
//!
//! A bundle is an index of its images: they are where it is. A chart only names its own, so each goes
//!
//! - into a registry: to the same path there, under the same tag, as `mirror.example/team/app:1` for
//!   `registry.example/team/app:1`;
//! - anywhere else: beside the chart, under its whole name as a tag, where it is found again by a copy
//!   that goes on from there to a registry.
//!
//! The chart stays as it is: whoever installs it says where the images are now.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use serde::Serialize;

use conex_spec::{
    Descriptor, Digest, Error, Kind, Location, Manifest, Name, Reference, Result, Tag,
};
use conex_store::bridge::blocking;
use conex_store::source::Place;
use conex_store::{Sink, Source, SourceExt};

use super::engine::{Engine, Task};
use super::remembered::Remembered;
use super::request::Request;
use super::unchanged::standing;
use super::{CopyOptions, Summary, ended};
use crate::cnab;
use crate::helm::{self, archive, images};
use crate::open::Context;

/// More images than this names no real chart; each one may be a host to ask.
const MAX_IMAGES: usize = 1000;
/// How many are looked for at a time.
const LOOKS: usize = 8;

/// What became of the images that were named.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Images {
    /// Those that came along.
    pub carried: Vec<Carried>,
    /// Those that did not.
    pub left: Vec<Left>,
}

/// An image that came along.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Carried {
    /// Its name, as it is written or put together.
    pub image: String,
    /// The file that names it, and where there.
    pub at: String,
    /// The chart or the bundle.
    pub of: Digest,
    /// Where it is now.
    pub to: Location,
    /// Its manifest or index.
    pub root: Descriptor,
}

/// An image that did not come along.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Left {
    /// Its name, as it is written or put together.
    pub image: String,
    /// The file that names it, and where there.
    pub at: String,
    /// The chart.
    pub of: Digest,
    /// Why it did not.
    pub why: String,
    /// Whether it should have: a name that is filled in later cannot be followed, which is no fault.
    pub missing: bool,
    #[serde(skip)]
    kind: Option<Kind>,
}

impl Images {
    /// An error where an image that can be told is missing.
    ///
    /// # Errors
    /// That of the first.
    pub(super) fn check(&self) -> Result<()> {
        let mut missing = self.left.iter().filter(|left| left.missing);
        let Some(first) = missing.next() else { return Ok(()) };
        let others = match missing.count() {
            0 => String::new(),
            count => format!(" (and {count} more)"),
        };
        let kind = first.kind.unwrap_or(Kind::NotFound);
        Err(Error::new(kind, format!("the image {}{others} did not come along", first.image))
            .expected(format!("it where {} names it", first.at))
            .found(&first.why)
            .hint("all else was copied; copy the image by itself, or mend its name"))
    }
}

/// What a copy is to carry along.
pub(super) struct Company<'a> {
    context: &'a Context,
    request: &'a Request,
    from: &'a Remembered<'a>,
    found: Vec<Found>,
    /// What is known of it by now.
    pub(super) images: Images,
}

struct Found {
    named: Wanted,
    /// Nothing where it is beside the chart.
    source: Option<Arc<dyn Source>>,
    root: Descriptor,
    to: Location,
    names: Vec<Tag>,
}

#[derive(Clone)]
struct Wanted {
    image: String,
    reference: Reference,
    at: String,
    of: Digest,
}

impl<'a> Company<'a> {
    /// Finds the images of all roots that are charts or bundles; nothing moves yet.
    ///
    /// # Errors
    /// `Usage` where the only root is neither, `Invalid` for a chart that cannot be read.
    pub(super) async fn find(
        context: &'a Context,
        request: &'a Request,
        from: &'a Remembered<'a>,
        tasks: &[Task],
    ) -> Result<Self> {
        if matches!(request.to, Location::DockerArchive { .. } | Location::DockerDaemon(_)) {
            return Err(Error::new(Kind::Usage, format!("{} holds no charts", request.to))
                .expected("a registry, `oci:DIR`, `oci-archive:FILE` or `store:NAME`"));
        }
        let mut company =
            Self { context, request, from, found: Vec::new(), images: Images::default() };
        let mut wanted = Vec::new();
        for task in tasks {
            let known = company.read(&task.root, &mut wanted).await?;
            if !known && request.tags.is_none() {
                return Err(Error::new(Kind::Usage, format!("{} names no images", request.from))
                    .expected("a chart of Helm or a bundle of CNAB")
                    .found(&task.root.media_type)
                    .hint("without `--images` it is copied as it is"));
            }
        }
        company.look(wanted, tasks).await?;
        Ok(company)
    }

    /// What one root names; false where it is neither chart nor bundle.
    async fn read(&mut self, root: &Descriptor, wanted: &mut Vec<Wanted>) -> Result<bool> {
        let of = &root.digest;
        let left = |named: images::Named, why: String| Left {
            image: named.image,
            at: named.at,
            of: of.clone(),
            missing: false,
            kind: None,
            why,
        };
        match self.from.manifest(root).await?.into_value() {
            Manifest::Image(manifest) if helm::pull::is_chart(&manifest) => {
                let names = chart_images(self.from, &manifest).await?;
                for named in names.images {
                    match named.reference() {
                        Ok(reference) => {
                            let images::Named { image, at } = named;
                            wanted.push(Wanted { image, reference, at, of: of.clone() });
                        }
                        Err(err) => {
                            let kind = Some(err.kind());
                            let left = left(named, "no name of an image in a registry".into());
                            self.images.left.push(Left { missing: true, kind, ..left });
                        }
                    }
                }
                let later = |named| left(named, "filled in when the chart is installed".into());
                self.images.left.extend(names.filled_in.into_iter().map(later));
                Ok(true)
            }
            Manifest::Index(index) if cnab::index::is_bundle(&index) => {
                let from = self.request.from.with_name(Name::Digest(of.clone()))?;
                let bundle = cnab::pull::bundle(self.from, &index, &from).await?;
                for (part, image, root) in cnab::index::images(&index, &bundle, &from)? {
                    self.images.carried.push(Carried {
                        image: image.image.clone(),
                        at: format!("bundle.json {}", part.field()),
                        of: of.clone(),
                        to: self.request.to.with_name(Name::Digest(root.digest.clone()))?,
                        root: root.bare(),
                    });
                }
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// Looks for each image once, and for a place of its own.
    async fn look(&mut self, mut wanted: Vec<Wanted>, tasks: &[Task]) -> Result<()> {
        let mut seen = HashSet::new();
        wanted.retain(|wanted| seen.insert(wanted.reference.to_string()));
        if wanted.len() > MAX_IMAGES {
            return Err(Error::new(Kind::Limit, "too many images are named")
                .expected(format!("at most {MAX_IMAGES}"))
                .found(wanted.len()));
        }
        let looks = wanted.iter().map(|wanted| self.resolve(wanted));
        let looked: Vec<_> = stream::iter(looks).buffered(LOOKS).collect().await;
        // By the place and the name there: what it is to be.
        let mut taken: HashMap<(String, Tag), Digest> = HashMap::new();
        let place = self.request.to.place();
        for task in tasks {
            let names = task.names.iter().cloned();
            taken.extend(names.map(|name| ((place.clone(), name), task.root.digest.clone())));
        }
        for (named, looked) in wanted.into_iter().zip(looked) {
            let (source, root) = match looked {
                Ok(found) => found,
                Err(err) => {
                    self.leave(named, err.to_string(), err.kind());
                    continue;
                }
            };
            let (to, names) = destination(&self.request.to, &named.reference)?;
            let other = |name: &Tag| {
                let at = (to.place(), name.clone());
                taken.get(&at).is_some_and(|digest| *digest != root.digest)
            };
            if names.iter().any(other) {
                self.leave(named, format!("{to} is to be something else"), Kind::Conflict);
                continue;
            }
            taken
                .extend(names.iter().map(|name| ((to.place(), name.clone()), root.digest.clone())));
            self.found.push(Found { named, source, root, to, names });
        }
        Ok(())
    }

    /// Where an image is: beside the chart under its whole name, or where that says.
    async fn resolve(&self, wanted: &Wanted) -> Result<(Option<Arc<dyn Source>>, Descriptor)> {
        if !matches!(self.from.location(), Location::Registry(_)) {
            for name in names_beside(&wanted.reference) {
                match self.from.resolve(Some(&name)).await {
                    Ok(root) => return Ok((None, root)),
                    Err(err) if err.kind() == Kind::NotFound => {}
                    Err(err) => return Err(err),
                }
            }
        }
        let place = Location::Registry(wanted.reference.clone());
        let (source, root) = self.context.resolve(&place).await?;
        Ok((Some(source), root))
    }

    /// Copies all images that were found. `sink` is where the charts go.
    pub(super) async fn copy(
        &mut self,
        sink: &Arc<dyn Sink>,
        options: &CopyOptions,
    ) -> Result<Summary> {
        let mut summary = Summary::default();
        for found in std::mem::take(&mut self.found) {
            let elsewhere = matches!(found.to, Location::Registry(_));
            let sink = if elsewhere { &self.context.sink(&found.to)? } else { sink };
            let there = standing(sink.as_ref(), &found.names).await?;
            let taken = there.iter().flatten().any(|digest| *digest != found.root.digest);
            if taken && self.request.no_clobber {
                let why = format!("{} stands for something else, and was left so", found.to);
                self.leave(found.named, why, Kind::Conflict);
                continue;
            }
            let from = found.source.as_deref().unwrap_or(self.from);
            let from = Remembered::new(from);
            let task = Task::new(&found.root, found.names.clone());
            let task = Task { standing: Some(there), ..task };
            let mut engine = Engine::new(&from, sink.as_ref(), options, &self.context.observer);
            let mut copied = engine.run(&[task]).await;
            if elsewhere && !options.dry_run {
                copied = ended(sink.as_ref(), copied).await;
            }
            // What is unchanged is counted for what the command was told to copy.
            summary.merge(Summary { unchanged: 0, ..copied? });
            let Found { named: Wanted { image, at, of, .. }, to, root, .. } = found;
            self.images.carried.push(Carried { image, at, of, to, root: root.bare() });
        }
        Ok(summary)
    }

    fn leave(&mut self, named: Wanted, why: String, kind: Kind) {
        let Wanted { image, at, of, .. } = named;
        self.images.left.push(Left { image, at, of, why, missing: true, kind: Some(kind) });
    }
}

/// The images that a chart names, read out of its archive.
async fn chart_images(
    from: &dyn Source,
    manifest: &conex_spec::ImageManifest,
) -> Result<images::Names> {
    let layer = helm::pull::archive_of(manifest, from.location())?;
    let bytes = helm::pull::read_archive(from, layer).await?;
    let name = format!("the chart in {}", from.location());
    blocking(move || images_of(&bytes, &name)).await
}

fn images_of(archive: &Bytes, name: &str) -> Result<images::Names> {
    let contents = archive::read(archive.as_ref(), name)?;
    images::images(&contents).map_err(|err| err.context(name))
}

/// Where an image goes, and under which names.
fn destination(to: &Location, image: &Reference) -> Result<(Location, Vec<Tag>)> {
    let tag = match (image.tag(), image.digest()) {
        (Some(tag), _) => Some(tag.clone()),
        (None, Some(_)) => None,
        (None, None) => Some(Tag::registry("latest")?),
    };
    if let Location::Registry(reference) = to {
        let there = Reference::new(reference.registry(), image.repository())?;
        let there = Location::Registry(there.with_name(image.name_or_latest())?);
        return Ok((there, tag.into_iter().collect()));
    }
    let Some(tag) = tag else {
        let digest = image.name_or_latest();
        return Ok((beside(to, image, digest)?, Vec::new()));
    };
    let whole = Tag::new(&image.without_name().with_tag(tag)?.to_string())?;
    Ok((beside(to, image, Name::Tag(whole.clone()))?, vec![whole]))
}

fn beside(to: &Location, image: &Reference, name: Name) -> Result<Location> {
    match to {
        Location::Store(_) => Ok(Location::Store(image.clone())),
        _ => to.with_name(name),
    }
}

/// What an image may be called beside its chart.
fn names_beside(image: &Reference) -> Vec<Name> {
    if let Some(digest) = image.digest() {
        return vec![Name::Digest(digest.clone())];
    }
    let Name::Tag(tag) = image.name_or_latest() else { return Vec::new() };
    let Ok(whole) = image.without_name().with_tag(tag) else { return Vec::new() };
    let texts = [whole.to_string(), whole.familiar()];
    texts.iter().filter_map(|text| Tag::new(text).ok()).map(Name::Tag).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(place: &str, image: &str) -> (String, Vec<String>) {
        let (to, names) = destination(&place.parse().unwrap(), &image.parse().unwrap()).unwrap();
        (to.to_string(), names.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn each_image_has_a_place_of_its_own() {
        let digest = Digest::sha256(b"x");
        let mirror = "mirror.example:5000/charts/app:1";
        let place = |to: &str, names: &[&str]| {
            (to.to_owned(), names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
        };
        for (image, path, tags) in [
            ("r.example/team/app:1", "team/app:1", vec!["1"]),
            ("nginx", "library/nginx:latest", vec!["latest"]),
            (&format!("r.example/app@{digest}"), &format!("app@{digest}"), vec![]),
            (&format!("r.example/app:1@{digest}"), &format!("app@{digest}"), vec!["1"]),
        ] {
            assert_eq!(to(mirror, image), place(&format!("mirror.example:5000/{path}"), &tags));
        }
        let whole = "docker.io/library/nginx:1";
        assert_eq!(to("oci:./dir:1", "nginx:1"), place(&format!("oci:./dir:{whole}"), &[whole]));
        assert_eq!(to("store:app:1", "r.example/a:1").0, "store:r.example/a:1");
        let (there, names) = to("oci:./dir", &format!("r.example/a@{digest}"));
        assert_eq!((there, names.len()), (format!("oci:./dir@{digest}"), 0));
        let found = names_beside(&"nginx:1".parse().unwrap());
        let found: Vec<_> = found.iter().map(ToString::to_string).collect();
        assert_eq!(found, [whole, "nginx:1"]);
    }
}

//! Images out of an engine. <https://docs.docker.com/reference/api/engine/>, "Export several images".

use std::ops::Range;
use std::path::PathBuf;

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};
use reqwest::Url;
use tokio::sync::OnceCell;

use conex_spec::{Descriptor, Digest, Error, Kind, Location, Name, Reference, Result, Tag};
use conex_store::archive::{DockerArchive, Input};
use conex_store::source::Place;
use conex_store::{ByteStream, Source, bridge};

use super::{Connected, Engine};

/// One image of an engine. The engine is asked when something is read; what it sends is spooled.
#[derive(Debug)]
pub struct DaemonSource {
    engine: Engine,
    image: Name,
    location: Location,
    spool: PathBuf,
    archive: OnceCell<DockerArchive>,
}

impl DaemonSource {
    /// An image as the engine calls it. What the engine sends goes to a nameless file in the
    /// folder `spool`.
    pub fn new(engine: Engine, image: Name, spool: PathBuf) -> Self {
        let location = Location::DockerDaemon(image.clone());
        Self { engine, image, location, spool, archive: OnceCell::new() }
    }

    async fn archive(&self) -> Result<&DockerArchive> {
        self.archive.get_or_try_init(|| self.save()).await
    }

    async fn save(&self) -> Result<DockerArchive> {
        let engine = self.engine.connect().await?;
        let content = self.request(engine).await.map_err(|err| err.context(&self.location))?;
        let input = Input::Stream(Box::new(bridge::reader(content)));
        Ok(DockerArchive::new(input, self.location.clone(), self.spool.clone()))
    }

    async fn request(&self, engine: Connected) -> Result<ByteStream> {
        let mut url: Url = "http://engine/images/get"
            .parse()
            .map_err(|_| Error::new(Kind::Io, "cannot name the engine"))?;
        url.query_pairs_mut().append_pair("names", &asked(&self.image));
        let sent = engine.http.get(url).send().await;
        let response = sent.map_err(|err| engine.lost(err))?;
        if !response.status().is_success() {
            return Err(engine.refused(response, "cannot save the image").await);
        }
        let content = response.bytes_stream();
        Ok(content.map_err(move |err| engine.lost(err)).boxed())
    }
}

/// How an engine is asked for exactly one image: a repository without a tag would mean all of its
/// tags. What has the form of an image ID is left as it is.
fn asked(image: &Name) -> String {
    let text = image.as_str();
    let is_id = text.len() >= 12 && text.bytes().all(|b| b.is_ascii_hexdigit());
    match text.parse::<Reference>() {
        Ok(reference) if reference.name().is_none() && !is_id => format!("{text}:latest"),
        _ => text.to_owned(),
    }
}

impl Place for DaemonSource {
    fn location(&self) -> &Location {
        &self.location
    }
}

#[async_trait]
impl Source for DaemonSource {
    async fn resolve(&self, name: Option<&Name>) -> Result<Descriptor> {
        // There is one image in the archive, by whatever name it was asked for.
        let name = name.filter(|name| **name != self.image);
        self.archive().await?.resolve(name).await
    }

    async fn open(&self, blob: &Descriptor, range: Range<u64>) -> Result<ByteStream> {
        self.archive().await?.open(blob, range).await
    }

    async fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>> {
        self.archive().await?.referrers(subject).await
    }

    fn tags(&self) -> BoxStream<'_, Result<Tag>> {
        let tags = async { Ok::<_, Error>(self.archive().await?.tags()) };
        futures_util::stream::once(tags).try_flatten().boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_is_asked_for_one_image() {
        let id = Digest::sha256(b"").to_string();
        for (image, expected) in [
            ("app", "app:latest"),
            ("localhost/team/app", "localhost/team/app:latest"),
            ("app:1", "app:1"),
            ("1a2de1042613", "1a2de1042613"),
            (id.as_str(), id.as_str()),
        ] {
            let location = format!("docker-daemon:{image}").parse::<Location>().unwrap();
            assert_eq!(asked(&location.name().unwrap()), expected);
        }
    }
}

//! Images into an engine. <https://docs.docker.com/reference/api/engine/>, "Import images".

use std::io;
use std::sync::Mutex as Lock;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream;
use reqwest::Body;
use reqwest::header::CONTENT_TYPE;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;

use conex_spec::{Descriptor, Error, Kind, Location, Name, Result, Tag};
use conex_store::archive::{ArchiveSink, Form, Output};
use conex_store::source::Place;
use conex_store::{ByteStream, Sink};

use super::{Engine, told_in};

/// How many pieces may wait to be sent.
const QUEUE: usize = 4;

/// An image on its way into an engine, which takes all of it in one request: there is no way to
/// learn which layers it has.
#[derive(Debug)]
pub struct DaemonSink {
    archive: ArchiveSink,
    request: Mutex<Option<Request>>,
    /// What begins the request, until something is written.
    start: Lock<Option<(Engine, mpsc::Receiver<Bytes>)>>,
}

/// A request whose body is still written. Dropped, it breaks off.
#[derive(Debug)]
struct Request(JoinHandle<Result<()>>);

impl Drop for Request {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl DaemonSink {
    /// An image to be called `image`; a digest gives it no name. The engine is asked when
    /// something is written.
    ///
    /// # Errors
    /// `Usage` where an engine can call no image so.
    pub fn new(engine: Engine, image: Name) -> Result<Self> {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let output = Output::stream(Box::new(Pipe(sender)));
        let archive = ArchiveSink::new(Form::Docker, output, Location::DockerDaemon(image))?;
        let start = Lock::new(Some((engine, receiver)));
        Ok(Self { archive, request: Mutex::default(), start })
    }

    async fn begin(&self) -> Result<()> {
        let mut request = self.request.lock().await;
        let start = self.start.lock().map(|mut start| start.take()).unwrap_or_default();
        if let Some((engine, receiver)) = start {
            *request = Some(Request(tokio::spawn(load(engine, receiver))));
        }
        Ok(())
    }

    /// The engine's answer where it ended the request; else what went wrong on this side.
    async fn reason(&self, err: Error) -> Error {
        let Some(mut request) = self.request.lock().await.take() else { return err };
        // Who no longer reads has said why.
        if is_broken_pipe(&err)
            && let Ok(Err(answer)) = (&mut request.0).await
        {
            return answer;
        }
        err
    }
}

async fn load(engine: Engine, receiver: mpsc::Receiver<Bytes>) -> Result<()> {
    let engine = engine.connect().await?;
    let pieces = stream::unfold(receiver, |mut receiver| async {
        let piece = receiver.recv().await?;
        Some((Ok::<_, io::Error>(piece), receiver))
    });
    let request = engine.http.post("http://engine/images/load?quiet=1");
    let request = request.header(CONTENT_TYPE, "application/x-tar").body(Body::wrap_stream(pieces));
    let response = request.send().await.map_err(|err| engine.lost(err))?;
    if !response.status().is_success() {
        return Err(engine.refused(response, "cannot load the image").await);
    }
    // What goes wrong after the engine has begun to answer stands in the answer.
    match told_in(&engine.read(response).await?) {
        None => Ok(()),
        Some(told) => Err(Error::invalid("the engine refuses the image").found(told)),
    }
}

fn is_broken_pipe(err: &Error) -> bool {
    let cause = std::error::Error::source(err).and_then(|cause| cause.downcast_ref::<io::Error>());
    cause.is_some_and(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}

/// The blocking end of a request's body.
struct Pipe(mpsc::Sender<Bytes>);

impl io::Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sent = self.0.blocking_send(Bytes::copy_from_slice(bytes));
        sent.map(|()| bytes.len()).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Place for DaemonSink {
    fn location(&self) -> &Location {
        self.archive.location()
    }
}

#[async_trait]
impl Sink for DaemonSink {
    async fn has(&self, blob: &Descriptor) -> Result<bool> {
        self.archive.has(blob).await
    }

    async fn put(&self, blob: &Descriptor, content: ByteStream) -> Result<()> {
        self.begin().await?;
        match self.archive.put(blob, content).await {
            Ok(()) => Ok(()),
            Err(err) => Err(self.reason(err).await),
        }
    }

    async fn tag(&self, root: &Descriptor, tag: Option<&Tag>) -> Result<()> {
        self.archive.tag(root, tag).await
    }

    fn width(&self) -> usize {
        self.archive.width()
    }

    async fn finish(&self) -> Result<()> {
        self.begin().await?;
        if let Err(err) = self.archive.finish().await {
            return Err(self.reason(err).await);
        }
        let Some(mut request) = self.request.lock().await.take() else { return Ok(()) };
        let answer = (&mut request.0).await;
        let answer =
            answer.map_err(|err| Error::new(Kind::Io, "the request failed").source(err))?;
        answer.map_err(|err| err.context(self.location()))
    }
}

//! Orders to a server: at the socket in its folder, or at its operator's address.

use std::fmt::Display;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use conex_spec::{Error, Kind, Result};
use conex_store::ByteStream;
use futures_util::StreamExt;
use http::{Method, Request, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Limited, StreamBody};
use hyper::body::Frame;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixListener, UnixStream};

use crate::paths;

/// The longest report, in bytes.
const LIMIT: usize = 64 << 20;
/// What an order can fail with, beside the network: as it would without a server.
const KINDS: [Kind; 11] = [
    Kind::Usage,
    Kind::NotFound,
    Kind::Invalid,
    Kind::Mismatch,
    Kind::Limit,
    Kind::Unauthorized,
    Kind::Denied,
    Kind::Unsupported,
    Kind::Conflict,
    Kind::NoSpace,
    Kind::Io,
];

/// What goes with an order.
type Content = UnsyncBoxBody<Bytes, std::io::Error>;

/// A server that is running.
#[derive(Clone, Debug)]
pub(super) enum Control {
    /// It serves this folder.
    Folder(std::path::PathBuf),
    /// It listens here for its operator: a host and a port.
    Address(String),
}

/// Why an order was not followed.
#[derive(Deserialize)]
struct Refusal {
    error: String,
    #[serde(default)]
    kind: String,
    hint: Option<String>,
}

impl Control {
    /// The operator's address, as `http://HOST:PORT`.
    pub(super) fn parse(url: &str) -> Result<Self> {
        let rest = url.strip_prefix("http://").map(|rest| rest.trim_end_matches('/'));
        let fits = |address: &&str| {
            let port = address.rsplit_once(':').map(|(_, port)| port.parse::<u16>().is_ok());
            port == Some(true) && !address.contains(['/', '@', '?', '#'])
        };
        let address = rest.filter(fits).ok_or_else(|| {
            Error::new(Kind::Usage, "this is no operator's address")
                .expected("http://HOST:PORT")
                .found(url.escape_debug())
        })?;
        Ok(Self::Address(address.to_owned()))
    }

    /// Gives an order, and waits for what it comes to.
    pub(super) async fn order<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        self.send(path, Empty::new().map_err(|never| match never {}).boxed_unsync()).await
    }

    /// The same with content.
    pub(super) async fn give<T: DeserializeOwned>(
        &self,
        path: &str,
        content: ByteStream,
    ) -> Result<T> {
        let failed = Arc::new(Mutex::new(None));
        let fault = Arc::clone(&failed);
        let frames = content.map(move |chunk| match chunk {
            Ok(chunk) => Ok(Frame::data(chunk)),
            Err(err) => {
                *fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(err);
                Err(std::io::Error::other("the content broke off"))
            }
        });
        let answer = self.send(path, StreamBody::new(frames).boxed_unsync()).await;
        // Why the content broke off tells more than that the server lacks the rest.
        match failed.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(err) => Err(err),
            None => answer,
        }
    }

    async fn send<T: DeserializeOwned>(&self, path: &str, content: Content) -> Result<T> {
        match self {
            Self::Folder(root) => {
                let stream = connect(root).await.map_err(|err| {
                    let message = format!("{} is in use by another process", root.display());
                    Error::new(Kind::Conflict, message).source(err)
                })?;
                send(stream, path, content, &root.display()).await
            }
            Self::Address(address) => {
                let stream = TcpStream::connect(address).await.map_err(|err| {
                    let message = format!("cannot reach a server at {address}");
                    Error::new(Kind::Network, message).source(err)
                })?;
                send(stream, path, content, address).await
            }
        }
    }
}

async fn send<T: DeserializeOwned>(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    path: &str,
    content: Content,
    place: &dyn Display,
) -> Result<T> {
    let fault = |err: hyper::Error| {
        Error::new(Kind::Network, format!("the server of {place} broke off")).source(err)
    };
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(fault)?;
    let connection = tokio::spawn(connection);
    let request = Request::builder().method(Method::POST).uri(path).header(header::HOST, "conex");
    let request = request
        .body(content)
        .map_err(|err| Error::new(Kind::Usage, "an order cannot be written").source(err))?;
    let answer = sender.send_request(request).await.map_err(fault)?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), LIMIT).collect().await.map_err(|err| {
        Error::new(Kind::Network, format!("the server of {place} broke off: {err}"))
    })?;
    connection.abort();
    let bytes = body.to_bytes();
    if status == StatusCode::OK {
        return serde_json::from_slice(&bytes).map_err(|err| {
            Error::new(Kind::Unsupported, format!("the server of {place} is of another version"))
                .source(err)
        });
    }
    let told = serde_json::from_slice::<Refusal>(&bytes);
    let told = told.unwrap_or_else(|_| Refusal {
        error: format!("it says {status}"),
        kind: String::new(),
        hint: None,
    });
    let kind = KINDS.into_iter().find(|kind| format!("{kind:?}") == told.kind);
    let message = format!("the server of {place}: {}", told.error);
    let err = Error::new(kind.unwrap_or(Kind::Network), message);
    Err(match told.hint {
        Some(hint) => err.hint(hint),
        None => err,
    })
}

/// Listens in the folder of a registry, of which this process is the only server. Who may write there
/// may give orders.
pub(crate) fn listen(root: &Path) -> Result<UnixListener> {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;
    let path = root.join(paths::CONTROL);
    let fault = |err| Error::io("cannot listen at", &path, err);
    match std::fs::remove_file(&path) {
        Err(err) if err.kind() != std::io::ErrorKind::NotFound => return Err(fault(err)),
        _ => {}
    }
    let listener = within(root, |path| UnixListener::bind(path)).map_err(fault)?;
    std::fs::set_permissions(&path, Permissions::from_mode(0o600)).map_err(fault)?;
    Ok(listener)
}

async fn connect(root: &Path) -> std::io::Result<UnixStream> {
    let stream = within(root, std::os::unix::net::UnixStream::connect)?;
    stream.set_nonblocking(true)?;
    UnixStream::from_std(stream)
}

/// The address of a socket has at most 107 bytes, a path may have more.
fn within<T>(root: &Path, act: impl FnOnce(String) -> std::io::Result<T>) -> std::io::Result<T> {
    let (folder, name) = paths::CONTROL.rsplit_once('/').unwrap_or((".", paths::CONTROL));
    let folder = File::open(root.join(folder))?;
    act(format!("/proc/self/fd/{}/{name}", folder.as_raw_fd()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        assert!(Control::parse("http://127.0.0.1:9000/").is_ok());
        for bad in ["https://a:1", "http://a", "a:1", "http://a:1/x", "http://u@a:1", "http://a:x"]
        {
            assert!(Control::parse(bad).is_err(), "{bad}");
        }
    }

    #[tokio::test]
    async fn a_socket_may_lie_deep() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("x".repeat(120));
        std::fs::create_dir_all(root.join(".conex")).unwrap();
        let listener = listen(&root).unwrap();
        let (accepted, connected) = tokio::join!(listener.accept(), connect(&root));
        accepted.unwrap();
        connected.unwrap();
        // What a killed server left is in nobody's way.
        drop(listener);
        assert!(connect(&root).await.is_err());
        listen(&root).unwrap();
    }
}

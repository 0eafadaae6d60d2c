//! The images of a Docker engine or of Podman on this machine, over its socket.
//!
//! Both ways an image travels as the archive that `docker save` and `docker load` know, since an
//! engine has no way to be asked for single blobs: one is read with [`DockerArchive`], and written
//! with [`ArchiveSink`]. Podman answers the same two requests as Docker's engine does.
//!
//! [`DockerArchive`]: conex_store::archive::DockerArchive
//! [`ArchiveSink`]: conex_store::archive::ArchiveSink
//!
//! # Security
//! Only sockets of this machine are spoken to: whoever may speak to an engine over a network rules
//! its machine, and that is not left to a variable of the environment. The archive is as hostile
//! as any other.

mod load;
mod save;

use std::path::{Path, PathBuf};

use reqwest::{Client, Response, StatusCode};
use tokio::net::UnixStream;

use conex_spec::{Error, Kind, Result};

use crate::fault::{escaped, kind};
use crate::hosts::trust;

pub use load::DaemonSink;
pub use save::DaemonSource;

/// The longest answer about an error or a load that is read, in bytes.
const MAX_ANSWER: usize = 1 << 20;

/// Where an engine may listen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Engine {
    /// The one that a person named, as `DOCKER_HOST` does: `unix:///run/docker.sock`.
    pub host: Option<String>,
    /// Sockets to try in their order where nobody named one.
    pub sockets: Vec<PathBuf>,
}

/// An engine that answers.
#[derive(Debug)]
struct Connected {
    http: Client,
    socket: PathBuf,
}

impl Engine {
    async fn connect(&self) -> Result<Connected> {
        let mut reasons = Vec::new();
        let sockets = self.candidates()?;
        for socket in &sockets {
            match UnixStream::connect(socket).await {
                Ok(_) => return Connected::to(socket),
                Err(err) => reasons.push((err.kind(), format!("{}: {err}", socket.display()))),
            }
        }
        let denied = reasons.iter().any(|(kind, _)| *kind == std::io::ErrorKind::PermissionDenied);
        let told: Vec<_> = reasons.into_iter().map(|(_, told)| told).collect();
        let kind = if denied { Kind::Denied } else { Kind::NotFound };
        let err = Error::new(kind, "no Docker engine and no Podman answers")
            .found(if told.is_empty() { "no socket to try".into() } else { told.join("; ") });
        Err(if denied {
            err.hint("members of the group `docker` may use the engine; Podman has a socket for each user")
        } else {
            err.hint(
                "start one (`systemctl start docker`, `systemctl --user start podman.socket`), \
                or name its socket: DOCKER_HOST=unix:///PATH",
            )
        })
    }

    fn candidates(&self) -> Result<Vec<PathBuf>> {
        let Some(host) = &self.host else { return Ok(self.sockets.clone()) };
        match host.strip_prefix("unix://") {
            Some(path) if path.starts_with('/') => Ok(vec![path.into()]),
            _ => Err(Error::new(Kind::Unsupported, "DOCKER_HOST names no socket of this machine")
                .expected("unix:///PATH")
                .found(escaped(host))),
        }
    }
}

impl Connected {
    fn to(socket: &Path) -> Result<Self> {
        let http = Client::builder()
            .http1_only()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .tls_backend_preconfigured(trust::nobody()?)
            .unix_socket(socket)
            .build()
            .map_err(|err| Error::new(Kind::Io, "cannot set up HTTP").source(err))?;
        Ok(Self { http, socket: socket.into() })
    }

    fn lost(&self, err: reqwest::Error) -> Error {
        let message = format!("the engine at {} broke off", self.socket.display());
        Error::new(Kind::Io, message).source(err.without_url())
    }

    /// What an engine says, bounded.
    async fn read(&self, mut response: Response) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|err| self.lost(err))? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > MAX_ANSWER {
                return Err(Error::new(Kind::Limit, "answer of the engine is too long")
                    .expected(format!("at most {MAX_ANSWER} bytes")));
            }
        }
        Ok(bytes)
    }

    /// The fault of an answer that is no success.
    async fn refused(&self, response: Response, what: &str) -> Error {
        let status = response.status();
        let told = self.read(response).await.unwrap_or_default();
        let told = told_in(&told).unwrap_or_default();
        // Podman calls it a fault of its own where there is no such image.
        let unknown = status == StatusCode::NOT_FOUND || told.contains("image not known");
        let kind = match unknown {
            true => Kind::NotFound,
            // Trying again does not mend an engine.
            false if status.is_server_error() => Kind::Io,
            false => kind(status),
        };
        let message = format!("{what}: the engine at {} answers {status}", self.socket.display());
        let err = Error::new(kind, message).found(told);
        match unknown {
            true => err.hint("`docker image ls` or `podman images` lists what there is"),
            false => err,
        }
    }
}

/// The message in an answer about an error: `{"message": …}` of Docker's engine and Podman, or
/// `{"error": …}` on a line of a running report.
fn told_in(answer: &[u8]) -> Option<String> {
    answer.split(|&b| b == b'\n').find_map(|line| {
        let value: serde_json::Value = serde_json::from_slice(line).ok()?;
        let told = value.get("error").or_else(|| value.get("message"))?;
        Some(escaped(told.as_str()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engines_tell_their_faults_in_several_ways() {
        for (answer, told) in [
            (r#"{"message":"No such image: x"}"#, Some("No such image: x")),
            (
                "{\"stream\":\"Loading\"}\n{\"errorDetail\":{},\"error\":\"no\\u001b[2J\"}\n",
                Some("no\\u{1b}[2J"),
            ),
            ("{\"stream\":\"Loaded image: a:1\\n\"}\n", None),
            ("<html>", None),
        ] {
            assert_eq!(told_in(answer.as_bytes()).as_deref(), told, "{answer}");
        }
    }

    #[tokio::test]
    async fn without_an_engine_all_sockets_are_named() {
        let sockets = vec!["/nowhere/docker.sock".into(), "/nowhere/podman.sock".into()];
        let err = Engine { host: None, sockets }.connect().await.unwrap_err();
        assert_eq!(err.kind(), Kind::NotFound);
        assert!(err.found_value().unwrap().contains("/nowhere/podman.sock"), "{err}");
        assert!(err.hint_text().unwrap().contains("DOCKER_HOST"));
        for host in ["tcp://10.0.0.1:2375", "unix://relative", "ssh://x"] {
            let engine = Engine { host: Some(host.into()), ..Engine::default() };
            assert_eq!(engine.connect().await.unwrap_err().kind(), Kind::Unsupported, "{host}");
        }
    }
}

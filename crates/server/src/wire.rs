//! A connection, plain or over TLS, and who is at its other end.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::tls;

/// For those who speak HTTP where TLS is spoken.
const USE_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\n\
    connection: close\r\n\r\nThis registry speaks HTTPS.\n";

/// How much of what they say is read, in bytes.
const UNREAD: u64 = 64 << 10;

/// Who is at the other end.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    /// The name in the certificate that was shown.
    pub(crate) certified: Option<Arc<str>>,
}

/// See the module.
pub(crate) enum Wire {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Wire {
    /// Shakes hands. Nothing where the client could not, which is the client's affair.
    pub(crate) async fn secure(mut stream: TcpStream, config: Arc<ServerConfig>) -> Option<Self> {
        // A record of TLS begins with its type, which is no letter (RFC 8446, 5.1); a method is
        // of capital letters.
        let mut first = [0];
        if stream.peek(&mut first).await.ok()? == 1 && first[0].is_ascii_uppercase() {
            let _ = stream.write_all(USE_TLS).await;
            let _ = stream.shutdown().await;
            // Closed with anything unread, the answer would be lost on its way.
            let _ = tokio::io::copy(&mut stream.take(UNREAD), &mut tokio::io::sink()).await;
            return None;
        }
        let stream = TlsAcceptor::from(config).accept(stream).await.ok()?;
        Some(Self::Tls(Box::new(stream)))
    }

    /// Whether both sides agreed on HTTP/2; nothing where nobody asked.
    pub(crate) fn is_http2(&self) -> Option<bool> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(stream) => Some(stream.get_ref().1.alpn_protocol() == Some(b"h2")),
        }
    }

    /// The name in the client's certificate.
    pub(crate) fn certified(&self) -> Option<Arc<str>> {
        let Self::Tls(stream) = self else { return None };
        let first = stream.get_ref().1.peer_certificates()?.first()?;
        tls::name_of(first).map(Arc::from)
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bytes),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

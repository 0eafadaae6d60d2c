//! A connection that gives up on a client which does not read.
//!
//! Chunks of an answer wait in memory until the client takes them; one that never does would keep
//! them for ever.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::rt::{Read, ReadBufCursor, Write};
use tokio::time::{Instant, Sleep, sleep};

/// See the module.
pub(crate) struct Patience<T> {
    inner: T,
    time: Duration,
    timer: Pin<Box<Sleep>>,
    waiting: bool,
}

impl<T> Patience<T> {
    /// Fails a write that cannot go on for `time`.
    pub(crate) fn new(inner: T, time: Duration) -> Self {
        Self { inner, time, timer: Box::pin(sleep(time)), waiting: false }
    }

    /// The outcome of a write, or an error when it has been pending for too long.
    fn judge<R>(
        &mut self,
        polled: Poll<io::Result<R>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<R>> {
        if polled.is_ready() {
            self.waiting = false;
            return polled;
        }
        if !self.waiting {
            self.waiting = true;
            self.timer.as_mut().reset(Instant::now() + self.time);
        }
        ready!(Future::poll(self.timer.as_mut(), cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<T: Read + Unpin> Read for Patience<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

impl<T: Write + Unpin> Write for Patience<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.judge(polled, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write_vectored(cx, bytes);
        self.judge(polled, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.inner).poll_flush(cx);
        self.judge(polled, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.inner).poll_shutdown(cx);
        self.judge(polled, cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper_util::rt::TokioIo;
    use std::future::poll_fn;
    use tokio::io::AsyncReadExt;

    #[tokio::test]
    async fn a_reader_is_waited_for_while_it_reads() {
        let (near, mut far) = tokio::io::duplex(10);
        let mut io = Patience::new(TokioIo::new(near), Duration::from_millis(100));
        let reader = tokio::spawn(async move {
            for _ in 0..5 {
                sleep(Duration::from_millis(50)).await;
                far.read_exact(&mut [0; 10]).await.unwrap();
            }
            far
        });
        for _ in 0..5 {
            let count = poll_fn(|cx| Pin::new(&mut io).poll_write(cx, &[1; 10])).await.unwrap();
            assert_eq!(count, 10);
        }
        let _far = reader.await.unwrap();
        poll_fn(|cx| Pin::new(&mut io).poll_write(cx, &[1; 10])).await.unwrap();
        let err = poll_fn(|cx| Pin::new(&mut io).poll_write(cx, &[1; 10])).await.unwrap_err();
        assert_eq!(err.kind(), io::ErrorKind::TimedOut);
    }
}

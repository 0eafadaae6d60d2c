//! Text that is made, up to a limit: what passes it is dropped and remembered.

use std::io;

/// A text that grows no further than it may.
#[derive(Debug)]
pub(crate) struct Buffer {
    text: String,
    room: usize,
    overflowed: bool,
}

impl Buffer {
    /// An empty text of at most `room` bytes.
    pub(crate) fn new(room: usize) -> Self {
        Self { text: String::new(), room, overflowed: false }
    }

    pub(crate) fn push(&mut self, text: &str) {
        if self.overflowed || text.len() > self.room - self.text.len() {
            self.overflowed = true;
        } else {
            self.text.push_str(text);
        }
    }

    pub(crate) fn push_char(&mut self, c: char) {
        self.push(c.encode_utf8(&mut [0; 4]));
    }

    /// `count` times the same character, as padding has it.
    pub(crate) fn fill(&mut self, c: char, count: usize) {
        if self.overflowed || count.saturating_mul(c.len_utf8()) > self.room - self.text.len() {
            self.overflowed = true;
        } else {
            self.text.extend(std::iter::repeat_n(c, count));
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.text.len()
    }

    /// How many bytes still fit.
    pub(crate) fn room(&self) -> usize {
        self.room - self.text.len()
    }

    /// Something did not fit.
    pub(crate) fn overflow(&mut self) {
        self.overflowed = true;
    }

    /// Whether something did not fit.
    pub(crate) fn overflowed(&self) -> bool {
        self.overflowed
    }

    /// The text; nothing where it did not fit.
    pub(crate) fn finish(self) -> Option<String> {
        (!self.overflowed).then_some(self.text)
    }
}

impl io::Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = std::str::from_utf8(bytes).map_err(io::Error::other)?;
        self.push(text);
        if self.overflowed {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

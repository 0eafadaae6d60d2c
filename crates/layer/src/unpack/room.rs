//! How many bytes an image may still bring (rule T7).

use conex_spec::{Error, Kind};

/// What is left free on the file system where nobody sets a limit, in bytes; of a small one,
/// a sixteenth of what is free.
const RESERVE: u64 = 64 << 20;

/// A limit of bytes, and whose it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    /// How many bytes may still come.
    pub(crate) bytes: u64,
    /// Whether the caller set the limit; otherwise it is what the file system has free.
    pub(crate) chosen: bool,
}

impl Room {
    /// The caller's limit, or what a file system with so much `free` space can take.
    pub(crate) fn new(chosen: Option<u64>, free: Option<u64>) -> Self {
        let free = free.map_or(u64::MAX, |free| free - RESERVE.min(free / 16));
        Self { bytes: chosen.unwrap_or(free), chosen: chosen.is_some() }
    }

    /// Takes bytes away; fails where there are fewer.
    pub(crate) fn take(&mut self, bytes: u64) -> Result<(), Error> {
        self.bytes = self.bytes.checked_sub(bytes).ok_or_else(|| self.exceeded())?;
        Ok(())
    }

    /// The fault of an image that brings more.
    pub(crate) fn exceeded(self) -> Error {
        let most = format!("at most {} bytes uncompressed", self.bytes);
        if self.chosen {
            Error::new(Kind::Limit, "image has too many bytes")
                .expected(most)
                .hint("raise the limit")
        } else {
            Error::new(Kind::NoSpace, "no room for the image")
                .expected(most)
                .found("more")
                .hint("make room where the image is unpacked, or unpack it elsewhere")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_file_system_is_filled_almost_whole() {
        assert_eq!(Room::new(None, Some(1 << 40)).bytes, (1 << 40) - RESERVE);
        assert_eq!(Room::new(None, Some(32)).bytes, 30);
        assert_eq!(Room::new(None, None).bytes, u64::MAX);
    }

    #[test]
    fn whose_limit_it_is_tells_what_to_do() {
        let kind = |mut room: Room| room.take(6).map_err(|err| err.kind());
        assert_eq!(kind(Room::new(Some(5), Some(100))), Err(Kind::Limit));
        assert_eq!(kind(Room::new(None, Some(5))), Err(Kind::NoSpace));
        assert_eq!(kind(Room::new(Some(6), Some(5))), Ok(()));
    }
}

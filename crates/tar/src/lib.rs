//! Tar and its compression, read and written without surprises. Layers and image archives are both
//! of this form.
//!
//! A tar is a row of 512-byte blocks: a header, then the body of the entry padded to a whole
//! block, and two blocks of zeros at the end. Forty years of extensions say the same thing in
//! several ways: a name may stand in the header, in a PAX record or in a GNU long-name entry.
//! Where two readers choose differently, content can hide from one of them (rules T1, T2). So
//! this reader takes what all honest writers write, and refuses what can be read in two ways.
//!
//! | dialect | read | written |
//! |---|---|---|
//! | v7, ustar | yes | yes |
//! | PAX, local: `path linkpath size uid gid mtime SCHILY.xattr.* LIBARCHIVE.xattr.*` | yes | where ustar does not suffice |
//! | PAX, global | checked and ignored; `path`, `linkpath` and `size` refused | no |
//! | GNU long names `L`, `K` and base-256 numbers | yes | no |
//! | sparse files: GNU `S`, PAX 0.0, 0.1, 1.0 | yes, with their holes | no |

mod body;
pub mod compression;
mod entry;
mod header;
mod number;
mod pax;
mod reader;
mod show;
mod sparse;
mod warning;
mod writer;

pub use body::Piece;
pub use entry::{Entry, Kind, Time, Xattr};
pub use reader::Reader;
pub use show::show;
pub use warning::{Code, Warning, Warnings};
pub use writer::Writer;

/// Tar's unit: headers are this long, and bodies are padded to it.
pub(crate) const BLOCK: usize = 512;

/// The zeros between the end of a body of `size` bytes and the next header.
pub(crate) fn padding(size: u64) -> u64 {
    size.wrapping_neg() % BLOCK as u64
}

#[cfg(test)]
mod tests {
    use super::padding;

    #[test]
    fn bodies_are_padded_to_whole_blocks() {
        assert_eq!([0, 1, 511, 512, 513].map(padding), [0, 511, 1, 0, 511]);
        assert_eq!(padding(u64::MAX), 1);
    }
}

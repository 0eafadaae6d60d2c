//! What is odd about a layer without being an error, collected in a bounded list.
//!
//! An image from a stranger may raise ten million warnings; the first few tell the story and
//! the number tells the rest.

use std::fmt;

use crate::show;

/// How many warnings are kept with their text; later ones are only counted.
const KEPT: usize = 100;

/// What sort of oddity it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Code {
    /// The tar ends without its two blocks of zeros; many writers forget them.
    NoEndMarker,
    /// There are bytes other than zero after the end marker.
    TrailingData,
    /// One PAX header gives the same key twice; the last one counts.
    RepeatedPaxKey,
    /// The PAX size and the size in the header differ; PAX counts.
    SizesDiffer,
    /// A directory, link or device claims a size; there is no body, whatever it claims.
    SizeIgnored,
    /// A sparse file, which image-spec, layer.md, "File Attributes" says SHOULD NOT be used.
    Sparse,
    /// The layer names one path twice; the last entry counts.
    DuplicateEntry,
    /// An extended attribute that must not come from a layer was left out.
    XattrDropped,
    /// An extended attribute could not be stored here.
    XattrRefused,
    /// A whiteout that is not an empty regular file; what else it holds is ignored.
    WhiteoutContent,
    /// A marker of the AUFS storage driver, which means nothing elsewhere, was left out.
    AufsMarker,
    /// A device was replaced by an empty file, or left out.
    DeviceReplaced,
    /// Owners were not restored, because the process may not change them.
    OwnersKept,
    /// Some owners are noted in an attribute, and nobody said whose the rest is.
    OwnersNoted,
    /// Set-ID bits were left out, because the owner that they speak of was not restored.
    SetIdDropped,
    /// Access control lists in the form of star and bsdtar were left out.
    AclDropped,
    /// A socket cannot be stored in a tar and was left out.
    SocketSkipped,
}

/// One oddity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// What sort.
    pub code: Code,
    /// The entry it is about, as in the tar; empty where it is about the whole layer.
    pub path: Vec<u8>,
    /// What exactly, in one line.
    pub detail: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", show(&self.path))?;
        }
        f.write_str(&self.detail)
    }
}

/// A bounded list of warnings.
#[derive(Clone, Debug, Default)]
pub struct Warnings {
    kept: Vec<Warning>,
    count: u64,
}

impl Warnings {
    /// The first hundred.
    pub fn kept(&self) -> &[Warning] {
        &self.kept
    }

    /// How many there were in all.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Whether one of the kept warnings is of this sort.
    pub fn has(&self, code: Code) -> bool {
        self.kept.iter().any(|warning| warning.code == code)
    }

    /// Adds an oddity of `path`, which is empty where it is about the whole layer.
    pub fn add(&mut self, code: Code, path: &[u8], detail: impl Into<String>) {
        self.count += 1;
        // One place stays free for each sort of warning that was not seen yet, so that a
        // flood of one sort cannot hide another.
        if self.kept.len() < KEPT || !self.has(code) {
            self.kept.push(Warning { code, path: path.to_vec(), detail: detail.into() });
        }
    }

    /// Adds oddities that are only counted.
    pub fn add_unkept(&mut self, count: u64) {
        self.count += count;
    }

    /// Adds those of another list.
    pub fn append(&mut self, other: Self) {
        let unkept = other.count - other.kept.len() as u64;
        for warning in other.kept {
            self.add(warning.code, &warning.path, warning.detail);
        }
        self.add_unkept(unkept);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_counted_but_not_kept() {
        let mut warnings = Warnings::default();
        for _ in 0..100_000 {
            warnings.add(Code::DuplicateEntry, b"a\nb", "appears twice");
        }
        warnings.add(Code::Sparse, b"", "sparse");
        assert_eq!(warnings.count(), 100_001);
        assert_eq!(warnings.kept().len(), KEPT + 1);
        assert!(warnings.has(Code::Sparse));
        assert_eq!(warnings.kept()[0].to_string(), "a\\nb: appears twice");

        let mut all = Warnings::default();
        all.append(warnings);
        assert_eq!(all.count(), 100_001);
    }
}

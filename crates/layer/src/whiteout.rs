//! Whiteouts: files named `.wh.` that delete things of lower layers.
//! image-spec, layer.md, "Whiteouts".

use conex_spec::{Error, Result};
use conex_tar::show;

/// What marks a whiteout in a layer.
pub const PREFIX: &[u8] = b".wh.";
/// The file that hides everything its directory had in lower layers. "Opaque Whiteout".
pub const OPAQUE: &[u8] = b".wh..wh..opq";

/// The storage driver AUFS left files of its own in old layers, under the doubled prefix.
const AUFS_PREFIX: &[u8] = b".wh..wh.";

/// What the last component of a name asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whiteout<'a> {
    /// The sibling of this name is deleted.
    Hide(&'a [u8]),
    /// All siblings are deleted.
    Opaque,
    /// A file of AUFS itself, to be ignored.
    Aufs,
}

/// Takes one component of a name for a whiteout; nothing where it is an ordinary name.
///
/// A whiteout without a name to delete is an error, and so is one of `.` or `..`, which would
/// delete the directory itself or the one above (rule U7).
pub fn parse(component: &[u8]) -> Result<Option<Whiteout<'_>>> {
    let Some(name) = component.strip_prefix(PREFIX) else {
        return Ok(None);
    };
    match name {
        _ if component == OPAQUE => Ok(Some(Whiteout::Opaque)),
        _ if component.starts_with(AUFS_PREFIX) => Ok(Some(Whiteout::Aufs)),
        b"" | b"." | b".." => Err(Error::invalid("whiteout names nothing it could delete")
            .expected(".wh.NAME")
            .found(show(component))),
        name => Ok(Some(Whiteout::Hide(name))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (component, whiteout) in [
            (&b"file"[..], None),
            (b".whx", None),
            (b"a.wh.b", None),
            (b".wh.file", Some(Whiteout::Hide(b"file"))),
            (b".wh....", Some(Whiteout::Hide(b"..."))),
            (b".wh..hidden", Some(Whiteout::Hide(b".hidden"))),
            (b".wh..wh..opq", Some(Whiteout::Opaque)),
            (b".wh..wh..opqx", Some(Whiteout::Aufs)),
            (b".wh..wh.plnk", Some(Whiteout::Aufs)),
        ] {
            assert_eq!(parse(component).unwrap(), whiteout, "{}", show(component));
        }
    }

    /// Rule U7.
    #[test]
    fn whiteouts_of_directories_themselves_are_refused() {
        for component in [&b".wh."[..], b".wh..", b".wh..."] {
            assert!(parse(component).is_err(), "{}", show(component));
        }
    }
}

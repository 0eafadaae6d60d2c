//! Whose the files in a layer are.

use conex_spec::{Error, Kind, Result};
use conex_tar::{Xattr, show};
use rustix::fs::Stat;

use crate::ids::{self, Ids};

/// Whose the files in the layer are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Owners {
    /// Their owners in the directory, or those that unpacking without privilege has noted in an
    /// attribute, which is left out.
    #[default]
    Keep,
    /// The same of a directory that was unpacked without privilege: whoever owns it is root, and an owner
    /// that is not noted is an error.
    Rootless,
    /// All belong to one user and group.
    Set {
        /// The user's number.
        uid: u32,
        /// The group's number.
        gid: u32,
    },
    /// Numbers of the directory become others; one that is in no range and was not noted is an error.
    Map {
        /// For users.
        uids: Vec<IdRange>,
        /// For groups.
        gids: Vec<IdRange>,
    },
    /// Those that the files had before they were unpacked with these maps: as they are noted in an
    /// attribute, which is left out, or else mapped back.
    Unpacked(Ids),
}

/// Some numbers that become others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdRange {
    /// The first one in the directory.
    pub from: u32,
    /// What that becomes in the layer.
    pub to: u32,
    /// How many there are.
    pub count: u32,
}

impl Owners {
    /// Whether an attribute may say whose a file is.
    pub(super) fn are_noted(&self) -> bool {
        match self {
            Self::Unpacked(ids) => ids.remember,
            Self::Keep | Self::Rootless | Self::Map { .. } => true,
            Self::Set { .. } => false,
        }
    }

    /// What they are of a directory that `stat` tells of.
    pub(super) fn of(&self, stat: &Stat) -> Self {
        match self {
            Self::Rootless => Self::Unpacked(Ids::noted_by(stat.st_uid, stat.st_gid)),
            other => other.clone(),
        }
    }
}

/// The user and group of a file in the layer.
pub(super) fn owner(
    owners: &Owners,
    stat: &Stat,
    xattrs: &mut Vec<Xattr>,
    path: &[u8],
) -> Result<(u32, u32)> {
    let (uid, gid) = (stat.st_uid, stat.st_gid);
    match owners {
        Owners::Unpacked(ids) => ids.restore((uid, gid), xattrs, path),
        Owners::Keep | Owners::Rootless => {
            let noted = ids::take_note(xattrs, path)?;
            Ok((noted.0.unwrap_or(uid), noted.1.unwrap_or(gid)))
        }
        Owners::Set { uid, gid } => {
            xattrs.retain(|xattr| xattr.name != ids::OWNER);
            Ok((*uid, *gid))
        }
        Owners::Map { uids, gids } => {
            let noted = ids::take_note(xattrs, path)?;
            let find = |noted: Option<u32>, ranges: &[IdRange], id: u32, what: &str| {
                let id_there = || ranges.iter().find_map(|range| range.map(id));
                noted.or_else(id_there).ok_or_else(|| {
                    Error::new(Kind::Usage, format!("no range for the {what} of {}", show(path)))
                        .found(id)
                })
            };
            Ok((find(noted.0, uids, uid, "user")?, find(noted.1, gids, gid, "group")?))
        }
    }
}

impl IdRange {
    fn map(&self, id: u32) -> Option<u32> {
        let offset = id.checked_sub(self.from).filter(|offset| *offset < self.count)?;
        self.to.checked_add(offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_moved() {
        let range = IdRange { from: 100_000, to: 0, count: 65_536 };
        assert_eq!(range.map(100_000), Some(0));
        assert_eq!(range.map(165_535), Some(65_535));
        assert_eq!(range.map(165_536), None);
        assert_eq!(range.map(0), None);
        assert_eq!(IdRange { from: 0, to: u32::MAX, count: 9 }.map(1), None);
    }
}

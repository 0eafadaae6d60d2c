//! Several folders laid one over the other, as layers would be: what a later one has replaces what earlier
//! ones have, directories are joined, and whiteouts hide what earlier folders have.
//! image-spec, layer.md, "Applying Changesets".

use std::collections::{BTreeMap, HashSet};
use std::os::fd::OwnedFd;

use conex_spec::Result;
use rustix::fs::{AtFlags, FileType, statat};
use rustix::io::Errno;

use super::plan::Step;
use crate::sys::{list, open_dir};
use crate::whiteout::{self, Whiteout};

/// A name in a directory.
pub(super) struct Found {
    pub(super) name: Vec<u8>,
    pub(super) step: Step,
    /// The folders whose directory has it and where no upper one hides it, the uppermost first; none
    /// where there is but one folder.
    from: Vec<usize>,
}

impl Found {
    /// A name where there is but one folder.
    pub(super) fn new(name: Vec<u8>, step: Step) -> Self {
        Self { name, step, from: Vec::new() }
    }

    /// The folder that says what it is.
    pub(super) fn first(&self) -> usize {
        self.from.first().copied().unwrap_or(0)
    }

    /// Of a directory, those in lower folders that are joined with it.
    pub(super) fn below(&self, dirs: &[OwnedFd]) -> Result<Vec<OwnedFd>, Errno> {
        let mut joined = Vec::new();
        for &at in self.from.iter().skip(1) {
            let stat = statat(&dirs[at], &self.name[..], AtFlags::SYMLINK_NOFOLLOW)?;
            if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
                break;
            }
            joined.push(open_dir(&dirs[at], &self.name)?);
        }
        Ok(joined)
    }
}

/// The names in a directory, in no order. Where there are whiteouts they stay among them: they hide what
/// is below all of these folders as well.
pub(super) fn names(dirs: &[OwnedFd], path: &[u8], whiteouts: bool) -> Result<Vec<Found>> {
    if let [dir] = dirs {
        return Ok(list(dir, path)?
            .into_iter()
            .map(|(name, _)| Found::new(name, Step::Write))
            .collect());
    }
    let mut found: BTreeMap<Vec<u8>, Vec<usize>> = BTreeMap::new();
    let mut hidden: HashSet<Vec<u8>> = HashSet::new();
    for (at, dir) in dirs.iter().enumerate() {
        let names: Vec<_> = list(dir, path)?.into_iter().map(|(name, _)| name).collect();
        let (mut hides, mut opaque) = (Vec::new(), false);
        for name in names {
            match whiteout::parse(&name).map(|it| it.filter(|_| whiteouts)) {
                Ok(Some(Whiteout::Hide(gone))) => hides.push(gone.to_vec()),
                Ok(Some(Whiteout::Opaque)) => opaque = true,
                _ => {}
            }
            if !hidden.contains(&name) {
                found.entry(name).or_default().push(at);
            }
        }
        hidden.extend(hides);
        if opaque {
            break;
        }
    }
    Ok(found.into_iter().map(|(name, from)| Found { name, step: Step::Write, from }).collect())
}

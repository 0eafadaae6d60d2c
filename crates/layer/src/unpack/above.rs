//! What is known of the layers above, while an image is unpacked from its newest layer to its oldest.
//!
//! In that order nothing has to be written that a newer layer hides: an entry counts unless a name
//! above says otherwise. But only names are compared here, and a name means what it says only while no
//! link leads elsewhere. The rule is therefore: whatever may mean another thing from the bottom up is
//! [`Fate::Unknown`], and the whole image is then unpacked from the bottom up instead. That is so
//!
//! - where an entry lies below a name that its own layer has as something else than a directory,
//! - where a layer went through a directory that it had no entry for, and a lower layer has something
//!   else there, which may be a link,
//! - where a hard link leads out of its layer, or to a file that was not written,
//! - where an entry takes the place of a directory of its own layer,
//! - where without privilege a set-ID bit depends on what an older layer says of the directory.
//!
//! image-spec, layer.md, "Applying Changesets", "Whiteouts".

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use conex_tar::{Entry, Kind};

use super::cursor::MAX_DEPTH;
use crate::hashed::Hashed;
use crate::name::{Name, components};
use crate::whiteout::Whiteout;

/// So many names are remembered at most, in some 9 MiB: a table doubles, and has both sizes meanwhile.
const MAX_NAMES: usize = 400_000;
const SET_ID: u32 = 0o6000;

/// What becomes of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Nothing above says otherwise.
    Written,
    /// A layer above hides it, or has the attributes of this directory.
    Hidden {
        /// How much of the parent's path is a directory that this entry implies all the same.
        implies: Option<usize>,
        /// Whether the layer had an entry of this name already.
        again: bool,
    },
    /// That cannot be told from the top down.
    Unknown,
}

/// What layers say of a name; several at once. The current layer's own marks lie [`OWN`] bits higher.
type Marks = u16;

const OWN: u32 = 8;

/// There is a directory, and its attributes are known.
const DIRECTORY: Marks = 1;
/// There is something else.
const OTHER: Marks = 2;
/// It is not hidden. Of the current layer only.
const WRITTEN: Marks = 4;
/// Lower layers have nothing of this name.
const HIDDEN: Marks = 8;
/// Lower layers have nothing in this directory.
const OPAQUE: Marks = 16;
/// A layer took it for a directory before it had said so.
const PASSED: Marks = 32;
/// An entry below implied the directory. Of the current layer only.
const IMPLIED: Marks = 64;

type Names = HashMap<u64, Marks, Hashed>;

/// The names of the layers above, and those of the current one.
#[derive(Debug, Default)]
pub(super) struct Above {
    key: RandomState,
    names: Names,
    /// The directory that was looked up last.
    path: Vec<u8>,
    way: Option<Way>,
    lost: bool,
}

/// What there is to know of a directory.
#[derive(Clone, Copy, Debug)]
struct Way {
    id: u64,
    /// If it is hidden, how much of its path is not.
    visible: Option<usize>,
    /// Whether it has its attributes already.
    decided: bool,
}

impl Above {
    /// Whether something could not be told.
    pub(super) fn is_lost(&self) -> bool {
        self.lost
    }

    /// What becomes of this entry, which is neither the root nor a whiteout.
    pub(super) fn judge(&mut self, entry: &Entry, name: &Name, privileged: bool) -> Fate {
        let fate = self.fate(entry, name, privileged).unwrap_or(Fate::Unknown);
        self.lost |= fate == Fate::Unknown;
        fate
    }

    /// Whether the root has its attributes already; the current layer has an entry for it.
    pub(super) fn has_root(&mut self) -> bool {
        self.way = None;
        let root = self.root();
        self.mark(root, DIRECTORY);
        self.above(root) & DIRECTORY != 0
    }

    /// Notes a whiteout in this directory; false where that cannot be told.
    pub(super) fn whiteout(&mut self, parent: &[u8], whiteout: Whiteout<'_>) -> bool {
        let noted = self.walk(parent, PASSED).map(|(way, _)| match whiteout {
            Whiteout::Hide(name) => self.mark(self.child(way.id, name), HIDDEN),
            Whiteout::Opaque => self.mark(way.id, OPAQUE),
            Whiteout::Aufs => {}
        });
        self.lost |= noted.is_none();
        noted.is_some()
    }

    /// The current layer becomes one of those above.
    pub(super) fn end_layer(&mut self) {
        self.way = None;
        for marks in self.names.values_mut() {
            let own = *marks >> OWN;
            let hides = if own & OTHER != 0 { HIDDEN } else { 0 };
            *marks |= own & (DIRECTORY | HIDDEN | OPAQUE | PASSED) | hides;
            *marks &= (1 << OWN) - 1;
        }
    }

    fn fate(&mut self, entry: &Entry, name: &Name, privileged: bool) -> Option<Fate> {
        let (parent, last) = name.split();
        let (way, implied) = self.walk(parent, PASSED | IMPLIED)?;
        let id = self.child(way.id, last);
        let (above, own) = (self.above(id), self.own(id));
        let hidden = match entry.kind {
            Kind::Dir if own & OTHER != 0 => return None,
            Kind::Dir => above & (HIDDEN | DIRECTORY) != 0,
            _ if own & (DIRECTORY | PASSED) != 0 || above & PASSED != 0 => return None,
            _ => above & (HIDDEN | DIRECTORY) != 0,
        } || way.visible.is_some();
        if let Kind::HardLink(target) = &entry.kind {
            let target = self.own(self.id_of(&Name::parse(target).ok()?));
            let needed = if hidden { OTHER } else { WRITTEN };
            if target & needed == 0 {
                return None;
            }
        }
        // Whether such a bit is kept depends on the owner, and that on the directory.
        if !hidden && !privileged && entry.mode & SET_ID != 0 && !way.decided {
            return None;
        }
        let is_dir = entry.kind == Kind::Dir;
        let written = if hidden || is_dir { 0 } else { WRITTEN };
        self.mark(id, if is_dir { DIRECTORY } else { OTHER } | written);
        if !hidden {
            return Some(Fate::Written);
        }
        let again = own & (DIRECTORY | OTHER) != 0;
        Some(Fate::Hidden {
            implies: implied.then_some(way.visible.unwrap_or(parent.len())),
            again,
        })
    }

    /// Goes to a directory and marks all on the way that the layer has no entry for. Tells whether some of
    /// it was not implied before; nothing where the layer has something else on the way, or where there are
    /// too many names already.
    fn walk(&mut self, path: &[u8], marks: Marks) -> Option<(Way, bool)> {
        if self.names.len() > MAX_NAMES {
            return None;
        }
        if let Some(way) = self.way.filter(|_| self.path == path) {
            return Some((way, false));
        }
        let mut id = self.root();
        let mut marked = false;
        let mut length = 0;
        let mut decided = true;
        let mut visible = (self.above(id) & OPAQUE != 0).then_some(0);
        for (depth, component) in components(path).enumerate() {
            id = self.child(id, component);
            let (above, own) = (self.above(id), self.own(id));
            if own & OTHER != 0 || depth + 1 >= MAX_DEPTH {
                return None;
            }
            if above & HIDDEN != 0 {
                visible = visible.or(Some(length));
            }
            if own & DIRECTORY == 0 && own & marks != marks {
                self.mark(id, marks);
                marked |= visible.is_none();
            }
            length += component.len() + usize::from(length > 0);
            if above & OPAQUE != 0 {
                visible = visible.or(Some(length));
            }
            decided = (above | own) & DIRECTORY != 0;
        }
        let way = Way { id, visible, decided };
        // A whiteout implies nothing, and the next entry may.
        self.way = (marks & IMPLIED != 0).then_some(way);
        self.path.clear();
        self.path.extend_from_slice(path);
        Some((way, marked))
    }

    fn mark(&mut self, id: u64, marks: Marks) {
        *self.names.entry(id).or_default() |= marks << OWN;
    }

    fn above(&self, id: u64) -> Marks {
        self.names.get(&id).copied().unwrap_or_default() & ((1 << OWN) - 1)
    }

    fn own(&self, id: u64) -> Marks {
        self.names.get(&id).copied().unwrap_or_default() >> OWN
    }

    fn id_of(&self, name: &Name) -> u64 {
        components(name.as_bytes()).fold(self.root(), |id, component| self.child(id, component))
    }

    fn root(&self) -> u64 {
        self.key.hash_one(())
    }

    fn child(&self, dir: u64, name: &[u8]) -> u64 {
        self.key.hash_one((dir, name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Also where a layer has nothing else (rule T7).
    #[test]
    fn whiteouts_count_as_names() {
        let mut above = Above::default();
        let mut hide =
            |number: usize| above.whiteout(b"", Whiteout::Hide(number.to_string().as_bytes()));
        assert!((0..=MAX_NAMES).all(&mut hide));
        assert!(!hide(MAX_NAMES + 1));
        assert!(above.is_lost() && above.names.len() == MAX_NAMES + 1);
    }
}

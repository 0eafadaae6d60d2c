//! Finds one file in the newest layers, if they alone can tell.
//!
//! A layer says what a path is where it has an entry for it, or hides what older layers have there.
//! The one thing that an older layer could still change is what the layer's own names mean: `lib/x` is
//! `usr/lib/x` where `lib` is a link below. Layers that have entries for the directories of their names,
//! as almost all have, leave no such doubt.

use std::collections::HashSet;
use std::sync::Arc;

use conex_spec::Result;

use super::Listing;
use super::merge::{count, reversed, split};
use crate::name::{Name, components};
use crate::whiteout::{self, Whiteout};

/// What the newest layers tell of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// It is this entry: the listing counted from the newest, and the place in it.
    Entry(usize, usize),
    /// There is no such file in the image.
    Missing,
    /// Older layers decide.
    Unknown,
}

/// Layers from the newest on, indexed by name.
#[derive(Debug, Default)]
pub struct Newest {
    layers: Vec<Layer>,
}

#[derive(Debug)]
struct Layer {
    listing: Arc<Listing>,
    /// The last entry of each name, by name.
    sorted: Vec<u32>,
    /// Last components of names whose directories have no entry of their own in this layer, and of such
    /// directories.
    loose: HashSet<Vec<u8>>,
    odd: bool,
}

impl Newest {
    /// Adds the next older layer.
    pub fn push(&mut self, listing: Arc<Listing>) {
        self.layers.push(Layer::new(listing));
    }

    /// Follows a path, links at its end too, through the layers so far.
    ///
    /// # Errors
    /// More than 40 links on the way.
    pub fn find(&self, path: &[u8]) -> Result<Lookup> {
        let mut todo = reversed(path);
        let (mut at, mut links) = (Vec::<u8>::new(), 0);
        let mut result = Lookup::Unknown;
        while let Some(name) = todo.pop() {
            match &name[..] {
                b"." => continue,
                b".." => {
                    let length = split(&at).0.len();
                    at.truncate(length);
                    result = self.entry(&at, 0)?;
                    continue;
                }
                _ if name.starts_with(whiteout::PREFIX) => return Ok(Lookup::Missing),
                _ if self.layers.iter().any(|layer| layer.doubts(&name)) => {
                    return Ok(Lookup::Unknown);
                }
                _ => {}
            }
            let full = join(&at, &name);
            result = self.entry(&full, 0)?;
            let Lookup::Entry(layer, place) = result else { return Ok(result) };
            let listing = &self.layers[layer].listing;
            if listing.is_symlink(place) {
                links = count(links, path)?;
                let target = listing.target(place).unwrap_or_default();
                if target.starts_with(b"/") {
                    at.clear();
                }
                todo.extend(reversed(target));
            } else if listing.is_dir(place) {
                at = full;
            } else if todo.is_empty() {
                // A name further on would need a directory here.
                return self.follow_hard_links(layer, place);
            } else {
                return Ok(Lookup::Missing);
            }
        }
        Ok(result)
    }

    /// The entry of exactly this name, in the layers from `newest` on.
    fn entry(&self, name: &[u8], newest: usize) -> Result<Lookup> {
        for (at, layer) in self.layers.iter().enumerate().skip(newest) {
            if let Some(place) = layer.find(name) {
                return Ok(Lookup::Entry(at, place));
            }
            if layer.hides(name)? {
                return Ok(Lookup::Missing);
            }
        }
        Ok(Lookup::Unknown)
    }

    /// The entry with the content. A link names an earlier entry of its layer, or what an older one
    /// has; where the layer has both names several times only the whole tree tells.
    fn follow_hard_links(&self, mut layer: usize, mut place: usize) -> Result<Lookup> {
        while self.layers[layer].listing.is_hard_link(place) {
            let listing = &self.layers[layer].listing;
            let target = Name::parse(listing.target(place).unwrap_or_default())?;
            if !self.leads_straight(target.as_bytes(), layer)? {
                return Ok(Lookup::Unknown);
            }
            match self.entry(target.as_bytes(), layer)? {
                Lookup::Entry(l, p) if l == layer && p >= place => return Ok(Lookup::Unknown),
                Lookup::Entry(l, p) if self.layers[l].listing.is_symlink(p) => {
                    return Ok(Lookup::Unknown);
                }
                Lookup::Entry(l, p) => (layer, place) = (l, p),
                other => return Ok(other),
            }
        }
        // A directory that a newer layer only implies may, through a link, have taken the file's place.
        let replaced = self.layers[..layer].iter().any(|newer| !newer.loose.is_empty());
        Ok(if replaced { Lookup::Unknown } else { Lookup::Entry(layer, place) })
    }

    /// Whether every directory above is one, and no link, as far as these layers tell.
    fn leads_straight(&self, name: &[u8], newest: usize) -> Result<bool> {
        let mut above = split(name).0;
        let doubted = |name| self.layers.iter().any(|layer| layer.doubts(name));
        if components(name).any(doubted) {
            return Ok(false);
        }
        while !above.is_empty() {
            match self.entry(above, newest)? {
                Lookup::Entry(layer, place) if self.layers[layer].listing.is_dir(place) => {}
                _ => return Ok(false),
            }
            above = split(above).0;
        }
        Ok(true)
    }
}

impl Layer {
    fn new(listing: Arc<Listing>) -> Self {
        let mut sorted: Vec<u32> = (0..listing.len() as u32).collect();
        sorted.sort_by(|&a, &b| listing.name(a as usize).cmp(listing.name(b as usize)));
        let (loose, odd) = find_loose(&listing);
        Self { listing, sorted, loose, odd }
    }

    /// Whether something of this name may lie elsewhere than the layer's names tell.
    fn doubts(&self, name: &[u8]) -> bool {
        self.odd || self.loose.contains(name)
    }

    /// The last entry of a name.
    fn find(&self, name: &[u8]) -> Option<usize> {
        let after = self.sorted.partition_point(|&at| self.listing.name(at as usize) <= name);
        let at = *self.sorted.get(after.checked_sub(1)?)? as usize;
        (self.listing.name(at) == name).then_some(at)
    }

    /// Whether older layers cannot have what the layer itself has no entry for.
    fn hides(&self, name: &[u8]) -> Result<bool> {
        let mut at = name;
        while !at.is_empty() {
            let (dir, last) = split(at);
            let whiteout = [whiteout::PREFIX, last].concat();
            let replaced = at.len() < name.len()
                && self.find(at).is_some_and(|place| !self.listing.is_dir(place));
            let hidden = self.find(&join(dir, &whiteout)).is_some()
                || self.find(&join(dir, whiteout::OPAQUE)).is_some();
            if hidden || replaced {
                return Ok(true);
            }
            at = dir;
        }
        Ok(false)
    }
}

/// The last components of names whose directory has no entry before them, and whether the layer does
/// what only applying it can follow: an entry in the place of a directory of its own.
fn find_loose(listing: &Listing) -> (HashSet<Vec<u8>>, bool) {
    let (mut dirs, mut loose, mut odd) = (HashSet::new(), HashSet::new(), false);
    for at in 0..listing.len() {
        let name = listing.name(at);
        let (dir, last) = split(name);
        if !dir.is_empty() && !dirs.contains(dir) {
            match whiteout::parse(last) {
                Ok(Some(Whiteout::Hide(hidden))) => loose.insert(hidden.to_vec()),
                Ok(None) => loose.insert(last.to_vec()),
                _ => {
                    odd = true;
                    false
                }
            };
        }
        // What is only implied may take the place of a file, or lie behind a link.
        let mut above = dir;
        while !above.is_empty() && !dirs.contains(above) {
            loose.insert(split(above).1.to_vec());
            above = split(above).0;
        }
        if listing.is_dir(at) {
            dirs.insert(name);
        } else {
            odd |= dirs.contains(name);
        }
    }
    (loose, odd)
}

fn join(dir: &[u8], name: &[u8]) -> Vec<u8> {
    if dir.is_empty() { name.to_vec() } else { [dir, b"/", name].concat() }
}

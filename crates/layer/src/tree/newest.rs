//! The newest layers of an image, where they alone can tell what a file is.
//!
//! A layer says what a path is where it has an entry for it, or hides what older layers have there.
//! What an older layer could still change is what the layer's own names mean: `lib/x` is `usr/lib/x`
//! where `lib` is a link below. Layers that have entries for the directories of their names, as almost
//! all have, leave no such doubt.

use std::sync::Arc;

use conex_spec::Result;

use super::{Listing, Tree};

/// Layers from the newest on.
#[derive(Debug, Default)]
pub struct Newest {
    layers: Vec<Arc<Listing>>,
}

impl Newest {
    /// Adds the next older layer.
    pub fn push(&mut self, listing: Arc<Listing>) {
        self.layers.push(listing);
    }

    /// What the layers so far come to, above as many others that were not read: where names may stand for
    /// something in those, [`Tree::look`] says so. Nothing where even that cannot be told.
    ///
    /// # Errors
    /// As [`Tree::apply`], where nothing is below.
    pub fn tree(&self, unread: usize) -> Result<Option<Tree>> {
        let mut tree = Tree::upper(unread);
        for listing in self.layers.iter().rev() {
            match tree.apply(Arc::clone(listing)) {
                Ok(()) if tree.unsure => return Ok(None),
                Ok(()) => {}
                // What looks wrong may only be a part of what is right.
                Err(_) if unread > 0 => return Ok(None),
                Err(err) => return Err(err),
            }
        }
        Ok(Some(tree))
    }
}

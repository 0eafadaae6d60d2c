//! What a folder answers without a thread of its own, because the kernel has it in memory.
//!
//! Handing a question to a thread that may wait takes longer than such an answer. Where the disk
//! would have to be asked, or anything is unusual, that thread is asked after all.

use std::fs::File;

use bytes::Bytes;
use conex_store::blobs;
use conex_store::commit::{Identity, NotAtHand};
use conex_store::seal;

use super::Inner;
use crate::file_body::CHUNK;
use crate::storage::home::{Content, Source, Version, Wanted};

impl Inner {
    /// [`Inner::look`] for content whose records are empty and whose bytes are not wanted at once.
    pub(super) fn look_at_hand(&self, wanted: &Wanted) -> Result<Option<Content>, NotAtHand> {
        let mut linked = None;
        if !wanted.links.is_empty() {
            linked = self.link_at_hand(&wanted.links)?;
            if linked.is_none() {
                return Ok(None);
            }
        }
        let path = blobs::path(&wanted.digest).map_err(|_| NotAtHand)?;
        let Some(file) = self.regular(&path)? else { return Ok(None) };
        let size = file.metadata().map_err(|_| NotAtHand)?.len();
        let few = wanted.bytes && size <= CHUNK as u64;
        // What has lost its seal is hashed, which takes its time.
        let sealed = seal::is_sealed(self.folder.key(), &file, &wanted.digest);
        if few || !sealed.unwrap_or(false) {
            return Err(NotAtHand);
        }
        Ok(Some(Content { size, link: Bytes::new(), linked, source: Source::File(file) }))
    }

    /// The first record that is there, which must be an empty one.
    fn link_at_hand(&self, links: &[String]) -> Result<Option<Version>, NotAtHand> {
        for name in links {
            let Some(file) = self.regular(name)? else { continue };
            if file.metadata().map_err(|_| NotAtHand)?.len() > 0 {
                return Err(NotAtHand);
            }
            return Identity::of(&file)
                .map(|seen| Some(Version::File(seen)))
                .map_err(|_| NotAtHand);
        }
        Ok(None)
    }

    pub(super) fn version_at_hand(&self, name: &str) -> Result<Option<Version>, NotAtHand> {
        let Some(file) = self.regular(name)? else { return Ok(None) };
        Identity::of(&file).map(|seen| Some(Version::File(seen))).map_err(|_| NotAtHand)
    }

    /// What is no plain file is left to who tells the fault.
    fn regular(&self, name: &str) -> Result<Option<File>, NotAtHand> {
        let Some(file) = self.folder.file_at_hand(name)? else { return Ok(None) };
        let plain = file.metadata().is_ok_and(|meta| meta.is_file());
        if plain { Ok(Some(file)) } else { Err(NotAtHand) }
    }
}

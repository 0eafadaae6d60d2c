//! A layout whose files nobody has judged yet, for who is to judge them.

use std::path::Path;
use std::sync::Arc;

use conex_spec::document::LIMIT;
use conex_spec::layout::{INDEX_FILE, MARKER_FILE};
use conex_spec::{Digest, Error, Kind, Location, Result};

use super::{Layout, no_folder};
use crate::blobs::{BLOBS, Blobs};
use crate::commit::Folder;
use crate::home::{Access, Home, Sort};

/// Any folder is taken for a layout.
const ANY: Sort = Sort { is_one: |_| Ok(true), make: |_| Ok(()), own_key: None };

impl Layout {
    /// Opens a folder that may be a layout: neither the marker nor `index.json` need be sound or
    /// there at all. Its blobs can be read as those of any other.
    ///
    /// # Errors
    /// `NotFound` where there is no folder.
    pub fn unchecked(dir: &Path) -> Result<Self> {
        // Told as the system tells it, where there is not even a folder.
        Folder::open(dir).map_err(|err| no_folder(err, dir))?;
        let location = Location::Layout { path: dir.into(), name: None };
        let home = Home::open(dir, Access::from(None), ANY)?;
        Ok(Self { home: Arc::new(home), location })
    }

    /// The marker file as it is; nothing where there is none.
    pub fn marker_file(&self) -> Result<Option<Vec<u8>>> {
        self.file_of(MARKER_FILE)
    }

    /// `index.json` as it is; nothing where there is none.
    pub fn index_file(&self) -> Result<Option<Vec<u8>>> {
        self.file_of(INDEX_FILE)
    }

    fn file_of(&self, name: &str) -> Result<Option<Vec<u8>>> {
        self.home.existing().map_or(Ok(None), |folder| folder.read(name, LIMIT))
    }

    /// The paths of all that lies in `blobs`, as `sha256/…`; nothing where there is no such
    /// folder. What is no folder itself is listed by its own name.
    pub fn blob_files(&self) -> Result<Option<Vec<String>>> {
        let Some(folder) = self.home.existing() else { return Ok(None) };
        if !folder.has(BLOBS)? {
            return Ok(None);
        }
        let mut files = Vec::new();
        for name in folder.list(BLOBS)? {
            match folder.list(&format!("{BLOBS}/{name}")) {
                Ok(below) => files.extend(below.iter().map(|file| format!("{name}/{file}"))),
                Err(err) if err.kind() == Kind::NoSpace => return Err(err),
                // No folder: a file, or a link.
                Err(_) => files.push(name),
            }
        }
        Ok(Some(files))
    }

    /// The size of a blob in bytes, whether or not anything refers to it; nothing if there is none.
    pub fn blob_size(&self, digest: &Digest) -> Result<Option<u64>> {
        let Some(folder) = self.home.existing() else { return Ok(None) };
        Ok(Blobs(folder).look(digest)?.map(|(size, _)| size))
    }

    /// The error of a folder that is no layout at all.
    pub fn missing(dir: &Path) -> Error {
        Error::not_found(format!("{} is no OCI layout", dir.display()))
            .expected(format!("a file `{MARKER_FILE}`"))
            .hint("name a folder that a tool wrote as an OCI layout, or copy an image there first")
    }
}

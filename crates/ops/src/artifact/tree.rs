//! Folders that were packed as one tar: everything in it lies below the folder's title, as oras writes
//! and reads it.

use std::fs::File;
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};

use conex_layer::unpack::{Devices, LayerInput, Options, Unpacker};
use conex_spec::{Algorithm, Compression, Digest, Error, Result};
use conex_tar::compression::{Decoder, detect};

/// Unpacks a tar to `target`, and tells where in it the folder `title` lies. `stated` is the digest
/// that the tar is said to have without compression.
///
/// # Security
/// The tar is unpacked as a layer of an image is, so that nothing of it leads out of `target`. Owners
/// stay those of the process, and devices are left out.
///
/// # Errors
/// `Invalid` where something in it lies outside of the title.
pub(super) fn unpack(
    tar: &Path,
    title: &str,
    stated: Option<&str>,
    target: &Path,
) -> Result<PathBuf> {
    let cannot = |err| Error::io("cannot read", tar, err);
    let mut file = File::open(tar).map_err(cannot)?;
    let mut head = [0; 512];
    let read = file.read(&mut head).map_err(cannot)?;
    let compression = detect(&head[..read]);
    file.rewind().map_err(cannot)?;
    let diff_id = match stated {
        Some(text) => text.parse()?,
        None => digest_inside(&file, compression, tar)?,
    };
    let options = Options {
        devices: Devices::Skip,
        privileged: Some(false),
        sync: false,
        ..Options::default()
    };
    let mut unpacker = Unpacker::new(target, options)?;
    unpacker.apply(LayerInput {
        compression,
        diff_id,
        reader: Box::new(file),
        name: String::new(),
    })?;
    unpacker.publish()?;
    only(target, title)
}

/// What the tar is called without compression.
fn digest_inside(file: &File, compression: Compression, path: &Path) -> Result<Digest> {
    let cannot = |err| Error::io("cannot read", path, err);
    let mut file = file;
    let mut decoder = Decoder::new(compression, file)?;
    let (mut hasher, mut buffer) = (Algorithm::Sha256.hasher(), vec![0; 256 << 10]);
    loop {
        let count = decoder.read(&mut buffer).map_err(cannot)?;
        if count == 0 {
            break;
        }
        hasher.update(&buffer[..count]);
    }
    file.rewind().map_err(cannot)?;
    Ok(hasher.finish())
}

/// The folder of a title, if nothing lies beside the way to it.
fn only(tree: &Path, title: &str) -> Result<PathBuf> {
    let mut at = tree.to_owned();
    for name in title.split('/') {
        let entries = std::fs::read_dir(&at).map_err(|err| Error::io("cannot read", &at, err))?;
        let mut below = Vec::new();
        for entry in entries.take(2) {
            let entry = entry.map_err(|err| Error::io("cannot read", &at, err))?;
            below.push((entry.file_name(), entry.file_type()));
        }
        match below.as_slice() {
            [(found, Ok(sort))] if found == name && sort.is_dir() => at.push(name),
            _ => {
                let found: Vec<_> = below
                    .iter()
                    .map(|(name, _)| format!("{:.80?}", name.to_string_lossy()))
                    .collect();
                return Err(Error::invalid("the tar of a folder holds something else")
                    .expected(format!("all of it below {title:?}"))
                    .found(found.join(", ")));
            }
        }
    }
    Ok(at)
}

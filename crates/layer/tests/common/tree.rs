//! Everything about a tree that a layer can say, to compare two of them.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use conex_layer::flatten::{Flat, Flattener, Limits, Marks, Stream};
use conex_layer::unpack::{LayerInput, Options, Report, Unpacker};
use conex_spec::{Compression, Digest, Result};

pub type Layer = (Compression, Vec<u8>, Digest);

/// A layer that is not compressed.
pub fn layer(tar: Vec<u8>) -> Layer {
    let digest = Digest::sha256(&tar);
    (Compression::None, tar, digest)
}

/// By name below the root, what is there.
pub fn snapshot(root: &Path) -> BTreeMap<String, String> {
    let mut seen = BTreeMap::new();
    let mut pending = vec![root.to_owned()];
    while let Some(path) = pending.pop() {
        let meta = fs::symlink_metadata(&path).unwrap();
        let mut line = format!(
            "{:o} {}:{} {}.{} links {} rdev {}",
            meta.mode(),
            meta.uid(),
            meta.gid(),
            meta.mtime(),
            meta.mtime_nsec(),
            if meta.is_dir() { 0 } else { meta.nlink() },
            meta.rdev(),
        );
        if meta.is_dir() {
            pending.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if meta.is_symlink() {
            line += &format!(" -> {:?}", fs::read_link(&path).unwrap());
        } else if meta.is_file() {
            let content = fs::read(&path).unwrap();
            line += &format!(" {} {}", content.len(), Digest::sha256(&content));
        }
        for (name, value) in xattrs(&path) {
            line += &format!(" {name}={value:?}");
        }
        let name = path.strip_prefix(root).unwrap().as_os_str().as_bytes().escape_ascii();
        seen.insert(name.to_string(), line);
    }
    seen
}

pub fn xattrs(path: &Path) -> Vec<(String, Vec<u8>)> {
    let mut buffer = vec![0; 64 << 10];
    let n = rustix::fs::llistxattr(path, &mut buffer[..]).unwrap_or(0);
    let names = buffer[..n].split(|&b| b == 0).filter(|name| !name.is_empty());
    let mut found: Vec<_> = names
        .map(|name| {
            let mut value = vec![0; 64 << 10];
            let n = rustix::fs::lgetxattr(path, name, &mut value[..]).unwrap_or(0);
            value.truncate(n);
            (name.escape_ascii().to_string(), value)
        })
        .collect();
    found.sort();
    found
}

pub fn input(number: usize, layer: &Layer) -> LayerInput {
    LayerInput {
        compression: layer.0,
        diff_id: layer.2.clone(),
        reader: Box::new(std::io::Cursor::new(layer.1.clone())),
        name: format!("layer {number}"),
    }
}

/// The same limits for those who write no tree.
pub fn limits(options: Options) -> Limits {
    Limits { max_bytes: options.max_bytes.unwrap_or(u64::MAX), max_entries: options.max_entries }
}

/// The layers as one tar.
pub fn flatten(layers: &[Layer], limits: Limits) -> Result<Vec<u8>> {
    let mut flattener = Flattener::new(limits);
    for (i, layer) in layers.iter().enumerate() {
        flattener.apply(input(i, layer))?;
    }
    write(layers, flattener.finish())
}

pub fn write(layers: &[Layer], flat: Flat) -> Result<Vec<u8>> {
    let wanted = flat.layers();
    let mut stream = Stream::new(flat, Vec::new());
    for i in wanted {
        stream.layer(i, input(i, &layers[i]))?;
    }
    stream.finish().map(|(tar, _)| tar)
}

/// Each layer in a folder of its own, as overlayfs stacks them.
pub fn folders(target: &Path, layers: &[Layer], marks: Marks, options: Options) -> Result<Report> {
    let mut unpacker = Unpacker::folders(target, options)?;
    let mut flattener = Flattener::new(limits(options));
    for (i, layer) in layers.iter().enumerate() {
        flattener.apply(input(i, layer))?;
        let flat = flattener.top(marks);
        let wanted = flat.layers();
        let mut stream = Stream::new(flat, Vec::new());
        for i in wanted {
            stream.layer(i, input(i, &layers[i]))?;
        }
        let (tar, flat) = stream.finish()?;
        unpacker.begin_folder(&(i + 1).to_string())?;
        unpacker.apply_own(Box::new(std::io::Cursor::new(tar)))?;
        flattener = flat.into_flattener();
    }
    unpacker.publish()
}

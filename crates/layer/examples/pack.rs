//! Packs a directory to a layer: `pack DIR FILE [none|gzip|zstd]`. For measuring.

#![allow(clippy::print_stderr, reason = "an example speaks to its user")]

use std::fs::File;
use std::path::Path;

use conex_layer::pack::{Options, pack};
use conex_spec::{Compression, Error, Result};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (dir, file, format) = match &arguments[..] {
        [dir, file] => (dir, file, "gzip"),
        [dir, file, format] => (dir, file, format.as_str()),
        _ => return Err(Error::invalid("usage: pack DIR FILE [none|gzip|zstd]")),
    };
    let mut options = Options::default();
    options.settings.compression = match format {
        "none" => Compression::None,
        "zstd" => Compression::Zstd,
        _ => Compression::Gzip,
    };
    let out = File::create(file).map_err(|err| Error::io("cannot make", file.as_ref(), err))?;
    let packed = pack(Path::new(dir), out, &options)?;
    eprintln!("{packed:?}");
    Ok(())
}

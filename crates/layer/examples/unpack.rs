//! Unpacks layer tars to a directory, for measuring: `unpack [--sync] TARGET LAYER[=DIFF_ID]...`.
//! Without its diff ID a layer is hashed first.

#![allow(clippy::print_stderr, reason = "an example speaks to its user")]

use std::fs::File;
use std::io::Read;
use std::path::Path;

use conex_layer::unpack::{LayerInput, Options, Unpacker};
use conex_spec::{Algorithm, Digest, Error, Result};
use conex_tar::compression::{Decoder, detect};

fn main() -> Result<()> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let sync = arguments.first().is_some_and(|argument| argument == "--sync");
    arguments.drain(..usize::from(sync));
    let [target, layers @ ..] = &arguments[..] else {
        return Err(Error::invalid("usage: unpack TARGET LAYER[=DIFF_ID]..."));
    };
    let options = Options { sync, ..Options::default() };
    let mut unpacker = Unpacker::new(Path::new(target), options)?;
    for layer in layers {
        let (path, diff_id) = match layer.split_once('=') {
            Some((path, digest)) => (path, digest.parse()?),
            None => (layer.as_str(), diff_id(layer)?),
        };
        let mut file = open(path)?;
        let mut head = [0; 4];
        file.read_exact(&mut head).map_err(|err| Error::io("cannot read", path.as_ref(), err))?;
        unpacker.apply(LayerInput {
            compression: detect(&head),
            diff_id,
            reader: Box::new(open(path)?),
            name: path.to_owned(),
        })?;
    }
    let report = unpacker.publish()?;
    eprintln!(
        "{} entries, {} bytes, {} warnings",
        report.entries,
        report.bytes,
        report.warnings.count()
    );
    for warning in report.warnings.kept() {
        eprintln!("warning: {warning}");
    }
    Ok(())
}

fn open(path: &str) -> Result<File> {
    File::open(path).map_err(|err| Error::io("cannot open", path.as_ref(), err))
}

fn diff_id(path: &str) -> Result<Digest> {
    let mut head = [0; 4];
    let mut file = open(path)?;
    file.read_exact(&mut head).map_err(|err| Error::io("cannot read", path.as_ref(), err))?;
    let mut decoder = Decoder::new(detect(&head), open(path)?)?;
    let mut hasher = Algorithm::Sha256.hasher();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match decoder.read(&mut buffer) {
            Ok(0) => return Ok(hasher.finish()),
            Ok(n) => hasher.update(&buffer[..n]),
            Err(err) => return Err(Error::io("cannot read", path.as_ref(), err)),
        }
    }
}

//! Bytes from files and to files, for the commands that move them as they are.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::Path;

use bytes::Bytes;
use futures_util::StreamExt;

use conex_ops::small_file;
use conex_spec::document::LIMIT;
use conex_spec::{Error, Result};
use conex_store::ByteStream;
use conex_store::archive::Output as Replacement;

use crate::output::Output;

/// Opens a file to read from; `-` is standard input.
pub fn open(path: &Path) -> Result<File> {
    if path != Path::new("-") {
        return File::open(path).map_err(|err| Error::io("cannot open", path, err));
    }
    let stdin = io::stdin().as_fd().try_clone_to_owned();
    stdin.map(File::from).map_err(|err| Error::from_io(err, || "cannot open standard input".into()))
}

/// Standard output as a file.
pub fn stdout() -> Result<File> {
    let stdout = io::stdout().as_fd().try_clone_to_owned();
    let cannot = |err| Error::from_io(err, || "cannot write to standard output".into());
    stdout.map(File::from).map_err(cannot)
}

/// A whole document, which is never larger than 8 MiB; `-` is standard input.
pub fn read(path: &Path) -> Result<Bytes> {
    let (limit, what) = (LIMIT as u64, "a document");
    match path == Path::new("-") {
        true => small_file::read_from(io::stdin().lock(), path, limit, what),
        false => small_file::read(path, limit, what),
    }
}

/// Writes content to a file, which is replaced when all of it is there and sound, or to standard
/// output, which gets it as it comes. Returns whether all of it was taken: a reader such as `head`
/// may go away before, and then no more is fetched.
pub async fn write(
    mut content: ByteStream,
    to: Option<&Path>,
    durable: bool,
    output: &Output,
) -> Result<bool> {
    let Some(path) = to.filter(|path| *path != Path::new("-")) else {
        while let Some(chunk) = content.next().await {
            if !output.stream_bytes(&chunk?)? {
                return Ok(false);
            }
        }
        return Ok(true);
    };
    let cannot = |err: Error| err.context(path.display());
    let mut file = Replacement::create(path, durable).map_err(cannot)?;
    while let Some(chunk) = content.next().await {
        file.write_all(&chunk?).map_err(|err| Error::making("cannot write", path, err))?;
    }
    file.finish().map_err(cannot)?;
    Ok(true)
}

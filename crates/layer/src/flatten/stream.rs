//! Writes a tree as one tar.

use std::io::{self, BufRead, Write};

use conex_spec::{Error, Result};
use conex_tar::{Entry, Kind, Piece, Reader, Writer, Xattr, show};

use super::plan::{Named, Rest};
use super::{Flat, Marks, read};
use crate::tree::NodeId;
use crate::unpack::LayerInput;

/// How many zeros of a hole are written at once.
const ZEROS: usize = 64 << 10;

/// A tar that is being written: first the layers of [`Flat::layers`] in any order, then the end.
#[derive(Debug)]
pub struct Stream<W: Write> {
    flat: Flat,
    writer: Writer<W>,
}

impl<W: Write> Stream<W> {
    /// Begins a tar; give it a buffered writer.
    pub fn new(flat: Flat, out: W) -> Self {
        Self { flat, writer: Writer::new(out) }
    }

    /// Writes the files that have their content in this layer.
    pub fn layer(&mut self, number: usize, layer: LayerInput) -> Result<()> {
        let name = layer.name.clone();
        let limits = self.flat.flattener.left.limits;
        read(layer, limits, |stream| self.files(number, stream)).map_err(|err| err.context(name))
    }

    /// Writes everything else and returns the stream, and the tree.
    pub fn finish(mut self) -> Result<(W, Flat)> {
        for (path, rest) in std::mem::take(&mut self.flat.plan.rest) {
            self.rest(path, rest)?;
        }
        Ok((self.writer.finish()?, self.flat))
    }

    fn files(&mut self, layer: usize, stream: impl BufRead) -> Result<()> {
        let mut reader = Reader::from_buffered(stream);
        let mut number = 0;
        while let Some(found) = reader.next_entry()? {
            if let Some(named) = self.flat.plan.files.remove(&(layer, number)) {
                self.file(&named, &found, &mut reader)?;
            }
            number += 1;
        }
        Ok(())
    }

    fn file<R: BufRead>(
        &mut self,
        named: &Named,
        found: &Entry,
        reader: &mut Reader<R>,
    ) -> Result<()> {
        let Some((first, _)) = named.names.split_first() else { return Ok(()) };
        let entry = self.entry(named.node, first.clone());
        if found.kind != Kind::File || found.size != entry.size {
            return Err(Error::invalid("layer changed while it was read").found(show(&found.path)));
        }
        self.writer.append_pieces(&entry, |out| {
            while let Some(piece) = reader.next_piece()? {
                match piece {
                    Piece::Data(data) => out(data)?,
                    Piece::Hole(length) => zeros(length, out)?,
                }
            }
            Ok(())
        })?;
        self.links(named)
    }

    fn rest(&mut self, path: Vec<u8>, rest: Rest) -> Result<()> {
        let entry = match rest {
            Rest::Node(node) => self.entry(node, path),
            Rest::Opaque(node) => {
                let mut entry = self.entry(node, path);
                entry.xattrs.push(opaque(self.flat.marks));
                entry
            }
            Rest::Whiteout => Entry::new(path, Kind::CharDevice { major: 0, minor: 0 }),
            Rest::Link(first) => Entry::new(path, Kind::HardLink(first)),
        };
        self.writer.append(&entry, io::empty())
    }

    /// The other names of what was just written.
    fn links(&mut self, named: &Named) -> Result<()> {
        let Some((first, more)) = named.names.split_first() else { return Ok(()) };
        for name in more {
            let mut link = self.entry(named.node, name.clone());
            link.kind = Kind::HardLink(first.clone());
            // They belong to the file, and are written with it.
            (link.size, link.xattrs) = (0, Vec::new());
            self.writer.append(&link, io::empty())?;
        }
        Ok(())
    }

    /// What the tree has, under a name of this tar.
    fn entry(&self, node: NodeId, path: Vec<u8>) -> Entry {
        Entry { path, ..self.flat.flattener.tree.entry(node) }
    }
}

fn opaque(marks: Marks) -> Xattr {
    let name = match marks {
        Marks::Trusted => &b"trusted.overlay.opaque"[..],
        Marks::User => b"user.overlay.opaque",
    };
    Xattr { name: name.to_vec(), value: b"y".to_vec() }
}

fn zeros(mut length: u64, out: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
    let zeros = vec![0; ZEROS];
    while length > 0 {
        let n = length.min(ZEROS as u64);
        out(&zeros[..n as usize])?;
        length -= n;
    }
    Ok(())
}

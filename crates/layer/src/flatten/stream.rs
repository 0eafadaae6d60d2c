//! Writes a tree as one tar.

use std::io::{self, BufRead, Write};

use conex_spec::{Error, Result};
use conex_tar::{Entry, Kind, Piece, Reader, Writer, Xattr, show};

use super::plan::{Named, Rest};
use super::tree::{Body, Node};
use super::{Flat, Marks, read};
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
        let number = u32::try_from(number).unwrap_or(u32::MAX);
        let limits = self.flat.flattener.limits;
        read(layer, limits, |stream| self.files(number, stream)).map_err(|err| err.context(name))
    }

    /// Writes everything else and returns the stream, and the tree.
    pub fn finish(mut self) -> Result<(W, Flat)> {
        for (path, rest) in std::mem::take(&mut self.flat.plan.rest) {
            self.rest(path, rest)?;
        }
        Ok((self.writer.finish()?, self.flat))
    }

    fn files(&mut self, layer: u32, stream: impl BufRead) -> Result<()> {
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
        let node = self.flat.flattener.nodes.get(named.node);
        let Body::File { size, .. } = node.body else {
            return Ok(());
        };
        if found.kind != Kind::File || found.size != size {
            return Err(Error::invalid("layer changed while it was read").found(show(&found.path)));
        }
        let Some((first, _)) = named.names.split_first() else { return Ok(()) };
        let mut entry = described(node, first.clone(), Kind::File);
        entry.size = size;
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
            Rest::Node(id) => {
                let node = self.flat.flattener.nodes.get(id);
                let kind = match &node.body {
                    Body::Dir(_) => Kind::Dir,
                    Body::Other(kind) => kind.clone(),
                    Body::File { .. } | Body::Unknown => return Ok(()),
                };
                described(node, path, kind)
            }
            Rest::Opaque(id) => {
                let mut entry = described(self.flat.flattener.nodes.get(id), path, Kind::Dir);
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
            let node = self.flat.flattener.nodes.get(named.node);
            let mut link = described(node, name.clone(), Kind::HardLink(first.clone()));
            // They belong to the file, and are written with it.
            link.xattrs.clear();
            self.writer.append(&link, io::empty())?;
        }
        Ok(())
    }
}

fn described(node: &Node, path: Vec<u8>, kind: Kind) -> Entry {
    let mut entry = Entry::new(path, kind);
    entry.mode = node.mode;
    (entry.uid, entry.gid) = (node.uid, node.gid);
    entry.mtime = node.mtime;
    entry.xattrs.clone_from(&node.xattrs);
    entry
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

//! The lines of text files that differ, as `diff -u` writes them.

use std::collections::{BTreeSet, HashMap};
use std::io::Read;
use std::time::Duration;

use conex_layer::Root;
use conex_layer::tree::{Aspect, Change, Difference, NodeId, contents};
use conex_spec::{Error, Result};
use conex_tar::{Piece, show};
use similar::{Algorithm, TextDiff};

use super::side::Side;
use crate::files::text;

/// Longer files are not compared by lines.
const MAX_FILE: u64 = 1 << 20;
/// Nor are files once so many bytes are held.
const MAX_TOTAL: u64 = 32 << 20;
/// A comparison that takes longer is finished coarsely.
const PATIENCE: Duration = Duration::from_secs(2);

/// For each file of the second tree whose content differs, what to say of it.
pub(super) async fn lines(
    a: &Side,
    b: &Side,
    changes: &[Change],
) -> Result<HashMap<NodeId, String>> {
    let (mut pairs, mut told, mut total) = (Vec::new(), HashMap::new(), 0);
    for change in changes {
        let (Difference::Changed(aspects), Some(old), Some(new)) =
            (&change.difference, change.old, change.new)
        else {
            continue;
        };
        if !aspects.contains(&Aspect::Content) {
            continue;
        }
        let (x, y) = (a.tree.entry(old).size, b.tree.entry(new).size);
        total += x + y;
        if x > MAX_FILE || y > MAX_FILE || total > MAX_TOTAL {
            told.insert(new, "Too large to be compared by lines\n".to_owned());
        } else {
            pairs.push((old, new));
        }
    }
    let old = bytes(a, pairs.iter().map(|pair| pair.0)).await?;
    let new = bytes(b, pairs.iter().map(|pair| pair.1)).await?;
    for (x, y) in pairs {
        let (before, after) = (old.get(&x), new.get(&y));
        let name = text(&b.tree.path(y));
        let lines = unified(
            before.map(Vec::as_slice).unwrap_or_default(),
            after.map(Vec::as_slice).unwrap_or_default(),
            &name,
        );
        told.insert(y, lines);
    }
    Ok(told)
}

/// The content of some files of one side, read in one pass over each layer.
async fn bytes(
    side: &Side,
    nodes: impl Iterator<Item = NodeId>,
) -> Result<HashMap<NodeId, Vec<u8>>> {
    let mut found = HashMap::new();
    let mut wanted: HashMap<usize, Vec<NodeId>> = HashMap::new();
    for node in nodes {
        if let Some((layer, _)) = side.tree.place(node) {
            wanted.entry(layer).or_default().push(node);
        }
    }
    for (layer, nodes) in wanted {
        if let Some(folder) = side.folder(layer) {
            let root = Root::open(folder)?;
            for node in nodes {
                found.insert(node, file(&root, &side.tree.path(node))?);
            }
            continue;
        }
        let offset = |node: &NodeId| side.tree.entry(*node).offset;
        let offsets: BTreeSet<u64> = nodes.iter().map(offset).collect();
        let mut read = side
            .read(layer, move |tar| {
                let mut read: HashMap<u64, Vec<u8>> = HashMap::new();
                contents(tar, &offsets, &mut |entry, piece| {
                    let content = read.entry(entry.offset).or_default();
                    match piece {
                        Piece::Data(data) => content.extend_from_slice(data),
                        // The size of the whole is known to be small.
                        Piece::Hole(length) => content.resize(content.len() + length as usize, 0),
                    }
                    Ok(())
                })?;
                Ok(read)
            })
            .await?;
        for node in nodes {
            // Names of one file have one content.
            let content = read.get_mut(&offset(&node)).cloned().unwrap_or_default();
            found.insert(node, content);
        }
    }
    Ok(found)
}

fn file(root: &Root, path: &[u8]) -> Result<Vec<u8>> {
    let mut content = Vec::new();
    let mut file = root.file(path)?.take(MAX_FILE);
    file.read_to_end(&mut content)
        .map_err(|err| Error::from_io(err, || format!("cannot read {}", show(path))))?;
    Ok(content)
}

fn unified(old: &[u8], new: &[u8], name: &str) -> String {
    let (Some(old), Some(new)) = (as_text(old), as_text(new)) else {
        return "Binary files differ\n".to_owned();
    };
    let diff =
        TextDiff::configure().algorithm(Algorithm::Myers).timeout(PATIENCE).diff_lines(old, new);
    let (from, to) = (format!("a/{name}"), format!("b/{name}"));
    diff.unified_diff().header(&from, &to).to_string()
}

fn as_text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok().filter(|text| !text.contains('\0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_told_as_diff_does() {
        let text = unified(b"one\ntwo\n", b"one\nthree\n", "etc/x");
        assert_eq!(text, "--- a/etc/x\n+++ b/etc/x\n@@ -1,2 +1,2 @@\n one\n-two\n+three\n");
        assert_eq!(unified(b"\0", b"x", "x"), "Binary files differ\n");
        assert!(unified(b"x", b"x\n", "x").contains("\\ No newline at end of file"));
    }
}

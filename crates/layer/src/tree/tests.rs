//! The tree itself; what it makes of whole layers is in `tests/layers/tree.rs`.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use super::*;

fn listing(entries: &[(&str, Kind)]) -> Arc<Listing> {
    let mut writer = conex_tar::Writer::new(Vec::new());
    for (path, kind) in entries {
        writer.append(&Entry::new(*path, kind.clone()), &b""[..]).unwrap();
    }
    Arc::new(Listing::read(&writer.finish().unwrap()[..], false).unwrap())
}

fn paths(tree: &Tree) -> Vec<String> {
    tree.walk(ROOT).map(|node| String::from_utf8(tree.path(node)).unwrap()).collect()
}

#[test]
fn names_come_in_the_order_of_their_bytes_and_folders_first() {
    let mut tree = Tree::default();
    tree.apply(listing(&[("b/z", Kind::File), ("a", Kind::File), ("b/y", Kind::File)])).unwrap();
    assert_eq!(paths(&tree), ["", "a", "b", "b/y", "b/z"]);
    tree.apply(listing(&[(".wh.b", Kind::File), ("b", Kind::File)])).unwrap();
    assert_eq!(paths(&tree), ["", "a", "b"]);
    assert_eq!(tree.count(), 3);
    assert_eq!(tree.layer(tree.child(ROOT, b"b").unwrap()), Some(1));
}

#[test]
fn names_of_one_file_share_what_it_is() {
    let mut tree = Tree::default();
    let links = [("f", Kind::File), ("g", Kind::HardLink(b"./f".to_vec()))];
    tree.apply(listing(&links)).unwrap();
    let [f, g] = [b"f", b"g"].map(|name| tree.child(ROOT, name).unwrap());
    assert_eq!(tree.inode_number(f), tree.inode_number(g));
    assert_eq!((tree.links(f), tree.entry(g).kind), (2, Kind::File));
    tree.apply(listing(&[(".wh.f", Kind::File)])).unwrap();
    assert_eq!((tree.links(g), tree.child(ROOT, b"f")), (1, None));
}

#[test]
fn what_is_compared_with_itself_is_the_same() {
    let mut tree = Tree::default();
    tree.apply(listing(&[("d/f", Kind::File), ("l", Kind::Symlink(b"d".to_vec()))])).unwrap();
    let mut other = Tree::default();
    other.apply(listing(&[("d/f", Kind::File), ("l", Kind::Symlink(b"e".to_vec()))])).unwrap();
    let compared = |a, b| compare(a, b, &mut |_, _| Ok(true)).unwrap();
    assert!(compared(&tree, &tree).is_empty());
    let changes = compared(&tree, &other);
    assert_eq!(changes.len(), 1);
    assert_eq!(changes[0].difference, Difference::Changed(vec![Aspect::Target]));
}

//! Layers, whiteouts and links put one upon the other.

use std::sync::Arc;

use conex_layer::tree::{Found, Listing, Newest, Tree, compare};

/// Two layers, one in each half of the input: they are merged, compared with each other, and looked into
/// from the newest on, which must tell nothing else than the whole tree.
pub fn merged(data: &[u8]) {
    let (base, top) = data.split_at(data.len() / 2 / 512 * 512);
    let listings = [base, top].map(|layer| Listing::read(layer, false).map(Arc::new));
    let [Ok(base), Ok(top)] = listings else { return };
    let (mut one, mut both) = (Tree::default(), Tree::default());
    if one.apply(Arc::clone(&base)).is_err() || both.apply(Arc::clone(&base)).is_err() {
        return;
    }
    if both.apply(Arc::clone(&top)).is_err() {
        return;
    }
    assert!(compare(&both, &both, &mut |_, _| Ok(true)).is_ok_and(|changes| changes.is_empty()));
    assert!(compare(&one, &both, &mut |_, _| Ok(true)).is_ok());
    let mut newest = Newest::default();
    newest.push(top);
    let (Ok(Some(upper)), Ok(Some(all))) = (newest.tree(1), {
        newest.push(base);
        newest.tree(0)
    }) else {
        return;
    };
    for node in both.walk(conex_layer::tree::ROOT).take(100) {
        let path = both.path(node);
        let Ok(found) = both.find(&path) else { continue };
        assert_eq!(all.find(&path).ok(), Some(found));
        match upper.look(&path) {
            // Of a directory the lower layer may say more.
            Ok(Found::Node(node)) if upper.is_dir(node) => {
                assert!(found.is_some_and(|found| both.is_dir(found)));
            }
            Ok(Found::Node(node)) => {
                assert_eq!(found.and_then(|found| both.place(found)), upper.place(node));
            }
            Ok(Found::Missing) => assert_eq!(found, None),
            Ok(Found::Unknown) | Err(_) => {}
        }
    }
}

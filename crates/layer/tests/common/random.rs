//! Layers at random, whose names meet.

use conex_layer::flatten::Limits;
use conex_tar::{Entry, Writer};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::tree::{Layer, flatten, layer};

/// Some layers that are an image without fault.
pub fn layers() -> impl Strategy<Value = Vec<Layer>> {
    vec(vec(entry(), 0..7), 1..4).prop_map(sound)
}

/// A few names only, so that they meet.
fn name() -> impl Strategy<Value = String> {
    let plain = || select(vec!["a", "b", "c", "l"]);
    let any = select(vec!["a", "b", "c", "l", ".wh.a", ".wh.b", ".wh.l", ".wh..wh..opq"]);
    (vec(plain(), 0..3), any)
        .prop_map(|(parents, last)| parents.into_iter().chain([last]).collect::<Vec<_>>().join("/"))
}

fn entry() -> impl Strategy<Value = (Entry, Vec<u8>)> {
    use conex_tar::Kind as Is;
    let target = select(vec!["a", "b", "../a", "/b/c", "a/b", "l", "c"]);
    let kind = prop_oneof![
        4 => Just(Is::Dir),
        4 => Just(Is::File),
        2 => target.clone().prop_map(|target| Is::Symlink(target.into())),
        1 => target.prop_map(|target| Is::HardLink(target.trim_start_matches("../").into())),
        1 => Just(Is::Fifo),
    ];
    (name(), kind, 0..0o7777u32, 0..9u32, "[xyz]{0,3}").prop_map(|(name, kind, mode, id, text)| {
        let is_whiteout = name.contains(".wh.");
        let kind = if is_whiteout { Is::File } else { kind };
        let content = if kind == Is::File && !is_whiteout { text.into_bytes() } else { Vec::new() };
        let mut entry = Entry::new(name, kind);
        (entry.mode, entry.uid, entry.gid) = (mode, id, id / 2);
        entry.mtime.secs = i64::from(mode * 10);
        entry.size = content.len() as u64;
        (entry, content)
    })
}

fn tar(entries: &[(Entry, Vec<u8>)]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    for (entry, content) in entries {
        writer.append(entry, &content[..]).unwrap();
    }
    writer.finish().unwrap()
}

/// Without the entries that make the whole image an error, which most random ones do.
fn sound(layers: Vec<Vec<(Entry, Vec<u8>)>>) -> Vec<Layer> {
    let mut sound: Vec<Layer> = Vec::new();
    for entries in layers {
        let mut kept: Vec<(Entry, Vec<u8>)> = Vec::new();
        for one in entries {
            kept.push(one);
            let all: Vec<_> = sound.iter().cloned().chain([layer(tar(&kept))]).collect();
            if flatten(&all, Limits::default()).is_err() {
                kept.pop();
            }
        }
        sound.push(layer(tar(&kept)));
    }
    sound
}

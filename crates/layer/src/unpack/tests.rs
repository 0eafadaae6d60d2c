use super::*;
use conex_tar::{Entry, Kind as EntryKind, Writer};
use std::os::unix::fs::MetadataExt;

fn layer(entries: &[Entry]) -> LayerInput {
    let mut writer = Writer::new(Vec::new());
    for entry in entries {
        writer.append(entry, std::io::empty()).unwrap();
    }
    let tar = writer.finish().unwrap();
    LayerInput {
        compression: Compression::None,
        diff_id: Digest::sha256(&tar),
        reader: Box::new(std::io::Cursor::new(tar)),
        name: "layer".into(),
    }
}

/// Where new files take the group of their folder, that group decides whether a file's group is
/// restored, and so whether its set-group-ID bit speaks of the right one (rule U10).
#[test]
fn the_group_that_a_folder_hands_down_decides_on_set_id_bits() {
    let temp = tempfile::tempdir().unwrap();
    let target = temp.path().join("rootfs");
    let options = Options { privileged: Some(false), sync: false, ..Options::default() };
    let mut unpacker = Unpacker::new(&target, options).unwrap();
    let (uid, gid) = (unpacker.cursor.creation.uid, unpacker.cursor.creation.gid);
    unpacker.cursor.creation.grpid = true;
    unpacker.cursor.top_mut().gid = gid + 1;
    let program =
        |name: &str, gid| Entry { uid, gid, mode: 0o2755, ..Entry::new(name, EntryKind::File) };
    unpacker.apply(layer(&[program("mine", gid), program("theirs", gid + 1)])).unwrap();
    let report = unpacker.publish().unwrap();
    let mode = |name| target.join(name).metadata().unwrap().mode() & 0o7777;
    assert_eq!((mode("mine"), mode("theirs")), (0o755, 0o2755));
    assert!(report.warnings.has(Code::SetIdDropped));
}

//! What unpacking did to a tree beside writing it: numbers of users were mapped, and without privilege
//! owners, set-ID bits, devices and some attributes were lost. None of that is a change.

use std::collections::HashSet;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;

use conex_layer::pack::{Owners, Plan};
use conex_layer::tree::{Aspect, Change, Difference, Listing, NodeId, Tree, compare};
use conex_layer::{IdMap, IdRange, Ids, OWNER_NOTED};
use conex_spec::{Error, Kind as Fault, Result};
use conex_tar::{Entry, Kind, Xattr};

/// More of a bundle's `config.json` is not read, in bytes.
const LIMIT: u64 = 8 << 20;

/// A folder that an image was unpacked to.
#[derive(Clone, Debug)]
pub struct Unpacked {
    /// The root file system.
    pub folder: PathBuf,
    /// The maps that it was unpacked with; of a bundle its `config.json` tells them.
    pub ids: Ids,
}

impl Unpacked {
    /// A root file system, or a bundle that has one.
    ///
    /// # Errors
    /// `Invalid` for a bundle whose `config.json` makes no sense.
    pub fn open(dir: &Path) -> Result<Self> {
        let (rootfs, config) = (dir.join("rootfs"), dir.join("config.json"));
        if config.is_file() && rootfs.is_dir() {
            return Ok(Self { folder: rootfs, ids: mapped(&config)? });
        }
        Ok(Self { folder: dir.to_owned(), ids: Ids::default() })
    }
}

/// The little of a bundle's config that tells whose the files are: runtime specification,
/// config-linux.md, "User namespace mappings".
#[derive(Default, Deserialize)]
#[serde(default)]
struct Config {
    linux: Linux,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Linux {
    uid_mappings: Vec<Mapping>,
    gid_mappings: Vec<Mapping>,
}

#[derive(Deserialize)]
struct Mapping {
    #[serde(rename = "containerID")]
    container: u32,
    #[serde(rename = "hostID")]
    host: u32,
    size: u32,
}

fn mapped(path: &Path) -> Result<Ids> {
    let mut bytes = Vec::new();
    let file = File::open(path).and_then(|file| file.take(LIMIT).read_to_end(&mut bytes));
    file.map_err(|err| Error::io("cannot read", path, err))?;
    let config: Config = serde_json::from_slice(&bytes).map_err(|err| {
        Error::invalid(format!("{} makes no sense", path.display()))
            .expected("the config of a runtime bundle")
            .found(err)
    })?;
    let map = |mappings: Vec<Mapping>| {
        let range = |it: &Mapping| format!("{}:{}:{}", it.container, it.host, it.size).parse();
        IdMap::new(&mappings.iter().map(range).collect::<Result<Vec<IdRange>>>()?)
    };
    let ids = map(config.linux.uid_mappings).and_then(|users| {
        Ok(Ids { users, groups: map(config.linux.gid_mappings)?, remember: false })
    });
    ids.map_err(|err| err.context(path.display()))
}

/// The folder beside its image, and what was changed in it.
pub(super) struct Compared {
    pub(super) disk: Tree,
    pub(super) image: Tree,
    pub(super) changes: Vec<Change>,
    /// Files of the same size and time.
    pub(super) doubtful: Vec<(NodeId, NodeId)>,
    lost: Lost,
}

/// What the disk does not tell of the image.
#[derive(Clone, Copy)]
struct Lost {
    ids: Ids,
    /// No owner is what it was.
    owners: bool,
    /// Someone said whose the files in the layer are.
    given: bool,
    /// Set-ID bits, devices, attributes of the system.
    rights: bool,
}

/// Compares an image with what became of it. `owners` are those that the layer is to have, if someone
/// said it.
pub(super) fn changes(
    unpacked: &Unpacked,
    image: Tree,
    owners: &Owners,
    privileged: bool,
) -> Result<Compared> {
    let given = *owners != Owners::Keep;
    // What is said takes the place of what is found.
    let ids = if given { Ids::default() } else { unpacked.ids };
    let owners = given || !privileged && ids.users.is_empty();
    let lost = Lost { ids, owners, given, rights: !privileged };
    let mut compared = Compared::new(&unpacked.folder, image, lost)?;
    if !given && compared.are_owners_noted() {
        let ids = noting(unpacked)?;
        let lost = Lost { ids, owners: false, given, rights: true };
        compared = Compared::new(&unpacked.folder, compared.image, lost)?;
    }
    compared.forgive();
    Ok(compared)
}

/// Whoever unpacked a tree without privilege is root in it, and all of it is theirs.
fn noting(unpacked: &Unpacked) -> Result<Ids> {
    let mut ids = Ids { remember: true, ..unpacked.ids };
    if ids.users.is_empty() {
        let folder = std::fs::metadata(&unpacked.folder);
        let folder = folder.map_err(|err| Error::io("cannot read", &unpacked.folder, err))?;
        ids.users = IdMap::only_root(folder.uid());
        ids.groups = IdMap::only_root(folder.gid());
    }
    Ok(ids)
}

impl Compared {
    fn new(folder: &Path, image: Tree, lost: Lost) -> Result<Self> {
        let mut disk = Tree::default();
        let listing = Listing::of_unpacked(folder, &lost.ids).map_err(|err| match err.kind() {
            Fault::Usage => err.context("cannot tell the owners of the tree"),
            _ => err,
        })?;
        disk.apply(Arc::new(listing))?;
        let mut doubtful = Vec::new();
        let changes = compare(&image, &disk, &mut |a, b| {
            doubtful.push((a, b));
            Ok(true)
        })?;
        Ok(Self { disk, image, changes, doubtful, lost })
    }

    /// Whether the tree was unpacked by someone without privilege, who notes owners in an attribute. One
    /// that the image has itself is data.
    fn are_owners_noted(&self) -> bool {
        let note = |tree: &Tree, node: NodeId| {
            tree.entry(node).xattrs.into_iter().find(|xattr| xattr.name == OWNER_NOTED)
        };
        self.changes.iter().any(|change| {
            let found = change.new.and_then(|node| note(&self.disk, node));
            found.is_some() && found != change.old.and_then(|node| note(&self.image, node))
        })
    }

    /// Takes out what unpacking itself has changed.
    fn forgive(&mut self) {
        let (disk, image, lost) = (&self.disk, &self.image, self.lost);
        self.changes.retain_mut(|change| {
            let Some((old, new)) = change.old.zip(change.new) else { return true };
            let Difference::Changed(aspects) = &mut change.difference else { return true };
            let (old, new) = (image.entry(old), disk.entry(new));
            aspects.retain(|aspect| !lost.explains(*aspect, &old, &new));
            !aspects.is_empty()
        });
    }

    /// How the layer is written, and whose the files in it are.
    pub(super) fn plan(&self, more: Vec<Change>, owners: &mut Owners) -> Plan {
        let (disk, image, lost) = (&self.disk, &self.image, self.lost);
        let changes: Vec<_> = self.changes.iter().cloned().chain(more).collect();
        let mut plan = Plan::new(disk, image, &changes);
        if lost.given {
            return plan;
        }
        *owners = match lost.owners {
            true => Owners::Set { uid: 0, gid: 0 },
            false => Owners::Unpacked(lost.ids),
        };
        if lost.rights {
            plan.set_owners(disk, image, |new, old| {
                lost.owner(&image.entry(old), &disk.entry(new))
            });
        }
        plan
    }
}

impl Lost {
    /// Whether an aspect differs only since the tree was unpacked as it was.
    fn explains(&self, aspect: Aspect, old: &Entry, new: &Entry) -> bool {
        match aspect {
            Aspect::Owner => self.given || self.owner(old, new) == (old.uid, old.gid),
            // Without privilege no file keeps a set-ID bit (rule U10), and no device is made.
            Aspect::Mode => {
                let lost = if is_device(old) { 0o777 } else { 0o1777 };
                self.rights && (old.mode & lost == new.mode || is_placeholder(old, new))
            }
            Aspect::Kind => self.rights && is_placeholder(old, new),
            Aspect::Xattrs => self.rights && kept(old) == kept(new) && !has_more(new, old),
            _ => false,
        }
    }

    /// Whose a file is that was `old` and is now `new`. What could not be given and could not be noted
    /// is as it was.
    fn owner(&self, old: &Entry, new: &Entry) -> (u32, u32) {
        let Self { ids, owners, .. } = self;
        if *owners {
            return (old.uid, old.gid);
        }
        if !ids.remember {
            return (new.uid, new.gid);
        }
        let noted = matches!(old.kind, Kind::File | Kind::Dir);
        let pick = |map: &IdMap, old: u32, new: u32| {
            let unknown = new == 0 && (!noted || map.host(old).is_some());
            if unknown { old } else { new }
        };
        (pick(&ids.users, old.uid, new.uid), pick(&ids.groups, old.gid, new.gid))
    }
}

fn is_device(entry: &Entry) -> bool {
    matches!(entry.kind, Kind::CharDevice { .. } | Kind::BlockDevice { .. })
}

/// Whether the empty file stands for a device.
fn is_placeholder(old: &Entry, new: &Entry) -> bool {
    is_device(old) && new.kind == Kind::File && new.size == 0
}

/// The attributes that everyone may set.
fn kept(entry: &Entry) -> HashSet<&Xattr> {
    let all = entry.xattrs.iter().filter(|xattr| xattr.name != OWNER_NOTED);
    let may = matches!(entry.kind, Kind::File | Kind::Dir);
    let open =
        |name: &[u8]| may && (name.starts_with(b"user.") || name.starts_with(b"system.posix_acl_"));
    all.filter(|xattr| open(&xattr.name)).collect()
}

/// Whether `one` has any attribute that `other` does not have.
fn has_more(one: &Entry, other: &Entry) -> bool {
    one.xattrs.iter().any(|xattr| !other.xattrs.contains(xattr))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(mode: u32, xattrs: &[(&str, &str)]) -> Entry {
        let mut entry = Entry { mode, ..Entry::new("f", Kind::File) };
        entry.xattrs = xattrs
            .iter()
            .map(|(name, value)| Xattr { name: (*name).into(), value: (*value).into() })
            .collect();
        entry
    }

    const NOTHING: Lost = Lost {
        ids: Ids { users: NONE, groups: NONE, remember: false },
        owners: false,
        given: false,
        rights: false,
    };
    const NONE: IdMap = IdMap::NONE;

    #[test]
    fn what_is_lost_without_privilege_is_no_change() {
        let lost = Lost { rights: true, ..NOTHING };
        let device =
            Entry { mode: 0o660, ..Entry::new("d", Kind::CharDevice { major: 1, minor: 3 }) };
        let capable = file(0o755, &[("security.capability", "x"), ("user.a", "1")]);
        for (aspect, old, new, expected) in [
            (Aspect::Mode, file(0o4755, &[]), file(0o755, &[]), true),
            (Aspect::Mode, file(0o4755, &[]), file(0o700, &[]), false),
            (Aspect::Mode, file(0o755, &[]), file(0o4755, &[]), false),
            (Aspect::Kind, device.clone(), file(0o660, &[]), true),
            (Aspect::Kind, device, Entry { size: 1, ..file(0o660, &[]) }, false),
            (Aspect::Xattrs, capable.clone(), file(0o755, &[("user.a", "1")]), true),
            (Aspect::Xattrs, capable.clone(), file(0o755, &[]), false),
            (Aspect::Xattrs, file(0o755, &[]), capable, false),
            (Aspect::Time, file(0, &[]), file(0, &[]), false),
        ] {
            assert_eq!(lost.explains(aspect, &old, &new), expected, "{aspect:?} {old:?}");
            assert!(!NOTHING.explains(aspect, &old, &new), "{aspect:?}");
        }
    }

    #[test]
    fn owners_that_could_not_be_noted_are_as_they_were() {
        let map = |text: &str| IdMap::new(&[text.parse().unwrap()]).unwrap();
        let owned = |kind, uid| Entry { uid, gid: uid, ..Entry::new("f", kind) };
        let narrow =
            Ids { users: IdMap::only_root(9), groups: IdMap::only_root(9), remember: true };
        let wide = Ids { users: map("0:9:100"), groups: map("0:9:100"), remember: true };
        let link = || Kind::Symlink(b"x".to_vec());
        for (ids, kind, old, new, expected) in [
            (narrow, Kind::File, 0, 0, 0),
            (narrow, Kind::File, 33, 33, 33),
            (narrow, Kind::File, 33, 34, 34),
            // The note was taken away.
            (narrow, Kind::File, 33, 0, 0),
            (narrow, link(), 33, 0, 33),
            (wide, Kind::Dir, 33, 0, 33),
            (wide, Kind::Dir, 133, 0, 0),
        ] {
            let lost = Lost { ids, ..NOTHING };
            let found = lost.owner(&owned(kind.clone(), old), &owned(kind.clone(), new));
            assert_eq!(found, (expected, expected), "{kind:?} {old} {new}");
        }
        let all = Lost { owners: true, ..NOTHING };
        assert_eq!(all.owner(&owned(Kind::File, 7), &owned(Kind::File, 0)), (7, 7));
        assert_eq!(NOTHING.owner(&owned(Kind::File, 7), &owned(Kind::File, 8)), (8, 8));
    }

    #[test]
    fn a_bundle_tells_its_maps() {
        let dir = tempfile::tempdir().unwrap();
        let open = |config: &str| {
            std::fs::write(dir.path().join("config.json"), config).unwrap();
            Unpacked::open(dir.path())
        };
        assert_eq!(open("{}").unwrap().folder, dir.path());
        std::fs::create_dir(dir.path().join("rootfs")).unwrap();
        let plain = open(r#"{"linux":{"namespaces":[]}}"#).unwrap();
        assert_eq!((plain.folder, plain.ids), (dir.path().join("rootfs"), Ids::default()));
        let map = r#"[{"containerID":0,"hostID":100000,"size":65536}]"#;
        let mapped = open(&format!(r#"{{"linux":{{"uidMappings":{map},"gidMappings":{map}}}}}"#));
        let ids = mapped.unwrap().ids;
        assert_eq!((ids.users.container(100_033), ids.groups.host(5)), (Some(33), Some(100_005)));
        for bad in ["[", r#"{"linux":{"uidMappings":[{"containerID":-1,"hostID":0,"size":1}]}}"#] {
            assert!(open(bad).is_err(), "{bad}");
        }
    }
}

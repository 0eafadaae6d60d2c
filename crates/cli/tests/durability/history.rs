//! What is done one step after the other, and what may be there if the power fails between.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use conex_spec::Digest;
use serde_json::Value;

use crate::disk::Event;
use crate::registry::{self, REGISTRY};
use crate::support::layout;
use crate::support::program::Conex;
use crate::support::scratch::Scratch;
use crate::support::serving::Serve;

/// The names of a layout or store, and the digest that each stands for.
pub type Names = BTreeMap<String, String>;

/// A command, and the names that are there after it.
pub struct Step {
    pub arguments: Vec<String>,
    pub names: Names,
}

/// Steps on one folder of a disk.
pub struct History {
    pub scratch: Scratch,
    pub conex: Conex,
    pub steps: Vec<Step>,
    /// What the steps are about, on the disk.
    pub place: Place,
}

/// Something on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Layout,
    /// The person's own store.
    Store,
    /// An archive for each name.
    Archives,
    /// A root file system for each name.
    Trees,
    /// A registry, with a repository `app`.
    Registry,
}

/// The folder of the disk in which everything lies.
pub const FOLDER: &str = "place";

impl History {
    /// Runs a step on the mounted disk.
    pub fn step(&self, step: usize, mounted: &Path) -> crate::support::program::Run {
        let mounted_as = mounted.display().to_string();
        let step = &self.steps[step].arguments;
        let served = step.iter().any(|part| part.contains(REGISTRY));
        let serving = served.then(|| Serve::folder(&mounted.join(FOLDER)).start());
        let address = serving.as_ref().map_or("", |serving| &serving.address);
        let arguments: Vec<_> = step
            .iter()
            .map(|part| part.replace("DISK", &mounted_as).replace(REGISTRY, address))
            .collect();
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        self.conex_on(mounted).run(&arguments)
    }

    /// conex as the person runs it, with the store on the disk where the history is about it.
    pub fn conex_on(&self, mounted: &Path) -> Conex {
        if self.place == Place::Store {
            self.conex.with_store(mounted.join(FOLDER))
        } else {
            self.conex.with_store(self.conex.store().to_owned())
        }
    }

    /// The names after so many steps.
    pub fn names(&self, steps: usize) -> Names {
        steps.checked_sub(1).map_or_else(Names::new, |last| self.steps[last].names.clone())
    }

    /// Fails unless the folder holds what is there after `done` steps, or after one more where
    /// that one had begun; returns how many steps it shows.
    pub fn check(&self, mounted: &Path, done: usize, begun: usize) -> Result<usize, String> {
        let folder = mounted.join(FOLDER);
        let found = self.look(&folder)?;
        let shown = (done..=begun).find(|steps| self.names(*steps) == found).ok_or_else(|| {
            format!(
                "after {done} steps, {begun} begun: expected {:?}, found {found:?}",
                self.names(done)
            )
        })?;
        if matches!(self.place, Place::Layout | Place::Store) {
            found.values().try_for_each(|digest| sound(&folder, digest))?;
        }
        if self.place == Place::Registry {
            found.values().try_for_each(|digest| registry::sound(&folder, digest))?;
        }
        Ok(shown)
    }

    /// The location of an image that is there; a tree is none.
    pub fn location(&self, name: &str, mounted: &Path) -> Option<String> {
        let folder = mounted.join(FOLDER);
        match self.place {
            Place::Layout => Some(format!("oci:{}:{name}", folder.display())),
            Place::Store => Some(format!("store:{name}")),
            Place::Archives => Some(format!("oci-archive:{}", folder.join(name).display())),
            Place::Trees | Place::Registry => None,
        }
    }

    /// The names that are there, read with nothing of conex's own, and what each stands for.
    fn look(&self, folder: &Path) -> Result<Names, String> {
        match self.place {
            Place::Layout => layout_names(folder),
            Place::Store => store_names(&folder.join("refs")),
            Place::Archives => each(folder, archived),
            Place::Trees => each(folder, listing),
            Place::Registry => registry::names(folder),
        }
    }
}

/// How many steps were acknowledged, and how many begun, before this place in the log.
pub fn progress(log: &[Event]) -> (usize, usize) {
    let mut progress = (0, 0);
    for event in log {
        match event {
            Event::Started(step) => progress.1 = step + 1,
            Event::Acknowledged(step) => progress.0 = step + 1,
            Event::Write(..) | Event::Flush => {}
        }
    }
    progress
}

/// The local store has a file for each name.
fn store_names(refs: &Path) -> Result<Names, String> {
    let mut names = Names::new();
    if !refs.exists() {
        return Ok(names);
    }
    for entry in std::fs::read_dir(refs).map_err(|err| err.to_string())? {
        let path = entry.map_err(|err| err.to_string())?.path();
        let bytes = std::fs::read(&path).map_err(|err| err.to_string())?;
        let entry: Value = serde_json::from_slice(&bytes)
            .map_err(|err| format!("{}: {err}: {} bytes", path.display(), bytes.len()))?;
        names.insert(layout::text(&entry["name"]), layout::text(&entry["root"]["digest"]));
    }
    Ok(names)
}

fn layout_names(folder: &Path) -> Result<Names, String> {
    let path = folder.join("index.json");
    let Ok(bytes) = std::fs::read(&path) else { return Ok(Names::new()) };
    let index: Value = serde_json::from_slice(&bytes)
        .map_err(|err| format!("{}: {err}: {} bytes", path.display(), bytes.len()))?;
    let roots = index["manifests"].as_array().ok_or("no manifests")?;
    let name = |root: &Value| {
        let name = root["annotations"]["org.opencontainers.image.ref.name"].as_str();
        (name.unwrap_or_default().to_owned(), layout::text(&root["digest"]))
    };
    Ok(roots.iter().map(name).collect())
}

/// What each visible file or folder is.
fn each(folder: &Path, what: fn(&Path) -> Result<String, String>) -> Result<Names, String> {
    let mut names = Names::new();
    for entry in std::fs::read_dir(folder).map_err(|err| err.to_string())?.flatten() {
        let name = entry.file_name().into_string().unwrap();
        // What is begun is hidden.
        if !name.starts_with('.') {
            names.insert(name, what(&entry.path())?);
        }
    }
    Ok(names)
}

/// The digest of the only image in an archive, as tar sees it.
fn archived(archive: &Path) -> Result<String, String> {
    let output = Command::new("tar").arg("-xOf").arg(archive).arg("index.json").output().unwrap();
    let index: Value = serde_json::from_slice(&output.stdout)
        .map_err(|err| format!("{}: {err}", archive.display()))?;
    Ok(layout::text(&index["manifests"][0]["digest"]))
}

/// All there is in a tree, in one digest.
pub fn listing(tree: &Path) -> Result<String, String> {
    let mut all = Vec::new();
    list(tree, &mut all).map_err(|err| format!("{}: {err}", tree.display()))?;
    Ok(Digest::sha256(&all).to_string())
}

fn list(tree: &Path, all: &mut Vec<u8>) -> std::io::Result<()> {
    let mut entries: Vec<_> = std::fs::read_dir(tree)?.flatten().collect();
    entries.sort_unstable_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let kind = entry.file_type()?;
        all.extend_from_slice(entry.file_name().as_encoded_bytes());
        if kind.is_dir() {
            list(&entry.path(), all)?;
        } else if kind.is_symlink() {
            all.extend_from_slice(std::fs::read_link(entry.path())?.as_os_str().as_encoded_bytes());
        } else {
            all.extend_from_slice(&std::fs::read(entry.path())?);
        }
        all.push(0);
    }
    Ok(())
}

/// Every blob that an image needs is there and has its digest.
fn sound(folder: &Path, digest: &str) -> Result<(), String> {
    let bytes = intact(folder, digest)?;
    let manifest: Value = serde_json::from_slice(&bytes).map_err(|err| err.to_string())?;
    for list in ["manifests", "layers"] {
        for child in manifest[list].as_array().into_iter().flatten() {
            let child = layout::text(&child["digest"]);
            if list == "manifests" {
                sound(folder, &child)?;
            } else {
                intact(folder, &child).map(drop)?;
            }
        }
    }
    match manifest["config"]["digest"].as_str() {
        Some(config) => intact(folder, config).map(drop),
        None => Ok(()),
    }
}

pub fn intact(folder: &Path, digest: &str) -> Result<Vec<u8>, String> {
    let path: PathBuf = layout::blob(folder, digest);
    let bytes = std::fs::read(&path).map_err(|err| format!("{}: {err}", path.display()))?;
    let found = Digest::sha256(&bytes).to_string();
    if found == digest { Ok(bytes) } else { Err(format!("{digest} is damaged: {found}")) }
}

//! A registry on a disk: each step starts a server there, does something with it, and kills it.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use crate::history::{Names, intact};
use crate::support::layout;

/// What stands in a step for the address of the server.
pub const REGISTRY: &str = "REGISTRY";

/// The tags of the repository `app`, read with nothing of conex's own.
pub fn names(folder: &Path) -> Result<Names, String> {
    let mut names = Names::new();
    let Ok(entries) = std::fs::read_dir(folder.join("repositories/app/_tags")) else {
        return Ok(names);
    };
    for entry in entries.flatten() {
        let digest = std::fs::read_to_string(entry.path()).map_err(|err| err.to_string())?;
        names.insert(entry.file_name().into_string().unwrap(), digest);
    }
    Ok(names)
}

/// All that an image needs is linked and there, and has its digest.
pub fn sound(folder: &Path, digest: &str) -> Result<(), String> {
    let app = folder.join("repositories/app");
    let link = |kind: &str, digest: &str| {
        let path = app.join(kind).join(digest.replace(':', "/"));
        if path.is_file() { Ok(()) } else { Err(format!("no link {}", path.display())) }
    };
    link("_manifests", digest)?;
    let manifest: Value =
        serde_json::from_slice(&intact(folder, digest)?).map_err(|err| err.to_string())?;
    let layers = manifest["layers"].as_array().into_iter().flatten();
    let children: BTreeSet<_> =
        layers.chain([&manifest["config"]]).map(|child| layout::text(&child["digest"])).collect();
    for child in children {
        link("_blobs", &child)?;
        intact(folder, &child)?;
    }
    Ok(())
}

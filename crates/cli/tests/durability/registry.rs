//! A registry on a disk: each step starts a server there, does something with it, and kills it.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::history::{Names, intact};
use crate::support::layout;

/// What stands in a step for the address of the server.
pub const REGISTRY: &str = "REGISTRY";

/// A server of a folder; killed when it is dropped, as by `kill -9`.
pub struct Serving {
    child: Child,
    pub address: String,
}

impl Serving {
    pub fn start(folder: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_conex"))
            .args(["serve", "--listen", "127.0.0.1:0", "--root"])
            .arg(folder)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().rsplit_once("http://").map(|(_, address)| address.to_owned());
        Self { child, address: address.unwrap_or_else(|| panic!("no server: {line}")) }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

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

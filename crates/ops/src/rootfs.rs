//! `conex validate --rootfs`: whether a tree is still what its manifest says.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use serde::Serialize;

use conex_layer::Root;
use conex_layer::mtree::check;
use conex_spec::{Error, Result};
use conex_store::bridge;

/// What came of it.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The tree.
    pub rootfs: PathBuf,
    /// Whether it is what the manifest says.
    pub sound: bool,
    /// How it differs.
    pub differences: Vec<Difference>,
}

/// One way in which a tree differs from its manifest.
#[derive(Clone, Debug, Serialize)]
pub struct Difference {
    /// The name below the root; control characters are escaped.
    pub path: String,
    /// Which keyword of mtree(5), or `name`.
    pub keyword: String,
    /// What the manifest says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// What is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub found: Option<String>,
    /// All of that in one line.
    #[serde(skip)]
    pub line: String,
}

/// Compares a tree with a manifest, as `conex unpack --mtree`, go-mtree or bsdtar write it.
pub async fn validate_rootfs(rootfs: &Path, manifest: &Path) -> Result<Report> {
    let (dir, manifest) = (rootfs.to_owned(), manifest.to_owned());
    let differences = bridge::blocking(move || {
        let root = Root::open(&dir)?;
        let file = File::open(&manifest);
        let file = file.map_err(|err| Error::io("cannot open", &manifest, err))?;
        check(&root, BufReader::new(file)).map_err(|err| err.context(manifest.display()))
    })
    .await?;
    let shown = |value: Option<Vec<u8>>| value.map(|value| conex_tar::show(&value));
    let differences: Vec<_> = differences
        .into_iter()
        .map(|difference| Difference {
            line: difference.to_string(),
            path: conex_tar::show(&difference.path),
            keyword: difference.keyword,
            expected: shown(difference.expected),
            found: shown(difference.found),
        })
        .collect();
    Ok(Report { rootfs: rootfs.to_owned(), sound: differences.is_empty(), differences })
}

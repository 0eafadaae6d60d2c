//! OCI layouts as a stranger reads and writes them: with nothing of conex's own.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

/// The path of a blob.
pub fn blob(layout: &Path, digest: &str) -> PathBuf {
    layout.join("blobs").join(digest.replace(':', "/"))
}

/// A document of a layout.
pub fn document(layout: &Path, digest: &str) -> Value {
    serde_json::from_slice(&fs::read(blob(layout, digest)).unwrap()).unwrap()
}

/// The entries of `index.json`.
pub fn roots(layout: &Path) -> Vec<Value> {
    let index: Value =
        serde_json::from_slice(&fs::read(layout.join("index.json")).unwrap()).unwrap();
    index["manifests"].as_array().unwrap().clone()
}

/// The tags of a layout, in order.
pub fn tags(layout: &Path) -> Vec<String> {
    let name = |root: &Value| {
        root["annotations"]["org.opencontainers.image.ref.name"].as_str().map(str::to_owned)
    };
    let mut tags: Vec<_> = roots(layout).iter().filter_map(name).collect();
    tags.sort_unstable();
    tags
}

/// The digest that a tag stands for.
pub fn tagged(layout: &Path, tag: &str) -> String {
    let roots = roots(layout);
    let root =
        roots.iter().find(|root| root["annotations"]["org.opencontainers.image.ref.name"] == tag);
    text(&root.unwrap_or_else(|| panic!("no {tag} in {}", layout.display()))["digest"])
}

/// A string of a document.
pub fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// The digests and sizes of an image: manifest, config, layers.
pub fn content(layout: &Path, manifest: &str) -> Vec<(String, u64)> {
    let document = document(layout, manifest);
    let size = fs::metadata(blob(layout, manifest)).unwrap().len();
    let children = [&document["config"]].into_iter().chain(document["layers"].as_array().unwrap());
    let children = children.map(|blob| (text(&blob["digest"]), blob["size"].as_u64().unwrap()));
    [(manifest.to_owned(), size)].into_iter().chain(children).collect()
}

/// A layout that is written by hand, so that it may hold anything.
#[derive(Debug)]
pub struct Handmade {
    pub dir: PathBuf,
}

impl Handmade {
    pub fn new(dir: PathBuf) -> Self {
        fs::create_dir_all(dir.join("blobs/sha256")).unwrap();
        fs::write(dir.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        Self { dir }
    }

    /// Adds a blob; returns its descriptor.
    pub fn blob(&self, media_type: &str, bytes: &[u8]) -> Value {
        let digest = conex_spec::Digest::sha256(bytes).to_string();
        fs::write(blob(&self.dir, &digest), bytes).unwrap();
        json!({"mediaType": media_type, "digest": digest, "size": bytes.len()})
    }

    /// Adds a document; returns its descriptor.
    pub fn document(&self, media_type: &str, value: &Value) -> Value {
        self.blob(media_type, value.to_string().as_bytes())
    }

    /// Adds an image of uncompressed layers; returns its descriptor.
    pub fn image(&self, layers: &[&[u8]]) -> Value {
        let layers: Vec<_> = layers
            .iter()
            .map(|layer| self.blob("application/vnd.oci.image.layer.v1.tar", layer))
            .collect();
        let diff_ids: Vec<_> = layers.iter().map(|layer| layer["digest"].clone()).collect();
        let config = json!({
            "architecture": conex_spec::Platform::host().architecture, "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        let config = self.document("application/vnd.oci.image.config.v1+json", &config);
        self.manifest(&config, &layers)
    }

    pub fn manifest(&self, config: &Value, layers: &[Value]) -> Value {
        let media_type = "application/vnd.oci.image.manifest.v1+json";
        let manifest = json!({"schemaVersion": 2, "mediaType": media_type, "config": config, "layers": layers});
        self.document(media_type, &manifest)
    }

    /// Writes `index.json` with one root, tagged `latest`.
    pub fn finish(&self, root: &Value) -> String {
        let mut root = root.clone();
        root["annotations"] = json!({"org.opencontainers.image.ref.name": "latest"});
        let index = json!({"schemaVersion": 2, "manifests": [root]});
        fs::write(self.dir.join("index.json"), index.to_string()).unwrap();
        format!("oci:{}:latest", self.dir.display())
    }
}

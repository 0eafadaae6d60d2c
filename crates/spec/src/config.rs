//! The config of an image: how it runs and what its layers hold. image-spec, config.md.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::descriptor::Annotations;
use crate::digest::Digest;
use crate::document::Format;
use crate::error::{Error, Result};
use crate::platform::Platform;
use crate::strict_json::{Shape, null_is_absent};

/// An image config. Reading is lenient where artifacts borrow the type: members may be missing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageConfig {
    /// When it was made, as RFC 3339 writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// Who made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// The CPU it runs on, in Go's words.
    #[serde(default, deserialize_with = "null_is_absent")]
    pub architecture: String,
    /// The operating system it runs on, in Go's words.
    #[serde(default, deserialize_with = "null_is_absent")]
    pub os: String,
    /// The version of the operating system.
    #[serde(rename = "os.version", default, skip_serializing_if = "Option::is_none")]
    pub os_version: Option<String>,
    /// What the operating system must offer.
    #[serde(
        rename = "os.features",
        default,
        deserialize_with = "null_is_absent",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub os_features: Vec<String>,
    /// The variant of the CPU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// What a container starts with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<Execution>,
    /// What the layers hold.
    #[serde(default, deserialize_with = "null_is_absent")]
    pub rootfs: RootFs,
    /// How the layers came to be, base first.
    #[serde(default, deserialize_with = "null_is_absent", skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<History>,
    /// Everything else, kept.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// What a container starts with. Docker's own members (`Healthcheck`, `Shell`, `OnBuild`,
/// `ArgsEscaped`…) are in `extra`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Execution {
    /// `user`, `uid`, `user:group` and so on.
    #[serde(deserialize_with = "null_is_absent", skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// `port/tcp`, `port/udp` or `port`; each holds an empty object.
    #[serde(deserialize_with = "null_is_absent", skip_serializing_if = "IndexMap::is_empty")]
    pub exposed_ports: IndexMap<String, Value>,
    /// `NAME=VALUE`.
    #[serde(deserialize_with = "null_is_absent", skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// The command; a caller's arguments come after it.
    #[serde(deserialize_with = "null_is_absent", skip_serializing_if = "Vec::is_empty")]
    pub entrypoint: Vec<String>,
    /// The arguments, where the caller gives none.
    #[serde(deserialize_with = "null_is_absent", skip_serializing_if = "Vec::is_empty")]
    pub cmd: Vec<String>,
    /// Folders that hold data of a container.
    #[serde(deserialize_with = "null_is_absent", skip_serializing_if = "IndexMap::is_empty")]
    pub volumes: IndexMap<String, Value>,
    /// Where the command starts.
    #[serde(deserialize_with = "null_is_absent", skip_serializing_if = "String::is_empty")]
    pub working_dir: String,
    /// Free metadata.
    #[serde(deserialize_with = "null_is_absent", skip_serializing_if = "IndexMap::is_empty")]
    pub labels: Annotations,
    /// The signal that ends the container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
    /// Everything else, kept.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// What the layers hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootFs {
    /// "MUST be set to `layers`".
    #[serde(rename = "type")]
    pub kind: String,
    /// The digests of the uncompressed layers, base first.
    #[serde(default, deserialize_with = "null_is_absent")]
    pub diff_ids: Vec<Digest>,
    /// Everything else, kept.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Default for RootFs {
    fn default() -> Self {
        Self { kind: "layers".into(), diff_ids: Vec::new(), extra: Map::new() }
    }
}

/// How one layer came to be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct History {
    /// When, as RFC 3339 writes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// By whom.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// The command.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// A remark.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Whether it made no layer.
    #[serde(deserialize_with = "null_is_absent", skip_serializing_if = "std::ops::Not::not")]
    pub empty_layer: bool,
    /// Everything else, kept.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl ImageConfig {
    /// What the image runs on.
    pub fn platform(&self) -> Platform {
        Platform {
            architecture: self.architecture.clone(),
            os: self.os.clone(),
            os_version: self.os_version.clone(),
            os_features: self.os_features.clone(),
            variant: self.variant.clone(),
            ..Platform::default()
        }
    }

    /// The diff IDs for `layers` layers, where the config fits them: "Implementations MUST
    /// generate an error if they encounter a unknown value" of `rootfs.type` when unpacking.
    pub fn diff_ids(&self, layers: usize) -> Result<&[Digest]> {
        if self.rootfs.kind != "layers" {
            return Err(Error::invalid("image config has an unknown rootfs.type")
                .expected("layers")
                .found(&self.rootfs.kind));
        }
        if self.rootfs.diff_ids.len() != layers {
            return Err(Error::invalid("image config does not fit its manifest")
                .expected(format!("{layers} diff IDs, one for each layer"))
                .found(self.rootfs.diff_ids.len()));
        }
        let made = self.history.iter().filter(|entry| !entry.empty_layer).count();
        if made > layers {
            return Err(Error::invalid("image config has more history than layers")
                .expected(format!("at most {layers} entries that made a layer"))
                .found(made));
        }
        Ok(&self.rootfs.diff_ids)
    }
}

impl Format for ImageConfig {
    const NAME: &'static str = "image config";
    const SHAPE: Shape = Shape::Object(&[
        ("created", Shape::Free),
        ("author", Shape::Free),
        ("architecture", Shape::Free),
        ("os", Shape::Free),
        ("os.version", Shape::Free),
        ("os.features", Shape::Free),
        ("variant", Shape::Free),
        ("config", EXECUTION),
        ("rootfs", Shape::Object(&[("type", Shape::Free), ("diff_ids", Shape::Free)])),
        ("history", Shape::Array(&HISTORY)),
    ]);

    fn check(&self) -> Result<()> {
        Ok(())
    }
}

const EXECUTION: Shape = Shape::Object(&[
    ("User", Shape::Free),
    ("ExposedPorts", Shape::Free),
    ("Env", Shape::Free),
    ("Entrypoint", Shape::Free),
    ("Cmd", Shape::Free),
    ("Volumes", Shape::Free),
    ("WorkingDir", Shape::Free),
    ("Labels", Shape::Free),
    ("StopSignal", Shape::Free),
    ("ArgsEscaped", Shape::Free),
    ("Healthcheck", Shape::Free),
]);

const HISTORY: Shape = Shape::Object(&[
    ("created", Shape::Free),
    ("author", Shape::Free),
    ("created_by", Shape::Free),
    ("comment", Shape::Free),
    ("empty_layer", Shape::Free),
]);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::Document;

    fn parse(json: &str) -> Result<Document<ImageConfig>> {
        Document::parse(json.to_owned())
    }

    #[test]
    fn nulls_and_missing_members_are_absent() {
        let config = parse(
            r#"{"config":{"Cmd":null,"Labels":null,"Env":["A=1"]},"history":null,"rootfs":null}"#,
        )
        .unwrap();
        assert_eq!(config.config.as_ref().unwrap().env, ["A=1"]);
        assert!(config.diff_ids(0).is_ok());
    }

    #[test]
    fn dockers_members_survive_an_edit() {
        let json = r#"{"architecture":"amd64","config":{"Healthcheck":{"Test":["CMD"]},"Shell":["/bin/sh"]},"os":"linux","rootfs":{"type":"layers","diff_ids":[]},"container_config":{}}"#;
        let edited = parse(json).unwrap().edit(|config| config.os = "windows".into()).unwrap();
        assert_eq!(edited.bytes(), json.replace("linux", "windows").as_bytes());
    }

    #[test]
    fn diff_ids_must_fit_the_layers() {
        let digest = Digest::sha256(b"");
        let json = |kind: &str| {
            format!(
                r#"{{"rootfs":{{"type":"{kind}","diff_ids":["{digest}"]}},"history":[{{}},{{"empty_layer":true}}]}}"#
            )
        };
        let config = parse(&json("layers")).unwrap();
        assert_eq!(config.diff_ids(1).unwrap(), std::slice::from_ref(&digest));
        assert!(config.diff_ids(2).is_err());
        assert!(parse(&json("snapshots")).unwrap().diff_ids(1).is_err());
        assert!(parse(&json("layers").replace("{},", "{},{},")).unwrap().diff_ids(1).is_err());
    }
}

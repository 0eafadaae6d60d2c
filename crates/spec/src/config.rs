//! The config of an image: how it runs and what its layers hold. image-spec, config.md.

use indexmap::IndexMap;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::descriptor::Annotations;
use crate::digest::Digest;
use crate::document::Format;
use crate::error::{Error, Result};
use crate::extra::Extra;
use crate::platform::Platform;
use crate::strict_json::{Shape, null_is_absent};

/// An image config. Reading is lenient where artifacts borrow the type: members may be missing.
///
/// Each member has its paragraph in image-spec, config.md, "Properties": "Any OPTIONAL field MAY
/// also be set to null, which is equivalent to being absent". Members that only Docker writes
/// (`container_config`, `docker_version`, `parent`…) are in `extra`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageConfig {
    /// `created`: when it was made, as RFC 3339, section 5.6, writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// `author`: who made it and keeps it up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// `architecture`: the CPU it runs on, in Go's words. Required; empty where it is missing.
    #[serde(default, deserialize_with = "null_is_absent")]
    pub architecture: String,
    /// `os`: the operating system it runs on, in Go's words. Required; empty where it is missing.
    #[serde(default, deserialize_with = "null_is_absent")]
    pub os: String,
    /// `os.version`: the version of the operating system, as `10.0.14393.1066` of Windows.
    #[serde(rename = "os.version", default, skip_serializing_if = "Option::is_none")]
    pub os_version: Option<String>,
    /// `os.features`: what the operating system must offer, as `win32k`.
    #[serde(
        rename = "os.features",
        default,
        deserialize_with = "null_is_absent",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub os_features: Vec<String>,
    /// `variant`: the variant of the CPU; see [`crate::platform`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// `config`: what a container starts with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<Execution>,
    /// `rootfs`: what the layers hold. Required.
    #[serde(default, deserialize_with = "null_is_absent")]
    pub rootfs: RootFs,
    /// `history`: how the layers came to be, "ordered from first to last".
    #[serde(default, deserialize_with = "null_is_absent", skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<History>,
    /// Everything else, kept: "extra fields […] MUST NOT generate an error".
    #[serde(flatten)]
    pub extra: Extra,
}

/// What a container starts with: `config` of image-spec, config.md, "Properties", and what Docker
/// has there beside it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Execution {
    /// `User`: `user`, `uid`, `user:group`, `uid:gid`, `uid:group` or `user:gid`.
    #[serde(deserialize_with = "null_is_absent", skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// `ExposedPorts`: `port/tcp`, `port/udp` or `port`; each holds an empty object.
    #[serde(deserialize_with = "null_is_absent", skip_serializing_if = "IndexMap::is_empty")]
    pub exposed_ports: IndexMap<String, Value>,
    /// `Env`: `NAME=VALUE`.
    #[serde(deserialize_with = "null_is_absent", skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// `Entrypoint`: the command; a caller's arguments come after it.
    #[serde(deserialize_with = "words", skip_serializing_if = "Vec::is_empty")]
    pub entrypoint: Vec<String>,
    /// `Cmd`: the arguments, where the caller gives none; the command, where there is no entrypoint.
    #[serde(deserialize_with = "words", skip_serializing_if = "Vec::is_empty")]
    pub cmd: Vec<String>,
    /// `Volumes`: folders that hold data of a container; each holds an empty object.
    #[serde(deserialize_with = "null_is_absent", skip_serializing_if = "IndexMap::is_empty")]
    pub volumes: IndexMap<String, Value>,
    /// `WorkingDir`: where the command starts.
    #[serde(deserialize_with = "null_is_absent", skip_serializing_if = "String::is_empty")]
    pub working_dir: String,
    /// `Labels`: free metadata; see [`crate::annotations`].
    #[serde(deserialize_with = "null_is_absent", skip_serializing_if = "IndexMap::is_empty")]
    pub labels: Annotations,
    /// `StopSignal`: the signal that ends the container, as `SIGKILL` or `SIGRTMIN+3`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
    /// `ArgsEscaped`: deprecated; on Windows, whether `Entrypoint` and `Cmd` are one command line
    /// that is escaped already.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub args_escaped: Option<bool>,
    /// `Memory`, in bytes: reserved for Docker, as are the next three.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<i64>,
    /// `MemorySwap`: memory and swap together, in bytes; -1 is no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_swap: Option<i64>,
    /// `CpuShares`: a weight beside other containers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_shares: Option<i64>,
    /// `Healthcheck`: how to see that the container is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    /// `Shell`, Docker's: what runs the instructions of a Dockerfile that are one string.
    #[serde(deserialize_with = "words", skip_serializing_if = "Vec::is_empty")]
    pub shell: Vec<String>,
    /// `OnBuild`, Docker's: instructions for images that are built on this one.
    #[serde(deserialize_with = "null_is_absent", skip_serializing_if = "Vec::is_empty")]
    pub on_build: Vec<String>,
    /// `StopTimeout`, Docker's: the seconds between the stop signal and the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_timeout: Option<i64>,
    /// Everything else, kept: `Hostname`, `Tty`, `Image` and the like of Docker.
    #[serde(flatten)]
    pub extra: Extra,
}

/// How to see that a container is well, as Docker has it; OCI reserves the name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Healthcheck {
    /// `Test`: `NONE`, `CMD` and words, or `CMD-SHELL` and one string; nothing inherits.
    #[serde(deserialize_with = "null_is_absent", skip_serializing_if = "Vec::is_empty")]
    pub test: Vec<String>,
    /// `Interval`: nanoseconds between two tests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<i64>,
    /// `Timeout`: nanoseconds until a test counts as failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<i64>,
    /// `StartPeriod`: nanoseconds in which failures do not count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_period: Option<i64>,
    /// `StartInterval`: nanoseconds between two tests in that time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_interval: Option<i64>,
    /// `Retries`: how many failures in a row make it unwell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retries: Option<i64>,
    /// Everything else, kept.
    #[serde(flatten)]
    pub extra: Extra,
}

/// What the layers hold: `rootfs` of image-spec, config.md, "Properties".
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootFs {
    /// `type`: "MUST be set to `layers`".
    #[serde(rename = "type")]
    pub kind: String,
    /// `diff_ids`: the digests of the uncompressed layers, base first.
    #[serde(default, deserialize_with = "null_is_absent")]
    pub diff_ids: Vec<Digest>,
    /// Everything else, kept.
    #[serde(flatten)]
    pub extra: Extra,
}

impl Default for RootFs {
    fn default() -> Self {
        Self { kind: "layers".into(), diff_ids: Vec::new(), extra: Extra::default() }
    }
}

impl RootFs {
    /// What names the layers 0 to n applied in this order, for each n. image-spec, config.md, "Layer
    /// ChainID": the first is the diff ID itself, each other one the digest of its predecessor, a
    /// space and the diff ID.
    pub fn chain_ids(&self) -> Vec<Digest> {
        let mut chain: Vec<Digest> = Vec::new();
        for diff_id in &self.diff_ids {
            let id = match chain.last() {
                None => diff_id.clone(),
                Some(below) => Digest::sha256(format!("{below} {diff_id}").as_bytes()),
            };
            chain.push(id);
        }
        chain
    }
}

/// How one layer came to be: an entry of `history` of image-spec, config.md, "Properties".
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct History {
    /// `created`: when, as RFC 3339, section 5.6, writes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// `author`: by whom.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// `created_by`: the command.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// `comment`: a remark.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// `empty_layer`: whether it made no layer.
    #[serde(deserialize_with = "null_is_absent", skip_serializing_if = "std::ops::Not::not")]
    pub empty_layer: bool,
    /// Everything else, kept.
    #[serde(flatten)]
    pub extra: Extra,
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
    ("Memory", Shape::Free),
    ("MemorySwap", Shape::Free),
    ("CpuShares", Shape::Free),
    ("Healthcheck", HEALTHCHECK),
    ("Shell", Shape::Free),
    ("OnBuild", Shape::Free),
    ("StopTimeout", Shape::Free),
]);

const HEALTHCHECK: Shape = Shape::Object(&[
    ("Test", Shape::Free),
    ("Interval", Shape::Free),
    ("Timeout", Shape::Free),
    ("StartPeriod", Shape::Free),
    ("StartInterval", Shape::Free),
    ("Retries", Shape::Free),
]);

const HISTORY: Shape = Shape::Object(&[
    ("created", Shape::Free),
    ("author", Shape::Free),
    ("created_by", Shape::Free),
    ("comment", Shape::Free),
    ("empty_layer", Shape::Free),
]);

/// Words of a command. Docker takes one string for one word, and images of its first years have it.
fn words<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected a string or an array of strings")]
    enum Words {
        Many(Vec<String>),
        One(String),
    }
    Ok(match Option::deserialize(deserializer)? {
        None => Vec::new(),
        Some(Words::Many(words)) => words,
        Some(Words::One(word)) => vec![word],
    })
}

#[cfg(test)]
mod tests;

//! Clients that do everything at once, in an order of chance: push, pull, mount, delete, refer.

use conex_spec::{Descriptor, Digest, MediaType};
use serde_json::{Value, json};

use super::{Action, Client, Outcome};
use crate::images::noise;

/// Numbers that look random and are the same for a seed.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// From a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// Below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % end
    }
}

/// One client among others. All of them use the same few repositories, tags and blobs, so that they
/// get in each other's way.
#[derive(Debug)]
pub struct Load {
    /// What sends its requests.
    pub client: Client,
    random: Random,
    /// What tells its manifests from those of others.
    name: String,
    count: u64,
    /// Manifests that it put: repository and digest.
    put: Vec<(String, String)>,
}

const REPOSITORIES: [&str; 3] = ["a", "b/c", "b/d"];
const TAGS: u64 = 4;
const BLOBS: u64 = 16;

impl Load {
    /// The client of a number.
    pub fn new(client: Client, number: u64) -> Self {
        let name = format!("{number}");
        Self { client, random: Random::new(number + 1), name, count: 0, put: Vec::new() }
    }

    /// Does one thing.
    pub fn step(&mut self) {
        let repository = REPOSITORIES[self.random.below(3) as usize];
        match self.random.below(20) {
            0..=6 => self.push(repository),
            7..=11 => self.pull(repository),
            12..=14 => self.delete(repository),
            15..=16 => self.loose(repository),
            17 => self.refer(),
            _ => self.look(),
        }
    }

    /// Reads everything that was ever put, and what it needs.
    pub fn look_at_all(&self) {
        for event in self.client.history.events() {
            let Action::PutManifest { repository, digest, children, subject, .. } = event.action
            else {
                continue;
            };
            if let Outcome::Found(_) = self.client.get_manifest(&repository, &digest) {
                for child in children {
                    self.client.get_blob(&repository, &child);
                }
            }
            if let Some(subject) = subject {
                self.client.referrers(&repository, &subject);
            }
        }
        for repository in REPOSITORIES {
            for tag in 0..TAGS {
                self.client.get_tag(repository, &format!("t{tag}"));
            }
        }
    }

    /// As clients do: a blob is asked for first, and mounted or pushed only where it is missing.
    fn push(&mut self, repository: &str) {
        let config = self.blob();
        let layers = [self.blob(), self.blob()];
        for bytes in layers.iter().chain([&config]) {
            if !self.bring(repository, bytes) {
                return;
            }
        }
        let tag = format!("t{}", self.random.below(TAGS));
        let tag = Some(tag.as_str()).filter(|_| self.random.below(4) > 0);
        let manifest = self.manifest(&config, &layers, None);
        self.put(repository, &manifest, tag);
    }

    fn bring(&mut self, repository: &str, bytes: &[u8]) -> bool {
        let digest = Digest::sha256(bytes).to_string();
        if self.client.head_blob(repository, &digest) == Outcome::Done {
            return true;
        }
        let from = REPOSITORIES[self.random.below(3) as usize];
        let mounts = from != repository && self.random.below(2) == 0;
        if mounts && self.client.mount(repository, from, &digest) == Outcome::Done {
            return true;
        }
        self.client.push_blob(repository, bytes, self.random.below(3)) == Outcome::Done
    }

    fn put(&mut self, repository: &str, manifest: &Value, tag: Option<&str>) {
        let bytes = serde_json::to_vec(manifest).unwrap();
        if self.client.put_manifest(repository, &bytes, tag) == Outcome::Done {
            self.put.push((repository.to_owned(), Digest::sha256(&bytes).to_string()));
        }
    }

    fn pull(&mut self, repository: &str) {
        let tag = format!("t{}", self.random.below(TAGS));
        let Some(bytes) = self.client.get_tag(repository, &tag) else { return };
        let Ok(manifest) = serde_json::from_slice::<Value>(&bytes) else { return };
        let layers = manifest["layers"].as_array().into_iter().flatten();
        for child in layers.chain([&manifest["config"]]) {
            self.client.get_blob(repository, child["digest"].as_str().unwrap_or_default());
        }
    }

    fn delete(&mut self, repository: &str) {
        if self.random.below(5) == 0 {
            let tag = format!("t{}", self.random.below(TAGS));
            self.client.delete(Action::DeleteTag { repository: repository.into(), tag });
        } else if !self.put.is_empty() {
            let at = self.random.below(self.put.len() as u64) as usize;
            let (repository, digest) = self.put.swap_remove(at);
            self.client.delete(Action::DeleteManifest { repository, digest });
        }
    }

    /// A blob that nothing ever needs; some are deleted.
    fn loose(&mut self, repository: &str) {
        let bytes = format!("loose {}", self.random.below(BLOBS));
        let digest = Digest::sha256(bytes.as_bytes()).to_string();
        self.client.push_blob(repository, bytes.as_bytes(), self.random.below(3));
        self.client.get_blob(repository, &digest);
        if self.random.below(2) == 0 {
            self.client.delete(Action::DeleteBlob {
                repository: repository.into(),
                digest: digest.clone(),
            });
            self.client.get_blob(repository, &digest);
        }
    }

    fn refer(&mut self) {
        let Some((repository, subject)) = self.put.last().cloned() else { return };
        let config = b"{}".to_vec();
        if !self.bring(&repository, &config) {
            return;
        }
        let manifest = self.manifest(&config, &[], Some(&subject));
        self.put(&repository, &manifest, None);
        self.client.referrers(&repository, &subject);
    }

    fn look(&mut self) {
        if self.put.is_empty() {
            return;
        }
        let at = self.random.below(self.put.len() as u64) as usize;
        let (repository, digest) = self.put[at].clone();
        self.client.get_manifest(&repository, &digest);
        self.client.referrers(&repository, &digest);
    }

    fn blob(&mut self) -> Vec<u8> {
        let number = self.random.below(BLOBS);
        noise(number, 10 + number as usize * 4000).to_vec()
    }

    /// One that nobody else puts.
    fn manifest(&mut self, config: &[u8], layers: &[Vec<u8>], subject: Option<&str>) -> Value {
        self.count += 1;
        let layer = |bytes: &Vec<u8>| json!(Descriptor::of(MediaType::LAYER, bytes));
        let layers: Vec<_> = layers.iter().map(layer).collect();
        let name = format!("{} {}", self.name, self.count);
        let mut manifest = json!({
            "schemaVersion": 2,
            "mediaType": MediaType::MANIFEST,
            "config": Descriptor::of(MediaType::new("application/vnd.test.config"), config),
            "layers": layers,
            "annotations": { "name": name },
        });
        if let Some(subject) = subject {
            manifest["artifactType"] = json!("test/note");
            manifest["subject"] =
                json!({ "mediaType": MediaType::MANIFEST, "digest": subject, "size": 2 });
        }
        manifest
    }
}

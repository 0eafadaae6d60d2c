//! What a case works with: a registry on some home, a repository of its own, and requests.

use std::sync::Arc;

use bytes::Bytes;
use conex_server::{Config, Place as Storage};
use conex_spec::{Descriptor, Digest, MediaType};
use reqwest::{RequestBuilder, Response};
use serde_json::Value;
use tokio::sync::OnceCell;
use uuid::Uuid;

use crate::common::{Registry, bucket};

pub(crate) use crate::common::{manifest, noise};

pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// On what a registry is.
#[derive(Clone)]
pub enum Place {
    Folder,
    /// The endpoint of a server of S3.
    S3(String),
    Layout,
}

/// The registry that the cases of a home share, where it can have more than one repository.
#[derive(Default)]
pub struct Home(OnceCell<Context>);

/// See the module.
pub struct Context {
    pub(crate) registry: Arc<Registry>,
    /// A repository that no other case knows.
    pub name: String,
    place: Place,
    /// Where all of it lies, gone with this.
    _dir: Option<tempfile::TempDir>,
}

/// An answer, whole.
pub struct Answer {
    pub status: u16,
    pub headers: http::HeaderMap,
    pub body: Bytes,
}

impl Context {
    pub async fn new(place: Place, home: &Home, case: &str) -> Self {
        // Short, since a server of S3 may keep an object under one file name.
        let name = format!("c/{}", &sha256(case.as_bytes()).encoded()[..6]);
        if let Place::Layout = place {
            return Self::start(place, name, |_| {}).await;
        }
        let start = Self::start(place.clone(), String::new(), |_| {});
        let registry = Arc::clone(&home.0.get_or_init(|| start).await.registry);
        Self { registry, name, place, _dir: None }
    }

    async fn start(place: Place, name: String, change: impl FnOnce(&mut Config)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (path, repository) = (dir.path().join("layout"), name.clone());
        let registry = Registry::with(|config| {
            match &place {
                Place::Folder => config.storage = Storage::Folder(dir.path().join("root")),
                Place::S3(endpoint) => {
                    let prefix = Uuid::new_v4().simple().to_string();
                    config.storage = Storage::S3(bucket(endpoint, &prefix[..6]));
                }
                Place::Layout => {
                    // One that is only read must be there.
                    conex_store::Layout::create(&path, None).unwrap().make().unwrap();
                    config.storage = Storage::Layout { path, repository };
                }
            }
            change(config);
        });
        Self { registry: Arc::new(registry.await), name, place, _dir: Some(dir) }
    }

    /// Another registry on a home of the same sort, with other settings.
    pub async fn with(&self, change: impl FnOnce(&mut Config)) -> Self {
        Self::start(self.place.clone(), self.name.clone(), change).await
    }

    /// A path of this case's repository.
    pub fn path(&self, rest: &str) -> String {
        format!("/v2/{}/{rest}", self.name)
    }

    pub fn request(&self, method: &str, path: &str) -> RequestBuilder {
        let path = if path.starts_with('/') { path.to_owned() } else { self.path(path) };
        self.registry.request(method, &path)
    }

    /// A request for a path of the repository, or of the whole registry where it begins with a slash.
    pub async fn send(&self, method: &str, path: &str) -> Answer {
        answer(self.request(method, path)).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send("GET", path).await
    }

    pub async fn status(&self, method: &str, path: &str) -> u16 {
        self.send(method, path).await.status
    }

    pub async fn json(&self, path: &str) -> Value {
        let answer = self.get(path).await;
        assert_eq!(answer.status, 200, "{path}");
        answer.json()
    }

    /// Opens an upload and returns its path.
    pub async fn open(&self) -> String {
        self.open_with("").await
    }

    pub async fn open_with(&self, query: &str) -> String {
        let answer = self.send("POST", &format!("blobs/uploads/{query}")).await;
        answer.expect(202).header("location")
    }

    pub async fn push_blob(&self, bytes: &[u8]) -> Descriptor {
        self.push_blob_as(MediaType::LAYER, bytes).await
    }

    pub async fn push_blob_as(&self, media_type: MediaType, bytes: &[u8]) -> Descriptor {
        let blob = Descriptor::of(media_type, bytes);
        let path = format!("blobs/uploads/?digest={}", blob.digest);
        answer(self.request("POST", &path).body(bytes.to_vec())).await.expect(201);
        blob
    }

    /// Puts a manifest under a tag or a digest.
    pub async fn put(&self, name: &str, media_type: &str, body: &[u8]) -> Answer {
        let request = self.request("PUT", &format!("manifests/{name}"));
        answer(request.header("content-type", media_type).body(body.to_vec())).await
    }

    /// Pushes an image of one layer under a tag.
    pub async fn push_image(&self, tag: &str, layer: &[u8]) -> (Descriptor, Vec<u8>) {
        let config = self.push_blob_as(MediaType::CONFIG, b"{}").await;
        let layer = self.push_blob(layer).await;
        let bytes = manifest(&config, &[layer], serde_json::json!({}));
        self.put(tag, MANIFEST, &bytes).await.expect(201);
        (Descriptor::of(MediaType::MANIFEST, &bytes), bytes)
    }

    /// All pages of a list, by their `Link` headers.
    pub async fn pages(&self, path: &str, member: &str) -> Vec<Vec<Value>> {
        let (mut pages, mut next) = (Vec::new(), Some(path.to_owned()));
        while let Some(path) = next {
            let answer = self.get(&path).await.expect(200);
            pages.push(answer.json()[member].as_array().unwrap().clone());
            next = answer.next();
            assert!(pages.len() < 1000, "the list does not end");
        }
        pages
    }
}

pub async fn answer(request: RequestBuilder) -> Answer {
    let answer: Response = request.send().await.unwrap();
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    Answer { status, headers, body: answer.bytes().await.unwrap() }
}

impl Answer {
    /// The same answer, if it has this status.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        let text = String::from_utf8_lossy(&self.body);
        assert_eq!(self.status, status, "{text:.300}");
        self
    }

    pub fn header(&self, name: &str) -> String {
        let value = self.headers.get(name);
        value.map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
    }

    /// What `OCI-Tag` says was taken, in one line or in several.
    pub fn tags(&self) -> Vec<String> {
        let lines = self.headers.get_all("oci-tag").iter().map(|line| line.to_str().unwrap());
        lines.flat_map(|line| line.split(',')).map(|tag| tag.trim().to_owned()).collect()
    }

    pub fn has(&self, name: &str) -> bool {
        self.headers.contains_key(name)
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The first error code of a refusal.
    pub fn code(&self) -> String {
        assert_eq!(self.header("content-type"), "application/json");
        self.json()["errors"][0]["code"].as_str().unwrap().to_owned()
    }

    /// Where a list goes on. RFC 8288.
    pub fn next(&self) -> Option<String> {
        let link = self.header("link");
        if link.is_empty() {
            return None;
        }
        let (target, relation) = link.split_once(';').unwrap();
        assert_eq!(relation.trim(), "rel=\"next\"");
        Some(target.trim().strip_prefix('<').unwrap().strip_suffix('>').unwrap().to_owned())
    }
}

/// A path with one more parameter.
pub fn with_query(path: &str, query: &str) -> String {
    let mark = if path.contains('?') { '&' } else { '?' };
    format!("{path}{mark}{query}")
}

pub fn sha256(bytes: &[u8]) -> Digest {
    Digest::sha256(bytes)
}

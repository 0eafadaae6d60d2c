//! A registry in this process, on a folder of its own, and a client that speaks plain HTTP to it.
//!
//! Where the environment variable `CONEX_TEST_S3` names a server of S3, it is on a bucket there
//! instead: `scripts/test-bucket` runs these tests so. What lies in the folder is then nothing.

#![allow(dead_code, reason = "each test file uses a part")]

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, Once};

use conex_server::{Access, Config, Log, Place, S3, Server};
use conex_spec::{Descriptor, Digest, MediaType};
use conex_testkit::s3_server::{ACCESS_KEY, BUCKET, SECRET_KEY};
use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Keeps the log.
#[derive(Default)]
pub(crate) struct Recorder(pub(crate) Mutex<Vec<Access>>, pub(crate) Mutex<Vec<String>>);

impl Log for Recorder {
    fn access(&self, access: &Access) {
        self.0.lock().unwrap().push(access.clone());
    }

    fn notice(&self, text: &str) {
        self.1.lock().unwrap().push(text.to_owned());
    }
}

/// A bucket of a server that a test started.
pub(crate) fn bucket(endpoint: &str, prefix: &str) -> S3 {
    let options = [
        ("aws_endpoint_url", endpoint),
        ("aws_access_key_id", ACCESS_KEY),
        ("aws_secret_access_key", SECRET_KEY),
        ("aws_region", "us-east-1"),
    ];
    let options = options.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    S3 { bucket: BUCKET.into(), prefix: prefix.into(), redirect: false, spool: None, options }
}

pub(crate) struct Registry {
    pub(crate) address: SocketAddr,
    /// Where the operator asks.
    pub(crate) operator: Option<SocketAddr>,
    pub(crate) client: Client,
    pub(crate) log: Arc<Recorder>,
    dir: tempfile::TempDir,
    stop: oneshot::Sender<()>,
    running: JoinHandle<()>,
}

impl Registry {
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// A registry whose configuration was changed.
    pub(crate) async fn with(change: impl FnOnce(&mut Config)) -> Self {
        Self::serve(tempfile::tempdir().unwrap(), change).await
    }

    async fn serve(dir: tempfile::TempDir, change: impl FnOnce(&mut Config)) -> Self {
        static PROVIDER: Once = Once::new();
        PROVIDER.call_once(|| {
            rustls::crypto::ring::default_provider().install_default().unwrap();
        });
        let log = Arc::new(Recorder::default());
        let mut config = Config::new(dir.path().join("root"), ([127, 0, 0, 1], 0).into());
        #[allow(clippy::disallowed_methods, reason = "whoever runs the tests says where")]
        if let Ok(endpoint) = std::env::var("CONEX_TEST_S3") {
            let prefix = dir.path().file_name().unwrap().to_str().unwrap();
            config.storage = Place::S3(bucket(&endpoint, prefix.trim_start_matches('.')));
        }
        config.log = Arc::<Recorder>::clone(&log);
        change(&mut config);
        let server = Server::bind(config).await.unwrap();
        let (address, operator) = (server.local_addr(), server.operator_addr());
        let (stop, stopped) = oneshot::channel::<()>();
        let running = tokio::spawn(async move { server.run(stopped).await.unwrap() });
        let client = Client::builder().no_proxy().build().unwrap();
        Self { address, operator, client, log, dir, stop, running }
    }

    /// Stops the registry.
    pub(crate) async fn stop(self) {
        let _ = self.stop.send(());
        self.running.await.unwrap();
    }

    /// Stops the registry and starts another one on the same folder.
    pub(crate) async fn restart(self) -> Self {
        self.restart_with(|_| {}).await
    }

    /// The same, with a changed configuration.
    pub(crate) async fn restart_with(self, change: impl FnOnce(&mut Config)) -> Self {
        let _ = self.stop.send(());
        self.running.await.unwrap();
        drop(self.client);
        Self::serve(self.dir, change).await
    }

    pub(crate) fn root(&self) -> std::path::PathBuf {
        self.dir.path().join("root")
    }

    pub(crate) fn request(&self, method: &str, path: &str) -> RequestBuilder {
        let method: Method = method.parse().unwrap();
        self.client.request(method, format!("http://{}{path}", self.address))
    }

    pub(crate) async fn send(&self, method: &str, path: &str) -> Response {
        self.request(method, path).send().await.unwrap()
    }

    pub(crate) async fn status(&self, method: &str, path: &str) -> u16 {
        self.send(method, path).await.status().as_u16()
    }

    pub(crate) async fn json(&self, path: &str) -> Value {
        let answer = self.send("GET", path).await;
        assert_eq!(answer.status(), 200, "{path}");
        serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap()
    }

    /// Opens an upload and returns its path.
    pub(crate) async fn open(&self, repository: &str) -> String {
        let answer = self.send("POST", &format!("/v2/{repository}/blobs/uploads/")).await;
        assert_eq!(answer.status(), 202);
        header(&answer, "location")
    }

    pub(crate) async fn push_blob(&self, repository: &str, bytes: &[u8]) -> Descriptor {
        let blob = Descriptor::of(MediaType::LAYER, bytes);
        let path = format!("/v2/{repository}/blobs/uploads/?digest={}", blob.digest);
        let answer = self.request("POST", &path).body(bytes.to_vec()).send().await.unwrap();
        assert_eq!(answer.status(), 201);
        blob
    }

    pub(crate) async fn put(
        &self,
        path: &str,
        media_type: &str,
        body: impl Into<Vec<u8>>,
    ) -> Response {
        let request = self.request("PUT", path).header("content-type", media_type);
        request.body(body.into()).send().await.unwrap()
    }

    /// Pushes an image with one layer of these bytes under a tag.
    pub(crate) async fn push_image(&self, repository: &str, tag: &str, layer: &[u8]) -> Descriptor {
        let bytes = self.image(repository, layer).await;
        let path = format!("/v2/{repository}/manifests/{tag}");
        let answer = self.put(&path, MediaType::MANIFEST.as_str(), bytes.clone()).await;
        assert_eq!(answer.status(), 201);
        Descriptor::of(MediaType::MANIFEST, &bytes)
    }

    /// The manifest of an image whose blobs are pushed.
    pub(crate) async fn image(&self, repository: &str, layer: &[u8]) -> Vec<u8> {
        let config = self.push_blob(repository, b"{}").await;
        let layer = self.push_blob(repository, layer).await;
        manifest(&config, &[layer], json!({}))
    }
}

/// The bytes of a manifest, with more members.
pub(crate) fn manifest(config: &Descriptor, layers: &[Descriptor], more: Value) -> Vec<u8> {
    let mut value = json!({
        "schemaVersion": 2,
        "mediaType": MediaType::MANIFEST,
        "config": config,
        "layers": layers,
    });
    for (name, member) in more.as_object().unwrap() {
        value[name] = member.clone();
    }
    serde_json::to_vec(&value).unwrap()
}

pub(crate) fn header(answer: &Response, name: &str) -> String {
    let value = answer.headers().get(name);
    value.map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
}

/// The first error code of a refusal.
pub(crate) async fn code(answer: Response) -> String {
    assert_eq!(header(&answer, "content-type"), "application/json");
    let value: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
    value["errors"][0]["code"].as_str().unwrap().to_owned()
}

pub(crate) fn sha256(bytes: &[u8]) -> Digest {
    Digest::sha256(bytes)
}

/// Bytes that look random and are the same each time.
pub(crate) fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    std::iter::repeat_with(next).take(length).collect()
}

/// All files below a folder, by their paths.
pub(crate) fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path.display().to_string());
            }
        }
    }
    found.sort();
    found
}

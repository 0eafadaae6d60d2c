//! All sorts of content, each from its push to its end: pushed by digest and by tag, listed, looked
//! for, pulled, found as referrers, deleted.

use conex_spec::{Algorithm, Descriptor, Digest, MediaType};
use serde_json::{Value, json};

use crate::context::{Context, INDEX, MANIFEST, answer, noise, sha256};

/// Content on its way through a registry.
#[derive(Default)]
struct Set {
    algorithm: Option<Algorithm>,
    blobs: Vec<(Digest, Vec<u8>)>,
    /// Children before their parents.
    manifests: Vec<(Digest, String, Vec<u8>)>,
    tags: Vec<(String, Digest)>,
    /// Whether tags go with the digest, as `tag` parameters.
    in_query: bool,
}

impl Set {
    fn digest(&self, bytes: &[u8]) -> Digest {
        self.algorithm.unwrap_or(Algorithm::Sha256).digest(bytes)
    }

    fn descriptor(&self, media_type: &str, bytes: &[u8]) -> Value {
        let digest = self.digest(bytes);
        let size = bytes.len() as u64;
        json!(Descriptor::new(MediaType::new(media_type), digest, size))
    }

    fn blob(&mut self, media_type: &str, bytes: &[u8]) -> Value {
        self.blobs.push((self.digest(bytes), bytes.to_vec()));
        self.descriptor(media_type, bytes)
    }

    fn manifest(&mut self, media_type: &str, value: &Value) -> Value {
        let bytes = value.to_string().into_bytes();
        let described = self.descriptor(media_type, &bytes);
        self.manifests.push((self.digest(&bytes), media_type.to_owned(), bytes));
        described
    }

    /// An image of some layers; `more` are further members.
    fn image(&mut self, seed: u64, layers: u64, more: Value) -> Value {
        let config = json!({ "architecture": "amd64", "os": "linux", "seed": seed });
        let kind = "application/vnd.oci.image.config.v1+json";
        let config = self.blob(kind, config.to_string().as_bytes());
        let layer = |set: &mut Self, n| {
            set.blob("application/vnd.oci.image.layer.v1.tar+gzip", &noise(500, seed * 100 + n))
        };
        let layers: Vec<_> = (0..layers).map(|n| layer(self, n)).collect();
        let base = json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers });
        self.manifest(MANIFEST, &merged(base, more))
    }

    fn artifact(&mut self, kind: &str, seed: u64, more: Value) -> Value {
        let config = self.blob("application/vnd.oci.empty.v1+json", b"{}");
        let layer = self.blob(kind, &noise(300, seed));
        let base = json!({ "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": kind, "config": config, "layers": [layer] });
        self.manifest(MANIFEST, &merged(base, more))
    }

    fn index(&mut self, children: &[Value], more: Value) -> Value {
        let base = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": children });
        self.manifest(INDEX, &merged(base, more))
    }

    fn tag(&mut self, tag: &str, described: &Value) {
        let digest = described["digest"].as_str().unwrap().parse().unwrap();
        self.tags.push((tag.to_owned(), digest));
    }

    async fn run(&self, c: &Context) {
        self.push(c).await;
        self.pull(c).await;
        self.list(c).await;
        self.delete(c).await;
    }

    async fn push(&self, c: &Context) {
        for (digest, bytes) in &self.blobs {
            let path = format!("blobs/uploads/?digest={digest}");
            answer(c.request("POST", &path).body(bytes.clone())).await.expect(201);
        }
        for (digest, kind, bytes) in &self.manifests {
            let ours = self.tags.iter().filter(|(_, tagged)| self.in_query && tagged == digest);
            let query: Vec<_> = ours.map(|(tag, _)| format!("tag={tag}")).collect();
            let created = c.put(&format!("{digest}?{}", query.join("&")), kind, bytes).await;
            let created = created.expect(201);
            assert_eq!(created.header("docker-content-digest"), digest.as_str());
            assert_eq!(created.tags().len(), query.len());
            let subject = serde_json::from_slice::<Value>(bytes).unwrap()["subject"]["digest"]
                .as_str()
                .map(str::to_owned);
            assert_eq!(created.header("oci-subject"), subject.unwrap_or_default());
            assert!(c.get(&created.header("location")).await.expect(200).body == bytes);
        }
        for (tag, digest) in self.tags.iter().filter(|_| !self.in_query) {
            let (_, kind, bytes) = self.manifests.iter().find(|(own, ..)| own == digest).unwrap();
            c.put(tag, kind, bytes).await.expect(201);
        }
    }

    async fn pull(&self, c: &Context) {
        let tagged = self.tags.iter().map(|(tag, digest)| (tag.as_str(), digest));
        let named = tagged.chain(self.manifests.iter().map(|(own, ..)| (own.as_str(), own)));
        for (name, digest) in named {
            let (_, kind, bytes) = self.manifests.iter().find(|(own, ..)| own == digest).unwrap();
            for method in ["HEAD", "GET"] {
                let got = c.send(method, &format!("manifests/{name}")).await.expect(200);
                assert_eq!(got.header("content-type"), *kind);
                assert_eq!(got.header("docker-content-digest"), digest.as_str());
                assert_eq!(got.header("content-length"), bytes.len().to_string());
                assert!(method == "HEAD" || got.body == bytes);
            }
        }
        for (digest, bytes) in &self.blobs {
            let head = c.send("HEAD", &format!("blobs/{digest}")).await.expect(200);
            assert_eq!(head.header("content-length"), bytes.len().to_string());
            let got = c.get(&format!("blobs/{digest}")).await.expect(200);
            assert!(got.body == bytes && got.header("docker-content-digest") == digest.as_str());
        }
    }

    async fn list(&self, c: &Context) {
        let mut tags: Vec<_> = self.tags.iter().map(|(tag, _)| tag).collect();
        tags.sort_unstable();
        assert_eq!(c.json("tags/list").await["tags"], json!(tags));
        for (subject, referrer) in self.referrers() {
            let list = c.json(&format!("referrers/{subject}")).await;
            let entries = list["manifests"].as_array().unwrap();
            let entry = entries.iter().find(|entry| entry["digest"] == referrer.0).unwrap();
            assert_eq!(entry["artifactType"], referrer.1);
            assert_eq!(entry["annotations"], referrer.2);
        }
    }

    /// Subjects with the digest, type and annotations of what refers to them.
    fn referrers(&self) -> Vec<(String, (String, Value, Value))> {
        let referrer = |(digest, _, bytes): &(Digest, String, Vec<u8>)| {
            let value: Value = serde_json::from_slice(bytes).unwrap();
            let subject = value["subject"]["digest"].as_str()?.to_owned();
            let own = &value["artifactType"];
            let kind = if own.is_null() { &value["config"]["mediaType"] } else { own };
            Some((subject, (digest.to_string(), kind.clone(), value["annotations"].clone())))
        };
        self.manifests.iter().filter_map(referrer).collect()
    }

    async fn delete(&self, c: &Context) {
        let tags = self.tags.iter().map(|(tag, _)| format!("manifests/{tag}"));
        let manifests = self.manifests.iter().rev().map(|(own, ..)| format!("manifests/{own}"));
        let blobs = self.blobs.iter().map(|(digest, _)| format!("blobs/{digest}"));
        let mut paths: Vec<_> = tags.chain(manifests).chain(blobs).collect();
        let mut seen = std::collections::HashSet::new();
        paths.retain(|path| seen.insert(path.clone()));
        for path in paths {
            c.send("DELETE", &path).await.expect(202);
            assert_eq!(c.status("HEAD", &path).await, 404, "{path}");
        }
        for (subject, _) in self.referrers() {
            assert_eq!(c.json(&format!("referrers/{subject}")).await["manifests"], json!([]));
        }
    }
}

fn merged(mut value: Value, more: Value) -> Value {
    for (name, member) in more.as_object().unwrap() {
        value[name] = member.clone();
    }
    value
}

fn with(described: &Value, more: Value) -> Value {
    merged(described.clone(), more)
}

pub async fn image(c: Context) {
    let mut set = Set::default();
    let image = set.image(1, 3, json!({}));
    set.tag("image", &image);
    set.run(&c).await;
}

pub async fn large_manifest(c: Context) {
    let mut set = Set::default();
    let notes: serde_json::Map<_, _> =
        (0..390).map(|n| (format!("note-{n}"), json!("A".repeat(10_000)))).collect();
    let image = set.image(2, 1, json!({ "annotations": notes }));
    set.tag("large", &image);
    set.run(&c).await;
}

fn platforms(set: &mut Set, seed: u64) -> Vec<Value> {
    let one = |set: &mut Set, n: u64, arch: &str| {
        let image = set.image(seed + n, 1, json!({}));
        with(&image, json!({ "platform": { "os": "linux", "architecture": arch } }))
    };
    vec![one(set, 0, "amd64"), one(set, 1, "arm64")]
}

pub async fn index(c: Context) {
    let mut set = Set::default();
    let children = platforms(&mut set, 10);
    let index = set.index(&children, json!({}));
    set.tag("index", &index);
    set.run(&c).await;
}

pub async fn nested_index(c: Context) {
    let mut set = Set::default();
    let indexes: Vec<_> = [20, 30]
        .map(|seed| {
            let children = platforms(&mut set, seed);
            set.index(&children, json!({}))
        })
        .into();
    let index = set.index(&indexes, json!({}));
    set.tag("index-of-indexes", &index);
    set.run(&c).await;
}

pub async fn empty_index(c: Context) {
    let mut set = Set::default();
    let index = set.index(&[], json!({}));
    set.tag("empty", &index);
    set.run(&c).await;
}

pub async fn artifact(c: Context) {
    let mut set = Set::default();
    let artifact = set.artifact("application/vnd.example.one", 40, json!({}));
    set.tag("artifact", &artifact);
    let empty = set.descriptor("application/vnd.oci.empty.v1+json", b"{}");
    let without = json!({ "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": "application/vnd.example.two", "config": empty, "layers": [empty] });
    let without = set.manifest(MANIFEST, &without);
    set.tag("without-layers", &without);
    set.run(&c).await;
}

pub async fn artifact_index(c: Context) {
    let mut set = Set::default();
    let kind = "application/vnd.example.one";
    let children: Vec<_> = [50, 51].map(|seed| set.artifact(kind, seed, json!({}))).into();
    let index = set.index(&children, json!({ "artifactType": kind }));
    set.tag("artifacts", &index);
    set.run(&c).await;
}

pub async fn artifacts_with_a_subject(c: Context) {
    let mut set = Set::default();
    let image = set.image(60, 1, json!({}));
    set.tag("image", &image);
    set.image(61, 1, json!({ "subject": image }));
    for (n, kind) in
        ["application/vnd.example.one", "application/vnd.example.two"].iter().enumerate()
    {
        let more = json!({ "subject": image, "annotations": { "hello": "world" } });
        let artifact = set.artifact(kind, 62 + n as u64, more);
        set.tag(&format!("artifact-{n}"), &artifact);
    }
    set.run(&c).await;
}

pub async fn index_with_a_subject(c: Context) {
    let mut set = Set::default();
    let children = platforms(&mut set, 70);
    let subject = set.index(&children, json!({}));
    set.tag("index", &subject);
    let kind = "application/vnd.example.one";
    let child = set.artifact(kind, 75, json!({}));
    let more = json!({ "artifactType": kind, "subject": subject, "annotations": { "a": "b" } });
    let index = set.index(&[child], more);
    set.tag("artifacts", &index);
    set.run(&c).await;
}

pub async fn missing_subject(c: Context) {
    let mut set = Set::default();
    let subject = set.descriptor(MANIFEST, b"missing content");
    let more = json!({ "subject": subject, "annotations": { "a": "b" } });
    let artifact = set.artifact("application/vnd.example.one", 80, more);
    set.tag("artifact", &artifact);
    set.run(&c).await;
}

/// Content inside its descriptor.
pub async fn data_field(c: Context) {
    use base64::Engine as _;
    let mut set = Set::default();
    let data = |bytes: &[u8]| base64::engine::general_purpose::STANDARD.encode(bytes);
    let config = set.blob("application/vnd.oci.image.config.v1+json", b"{}");
    let layer = set.blob("application/vnd.oci.image.layer.v1.tar", b"layer");
    let image = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": with(&config, json!({ "data": data(b"{}") })),
        "layers": [with(&layer, json!({ "data": data(b"layer") }))],
    });
    let image = set.manifest(MANIFEST, &image);
    set.tag("data", &image);
    set.run(&c).await;
}

pub async fn non_distributable_layers(c: Context) {
    let mut set = Set::default();
    let config = set.blob("application/vnd.oci.image.config.v1+json", b"{}");
    let own = set.blob("application/vnd.oci.image.layer.v1.tar+gzip", b"layer");
    let foreign = |kind: &str, bytes: &[u8]| {
        let layer = Descriptor::of(MediaType::new(kind), bytes);
        let url = format!("https://store.example/{}", layer.digest);
        with(&json!(layer), json!({ "urls": [url], "size": 123_456 }))
    };
    let zipped = foreign("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", b"1");
    let plain = foreign("application/vnd.oci.image.layer.nondistributable.v1.tar", b"2");
    let image = json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [zipped, plain, own] });
    let image = set.manifest(MANIFEST, &image);
    set.tag("foreign", &image);
    set.run(&c).await;
}

pub async fn custom_fields(c: Context) {
    let mut set = Set::default();
    let image = set.image(90, 1, json!({ "org.example.more": { "a": [1, 2.5, null] } }));
    let child = with(&image, json!({ "x-more": "y" }));
    let index = set.index(&[child], json!({ "org.example.more": "index" }));
    set.tag("custom", &index);
    set.run(&c).await;
}

pub async fn no_layers(c: Context) {
    let mut set = Set::default();
    let image = set.image(95, 0, json!({}));
    set.tag("no-layers", &image);
    set.run(&c).await;
}

pub async fn docker_image(c: Context) {
    let mut set = Set::default();
    let kind = "application/vnd.docker.distribution.manifest.v2+json";
    let config = set.blob("application/vnd.docker.container.image.v1+json", b"{}");
    let layer = set.blob("application/vnd.docker.image.rootfs.diff.tar.gzip", b"layer");
    let image =
        json!({ "schemaVersion": 2, "mediaType": kind, "config": config, "layers": [layer] });
    let image = set.manifest(kind, &image);
    let list = "application/vnd.docker.distribution.manifest.list.v2+json";
    let child = with(&image, json!({ "platform": { "os": "linux", "architecture": "amd64" } }));
    let index = json!({ "schemaVersion": 2, "mediaType": list, "manifests": [child] });
    let index = set.manifest(list, &index);
    set.tag("image", &image);
    set.tag("list", &index);
    set.run(&c).await;
}

/// "An encountered mediaType that is unknown MUST NOT generate an error" (image-spec, media-types.md).
pub async fn unknown_type(c: Context) {
    let mut set = Set::default();
    let kind = "application/vnd.example.manifest.v9+json";
    let odd = set.manifest(kind, &json!({ "mediaType": kind, "anything": ["goes"] }));
    set.tag("odd", &odd);
    set.run(&c).await;
}

pub async fn sha512(c: Context) {
    of_algorithm(&c, Algorithm::Sha512).await;
}

pub async fn blake3(c: Context) {
    of_algorithm(&c, Algorithm::Blake3).await;
}

async fn of_algorithm(c: &Context, algorithm: Algorithm) {
    let mut set = Set { algorithm: Some(algorithm), in_query: true, ..Set::default() };
    let children = platforms(&mut set, 110);
    let index = set.index(&children, json!({}));
    set.image(115, 1, json!({ "subject": index }));
    set.tag("index", &index);
    set.run(c).await;
}

pub async fn tags_in_the_query(c: Context) {
    let mut set = Set { in_query: true, ..Set::default() };
    let children = platforms(&mut set, 120);
    let index = set.index(&children, json!({}));
    for tag in ["one", "two"] {
        set.tag(tag, &index);
    }
    for (n, child) in children.iter().enumerate() {
        set.tag(&format!("child-{n}"), child);
    }
    set.run(&c).await;
    assert_eq!(c.status("GET", &format!("blobs/{}", sha256(b"none"))).await, 404);
}

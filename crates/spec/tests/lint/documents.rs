//! Documents and the rules that they break. Each is a sound one with one part replaced, so that
//! nothing else can be found. The partner tests hold the JSON Schemas of image-spec against it too.

/// One document.
#[derive(Debug)]
pub struct Case {
    /// `descriptor`, `index`, `manifest`, `config` or `layout`; `index.json` is a layout's index.
    pub form: &'static str,
    pub json: String,
    /// The ids of all rules that it breaks, in order.
    pub rules: Vec<&'static str>,
}

const DESCRIPTOR: &str = r#"{"mediaType":"application/vnd.example.data+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2,"urls":["https://example.com/a"],"annotations":{"com.example.key":"value"},"data":"e30=","artifactType":"application/vnd.example+type"}"#;
const INDEX: &str = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:e692418e4cbaf90ca69d05a66403747baa33ee08806650b51fab815ad7fc331f","size":7143,"platform":{"architecture":"arm64","os":"linux","variant":"v8"}},{"mediaType":"application/vnd.oci.image.index.v1+json","digest":"sha256:601570aaff1b68a61eb9c85b8beca1644e698003e0cdb5bce960f193d265a8b7","size":7682}],"annotations":{"com.example.key":"value"}}"#;
const MANIFEST: &str = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:b5b2b2c507a0944348e0303114d8d93aaaa081732b86451d9bce1f432a537bc7","size":7023},"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"sha256:9834876dcfb05cb167a5c24953eba58c4ac89b1adf57f28f2f9d09af107ee8f0","size":32654}],"annotations":{"com.example.key":"value"}}"#;
const ARTIFACT: &str = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","artifactType":"application/vnd.example+type","config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2},"layers":[{"mediaType":"application/vnd.oci.empty.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2}]}"#;
const CONFIG: &str = r#"{"created":"2015-10-31T22:22:56.015925234Z","author":"Alyssa P. Hacker <alyspdev@example.com>","architecture":"amd64","os":"linux","config":{"User":"alice","ExposedPorts":{"8080/tcp":{}},"Env":["PATH=/bin","EMPTY="],"Entrypoint":["/bin/app"],"Cmd":["--config"],"Volumes":{"/data":{}},"WorkingDir":"/home","Labels":{"com.example.key":"value"},"StopSignal":"SIGTERM"},"rootfs":{"diff_ids":["sha256:c6f988f4874bb0add23a778f753c65efe992244e148a1d2ec2a8b664fb66bbd1"],"type":"layers"},"history":[{"created":"2015-10-31T22:22:54Z","created_by":"/bin/sh","comment":"","author":"","empty_layer":false}]}"#;
const LAYOUT: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;
const INDEX_JSON: &str = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"mediaType":"application/vnd.oci.image.index.v1+json","digest":"sha256:0228f90e926ba6b96e4f39cf294b2586d38fbb5a1e385c05cd1ee40ea54fe7fd","size":7143,"annotations":{"org.opencontainers.image.ref.name":"stable"}},{"mediaType":"application/xml","digest":"sha256:b3d63d132d21c3ff4c35a061adf23cf43da8ae054247e32faa95494d904a007e","size":7143,"annotations":{"org.opencontainers.image.ref.name":"v1.0"}}]}"#;

/// What stands there, what stands there instead, and what is found then.
type Row = (&'static str, &'static str, &'static [&'static str]);

const DESCRIPTORS: &[Row] = &[
    ("", "", &[]),
    (DESCRIPTOR, "[]", &["descriptor-not-object"]),
    (
        DESCRIPTOR,
        "{}",
        &["descriptor-media-type-missing", "descriptor-digest-missing", "descriptor-size-missing"],
    ),
    (r#""application/vnd.example.data+json""#, "7", &["descriptor-media-type-invalid"]),
    ("vnd.example.data+json", "", &["descriptor-media-type-invalid"]),
    (
        "application/vnd.example.data+json",
        "application/json; charset=utf-8",
        &["descriptor-media-type-invalid"],
    ),
    ("sha256:4413", "sha256:413", &["digest-encoding"]),
    ("sha256:44136fa", "sha256:44136FA", &["digest-encoding"]),
    ("sha256:4413", "SHA256:4413", &["digest-invalid"]),
    ("sha256:4413", "sha256:../../4413", &["digest-invalid"]),
    (
        r#""sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a""#,
        "null",
        &["digest-invalid"],
    ),
    (
        "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
        "md5:99914b932bd37a50b983c5e7c90ae93b",
        &["digest-unregistered"],
    ),
    (
        "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
        "sha512:27c74670adb75075fad058d5ceaf7b20c4e7786c83bae8a32f626f9782af34c9a33c2046ef60fd2a7878d378e29fec851806bbd9a67878f3a9f1cda4830763fd",
        &["digest-not-sha256"],
    ),
    (r#""size":2"#, r#""size":-1"#, &["descriptor-size-negative"]),
    (r#""size":2"#, r#""size":2.0"#, &["descriptor-size-invalid"]),
    (r#""size":2"#, r#""size":"2""#, &["descriptor-size-invalid"]),
    (r#""size":2"#, r#""size":9223372036854775808"#, &["descriptor-size-invalid"]),
    (r#""size":2,"#, r#""size":9223372036854775807,"x":"#, &["json-syntax"]),
    (r#""size":2"#, r#""size":3"#, &["descriptor-data-mismatch"]),
    (r#"["https://example.com/a"]"#, r#""https://example.com/a""#, &["descriptor-urls-invalid"]),
    (r#""https://example.com/a""#, "1", &["descriptor-urls-invalid"]),
    ("https://example.com/a", "https://example.com/a b", &["descriptor-url-invalid"]),
    ("https://example.com/a", "example.com", &["descriptor-url-invalid"]),
    ("https://example.com/a", "ftp://example.com/a", &["descriptor-url-scheme"]),
    ("https://example.com/a", "file:///etc/passwd", &["descriptor-url-scheme"]),
    ("e30=", "e30", &["descriptor-data-invalid"]),
    (r#""e30=""#, "{}", &["descriptor-data-invalid"]),
    ("e30=", "W10=", &["descriptor-data-mismatch"]),
    ("vnd.example+type", "", &["descriptor-artifact-type-invalid"]),
    (
        "application/vnd.example+type",
        "application/vnd.oci.image.layer.v1",
        &["draft-artifact-type"],
    ),
    (r#"{"com.example.key":"value"}"#, "null", &["annotations-not-map"]),
    (r#"{"com.example.key":"value"}"#, "[]", &["annotations-not-map"]),
    (r#""value""#, "1", &["annotation-value-invalid"]),
    ("com.example.key", "key", &["annotation-key-domain"]),
    ("com.example.key", "org.opencontainers.mine", &["annotation-key-reserved"]),
    ("com.example.key", "org.opencontainers.image.mine", &["annotation-key-reserved"]),
    ("com.example.key", "org.opencontainers.image.title", &[]),
    ("com.example.key", "org.opencontainers.image.created", &["annotation-created-invalid"]),
    ("com.example.key", "org.opencontainers.image.source", &["annotation-url-invalid"]),
    (r#""com.example.key":"value""#, r#""org.opencontainers.image.source":"""#, &[]),
    (
        r#""com.example.key":"value""#,
        r#""org.opencontainers.image.licenses":"MIT, BSD""#,
        &["annotation-licenses-invalid"],
    ),
    (
        r#""com.example.key":"value""#,
        r#""org.opencontainers.image.ref.name":"v1""#,
        &["annotation-ref-name-place"],
    ),
    (
        "com.example.key",
        "org.opencontainers.image.base.digest",
        &["annotation-base-digest-invalid"],
    ),
    (
        "com.example.key",
        "org.opencontainers.image.base.name",
        &["annotation-base-name-invalid", "annotation-base-digest-missing"],
    ),
    ("application/vnd.example.data+json", "application/vnd.oci.empty.v1+json", &[]),
    (
        r#""application/vnd.example.data+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2"#,
        r#""application/vnd.oci.empty.v1+json","digest":"sha256:4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945","size":2"#,
        &["descriptor-data-mismatch", "descriptor-empty-content"],
    ),
    (
        "application/vnd.example.data+json",
        "application/vnd.docker.image.rootfs.diff.tar.gzip",
        &["docker-media-type"],
    ),
    (
        "application/vnd.example.data+json",
        "application/vnd.oci.layer.v1.tar+gzip",
        &["draft-media-type"],
    ),
    ("application/vnd.example.data+json", "vnd.oci.image.layer.v1.tar+gzip", &["draft-media-type"]),
    (
        "application/vnd.example.data+json",
        "application/vnd.oci.image.layer.nondistributable.v1.tar",
        &["layer-nondistributable"],
    ),
];

const JSON: &[Row] = &[
    (r#""size":2"#, r#""size":2,"x":[1,2,9007199254740992,1e300]"#, &[]),
    (r#""size":2"#, r#""size":2,"x":9007199254740993"#, &["json-number-precision"]),
    (r#""size":2"#, r#""size":2,"x":-9223372036854775807"#, &["json-number-precision"]),
    (r#""size":2"#, r#""size":2,"Digest":"x""#, &["json-case-variant"]),
    (r#""size":2"#, "\"size\":2,\"\u{17f}ize\":2", &["json-case-variant"]),
    (r#""size":2"#, r#""size":2,"size":3"#, &["json-duplicate-name"]),
    (
        r#""com.example.key":"value""#,
        r#""com.example.key":"value","com.example.key":"other""#,
        &["json-duplicate-name"],
    ),
    (
        r#""com.example.key":"value""#,
        r#""com.example.key":"value","com.example.\u006bey":"""#,
        &["json-duplicate-name"],
    ),
    (r#""com.example.key""#, r#""com.example.DIGEST":"","com.example.key""#, &[]),
    (r#""value""#, r#""\ufffe""#, &["json-noncharacter"]),
    (r#""value""#, r#""\ud800""#, &["json-syntax"]),
    ("{\"mediaType\"", "\u{feff}{\"mediaType\"", &["json-byte-order-mark"]),
    (DESCRIPTOR, "", &["json-syntax"]),
    (DESCRIPTOR, "{} {}", &["json-syntax"]),
];

const INDEXES: &[Row] = &[
    ("", "", &[]),
    (INDEX, "[]", &["document-not-object"]),
    (
        INDEX,
        "{}",
        &["index-schema-version-missing", "index-media-type-missing", "index-manifests-missing"],
    ),
    (r#""schemaVersion":2"#, r#""schemaVersion":1"#, &["index-schema-version-invalid"]),
    (r#""schemaVersion":2"#, r#""schemaVersion":"2""#, &["index-schema-version-invalid"]),
    (
        r#""mediaType":"application/vnd.oci.image.index.v1+json","manifests""#,
        r#""manifests""#,
        &["index-media-type-missing"],
    ),
    (
        r#"2,"mediaType":"application/vnd.oci.image.index.v1+json""#,
        r#"2,"mediaType":"application/vnd.oci.image.manifest.v1+json""#,
        &["index-media-type-invalid"],
    ),
    (
        r#"2,"mediaType":"application/vnd.oci.image.index.v1+json""#,
        r#"2,"mediaType":"application/vnd.oci.index.v1+json""#,
        &["draft-media-type"],
    ),
    (
        r#"2,"mediaType":"application/vnd.oci.image.index.v1+json""#,
        r#"2,"mediaType":"application/vnd.docker.distribution.manifest.list.v2+json""#,
        &["docker-media-type", "docker-oci-property"],
    ),
    (
        r#""schemaVersion":2"#,
        r#""schemaVersion":2,"artifactType":"a""#,
        &["index-artifact-type-invalid"],
    ),
    (
        r#""schemaVersion":2"#,
        r#""schemaVersion":2,"artifactType":"application/vnd.oci.image.index.v1""#,
        &["draft-artifact-type"],
    ),
    (
        r#""schemaVersion":2"#,
        r#""schemaVersion":2,"subject":{"mediaType":"a/b","digest":"a:b","size":1}"#,
        &["digest-unregistered"],
    ),
    (r#""schemaVersion":2"#, r#""schemaVersion":2,"layers":[]"#, &["document-shape-conflict"]),
    (r#""manifests":["#, r#""manifests":{},"x":["#, &["index-manifests-invalid"]),
    (r#""manifests":["#, r#""manifests":[],"x":["#, &[]),
    (r#""manifests":["#, r#""manifests":[7,"#, &["descriptor-not-object"]),
    ("image.manifest.v1+json", "image.config.v1+json", &["index-entry-media-type"]),
    (
        r#","platform":{"architecture":"arm64","os":"linux","variant":"v8"}"#,
        "",
        &["descriptor-platform-missing"],
    ),
    (
        r#""platform":{"architecture":"arm64","os":"linux","variant":"v8"}"#,
        r#""platform":"linux/arm64""#,
        &["platform-not-object"],
    ),
    (
        r#"{"architecture":"arm64","os":"linux","variant":"v8"}"#,
        "{}",
        &["platform-architecture-missing", "platform-os-missing"],
    ),
    (r#""architecture":"arm64""#, r#""architecture":[]"#, &["platform-member-invalid"]),
    (r#""variant":"v8""#, r#""variant":8"#, &["platform-member-invalid"]),
    (r#""variant":"v8""#, r#""os.version":10"#, &["platform-member-invalid"]),
    (
        r#""architecture":"arm64""#,
        r#""architecture":"aarch64""#,
        &["platform-architecture-unknown"],
    ),
    (r#""os":"linux""#, r#""os":"Linux""#, &["platform-os-unknown"]),
    (r#""os":"linux""#, r#""os":"windows","os.features":["win32k"]"#, &[]),
    (
        r#""os":"linux""#,
        r#""os":"windows","os.features":["other"]"#,
        &["platform-os-features-unknown"],
    ),
    (r#""os":"linux""#, r#""os":"linux","os.features":["other"]"#, &[]),
    (r#""os":"linux""#, r#""os":"linux","os.features":"other""#, &["platform-os-features-invalid"]),
    (r#""os":"linux""#, r#""os":"linux","os.features":[1]"#, &["platform-os-features-invalid"]),
    (r#""os":"linux""#, r#""os":"linux","features":["sse4"]"#, &["platform-features-reserved"]),
    (r#""os":"linux""#, r#""os":"linux","OS":"windows""#, &["json-case-variant"]),
    (r#""variant":"v8""#, r#""variant":"8""#, &["platform-variant-unknown"]),
    (
        r#""arm64","os":"linux","variant":"v8""#,
        r#""riscv64","os":"linux","variant":"rva22u64""#,
        &[],
    ),
    (r#""arm64","os":"linux","variant":"v8""#, r#""ppc64le","os":"linux","variant":"power9""#, &[]),
    (
        r#""arm64","os":"linux","variant":"v8""#,
        r#""amd64","os":"linux","variant":"v9""#,
        &["platform-variant-unknown"],
    ),
];

const MANIFESTS: &[Row] = &[
    ("", "", &[]),
    (MANIFEST, "null", &["document-not-object"]),
    (
        MANIFEST,
        "{}",
        &[
            "manifest-schema-version-missing",
            "manifest-media-type-missing",
            "manifest-config-missing",
            "manifest-layers-missing",
        ],
    ),
    (r#""schemaVersion":2"#, r#""schemaVersion":3"#, &["manifest-schema-version-invalid"]),
    (r#""schemaVersion":2"#, r#""schemaVersion":2.0"#, &["manifest-schema-version-invalid"]),
    (r#""schemaVersion":2"#, r#""schemaVersion":1"#, &["manifest-schema-version-invalid"]),
    (MANIFEST, r#"{"schemaVersion":1,"fsLayers":[],"history":[]}"#, &["docker-schema1"]),
    (
        r#""mediaType":"application/vnd.oci.image.manifest.v1+json","#,
        "",
        &["manifest-media-type-missing"],
    ),
    ("image.manifest.v1+json", "image.index.v1+json", &["manifest-media-type-invalid"]),
    (r#""application/vnd.oci.image.manifest.v1+json""#, "[]", &["manifest-media-type-invalid"]),
    (
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.oci.manifest.v1+json",
        &["draft-media-type"],
    ),
    (
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v2+json",
        &["docker-media-type", "docker-oci-property"],
    ),
    ("image.config.v1+json", "config.v1+json", &["draft-media-type"]),
    (r#""schemaVersion":2"#, r#""schemaVersion":2,"artifactType":""#, &["json-syntax"]),
    (
        r#""schemaVersion":2"#,
        r#""schemaVersion":2,"artifactType":"x""#,
        &["manifest-artifact-type-invalid", "manifest-artifact-config"],
    ),
    (
        r#""schemaVersion":2"#,
        r#""schemaVersion":2,"artifactType":"a/b""#,
        &["manifest-artifact-config"],
    ),
    (r#""schemaVersion":2"#, r#""schemaVersion":2,"manifests":[]"#, &["document-shape-conflict"]),
    (r#""schemaVersion":2"#, r#""schemaVersion":2,"LAYERS":[]"#, &["json-case-variant"]),
    (
        r#""schemaVersion":2"#,
        r#""schemaVersion":2,"layers":[]"#,
        &["json-duplicate-name", "manifest-layers-empty"],
    ),
    (r#""schemaVersion":2"#, r#""schemaVersion":2,"subject":null"#, &["descriptor-not-object"]),
    (r#""config":{"#, r#""config":"x","y":{"#, &["descriptor-not-object"]),
    ("vnd.oci.image.config.v1+json", "vnd.example.config+json", &["manifest-config-media-type"]),
    ("vnd.oci.image.config.v1+json", "vnd.docker.container.image.v1+json", &["docker-media-type"]),
    (r#""layers":["#, r#""layers":7,"x":["#, &["manifest-layers-invalid"]),
    (r#""layers":["#, r#""layers":null,"x":["#, &["manifest-layers-invalid"]),
    (r#""layers":["#, r#""layers":[],"x":["#, &["manifest-layers-empty"]),
    (
        r#""layers":["#,
        r#""layers":[{},"#,
        &["descriptor-media-type-missing", "descriptor-digest-missing", "descriptor-size-missing"],
    ),
    ("vnd.oci.image.layer.v1.tar+gzip", "x-tar", &["manifest-layer-media-type"]),
    ("layer.v1.tar+gzip", "layer.v1.tar+zstd", &[]),
    ("layer.v1.tar+gzip", "layer.nondistributable.v1.tar+gzip", &["layer-nondistributable"]),
    (
        "vnd.oci.image.layer.v1.tar+gzip",
        "vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        &["docker-media-type", "layer-nondistributable"],
    ),
    (
        r#"{"com.example.key":"value"}"#,
        r#"{"org.opencontainers.image.ref.name":"a b"}"#,
        &["annotation-ref-name-grammar", "annotation-ref-name-place"],
    ),
    (
        MANIFEST,
        r#"{"mediaType":"application/vnd.oci.artifact.manifest.v1+json","artifactType":"a/b","blobs":[{"mediaType":"a/b","digest":"x","size":1}]}"#,
        &["draft-artifact-manifest", "digest-invalid"],
    ),
    (
        MANIFEST,
        r#"{"mediaType":"application/vnd.oci.artifact.manifest.v1+json","artifactType":"","blobs":{},"layers":[]}"#,
        &[
            "draft-artifact-manifest",
            "document-shape-conflict",
            "manifest-artifact-type-invalid",
            "manifest-layers-invalid",
        ],
    ),
];

const ARTIFACTS: &[Row] = &[
    ("", "", &[]),
    (r#""artifactType":"application/vnd.example+type","#, "", &["manifest-artifact-type-missing"]),
    (
        r#""config":{"mediaType":"application/vnd.oci.empty.v1+json""#,
        r#""config":{"mediaType":"application/vnd.example+json""#,
        &[],
    ),
    (
        r#""layers":[{"mediaType":"application/vnd.oci.empty.v1+json""#,
        r#""layers":[{"mediaType":"application/vnd.example+json""#,
        &[],
    ),
    (
        r#""layers":[{"mediaType":"application/vnd.oci.empty.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2"#,
        r#""layers":[{"mediaType":"a/b","digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":0"#,
        &["manifest-artifact-layer-size"],
    ),
];

const CONFIGS: &[Row] = &[
    ("", "", &[]),
    (CONFIG, "7", &["document-not-object"]),
    (CONFIG, "{}", &["config-architecture-missing", "config-os-missing", "config-rootfs-missing"]),
    (r#""architecture":"amd64""#, r#""architecture":null"#, &["config-member-invalid"]),
    (r#""architecture":"amd64""#, r#""architecture":"x86_64""#, &["platform-architecture-unknown"]),
    (r#""os":"linux""#, r#""os":"Linux""#, &["platform-os-unknown"]),
    (r#""os":"linux""#, r#""os":"linux","variant":null,"os.version":null,"os.features":null"#, &[]),
    (r#""os":"linux""#, r#""os":"linux","variant":"v7""#, &["platform-variant-unknown"]),
    (r#""os":"linux""#, r#""os":"linux","os.features":{}"#, &["platform-os-features-invalid"]),
    (
        r#""created":"2015-10-31T22:22:56.015925234Z""#,
        r#""created":"yesterday""#,
        &["config-created-invalid"],
    ),
    (
        r#""created":"2015-10-31T22:22:56.015925234Z""#,
        r#""created":1446330176"#,
        &["config-member-invalid"],
    ),
    (r#""created":"2015-10-31T22:22:56.015925234Z""#, r#""created":null"#, &[]),
    (
        r#""author":"Alyssa P. Hacker <alyspdev@example.com>""#,
        r#""author":[]"#,
        &["config-member-invalid"],
    ),
    (r#""config":{"#, r#""config":null,"x":{"#, &[]),
    (r#""config":{"#, r#""config":[],"x":{"#, &["config-member-invalid"]),
    (r#""config":{"#, r#""config":{"user":"bob","#, &["json-case-variant"]),
    (
        r#""config":{"#,
        r#""config":{"OnBuild":null,"Shell":["/bin/sh"],"Memory":1,"Healthcheck":{"Test":["NONE"]},"#,
        &[],
    ),
    (r#""config":{"#, r#""config":{"Memory":"1","#, &["config-member-invalid"]),
    (r#""config":{"#, r#""config":{"ArgsEscaped":true,"#, &["config-args-escaped"]),
    (r#""config":{"#, r#""config":{"ArgsEscaped":1,"#, &["config-member-invalid"]),
    ("alice", "4294967296", &["config-user-range"]),
    ("alice", "1000:-1", &["config-user-range"]),
    ("alice", "1000:", &["config-user-parts"]),
    ("alice", ":5", &["config-user-parts"]),
    ("alice", "a:b:c", &["config-user-parts"]),
    ("alice", "1000:5", &[]),
    ("alice", "1000:1000", &[]),
    (r#""alice""#, "1000", &["config-member-invalid"]),
    ("8080/tcp", "http", &["config-exposed-port-invalid"]),
    (r#""8080/tcp":{}"#, r#""8080/tcp":null"#, &["config-member-invalid"]),
    (r#"{"8080/tcp":{}}"#, r#"["8080/tcp"]"#, &["config-member-invalid"]),
    ("EMPTY=", "SECRET", &["config-env-invalid"]),
    ("EMPTY=", "=x", &["config-env-invalid"]),
    (r#""EMPTY=""#, "1", &["config-member-invalid"]),
    (r#"["/bin/app"]"#, r#""/bin/app""#, &["config-member-invalid"]),
    (r#""Cmd":["--config"]"#, r#""Cmd":null"#, &[]),
    (r#""Cmd":["--config"]"#, r#""Cmd":{}"#, &["config-member-invalid"]),
    (r#""/data":{}"#, r#""/data":true"#, &["config-member-invalid"]),
    (r#""WorkingDir":"/home""#, r#""WorkingDir":false"#, &["config-member-invalid"]),
    (r#"{"com.example.key":"value"}"#, "null", &[]),
    (r#"{"com.example.key":"value"}"#, "[]", &["config-member-invalid"]),
    ("com.example.key", "maintainer", &["annotation-key-domain"]),
    (r#""value""#, "null", &["annotation-value-invalid"]),
    ("SIGTERM", "TERM", &["config-stop-signal-invalid"]),
    ("SIGTERM", "SIGRTMIN+3", &[]),
    (r#""rootfs":{"#, r#""rootfs":[],"x":{"#, &["config-member-invalid"]),
    (r#","type":"layers""#, "", &["config-rootfs-type-missing"]),
    (r#""type":"layers""#, r#""type":"snapshots""#, &["config-rootfs-type-unknown"]),
    (
        r#""diff_ids":["sha256:c6f988f4874bb0add23a778f753c65efe992244e148a1d2ec2a8b664fb66bbd1"],"#,
        "",
        &["config-diff-ids-missing"],
    ),
    (r#""diff_ids":["#, r#""diff_ids":null,"x":["#, &["config-diff-ids-invalid"]),
    ("sha256:c6f988", "sha256:C6F988", &["digest-encoding"]),
    (r#""history":["#, r#""history":null,"x":["#, &[]),
    (r#""history":["#, r#""history":{},"x":["#, &["config-member-invalid"]),
    (r#""history":["#, r#""history":[1,"#, &["config-member-invalid"]),
    ("2015-10-31T22:22:54Z", "2015-10-31", &["config-created-invalid"]),
    (r#""empty_layer":false"#, r#""empty_layer":"no""#, &["config-member-invalid"]),
];

const LAYOUTS: &[Row] = &[
    ("", "", &[]),
    (LAYOUT, "[]", &["document-not-object"]),
    (LAYOUT, "{}", &["layout-version-missing"]),
    (r#""1.0.0""#, "1", &["layout-version-unknown"]),
    ("1.0.0", "2.0.0", &["layout-version-unknown"]),
    ("{", r#"{"more":1,"#, &[]),
];

const INDEX_JSONS: &[Row] = &[
    ("", "", &[]),
    ("v1.0", "stable", &["layout-ref-name-duplicate"]),
    // One name for several platforms is usual, for one platform it is ambiguous.
    (
        r#""size":7143,"annotations":{"org.opencontainers.image.ref.name":"v1.0"}"#,
        r#""size":7143,"platform":{"os":"linux","architecture":"arm64"},"annotations":{"org.opencontainers.image.ref.name":"stable"}"#,
        &["layout-ref-name-duplicate"],
    ),
    ("v1.0", "v 1", &["annotation-ref-name-grammar"]),
    ("v1.0", "", &[]),
    (
        r#""schemaVersion":2"#,
        r#""schemaVersion":2,"annotations":{"org.opencontainers.image.ref.name":"x"}"#,
        &["annotation-ref-name-place"],
    ),
];

const TABLES: &[(&str, &str, &[Row])] = &[
    ("descriptor", DESCRIPTOR, DESCRIPTORS),
    ("descriptor", DESCRIPTOR, JSON),
    ("index", INDEX, INDEXES),
    ("manifest", MANIFEST, MANIFESTS),
    ("manifest", ARTIFACT, ARTIFACTS),
    ("config", CONFIG, CONFIGS),
    ("layout", LAYOUT, LAYOUTS),
    ("index.json", INDEX_JSON, INDEX_JSONS),
];

/// All of them.
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (form, base, rows) in TABLES {
        for (from, to, rules) in *rows {
            assert!(base.contains(from), "{from} is not in {base}");
            let json = base.replacen(from, to, 1);
            cases.push(Case { form, json, rules: rules.to_vec() });
        }
    }
    cases
}

//! A chart as a manifest, byte for byte as Helm's registry client writes it.

use indexmap::IndexMap;

use conex_spec::annotations::{AUTHORS, CREATED, DESCRIPTION, SOURCE, TITLE, URL, VERSION};
use conex_spec::{Annotations, Descriptor, ImageManifest, MediaType, Result};

use super::chart::{Chart, Maintainer};
use super::go_json;

/// The config of a chart: `Chart.yaml` as JSON.
pub const CONFIG: MediaType = MediaType::from_static("application/vnd.cncf.helm.config.v1+json");
/// The archive of a chart.
pub const CONTENT: MediaType =
    MediaType::from_static("application/vnd.cncf.helm.chart.content.v1.tar+gzip");
/// The archive as Helm wrote it before its version 3.7.
pub const LEGACY_CONTENT: MediaType = MediaType::from_static("application/tar+gzip");
/// The provenance file: the chart's digest, signed.
pub const PROVENANCE: MediaType =
    MediaType::from_static("application/vnd.cncf.helm.chart.provenance.v1.prov");

/// The annotations of a chart's manifest: those that follow from its fields, then its own, which may
/// replace all but the name and the version. In the order of their keys, as Go prints a map.
pub fn annotations(chart: &Chart, created: Option<&str>) -> Annotations {
    let mut annotations = IndexMap::new();
    let authors: Vec<String> = chart.maintainers.iter().map(author).collect();
    for (key, value) in [
        (DESCRIPTION, chart.description.as_str()),
        (TITLE, &chart.name),
        (VERSION, &chart.version),
        (URL, &chart.home),
        (CREATED, created.unwrap_or_default()),
        (SOURCE, chart.sources.first().map_or("", String::as_str)),
        (AUTHORS, &authors.join(", ")),
    ] {
        if !value.trim().is_empty() {
            annotations.insert(key.to_owned(), value.to_owned());
        }
    }
    for (key, value) in &chart.annotations {
        if key != TITLE && key != VERSION {
            annotations.insert(key.clone(), value.clone());
        }
    }
    annotations.sort_unstable_keys();
    annotations
}

fn author(who: &Maintainer) -> String {
    match who.email.as_str() {
        "" => who.name.clone(),
        email => format!("{} ({email})", who.name),
    }
}

/// The manifest's bytes. Helm sorts the layers by digest, and writes no `mediaType`.
pub fn manifest(
    config: Descriptor,
    mut layers: Vec<Descriptor>,
    annotations: Annotations,
) -> Result<Vec<u8>> {
    layers.sort_by_key(|layer| layer.digest.to_string());
    let mut manifest = ImageManifest::new(config, layers);
    manifest.media_type = None;
    manifest.annotations = annotations;
    go_json::print(&manifest)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Helm's own tests expect of the chart `signtest` (pkg/registry/utils_test.go).
    #[test]
    fn the_chart_of_helms_tests_has_helms_bytes() {
        let chart = Chart::parse(
            "apiVersion: v1\ndescription: A Helm chart for Kubernetes\nname: signtest\nversion: 0.1.0\n",
        )
        .unwrap();
        let config = Descriptor::of(CONFIG, &chart.config().unwrap());
        let digest = "sha256:8d17cb6bf6ccd8c29aace9a658495cbd5e2e87fc267876e86117c7db681c9580";
        assert_eq!((config.digest.to_string().as_str(), config.size), (digest, 99));
        let layer = |kind, digest: &str, size| Descriptor::new(kind, digest.parse().unwrap(), size);
        let layers = vec![
            layer(
                CONTENT,
                "sha256:e5ef611620fb97704d8751c16bab17fedb68883bfb0edc76f78a70e9173f9b55",
                973,
            ),
            layer(
                PROVENANCE,
                "sha256:b0a02b7412f78ae93324d48df8fcc316d8482e5ad7827b5b238657a29a22f256",
                695,
            ),
        ];
        let annotations = annotations(&chart, Some("1977-09-02T22:04:05Z"));
        let bytes = manifest(config, layers, annotations).unwrap();
        let root = Descriptor::of(MediaType::MANIFEST, &bytes);
        let digest = "sha256:fbbade96da6050f68f94f122881e3b80051a18f13ab5f4081868dd494538f5c2";
        assert_eq!((root.digest.to_string().as_str(), root.size), (digest, 742));
    }

    #[test]
    fn annotations_follow_from_the_fields() {
        let chart = Chart::parse(
            "apiVersion: v2\nname: app\nversion: 1.0.0+b\nhome: https://app.example\n\
             description: '  '\nsources: [https://git.example/app, https://other.example]\n\
             maintainers:\n- {name: Ann, email: ann@app.example}\n- {email: b@app.example}\n- name: Cy\n\
             annotations:\n  org.opencontainers.image.title: other\n  org.opencontainers.image.url: mine\n  x: 1\n",
        )
        .unwrap();
        let made: Vec<_> = annotations(&chart, None).into_iter().collect();
        let made: Vec<_> = made.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(
            made,
            [
                (AUTHORS, "Ann (ann@app.example),  (b@app.example), Cy"),
                (SOURCE, "https://git.example/app"),
                (TITLE, "app"),
                (URL, "mine"),
                (VERSION, "1.0.0+b"),
                ("x", "1"),
            ]
        );
    }
}

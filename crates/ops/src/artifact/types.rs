//! Which media type a file has by its name, where nobody says it.
//!
//! Types are those of IANA's registry where it has one. The longest ending decides, whatever the case
//! of its letters; a file of another name is a row of bytes.

use conex_spec::MediaType;

/// Endings of names and what they tell. A longer one stands before its own end.
pub const ENDINGS: &[(&str, &str)] = &[
    (".spdx.json", "application/spdx+json"),
    (".cdx.json", "application/vnd.cyclonedx+json"),
    (".cdx.xml", "application/vnd.cyclonedx+xml"),
    (".bom.json", "application/vnd.cyclonedx+json"),
    (".intoto.jsonl", "application/vnd.in-toto+json"),
    (".intoto.json", "application/vnd.in-toto+json"),
    (".sarif.json", "application/sarif+json"),
    (".tar.gz", "application/gzip"),
    (".tar.zst", "application/zstd"),
    (".tar.xz", "application/x-xz"),
    (".spdx", "text/spdx"),
    (".sarif", "application/sarif+json"),
    (".json", "application/json"),
    (".jsonl", "application/jsonl"),
    (".yaml", "application/yaml"),
    (".yml", "application/yaml"),
    (".toml", "application/toml"),
    (".xml", "application/xml"),
    (".txt", "text/plain"),
    (".md", "text/markdown"),
    (".csv", "text/csv"),
    (".html", "text/html"),
    (".css", "text/css"),
    (".js", "text/javascript"),
    (".tar", "application/x-tar"),
    (".tgz", "application/gzip"),
    (".gz", "application/gzip"),
    (".zst", "application/zstd"),
    (".xz", "application/x-xz"),
    (".zip", "application/zip"),
    (".wasm", "application/wasm"),
    (".pdf", "application/pdf"),
    (".png", "image/png"),
    (".jpg", "image/jpeg"),
    (".jpeg", "image/jpeg"),
    (".svg", "image/svg+xml"),
    (".sh", "application/x-sh"),
    (".pem", "application/x-pem-file"),
];

/// The type of a file by its name.
pub fn by_name(name: &str) -> MediaType {
    let name = name.as_bytes();
    let fits = |ending: &str| {
        let at = name.len().checked_sub(ending.len());
        at.is_some_and(|at| name[at..].eq_ignore_ascii_case(ending.as_bytes()))
    };
    let found = ENDINGS.iter().find(|(ending, _)| fits(ending));
    found.map_or(MediaType::OCTETS, |(_, media_type)| MediaType::from_static(media_type))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_ending_decides() {
        for (name, expected) in [
            ("app.spdx.json", "application/spdx+json"),
            ("app.JSON", "application/json"),
            (".json", "application/json"),
            ("a.tar.gz", "application/gzip"),
            ("é.md", "text/markdown"),
            ("json", "application/octet-stream"),
            ("", "application/octet-stream"),
        ] {
            assert_eq!(by_name(name).as_str(), expected, "{name}");
        }
    }

    #[test]
    fn every_ending_is_reached_and_every_type_is_one() {
        for (at, (ending, media_type)) in ENDINGS.iter().enumerate() {
            MediaType::from_static(media_type).check().unwrap();
            assert_eq!(by_name(&format!("x{ending}")).as_str(), *media_type, "{ending}");
            assert!(ENDINGS[..at].iter().all(|(before, _)| !ending.ends_with(before)), "{ending}");
        }
    }
}

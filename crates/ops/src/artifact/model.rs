//! Models of machine learning, as the CNCF's ModelPack lays them out: a layer for each file.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde_json::json;

use conex_spec::{Descriptor, Error, MediaType, Result};

use super::draft::{Draft, Part};
use super::kinds::{printed, shown};

/// Where in its folder a file of a model is.
const FILE_PATH: &str = "org.cncf.model.filepath";
/// Files that hold weights, by the ends of their names. Of the first two the content can be told as well,
/// and they make a model.
const WEIGHTS: [&str; 18] = [
    ".safetensors",
    ".gguf",
    ".onnx",
    ".bin",
    ".pt",
    ".pth",
    ".h5",
    ".ckpt",
    ".ggml",
    ".keras",
    ".mlmodel",
    ".msgpack",
    ".nemo",
    ".npz",
    ".pb",
    ".pdparams",
    ".pkl",
    ".tflite",
];
/// The longest header of safetensors, in bytes.
const MAX_HEADER: u64 = 100_000_000;

/// Whether files are a model by themselves.
pub(super) fn is_model(files: &[(PathBuf, String)]) -> bool {
    files.iter().any(|(path, name)| is_certain(name) && fault(path).is_none())
}

/// Checks that files of which someone says that they are a model hold weights; `name` is what people call
/// the whole.
///
/// # Errors
/// `Invalid` where none does, or where one holds something else.
pub(super) fn check(files: &[(PathBuf, String)], name: &Path) -> Result<()> {
    for (path, _) in files.iter().filter(|(_, name)| is_certain(name)) {
        if let Some(found) = fault(path) {
            let err = Error::invalid(format!("{} holds no weights", path.display()))
                .expected("what its name says");
            return Err(match found.contains("git-lfs") {
                true => err.hint("`git lfs pull` fetches what the file stands for"),
                false => err,
            }
            .found(found));
        }
    }
    if files.iter().any(|(_, name)| ends(name, &WEIGHTS)) {
        return Ok(());
    }
    let names: Vec<_> = files.iter().take(3).map(|(_, name)| name.as_str()).collect();
    Err(Error::invalid(format!("{} is no model: it holds no weights", name.display()))
        .expected(format!("a file in {}", WEIGHTS.join(", ")))
        .found(match names.as_slice() {
            [] => "no files".to_owned(),
            [name] => (*name).to_owned(),
            names => format!("{} files, as {}", files.len(), names.join(", ")),
        }))
}

/// Whether what the name says can be seen.
fn is_certain(name: &str) -> bool {
    ends(name, &WEIGHTS[..2])
}

/// What a file holds in place of the weights that it is called after.
fn fault(path: &Path) -> Option<String> {
    let mut head = Vec::new();
    let file = File::open(path).ok()?;
    file.take(64).read_to_end(&mut head).ok()?;
    let good = if ends(&path.to_string_lossy(), &[".gguf"]) {
        head.starts_with(b"GGUF")
    } else {
        // The length of a header, and the header in JSON.
        head.first_chunk().is_some_and(|length| u64::from_le_bytes(*length) <= MAX_HEADER)
            && head.get(8) == Some(&b'{')
    };
    (!good).then(|| shown(&head))
}

fn ends(name: &str, endings: &[&str]) -> bool {
    let name = name.to_ascii_lowercase();
    endings.iter().any(|ending| name.ends_with(ending))
}

/// A file of a model.
pub(super) fn part((path, name): (PathBuf, String)) -> Part {
    let lower = name.to_ascii_lowercase();
    let base = lower.rsplit('/').next().unwrap_or_default();
    let kind = if ends(&name, &WEIGHTS) {
        "weight"
    } else if ends(&name, &[".md", ".pdf", ".rst"])
        || ["readme", "license", "notice"].iter().any(|it| base.starts_with(it))
    {
        "doc"
    } else if ends(&name, &[".py", ".ipynb", ".sh"]) {
        "code"
    } else {
        "weight.config"
    };
    let media_type = MediaType::new(format!("application/vnd.cncf.model.{kind}.v1.raw"));
    let mut part = Part::file(media_type, path).titled(name.clone());
    part.annotations.insert(FILE_PATH.to_owned(), name);
    part
}

/// The config: layers are files as they are, so that they are what their digests say before and after they
/// are packed.
pub(super) fn config(draft: &Draft, layers: &[Descriptor]) -> Result<Bytes> {
    let digests: Vec<_> = layers.iter().map(|layer| &layer.digest).collect();
    let titles = draft.layers.iter().filter_map(|part| part.title.as_deref());
    let format = |ending: &&str| titles.clone().any(|title| ends(title, &[ending]));
    let format = WEIGHTS.iter().find(|ending| format(ending));
    printed(&json!({
        "descriptor": {},
        "modelfs": { "type": "layers", "diffIds": digests },
        "config": { "format": format.map_or("", |ending| &ending[1..]) },
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_what_they_are_called() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, content: &[u8]| {
            let path = dir.path().join(name);
            std::fs::write(&path, content).unwrap();
            (path, name.to_owned())
        };
        let good = file("a.gguf", b"GGUF\x03\0\0\0");
        let tensors = file("a.safetensors", b"\x02\0\0\0\0\0\0\0{}");
        let pointer = file("b.safetensors", b"version https://git-lfs.github.com/spec/v1\n");
        let (other, text) = (file("a.onnx", b"x"), file("a.txt", b"x"));
        for (files, seen, taken) in [
            (vec![good, text.clone()], true, true),
            (vec![tensors], true, true),
            (vec![other], false, true),
            (vec![text.clone()], false, false),
            (vec![], false, false),
            (vec![pointer.clone()], false, false),
        ] {
            assert_eq!(is_model(&files), seen, "{files:?}");
            assert_eq!(check(&files, dir.path()).is_ok(), taken, "{files:?}");
        }
        let err = check(&[pointer], dir.path()).unwrap_err();
        assert!(err.message().ends_with("b.safetensors holds no weights"), "{err}");
        assert!(err.hint_text().unwrap().contains("git lfs pull"));
        let err = check(&[text], dir.path()).unwrap_err();
        assert_eq!(err.found_value(), Some("a.txt"));
    }
}

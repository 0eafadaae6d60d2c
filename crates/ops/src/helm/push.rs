//! A chart from this machine into a registry, a layout or the local store.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde::Serialize;

use conex_spec::annotations::{TITLE, VERSION};
use conex_spec::{Annotations, Descriptor, Error, Kind, Location, MediaType, Name, Result, date};
use conex_store::{Stage, bridge};

use super::{Chart, archive, folder, oci};
use crate::artifact::draft::check_place;
use crate::artifact::kinds::or_as_files;
use crate::copy::{CopyOptions, Summary, copy_to};
use crate::open::Context;
use crate::small_file;

/// The largest archive that is read, in bytes: more than Helm takes when it is unpacked.
pub(super) const MAX_ARCHIVE: u64 = 100 << 20;
/// The largest provenance file, in bytes.
const MAX_PROVENANCE: u64 = 4 << 20;

/// What is pushed.
#[derive(Clone, Debug, Default)]
pub struct Recipe {
    /// The chart: an archive, or a folder with `Chart.yaml` in it.
    pub path: PathBuf,
    /// The provenance file; without it the one beside the archive, where there is one.
    pub provenance: Option<PathBuf>,
    /// Annotations of the manifest, beside those of the chart, whose name and version stay.
    pub annotations: Annotations,
    /// When it was made, as RFC 3339 writes it; without it the time of an archive's file, and nothing for
    /// a folder, which is packed alike at any time.
    pub created: Option<String>,
}

/// What was pushed.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Where it is, with its tag.
    pub location: Location,
    /// The manifest.
    pub root: Descriptor,
    /// What the chart says about itself.
    pub chart: Chart,
    /// The layers: the archive, and the provenance file where there is one.
    pub layers: Vec<Descriptor>,
    /// What moved, and what was there already.
    pub summary: Summary,
}

/// Whether a path is that of a chart: a folder with `Chart.yaml` in it, or an archive of one.
pub fn is_chart(path: &Path) -> bool {
    if path.is_dir() {
        return path.join("Chart.yaml").is_file();
    }
    // To open anything else might wait for someone.
    path.is_file() && File::open(path).is_ok_and(archive::is_chart)
}

/// Pushes a chart. A location without a tag gets that of the version.
///
/// # Errors
/// `Usage` for a tag that is not that of the version, `Invalid` for what is no chart, `Mismatch` for a
/// provenance file of another archive: all before anything is sent.
pub async fn push(
    context: &Context,
    recipe: &Recipe,
    to: &Location,
    options: &CopyOptions,
) -> Result<Report> {
    check_place(to)?;
    let asked = recipe.clone();
    let loaded = bridge::blocking(move || load(&asked)).await?;
    let to = target(&loaded.chart, to)?;
    let stage = Stage::new(context.stage_folder(&to)?, None, context.key())?;
    let config = stage.add(oci::CONFIG, loaded.chart.config()?);
    let mut layers = vec![stage.add(oci::CONTENT, loaded.archive)];
    layers.extend(loaded.provenance.map(|bytes| stage.add(oci::PROVENANCE, bytes)));
    let created = recipe.created.as_deref().or(loaded.created.as_deref());
    let mut annotations = oci::annotations(&loaded.chart, created);
    for (key, value) in &recipe.annotations {
        if key != TITLE && key != VERSION {
            annotations.insert(key.clone(), value.clone());
        }
    }
    annotations.sort_unstable_keys();
    let bytes = oci::manifest(config, layers.clone(), annotations)?;
    let mut root = stage.add(MediaType::MANIFEST, bytes);
    root.artifact_type = Some(oci::CONFIG);
    let summary = copy_to(context, &stage, &root, &to, &options.alone()).await?;
    Ok(Report { location: to, root, chart: loaded.chart, layers, summary })
}

/// Where a chart goes: the tag is that of its version.
fn target(chart: &Chart, to: &Location) -> Result<Location> {
    let tag = chart.tag()?;
    match to.name() {
        None => to.with_name(Name::Tag(tag)),
        Some(Name::Tag(named)) if named != tag => {
            Err(Error::new(Kind::Usage, format!("{to} is not the tag of the chart's version"))
                .expected(format!("{tag}, for version {} of {}", chart.version, chart.name))
                .found(named)
                .hint(format!(
                    "without a tag it becomes {}; `--as files` pushes the file under any",
                    to.with_name(Name::Tag(tag))?
                )))
        }
        Some(_) => Ok(to.clone()),
    }
}

struct Loaded {
    chart: Chart,
    archive: Bytes,
    provenance: Option<Bytes>,
    created: Option<String>,
}

fn load(recipe: &Recipe) -> Result<Loaded> {
    let path = recipe.path.as_path();
    let meta = fs::metadata(path).map_err(|err| small_file::cannot("cannot read", path, err))?;
    let (archive, created, contents) = read(path, &meta).map_err(or_as_files)?;
    let provenance = match &recipe.provenance {
        Some(path) => Some(path.clone()),
        None => beside(path).filter(|path| !meta.is_dir() && path.exists()),
    };
    let provenance = provenance.map(|path| read_provenance(&path, &archive)).transpose()?;
    Ok(Loaded { chart: contents.chart, archive, provenance, created })
}

/// The archive of a chart, when it was made, and what it holds.
fn read(path: &Path, meta: &fs::Metadata) -> Result<(Bytes, Option<String>, archive::Contents)> {
    let (archive, created) = if meta.is_dir() {
        (Bytes::from(folder::pack(path)?), None)
    } else {
        (small_file::read(path, MAX_ARCHIVE, "the archive of a chart")?, modified(meta))
    };
    let contents = archive::read(&archive[..], &path.display().to_string())?;
    Ok((archive, created, contents))
}

/// `app-1.2.3.tgz.prov`
fn beside(path: &Path) -> Option<PathBuf> {
    let mut name = path.file_name()?.to_owned();
    name.push(".prov");
    Some(path.with_file_name(name))
}

fn modified(meta: &fs::Metadata) -> Option<String> {
    let since = meta.modified().ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(date::to_rfc3339(i64::try_from(since.as_secs()).ok()?, 0))
}

/// Reads a provenance file, and checks that it is that of the archive: it lists `NAME.tgz: sha256:…`
/// (<https://helm.sh/docs/topics/provenance/>). Its signature is not checked.
fn read_provenance(path: &Path, archive: &[u8]) -> Result<Bytes> {
    let bytes = small_file::read(path, MAX_PROVENANCE, "a provenance file")?;
    let digest = Descriptor::of(oci::CONTENT, archive).digest.to_string();
    let text = String::from_utf8_lossy(&bytes);
    let listed = text.lines().find_map(|line| Some(line.trim().split_once(".tgz: ")?.1));
    match listed {
        Some(listed) if listed == digest => Ok(bytes),
        Some(listed) => Err(Error::new(
            Kind::Mismatch,
            format!("{} is the provenance of another archive", path.display()),
        )
        .expected(digest)
        .found(listed.escape_debug())
        .hint("`helm package --sign` writes both")),
        None => Err(Error::invalid(format!("{} is no provenance file", path.display()))
            .expected("a line `NAME.tgz: sha256:…` in it")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::helm::archive::tests::tgz;

    const CHART: &str = "apiVersion: v2\nname: app\nversion: 1.0.0+b\n";

    #[test]
    fn charts_are_known_whatever_they_are_called() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let archive = tgz(&[("app/readme", ""), ("app/Chart.yaml", CHART)]);
        for name in ["app.tgz", "app.tar.gz", "app"] {
            fs::write(path(name), &archive).unwrap();
            assert!(is_chart(&path(name)), "{name}");
        }
        fs::write(path("text.tgz"), "text").unwrap();
        fs::create_dir(path("folder")).unwrap();
        assert!(!is_chart(&path("folder")) && !is_chart(&path("missing.tgz")));
        assert!(!is_chart(&path("text.tgz")));
        fs::write(path("folder/Chart.yaml"), "").unwrap();
        assert!(is_chart(&path("folder")));
    }

    #[test]
    fn the_tag_is_that_of_the_version() {
        let chart = Chart::parse(CHART).unwrap();
        let to = |text: &str| target(&chart, &text.parse().unwrap());
        assert_eq!(to("r.example/app").unwrap().to_string(), "r.example/app:1.0.0_b");
        assert_eq!(to("oci:/x").unwrap().to_string(), "oci:/x:1.0.0_b");
        assert_eq!(to("oci:/x:1.0.0_b").unwrap().to_string(), "oci:/x:1.0.0_b");
        let err = to("r.example/app:1.0.0").unwrap_err();
        assert_eq!((err.kind(), err.found_value()), (Kind::Usage, Some("1.0.0")));
        let hint = "without a tag it becomes r.example/app:1.0.0_b; ";
        assert!(err.hint_text().unwrap().starts_with(hint), "{err:?}");
        let err = to("store:app:1").unwrap_err();
        assert!(err.hint_text().unwrap().contains("store:docker.io/library/app:1.0.0_b;"));
    }

    #[test]
    fn provenance_must_be_that_of_the_archive() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("app.tgz");
        let archive = tgz(&[("app/Chart.yaml", CHART)]);
        fs::write(&path, &archive).unwrap();
        let recipe = Recipe { path: path.clone(), ..Recipe::default() };
        let loaded = load(&recipe).unwrap();
        assert!(loaded.provenance.is_none() && loaded.created.is_some());
        let digest = Descriptor::of(oci::CONTENT, &archive).digest;
        let prov = beside(&path).unwrap();
        fs::write(&prov, format!("...\nfiles:\n  app-1.0.0.tgz: {digest}\n-----BEGIN")).unwrap();
        assert!(load(&recipe).unwrap().provenance.is_some());
        fs::write(&prov, "files:\n  app-1.0.0.tgz: sha256:00\n").unwrap();
        assert_eq!(load(&recipe).err().unwrap().kind(), Kind::Mismatch);
        fs::write(&prov, "nothing").unwrap();
        assert_eq!(load(&recipe).err().unwrap().kind(), Kind::Invalid);
    }
}

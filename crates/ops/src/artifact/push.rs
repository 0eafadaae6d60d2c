//! `conex artifact push`: files and folders of this machine as an artifact.

use std::path::{Path, PathBuf};

use conex_layer::pack;
use conex_spec::{Annotations, Error, Kind, Location, MediaType, Result, Tag};
use conex_store::bridge::blocking;

use super::annotate::Sheet;
use super::draft::{Draft, Part, Stored, folder_options};
use super::kinds::{self, Kind as Sort, Known};
use super::{contents, model, titles, types};
use crate::copy::CopyOptions;
use crate::open::Context;
use crate::small_file;

/// The largest config that is read, in bytes.
const MAX_CONFIG: u64 = 8 << 20;
/// What a config is where nobody says it, as oras has it.
const UNKNOWN_CONFIG: MediaType = MediaType::from_static("application/vnd.unknown.config.v1+json");

/// A file as people name it: `FILE[:TYPE]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// Where it is.
    pub path: PathBuf,
    /// What it is, where that was said.
    pub media_type: Option<MediaType>,
}

impl Input {
    /// Reads `FILE[:TYPE]`. What is after the last colon is a type if it is a media type and no file
    /// has the whole name.
    pub fn parse(text: &str) -> Self {
        let typed = text.rsplit_once(':').filter(|(path, kind)| {
            !path.is_empty()
                && MediaType::new(*kind).check().is_ok()
                && std::fs::symlink_metadata(text).is_err()
        });
        match typed {
            Some((path, kind)) => {
                Self { path: path.into(), media_type: Some(MediaType::new(kind)) }
            }
            None => Self { path: text.into(), media_type: None },
        }
    }
}

/// What becomes of a folder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Folders {
    /// One layer: a tar that keeps modes and links.
    #[default]
    Tar,
    /// A layer for each of its files, whose modes are lost.
    Files,
}

/// What a person wants to be packaged.
#[derive(Clone, Debug, Default)]
pub struct Recipe {
    /// Files and folders, in this order.
    pub files: Vec<Input>,
    /// What sort of artifact it is; without it what the content tells.
    pub artifact_type: Option<MediaType>,
    /// The known kind that it is; without it what the content tells.
    pub kind: Option<Sort>,
    /// Whether files are nothing but files, whatever is in them.
    pub plain: bool,
    /// A file with metadata of the artifact's own.
    pub config: Option<Input>,
    /// Annotations of the manifest.
    pub annotations: Annotations,
    /// More of them, and those of files.
    pub sheet: Option<Sheet>,
    /// What becomes of folders; without it the only one may be a model by its content, and is one layer
    /// else.
    pub folders: Option<Folders>,
    /// How folders are packed; as [`folder_options`] says without it.
    pub packing: Option<pack::Options>,
    /// Whether a file's title is its name alone, and not its path.
    pub flat: bool,
}

impl Recipe {
    /// The artifact that it describes. Folders are listed and the config is read; no other file is.
    ///
    /// # Errors
    /// `NotFound` for a file that is not there, `Usage` for a path that can be no title.
    pub async fn draft(&self) -> Result<Draft> {
        let recipe = self.clone();
        blocking(move || recipe.make()).await
    }

    fn make(&self) -> Result<Draft> {
        let mut draft = Draft {
            artifact_type: self.artifact_type.clone(),
            annotations: self.annotations.clone(),
            ..Draft::default()
        };
        let mut known = Vec::new();
        self.check_kind()?;
        for input in &self.files {
            self.add(&mut draft, input, &mut known)?;
        }
        if let Some(config) = &self.config {
            let media_type = config.media_type.clone().unwrap_or(UNKNOWN_CONFIG);
            draft.config =
                Some((media_type, small_file::read(&config.path, MAX_CONFIG, "a config")?));
        }
        // A config says what an artifact is, unless someone does.
        if draft.config.is_none() || self.kind.is_some() {
            kinds::complete(&mut draft, &known);
        }
        if draft.artifact_type.is_none() && draft.config.is_none() && draft.derived.is_none() {
            // Whether there is content: "If no, specify the `artifactType`", which alone says what it
            // is (image-spec, manifest.md, "Guidelines for Artifact Usage").
            if draft.layers.is_empty() {
                return Err(Error::new(Kind::Usage, "there is nothing to package")
                    .expected("a file, a folder, a config, or a type")
                    .found("none of them")
                    .hint("`--artifact-type TYPE` makes an artifact without files"));
            }
            draft.artifact_type = Some(MediaType::UNKNOWN_ARTIFACT);
        }
        if let Some(sheet) = &self.sheet {
            sheet.apply(&mut draft)?;
        }
        draft.check()?;
        Ok(draft)
    }

    /// A config describes one module or one model; what has no files is of no kind.
    fn check_kind(&self) -> Result<()> {
        let fits = match self.kind {
            None => true,
            Some(Sort::Wasm | Sort::Model) => self.files.len() == 1,
            Some(_) => !self.files.is_empty(),
        };
        if self.kind == Some(Sort::Model) && self.folders == Some(Folders::Tar) {
            return Err(Error::new(Kind::Usage, "a model has a layer for each of its files")
                .expected("no `--folder`, or `--folder files`")
                .found("`--folder tar`")
                .hint("without `--as model` the folder is packed as any other"));
        }
        if fits {
            return Ok(());
        }
        Err(Error::new(Kind::Usage, "the kind that is said does not fit the number of files")
            .expected("one file or folder for each module or model, and any number of documents")
            .found(format!("{} of them", self.files.len())))
    }

    fn add(&self, draft: &mut Draft, input: &Input, known: &mut Vec<Option<Known>>) -> Result<()> {
        let path = &input.path;
        if !contents::is_folder(path)? {
            let file = (path.clone(), self.title(path)?);
            // Weights alone are a model, as they are in a folder.
            if self.may_be_model(input) && model::is_model(std::slice::from_ref(&file)) {
                draft.layers.push(model::part(file));
                known.push(Some(Known::model()));
            } else {
                known.push(self.push_file(draft, path, file.1, input)?);
            }
            return Ok(());
        }
        let said = self.kind == Some(Sort::Model);
        if said || self.may_be_model(input) {
            match files_below(path) {
                Ok(below) if said || model::is_model(&below.files) => {
                    if said {
                        model::check(&below.files, path)?;
                    }
                    draft.warnings.extend(below.warnings());
                    draft.layers.extend(below.files.into_iter().map(model::part));
                    known.push(Some(Known::model()));
                    return Ok(());
                }
                // It cannot be one, then.
                Err(err) if said => return Err(err),
                _ => {}
            }
        }
        if self.kind.is_some() {
            return Err(Error::new(Kind::Usage, format!("{} is a folder", path.display()))
                .expected("a file, for what is no model"));
        }
        known.push(None);
        match self.folders.unwrap_or_default() {
            Folders::Tar => {
                let options = self.packing.clone().unwrap_or_else(folder_options);
                let mut part = Part::folder(path, options).titled(self.title(path)?);
                part.media_type = input.media_type.clone().unwrap_or(part.media_type);
                draft.layers.push(part);
            }
            Folders::Files => {
                let title = if self.flat { String::new() } else { folder_title(path)? };
                let below = files_below(path)?;
                draft.warnings.extend(below.warnings());
                for (path, name) in below.files {
                    let title = if title.is_empty() { name } else { format!("{title}/{name}") };
                    self.push_file(draft, &path, title, input)?;
                }
            }
        }
        Ok(())
    }

    /// Whether content may make a model of a file or a folder: its files lie at the top then, where those of
    /// something beside it would be among them.
    fn may_be_model(&self, input: &Input) -> bool {
        let unsaid = self.kind.is_none() && input.media_type.is_none() && !self.plain;
        unsaid && self.folders.is_none() && self.files.len() == 1
    }

    /// Adds a file, of the type that was said, that its content tells, or that its name does.
    fn push_file(
        &self,
        draft: &mut Draft,
        path: &Path,
        title: String,
        input: &Input,
    ) -> Result<Option<Known>> {
        let known = match (self.kind, &input.media_type) {
            (Some(kind), _) => Some(kinds::expect(path, kind)?),
            (None, None) if !self.plain => kinds::recognise(path)?,
            _ => None,
        };
        let told = known.as_ref().map(|known| known.media_type.clone());
        let media_type = input.media_type.clone().or(told);
        let media_type = media_type.unwrap_or_else(|| types::by_name(&title));
        let mut part = match &known {
            Some(known) if known.kind == Sort::Model => model::part((path.to_owned(), title)),
            _ => Part::file(media_type, path).titled(title),
        };
        if let Some(predicate) = known.as_ref().and_then(|known| known.predicate.clone()) {
            part.annotations.insert(kinds::PREDICATE_TYPE.to_owned(), predicate);
        }
        draft.layers.push(part);
        Ok(known)
    }

    fn title(&self, path: &Path) -> Result<String> {
        if self.flat { titles::of_name(path) } else { titles::of_path(path) }
    }
}

/// Packages files and stores them under the name that a location gives, and under more tags.
///
/// # Errors
/// Those of [`Recipe::draft`] and [`Draft::store`]; all that is wrong with files is told before
/// anything is sent.
pub async fn push(
    context: &Context,
    recipe: &Recipe,
    to: &Location,
    tags: &[Tag],
    options: &CopyOptions,
) -> Result<Stored> {
    super::draft::check_place(to)?;
    recipe.draft().await?.store(context, to, tags, options).await
}

/// The folder where one stands has no title: what is in it lies at the top.
fn folder_title(path: &Path) -> Result<String> {
    let here = path.components().all(|part| part == std::path::Component::CurDir);
    if here { Ok(String::new()) } else { titles::of_path(path) }
}

/// What is below a folder.
#[derive(Default)]
struct Below {
    /// All files and their paths in it, in the order of these.
    files: Vec<(PathBuf, String)>,
    /// Folders with nothing in them.
    empty: Vec<PathBuf>,
}

impl Below {
    /// What layers for single files cannot hold.
    fn warnings(&self) -> impl Iterator<Item = String> {
        let told = |path: &PathBuf| {
            format!("{}: an empty folder left out, no layer of files holds it", path.display())
        };
        self.empty.iter().map(told)
    }
}

fn files_below(folder: &Path) -> Result<Below> {
    let (mut found, mut left) = (Below::default(), vec![(folder.to_owned(), String::new())]);
    while let Some((dir, inside)) = left.pop() {
        let entries = std::fs::read_dir(&dir).map_err(|err| Error::io("cannot read", &dir, err))?;
        let mut is_empty = true;
        for entry in entries {
            is_empty = false;
            let entry = entry.map_err(|err| Error::io("cannot read", &dir, err))?;
            let path = entry.path();
            let name = titles::of_name(&path)?;
            let title = if inside.is_empty() { name } else { format!("{inside}/{name}") };
            let sort = entry.file_type().map_err(|err| Error::io("cannot read", &path, err))?;
            if sort.is_dir() {
                left.push((path, title));
            } else if sort.is_file() {
                found.files.push((path, title));
            } else {
                return Err(Error::new(
                    Kind::Usage,
                    format!("{} cannot be a layer of its own", path.display()),
                )
                .expected("a file")
                .found("a link or something special")
                .hint("`--folder tar` keeps links in a folder"));
            }
        }
        if is_empty {
            found.empty.push(dir);
        }
    }
    found.files.sort_by(|a, b| a.1.cmp(&b.1));
    found.empty.sort();
    Ok(found)
}

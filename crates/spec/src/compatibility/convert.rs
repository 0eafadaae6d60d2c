//! A document of one dialect, written anew in the other.

use super::{Dialect, to_docker, to_oci};
use crate::descriptor::Descriptor;
use crate::document::Document;
use crate::draft;
use crate::error::{Error, Kind, Result};
use crate::manifest::{ImageIndex, ImageManifest, Manifest};
use crate::media_type::{MediaType, Role};
use crate::renewed::{Renewed, renew};

/// A document in the other dialect.
#[derive(Clone, Debug)]
pub struct Converted {
    /// The document. One that needed no change has its old bytes.
    pub document: Document<Manifest>,
    /// What could not be taken along, as the places of [`super::MATRIX`] name it, each once.
    pub lost: Vec<&'static str>,
    /// As in [`draft::Rewritten::needs_empty`].
    pub needs_empty: bool,
}

/// Writes a manifest or an index in a dialect, drafts included. Unknown members stay; what Docker
/// has no place for goes and is listed.
///
/// The bytes change, and with them the digest: go from the leaves to the root and put into
/// `renewed` what became of each child (and of each subject) whose digest changed. Configs and
/// layers never change.
///
/// # Errors
/// `Unsupported` where Docker has nothing of the sort: artifacts, nested indexes, layers of unknown
/// types.
pub fn convert(
    document: &Document<Manifest>,
    dialect: Dialect,
    renewed: &Renewed,
) -> Result<Converted> {
    let draft::Rewritten { document, needs_empty } = draft::rewrite(document, renewed)?;
    let bytes = document.bytes().clone();
    let mut change = Change { dialect, renewed, lost: Vec::new(), fault: None };
    let document = match document.into_value() {
        Manifest::Image(image) => {
            change.check_image(&image)?;
            let old = Document::from_parts(bytes, image);
            old.edit(|image| change.image(image))?.map(Manifest::Image)
        }
        Manifest::Index(index) => {
            change.check_index(&index)?;
            let old = Document::from_parts(bytes, index);
            old.edit(|index| change.index(index))?.map(Manifest::Index)
        }
        Manifest::Artifact(_) => {
            return Err(Error::new(Kind::Unsupported, "an artifact has no other dialect"));
        }
    };
    match change.fault {
        Some(fault) => Err(fault),
        None => Ok(Converted { document, lost: change.lost, needs_empty }),
    }
}

struct Change<'a> {
    dialect: Dialect,
    renewed: &'a Renewed,
    lost: Vec<&'static str>,
    fault: Option<Error>,
}

impl Change<'_> {
    fn check_image(&self, image: &ImageManifest) -> Result<()> {
        if self.dialect == Dialect::Oci || image.is_image() {
            return Ok(());
        }
        Err(Error::new(Kind::Unsupported, "Docker's manifest holds no artifacts")
            .expected(MediaType::CONFIG)
            .found(&image.config.media_type))
    }

    /// Docker's list names manifests of images and nothing else.
    fn check_index(&self, index: &ImageIndex) -> Result<()> {
        let odd = index.manifests.iter().find(|entry| entry.media_type.role() != Role::Manifest);
        match (self.dialect, odd) {
            (Dialect::Docker, Some(entry)) => {
                Err(Error::new(Kind::Unsupported, "Docker's manifest list is not nested")
                    .expected("image manifests only")
                    .found(format!("{} ({})", entry.digest.short(), entry.media_type)))
            }
            _ => Ok(()),
        }
    }

    fn image(&mut self, image: &mut ImageManifest) {
        let own = if self.dialect == Dialect::Oci {
            MediaType::MANIFEST
        } else {
            MediaType::DOCKER_MANIFEST
        };
        image.media_type = Some(own);
        self.lose("annotations", &mut image.annotations);
        self.lose("subject", &mut image.subject);
        self.lose("artifactType", &mut image.artifact_type);
        self.lose("config.annotations", &mut image.config.annotations);
        self.lose("config.urls", &mut image.config.urls);
        self.lose("config.data", &mut image.config.data);
        self.lose("config.artifactType", &mut image.config.artifact_type);
        for layer in &mut image.layers {
            self.lose("layers[].annotations", &mut layer.annotations);
            self.lose("layers[].data", &mut layer.data);
            self.lose("layers[].artifactType", &mut layer.artifact_type);
        }
        self.child(&mut image.config);
        image.layers.iter_mut().chain(&mut image.subject).for_each(|child| self.child(child));
    }

    fn index(&mut self, index: &mut ImageIndex) {
        let own =
            if self.dialect == Dialect::Oci { MediaType::INDEX } else { MediaType::DOCKER_LIST };
        index.media_type = Some(own);
        self.lose("annotations", &mut index.annotations);
        self.lose("subject", &mut index.subject);
        self.lose("artifactType", &mut index.artifact_type);
        for entry in &mut index.manifests {
            self.lose("manifests[].annotations", &mut entry.annotations);
            self.lose("manifests[].urls", &mut entry.urls);
            self.lose("manifests[].data", &mut entry.data);
            self.lose("manifests[].artifactType", &mut entry.artifact_type);
        }
        index.manifests.iter_mut().chain(&mut index.subject).for_each(|child| self.child(child));
    }

    /// A manifest whose bytes are not in `renewed` keeps its type: it is what it is.
    fn child(&mut self, child: &mut Descriptor) {
        renew(child, self.renewed);
        if child.media_type.is_manifest() {
            return;
        }
        match self.dialect {
            Dialect::Oci => child.media_type = to_oci(&child.media_type),
            Dialect::Docker => match to_docker(&child.media_type) {
                Ok(media_type) => child.media_type = media_type,
                Err(fault) => self.fault = Some(fault.context(child.digest.short())),
            },
        }
    }

    /// Takes a member away that Docker has not, and notes its place once, if there was anything.
    fn lose<T: Default + PartialEq>(&mut self, place: &'static str, member: &mut T) {
        if self.dialect == Dialect::Oci {
            return;
        }
        if std::mem::take(member) != T::default() && !self.lost.contains(&place) {
            self.lost.push(place);
        }
    }
}

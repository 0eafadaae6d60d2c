//! What a document refers to, as far as it can be made out: a broken document still leads on to
//! its children, so that their faults are found as well.

use crate::descriptor::Descriptor;
use crate::digest::Digest;
use crate::media_type::MediaType;
use crate::platform::Platform;

use super::Form;
use super::path::Path;
use super::tree::{Node, Object};

/// What the content is to the document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The config of a manifest.
    Config,
    /// A layer of a manifest.
    Layer,
    /// An entry of an index.
    Entry,
    /// What a manifest says something about: a weak link.
    Subject,
    /// A descriptor that is a document of its own.
    Itself,
}

/// A descriptor in a document.
#[derive(Clone, Debug)]
pub struct Link {
    /// What it is to the document.
    pub part: Part,
    /// Where it stands, as a JSON pointer.
    pub pointer: String,
    /// Media type, digest, size, `data`, platform and artifact type.
    pub descriptor: Descriptor,
}

/// What a config says that other documents must agree with.
#[derive(Clone, Debug, Default)]
pub struct ConfigFacts {
    /// What the image runs on.
    pub platform: Platform,
    /// One for each layer; nothing where it is no digest. Nothing at all where there is no array.
    pub diff_ids: Option<Vec<Option<Digest>>>,
    /// How many entries of the history made a layer; nothing where there is no history.
    pub history: Option<usize>,
}

/// The links of a document, in its order.
pub(super) fn of(form: Form, node: &Node<'_>) -> Vec<Link> {
    let mut links = Vec::new();
    let root = &Path::Root;
    let Some(object) = node.object() else { return links };
    match form {
        Form::Descriptor => add(&mut links, Part::Itself, node, root),
        Form::Index => each(&mut links, Part::Entry, object, "manifests"),
        Form::Manifest => {
            if let Some(config) = object.get("config") {
                add(&mut links, Part::Config, config, &root.member("config"));
            }
            each(&mut links, Part::Layer, object, "layers");
            // The artifact manifest of a draft.
            each(&mut links, Part::Layer, object, "blobs");
        }
        Form::Config | Form::Layout => {}
    }
    if matches!(form, Form::Index | Form::Manifest)
        && let Some(subject) = object.get("subject")
    {
        add(&mut links, Part::Subject, subject, &root.member("subject"));
    }
    links
}

fn each(links: &mut Vec<Link>, part: Part, object: &Object<'_>, name: &str) {
    let at = Path::Root.member(name);
    let items = object.get(name).and_then(Node::array).unwrap_or_default();
    for (index, item) in items.iter().enumerate() {
        add(links, part, item, &at.item(index));
    }
}

fn add(links: &mut Vec<Link>, part: Part, node: &Node<'_>, at: &Path<'_>) {
    if let Some(descriptor) = node.object().and_then(descriptor) {
        links.push(Link { part, pointer: at.to_string(), descriptor });
    }
}

/// Nothing where type, digest or size cannot be made out.
fn descriptor(object: &Object<'_>) -> Option<Descriptor> {
    let digest = object.text("digest")?.parse().ok()?;
    let Node::Unsigned(size) = object.get("size")? else { return None };
    i64::try_from(*size).ok()?;
    let media_type = MediaType::new(object.text("mediaType")?);
    let mut descriptor = Descriptor::new(media_type, digest, *size);
    descriptor.data = object.text("data").map(str::to_owned);
    descriptor.platform = object.get("platform").and_then(Node::object).map(platform);
    descriptor.artifact_type = object.text("artifactType").map(MediaType::new);
    let name = object.get("annotations").and_then(Node::object);
    let name = name.and_then(|map| map.text(crate::descriptor::REF_NAME));
    if let Some(name) = name {
        descriptor.annotations.insert(crate::descriptor::REF_NAME.into(), name.into());
    }
    Some(descriptor)
}

fn platform(object: &Object<'_>) -> Platform {
    let text = |name: &str| object.text(name).map(str::to_owned);
    Platform {
        architecture: text("architecture").unwrap_or_default(),
        os: text("os").unwrap_or_default(),
        os_version: text("os.version"),
        variant: text("variant"),
        ..Platform::default()
    }
}

pub(super) fn config_facts(object: &Object<'_>) -> ConfigFacts {
    let rootfs = object.get("rootfs").and_then(Node::object);
    let diff_ids = rootfs.and_then(|rootfs| rootfs.get("diff_ids")?.array());
    let digest = |node: &Node<'_>| node.text().and_then(|text| text.parse().ok());
    let history = object.get("history").and_then(Node::array);
    let made = |entry: &&Node<'_>| {
        let empty = entry.object().and_then(|entry| entry.get("empty_layer"));
        !matches!(empty, Some(Node::Bool(true)))
    };
    ConfigFacts {
        platform: platform(object),
        diff_ids: diff_ids.map(|ids| ids.iter().map(digest).collect()),
        history: history.map(|entries| entries.iter().filter(made).count()),
    }
}

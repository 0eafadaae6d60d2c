//! Lint: every sentence of image-spec that can be checked on one document, as a rule with an id.
//!
//! Nothing here stops at the first fault. A document is looked at as it stands in its bytes, not
//! through the typed model, so that one that no reader would take still yields all of its
//! findings, each with a JSON pointer (RFC 6901) to the place.
//!
//! ```
//! use conex_spec::lint::{Context, Form, lint};
//!
//! let descriptor = br#"{"mediaType":"a/b","digest":"sha256:AB","size":-1}"#;
//! let outcome = lint(Form::Descriptor, descriptor, &Context::default());
//! let found: Vec<_> = outcome.findings.iter().map(|f| (f.rule.id, f.pointer.as_str())).collect();
//! assert_eq!(found, [("digest-encoding", "/digest"), ("descriptor-size-negative", "/size")]);
//! ```
//!
//! | looking for | it is in |
//! |---|---|
//! | the rules, their sources and how to mend | [`rules`] |
//! | what is asked of a single string | `grammar` |
//! | the checks, one file for each sort of document | `check` |
//! | the lists in an archive of `docker save` | [`archive`] |
//! | what a broken document still refers to | [`links`] |
//! | sentences that no document shows, and why | [`unchecked`] |

pub mod archive;
mod check;
mod grammar;
pub mod links;
mod path;
mod rule;
pub mod rules;
mod tree;
pub mod unchecked;

use serde::Serialize;

use crate::document::LIMIT;
use crate::media_type::MediaType;
use crate::strict_json::{MAX_FOREIGN, Shape};

pub use links::{ConfigFacts, Link, Part};
pub use rule::{Rule, Severity};

use path::Path;
use tree::{Fault, Node};

/// More findings than this are counted only.
const MAX_FINDINGS: usize = 1000;
/// What registries take (distribution-spec, "Pushing Manifests"), in bytes.
const PUSHABLE: usize = 4 << 20;

/// What sort of document it is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// descriptor.md
    Descriptor,
    /// image-index.md, and Docker's manifest list
    Index,
    /// manifest.md, and Docker's manifest
    Manifest,
    /// config.md, and Docker's config
    Config,
    /// image-layout.md, "oci-layout file"
    Layout,
}

/// What is known of a document from outside.
#[derive(Clone, Copy, Debug, Default)]
pub struct Context<'a> {
    /// What its descriptor or a `Content-Type` says that it is.
    pub media_type: Option<&'a MediaType>,
    /// Whether it is the `index.json` of a layout, where names may stand.
    pub entry_point: bool,
}

/// Something that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The rule.
    pub rule: &'static Rule,
    /// Where in the document, as a JSON pointer; empty for the whole of it.
    pub pointer: String,
    /// What should stand there, where the rule does not say it all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// What stands there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub found: Option<String>,
}

impl Finding {
    /// A finding about a place.
    pub fn new(rule: &'static Rule, pointer: impl Into<String>) -> Self {
        Self { rule, pointer: pointer.into(), expected: None, found: None }
    }

    /// What should stand there.
    #[must_use]
    pub fn expected(mut self, value: impl Into<String>) -> Self {
        self.expected = Some(value.into());
        self
    }

    /// What stands there.
    #[must_use]
    pub fn found(mut self, value: impl Into<String>) -> Self {
        self.found = Some(value.into());
        self
    }
}

/// What was found, and what the document refers to.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// In the order of the checks; at most a thousand.
    pub findings: Vec<Finding>,
    /// How many more there are.
    pub omitted: usize,
    /// The descriptors that are sound enough to follow.
    pub links: Vec<Link>,
    /// What a config says of layers and platform.
    pub config: Option<ConfigFacts>,
}

/// Checks a document against every rule for its form.
pub fn lint(form: Form, bytes: &[u8], context: &Context<'_>) -> Outcome {
    let mut linter = Linter { context: *context, outcome: Outcome::default() };
    linter.document(form, bytes);
    linter.outcome.findings.truncate(MAX_FINDINGS);
    linter.outcome
}

impl Linter<'_> {
    fn document(&mut self, form: Form, bytes: &[u8]) {
        let Some(node) = self.parse(bytes) else { return };
        self.json(&node, &Path::Root, shape_of(form));
        if tree::foreign(&node, shape_of(form)) > MAX_FOREIGN {
            return self.too_many(MAX_FOREIGN, "values in unknown members");
        }
        if bytes.len() > PUSHABLE && matches!(form, Form::Index | Form::Manifest) {
            let found = format!("{} bytes", bytes.len());
            self.report(&rules::json::LARGE, &Path::Root).found = Some(found);
        }
        let Some(object) = node.object() else {
            let wrong = if form == Form::Descriptor {
                &rules::descriptor::NOT_AN_OBJECT
            } else {
                &rules::json::NOT_AN_OBJECT
            };
            self.wrong(wrong, &Path::Root, &node);
            return;
        };
        match form {
            Form::Descriptor => self.descriptor(&node, &Path::Root),
            Form::Index => self.index(object),
            Form::Manifest => self.manifest(object),
            Form::Config => self.config(object),
            Form::Layout => self.layout(object),
        }
        self.outcome.links = links::of(form, &node);
        if form == Form::Config {
            self.outcome.config = Some(links::config_facts(object));
        }
    }
}

/// The names whose case matters.
fn shape_of(form: Form) -> Shape {
    use crate::document::Format;
    match form {
        Form::Descriptor => crate::descriptor::DESCRIPTOR,
        Form::Index => crate::manifest::ImageIndex::SHAPE,
        Form::Manifest => crate::manifest::ImageManifest::SHAPE,
        Form::Config => crate::config::ImageConfig::SHAPE,
        Form::Layout => crate::layout::LayoutMarker::SHAPE,
    }
}

/// Collects findings on its way through a document.
struct Linter<'c> {
    context: Context<'c>,
    outcome: Outcome,
}

impl Linter<'_> {
    fn parse<'a>(&mut self, bytes: &'a [u8]) -> Option<Node<'a>> {
        let root = &Path::Root;
        if bytes.len() > LIMIT {
            self.report(&rules::json::TOO_LARGE, root).found =
                Some(format!("{} bytes", bytes.len()));
            return None;
        }
        let rest = bytes.strip_prefix(b"\xef\xbb\xbf");
        if rest.is_some() {
            self.report(&rules::json::BYTE_ORDER_MARK, root);
        }
        let text = match std::str::from_utf8(rest.unwrap_or(bytes)) {
            Ok(text) => text,
            Err(err) => {
                self.report(&rules::json::UTF8, root).found =
                    Some(format!("another byte at offset {}", err.valid_up_to()));
                return None;
            }
        };
        match tree::parse(text) {
            Ok(node) => return Some(node),
            Err(Fault::TooDeep) => drop(self.report(&rules::json::TOO_DEEP, root)),
            Err(Fault::TooMany(limit, of)) => self.too_many(limit, of),
            Err(Fault::Syntax(why)) => self.report(&rules::json::SYNTAX, root).found = Some(why),
        }
        None
    }

    fn too_many(&mut self, limit: usize, of: &str) {
        let finding = self.report(&rules::json::TOO_MANY, &Path::Root);
        finding.expected = Some(format!("at most {limit} {of}"));
        finding.found = Some("more".into());
    }

    /// A finding that can still be told more.
    fn report(&mut self, rule: &'static Rule, at: &Path<'_>) -> &mut Finding {
        let finding = Finding::new(rule, at.to_string());
        let findings = &mut self.outcome.findings;
        if findings.len() >= MAX_FINDINGS {
            // The last one is overwritten: it is only counted from here on.
            findings.truncate(MAX_FINDINGS);
            self.outcome.omitted += 1;
        }
        findings.push(finding);
        let last = findings.len() - 1;
        &mut findings[last]
    }

    /// A finding about a value.
    fn wrong(&mut self, rule: &'static Rule, at: &Path<'_>, found: &Node<'_>) {
        self.report(rule, at).found = Some(found.show());
    }

    fn missing(&mut self, rule: &'static Rule, at: &Path<'_>) {
        self.report(rule, at).found = Some("nothing".into());
    }
}

//! Go's text/template over JSON values: what `--format '{{.Digest}}'` means to people who know
//! it from skopeo, docker, podman or regctl. <https://pkg.go.dev/text/template>
//!
//! ```
//! use conex_template::Template;
//! use serde_json::json;
//!
//! let image = json!({"os": "linux", "layers": [{"digest": "sha256:a"}, {"digest": "sha256:b"}]});
//! let template = Template::parse("{{.Os}}:{{range $i, $l := .Layers}} {{$i}}={{$l.Digest}}{{end}}")?;
//! assert_eq!(template.render(&image)?, "linux: 0=sha256:a 1=sha256:b");
//! # Ok::<(), conex_spec::Error>(())
//! ```
//!
//! The language is whole: actions, pipelines, variables, `if`, `else if`, `range`, `with`,
//! `define`, `template`, `block`, `break`, `continue`, comments and trim markers; Go's functions
//! except `call`; docker's `json`, `join`, `split`, `lower`, `upper`, `title`, `pad` and
//! `truncate`; `jsonPretty` (`prettyjson`, `printPretty`), `default`, `trimPrefix` and
//! `trimSuffix`. Where JSON is not what a Go program has, this was decided:
//!
//! - A field is found by its name, else by its letters alone: `.MediaType` finds `mediaType`,
//!   `.RootFS.DiffIDs` finds `rootfs.diff_ids`. `index` takes exact names only.
//! - What is not there is `<no value>` where it is printed, false, empty to `range`, `len` and
//!   `join`, and has fields that are not there either. A map of texts only, as labels are, gives
//!   `index` an empty text for what it lacks, as Go's maps of strings do.
//! - A platform, which is a map with `os` and `architecture`, is printed as `linux/arm64/v8`, and
//!   a descriptor, which is one with `mediaType`, `digest` and `size`, as its digest: so `.Layers`
//!   prints what skopeo prints, and `(index .Layers 0).Size` is there as in regctl.
//! - What skopeo, docker and regctl call otherwise is found under their names too: `.LayersData`,
//!   `.MIMEType`, `.RootFS.Layers`, `.GetDescriptor`.
//! - Whole and decimal numbers can be compared.
//!
//! A template and its data may come from strangers: see [`Limits`].

mod buffer;
mod compare;
mod escape;
mod eval;
mod fault;
mod functions;
mod lex;
mod literal;
mod parse;
mod print;
mod syntax;
mod text;
mod value;

use std::collections::HashMap;

use conex_spec::{Error, Kind, Result};
use serde_json::Value;

/// The longest template that is parsed, in bytes.
pub const MAX_LENGTH: usize = 64 << 10;

/// A parsed template.
#[derive(Clone, Debug)]
pub struct Template {
    source: String,
    defined: HashMap<String, syntax::List>,
}

/// What rendering may cost.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How many actions, commands and turns of loops.
    pub steps: u64,
    /// How many bytes are printed.
    pub output: usize,
    /// How many bytes all functions together make.
    pub work: usize,
}

impl Default for Limits {
    /// A second and some tens of megabytes.
    fn default() -> Self {
        Self { steps: 2_000_000, output: 16 << 20, work: 16 << 20 }
    }
}

impl Template {
    /// Parses a template as Go does.
    ///
    /// # Errors
    /// `Usage` with line and column, what was expected and what is there; `Limit` for one that is
    /// too long or too deep.
    pub fn parse(source: &str) -> Result<Self> {
        Self::parse_with(source, false)
    }

    /// Parses a template as it was typed on a command line: outside of `{{ }}` the two characters
    /// `\n` are a new line and `\t` are a tab, as docker and podman have it.
    pub fn parse_typed(source: &str) -> Result<Self> {
        Self::parse_with(source, true)
    }

    fn parse_with(source: &str, escapes: bool) -> Result<Self> {
        if source.len() > MAX_LENGTH {
            return Err(Error::new(Kind::Limit, "template is too long")
                .expected(format!("at most {MAX_LENGTH} bytes"))
                .found(format!("{} bytes", source.len())));
        }
        let defined = parse::parse(source, lex::lex(source, escapes)?)?;
        Ok(Self { source: source.to_owned(), defined })
    }

    /// What the template prints of some data.
    ///
    /// # Errors
    /// `Usage` with line and column where the data are not what the template wants of them;
    /// `Limit` where it costs more than the default [`Limits`].
    pub fn render(&self, data: &Value) -> Result<String> {
        self.render_within(data, Limits::default())
    }

    /// As [`Template::render`], within other limits.
    pub fn render_within(&self, data: &Value, limits: Limits) -> Result<String> {
        eval::render(self, data, limits)
    }

    /// The text it was parsed from.
    pub fn source(&self) -> &str {
        &self.source
    }
}

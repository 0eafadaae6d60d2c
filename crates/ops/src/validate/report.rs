//! What a validation came to.

use std::fmt;

use serde::{Serialize, Serializer};

use conex_spec::lint::rules::content as rules;
use conex_spec::lint::{self, Rule, Severity};
use conex_spec::{Descriptor, Digest};

use crate::json_file::Target;

/// More findings than this are counted only.
const MAX_FINDINGS: usize = 10_000;

/// What was found at one location or in one file.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Where it is.
    pub location: Target,
    /// What was validated; nothing for a file, or where a whole layout was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root: Option<Descriptor>,
    /// How many documents and blobs were read.
    pub checked: u64,
    /// How many bytes they have.
    pub bytes: u64,
    /// Whether there is no error.
    pub sound: bool,
    /// How many errors there are.
    pub errors: usize,
    /// How many warnings there are.
    pub warnings: usize,
    /// All of them, up to ten thousand.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Finding>,
}

/// What a finding is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Subject {
    /// A file, by its name within a layout or by the path that was given.
    File(String),
    /// A blob or a manifest.
    Content(Digest),
}

/// Something that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// The rule.
    pub rule: &'static Rule,
    /// How bad it is.
    pub severity: Severity,
    /// What the rule asks.
    pub message: &'static str,
    /// Document and heading that ask it.
    pub section: String,
    /// What it is about, as a digest or a file name.
    pub subject: Subject,
    /// Where in it, as a JSON pointer (RFC 6901); empty for the whole of it.
    pub pointer: String,
    /// Where content is referred to that is missing or not as described: `SUBJECT#POINTER`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listed_in: Option<String>,
    /// What should be there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// What is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub found: Option<String>,
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(name) => name.fmt(f),
            Self::Content(digest) => digest.fmt(f),
        }
    }
}

impl Serialize for Subject {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Finding {
    /// A finding of the lint, in its subject.
    pub(super) fn new(subject: &Subject, finding: lint::Finding) -> Self {
        let rule = finding.rule;
        Self {
            rule,
            severity: rule.severity,
            message: rule.text,
            section: rule.source(),
            subject: subject.clone(),
            pointer: finding.pointer,
            listed_in: None,
            expected: finding.expected,
            found: finding.found,
        }
    }
}

/// Takes findings as they come.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) list: Vec<Finding>,
    pub(super) errors: usize,
    pub(super) warnings: usize,
}

impl Findings {
    pub(super) fn push(&mut self, finding: Finding) {
        match finding.severity {
            Severity::Error => self.errors += 1,
            Severity::Warning => self.warnings += 1,
        }
        if self.list.len() < MAX_FINDINGS {
            self.list.push(finding);
        }
    }

    pub(super) fn extend(&mut self, subject: &Subject, outcome: &lint::Outcome) {
        for finding in &outcome.findings {
            self.push(Finding::new(subject, finding.clone()));
        }
        // Which they are is not known; a document with a thousand findings is unsound anyway.
        self.errors += outcome.omitted;
    }

    /// Content that cannot be verified may be missing altogether: `is_there` knows.
    pub(super) fn look_again(&mut self, is_there: impl Fn(&Digest) -> bool) {
        for finding in &mut self.list {
            let Subject::Content(digest) = &finding.subject else { continue };
            if finding.rule == &rules::UNVERIFIABLE && !is_there(digest) {
                let fault = lint::Finding::new(&rules::MISSING, "").found("nothing");
                let listed_in = finding.listed_in.take();
                *finding = Finding { listed_in, ..Finding::new(&finding.subject.clone(), fault) };
                self.warnings -= 1;
                self.errors += 1;
            }
        }
    }

    /// The same content is told of one fault once, however often it is referred to.
    pub(super) fn report(
        self,
        location: Target,
        root: Option<Descriptor>,
        (checked, bytes): (u64, u64),
    ) -> Report {
        Report {
            location,
            root,
            checked,
            bytes,
            sound: self.errors == 0,
            errors: self.errors,
            warnings: self.warnings,
            findings: self.list,
        }
    }
}

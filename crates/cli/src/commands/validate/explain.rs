//! `conex validate --explain`

use std::fmt::Write as _;

use serde::Serialize;

use conex_spec::lint::{Rule, Severity, rules};
use conex_spec::{Error, Kind, Result};

use crate::output::{Output, escape};

/// A rule with all that there is to say of it.
#[derive(Debug, Serialize)]
struct Explained {
    rule: &'static str,
    severity: Severity,
    text: &'static str,
    document: &'static str,
    section: &'static str,
    why: &'static str,
    mend: &'static str,
}

impl From<&'static Rule> for Explained {
    fn from(rule: &'static Rule) -> Self {
        Self {
            rule: rule.id,
            severity: rule.severity,
            text: rule.text,
            document: rule.document,
            section: rule.section,
            why: rule.why,
            mend: rule.mend,
        }
    }
}

pub(super) fn explain(id: &str, output: &Output) -> Result<()> {
    if id == "list" {
        let all: Vec<_> = rules::all().map(Explained::from).collect();
        return output.report(&all, |all| list(all));
    }
    let rule = rules::find(id).ok_or_else(|| unknown(id))?;
    output.report(&Explained::from(rule), |rule| {
        format!(
            "{} ({})\n  {}\n  asked by  {} \"{}\"\n  why       {}\n  mend      {}\n",
            rule.rule,
            rule.severity.as_str(),
            rule.text,
            rule.document,
            rule.section,
            rule.why,
            rule.mend
        )
    })
}

fn list(all: &[Explained]) -> String {
    let mut text = String::new();
    let mut document = "";
    for rule in all {
        if rule.document != document {
            document = rule.document;
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{document}");
        }
        let _ = writeln!(text, "  {:<7}  {:<32}  {}", rule.severity.as_str(), rule.rule, rule.text);
    }
    text
}

fn unknown(id: &str) -> Error {
    let err = Error::new(Kind::Usage, format!("there is no rule {:?}", escape(id)));
    // The rule that was meant has most of the words that were typed.
    let words = |rule: &&Rule| id.split('-').filter(|word| rule.id.contains(word)).count();
    match rules::all().max_by_key(words).filter(|rule| words(rule) > 0) {
        Some(near) => err.hint(format!("perhaps `{}`; `--explain list` lists all rules", near.id)),
        None => err.hint("`--explain list` lists all rules"),
    }
}

//! Whether each sentence of the specification that binds somebody has its cases.
//!
//! `requirements.txt` lists these sentences by section, in the order of the text: their first words,
//! enough to find them again, and after `=>` the cases, or who else is bound. Where the environment
//! variable `CONEX_DISTRIBUTION_SPEC` names a `spec.md`, the list is compared with it.

use std::collections::BTreeMap;

use crate::Case;

const LIST: &str = include_str!("requirements.txt");

/// How many sentences each section has that say MUST, SHOULD, MAY or the like, in that order.
const SECTIONS: &[(&str, usize)] = &[
    ("Legacy Docker support HTTP headers", 2),
    ("Legacy Docker support error codes", 2),
    ("Notational Conventions", 1),
    ("Requirements", 3),
    ("Pull", 1),
    ("Pulling manifests", 16),
    ("Pulling blobs", 7),
    ("Checking if content exists in the registry", 4),
    ("Push", 3),
    ("Pushing blobs", 1),
    ("POST then PUT", 7),
    ("Single POST", 5),
    ("Pushing a blob in chunks", 20),
    ("Cancel a blob upload", 4),
    ("Mounting a blob from another repository", 6),
    ("Pushing Manifests", 21),
    ("Pushing Manifests with Subject", 9),
    ("Listing Tags", 13),
    ("Listing Referrers", 18),
    ("Content Management", 2),
    ("Deleting tags", 2),
    ("Deleting Manifests", 6),
    ("Deleting Blobs", 3),
    ("Registry Proxying", 10),
    ("Backwards Compatibility", 2),
    ("Unavailable Referrers API", 2),
    ("Referrers Tag Schema", 4),
    ("Enabling the Referrers API", 3),
    ("API", 2),
    ("Determining Support", 1),
    ("Error Codes", 6),
    ("Warnings", 6),
];

/// Words that stand for cases where the registry is not bound: the client is, or nobody.
const OTHERS: &[&str] = &["client", "definition", "not claimed", "collector"];

struct Sentence {
    section: &'static str,
    words: &'static str,
    cases: Vec<&'static str>,
}

fn sentences() -> Vec<Sentence> {
    let (mut section, mut all) = ("", Vec::new());
    for line in LIST.lines().filter(|line| !line.is_empty() && !line.starts_with("//")) {
        match line.strip_prefix("  ") {
            None => section = line,
            Some(line) => {
                let (words, cases) = line.split_once(" => ").expect(line);
                let cases = cases.split(", ").map(str::trim).collect();
                all.push(Sentence { section, words: words.trim(), cases });
            }
        }
    }
    all
}

/// Every sentence has a case or says whom it binds, every case holds to a sentence or is one of the
/// data cases, and no sentence is missing.
pub fn each_sentence_has_a_case(cases: &[Case]) {
    let mut uses: BTreeMap<&str, usize> = cases.iter().map(|case| (case.name, 0)).collect();
    let mut found: Vec<(&str, usize)> = Vec::new();
    for sentence in sentences() {
        let Sentence { section, words, cases } = &sentence;
        match found.last_mut() {
            Some((last, count)) if last == section => *count += 1,
            _ => found.push((section, 1)),
        }
        assert!(!cases.is_empty());
        for case in cases.iter().filter(|case| !OTHERS.contains(case)) {
            let count = uses.get_mut(case);
            *count.unwrap_or_else(|| panic!("{section}, {words}: no such case: {case}")) += 1;
        }
    }
    assert_eq!(found, SECTIONS);
    let idle = uses.iter().filter(|(name, uses)| **uses == 0 && !name.starts_with("data::"));
    let idle: Vec<_> = idle.map(|(name, _)| name).collect();
    assert!(idle.is_empty(), "of no sentence: {idle:?}");
}

/// The list against the text itself.
pub fn are_those_of_the_specification() {
    let Ok(path) = std::env::var("CONEX_DISTRIBUTION_SPEC") else { return };
    let text = std::fs::read_to_string(path).unwrap();
    let mut listed = sentences().into_iter();
    let mut section = "";
    for line in text.lines() {
        if let Some(title) = line.strip_prefix('#') {
            section = title.trim_start_matches('#').trim();
        }
        let binds = ["MUST", "SHOULD", "SHALL", "MAY", "REQUIRED", "RECOMMENDED", "OPTIONAL"];
        let mut words = line.split(|c: char| !c.is_ascii_alphabetic());
        if line.starts_with('#') || !words.any(|word| binds.contains(&word)) {
            continue;
        }
        let Some(sentence) = listed.next() else { panic!("not listed: {line}") };
        assert_eq!(sentence.section, section, "{line}");
        assert!(plain(line).starts_with(&plain(sentence.words)), "{line}\n{}", sentence.words);
    }
    assert!(listed.next().is_none());
}

/// Letters, digits and single spaces; of links their text alone.
fn plain(text: &str) -> String {
    let mut parts = text.split("](");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        text += part.split_once(')').map_or(part, |(_, rest)| rest);
    }
    let kept = text.chars().map(|c| if c.is_alphanumeric() { c } else { ' ' }).collect::<String>();
    kept.split_whitespace().collect::<Vec<_>>().join(" ")
}

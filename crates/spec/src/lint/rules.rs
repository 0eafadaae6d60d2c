//! All rules, in one table for each sort of document.

pub mod annotations;
pub mod archive;
pub mod config;
pub mod content;
pub mod descriptor;
pub mod index;
pub mod json;
pub mod manifest;
pub mod platform;

use crate::lint::Rule;

/// Every rule, in the order of the documents.
pub fn all() -> impl Iterator<Item = &'static Rule> {
    let tables = [
        json::ALL,
        descriptor::ALL,
        platform::ALL,
        annotations::ALL,
        manifest::ALL,
        index::ALL,
        config::ALL,
        content::ALL,
        archive::ALL,
    ];
    tables.into_iter().flatten().copied()
}

/// Whether a rule is about JSON itself, whatever sort of document that is.
pub fn is_of_json(rule: &Rule) -> bool {
    json::ALL.contains(&rule)
}

/// The rule of an id.
pub fn find(id: &str) -> Option<&'static Rule> {
    all().find(|rule| rule.id == id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn ids_are_short_kebab_case_and_unique() {
        let mut seen = HashSet::new();
        for rule in all() {
            assert!(seen.insert(rule.id), "{} twice", rule.id);
            let kebab = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            assert!(rule.id.chars().all(kebab) && rule.id.len() <= 34, "{}", rule.id);
            for text in [rule.why, rule.mend] {
                assert!(text.ends_with('.') && text.len() < 220, "{}: {text}", rule.id);
            }
            assert!(!rule.text.ends_with('.') && rule.text.len() < 120, "{}", rule.id);
            assert_eq!(find(rule.id), Some(rule));
        }
        assert!(seen.len() > 90, "{}", seen.len());
        assert_eq!(find("no-such-rule"), None);
    }
}

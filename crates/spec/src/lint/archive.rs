//! The two lists in an archive of `docker save`, as they stand in their bytes: `manifest.json`, and
//! `repositories` of engines before Docker 1.10.

use crate::reference::Reference;
use crate::strict_json::Shape;

use super::path::Path;
use super::rules::archive as rules;
use super::tree::{Node, Object};
use super::{Context, Linter, MAX_FINDINGS, Outcome};

/// An image of the list, as far as it can be made out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// Where it stands in the list.
    pub index: usize,
    /// The member that is its config.
    pub config: Option<String>,
    /// What it is called.
    pub names: Vec<String>,
    /// The members that are its layers, base first; nothing for what is no name.
    pub layers: Vec<Option<String>>,
}

const IMAGES: Shape = Shape::Array(&Shape::Object(&[
    ("Config", Shape::Free),
    ("RepoTags", Shape::Free),
    ("Layers", Shape::Free),
    ("Parent", Shape::Free),
    ("LayerSources", Shape::Free),
]));

/// Checks `manifest.json`.
pub fn images(bytes: &[u8]) -> (Outcome, Vec<Listed>) {
    with_linter(bytes, IMAGES, |linter, node| linter.images(node))
}

/// Checks `repositories`, and returns the names in it, each `NAME:TAG`.
pub fn repositories(bytes: &[u8]) -> (Outcome, Vec<String>) {
    with_linter(bytes, Shape::Free, |linter, node| linter.repositories(node))
}

fn with_linter<T: Default>(
    bytes: &[u8],
    shape: Shape,
    check: impl FnOnce(&mut Linter<'_>, &Node<'_>) -> T,
) -> (Outcome, T) {
    let mut linter = Linter { context: Context::default(), outcome: Outcome::default() };
    let checked = match linter.parse(bytes) {
        Some(node) => {
            linter.json(&node, &Path::Root, shape);
            check(&mut linter, &node)
        }
        None => T::default(),
    };
    linter.outcome.findings.truncate(MAX_FINDINGS);
    (linter.outcome, checked)
}

impl Linter<'_> {
    fn images(&mut self, node: &Node<'_>) -> Vec<Listed> {
        let root = &Path::Root;
        let Some(items) = node.array() else {
            self.unlike(root, "an array of images", node);
            return Vec::new();
        };
        if items.is_empty() {
            self.report(&rules::LIST_EMPTY, root);
        }
        let mut images = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let at = &root.item(index);
            match item.object() {
                Some(object) => images.push(self.image(object, at, index)),
                None => self.unlike(at, "an object", item),
            }
        }
        self.names_twice(&images);
        images
    }

    fn image(&mut self, object: &Object<'_>, at: &Path<'_>, index: usize) -> Listed {
        let mut image = Listed { index, ..Listed::default() };
        match object.get("Config") {
            None => self.missing(&rules::CONFIG_MISSING, at),
            Some(node) => {
                let at = at.member("Config");
                match node.text() {
                    Some(name) => image.config = self.inside(name, node, &at),
                    None => self.unlike(&at, "the name of a member", node),
                }
            }
        }
        for (index, node) in self.list(object, at, "RepoTags").iter().enumerate() {
            let at = at.member("RepoTags");
            image.names.extend(self.name(node, &at.item(index)));
        }
        for (index, node) in self.list(object, at, "Layers").iter().enumerate() {
            let at = at.member("Layers");
            let at = at.item(index);
            image.layers.push(match node.text() {
                Some(name) => self.inside(name, node, &at),
                None => {
                    self.unlike(&at, "the name of a member", node);
                    None
                }
            });
        }
        image
    }

    /// Go writes `null` for an empty list.
    fn list<'n, 'a>(
        &mut self,
        object: &'n Object<'a>,
        at: &Path<'_>,
        name: &str,
    ) -> &'n [Node<'a>] {
        match object.get(name) {
            None | Some(Node::Null) => &[],
            Some(node) => node.array().unwrap_or_else(|| {
                self.unlike(&at.member(name), "an array of strings", node);
                &[]
            }),
        }
    }

    fn name(&mut self, node: &Node<'_>, at: &Path<'_>) -> Option<String> {
        let Some(text) = node.text() else {
            self.unlike(at, "a string", node);
            return None;
        };
        let tagged = text.parse::<Reference>().is_ok_and(|reference| reference.tag().is_some());
        if !tagged {
            self.wrong(&rules::REPO_TAG_INVALID, at, node);
        }
        tagged.then(|| text.to_owned())
    }

    /// A name that stays in the archive (rule D7).
    fn inside(&mut self, name: &str, node: &Node<'_>, at: &Path<'_>) -> Option<String> {
        if leads_out(name) {
            self.wrong(&rules::NAME_OUTSIDE, at, node);
            return None;
        }
        Some(name.to_owned())
    }

    fn names_twice(&mut self, images: &[Listed]) {
        let mut seen = std::collections::HashMap::new();
        for image in images {
            for (position, name) in image.names.iter().enumerate() {
                let canonical = canonical(name);
                let other = seen.insert(canonical, image);
                if other.is_some_and(|other| other.config != image.config) {
                    let at = Path::Root.item(image.index);
                    let at = at.member("RepoTags");
                    self.report(&rules::REPO_TAG_TWICE, &at.item(position)).found =
                        Some(super::tree::quoted(name));
                }
            }
        }
    }

    /// `{"NAME": {"TAG": "LAYER"}}`
    fn repositories(&mut self, node: &Node<'_>) -> Vec<String> {
        let root = &Path::Root;
        let mut names = Vec::new();
        let Some(repositories) = node.object() else {
            self.wrong(&rules::REPOSITORIES, root, node);
            return names;
        };
        for (repository, tags) in &repositories.0 {
            match tags.object() {
                Some(tags) => {
                    names.extend(tags.0.iter().map(|(tag, _)| format!("{repository}:{tag}")));
                }
                None => self.wrong(&rules::REPOSITORIES, &root.member(repository), tags),
            }
        }
        names
    }

    fn unlike(&mut self, at: &Path<'_>, expected: &str, node: &Node<'_>) {
        let finding = self.report(&rules::LIST_INVALID, at);
        finding.expected = Some(expected.into());
        finding.found = Some(node.show());
    }
}

/// A name in its one spelling; as it is where it has none.
pub fn canonical(name: &str) -> String {
    let reference = name.parse::<Reference>();
    reference.map_or_else(|_| name.to_owned(), |reference| reference.to_string())
}

/// Whether a name leads above the root of the archive, where a leading slash starts from too.
fn leads_out(name: &str) -> bool {
    let mut depth = 0_usize;
    for part in name.split('/') {
        match part {
            "" | "." => {}
            ".." => match depth.checked_sub(1) {
                Some(above) => depth = above,
                None => return true,
            },
            _ => depth += 1,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(outcome: &Outcome) -> Vec<(&str, &str)> {
        outcome.findings.iter().map(|found| (found.rule.id, found.pointer.as_str())).collect()
    }

    #[test]
    fn what_is_wrong_with_the_list_is_told_with_its_place() {
        for (json, expected) in [
            (r#"[{"Config":"c","RepoTags":null,"Layers":null}]"#, &[][..]),
            (r#"[{"Config":"a/../c","RepoTags":["a:1","a:2"],"Layers":["l"],"Parent":"x"}]"#, &[]),
            ("[]", &[("archive-manifest-empty", "")]),
            ("{}", &[("archive-manifest-invalid", "")]),
            ("[7]", &[("archive-manifest-invalid", "/0")]),
            ("[", &[("json-syntax", "")]),
            (r#"[{"Layers":[]}]"#, &[("archive-config-missing", "/0")]),
            (r#"[{"Config":7}]"#, &[("archive-manifest-invalid", "/0/Config")]),
            (r#"[{"Config":"../c"}]"#, &[("archive-name-outside", "/0/Config")]),
            (
                r#"[{"Config":"c","Layers":["a/../../etc/passwd",7,"l"]}]"#,
                &[
                    ("archive-name-outside", "/0/Layers/0"),
                    ("archive-manifest-invalid", "/0/Layers/1"),
                ],
            ),
            (r#"[{"Config":"c","Layers":"l"}]"#, &[("archive-manifest-invalid", "/0/Layers")]),
            (
                r#"[{"Config":"c","RepoTags":["A:1","a",1]}]"#,
                &[
                    ("archive-repotag-invalid", "/0/RepoTags/0"),
                    ("archive-repotag-invalid", "/0/RepoTags/1"),
                    ("archive-manifest-invalid", "/0/RepoTags/2"),
                ],
            ),
            (r#"[{"Config":"c","Config":"d"}]"#, &[("json-duplicate-name", "/0/Config")]),
            (r#"[{"Config":"c","layers":[]}]"#, &[("json-case-variant", "/0/layers")]),
            (
                r#"[{"Config":"c","RepoTags":["a:1"]},{"Config":"d","RepoTags":["docker.io/library/a:1"]}]"#,
                &[("archive-repotag-twice", "/1/RepoTags/0")],
            ),
        ] {
            assert_eq!(ids(&images(json.as_bytes()).0), expected, "{json}");
        }
    }

    #[test]
    fn what_can_be_made_out_is_returned() {
        let (_, found) = images(br#"[7,{"Config":"c","RepoTags":["a:1","A"],"Layers":["l",7]}]"#);
        let image = Listed {
            index: 1,
            config: Some("c".into()),
            names: vec!["a:1".into()],
            layers: vec![Some("l".into()), None],
        };
        assert_eq!(found, [image]);
    }

    #[test]
    fn the_older_list() {
        let (outcome, names) = repositories(br#"{"a":{"1":"x","2":"y"},"h:5/b":{"3":"z"}}"#);
        assert_eq!(
            (ids(&outcome), names),
            (vec![], vec!["a:1".into(), "a:2".into(), "h:5/b:3".into()])
        );
        assert_eq!(ids(&repositories(b"[]").0), [("archive-repositories-differ", "")]);
        assert_eq!(ids(&repositories(br#"{"a":1}"#).0), [("archive-repositories-differ", "/a")]);
    }
}

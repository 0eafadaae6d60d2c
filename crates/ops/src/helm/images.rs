//! Which images a chart names.
//!
//! Three places are looked at, and nothing is rendered:
//!
//! - the annotation `artifacthub.io/images` of `Chart.yaml`, a list of `{name, image}`;
//! - `values.yaml`, of the chart and of those in `charts/`: a text under a key `image`, or a mapping
//!   with `repository`, or with `registry` and `repository`, whose `tag` or `digest` is a text (where
//!   `tag` is empty, `appVersion` is meant, as in the chart that `helm create` makes);
//! - templates: a line `image: NAME` whose value has no `{{`.

use serde::Serialize;

use conex_spec::{Error, Location, Reference, Result};

use super::archive::Contents;
use super::yaml::{self, Node, Value};

/// The annotation of Artifact Hub.
pub const ANNOTATION: &str = "artifacthub.io/images";

/// An image and where it is named.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Named {
    /// As it is written, or put together.
    pub image: String,
    /// The file, and the place in it.
    pub at: String,
}

impl Named {
    /// What it refers to.
    ///
    /// # Errors
    /// `Invalid`, with the file.
    pub fn reference(&self) -> Result<Reference> {
        match self.image.parse() {
            Ok(Location::Registry(reference)) => Ok(reference),
            Ok(_) => Err(self.fault()),
            Err(err) => Err(self.fault().source(err)),
        }
    }

    fn fault(&self) -> Error {
        Error::invalid(format!("{} names no image of a registry", self.at))
            .expected("REGISTRY/REPOSITORY:TAG")
            .found(format!("{:.160?}", self.image))
    }
}

/// All images that a chart names, each once, in the order of the places above.
///
/// # Errors
/// `Invalid` for values or an annotation that are no YAML.
pub fn images(contents: &Contents) -> Result<Vec<Named>> {
    let mut found = Vec::new();
    if let Some(text) = contents.chart.annotations.get(ANNOTATION) {
        annotation(text, &mut found)?;
    }
    for (path, text) in &contents.texts {
        if path.ends_with("values.yaml") && !path.contains("templates/") {
            let app = if path == "values.yaml" { contents.chart.app_version.as_str() } else { "" };
            values(&yaml::parse(text, path)?, path, "", app, &mut found);
        }
    }
    for (path, text) in &contents.texts {
        if path.contains("templates/") {
            template(text, path, &mut found);
        }
    }
    let mut seen = std::collections::HashSet::new();
    found.retain(|named: &Named| seen.insert(named.image.clone()));
    Ok(found)
}

fn annotation(text: &str, found: &mut Vec<Named>) -> Result<()> {
    let list = yaml::parse(text, ANNOTATION)?;
    let Value::Sequence(nodes) = &list.value else {
        return Err(Error::invalid(format!("{ANNOTATION} is not what it must be"))
            .expected("a list of images")
            .found(list.noun()));
    };
    for (at, node) in nodes.iter().enumerate() {
        let image = match &node.value {
            Value::Mapping(members) => members.get("image").and_then(Node::text),
            _ => None,
        };
        let image = image.ok_or_else(|| {
            Error::invalid(format!("{ANNOTATION}[{at}] names no image")).expected("`image: NAME`")
        })?;
        found.push(Named { image, at: format!("Chart.yaml {ANNOTATION}[{at}]") });
    }
    Ok(())
}

/// Everything below a value. The depth of a document is bounded where it is read.
fn values(node: &Node, file: &str, at: &str, app_version: &str, found: &mut Vec<Named>) {
    match &node.value {
        Value::Scalar(_) => {}
        Value::Sequence(nodes) => {
            for (index, node) in nodes.iter().enumerate() {
                values(node, file, &format!("{at}[{index}]"), app_version, found);
            }
        }
        Value::Mapping(members) => {
            let dot = if at.is_empty() { "" } else { "." };
            let named = |image| Named { image, at: format!("{file} {at}") };
            found.extend(assembled(node, app_version).map(named));
            for (key, node) in members {
                let at = format!("{at}{dot}{key}");
                match node.text().filter(|text| key == "image" && is_name(text)) {
                    Some(image) => found.push(Named { image, at: format!("{file} {at}") }),
                    None => values(node, file, &at, app_version, found),
                }
            }
        }
    }
}

/// `{registry, repository, tag, digest}`, of which the repository must be there and one of the last.
fn assembled(node: &Node, app_version: &str) -> Option<String> {
    let Value::Mapping(members) = &node.value else { return None };
    let text = |key: &str| members.get(key).and_then(Node::text).filter(|text| !text.is_empty());
    let repository = text("repository").filter(|name| is_name(name) && !name.contains("://"))?;
    let mut image = match text("registry") {
        Some(registry) => format!("{registry}/{repository}"),
        None => repository,
    };
    let fallback = || members.contains_key("tag").then(|| app_version.to_owned());
    let tag = text("tag").or_else(fallback).filter(|tag| !tag.is_empty());
    let digest = text("digest");
    if tag.is_none() && digest.is_none() {
        return None;
    }
    for (mark, part) in [(':', tag), ('@', digest)] {
        if let Some(part) = part {
            image.push(mark);
            image.push_str(&part);
        }
    }
    Some(image)
}

fn template(text: &str, file: &str, found: &mut Vec<Named>) {
    for (at, line) in text.lines().enumerate() {
        let line = line.trim_start().trim_start_matches("- ");
        let Some(value) = line.strip_prefix("image:") else { continue };
        let value = value.split(" #").next().unwrap_or(value).trim().trim_matches(['"', '\'']);
        if is_name(value) {
            found.push(Named { image: value.to_owned(), at: format!("{file}:{}", at + 1) });
        }
    }
}

/// Whether a text can be the name of an image: nothing that is filled in later.
fn is_name(text: &str) -> bool {
    !text.is_empty() && !text.contains(char::is_whitespace) && !text.contains(['{', '}', '$'])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::helm::archive::{read, tests::tgz};

    fn found(files: &[(&str, &str)]) -> Result<Vec<(String, String)>> {
        let named = images(&read(tgz(files).as_slice(), "app").unwrap())?;
        Ok(named.into_iter().map(|named| (named.image, named.at)).collect())
    }

    const CHART: &str = "apiVersion: v2\nname: app\nversion: 1.0.0\nappVersion: 6.10.1\n";

    #[test]
    fn images_are_found_where_charts_name_them() {
        let chart = format!(
            "{CHART}annotations:\n  artifacthub.io/images: |\n    - name: a\n      image: r.example/a:1\n"
        );
        let made = found(&[
            ("app/Chart.yaml", &chart),
            (
                "app/values.yaml",
                "image: {repository: nginx, tag: ''}\n\
                 db: {image: {registry: r.example, repository: db, tag: 9, digest: 'sha256:00'}}\n\
                 side: [{image: r.example/side:2}, {image: '{{ x }}'}]\n\
                 git: {repository: https://git.example/x, tag: v1}\n\
                 plain: {repository: r.example/none}\n\
                 again: {image: r.example/a:1}\n",
            ),
            ("app/charts/sub/values.yaml", "image: busybox:1\n"),
            (
                "app/templates/x.yaml",
                "      image: \"r.example/t:3\" # why\n    - image: {{ .Values.image }}\nimage: a b\n",
            ),
        ])
        .unwrap();
        let made: Vec<_> = made.iter().map(|(image, at)| (image.as_str(), at.as_str())).collect();
        assert_eq!(
            made,
            [
                ("r.example/a:1", "Chart.yaml artifacthub.io/images[0]"),
                ("busybox:1", "charts/sub/values.yaml image"),
                ("nginx:6.10.1", "values.yaml image"),
                ("r.example/db:9@sha256:00", "values.yaml db.image"),
                ("r.example/side:2", "values.yaml side[0].image"),
                ("r.example/t:3", "templates/x.yaml:1"),
            ]
        );
    }

    #[test]
    fn what_names_no_image_is_an_error_with_its_place() {
        let chart =
            |list: &str| format!("{CHART}annotations: {{artifacthub.io/images: '{list}'}}\n");
        for (list, part) in [("[{name: a}]", "[0] names no"), ("a", "must be"), ("[", "not YAML")] {
            let err = found(&[("app/Chart.yaml", &chart(list))]).unwrap_err();
            assert!(err.message().contains(part), "{err}");
        }
        assert!(found(&[("app/Chart.yaml", CHART), ("app/values.yaml", "a: [")]).is_err());
        let named = |image: &str| Named { image: image.into(), at: "values.yaml x".into() };
        assert!(named("nginx:1").reference().is_ok());
        assert!(named("oci:./x").reference().is_err());
        let err = named("UPPER/x:1:2").reference().unwrap_err();
        assert!(err.message().starts_with("values.yaml x names no image"), "{err}");
    }
}

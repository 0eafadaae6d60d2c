//! Which images a chart names.
//!
//! Three places are looked at, in the chart and in those that it has in `charts/`, and nothing is rendered:
//!
//! - the annotation `artifacthub.io/images` of `Chart.yaml`, a list of `{name, image}`;
//! - `values.yaml`: a text under a key `image`, to which a `tag` or `imageTag` beside it belongs, or a
//!   mapping with `repository`, or with `registry` and `repository`, whose `tag` or `digest` is a text
//!   (where `tag` is empty, `appVersion` is meant, as in the chart that `helm create` makes);
//! - templates: a line `image: NAME` whose value has no `{{`.
//!
//! A line whose name is filled in from values that name an image, as `{{ .Values.image.repository }}`,
//! is that image; what else is filled in cannot be told.

use std::collections::{HashMap, HashSet};

use indexmap::IndexMap;
use serde::Serialize;

use conex_spec::{Error, Location, Reference, Result};

use super::Chart;
use super::archive::Contents;
use super::yaml::{self, Node, Value};

/// The annotation of Artifact Hub.
pub const ANNOTATION: &str = "artifacthub.io/images";

/// The images of a chart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// Those that can be told, each once.
    pub images: Vec<Named>,
    /// Those whose name is filled in when the chart is installed, each as it is written.
    pub filled_in: Vec<Named>,
}

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

/// All images that a chart names, in the order of the places above.
///
/// # Errors
/// `Invalid` for values or an annotation that are no YAML.
pub fn images(contents: &Contents) -> Result<Names> {
    let mut search = Search::default();
    for (path, text) in &contents.texts {
        if let Some(chart) = folder_of(path, "Chart.yaml") {
            // What is wrong with a chart in a chart is no matter of its images.
            if let Ok(part) = Chart::parse(text) {
                search.chart(chart, &part)?;
            }
        }
    }
    for (path, text) in &contents.texts {
        if let Some(chart) = folder_of(path, "values.yaml") {
            let app_version = search.app_versions.get(chart).cloned().unwrap_or_default();
            let mut values = Values { search: &mut search, chart, file: path, app_version };
            values.below(&yaml::parse(text, path)?, "");
        }
    }
    for (path, text) in &contents.texts {
        if let Some((chart, _)) = path.split_once("templates/").filter(|_| !path.ends_with(".txt"))
        {
            search.template(chart, path, text);
        }
    }
    let Names { mut images, mut filled_in } = search.names;
    for list in [&mut images, &mut filled_in] {
        let mut seen = HashSet::new();
        list.retain(|named| seen.insert(named.image.clone()));
    }
    Ok(Names { images, filled_in })
}

/// `charts/db/` of `charts/db/values.yaml`, unless that is a template.
fn folder_of<'a>(path: &'a str, name: &str) -> Option<&'a str> {
    let folder = path.strip_suffix(name)?;
    let whole = folder.is_empty() || folder.ends_with('/');
    (whole && !folder.contains("templates/")).then_some(folder)
}

/// What was found so far.
#[derive(Default)]
struct Search<'a> {
    names: Names,
    /// By the folders of the charts.
    app_versions: HashMap<&'a str, String>,
    /// The places in values that name images, by the folders of the charts.
    told: HashSet<(&'a str, String)>,
}

impl<'a> Search<'a> {
    fn chart(&mut self, folder: &'a str, chart: &Chart) -> Result<()> {
        self.app_versions.insert(folder, chart.app_version.clone());
        match chart.annotations.get(ANNOTATION) {
            Some(text) => self.annotation(folder, text),
            None => Ok(()),
        }
    }

    fn annotation(&mut self, folder: &str, text: &str) -> Result<()> {
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
                Error::invalid(format!("{ANNOTATION}[{at}] names no image"))
                    .expected("`image: NAME`")
            })?;
            let at = format!("{folder}Chart.yaml {ANNOTATION}[{at}]");
            self.names.images.push(Named { image, at });
        }
        Ok(())
    }

    fn template(&mut self, chart: &'a str, file: &str, text: &str) {
        for (at, line) in text.lines().enumerate() {
            let line = line.trim_start().trim_start_matches("- ");
            let Some(value) = line.strip_prefix("image:") else { continue };
            let value = value.split(" #").next().unwrap_or(value).trim().trim_matches(['"', '\'']);
            let named = Named { image: value.to_owned(), at: format!("{file}:{}", at + 1) };
            if is_name(value) {
                self.names.images.push(named);
            } else if value.contains("{{") && !self.is_told(chart, value) {
                self.names.filled_in.push(named);
            }
        }
    }

    /// Whether a text is filled in from values that name an image.
    fn is_told(&self, chart: &'a str, text: &str) -> bool {
        let in_path = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_');
        text.split(".Values.").skip(1).any(|rest| {
            let path = rest.split(|c| !in_path(c)).next().unwrap_or_default();
            let ends = path.match_indices('.').map(|(at, _)| at).chain([path.len()]);
            ends.into_iter().any(|end| self.told.contains(&(chart, path[..end].to_owned())))
        })
    }
}

/// A `values.yaml`.
struct Values<'s, 'a> {
    search: &'s mut Search<'a>,
    /// The folder of its chart.
    chart: &'a str,
    file: &'a str,
    app_version: String,
}

impl Values<'_, '_> {
    /// Everything below a value. The depth of a document is bounded where it is read.
    fn below(&mut self, node: &Node, at: &str) {
        match &node.value {
            Value::Scalar(_) => {}
            Value::Sequence(nodes) => {
                for (index, node) in nodes.iter().enumerate() {
                    self.below(node, &format!("{at}[{index}]"));
                }
            }
            Value::Mapping(members) => {
                if let Some(image) = assembled(members, &self.app_version) {
                    self.found(image, at);
                }
                for (key, node) in members {
                    let dot = if at.is_empty() { "" } else { "." };
                    let at = format!("{at}{dot}{key}");
                    match node.text().filter(|_| key == "image") {
                        Some(image) => self.written(&image, members, &at),
                        None => self.below(node, &at),
                    }
                }
            }
        }
    }

    /// A text under `image`, and a tag beside it.
    fn written(&mut self, image: &str, beside: &IndexMap<String, Node>, at: &str) {
        if image.contains("{{") {
            let at = format!("{} {at}", self.file);
            self.search.names.filled_in.push(Named { image: image.to_owned(), at });
        } else if is_name(image) {
            let name = image.rsplit('/').next().unwrap_or(image);
            let tag = ["tag", "imageTag"].into_iter().find_map(|key| text(beside, key));
            let image = match tag.filter(|tag| !name.contains([':', '@']) && is_name(tag)) {
                Some(tag) => format!("{image}:{tag}"),
                None => image.to_owned(),
            };
            self.found(image, at);
        }
    }

    fn found(&mut self, image: String, at: &str) {
        self.search.told.insert((self.chart, at.to_owned()));
        self.search.names.images.push(Named { image, at: format!("{} {at}", self.file) });
    }
}

/// `{registry, repository, tag, digest}`, of which the repository must be there and one of the last.
fn assembled(members: &IndexMap<String, Node>, app_version: &str) -> Option<String> {
    let repository =
        text(members, "repository").filter(|name| is_name(name) && !name.contains("://"))?;
    let mut image = match text(members, "registry") {
        Some(registry) => format!("{registry}/{repository}"),
        None => repository,
    };
    let fallback = || members.contains_key("tag").then(|| app_version.to_owned());
    let tag = text(members, "tag").or_else(fallback).filter(|tag| !tag.is_empty());
    let digest = text(members, "digest");
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

/// A text that is not empty.
fn text(members: &IndexMap<String, Node>, key: &str) -> Option<String> {
    members.get(key).and_then(Node::text).filter(|text| !text.is_empty())
}

/// Whether a text can be the name of an image: nothing that is filled in later.
fn is_name(text: &str) -> bool {
    !text.is_empty() && !text.contains(char::is_whitespace) && !text.contains(['{', '}', '$'])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::helm::archive::{
        read,
        tests::{tgz, tgz_of},
    };

    fn names(files: &[(&str, &str)]) -> Result<Names> {
        images(&read(tgz(files).as_slice(), "app").unwrap())
    }

    fn pairs(named: &[Named]) -> Vec<(&str, &str)> {
        named.iter().map(|named| (named.image.as_str(), named.at.as_str())).collect()
    }

    const CHART: &str = "apiVersion: v2\nname: app\nversion: 1.0.0\nappVersion: 6.10.1\n";

    #[test]
    fn images_are_found_where_charts_name_them() {
        let chart = format!(
            "{CHART}annotations:\n  artifacthub.io/images: |\n    - name: a\n      image: r.example/a:1\n"
        );
        let made = names(&[
            ("app/Chart.yaml", &chart),
            (
                "app/values.yaml",
                "image: {repository: nginx, tag: ''}\n\
                 db: {image: {registry: r.example, repository: db, tag: 9, digest: 'sha256:00'}}\n\
                 side: [{image: r.example/side:2}, {image: '{{ x }}'}]\n\
                 git: {repository: https://git.example/x, tag: v1}\n\
                 plain: {repository: r.example/none}\n\
                 again: {image: r.example/a:1}\n\
                 old: {image: 'r.example:5000/old', imageTag: 5.7}\n\
                 whole: {image: 'old:1', tag: 2}\n",
            ),
            ("app/charts/sub/values.yaml", "image: busybox:1\n"),
            ("app/templates/NOTES.txt", "image: notes:1\n"),
            (
                "app/templates/x.yaml",
                "      image: \"r.example/t:3\" # why\n    - image: {{ .Values.image }}\nimage: a b\n",
            ),
        ])
        .unwrap();
        assert_eq!(
            pairs(&made.images),
            [
                ("r.example/a:1", "Chart.yaml artifacthub.io/images[0]"),
                ("busybox:1", "charts/sub/values.yaml image"),
                ("nginx:6.10.1", "values.yaml image"),
                ("r.example/db:9@sha256:00", "values.yaml db.image"),
                ("r.example/side:2", "values.yaml side[0].image"),
                ("r.example:5000/old:5.7", "values.yaml old.image"),
                ("old:1", "values.yaml whole.image"),
                ("r.example/t:3", "templates/x.yaml:1"),
            ]
        );
        assert_eq!(pairs(&made.filled_in), [("{{ x }}", "values.yaml side[1].image")]);
    }

    #[test]
    fn what_is_filled_in_is_told_unless_values_name_it() {
        let lines = "image: '{{ .Values.a.image.repository }}:{{ .Values.a.image.tag }}'\n\
                     image: {{ include \"x\" (dict \"image\" $.Values.a.image) }}\n\
                     image: {{ .Values.a.images }}\nimage: {{ include \"x\" . }}\n";
        let values = "a: {image: {repository: r.example/a, tag: 1}}\n";
        let part = format!("{CHART}annotations: {{artifacthub.io/images: '[{{image: p:1}}]'}}\n");
        let part = part.replace("6.10.1", "7");
        let packed = tgz(&[
            ("db/Chart.yaml", &part),
            ("db/values.yaml", "image: {repository: db, tag: ''}\n"),
            ("db/templates/x.yaml", "image: {{ .Values.a.image }}\nimage: {{ .Values.image }}\n"),
        ]);
        let files =
            [("app/Chart.yaml", CHART), ("app/templates/x", lines), ("app/values.yaml", values)];
        let mut files: Vec<_> = files.map(|(path, text)| (path, text.as_bytes())).into();
        files.push(("app/charts/db-1.0.0.tgz", &packed));
        let made = images(&read(tgz_of(&files).as_slice(), "app").unwrap()).unwrap();
        let db = "charts/db-1.0.0.tgz";
        assert_eq!(
            pairs(&made.images),
            [
                ("p:1", format!("{db}/Chart.yaml artifacthub.io/images[0]").as_str()),
                ("db:7", &format!("{db}/values.yaml image")),
                ("r.example/a:1", "values.yaml a.image"),
            ]
        );
        assert_eq!(
            pairs(&made.filled_in),
            [
                ("{{ .Values.a.image }}", format!("{db}/templates/x.yaml:1").as_str()),
                ("{{ .Values.a.images }}", "templates/x:3"),
                ("{{ include \"x\" . }}", "templates/x:4"),
            ]
        );
    }

    #[test]
    fn what_names_no_image_is_an_error_with_its_place() {
        let chart =
            |list: &str| format!("{CHART}annotations: {{artifacthub.io/images: '{list}'}}\n");
        for (list, part) in [("[{name: a}]", "[0] names no"), ("a", "must be"), ("[", "not YAML")] {
            let err = names(&[("app/Chart.yaml", &chart(list))]).unwrap_err();
            assert!(err.message().contains(part), "{err}");
        }
        assert!(names(&[("app/Chart.yaml", CHART), ("app/values.yaml", "a: [")]).is_err());
        let named = |image: &str| Named { image: image.into(), at: "values.yaml x".into() };
        assert!(named("nginx:1").reference().is_ok());
        assert!(named("oci:./x").reference().is_err());
        let err = named("UPPER/x:1:2").reference().unwrap_err();
        assert!(err.message().starts_with("values.yaml x names no image"), "{err}");
    }
}

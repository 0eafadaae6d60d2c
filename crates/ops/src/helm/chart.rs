//! `Chart.yaml`: what a chart says about itself (<https://helm.sh/docs/topics/charts/>, "The Chart.yaml
//! File"), checked as Helm checks it, and printed as Helm's registry client prints it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use conex_spec::{Error, Result, Tag};

use super::constraint::Version;
use super::fields::Fields;
use super::{go_json, yaml};

/// The metadata of a chart. The members are in the order in which Helm prints them: the bytes of the
/// config of a pushed chart are those of [`Chart::config`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Chart {
    /// What it is called, and its folder.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Where its project is at home.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub home: String,
    /// Where its source code is.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<String>,
    /// A semantic version.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// One sentence.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Words by which it is found.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub keywords: Vec<String>,
    /// Whom to ask.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub maintainers: Vec<Maintainer>,
    /// Where its icon is.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub icon: String,
    /// `v1` or `v2`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub api_version: String,
    /// Which value turns it on, as a part of another chart.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub condition: String,
    /// Which tags turn it on.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub tags: String,
    /// The version of the software in it, in any form.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub app_version: String,
    /// Whether nobody looks after it any more.
    #[serde(skip_serializing_if = "is_false")]
    pub deprecated: bool,
    /// Free metadata.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Which versions of Kubernetes it runs on.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kube_version: String,
    /// The charts that it consists of beside itself.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dependencies: Vec<Dependency>,
    /// `application` or `library`.
    #[serde(rename = "type", skip_serializing_if = "String::is_empty")]
    pub kind: String,
}

/// Someone who looks after a chart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Maintainer {
    /// A person or an organization.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Their address.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub email: String,
    /// Their page.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub url: String,
}

/// A chart that another one needs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Dependency {
    /// The chart's name.
    pub name: String,
    /// Which versions of it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// Where it comes from.
    pub repository: String,
    /// Which value turns it on.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub condition: String,
    /// Which groups it belongs to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Whether it is turned on.
    #[serde(skip_serializing_if = "is_false")]
    pub enabled: bool,
    /// Which of its values its parent takes over.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub import_values: Vec<serde_json::Value>,
    /// What it is called within its parent.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub alias: String,
}

fn is_false(value: &bool) -> bool {
    !value
}

impl Chart {
    /// Reads a `Chart.yaml`. Members that nobody knows are passed over, as Helm does.
    ///
    /// # Errors
    /// `Invalid`, with the line and the field.
    pub fn parse(text: &str) -> Result<Self> {
        const FILE: &str = "Chart.yaml";
        let root = yaml::parse(text, FILE)?;
        let fields = Fields::of(&root, FILE, "")?;
        let mut chart = Self {
            name: clean(&fields.text("name")?),
            home: clean(&fields.text("home")?),
            sources: fields.texts("sources")?.iter().map(|text| clean(text)).collect(),
            version: fields.text("version")?,
            description: clean(&fields.text("description")?),
            keywords: fields.texts("keywords")?.iter().map(|text| clean(text)).collect(),
            maintainers: fields.each("maintainers", maintainer)?,
            icon: clean(&fields.text("icon")?),
            api_version: fields.text("apiVersion")?,
            condition: clean(&fields.text("condition")?),
            tags: clean(&fields.text("tags")?),
            app_version: clean(&fields.text("appVersion")?),
            deprecated: fields.truth("deprecated")?,
            annotations: fields.map("annotations")?,
            kube_version: clean(&fields.text("kubeVersion")?),
            dependencies: fields.each("dependencies", dependency)?,
            kind: fields.text("type")?,
        };
        // "Because of that, if APIVersion is unset, we should assume we're loading a v1 chart", of
        // the time before there was a second.
        if chart.api_version.is_empty() {
            chart.api_version = "v1".into();
        }
        chart.check(&fields)?;
        Ok(chart)
    }

    /// Takes over the dependencies of a `requirements.yaml`, where charts of the first version keep
    /// them.
    pub fn add_requirements(&mut self, text: &str) -> Result<()> {
        const FILE: &str = "requirements.yaml";
        let root = yaml::parse(text, FILE)?;
        if self.api_version == "v1" && !root.is_null() {
            self.dependencies = Fields::of(&root, FILE, "")?.each("dependencies", dependency)?;
        }
        Ok(())
    }

    /// Reads the config of a pushed chart, which anyone may have written: its name and its version
    /// become the names of files.
    pub fn from_config(bytes: &[u8]) -> Result<Self> {
        let chart: Self = serde_json::from_slice(bytes)
            .map_err(|err| Error::invalid("not the metadata of a chart").source(err))?;
        if !is_name(&chart.name) {
            return Err(Error::invalid("`name` of the chart is not what it must be")
                .expected(NAME)
                .found(format!("{:.80?}", chart.name)));
        }
        chart.tag().map_err(|err| err.context("`version` of the chart"))?;
        Ok(chart)
    }

    /// The version, which was checked.
    pub fn semantic(&self) -> Result<Version> {
        self.version.parse()
    }

    /// The tag of its version, with `_` for the `+` that no tag can have.
    pub fn tag(&self) -> Result<Tag> {
        self.semantic()?.tag()
    }

    /// What Helm calls the file of its archive.
    pub fn file_name(&self) -> String {
        format!("{}-{}.tgz", self.name, self.version)
    }

    /// The bytes of its config as Helm prints them.
    pub fn config(&self) -> Result<Vec<u8>> {
        go_json::print(self)
    }

    fn check(&self, fields: &Fields<'_>) -> Result<()> {
        if self.name.is_empty() {
            return Err(fields.missing("name", "the name of the chart"));
        }
        if !is_name(&self.name) {
            return Err(fields.wrong("name").expected(NAME));
        }
        if !matches!(self.api_version.as_str(), "v1" | "v2") {
            return Err(fields.wrong("apiVersion").expected("v1 or v2"));
        }
        if self.version.is_empty() {
            return Err(fields.missing("version", "a semantic version such as 1.2.3"));
        }
        if self.semantic().is_err() || self.tag().is_err() {
            return Err(fields.wrong("version").expected("a semantic version such as 1.2.3"));
        }
        if !matches!(self.kind.as_str(), "" | "application" | "library") {
            return Err(fields.wrong("type").expected("application or library"));
        }
        let mut names: Vec<&str> = self.dependencies.iter().map(Dependency::called).collect();
        names.sort_unstable();
        match names.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(fields
                .wrong("dependencies")
                .expected("each under a name or an alias of its own")
                .found(format!("{:.80?} twice", pair[0]))),
            None => Ok(()),
        }
    }
}

impl Dependency {
    fn called(&self) -> &str {
        if self.alias.is_empty() { &self.name } else { &self.alias }
    }
}

/// What a name must be.
const NAME: &str = "a name without `/` of at most 200 bytes";

fn is_name(name: &str) -> bool {
    let path = name.contains(['/', '\\', ':', '\0']) || matches!(name, "" | "." | "..");
    !path && !name.starts_with('-') && name.len() <= 200 && !name.contains(char::is_control)
}

fn maintainer(fields: &Fields<'_>) -> Result<Maintainer> {
    let text = |name| fields.text(name).map(|text| clean(&text));
    Ok(Maintainer { name: text("name")?, email: text("email")?, url: text("url")? })
}

fn dependency(fields: &Fields<'_>) -> Result<Dependency> {
    let text = |name| fields.text(name).map(|text| clean(&text));
    let alias = fields.text("alias")?;
    if !alias.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte)) {
        return Err(fields.wrong("alias").expected("letters, digits, `_` and `-`"));
    }
    Ok(Dependency {
        name: text("name")?,
        version: text("version")?,
        repository: text("repository")?,
        condition: text("condition")?,
        tags: fields.texts("tags")?.iter().map(|text| clean(text)).collect(),
        enabled: fields.truth("enabled")?,
        import_values: fields.json_list("import-values")?,
        alias,
    })
}

/// As Helm cleans texts: every space is a plain one, and what cannot be printed goes.
fn clean(text: &str) -> String {
    let spaced = text.chars().map(|c| if c.is_whitespace() { ' ' } else { c });
    spaced.filter(|c| !c.is_control()).collect()
}

/// A fault of a chart as a whole.
pub(crate) fn lacks(what: &str, where_: &str) -> Error {
    Error::invalid(format!("{where_} is no chart: {what} is missing"))
        .expected("Chart.yaml in the chart's folder")
}

#[cfg(test)]
mod tests;

//! Image configs. config.md: "Any OPTIONAL field MAY also be set to null, which is equivalent to
//! being absent."

use crate::lint::path::Path;
use crate::lint::rules::config as rules;
use crate::lint::tree::{Node, Object};
use crate::lint::{Linter, grammar};

/// The JSON type of a property.
#[derive(Clone, Copy)]
enum Type {
    String,
    Boolean,
    Integer,
    Object,
    Strings,
    /// `map[string]struct{}`
    Set,
}

/// What `config` of a config holds, apart from `Labels`.
const EXECUTION: [(&str, Type); 14] = [
    ("User", Type::String),
    ("ExposedPorts", Type::Set),
    ("Env", Type::Strings),
    ("Entrypoint", Type::Strings),
    ("Cmd", Type::Strings),
    ("Volumes", Type::Set),
    ("WorkingDir", Type::String),
    ("StopSignal", Type::String),
    ("ArgsEscaped", Type::Boolean),
    ("Memory", Type::Integer),
    ("MemorySwap", Type::Integer),
    ("CpuShares", Type::Integer),
    ("Healthcheck", Type::Object),
    ("Labels", Type::Object),
];

const HISTORY: [(&str, Type); 5] = [
    ("created", Type::String),
    ("author", Type::String),
    ("created_by", Type::String),
    ("comment", Type::String),
    ("empty_layer", Type::Boolean),
];

impl Linter<'_> {
    pub(in crate::lint) fn config(&mut self, object: &Object<'_>) {
        let root = &Path::Root;
        let missing = [&rules::ARCHITECTURE_MISSING, &rules::OS_MISSING];
        self.platform_members(object, root, missing, &rules::MEMBER_INVALID, true);
        self.members(object, root, &[("created", Type::String), ("author", Type::String)]);
        self.created(object, root);
        if let Some(config) = present(object, "config") {
            let at = &root.member("config");
            match config.object() {
                Some(config) => self.execution(config, at),
                None => self.wrong(&rules::MEMBER_INVALID, at, config),
            }
        }
        self.rootfs(object);
        if let Some(history) = present(object, "history") {
            self.history(history, &root.member("history"));
        }
    }

    fn execution(&mut self, config: &Object<'_>, at: &Path<'_>) {
        self.members(config, at, &EXECUTION);
        if let Some(labels) = present(config, "Labels").filter(|labels| labels.object().is_some()) {
            self.annotations(labels, &at.member("Labels"));
        }
        if let Some(ports) = config.get("ExposedPorts").and_then(Node::object) {
            let at = &at.member("ExposedPorts");
            for (port, _) in ports.0.iter().filter(|(port, _)| !grammar::is_port(port)) {
                self.report(&rules::EXPOSED_PORT_INVALID, &at.member(port));
            }
        }
        let env = config.get("Env").and_then(Node::array).unwrap_or_default();
        for (index, entry) in env.iter().enumerate() {
            // A name is not empty (rule U14).
            if entry.text().is_some_and(|text| text.find('=').is_none_or(|at| at == 0)) {
                self.wrong(&rules::ENV_INVALID, &at.member("Env").item(index), entry);
            }
        }
        if let Some(user) = config.get("User")
            && user.text().is_some_and(|text| !grammar::is_user(text))
        {
            self.wrong(&rules::USER_RANGE, &at.member("User"), user);
        }
        if let Some(user) = config.get("User")
            && user.text().is_some_and(|text| !text.is_empty() && !grammar::names_user(text))
        {
            self.wrong(&rules::USER_PARTS, &at.member("User"), user);
        }
        if let Some(signal) = config.get("StopSignal")
            && signal.text().is_some_and(|text| !text.is_empty() && !grammar::is_signal(text))
        {
            self.wrong(&rules::STOP_SIGNAL_INVALID, &at.member("StopSignal"), signal);
        }
        if let Some(node @ Node::Bool(true)) = config.get("ArgsEscaped") {
            self.wrong(&rules::ARGS_ESCAPED, &at.member("ArgsEscaped"), node);
        }
    }

    fn rootfs(&mut self, object: &Object<'_>) {
        let root = &Path::Root;
        let at = &root.member("rootfs");
        let Some(node) = object.get("rootfs") else {
            return self.missing(&rules::ROOTFS_MISSING, root);
        };
        let Some(rootfs) = node.object() else {
            return self.wrong(&rules::MEMBER_INVALID, at, node);
        };
        match rootfs.get("type") {
            None => self.missing(&rules::ROOTFS_TYPE_MISSING, at),
            Some(node) if node.text() == Some("layers") => {}
            Some(node) => self.wrong(&rules::ROOTFS_TYPE_UNKNOWN, &at.member("type"), node),
        }
        let ids = &at.member("diff_ids");
        match rootfs.get("diff_ids") {
            None => self.missing(&rules::DIFF_IDS_MISSING, at),
            Some(node) => match node.array() {
                None => self.wrong(&rules::DIFF_IDS_INVALID, ids, node),
                Some(items) => {
                    for (index, item) in items.iter().enumerate() {
                        self.digest(item, &ids.item(index));
                    }
                }
            },
        }
    }

    fn history(&mut self, node: &Node<'_>, at: &Path<'_>) {
        let Some(entries) = node.array() else {
            return self.wrong(&rules::MEMBER_INVALID, at, node);
        };
        for (index, entry) in entries.iter().enumerate() {
            let at = &at.item(index);
            match entry.object() {
                None => self.wrong(&rules::MEMBER_INVALID, at, entry),
                Some(entry) => {
                    self.members(entry, at, &HISTORY);
                    self.created(entry, at);
                }
            }
        }
    }

    fn created(&mut self, object: &Object<'_>, at: &Path<'_>) {
        if let Some(node) = object.get("created")
            && node.text().is_some_and(|text| !grammar::is_time(text))
        {
            self.wrong(&rules::CREATED_INVALID, &at.member("created"), node);
        }
    }

    /// Members that are there are of their types.
    fn members(&mut self, object: &Object<'_>, at: &Path<'_>, types: &[(&str, Type)]) {
        for (name, expected) in types {
            let Some(node) = present(object, name) else { continue };
            let at = at.member(name);
            match (expected, node) {
                (Type::Strings, Node::Array(items)) => {
                    for (index, item) in items.iter().enumerate() {
                        self.typed(item, Type::String, &at.item(index));
                    }
                }
                (Type::Set, Node::Object(members)) => {
                    for (name, value) in &members.0 {
                        self.typed(value, Type::Object, &at.member(name));
                    }
                }
                _ => self.typed(node, *expected, &at),
            }
        }
    }

    fn typed(&mut self, node: &Node<'_>, expected: Type, at: &Path<'_>) {
        let (sound, expected) = match expected {
            Type::String => (node.text().is_some(), "a string"),
            Type::Boolean => (matches!(node, Node::Bool(_)), "true or false"),
            Type::Integer => {
                (matches!(node, Node::Unsigned(_) | Node::Signed(_)), "a whole number")
            }
            Type::Object => (node.object().is_some(), "an object"),
            Type::Strings => (false, "an array of strings"),
            Type::Set => (false, "an object of empty objects"),
        };
        if !sound {
            let finding = self.report(&rules::MEMBER_INVALID, at);
            finding.expected = Some(expected.into());
            finding.found = Some(node.show());
        }
    }
}

/// A member that is there and not null.
fn present<'n, 'a>(object: &'n Object<'a>, name: &str) -> Option<&'n Node<'a>> {
    object.get(name).filter(|node| !node.is_null())
}

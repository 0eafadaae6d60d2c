//! Findings as SARIF 2.1.0, which code scanning services read.
//! <https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html>

use serde_json::{Value, json};

use conex_ops::json_file::Target;
use conex_ops::validate::{Finding, Report, Subject};
use conex_spec::lint::Rule;
use conex_spec::{Error, Location};

/// One log ("sarifLog", section 3.13) of one run (section 3.14). What could not be looked at is a
/// notification of the invocation (sections 3.20 and 3.58).
pub(super) fn log(reports: &[Report], failures: &[Error]) -> Value {
    let mut rules: Vec<&'static Rule> = Vec::new();
    let mut results = Vec::new();
    for report in reports {
        for finding in &report.findings {
            let index =
                rules.iter().position(|known| *known == finding.rule).unwrap_or_else(|| {
                    rules.push(finding.rule);
                    rules.len() - 1
                });
            results.push(result(&report.location, finding, index));
        }
    }
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "conex",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": rules.into_iter().map(descriptor).collect::<Vec<_>>(),
            }},
            "invocations": [{
                "executionSuccessful": failures.is_empty(),
                "toolExecutionNotifications": failures.iter().map(notification).collect::<Vec<_>>(),
            }],
            "results": results,
        }],
    })
}

fn notification(err: &Error) -> Value {
    json!({ "level": "error", "message": { "text": err.to_string() } })
}

/// "reportingDescriptor" (section 3.49).
fn descriptor(rule: &Rule) -> Value {
    json!({
        "id": rule.id,
        "shortDescription": { "text": rule.text },
        "fullDescription": { "text": rule.why },
        "help": { "text": rule.mend },
        "defaultConfiguration": { "level": rule.severity.as_str() },
        "properties": { "source": rule.source() },
    })
}

/// "result" (section 3.27). A blob in a registry is no file, so that its place is a logical one.
fn result(location: &Target, finding: &Finding, index: usize) -> Value {
    let name = format!("{}#{}", finding.subject, finding.pointer);
    let mut place = json!({
        "logicalLocations": [{ "fullyQualifiedName": name, "kind": "object" }],
        "physicalLocation": { "artifactLocation": { "uri": uri(location, &finding.subject) } },
    });
    if let Some(listed) = &finding.listed_in {
        place["message"] = json!({ "text": format!("listed in {listed}") });
    }
    json!({
        "ruleId": finding.rule.id,
        "ruleIndex": index,
        "level": finding.severity.as_str(),
        "message": { "text": message(finding) },
        "locations": [place],
    })
}

fn message(finding: &Finding) -> String {
    let mut text = finding.message.to_owned();
    for (name, value) in [("expected", &finding.expected), ("found", &finding.found)] {
        if let Some(value) = value {
            text += &format!("; {name} {value}");
        }
    }
    text + "."
}

/// A URI reference (RFC 3986): the file, or the location as it was typed.
fn uri(location: &Target, subject: &Subject) -> String {
    let text = match (location, subject) {
        (Target::File(path), _) => path.display().to_string(),
        (location, Subject::File(name)) => format!("{location}/{name}"),
        (Target::Location(Location::Registry(reference)), _) => format!("docker://{reference}"),
        (location, Subject::Content(_)) => location.to_string(),
    };
    // A colon in the first part of a relative path would make a scheme of it (RFC 3986, 4.2); that
    // of `oci:` is one.
    let is_path = matches!(location, Target::File(_));
    let first = text.split('/').next().unwrap_or_default();
    let text = if is_path && first.contains(':') { format!("./{text}") } else { text };
    let escaped = text.bytes().map(|b| match b {
        b if b.is_ascii_alphanumeric() || b"-._~/:@!$&'()*+,;=".contains(&b) => {
            char::from(b).to_string()
        }
        b => format!("%{b:02X}"),
    });
    escaped.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use conex_spec::lint::rules::content::MISSING;
    use conex_spec::{Digest, MediaType};

    #[test]
    fn names_of_files_are_escaped() {
        let file = Target::File("a b/ü%.json".into());
        assert_eq!(uri(&file, &Subject::File("x".into())), "a%20b/%C3%BC%25.json");
        let subject = Subject::Content(Digest::sha256(b""));
        for (target, expected) in [
            ("file:a:b.json", "./a:b.json"),
            ("[::1]:5000/x:1", "docker://%5B::1%5D:5000/x:1"),
            ("127.0.0.1:5000/x", "docker://127.0.0.1:5000/x"),
            ("x.io/a:1", "docker://x.io/a:1"),
            ("store:x.io/a:1", "store:x.io/a:1"),
        ] {
            assert_eq!(uri(&target.parse().unwrap(), &subject), expected);
        }
        let layout = "oci:./build:1".parse().unwrap();
        assert_eq!(uri(&layout, &Subject::Content(Digest::sha256(b""))), "oci:./build:1");
    }

    /// The objects of SARIF that are written here: by the section that defines each, its members and
    /// the sort of each, those that SHALL be there with a `!`. The schema allows no others.
    const OBJECTS: &[(&str, &[(&str, &str)])] = &[
        ("3.13 sarifLog", &[("version!", "2.1.0"), ("$schema", "uri"), ("runs!", "[3.14 run")]),
        (
            "3.14 run",
            &[
                ("tool!", "3.18 tool"),
                ("invocations", "[3.20 invocation"),
                ("results", "[3.27 result"),
            ],
        ),
        ("3.18 tool", &[("driver!", "3.19 toolComponent")]),
        (
            "3.19 toolComponent",
            &[("name!", "text"), ("version", "text"), ("rules", "[3.49 reportingDescriptor")],
        ),
        (
            "3.20 invocation",
            &[
                ("executionSuccessful!", "bool"),
                ("toolExecutionNotifications", "[3.58 notification"),
            ],
        ),
        ("3.58 notification", &[("message!", "3.11 message"), ("level", "level")]),
        (
            "3.49 reportingDescriptor",
            &[
                ("id!", "text"),
                ("shortDescription", "3.12 multiformatMessageString"),
                ("fullDescription", "3.12 multiformatMessageString"),
                ("help", "3.12 multiformatMessageString"),
                ("defaultConfiguration", "3.50 reportingConfiguration"),
                ("properties", "bag"),
            ],
        ),
        ("3.50 reportingConfiguration", &[("level", "level")]),
        (
            "3.27 result",
            &[
                ("ruleId", "text"),
                ("ruleIndex", "index"),
                ("level", "level"),
                ("message!", "3.11 message"),
                ("locations", "[3.28 location"),
            ],
        ),
        (
            "3.28 location",
            &[
                ("physicalLocation", "3.29 physicalLocation"),
                ("logicalLocations", "[3.33 logicalLocation"),
                ("message", "3.11 message"),
            ],
        ),
        ("3.29 physicalLocation", &[("artifactLocation", "3.4 artifactLocation")]),
        ("3.4 artifactLocation", &[("uri", "uri")]),
        ("3.33 logicalLocation", &[("fullyQualifiedName", "text"), ("kind", "kind")]),
        ("3.11 message", &[("text!", "text")]),
        ("3.12 multiformatMessageString", &[("text!", "text")]),
    ];

    fn check(value: &Value, sort: &str, at: &str) {
        if let Some(item) = sort.strip_prefix('[') {
            let items = value.as_array().unwrap_or_else(|| panic!("{at} is no array"));
            return items.iter().for_each(|value| check(value, item, at));
        }
        let is = |text: &[&str]| value.as_str().is_some_and(|value| text.contains(&value));
        let sound = match sort {
            "text" => value.as_str().is_some_and(|text| !text.is_empty()),
            "uri" => value.as_str().is_some_and(is_uri),
            "bool" => value.is_boolean(),
            "index" => value.is_u64(),
            "bag" => value.is_object(),
            "level" => is(&["none", "note", "warning", "error"]),
            // Section 3.33.7: for JSON and the like.
            "kind" => is(&["object", "array", "property", "value"]),
            "2.1.0" => is(&["2.1.0"]),
            object => return members(value, object, at),
        };
        assert!(sound, "{at} is no {sort}: {value}");
    }

    fn members(value: &Value, object: &str, at: &str) {
        let (_, known) = OBJECTS.iter().find(|(name, _)| *name == object).unwrap();
        let found = value.as_object().unwrap_or_else(|| panic!("{at} is no {object}"));
        for (name, sort) in *known {
            let plain = name.trim_end_matches('!');
            match found.get(plain) {
                Some(member) => check(member, sort, &format!("{at}/{plain}")),
                None => assert!(!name.ends_with('!'), "{at} has no {plain}"),
            }
        }
        for name in found.keys() {
            let is_known = known.iter().any(|(known, _)| known.trim_end_matches('!') == name);
            assert!(is_known, "{at}/{name} is no member of {object}");
        }
    }

    /// A URI or a relative reference (RFC 3986, 4.1), as far as its characters and colons tell.
    fn is_uri(text: &str) -> bool {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-._~/:@!$&'()*+,;=%#?".contains(&b);
        let first = text.split('/').next().unwrap_or_default();
        let scheme = first.split_once(':').is_none_or(|(scheme, _)| {
            scheme.starts_with(|c: char| c.is_ascii_alphabetic())
                && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
        });
        !text.is_empty() && text.bytes().all(allowed) && scheme
    }

    /// What the standard and its schema require of everything that is written.
    #[test]
    fn a_log_has_what_sarif_requires() {
        let subject = Subject::Content(Digest::sha256(b""));
        let finding = Finding {
            rule: &MISSING,
            severity: MISSING.severity,
            message: MISSING.text,
            section: MISSING.source(),
            subject,
            pointer: String::new(),
            listed_in: Some("index.json#/manifests/0".into()),
            expected: None,
            found: Some("nothing".into()),
        };
        let report = Report {
            location: "oci:x".parse().unwrap(),
            root: Some(conex_spec::Descriptor::of(MediaType::INDEX, b"")),
            checked: 1,
            bytes: 2,
            sound: false,
            errors: 2,
            warnings: 0,
            findings: vec![finding.clone(), finding],
        };
        let failure = Error::new(conex_spec::Kind::Network, "cannot connect").found("nothing");
        check(&log(&[], &[]), "3.13 sarifLog", "");
        let log = log(&[report], &[failure]);
        check(&log, "3.13 sarifLog", "");
        assert_eq!(log["runs"][0]["invocations"][0]["executionSuccessful"], false);
        let run = &log["runs"][0];
        assert_eq!(run["tool"]["driver"]["name"], "conex");
        assert_eq!(run["tool"]["driver"]["rules"].as_array().unwrap().len(), 1);
        for result in run["results"].as_array().unwrap() {
            assert_eq!(run["tool"]["driver"]["rules"][0]["id"], result["ruleId"]);
            assert_eq!((&result["ruleIndex"], &result["level"]), (&json!(0), &json!("error")));
            assert_eq!(
                result["message"]["text"],
                "content that is referred to must be there; found nothing."
            );
        }
    }
}

//! Findings as SARIF 2.1.0, which code scanning services read.
//! <https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html>

use serde_json::{Value, json};

use conex_ops::json_file::Target;
use conex_ops::validate::{Finding, Report, Subject};
use conex_spec::lint::Rule;

/// One log of one run.
pub(super) fn log(reports: &[Report]) -> Value {
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
            "invocations": [{ "executionSuccessful": true }],
            "results": results,
        }],
    })
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
        (location, Subject::Content(_)) => location.to_string(),
    };
    // A colon in the first part of a relative path would make a scheme of it; that of `oci:` is one.
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
        let layout = "oci:./build:1".parse().unwrap();
        assert_eq!(uri(&layout, &Subject::Content(Digest::sha256(b""))), "oci:./build:1");
    }

    /// What the schema of SARIF requires of a log, a run, a tool, a rule and a result.
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
        let log = log(&[report]);
        assert_eq!(log["version"], "2.1.0");
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

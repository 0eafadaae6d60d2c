use super::*;

const WHOLE: &str = "\
type: application
apiVersion: v2
appVersion: 6.10
name: wordpress
version: 1.2.3+build.7
home: https://wordpress.example/?a=1&b=2
sources: [https://git.example/wordpress]
keywords:
  - blog
  - 5
maintainers:
  - name: Ann
    email: ann@wordpress.example
    url: https://ann.example
kubeVersion: '>=1.25'
description: |
  A blog.
  And more.
icon: icon.png
deprecated: yes
unknown: {anything: goes}
annotations:
  z: 1
  artifacthub.io/images: |
    - name: wordpress
      image: registry.example/wordpress:6
dependencies:
  - name: mysql
    version: ^9
    repository: oci://registry.example/charts
    condition: mysql.enabled
    tags: [db]
    alias: db
    import-values:
      - data
      - {parent: p, child: c}
";

#[test]
fn a_whole_chart_prints_as_helm_prints_it() {
    let chart = Chart::parse(WHOLE).unwrap();
    assert_eq!(
        String::from_utf8(chart.config().unwrap()).unwrap(),
        concat!(
            r#"{"name":"wordpress","home":"https://wordpress.example/?a=1\u0026b=2","#,
            r#""sources":["https://git.example/wordpress"],"version":"1.2.3+build.7","#,
            r#""description":"A blog. And more. ","keywords":["blog","5"],"#,
            r#""maintainers":[{"name":"Ann","email":"ann@wordpress.example","url":"https://ann.example"}],"#,
            r#""icon":"icon.png","apiVersion":"v2","appVersion":"6.1","deprecated":true,"#,
            r#""annotations":{"artifacthub.io/images":"- name: wordpress\n  image: registry.example/wordpress:6\n","z":"1"},"#,
            r#""kubeVersion":"\u003e=1.25","dependencies":[{"name":"mysql","version":"^9","#,
            r#""repository":"oci://registry.example/charts","condition":"mysql.enabled","tags":["db"],"#,
            r#""import-values":["data",{"child":"c","parent":"p"}],"alias":"db"}],"type":"application"}"#
        )
    );
    assert_eq!(chart.tag().unwrap().as_str(), "1.2.3_build.7");
    assert_eq!(chart.file_name(), "wordpress-1.2.3+build.7.tgz");
    let read: Chart = serde_json::from_slice(&chart.config().unwrap()).unwrap();
    assert_eq!(read, chart);
}

#[test]
fn a_chart_of_old_keeps_its_requirements_elsewhere() {
    let mut chart = Chart::parse("name: a\nversion: 1").unwrap();
    assert_eq!(chart.api_version, "v1");
    chart.add_requirements("dependencies: [{name: b, version: '1'}]").unwrap();
    assert_eq!(chart.dependencies[0].name, "b");
    let config = String::from_utf8(chart.config().unwrap()).unwrap();
    assert!(config.ends_with(r#""dependencies":[{"name":"b","version":"1","repository":""}]}"#));
    let mut modern = Chart::parse("apiVersion: v2\nname: a\nversion: 1").unwrap();
    modern.add_requirements("dependencies: [{name: b}]").unwrap();
    assert!(modern.dependencies.is_empty());
    assert!(chart.add_requirements("dependencies: 1").is_err());
    chart.add_requirements("# none").unwrap();
}

#[test]
fn faults_name_line_field_and_what_is_expected() {
    for (text, message, expected, found) in [
        ("apiVersion: v2\nversion: 1.0.0\n", "line 1: `name` is missing", "the name", ""),
        ("name: a\n", "line 1: `version` is missing", "a semantic", ""),
        ("name:\nversion: 1.0.0\n", "line 1: `name` is missing", "the name", ""),
        ("name: a/b\nversion: 1.0.0\n", "line 1: `name` is not", "without `/`", "\"a/b\""),
        ("name: ..\nversion: 1.0.0\n", "line 1: `name` is not", "without `/`", "\"..\""),
        ("name: a\nversion: one\n", "line 2: `version` is not", "1.2.3", "\"one\""),
        ("name: a\nversion: 1\ntype: app\n", "line 3: `type` is not", "library", "\"app\""),
        ("name: a\nversion: 1\napiVersion: v3\n", "line 3: `apiVersion`", "v1 or v2", "\"v3\""),
        ("name: [a]\nversion: 1\n", "line 1: `name` is not", "text", "a list"),
        ("name: a\nversion: 1\nkeywords: b\n", "line 3: `keywords` is not", "a list", "text"),
        (
            "name: a\nversion: 1\nmaintainers:\n- name: x\n-\n",
            "line 5: `maintainers[1]` has no",
            "a mapping",
            "null",
        ),
        (
            "name: a\nversion: 1\nmaintainers:\n- name: [1]\n",
            "line 4: `maintainers[0].name` is not",
            "text",
            "a list",
        ),
        ("name: a\nversion: 1\ndeprecated: maybe\n", "line 3: `deprecated`", "true", "text"),
        ("name: a\nversion: 1\nannotations: {x: {}}\n", "`annotations.x`", "text", "a mapping"),
        (
            "name: a\nversion: 1\ndependencies:\n- {name: b}\n- {name: c, alias: b}\n",
            "`dependencies` is not",
            "a name or an alias of its own",
            "\"b\" twice",
        ),
        ("name: a\nversion: 1\ndependencies: [{alias: a b}]\n", "[0].alias`", "digits", "\"a b\""),
        ("- name\n", "line 1: it has no members", "a mapping", "a list"),
        ("", "line 1: it has no members", "a mapping", "null"),
        ("name: a\nversion: 1\n b: c: d\n", "not YAML", "", "column"),
    ] {
        let err = Chart::parse(text).unwrap_err();
        assert!(err.message().starts_with("Chart.yaml, line "), "{err}");
        assert!(err.message().contains(message), "{text}: {err}");
        assert!(err.expected_value().unwrap_or_default().contains(expected), "{text}: {err}");
        assert!(err.found_value().unwrap_or_default().contains(found), "{text}: {err}");
    }
}

#[test]
fn what_a_stranger_wrote_as_a_config_names_no_other_file() {
    for (config, part) in [
        (r#"{"name":"../x","version":"1.0.0"}"#, "`name`"),
        (r#"{"name":"..","version":"1.0.0"}"#, "`name`"),
        (r#"{"version":"1.0.0"}"#, "`name`"),
        (r#"{"name":"a","version":"../1"}"#, "`version`"),
        (r#"{"name":"a"}"#, "`version`"),
        (r#"{"name":1}"#, "not the metadata"),
    ] {
        let err = Chart::from_config(config.as_bytes()).unwrap_err();
        assert!(err.message().contains(part), "{config}: {err}");
    }
    assert!(Chart::from_config(br#"{"name":"a","version":"1.0.0","new":[1]}"#).is_ok());
}

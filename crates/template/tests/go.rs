//! What templates print: each pair is what Go's text/template prints of the same data.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use conex_spec::Kind;
use conex_template::{Limits, MAX_LENGTH, Template};
use serde_json::{Value, json};

fn data() -> Value {
    json!({
        "name": "app",
        "digest": "sha256:0123",
        "size": 1536,
        "half": 0.5,
        "on": true,
        "off": false,
        "zero": 0,
        "none": null,
        "emptyText": "",
        "emptyList": [],
        "os.version": "10.0",
        "list": ["a", "b", "c"],
        "numbers": [1, 2, 3],
        "mixed": [1, "x", null, [true]],
        "labels": {"b": "2", "a": "1"},
        "layers": [{"digest": "d1", "size": 1}, {"digest": "d2", "size": 2}],
        "config": {"Env": ["PATH=/bin"], "Cmd": null, "user": "me"},
        "platform": {"architecture": "arm", "os": "linux", "variant": "v7"},
        "rootfs": {"diff_ids": ["x"]},
        "odd": "<a href='b'>\u{1b}é&\"",
    })
}

fn check(table: &[(&str, &str)]) {
    let data = data();
    for (source, expected) in table {
        let printed = Template::parse(source)
            .and_then(|template| template.render(&data))
            .unwrap_or_else(|err| format!("error: {err}"));
        assert_eq!(printed, *expected, "{source}");
    }
}

#[test]
fn fields_and_values() {
    check(&[
        ("", ""),
        ("plain } text", "plain } text"),
        ("{{.name}}", "app"),
        ("{{ .Name }}", "app"),
        ("{{.size}} {{.half}} {{.on}}", "1536 0.5 true"),
        ("{{.OSVersion}} {{.RootFS.DiffIDs}}", "10.0 [x]"),
        ("{{.config.Env}} {{.Config.User}}", "[PATH=/bin] me"),
        ("{{.labels}} {{.list}} {{.mixed}}", "map[a:1 b:2] [a b c] [1 x <nil> [true]]"),
        ("{{.nope}} {{.none}} {{.nope.deeper}}", "<no value> <no value> <no value>"),
        ("{{.labels.a}} {{.labels.z}}", "1 <no value>"),
        ("{{(index .layers 1).digest}}", "d2"),
        ("{{(.config).user}} {{$.name}}", "app_".replace("app_", "me app").as_str()),
        ("{{1}} {{-3}} {{1.5}} {{'a'}} {{0x10}} {{true}}", "1 -3 1.5 97 16 true"),
        ("{{\"a\\tb\"}} {{`c\\d`}}", "a\tb c\\d"),
        (
            "{{.platform}} {{.Platform.OS}} {{printf \"%14s\" .platform}}",
            "linux/arm/v7 linux   linux/arm/v7",
        ),
        ("{{100000000.0}} {{123456.0}} {{1e-5}} {{1e3}}", "1e+08 123456 1e-05 1000"),
    ]);
}

#[test]
fn space_and_comments() {
    check(&[
        ("a {{- .name -}} b", "aappb"),
        ("a \n{{- 3}} {{3 -}}\n b", "a3 3b"),
        ("{{-3}}", "-3"),
        ("a{{/* no */}}b {{- /* no\n }} */ -}} c", "abc"),
        ("{{\n.name\n}}", "app"),
        ("{{.name\n|\nprintf \"%s!\"}}", "app!"),
    ]);
}

#[test]
fn branches() {
    check(&[
        ("{{if .on}}y{{else}}n{{end}} {{if .off}}y{{else}}n{{end}}", "y n"),
        ("{{if .zero}}1{{else if .emptyText}}2{{else if .emptyList}}3{{else}}4{{end}}", "4"),
        ("{{if .off}}1{{else if .size}}2{{else}}3{{end}}", "2"),
        ("{{if .nope}}y{{end}}|{{if .none}}y{{end}}", "|"),
        ("{{with .config}}{{.user}} {{$.name}}{{end}}", "me app"),
        ("{{with .nope}}y{{else}}{{.name}}{{end}}", "app"),
        ("{{with .nope}}1{{else with .config}}{{.user}}{{end}}", "me"),
        ("{{with $x := .size}}{{$x}}{{end}}", "1536"),
        ("{{if $x := .name}}{{$x}}{{else}}{{$x}}{{end}}", "app"),
    ]);
}

#[test]
fn loops() {
    check(&[
        ("{{range .list}}<{{.}}>{{end}}", "<a><b><c>"),
        ("{{range $v := .list}}{{$v}}{{end}}", "abc"),
        ("{{range $i, $v := .list}}{{$i}}{{$v}} {{end}}", "0a 1b 2c "),
        ("{{range .labels}}{{.}}{{end}}", "12"),
        ("{{range $k, $v := .labels}}{{$k}}={{$v}} {{end}}", "a=1 b=2 "),
        ("{{range .emptyList}}x{{else}}none{{end}}", "none"),
        ("{{range .nope}}x{{else}}{{.name}}{{end}}", "app"),
        ("{{range 3}}{{.}}{{end}} {{range $i := 2}}{{$i}}{{end}}", "012 01"),
        ("{{range .list}}{{if eq . \"b\"}}{{continue}}{{end}}{{.}}{{end}}", "ac"),
        ("{{range .list}}{{if eq . \"b\"}}{{break}}{{end}}{{.}}{{end}}", "a"),
        ("{{range .layers}}{{.Digest}}:{{.Size}} {{end}}", "d1:1 d2:2 "),
        ("{{range .layers}}{{range $.list}}{{.}}{{end}}{{end}}", "abcabc"),
        ("{{$n := 0}}{{range .numbers}}{{$n = .}}{{end}}{{$n}}", "3"),
        ("{{$n := 0}}{{range .numbers}}{{$n := .}}{{end}}{{$n}}", "0"),
        ("{{$n := 0}}{{range $n = .numbers}}{{end}}{{$n}}", "3"),
    ]);
}

#[test]
fn definitions() {
    check(&[
        (
            "{{define \"t\"}}[{{.}}]{{end}}{{template \"t\" .name}}{{template \"t\"}}",
            "[app][<no value>]",
        ),
        ("{{template \"t\" 1}}{{define \"t\"}}{{.}}{{end}}", "1"),
        ("{{block \"b\" .config}}{{.user}}{{end}}", "me"),
        ("{{define \"t\"}}{{$}}{{end}}{{template \"t\" 5}}{{$.name}}", "5app"),
        (
            "{{define \"down\"}}{{with .rest}}{{template \"down\" .}}{{else}}end{{end}}{{end}}{{template \"down\" .}}",
            "end",
        ),
    ]);
}

#[test]
fn comparisons_and_logic() {
    check(&[
        ("{{eq 1 1}} {{eq 1 2}} {{eq .name \"app\"}} {{eq 3 1 2 3}}", "true false true true"),
        ("{{ne 1 2}} {{lt 1 2}} {{le 2 2}} {{gt 1 2}} {{ge 2 2}}", "true true true false true"),
        (
            "{{lt \"a\" \"b\"}} {{eq .on true}} {{eq .nope nil}} {{eq .name nil}}",
            "true true true false",
        ),
        ("{{gt .size 1000}} {{lt .half 1}}", "true true"),
        ("{{and 1 0 2}} {{and 1 2}} {{or 0 \"\" 3}} {{or 0 \"\"}}", "0 2 3 "),
        ("{{not .on}} {{not .nope}}", "false true"),
        // The rest is not looked at.
        ("{{or true (index .list 99)}} {{and false (index .list 99)}}", "true false"),
        ("{{.on | and .size}} {{.off | or .zero}}", "true false"),
    ]);
}

#[test]
fn functions_of_go() {
    check(&[
        ("{{len .list}} {{len .name}} {{len .labels}} {{len .nope}}", "3 3 2 0"),
        ("{{index .list 1}} {{index .labels \"b\"}} {{index .layers 0 \"size\"}}", "b 2 1"),
        ("{{index .labels \"z\"}}|{{index .nope \"z\"}}|{{index .config \"z\"}}", "||<no value>"),
        (
            "{{slice .name 1}} {{slice .name 0 2}} {{slice .list 1 2}} {{slice .list 1}}",
            "pp ap [b] [b c]",
        ),
        ("{{print 1 2 \"x\" 3 4}}|{{println 1 \"x\"}}", "1 2x3 4|1 x\n"),
        (
            "{{print .nope}} {{print nil}} {{printf \"%v %s\" nil nil}}",
            "<nil> <nil> <nil> %!s(<nil>)",
        ),
        ("{{html .odd}}", "&lt;a href=&#39;b&#39;&gt;\u{1b}é&amp;&#34;"),
        ("{{js \"<a> 'b'=\\n\\\\\"}}", "\\u003Ca\\u003E \\'b\\'\\u003D\\u000A\\\\"),
        ("{{urlquery \"a b&c/é~\"}} {{html 1 2}}", "a+b%26c%2F%C3%A9~ 1 2"),
        ("{{\"x\" | printf \"%s-%s\" \"a\"}}", "a-x"),
        ("{{.list | len}} {{(len .list) | printf \"%02d\"}}", "3 03"),
    ]);
}

#[test]
fn functions_of_docker() {
    check(&[
        (
            "{{json .labels}} {{json .name}} {{json .nope}}",
            "{\"b\":\"2\",\"a\":\"1\"} \"app\" null",
        ),
        ("{{json .odd}}", "\"<a href='b'>\\u001bé&\\\"\""),
        ("{{join .list \", \"}} {{join .numbers \"+\"}} {{join .nope \",\"}}", "a, b, c 1+2+3 "),
        (
            "{{split \"a/b/c\" \"/\"}} {{index (split .digest \":\") 1}} {{len (split \"\" \"/\")}}",
            "[a b c] 0123 1",
        ),
        ("{{split \"aé\" \"\"}} {{json (split \"a,b\" \",\")}}", "[a é] [\"a\",\"b\"]"),
        ("{{lower \"AbÉ\"}} {{upper \"abé\"}} {{title \"big red-dog\"}}", "abé ABÉ Big Red-Dog"),
        ("<{{pad \"a\" 1 2}}> <{{pad \"\" 1 2}}>", "< a  > <>"),
        (
            "{{truncate \"abcé\" 4}} {{truncate \"abc\" 9}} {{truncate .digest 6}}",
            "abcé abc sha256",
        ),
        ("{{jsonPretty .emptyList}}{{prettyjson .numbers}}", "[][\n  1,\n  2,\n  3\n]"),
        ("{{.nope | default \"none\"}} {{.name | default \"none\"}}", "none app"),
        ("{{trimPrefix .digest \"sha256:\"}} {{trimSuffix .name \"x\"}}", "0123 app"),
    ]);
}

#[test]
fn verbs() {
    check(&[
        (
            "{{printf \"%d|%5d|%-5d|%05d|%+d|% d\" 42 42 42 42 42 42}}",
            "42|   42|42   |00042|+42| 42",
        ),
        (
            "{{printf \"%x %X %#x %o %#o %O %b %c %q %U\" 255 255 255 8 8 8 5 97 97 97}}",
            "ff FF 0xff 10 010 0o10 101 a 'a' U+0061",
        ),
        (
            "{{printf \"%s|%10s|%-10s|%.2s|%q|%x\" .name .name .name .name .name .name}}",
            "app|       app|app       |ap|\"app\"|617070",
        ),
        (
            "{{printf \"%q %+q %#q\" \"a\\n\\u00e9\\x1b\" \"\\u00e9\" \"raw\"}}",
            "\"a\\né\\x1b\" \"\\u00e9\" `raw`",
        ),
        (
            "{{printf \"%f %.2f %8.3f|%-8.2e %g %G\" 1.5 3.14159 3.14159 1234.5 1e6 1e-7}}",
            "1.500000 3.14    3.142|1.23e+03 1e+06 1E-07",
        ),
        ("{{printf \"%.3g %.3g %.1g %g\" 1234.0 100.0 0.00001 0.1}}", "1.23e+03 100 1e-05 0.1"),
        ("{{printf \"%t %v %T %T %T\" true nil 1 \"a\" 1.5}}", "true <nil> int string float64"),
        (
            "{{printf \"%v %d %s %q\" .list .numbers .list .list}}",
            "[a b c] [1 2 3] [a b c] [\"a\" \"b\" \"c\"]",
        ),
        ("{{printf \"%d %s %z\" \"x\" 1 true}}", "%!d(string=x) %!s(int=1) %!z(bool=true)"),
        (
            "{{printf \"%d %d\" 1}} {{printf \"%\"}} {{printf \"100%%\"}}",
            "1 %!d(MISSING) %!(NOVERB) 100%",
        ),
        ("{{printf \"a\" 1 nil \"x\"}}", "a%!(EXTRA int=1, <nil>, string=x)"),
        ("{{printf \"%[2]d %[1]d\" 1 2}} {{printf \"%[5]d\" 1}}", "2 1 %!d(BADINDEX)"),
        ("{{printf \"%*d|%-*d|%.*f\" 5 3 5 3 1 2.25}}", "    3|3    |2.2"),
        ("{{printf \"%05s|%6.2f|%06.2f|%+.1f\" \"ab\" 1.5 -1.5 2.0}}", "000ab|  1.50|-01.50|+2.0"),
        ("{{printf \"%#v %#v\" \"a\" .numbers}}", "\"a\" []interface {}{1, 2, 3}"),
    ]);
}

#[test]
fn mistakes_name_their_place() {
    for (source, place, part) in [
        ("{{.a", "line 1, column 1", "no end"),
        ("a\n  {{nope .a}}", "line 2, column 5", "unknown function"),
        ("é{{$x}}", "line 1, column 4", "unknown variable"),
        ("{{if .a}}", "line 1, column 1", "`if` has no end"),
        ("{{end}}", "line 1, column 1", "without a beginning"),
        ("{{else}}", "line 1, column 1", "without `if`"),
        ("{{if .a}}{{else}}{{else}}{{end}}", "column 18", "second `else`"),
        ("{{}}", "column 3", "missing value"),
        ("{{.a | }}", "column 8", "missing value"),
        ("{{1 | 2}}", "column 7", "leads into a value"),
        ("{{(1}}", "column 5", "expected an operand, `|` or `)`"),
        ("{{1)}}", "column 4", "expected an operand, `|` or `}}`"),
        ("{{\"a}}", "column 3", "string has no end"),
        ("{{'ab'}}", "column 3", "breaks the rules"),
        ("{{\"\\q\"}}", "column 3", "\\q"),
        ("{{99999999999999999999}}", "column 3", "fits"),
        ("{{.a!}}", "column 5", "white space after"),
        ("{{!}}", "column 3", "unexpected character"),
        ("{{1.a}}", "column 3", "not a number"),
        ("{{\"x\".a}}", "column 6", "has no fields"),
        ("{{break}}", "column 1", "not inside of `range`"),
        ("{{$x, $y := .a}}", "column 3", "one outside of `range`"),
        ("{{$x = 1}}", "column 3", "unknown variable"),
        ("{{with $x := 1}}{{end}}{{$x}}", "column 26", "unknown variable"),
        ("{{/* a}}", "column 1", "comment has no end"),
        ("{{/* a */ .b}}", "column 10", "does not fill"),
        ("{{define x}}{{end}}", "column 10", "a name in quotes"),
        ("{{if 1}}{{define \"x\"}}{{end}}{{end}}", "column 9", "inside of another"),
        ("{{template \"x\"}}", "column 1", "not defined"),
        ("{{nil}}", "column 3", "nil is no command"),
        ("{{.name.first}}", "column 3", "a value of type string"),
        ("{{.name 1}}", "column 9", "takes no arguments"),
        ("{{range .name}}{{end}}", "column 9", "found string"),
        ("{{index .list 3}}", "column 3", "expected less than 3, and not negative, found 3"),
        ("{{index .list -1}}", "column 3", "out of range"),
        ("{{index .name \"a\"}}", "column 3", "found string and string"),
        ("{{len 3}}", "column 3", "found int"),
        ("{{len}}", "column 3", "expected 1, found 0"),
        ("{{eq 1}}", "column 3", "at least 2"),
        ("{{eq 1 \"a\"}}", "column 3", "int and string"),
        ("{{lt .list .list}}", "column 3", "cannot be compared"),
        ("{{slice .name 2 1}}", "column 3", "wrong order"),
        ("{{slice \"é\" 1}}", "column 3", "cuts a character"),
        ("{{join .name \",\"}}", "column 3", "a list"),
        ("{{lower 1}}", "column 3", "a string"),
        ("{{pad \"a\" -1 1}}", "column 3", "not negative"),
    ] {
        let err =
            Template::parse(source).and_then(|template| template.render(&data())).unwrap_err();
        assert_eq!(err.kind(), Kind::Usage, "{source}");
        let shown = err.to_string();
        assert!(shown.contains(place) && shown.contains(part), "{source}: {shown}");
    }
}

#[test]
fn no_template_costs_more_than_its_limits() {
    let nested = |word: &str, count: usize| {
        format!("{}{}", format!("{{{{{word} 1}}}}").repeat(count), "{{end}}".repeat(count))
    };
    for source in [
        "x".repeat(MAX_LENGTH + 1),
        nested("if", 5000),
        format!("{{{{{}1{}}}}}", "(".repeat(5000), ")".repeat(5000)),
        format!("{{{{if 1}}}}{}{{{{end}}}}", "{{else if 1}}".repeat(4000)),
        "{{define \"t\"}}{{template \"t\" .}}{{end}}{{template \"t\" .}}".into(),
        "{{range 1000000000000}}{{end}}".into(),
        "{{range 9999}}{{range 9999}}{{range 9999}}{{end}}{{end}}{{end}}".into(),
        "{{range 1000000}}xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx{{end}}".into(),
        "{{$x := \"0123456789\"}}{{range 60}}{{$x = print $x $x}}{{end}}".into(),
        "{{range 100}}{{printf \"%1000000d\" 1}}{{end}}".into(),
        "{{range 1000}}{{$x := pad \"a\" 1000000 1000000}}{{end}}".into(),
        "{{pad \"a\" 9223372036854775807 9223372036854775807}}".into(),
        "{{$x := pad \"a\" 1000000 1000000}}{{range 1000}}{{$y := split $x \"\"}}{{end}}".into(),
        "{{$x := pad \"a\" 9000000 1}}{{html $x $x $x}}".into(),
    ] {
        let rendered = Template::parse(&source).and_then(|template| template.render(&data()));
        let shown: String = source.chars().take(60).collect();
        let kind = rendered.map_err(|err| err.kind());
        assert_eq!(kind, Err(Kind::Limit), "{shown}");
    }
}

#[test]
fn limits_are_the_callers() {
    let template = Template::parse("{{range 10}}x{{end}}").unwrap();
    let within =
        |steps, output| template.render_within(&Value::Null, Limits { steps, output, work: 0 });
    assert_eq!(within(100, 10).unwrap(), "xxxxxxxxxx");
    assert!(within(100, 9).is_err() && within(10, 10).is_err());
}

#[test]
fn what_is_typed_has_escapes_outside_of_actions() {
    let render = |source: &str| Template::parse_typed(source).unwrap().render(&data()).unwrap();
    assert_eq!(render(r#"a\tb\n{{.name}}\x\{{"\t"}}"#), "a\tb\napp\\x\\\t");
}

proptest::proptest! {
    /// Pieces of templates in any order: an error or a text, never a panic.
    #[test]
    fn any_words_are_survived(words in proptest::collection::vec(0..PIECES.len(), 0..40)) {
        let source: String = words.into_iter().map(|word| PIECES[word]).collect();
        let limits = Limits { steps: 10_000, output: 1 << 16, work: 1 << 16 };
        if let Ok(template) = Template::parse_typed(&source) {
            let _ = template.render_within(&data(), limits);
        }
    }

    #[test]
    fn any_format_is_survived(format in "[%a-zA-Z0-9.*+# \\[\\]-]{0,24}") {
        let source = format!("{{{{printf `{format}` .name .size .half .list .labels nil true}}}}");
        let limits = Limits { output: 1 << 20, work: 1 << 20, ..Limits::default() };
        let _ = Template::parse(&source).unwrap().render_within(&data(), limits);
    }
}

const PIECES: &[&str] = &[
    "{{",
    "}}",
    "{{- ",
    " -}}",
    "{{end}}",
    "{{else}}",
    "if ",
    "range ",
    "with ",
    "define ",
    "block ",
    "template ",
    "\"t\" ",
    "$x ",
    "$y",
    ", ",
    ":= ",
    "= ",
    "| ",
    "(",
    ")",
    ".",
    ".name",
    ".list ",
    " ",
    "index ",
    "slice ",
    "printf ",
    "len ",
    "eq ",
    "and ",
    "1 ",
    "-1 ",
    "0x",
    "1e",
    "'a'",
    "`",
    "\"",
    "\\n",
    "/*",
    "*/",
    "nil ",
    "true ",
    "break",
    "continue",
    "é",
    "split ",
    "join ",
    "\n",
    "\0",
];

//! Templates of `--format`, against programs that are written in Go.

use crate::support::program::{Conex, run, run_partner};
use crate::support::scratch::Scratch;

/// Templates that need no data, so that any program prints the same.
const ANYWHERE: &[&str] = &[
    r#"{{printf "%d|%5d|%-5d|%05d|%+d|% d|%x|%X|%#x|%o|%#o|%O|%b" 42 42 42 42 42 42 255 255 255 8 8 8 5}}"#,
    r#"{{printf "%s|%10s|%-10s|%.2s|%q|%x|%05s|%+q|%#q" "app" "app" "app" "app" "app" "app" "app" "é" "raw"}}"#,
    r#"{{printf "%f|%.2f|%8.3f|%-8.2e|%g|%G|%06.2f|%+.1f" 1.5 3.14159 3.14159 1234.5 1e6 1e-7 -1.5 2.0}}"#,
    r#"{{printf "%.3g %.3g %.1g %g %v %v" 1234.0 100.0 0.00001 0.1 123456789.0 1e20}}"#,
    r#"{{printf "%d %s %z %t" "x" 1 true 2}} {{printf "%d %d" 1}} {{printf "%"}} {{printf "%%"}}"#,
    r#"{{printf "a" 1 nil "x"}} {{printf "%[2]d %[1]d" 1 2}} {{printf "%[5]d" 1}} {{printf "%*d" 5 3}}"#,
    r#"{{printf "%v %s %T %T %T %#v" nil nil 1 "a" 1.5 "a"}} {{printf "%c %q %U %#U" 97 97 97 97}}"#,
    r#"{{print 1 2 "x" 3 4}}|{{print nil}}|{{true}} {{1.0}} {{'a'}} {{0x1F}} {{1_000}}"#,
    r#"{{html "<a href='b'>&\""}} {{js "<a> 'b'= \\ é"}} {{urlquery "a b&c/é~"}}"#,
    r#"{{and 1 0 2}} {{or 0 "" 3}} {{not 0}} {{eq 3 1 2 3}} {{ne 1 2}} {{lt 1 2}} {{le 2 2}} {{gt "b" "a"}} {{ge 1 2}}"#,
    r#"{{len "abcé"}} {{slice "abcdef" 1 3}} {{index "abc" 1}} {{"x" | printf "%s-%s" "a"}}"#,
    r#"{{$n := 0}}{{range $i, $c := split "a,b,c" ","}}{{$i}}={{$c}} {{$n = $i}}{{else}}none{{end}}{{$n}}"#,
    r#"{{if eq 1 2}}a{{else if eq 1 1}}b{{else}}c{{end}} {{with "w"}}{{.}}{{end}} {{with ""}}x{{else}}y{{end}}"#,
    r#"{{define "t"}}[{{.}}]{{end}}{{template "t" "x"}}{{block "b" 3}}<{{.}}>{{end}}"#,
    "a {{- /* no */ -}} b {{- 3 -}} c",
    r#"{{range split "a,b,c,d" ","}}{{if eq . "b"}}{{continue}}{{end}}{{if eq . "d"}}{{break}}{{end}}{{.}}{{end}}"#,
    r#"{{join (split "a/b/c" "/") ", "}} {{lower "AbÉ"}} {{upper "abé"}} {{title "big red"}} <{{pad "a" 1 2}}>"#,
    r#"{{json "a<b>\"é"}} {{json (split "a,b" ",")}} {{truncate "abcdef" 3}}"#,
];

/// Templates of what skopeo and conex both know of an image.
const OF_AN_IMAGE: &[&str] = &[
    "{{.Digest}}",
    "{{.Os}}/{{.Architecture}}",
    "{{.Labels}} {{.Labels.a}}",
    r#"{{index .Labels "a"}}|{{index .Labels "nope"}}|"#,
    "{{.Env}} {{range $i, $e := .Env}}{{$i}}:{{$e}} {{end}}{{len .Env}}",
    "{{len .Layers}} {{len .RepoTags}}",
    "{{.Layers}} {{index .Layers 0}} {{range .Layers}}<{{.}}>{{end}}",
    "{{.Name}}|{{.RepoTags}}",
    r#"{{with .Labels}}{{range $name, $value := .}}{{printf "%-4s=%q " $name $value}}{{end}}{{end}}"#,
];

/// The same where the image sets nothing of it.
const OF_A_BARE_IMAGE: &[&str] = &[
    "{{.Env}} {{.Labels}} {{.RepoTags}} <{{.Name}}> {{len .Layers}}",
    "{{range .Env}}x{{else}}none{{end}}",
];

/// Templates of what podman calls an image's members, as docker does.
const OF_A_LOADED_IMAGE: &[&str] = &[
    "{{.RootFS.Layers}} {{len .RootFS.Layers}} {{index .RootFS.Layers 0}} {{.RootFS.Type}}",
    "{{.Architecture}} {{.Os}} <{{.Author}}>",
    "{{.Config.Env}} {{range .Config.Env}}{{println .}}{{end}}",
    "{{.Config.Cmd}} {{.Config.Entrypoint}} <{{.Config.User}}> <{{.Config.WorkingDir}}>",
    "{{.Config.Labels}} {{.Labels}} {{index .Config.Labels \"a\"}}",
    "{{json .Config.Env}} {{json .RootFS.Layers}}",
];

/// Of an image that podman has, both print the same.
pub fn podman_inspects_the_same() {
    let scratch = Scratch::new("pod");
    let (conex, image) = packed(&scratch);
    let podman = |args: &[&str]| run(crate::podman::podman(&scratch).args(args));
    let file = scratch.arg("image.tar");
    conex.ok(&["copy", &image, &format!("docker-archive:{file}:localhost/app:1")]);
    podman(&["load", "--input", &file]);
    for template in OF_A_LOADED_IMAGE {
        let theirs = podman(&["image", "inspect", "--format", template, "localhost/app:1"]);
        assert_same(&conex, &image, template, &theirs);
    }
}

pub fn podman_prints_the_same() {
    let scratch = Scratch::new("templates-podman");
    let (conex, image) = packed(&scratch);
    for template in ANYWHERE {
        let theirs = run_partner("podman", &["version", "--format", template]);
        assert_same(&conex, &image, template, &theirs);
    }
}

pub fn skopeo_prints_the_same() {
    let scratch = Scratch::new("templates-skopeo");
    let (conex, image) = packed(&scratch);
    for template in OF_AN_IMAGE {
        let theirs = run_partner("skopeo", &["inspect", "--format", template, &image]);
        assert_same(&conex, &image, template, &theirs);
    }
    let bare = format!("oci:{}:bare", scratch.arg("layout"));
    conex.ok(&["pack", &scratch.arg("tree"), &bare]);
    for template in OF_A_BARE_IMAGE {
        let theirs = run_partner("skopeo", &["inspect", "--format", template, &bare]);
        assert_same(&conex, &bare, template, &theirs);
    }
    let raw = run_partner("skopeo", &["inspect", "--raw", &image]);
    assert_eq!(conex.ok(&["inspect", "--raw", &image]), raw);
    let config = run_partner("skopeo", &["inspect", "--raw", "--config", &image]);
    assert_eq!(conex.ok(&["inspect", "--raw", "--config", &image]), config);
}

fn packed(scratch: &Scratch) -> (Conex, String) {
    let conex = Conex::new(scratch);
    std::fs::write(scratch.folder("tree").join("file"), "x").unwrap();
    let image = format!("oci:{}:1", scratch.arg("layout"));
    let options = ["--label=a=1", "--env=A=1", "--env=B=<&>"];
    conex.ok(&[&["pack", &scratch.arg("tree"), &image], &options[..]].concat());
    (conex, image)
}

fn assert_same(conex: &Conex, image: &str, template: &str, theirs: &str) {
    let ours = conex.ok(&["inspect", "--format", template, image]);
    assert_eq!(ours.trim_end_matches('\n'), theirs.trim_end_matches('\n'), "{template}");
}

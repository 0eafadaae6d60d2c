//! Completion by real shells, and the manual.

use std::fs;
use std::process::Command;

use crate::support::daemon::Registry;
use crate::support::program::{Conex, run};
use crate::support::scratch::Scratch;

/// What bash offers for a line with the cursor at its end.
fn offered(conex: &Conex, scratch: &Scratch, line: &str) -> Vec<String> {
    let script = r#"
        source <("$CONEX" completion bash)
        PATH="${CONEX%/*}:$PATH"
        COMP_LINE="$1" COMP_POINT=${#1}
        _conex
        printf '%s\n' "${COMPREPLY[@]}"
    "#;
    let mut command = Command::new("bash");
    command.args(["--norc", "-c", script, "bash", line]).current_dir(scratch.path());
    command.env("CONEX", env!("CARGO_BIN_EXE_conex")).env("CONEX_STORE", conex.store());
    command.env("DOCKER_CONFIG", conex.config());
    let output = command.output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

pub fn commands_options_and_places() {
    let scratch = Scratch::new("complete");
    let conex = Conex::new(&scratch);
    crate::names::layout(&scratch, &conex);
    conex.ok(&["copy", &format!("oci:{}:1.0", scratch.arg("layout")), "store:r.example/app:1"]);
    let offered = |line: &str| offered(&conex, &scratch, line);
    assert_eq!(offered("conex ta"), ["tag", "tags"]);
    assert_eq!(offered("conex tags --so"), ["--sort"]);
    // Options before the command are words of the line, and not those of who completes it.
    assert_eq!(offered("conex --sto"), ["--store"]);
    assert_eq!(offered("conex --format json --plain-http tags --so"), ["--sort"]);
    assert_eq!(offered("conex digest -- oci:lay"), ["layout:"]);
    fs::create_dir(scratch.join("laystuff")).unwrap();
    assert_eq!(offered("conex pack lay"), ["layout/", "laystuff/"]);
    fs::remove_dir(scratch.join("laystuff")).unwrap();
    assert_eq!(offered("conex tags --sort "), ["date", "name", "size", "version"]);
    // bash replaces what stands after the last `=` or colon.
    assert_eq!(offered("conex tags --sort=d"), ["date"]);
    assert_eq!(offered("conex manifest "), ["delete", "get", "put"]);
    assert_eq!(offered("conex copy oci:lay"), ["layout:"]);
    assert_eq!(offered("conex copy oci:layout:1.1"), ["1.10"]);
    assert_eq!(offered("conex copy store:r.example/app:"), ["1"]);
    assert_eq!(offered("conex inspect r.ex"), ["r.example/app:"]);
    assert!(offered("conex copy oci:nowhere:").is_empty());
    assert!(offered("conex frobnicate --x ").len() < 60);
    assert!(offered("conex ").contains(&"copy".to_owned()));
}

pub fn fish_offers_the_same() {
    let scratch = Scratch::new("complete-fish");
    let conex = Conex::new(&scratch);
    crate::names::layout(&scratch, &conex);
    let script = r#"
        set PATH (path dirname $CONEX) $PATH
        conex completion fish | source
        complete -C $argv[1]
    "#;
    for (line, expected) in [
        ("conex tags --so", "--sort\n"),
        ("conex copy oci:lay", "oci:layout:\n"),
        ("conex copy oci:layout:1.1", "oci:layout:1.10\n"),
    ] {
        let mut command = Command::new("fish");
        command.args(["--no-config", "-c", script, line]).current_dir(scratch.path());
        command.env("CONEX", env!("CARGO_BIN_EXE_conex")).env("HOME", scratch.path());
        assert_eq!(run(&mut command), expected, "{line}");
    }
}

/// Its completion needs a terminal; here, that it can read the script.
pub fn zsh_reads_its_script() {
    let scratch = Scratch::new("complete-zsh");
    let conex = Conex::new(&scratch);
    fs::write(scratch.join("_conex"), conex.ok(&["completion", "zsh"])).unwrap();
    run(Command::new("zsh").args(["-f", "-n"]).arg(scratch.join("_conex")));
}

pub fn live_tags() {
    let scratch = Scratch::new("live");
    let conex = Conex::new(&scratch);
    let registry = Registry::start(&scratch);
    let place = crate::names::layout(&scratch, &conex);
    crate::names::push(&conex, &place, &registry.image("app"));
    let line = format!("conex inspect {}:1.", registry.image("app"));
    assert_eq!(offered(&conex, &scratch, &line), ["1.0", "1.10", "1.9"]);
    // Nobody is there, or nobody who was ever asked: nothing is said, and soon.
    for line in ["conex inspect 127.0.0.1:1/app:", "conex inspect stranger.example/app:"] {
        assert!(offered(&conex, &scratch, line).is_empty());
    }
}

pub fn logins_and_what_their_registries_hold() {
    let scratch = Scratch::new("logins");
    let conex = Conex::new(&scratch);
    let registry = Registry::start(&scratch);
    let place = crate::names::layout(&scratch, &conex);
    crate::names::push(&conex, &place, &registry.image("team/app"));
    let host = registry.image("").trim_end_matches('/').to_owned();
    let port = host.rsplit_once(':').unwrap().1.to_owned();
    // `u:p`
    let login = serde_json::json!({"auth": "dTpw"});
    let auths = serde_json::json!({"auths": {host.as_str(): login, "r.example/team": login}});
    fs::write(conex.config().join("config.json"), auths.to_string()).unwrap();
    let offered = |line: &str| offered(&conex, &scratch, line);
    assert_eq!(offered("conex logout "), [host.as_str(), "r.example/team"]);
    assert_eq!(offered("conex logout r"), ["r.example/team"]);
    assert_eq!(offered("conex auth check r"), ["r.example/team"]);
    assert_eq!(offered("conex login r"), ["r.example/team"]);
    assert_eq!(offered("conex copy r.e"), ["r.example/team/"]);
    assert_eq!(offered("conex repos r"), ["r.example"]);
    assert_eq!(offered(&format!("conex copy {host}/te")), [format!("{port}/team/app:")]);
    // What takes no tag is offered none.
    assert_eq!(offered(&format!("conex tags {host}/te")), [format!("{port}/team/app")]);
    assert!(offered(&format!("conex tags {host}/team/app:")).is_empty());
    assert_eq!(offered("conex tags oci:lay"), ["layout"]);
    assert!(offered("conex tags oci:layout:").is_empty());
    assert_eq!(offered("conex gc oci:lay"), ["layout"]);
    assert_eq!(offered("conex copy --all-tags oci:lay"), ["layout"]);
}

pub fn pages_of_the_manual() {
    let scratch = Scratch::new("man");
    let conex = Conex::new(&scratch);
    conex.ok(&["man", "--output", &scratch.arg("pages")]);
    let page = |name: &str| fs::read_to_string(scratch.join("pages").join(name)).unwrap();
    assert!(page("conex.1").contains(".SH \"EXIT CODES\""));
    let copy = page("conex-copy.1");
    for part in [".TH conex-copy", ".SH \"EXAMPLES\"", "conex copy alpine", ".SH \"EXIT STATUS\""] {
        assert!(copy.contains(part), "{part}\n{copy}");
    }
    let title = format!(".TH conex-copy 1  \"conex {}\"", env!("CARGO_PKG_VERSION"));
    assert!(copy.contains(&title), "{copy}");
    assert!(page("conex-manifest-get.1").contains("conex manifest get alpine"));
    assert!(!scratch.join("pages/conex-__complete.1").exists());
}

use super::*;
use crate::document::Document;

fn parse(json: &str) -> Result<Document<ImageConfig>> {
    Document::parse(json.to_owned())
}

#[test]
fn nulls_and_missing_members_are_absent() {
    let config = parse(
        r#"{"config":{"Cmd":null,"Labels":null,"Env":["A=1"]},"history":null,"rootfs":null}"#,
    )
    .unwrap();
    assert_eq!(config.config.as_ref().unwrap().env, ["A=1"]);
    assert!(config.diff_ids(0).is_ok());
}

#[test]
fn dockers_members_survive_an_edit() {
    let json = r#"{"architecture":"amd64","config":{"Healthcheck":{"Test":["CMD"]},"Shell":["/bin/sh"]},"os":"linux","rootfs":{"type":"layers","diff_ids":[]},"container_config":{}}"#;
    let edited = parse(json).unwrap().edit(|config| config.os = "windows".into()).unwrap();
    assert_eq!(edited.bytes(), json.replace("linux", "windows").as_bytes());
}

#[test]
fn diff_ids_must_fit_the_layers() {
    let digest = Digest::sha256(b"");
    let json = |kind: &str| {
        format!(
            r#"{{"rootfs":{{"type":"{kind}","diff_ids":["{digest}"]}},"history":[{{}},{{"empty_layer":true}}]}}"#
        )
    };
    let config = parse(&json("layers")).unwrap();
    assert_eq!(config.diff_ids(1).unwrap(), std::slice::from_ref(&digest));
    assert!(config.diff_ids(2).is_err());
    assert!(parse(&json("snapshots")).unwrap().diff_ids(1).is_err());
    assert!(parse(&json("layers").replace("{},", "{},{},")).unwrap().diff_ids(1).is_err());
}

/// A config as Docker's engine writes it, with members that only it has.
const DOCKER: &str = r#"{"architecture":"amd64","config":{"Hostname":"","Domainname":"","User":"","AttachStdin":false,"ExposedPorts":{"80/tcp":{}},"Tty":false,"Env":["PATH=/bin"],"Cmd":null,"Healthcheck":{"Test":["CMD-SHELL","true"],"Interval":30000000000,"Retries":3,"Odd":[1.50]},"ArgsEscaped":true,"Image":"sha256:0","Volumes":null,"WorkingDir":"","Entrypoint":["/x"],"OnBuild":["RUN true"],"Labels":{"b":"1","a":"2"},"Shell":["/bin/sh","-c"],"StopTimeout":10,"Memory":0},"container":"7","container_config":{"Cmd":[]},"created":"2020-01-01T00:00:00Z","docker_version":"19.03.8","history":[{"created":"2020-01-01T00:00:00Z","created_by":"x","empty_layer":true}],"os":"linux","parent":"sha256:1","rootfs":{"type":"layers","diff_ids":[]},"moby.buildkit.buildinfo.v1":"e30="}"#;

#[test]
fn what_docker_adds_is_modelled() {
    let config = parse(DOCKER).unwrap();
    let execution = config.config.as_ref().unwrap();
    let healthcheck = execution.healthcheck.as_ref().unwrap();
    assert_eq!(healthcheck.test, ["CMD-SHELL", "true"]);
    assert_eq!((healthcheck.interval, healthcheck.retries), (Some(30_000_000_000), Some(3)));
    assert_eq!((execution.args_escaped, execution.memory), (Some(true), Some(0)));
    assert_eq!((execution.stop_timeout, execution.memory_swap), (Some(10), None));
    assert_eq!(
        (&execution.shell[..], &execution.on_build[..]),
        (&["/bin/sh".to_owned(), "-c".to_owned()][..], &["RUN true".to_owned()][..])
    );
    assert_eq!(execution.extra["AttachStdin"], false);
    assert_eq!(config.extra["docker_version"], "19.03.8");
}

#[test]
fn an_edit_changes_one_member_and_no_other_character() {
    let edited = parse(DOCKER)
        .unwrap()
        .edit(|config| {
            let execution = config.config.as_mut().unwrap();
            execution.env.push("A=b".into());
            execution.cmd = vec!["run".into()];
            execution.labels.shift_remove("b");
        })
        .unwrap();
    let expected = DOCKER
        .replace(r#"["PATH=/bin"]"#, r#"["PATH=/bin","A=b"]"#)
        .replace(r#""Cmd":null"#, r#""Cmd":["run"]"#)
        .replace(r#""b":"1","#, "");
    assert_eq!(std::str::from_utf8(edited.bytes()).unwrap(), expected);
}

#[test]
fn one_word_may_be_a_string() {
    let config = parse(r#"{"config":{"Entrypoint":"/x","Cmd":["a"],"Shell":null}}"#).unwrap();
    let execution = config.config.as_ref().unwrap();
    assert_eq!((&execution.entrypoint[..], execution.shell.len()), (&["/x".to_owned()][..], 0));
    for odd in [r#""Cmd":1"#, r#""Cmd":[1]"#, r#""Memory":"1g""#, r#""Env":"A=b""#, r#""cmd":[]"#] {
        assert!(parse(&format!(r#"{{"config":{{{odd}}}}}"#)).is_err(), "{odd}");
    }
}

#[test]
fn chain_ids_name_stacks_of_layers() {
    let [a, b] = ["a", "b"].map(|text| Digest::sha256(text.as_bytes()));
    let rootfs = RootFs { diff_ids: vec![a.clone(), b.clone()], ..RootFs::default() };
    let ab = Digest::sha256(format!("{a} {b}").as_bytes());
    assert_eq!(rootfs.chain_ids(), [a, ab]);
    assert!(RootFs::default().chain_ids().is_empty());
}

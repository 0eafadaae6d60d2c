//! The config of an image as the `config.json` of a runtime bundle. image-spec, conversion.md;
//! the other document is that of the OCI runtime specification.

use indexmap::IndexMap;
use serde_json::{Value, json};

use conex_layer::{IdRange, Ids, Root};
use conex_spec::config::Execution;
use conex_spec::{Error, ImageConfig, Result};

use crate::user;

/// Where programs are looked for in an image that does not say.
const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// What a container's root may do; what Docker and Podman give as well.
const CAPABILITIES: [&str; 11] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_NET_BIND_SERVICE",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
];

/// Converts a config; names of users are looked up in the unpacked tree. With maps of user and group
/// numbers the container gets a user namespace.
pub fn runtime_config(config: &ImageConfig, root: &Root, ids: &Ids) -> Result<Value> {
    let execution = config.config.clone().unwrap_or_default();
    let mut user = user::find(&execution.user, root)?;
    if ids.remember {
        // Who has no privilege may not set groups, user_namespaces(7).
        user.additional_gids.clear();
    }
    let mut made = json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": false,
            "user": user,
            "args": args(&execution),
            "env": env(&execution)?,
            "cwd": working_dir(&execution),
            "capabilities": {
                "bounding": CAPABILITIES,
                "effective": CAPABILITIES,
                "permitted": CAPABILITIES,
            },
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": true,
        },
        "root": {"path": "rootfs", "readonly": false},
        "hostname": "conex",
        "mounts": mounts(&execution, ids)?,
        "annotations": annotations(config, &execution),
        "linux": {
            "resources": {"devices": [{"allow": false, "access": "rwm"}]},
            "namespaces": namespaces(),
            "maskedPaths": [
                "/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/sched_debug",
                "/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/sys/firmware",
            ],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        },
    });
    add_user_namespace(&mut made["linux"], ids);
    Ok(made)
}

/// Runtime specification, config-linux.md, "User namespace mappings".
fn add_user_namespace(linux: &mut Value, ids: &Ids) {
    if ids.users.is_empty() && ids.groups.is_empty() {
        return;
    }
    for (name, map) in [("uidMappings", &ids.users), ("gidMappings", &ids.groups)] {
        let range = |range: IdRange| json!({"containerID": range.container, "hostID": range.host, "size": range.size});
        linux[name] = map.ranges().map(range).collect();
    }
    if let Some(namespaces) = linux["namespaces"].as_array_mut() {
        namespaces.push(json!({"type": "user"}));
    }
    if ids.remember
        && let Some(linux) = linux.as_object_mut()
    {
        // Without privilege there are no cgroups to be given limits.
        linux.remove("resources");
    }
}

/// "the converter MUST append the value of `Config.Cmd` to the value of `Config.Entrypoint`".
fn args(execution: &Execution) -> Vec<&str> {
    let args: Vec<_> =
        execution.entrypoint.iter().chain(&execution.cmd).map(String::as_str).collect();
    if args.is_empty() { vec!["sh"] } else { args }
}

/// A variable without a name once leaked the host's (rule U14).
fn env(execution: &Execution) -> Result<Vec<&str>> {
    let named = |variable: &&String| variable.find('=').is_none_or(|at| at == 0);
    if let Some(bad) = execution.env.iter().find(named) {
        return Err(Error::invalid("environment of the image makes no sense")
            .expected("NAME=VALUE")
            .found(format!("{bad:?}")));
    }
    let mut env: Vec<_> = execution.env.iter().map(String::as_str).collect();
    // "The converter MAY add additional entries to `process.env`", never one that is there.
    if !env.iter().any(|variable| variable.starts_with("PATH=")) {
        env.push(DEFAULT_PATH);
    }
    Ok(env)
}

/// A runtime wants an absolute folder.
fn working_dir(execution: &Execution) -> String {
    format!("/{}", execution.working_dir.trim_start_matches('/'))
}

fn namespaces() -> Vec<Value> {
    ["pid", "network", "ipc", "uts", "mount"].iter().map(|kind| json!({"type": kind})).collect()
}

fn mounts(execution: &Execution, ids: &Ids) -> Result<Vec<Value>> {
    let mount = |destination: &str, kind: &str, options: &[&str]| json!({"destination": destination, "type": kind, "source": kind, "options": options});
    let mut terminals =
        vec!["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"];
    // The group of terminals may not exist in there.
    terminals.retain(|option| *option != "gid=5" || ids.groups.host(5).is_some());
    let mut mounts = vec![
        mount("/proc", "proc", &["nosuid", "noexec", "nodev"]),
        mount("/dev", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount("/dev/pts", "devpts", &terminals),
        mount("/dev/shm", "tmpfs", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
        mount("/dev/mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
        mount("/sys", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
    ];
    // "Implementations SHOULD provide mounts for these locations" (conversion.md, "Optional Fields").
    for volume in execution.volumes.keys() {
        mounts.push(mount(check_volume(volume)?, "tmpfs", &["nosuid", "nodev", "mode=755"]));
    }
    Ok(mounts)
}

/// A volume must not cover what the runtime itself mounts (rule U13).
fn check_volume(volume: &str) -> Result<&str> {
    let mut parts = volume.strip_prefix('/').unwrap_or_default().trim_end_matches('/').split('/');
    let clean = parts.clone().all(|part| !matches!(part, "" | "." | ".."));
    if clean && !matches!(parts.next(), Some("proc" | "sys" | "dev")) {
        return Ok(volume);
    }
    Err(Error::invalid("volume of the image makes no sense")
        .expected("an absolute folder outside of /proc, /sys and /dev")
        .found(format!("{volume:?}")))
}

/// Annotations that runtimes obey. A label is data, and must start nothing on the host (rule U14).
const OBEYED: [&str; 4] = ["run.oci.", "org.systemd.", "org.criu.", "io.podman."];

/// Implicit annotations, over which the labels of the image take precedence.
fn annotations(config: &ImageConfig, execution: &Execution) -> IndexMap<String, String> {
    let ports: Vec<_> = execution.exposed_ports.keys().map(String::as_str).collect();
    let implicit = [
        ("os", Some(config.os.clone())),
        ("architecture", Some(config.architecture.clone())),
        ("variant", config.variant.clone()),
        ("os.version", config.os_version.clone()),
        ("os.features", Some(config.os_features.join(","))),
        ("author", config.author.clone()),
        ("created", config.created.clone()),
        ("stopSignal", execution.stop_signal.clone()),
        ("exposedPorts", Some(ports.join(","))),
    ];
    let mut annotations: IndexMap<_, _> = implicit
        .into_iter()
        .filter_map(|(name, value)| Some((name, value.filter(|value| !value.is_empty())?)))
        .map(|(name, value)| (format!("org.opencontainers.image.{name}"), value))
        .collect();
    let harmless =
        |name: &str| !name.is_empty() && !OBEYED.iter().any(|start| name.starts_with(start));
    let labels = execution.labels.iter().filter(|(name, _)| harmless(name));
    annotations.extend(labels.map(|(name, value)| (name.clone(), value.clone())));
    annotations
}

#[cfg(test)]
mod tests {
    use super::*;
    use conex_spec::Document;

    fn convert(json: &str) -> Result<Value> {
        let dir = tempfile::tempdir().unwrap();
        let config = Document::<ImageConfig>::parse(json.to_owned()).unwrap();
        runtime_config(&config, &Root::open(dir.path()).unwrap(), &Ids::default())
    }

    #[test]
    fn verbatim_fields() {
        let config = convert(
            r#"{"os":"linux","architecture":"amd64","config":{"Entrypoint":["/app","-v"],"Cmd":["serve"],
            "Env":["A=1=2","B="],"WorkingDir":"srv","User":"5:6","Volumes":{"/data":{}},"ExposedPorts":{"80/tcp":{},"53/udp":{}},
            "Labels":{"org.opencontainers.image.os":"mine","x":"y"},"StopSignal":"SIGUSR1"}}"#,
        )
        .unwrap();
        let process = &config["process"];
        assert_eq!(process["args"], json!(["/app", "-v", "serve"]));
        assert_eq!(process["env"], json!(["A=1=2", "B=", DEFAULT_PATH]));
        assert_eq!(process["cwd"], "/srv");
        assert_eq!(process["user"], json!({"uid": 5, "gid": 6}));
        assert_eq!(config["mounts"][6]["destination"], "/data");
        let annotations = &config["annotations"];
        assert_eq!(annotations["org.opencontainers.image.os"], "mine");
        assert_eq!(annotations["org.opencontainers.image.architecture"], "amd64");
        assert_eq!(annotations["org.opencontainers.image.stopSignal"], "SIGUSR1");
        assert_eq!(annotations["org.opencontainers.image.exposedPorts"], "80/tcp,53/udp");
        assert_eq!(annotations["x"], "y");
        assert!(annotations.get("org.opencontainers.image.variant").is_none());
    }

    #[test]
    fn an_image_that_says_nothing_gets_a_shell() {
        let config = convert("{}").unwrap();
        assert_eq!(config["process"]["args"], json!(["sh"]));
        assert_eq!(config["process"]["cwd"], "/");
        assert_eq!(config["process"]["user"], json!({"uid": 0, "gid": 0}));
    }

    #[test]
    fn maps_make_a_user_namespace() {
        let dir = tempfile::tempdir().unwrap();
        let config = Document::<ImageConfig>::parse("{}".to_owned()).unwrap();
        let made =
            runtime_config(&config, &Root::open(dir.path()).unwrap(), &Ids::rootless()).unwrap();
        let linux = &made["linux"];
        assert_eq!(linux["uidMappings"][0]["containerID"], 0);
        assert_eq!(linux["namespaces"][5], json!({"type": "user"}));
        assert!(linux.get("resources").is_none());
        assert!(!made["mounts"][2]["options"].to_string().contains("gid=5"));
        assert!(convert("{}").unwrap()["linux"].get("uidMappings").is_none());
    }

    #[test]
    fn variables_have_names() {
        for bad in ["PATH", "=x", ""] {
            let json = format!(r#"{{"config":{{"Env":["{bad}"]}}}}"#);
            assert!(convert(&json).is_err(), "{bad}");
        }
    }

    #[test]
    fn volumes_and_labels_are_data() {
        for bad in ["", "/", "data", "/../etc", "/a/./b", "/proc", "/sys/fs", "/dev/shm"] {
            let json = format!(r#"{{"config":{{"Volumes":{{"{bad}":{{}}}}}}}}"#);
            assert!(convert(&json).is_err(), "{bad}");
        }
        let json = r#"{"config":{"Labels":{"":"a","run.oci.hooks.stdout":"/x","org.systemd.property.A":"b","mine":"c"}}}"#;
        assert_eq!(convert(json).unwrap()["annotations"], json!({"mine": "c"}));
    }
}

//! The config of an image as the `config.json` of a runtime bundle. image-spec, conversion.md;
//! the other document is that of the OCI runtime specification.

use indexmap::IndexMap;
use serde_json::{Value, json};

use conex_layer::{IdMap, IdRange, Ids, Root};
use conex_spec::config::Execution;
use conex_spec::{Error, ImageConfig, Kind, Result};

use crate::user::{self, User};

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

/// The config of a bundle.
#[derive(Clone, Debug)]
pub struct RuntimeConfig {
    /// The document.
    pub document: Value,
    /// Why a runtime may not start it, and what of the image is left out.
    pub warnings: Vec<String>,
}

/// Converts a config; names of users are looked up in the unpacked tree. With maps of user and group
/// numbers the container gets a user namespace.
pub fn runtime_config(config: &ImageConfig, root: &Root, ids: &Ids) -> Result<RuntimeConfig> {
    let mut warnings = Vec::new();
    let document = convert(config, root, ids, &mut warnings)?;
    Ok(RuntimeConfig { document, warnings })
}

fn convert(
    config: &ImageConfig,
    root: &Root,
    ids: &Ids,
    warnings: &mut Vec<String>,
) -> Result<Value> {
    let execution = config.config.clone().unwrap_or_default();
    let mut user = user::find(&execution.user, root)?;
    if ids.remember {
        // Who has no privilege may not set groups, user_namespaces(7).
        user.additional_gids.clear();
    }
    warn_of_user(&user, ids, warnings);
    warn_of_maps(ids, warnings);
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
        "mounts": mounts(&execution, root, ids, warnings)?,
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

/// Runtimes fail to become someone who has no number in the namespace: setuid(2), `EINVAL`.
fn warn_of_user(user: &User, ids: &Ids, warnings: &mut Vec<String>) {
    for (what, map, id) in [("user", &ids.users, user.uid), ("group", &ids.groups, user.gid)] {
        if map.host(id).is_none() {
            warnings.push(format!(
                "the image runs as {what} {id}, who has no number in the map {map}: runtimes will not \
                 start it unless `process.user` of config.json says another"
            ));
        }
    }
}

/// Without privilege a person may map their own number alone, user_namespaces(7); runc and crun call
/// `newuidmap` for others.
fn warn_of_maps(ids: &Ids, warnings: &mut Vec<String>) {
    let many = |map: &IdMap| map.ranges().map(|range| u64::from(range.size)).sum::<u64>() > 1;
    if ids.remember && (many(&ids.users) || many(&ids.groups)) {
        warnings.push(
            "runtimes without root need newuidmap(1), and the numbers of the map in /etc/subuid and \
             /etc/subgid"
                .into(),
        );
    }
}

/// A tree that was unpacked without privilege belongs to one person, who has to be root in it.
///
/// # Errors
/// `Usage` for maps with which no runtime could start a bundle.
pub(crate) fn check_maps(ids: &Ids, caller: &Ids) -> Result<()> {
    if !ids.remember {
        return Ok(());
    }
    for (option, map, own) in
        [("--uid-map", &ids.users, &caller.users), ("--gid-map", &ids.groups, &caller.groups)]
    {
        let (found, own) = (map.host(0), own.host(0));
        if found != own {
            let own = own.unwrap_or_default();
            let found = found.map_or("nobody".into(), |found| found.to_string());
            return Err(Error::new(Kind::Usage, "no runtime could start this bundle")
                .expected(format!("root of the image is who unpacks it: {option} 0:{own}"))
                .found(format!("{found} in the map {map}"))
                .hint("with --rootless all files belong to whoever unpacks them"));
        }
    }
    Ok(())
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

fn mounts(
    execution: &Execution,
    root: &Root,
    ids: &Ids,
    warnings: &mut Vec<String>,
) -> Result<Vec<Value>> {
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
    for volume in execution.volumes.keys() {
        let options = match volume_options(check_volume(volume)?, root, ids) {
            Ok(options) => options,
            // The Docker engine refuses to start such an image: nothing can be mounted there.
            Err(err) if err.kind() == Kind::Invalid => {
                warnings.push(format!("volume {volume:?} is no folder in the image: not mounted"));
                continue;
            }
            Err(err) => return Err(err),
        };
        let options: Vec<_> = options.iter().map(String::as_str).collect();
        mounts.push(mount(volume, "tmpfs", &options));
    }
    Ok(mounts)
}

/// "Implementations SHOULD provide mounts for these locations", and "MAY seed the contents of the mount
/// with data in the image at the same location" (conversion.md, "Optional Fields"): runc and crun
/// do that for `tmpcopyup`. Mode and owner are those that the folder has in the image.
fn volume_options(volume: &str, root: &Root, ids: &Ids) -> Result<Vec<String>> {
    let mut options = ["nosuid", "nodev", "tmpcopyup"].map(str::to_owned).to_vec();
    let folder = root.folder(volume.as_bytes())?;
    options.push(format!("mode={:o}", folder.map_or(0o755, |folder| folder.mode)));
    // They are numbers of the container, in which the mount is made.
    let owner =
        folder.and_then(|f| Some((ids.users.container(f.uid)?, ids.groups.container(f.gid)?)));
    if let Some((uid, gid)) = owner {
        options.extend([format!("uid={uid}"), format!("gid={gid}")]);
    }
    Ok(options)
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
        let made = runtime_config(&config, &Root::open(dir.path()).unwrap(), &Ids::default());
        made.map(|made| made.document)
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

    /// conversion.md, "Annotation Fields" and "Annotations": each line of the table.
    #[test]
    fn annotation_fields() {
        let labels = r#""Labels":{"org.opencontainers.image.author":"label","own":"1"}"#;
        let json = format!(
            r#"{{"os":"windows","architecture":"arm64","variant":"v8","os.version":"10.0","os.features":["a","b"],
            "author":"me","created":"2026-01-02T03:04:05Z","config":{{"StopSignal":"SIGINT","ExposedPorts":{{"1/tcp":{{}}}},{labels}}}}}"#
        );
        let annotations = &convert(&json).unwrap()["annotations"];
        for (name, value) in [
            ("os", "windows"),
            ("architecture", "arm64"),
            ("variant", "v8"),
            ("os.version", "10.0"),
            ("os.features", "a,b"),
            // The label takes precedence over the field.
            ("author", "label"),
            ("created", "2026-01-02T03:04:05Z"),
            ("stopSignal", "SIGINT"),
            ("exposedPorts", "1/tcp"),
        ] {
            assert_eq!(annotations[format!("org.opencontainers.image.{name}")], value, "{name}");
        }
        assert_eq!(annotations["own"], "1");
    }

    /// conversion.md, "`Config.User`": an unknown user is an error, a known one brings its groups.
    #[test]
    fn users() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("etc")).unwrap();
        std::fs::write(dir.path().join("etc/passwd"), "web:x:33:34::/:/bin/sh\n").unwrap();
        std::fs::write(dir.path().join("etc/group"), "more:x:50:web\n").unwrap();
        let root = Root::open(dir.path()).unwrap();
        let user = |text: &str| {
            let json = format!(r#"{{"config":{{"User":"{text}"}}}}"#);
            let config = Document::<ImageConfig>::parse(json).unwrap();
            runtime_config(&config, &root, &Ids::default())
                .map(|made| made.document["process"]["user"].clone())
        };
        assert_eq!(user("web").unwrap(), json!({"uid": 33, "gid": 34, "additionalGids": [50]}));
        assert_eq!(user("33").unwrap(), json!({"uid": 33, "gid": 34}));
        assert_eq!(user("web:more").unwrap(), json!({"uid": 33, "gid": 50}));
        assert!(user("nobody").is_err());
    }

    /// conversion.md, "Optional Fields": a mount at each volume, with what the image has there.
    #[test]
    fn volumes_are_mounts_with_the_image_s_content() {
        use std::os::unix::fs::{MetadataExt, PermissionsExt};
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        std::fs::create_dir(&data).unwrap();
        std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o1770)).unwrap();
        let owner = std::fs::metadata(&data).unwrap();
        let json = r#"{"config":{"Volumes":{"/data":{},"/not/there":{}}}}"#;
        let config = Document::<ImageConfig>::parse(json.to_owned()).unwrap();
        let root = Root::open(dir.path()).unwrap();
        let made = |ids| runtime_config(&config, &root, &ids).unwrap().document;
        let mounts = &made(Ids::default())["mounts"];
        let map = |container, host| IdMap::new(&[IdRange { container, host, size: 1 }]).unwrap();
        let mapped =
            Ids { users: map(1234, owner.uid()), groups: map(2345, owner.gid()), ..Ids::default() };
        let owner = [format!("uid={}", owner.uid()), format!("gid={}", owner.gid())];
        assert_eq!(mounts[6]["destination"], "/data");
        assert_eq!(
            mounts[6]["options"],
            json!(["nosuid", "nodev", "tmpcopyup", "mode=1770", owner[0], owner[1]])
        );
        assert_eq!(mounts[7]["options"], json!(["nosuid", "nodev", "tmpcopyup", "mode=755"]));
        let options = |ids| made(ids)["mounts"][6]["options"].clone();
        let as_root = json!(["nosuid", "nodev", "tmpcopyup", "mode=1770", "uid=0", "gid=0"]);
        assert_eq!(options(Ids::rootless()), as_root);
        let other = json!(["nosuid", "nodev", "tmpcopyup", "mode=1770", "uid=1234", "gid=2345"]);
        assert_eq!(options(mapped), other);
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
        assert_eq!(made.warnings, [""; 0]);
        let made = made.document;
        let linux = &made["linux"];
        assert_eq!(linux["uidMappings"][0]["containerID"], 0);
        assert_eq!(linux["namespaces"][5], json!({"type": "user"}));
        assert!(linux.get("resources").is_none());
        assert!(!made["mounts"][2]["options"].to_string().contains("gid=5"));
        assert!(convert("{}").unwrap()["linux"].get("uidMappings").is_none());
    }

    #[test]
    fn what_will_not_start_is_told() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("file"), "").unwrap();
        let root = Root::open(dir.path()).unwrap();
        let json =
            r#"{"config":{"User":"33:7","Volumes":{"/file":{},"/file/below":{},"/new":{}}}}"#;
        let config = Document::<ImageConfig>::parse(json.to_owned()).unwrap();
        let made = |ids: &Ids| runtime_config(&config, &root, ids).unwrap();
        let own = Ids::rootless();
        let told = made(&own).warnings;
        assert_eq!(told.len(), 4, "{told:?}");
        assert!(told[0].contains("user 33") && told[1].contains("group 7"), "{told:?}");
        assert!(told[2].contains("\"/file\""), "{told:?}");
        // Numbers as they are; the volumes are still none.
        let plain = made(&Ids::default());
        assert_eq!(plain.warnings.len(), 2, "{:?}", plain.warnings);
        assert_eq!(plain.document["mounts"].as_array().unwrap().len(), 7);
        assert_eq!(plain.document["mounts"][6]["destination"], "/new");

        let user = own.users.host(0).unwrap();
        let map = |text: String| IdMap::new(&[text.parse().unwrap()]).unwrap();
        let wide = Ids { users: map(format!("0:{user}:99")), ..own };
        assert!(made(&wide).warnings.iter().any(|told| told.contains("newuidmap")));
        assert!(check_maps(&wide, &own).is_ok() && check_maps(&own, &own).is_ok());
        for bad in [format!("0:{}:9", user + 1), format!("1:{user}")] {
            let other = Ids { users: map(bad), ..own };
            let err = check_maps(&other, &own).unwrap_err();
            assert_eq!(err.kind(), Kind::Usage);
            assert!(check_maps(&Ids { remember: false, ..other }, &own).is_ok());
        }
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

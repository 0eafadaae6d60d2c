//! What the program reads from its surroundings, and nothing else does.
#![expect(clippy::disallowed_methods, reason = "this is the one place that reads the environment")]

mod hosts;

pub use hosts::{certificates, proxies, registry_files};

use std::env;
use std::path::PathBuf;
use std::time::SystemTime;

use conex_client::{Engine, Secret};
use conex_server::S3;
use conex_spec::{Error, Kind, Result};

/// The end of the year 9999, after which RFC 3339 has no words.
const LAST_SECOND: u64 = 253_402_300_799;

/// The folder of the local store: the option, `CONEX_STORE`, or the XDG data folder.
pub fn store_folder(option: Option<&PathBuf>) -> Option<PathBuf> {
    let data = || Some(folder("XDG_DATA_HOME")?.join("conex"));
    let home = || Some(folder("HOME")?.join(".local/share/conex"));
    option.cloned().or_else(|| folder("CONEX_STORE")).or_else(data).or_else(home)
}

/// Adds what the surroundings say of how a bucket is reached to what the settings say. Addresses of
/// the store exclude each other.
pub fn fill(bucket: &mut S3) {
    let own_endpoint = bucket.options.contains_key("aws_endpoint_url");
    for (name, value) in bucket_options() {
        if own_endpoint && name.starts_with("aws_endpoint_url") {
            continue;
        }
        bucket.options.entry(name).or_insert(value);
    }
    // Large files that may be lost lie there, where it is a disk: file-hierarchy(7).
    bucket.spool.get_or_insert_with(|| folder("TMPDIR").unwrap_or_else(|| "/var/tmp".into()));
}

/// How a bucket is reached, as the tools of Amazon read it: option and value.
fn bucket_options() -> Vec<(String, String)> {
    const NAMES: &[&str] = &[
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_REGION",
        "AWS_DEFAULT_REGION",
        "AWS_ENDPOINT_URL",
        "AWS_ENDPOINT_URL_S3",
        "AWS_VIRTUAL_HOSTED_STYLE_REQUEST",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_ROLE_ARN",
        "AWS_ROLE_SESSION_NAME",
        "AWS_ENDPOINT_URL_STS",
    ];
    let set = |name: &&str| {
        let value = env::var(name).ok().filter(|value| !value.is_empty())?;
        Some((name.to_ascii_lowercase(), value))
    };
    NAMES.iter().filter_map(set).collect()
}

/// The present, for ages.
pub fn now() -> SystemTime {
    SystemTime::now()
}

/// The files that hold logins, in the order of asking, which is that of containers-auth.json(5): the
/// option alone, `REGISTRY_AUTH_FILE` alone, Docker's file in `DOCKER_CONFIG` alone, or else those
/// of the session and of the person.
pub fn login_files(option: Option<&PathBuf>) -> Vec<PathBuf> {
    let docker = || Some(folder("DOCKER_CONFIG")?.join("config.json"));
    let named = option.cloned().or_else(|| folder("REGISTRY_AUTH_FILE")).or_else(docker);
    if let Some(file) = named {
        return vec![file];
    }
    let session =
        folder("XDG_RUNTIME_DIR").map(|dir| dir.join("containers")).unwrap_or_else(|| {
            format!("/run/containers/{}", rustix::process::getuid().as_raw()).into()
        });
    let home = |name: &str| Some(folder("HOME")?.join(name));
    let files = [
        Some(session.join("auth.json")),
        containers_auth(),
        home(".docker/config.json"),
        home(".dockercfg"),
    ];
    files.into_iter().flatten().collect()
}

/// The text of a file with logins, as GitLab's runners and Docker's program have it.
pub fn login_text() -> Option<Secret> {
    let text = env::var_os("DOCKER_AUTH_CONFIG").filter(|text| !text.is_empty())?;
    Some(Secret::new(text.to_string_lossy()))
}

/// The file that a new login goes to where no file has one for the same: Docker's, which every
/// tool reads, or for a part of a registry, which Docker would take for all of it, that of
/// containers-auth.json(5).
pub fn usual_login_file(option: Option<&PathBuf>, part: bool) -> Option<PathBuf> {
    let files = login_files(option);
    if let [file] = &files[..] {
        return Some(file.clone());
    }
    let docker = || Some(folder("HOME")?.join(".docker/config.json"));
    if part { containers_auth() } else { docker() }.or_else(|| files.into_iter().next())
}

fn containers_auth() -> Option<PathBuf> {
    let dir = folder("XDG_CONFIG_HOME").or_else(|| Some(folder("HOME")?.join(".config")))?;
    Some(dir.join("containers/auth.json"))
}

/// The folders of the search path, where credential helpers are found.
pub fn search_path() -> Vec<PathBuf> {
    env::var_os("PATH").map(|path| env::split_paths(&path).collect()).unwrap_or_default()
}

/// Where a Docker engine or Podman may listen: `DOCKER_HOST`, or the sockets that they have by
/// default, of the system and of the person.
pub fn engine() -> Engine {
    let host = env::var_os("DOCKER_HOST").filter(|host| !host.is_empty());
    let host = host.map(|host| host.to_string_lossy().into_owned());
    let runtime = folder("XDG_RUNTIME_DIR");
    let own = |name: &str| runtime.as_ref().map(|dir| dir.join(name));
    let sockets = [
        Some(PathBuf::from("/var/run/docker.sock")),
        own("docker.sock"),
        own("podman/podman.sock"),
        Some(PathBuf::from("/run/podman/podman.sock")),
    ];
    Engine { host, sockets: sockets.into_iter().flatten().collect() }
}

/// The time that builds write, in seconds since 1970. <https://reproducible-builds.org/specs/source-date-epoch/>
pub fn source_date_epoch() -> Result<Option<u64>> {
    let Some(text) = env::var_os("SOURCE_DATE_EPOCH") else { return Ok(None) };
    let text = text.to_string_lossy();
    match text.parse() {
        Ok(seconds) if seconds <= LAST_SECOND => Ok(Some(seconds)),
        _ => Err(Error::new(Kind::Usage, "SOURCE_DATE_EPOCH makes no sense")
            .expected(format!("whole seconds since 1970, at most {LAST_SECOND}"))
            .found(text.escape_debug())),
    }
}

/// A new folder for what a demonstration makes.
pub fn temporary_folder() -> PathBuf {
    env::temp_dir()
}

/// A program on the search path.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    let sbin = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    env::split_paths(&path).chain(sbin).map(|dir| dir.join(name)).find(|file| file.is_file())
}

fn folder(variable: &str) -> Option<PathBuf> {
    env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from)
}

//! What the environment and the usual folders say about registries.

use std::env;
use std::path::{Path, PathBuf};

use conex_client::{CertificateFolders, Proxies, Proxy, RegistryFiles};

const SYSTEM: &str = "/etc/containers";

/// `registries.conf` and its drop-ins, as containers-registries.conf(5) orders them. `named` is a
/// file that the person named.
pub fn registry_files(named: Option<&Path>) -> RegistryFiles {
    let variable = super::folder("CONTAINERS_REGISTRIES_CONF");
    let home = super::folder("HOME").map(|home| home.join(".config/containers"));
    let named = named.map(Path::to_owned).or(variable);
    files(named, Path::new(SYSTEM), home.as_deref())
}

fn files(named: Option<PathBuf>, system: &Path, home: Option<&Path>) -> RegistryFiles {
    let own = home.map(|home| home.join("registries.conf")).filter(|own| own.exists());
    let drop_ins = |folder: &Path| folder.join("registries.conf.d");
    let home_drop_ins = home.map(drop_ins);
    match (named, own) {
        (None, Some(own)) => RegistryFiles {
            main: Some(own),
            required: false,
            folders: home_drop_ins.into_iter().collect(),
        },
        (named, _) => RegistryFiles {
            required: named.is_some(),
            main: Some(named.unwrap_or_else(|| system.join("registries.conf"))),
            folders: [drop_ins(system)].into_iter().chain(home_drop_ins).collect(),
        },
    }
}

/// The folders of certificates: the person's, the system's, Docker's.
pub fn certificates(given: Option<&Path>) -> CertificateFolders {
    let home = super::folder("HOME").map(|home| home.join(".config/containers/certs.d"));
    let system = [PathBuf::from(SYSTEM).join("certs.d"), PathBuf::from("/etc/docker/certs.d")];
    CertificateFolders {
        folders: home.into_iter().chain(system).collect(),
        given: given.map(Path::to_owned),
    }
}

/// The proxies that the environment names.
pub fn proxies() -> Proxies {
    named_proxies(|name| env::var_os(name).map(|value| value.to_string_lossy().into_owned()))
}

/// Lower case comes first. In a CGI program `HTTP_PROXY` is what a request's header `Proxy` says,
/// so it is not believed there (CVE-2016-5385).
fn named_proxies(variable: impl Fn(&str) -> Option<String>) -> Proxies {
    let value = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
    let first = |names: &[&str]| {
        names.iter().find_map(|name| value(name).map(|url| Proxy::new(url, *name)))
    };
    let all = || first(&["all_proxy", "ALL_PROXY"]);
    let http: &[&str] = match variable("REQUEST_METHOD") {
        Some(_) => &["http_proxy"],
        None => &["http_proxy", "HTTP_PROXY"],
    };
    Proxies {
        http: first(http).or_else(all),
        https: first(&["https_proxy", "HTTPS_PROXY"]).or_else(all),
        direct: value("no_proxy").or_else(|| value("NO_PROXY")).unwrap_or_default(),
        loopback: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_persons_file_stands_for_the_systems() {
        let dir = tempfile::tempdir().unwrap();
        let (system, home) = (dir.path().join("etc"), dir.path().join("home"));
        std::fs::create_dir_all(&home).unwrap();
        let (system_d, home_d) = (system.join("registries.conf.d"), home.join("registries.conf.d"));
        let found = files(None, &system, Some(&home));
        assert_eq!(found.main, Some(system.join("registries.conf")));
        assert_eq!(found.folders, [system_d.clone(), home_d.clone()]);
        assert_eq!(files(None, &system, None).folders, std::slice::from_ref(&system_d));
        std::fs::write(home.join("registries.conf"), "").unwrap();
        let found = files(None, &system, Some(&home));
        assert_eq!(found.main, Some(home.join("registries.conf")));
        assert_eq!(found.folders, std::slice::from_ref(&home_d));
        assert!(!found.required);
        let found = files(Some("/named".into()), &system, Some(&home));
        assert!(found.required && found.main == Some("/named".into()));
        assert_eq!(found.folders, [system_d, home_d]);
    }

    #[test]
    fn variables() {
        let shown = |set: &[(&str, &str)]| {
            let value = |name: &str| {
                let found = set.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| (*value).to_owned())
            };
            let found = named_proxies(value);
            let by = |proxy: &Option<Proxy>| proxy.as_ref().map(|proxy| proxy.set_by().to_owned());
            (
                by(&found.http).unwrap_or_default(),
                by(&found.https).unwrap_or_default(),
                found.direct,
            )
        };
        let told = |http: &str, https: &str, direct: &str| {
            (http.to_owned(), https.to_owned(), direct.to_owned())
        };
        assert_eq!(shown(&[]), told("", "", ""));
        assert_eq!(shown(&[("HTTP_PROXY", "p")]), told("HTTP_PROXY", "", ""));
        assert_eq!(shown(&[("HTTP_PROXY", "p"), ("REQUEST_METHOD", "GET")]), told("", "", ""));
        assert_eq!(
            shown(&[("http_proxy", "p"), ("HTTP_PROXY", "q"), ("REQUEST_METHOD", "GET")]),
            told("http_proxy", "", "")
        );
        assert_eq!(
            shown(&[("ALL_PROXY", "p"), ("https_proxy", " "), ("HTTPS_PROXY", "q")]),
            told("ALL_PROXY", "HTTPS_PROXY", "")
        );
        assert_eq!(shown(&[("NO_PROXY", "a"), ("no_proxy", "b")]), told("", "", "b"));
    }
}

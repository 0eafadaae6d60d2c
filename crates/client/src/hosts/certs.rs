//! Whom to trust, and what to show, beyond the system's certificates: `certs.d`.
//! containers-certs.d(5); Docker, "Verify repository client with certificates".
//!
//! ```text
//! certs.d/
//!   registry.example:5000/      one registry; without port it is 443
//!     ca.crt                    *.crt: authorities to trust beside the system's
//!     client.cert               *.cert with its *.key: shown to a registry that asks for one
//!     client.key
//! ```
//!
//! # Security
//! What lies there is for that host and port and for no other (rule C7): a redirect elsewhere, a
//! token server in another domain and a proxy neither profit from the authorities nor see the
//! client certificate. Keys are read when they are needed, and printed nowhere.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use conex_spec::{Error, Kind, Result};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use rustls::sign::CertifiedKey;

use super::trust::{self, Shown};
use crate::files::bounded;

/// The longest file, in bytes.
const LIMIT: u64 = 1 << 20;
/// How many files a folder may have.
const MAX_FILES: usize = 1000;

/// Where certificates lie; nothing is read before it is needed, and nothing need be there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertificateFolders {
    /// Folders like `/etc/containers/certs.d`. For each registry the first that knows it is used.
    pub folders: Vec<PathBuf>,
    /// A folder that a person named. It is asked first, may hold folders of registries too, and
    /// what lies in it directly is for every registry that is named: its authorities are trusted,
    /// its client certificate is shown to these registries alone.
    pub given: Option<PathBuf>,
}

/// What there is for one host, in PEM.
#[derive(Clone, Default)]
pub(crate) struct Certificates {
    /// Files with certificates of authorities.
    pub(crate) roots: Vec<(PathBuf, Vec<u8>)>,
    /// A certificate with its key.
    pub(crate) identity: Option<(PathBuf, Vec<u8>)>,
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let files = self.roots.iter().chain(&self.identity).map(|(path, _)| path);
        f.debug_list().entries(files).finish()
    }
}

impl CertificateFolders {
    /// What there is for a host and port. Blocking.
    ///
    /// # Errors
    /// For a file that cannot be read, and for a certificate without its key or the reverse.
    pub(crate) fn find(&self, host: &str, port: u16) -> Result<Certificates> {
        let mut found = Certificates::default();
        if let Some(given) = &self.given {
            let listed = list(given)?.ok_or_else(|| {
                Error::not_found(format!("no folder of certificates {}", given.display()))
            })?;
            found = read(given, &listed)?;
        }
        let names = names(host, port);
        let folders = self.given.iter().chain(&self.folders);
        for folder in folders.flat_map(|folder| names.iter().map(|name| folder.join(name))) {
            if let Some(listed) = list(&folder)? {
                let own = read(&folder, &listed)?;
                found.roots.extend(own.roots);
                found.identity = own.identity.or(found.identity);
                break;
            }
        }
        Ok(found)
    }
}

/// The names that a host's folder may have. Docker's registry is not where its name says.
fn names(host: &str, port: u16) -> Vec<String> {
    let mut names = vec![format!("{host}:{port}")];
    if port == 443 {
        names.push(host.to_owned());
        if host == crate::paths::api_host("docker.io") {
            names.push("docker.io".to_owned());
        }
    }
    names
}

/// The files of a folder in their order; nothing if it is not there.
fn list(folder: &Path) -> Result<Option<Vec<PathBuf>>> {
    let fault = |err| Error::io("cannot list", folder, err);
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(err)
            if matches!(err.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
        {
            return Ok(None);
        }
        Err(err) => return Err(fault(err)),
    };
    let mut paths = Vec::new();
    for entry in entries.take(MAX_FILES) {
        paths.push(entry.map_err(fault)?.path());
    }
    paths.sort();
    Ok(Some(paths))
}

fn read(folder: &Path, listed: &[PathBuf]) -> Result<Certificates> {
    let mut found = Certificates::default();
    let has = |path: &PathBuf| listed.contains(path);
    for path in listed {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("crt") => found.roots.push((path.clone(), contents(path)?)),
            Some("cert") => {
                let key = path.with_extension("key");
                if !has(&key) {
                    return Err(alone(path, &key)
                        .hint("certificates of authorities have names that end in `.crt`"));
                }
                if found.identity.is_none() {
                    let pem = [contents(path)?, b"\n".to_vec(), contents(&key)?].concat();
                    found.identity = Some((path.clone(), pem));
                }
            }
            Some("key") if !has(&path.with_extension("cert")) => {
                return Err(alone(path, &path.with_extension("cert")));
            }
            _ => {}
        }
    }
    found
        .check()
        .map_err(|err| err.context(format_args!("certificates in {}", folder.display())))?;
    Ok(found)
}

fn alone(path: &Path, other: &Path) -> Error {
    Error::new(Kind::Invalid, format!("{} is alone", path.display()))
        .expected(format!("{} beside it", other.display()))
}

fn contents(path: &Path) -> Result<Vec<u8>> {
    let gone = || Error::not_found(format!("{} is gone", path.display()));
    bounded(path, LIMIT)?.ok_or_else(gone)
}

impl Certificates {
    pub(crate) fn is_empty(&self) -> bool {
        self.roots.is_empty() && self.identity.is_none()
    }

    fn check(&self) -> Result<()> {
        for (path, pem) in &self.roots {
            let count = trust::parse(pem).map_or(0, |found| found.len());
            if count == 0 {
                return Err(Error::invalid(format!("{} holds no certificate", path.display()))
                    .expected("certificates in PEM"));
            }
        }
        if let Some((path, pem)) = &self.identity {
            pair(path, pem)?;
        }
        Ok(())
    }
}

/// A client certificate and its key. Whether they fit is looked at here, so that nobody waits for a
/// handshake to be told.
pub(crate) fn pair(path: &Path, pem: &[u8]) -> Result<Shown> {
    // The parser's words are not shown: they may hold parts of a key.
    let unsound = || {
        Error::invalid(format!("{} and its key are no client certificate", path.display()))
            .expected("a certificate and a key without passphrase, in PEM")
    };
    let chain = trust::parse(pem).map_err(|_| unsound())?;
    let keys = PrivateKeyDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    let key = keys.map_err(|_| unsound())?.pop().ok_or_else(unsound)?;
    let provider = rustls::crypto::ring::default_provider();
    match CertifiedKey::from_der(chain.clone(), key.clone_key(), &provider) {
        Err(rustls::Error::InconsistentKeys(_)) => {
            let key = path.with_extension("key");
            Err(Error::invalid(format!("{} does not fit its certificate", key.display()))
                .expected(format!("the key of {}", path.display()))
                .found("the key of another certificate"))
        }
        _ if chain.is_empty() => Err(unsound()),
        // Whatever else there is to say of it, the handshake says.
        _ => Ok((chain, key)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: &[u8] = include_bytes!("../../tests/tls/ca.pem");
    /// A certificate and a key.
    const PAIR: &[u8] = include_bytes!("../../tests/tls/good.pem");
    /// A certificate of another key.
    const CLIENT: &[u8] = include_bytes!("../../tests/tls/client.cert");

    fn folders(root: &Path) -> CertificateFolders {
        CertificateFolders { folders: vec![root.join("one"), root.join("two")], given: None }
    }

    fn write(root: &Path, name: &str, bytes: &[u8]) {
        let path = root.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    #[test]
    fn the_first_folder_that_knows_the_host_and_port() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        write(root, "one/a.example:5000/ca.crt", ROOT);
        write(root, "two/a.example:5000/other.crt", ROOT);
        write(root, "two/a.example:5000/client.cert", PAIR);
        write(root, "two/a.example:5000/client.key", PAIR);
        write(root, "two/b.example/ca.crt", ROOT);
        write(root, "two/b.example/client.cert", PAIR);
        write(root, "two/b.example/client.key", PAIR);
        write(root, "two/docker.io/ca.crt", ROOT);
        let folders = folders(root);
        let find = |host, port| {
            let found = folders.find(host, port).unwrap();
            (found.roots.len(), found.identity.is_some())
        };
        assert_eq!(find("a.example", 5000), (1, false));
        assert_eq!(find("a.example", 443), (0, false));
        assert_eq!(find("b.example", 443), (1, true));
        assert_eq!(find("b.example", 5000), (0, false));
        assert_eq!(find("c.b.example", 443), (0, false));
        assert_eq!(find("registry-1.docker.io", 443), (1, false));
    }

    #[test]
    fn a_folder_that_a_person_named() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        write(root, "given/ca.crt", ROOT);
        write(root, "given/a.example/client.cert", PAIR);
        write(root, "given/a.example/client.key", PAIR);
        write(root, "one/a.example/ca.crt", ROOT);
        let mut folders = folders(root);
        folders.given = Some(root.join("given"));
        let (a, b) = (folders.find("a.example", 443), folders.find("b.example", 443));
        let (a, b) = (a.unwrap(), b.unwrap());
        assert_eq!((a.roots.len(), a.identity.is_some()), (1, true));
        assert_eq!((b.roots.len(), b.identity.is_some()), (1, false));
        folders.given = Some(root.join("absent"));
        assert_eq!(folders.find("a.example", 443).unwrap_err().kind(), Kind::NotFound);
    }

    #[test]
    fn what_is_wrong_is_told_without_the_key() {
        for (files, part) in [
            (vec![("client.cert", PAIR)], "client.key"),
            (vec![("client.key", PAIR)], "client.cert"),
            (vec![("ca.crt", b"canary".as_slice())], "no certificate"),
            (vec![("x.cert", b"canary".as_slice()), ("x.key", b"canary")], "passphrase"),
            (vec![("x.cert", CLIENT), ("x.key", PAIR)], "x.key does not fit its certificate"),
        ] {
            let dir = tempfile::tempdir().unwrap();
            for (name, bytes) in files {
                write(dir.path(), &format!("one/a.example/{name}"), bytes);
            }
            let err = folders(dir.path()).find("a.example", 443).unwrap_err();
            let told = format!("{err} {:?} {err:?}", err.expected_value());
            assert!(told.contains(part) && !told.contains("canary"), "{told}");
        }
    }
}

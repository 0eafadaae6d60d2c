//! The keys of an issuer: a JWK Set (RFC 7517), with the parameters of RFC 7518 and RFC 8037.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use conex_spec::{Error, Result};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256,
    RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm,
};
use serde::Deserialize;

use crate::stamp::Stamp;

/// A file of keys. It is looked at with every token, so that a key that was withdrawn is of no use at
/// once.
pub(super) struct KeyFile {
    path: PathBuf,
    read: Mutex<Read>,
}

/// The file as it was when it was read last.
struct Read {
    stamp: Stamp,
    keys: Arc<Keys>,
}

/// All keys of one file.
pub(super) struct Keys(Vec<Key>);

/// A key, and the one algorithm that it signs with.
pub(super) struct Key {
    id: Option<String>,
    pub(super) algorithm: &'static str,
    material: Material,
}

enum Material {
    Point(&'static dyn VerificationAlgorithm, Vec<u8>),
    Rsa(RsaPublicKeyComponents<Vec<u8>>),
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<Jwk>,
}

/// What of a key is looked at. A private part (`d`) has no place in the file, and is refused.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Jwk {
    kty: String,
    crv: String,
    alg: Option<String>,
    kid: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    x: String,
    y: String,
    n: String,
    e: String,
    d: Option<serde_json::Value>,
}

impl KeyFile {
    pub(super) fn open(path: &Path) -> Result<Self> {
        // Before the file is read: what changes meanwhile is seen later.
        let stamp = Stamp::at(path).unwrap_or_default();
        let keys = Arc::new(Keys::open(path)?);
        Ok(Self { path: path.to_owned(), read: Mutex::new(Read { stamp, keys }) })
    }

    pub(super) fn keys(&self) -> Arc<Keys> {
        Arc::clone(&self.read().keys)
    }

    /// Reads the file if it was changed. Where it is of no use the keys before it stay, and the fault is
    /// told once.
    pub(super) fn refresh(&self) -> Option<Error> {
        let stamp = Stamp::at(&self.path).unwrap_or_default();
        if self.read().stamp == stamp {
            return None;
        }
        let opened = Keys::open(&self.path);
        let mut read = self.read();
        read.stamp = stamp;
        match opened {
            Ok(keys) => {
                read.keys = Arc::new(keys);
                None
            }
            Err(err) => Some(err.context("the keys before it are still used")),
        }
    }

    fn read(&self) -> MutexGuard<'_, Read> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Keys {
    fn open(path: &Path) -> Result<Self> {
        let text = fs::read(path).map_err(|err| Error::io("cannot read the keys", path, err))?;
        Self::parse(&text, path)
    }

    fn parse(text: &[u8], path: &Path) -> Result<Self> {
        let fault = |message: &str| Error::invalid(format!("{}: {message}", path.display()));
        let set: Set = serde_json::from_slice(text).map_err(|err| {
            fault("not a JWK Set").expected(r#"{"keys": [{"kty": …}]}"#).source(err)
        })?;
        if set.keys.iter().any(|key| key.d.is_some()) {
            return Err(fault("a private key stands there")
                .hint("keep it with the issuer; a registry needs the public part alone"));
        }
        let keys: Vec<Key> = set.keys.iter().filter_map(Jwk::key).collect();
        if keys.is_empty() {
            return Err(
                fault("no key that can be used").expected("a key for ES256, ES384, RS256 or EdDSA")
            );
        }
        Ok(Self(keys))
    }

    /// The keys of this name; all of them where the token or the key has no name.
    pub(super) fn named(&self, id: Option<&str>) -> impl Iterator<Item = &Key> {
        self.0.iter().filter(move |key| match (&key.id, id) {
            (Some(one), Some(other)) => one == other,
            _ => true,
        })
    }
}

impl Key {
    pub(super) fn verify(&self, signed: &[u8], signature: &[u8]) -> bool {
        match &self.material {
            Material::Point(algorithm, point) => {
                UnparsedPublicKey::new(*algorithm, point).verify(signed, signature).is_ok()
            }
            Material::Rsa(key) => {
                key.verify(&RSA_PKCS1_2048_8192_SHA256, signed, signature).is_ok()
            }
        }
    }
}

impl Jwk {
    fn key(&self) -> Option<Key> {
        if self.purpose.as_deref().is_some_and(|purpose| purpose != "sig") {
            return None;
        }
        let bytes = |text: &str| URL_SAFE_NO_PAD.decode(text).ok().filter(|b| !b.is_empty());
        // Uncompressed, as SEC 1 writes it.
        let point = |length| {
            let (x, y) = (bytes(&self.x)?, bytes(&self.y)?);
            (x.len() == length && y.len() == length).then(|| [&[4], &*x, &*y].concat())
        };
        let (algorithm, material) = match (self.kty.as_str(), self.crv.as_str()) {
            ("EC", "P-256") => ("ES256", Material::Point(&ECDSA_P256_SHA256_FIXED, point(32)?)),
            ("EC", "P-384") => ("ES384", Material::Point(&ECDSA_P384_SHA384_FIXED, point(48)?)),
            ("OKP", "Ed25519") => ("EdDSA", Material::Point(&ED25519, bytes(&self.x)?)),
            ("RSA", "") => {
                let (n, e) = (bytes(&self.n)?, bytes(&self.e)?);
                ("RS256", Material::Rsa(RsaPublicKeyComponents { n, e }))
            }
            _ => return None,
        };
        let meant = self.alg.as_deref().is_none_or(|alg| alg == algorithm);
        meant.then(|| Key { id: self.kid.clone(), algorithm, material })
    }
}

impl fmt::Debug for KeyFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.read().keys.0.len();
        f.debug_struct("KeyFile").field("path", &self.path).field("keys", &count).finish()
    }
}

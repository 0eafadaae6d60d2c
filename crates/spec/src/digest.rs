//! Digests: what content is called by. image-spec, descriptor.md, "Digests".

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::Digest as _;

use crate::error::{Error, Kind, Result};

/// Longer digests are no real ones; the bound keeps hostile names out of paths and messages.
const MAX_LENGTH: usize = 512;

/// The registered algorithms. image-spec, descriptor.md, "Registered algorithms".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Algorithm {
    /// 256 bits, 64 hexadecimal digits; what everyone uses.
    Sha256,
    /// 512 bits, 128 hexadecimal digits.
    Sha512,
    /// 256 bits, 64 hexadecimal digits.
    Blake3,
}

impl Algorithm {
    /// All registered algorithms.
    pub const ALL: [Self; 3] = [Self::Sha256, Self::Sha512, Self::Blake3];

    /// The identifier before the colon.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
            Self::Blake3 => "blake3",
        }
    }

    /// The number of hexadecimal digits after the colon.
    pub const fn hex_length(self) -> usize {
        match self {
            Self::Sha256 | Self::Blake3 => 64,
            Self::Sha512 => 128,
        }
    }

    /// A new hasher of this algorithm.
    pub fn hasher(self) -> Hasher {
        Hasher(match self {
            Self::Sha256 => State::Sha256(sha2::Sha256::new()),
            Self::Sha512 => State::Sha512(sha2::Sha512::new()),
            Self::Blake3 => State::Blake3(Box::new(blake3::Hasher::new())),
        })
    }

    /// The digest of bytes that are all at hand.
    pub fn digest(self, bytes: &[u8]) -> Digest {
        let mut hasher = self.hasher();
        hasher.update(bytes);
        hasher.finish()
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Algorithm {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.as_str() == text)
            .ok_or_else(|| unsupported(text))
    }
}

fn unsupported(algorithm: &str) -> Error {
    let known = Algorithm::ALL.map(Algorithm::as_str).join(", ");
    Error::new(Kind::Unsupported, "digest algorithm cannot be verified")
        .expected(format!("one of {known}"))
        .found(algorithm)
}

/// The name of some content: `algorithm:encoded`. Cheap to clone.
///
/// A digest of an unregistered algorithm that fits the grammar is carried, never trusted:
/// [`Digest::algorithm`] fails for it, and so does all that would verify or store by it.
///
/// # Security
/// A value of this type holds no character outside `[A-Za-z0-9+._:=-]`, and, where
/// [`Digest::algorithm`] succeeds, exactly the lower-case hexadecimal digits of that algorithm:
/// its parts are safe in a path.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(Arc<str>);

impl Digest {
    /// The SHA-256 digest of bytes that are all at hand.
    pub fn sha256(bytes: &[u8]) -> Self {
        Algorithm::Sha256.digest(bytes)
    }

    /// The registered algorithm; `Unsupported` for any other.
    pub fn algorithm(&self) -> Result<Algorithm> {
        self.parts().0.parse()
    }

    /// What stands after the colon.
    pub fn encoded(&self) -> &str {
        self.parts().1
    }

    /// What stands before the colon, registered or not.
    pub fn algorithm_name(&self) -> &str {
        self.parts().0
    }

    /// The whole digest.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The digest as people write it in a table: the algorithm and twelve digits.
    pub fn short(&self) -> &str {
        let colon = self.algorithm_name().len() + 1;
        &self.0[..(colon + 12).min(self.0.len())]
    }

    /// Fails with both digests unless `found` is this one.
    pub fn check(&self, found: &Self, what: impl FnOnce() -> String) -> Result<()> {
        if self == found {
            return Ok(());
        }
        Err(Error::new(Kind::Mismatch, what()).expected(self).found(found))
    }

    /// The tag under which clients keep the referrers of this content where the registry
    /// has no referrers API. distribution-spec, "Referrers Tag Schema".
    pub fn referrers_tag(&self) -> String {
        let (algorithm, encoded) = self.parts();
        let cut = |text: &str, length: usize| text[..length.min(text.len())].to_owned();
        format!("{}-{}", cut(algorithm, 32), cut(encoded, 64))
            .replace(|c: char| !(c.is_ascii_alphanumeric() || "._-".contains(c)), "-")
    }

    fn parts(&self) -> (&str, &str) {
        // The only constructor is the parser, so there is a colon.
        self.0.split_once(':').unwrap_or((&self.0, ""))
    }
}

impl FromStr for Digest {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match fault(text) {
            None => Ok(Self(text.into())),
            Some(expected) => {
                let shown: String = text.chars().take(160).collect();
                Err(Error::invalid("not a digest").expected(expected).found(format!("{shown:?}")))
            }
        }
    }
}

/// What a digest would have needed, or nothing where `text` is one.
fn fault(text: &str) -> Option<&'static str> {
    if text.len() > MAX_LENGTH {
        return Some("at most 512 characters");
    }
    let Some((algorithm, encoded)) = text.split_once(':') else {
        return Some("algorithm:encoded");
    };
    let component = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    };
    if !algorithm.split(['+', '.', '_', '-']).all(component) {
        return Some("an algorithm of a-z and 0-9, parts joined by one of + . _ -");
    }
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"=_-".contains(&b);
    if encoded.is_empty() || !encoded.bytes().all(allowed) {
        return Some("an encoded part of A-Z, a-z, 0-9, =, _ and -");
    }
    let hex = |length| {
        let digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        encoded.len() == length && encoded.bytes().all(digit)
    };
    match algorithm.parse::<Algorithm>() {
        Ok(known) if !hex(known.hex_length()) => Some(match known {
            Algorithm::Sha256 => "sha256 with 64 lower-case hexadecimal digits",
            Algorithm::Sha512 => "sha512 with 128 lower-case hexadecimal digits",
            Algorithm::Blake3 => "blake3 with 64 lower-case hexadecimal digits",
        }),
        _ => None,
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A digest in the making.
#[derive(Clone)]
pub struct Hasher(State);

#[derive(Clone)]
enum State {
    Sha256(sha2::Sha256),
    Sha512(sha2::Sha512),
    Blake3(Box<blake3::Hasher>),
}

impl Hasher {
    /// Adds the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            State::Sha256(hasher) => hasher.update(bytes),
            State::Sha512(hasher) => hasher.update(bytes),
            State::Blake3(hasher) => {
                hasher.update(bytes);
            }
        }
    }

    /// The digest of all bytes added.
    pub fn finish(self) -> Digest {
        match self.0 {
            State::Sha256(hasher) => named(Algorithm::Sha256, &hasher.finalize()),
            State::Sha512(hasher) => named(Algorithm::Sha512, &hasher.finalize()),
            State::Blake3(hasher) => named(Algorithm::Blake3, hasher.finalize().as_bytes()),
        }
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hasher")
    }
}

fn named(algorithm: Algorithm, hash: &[u8]) -> Digest {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(algorithm.as_str().len() + 1 + 2 * hash.len());
    text.push_str(algorithm.as_str());
    text.push(':');
    for byte in hash {
        text.push(HEX[usize::from(byte >> 4)].into());
        text.push(HEX[usize::from(byte & 15)].into());
    }
    Digest(text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn known_answers() {
        assert_eq!(Digest::sha256(b"").as_str(), EMPTY);
        assert_eq!(
            Algorithm::Blake3.digest(b"").as_str(),
            "blake3:af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
        );
        assert!(Algorithm::Sha512.digest(b"").as_str().starts_with("sha512:cf83e1357eefb8bd"));
    }

    #[test]
    fn hostile_digests_are_refused() {
        let hex = &EMPTY["sha256:".len()..];
        for bad in [
            "".into(),
            "sha256".into(),
            "sha256:".into(),
            "sha256:../../x".into(),
            "sha256:%2e%2e".into(),
            format!("SHA256:{hex}"),
            format!("sha256:{}", hex.to_uppercase()),
            format!("sha256:{}", &hex[1..]),
            format!("sha256:{hex}0"),
            format!("sha256:{}\0", &hex[1..]),
            format!("sha256:{}\n", &hex[1..]),
            format!("sha512:{hex}"),
            format!("blake3:{}", &hex[2..]),
            format!("+sha256:{hex}"),
            format!("sha256++b64:{hex}"),
            format!("x:{}", "a".repeat(1 << 20)),
        ] {
            let err = bad.parse::<Digest>().expect_err(&bad);
            assert_eq!(err.kind(), Kind::Invalid, "{bad}");
            assert!(err.to_string().len() < 400);
        }
    }

    #[test]
    fn unregistered_algorithms_are_carried_but_never_verified() {
        for text in [
            "multihash+base58:QmRZxt2b1FVZPNqd8hsiykDL3TdBDeTSPX9Kv46HmX4Gx8",
            "sha256+b64u:LCa0a2j_xo_5m0U8HTBBNBNCLXBkg7-g-YpeiGJm564",
            "md5:d41d8cd98f00b204e9800998ecf8427e",
        ] {
            let digest: Digest = text.parse().unwrap();
            assert_eq!(digest.to_string(), text);
            assert_eq!(digest.algorithm().unwrap_err().kind(), Kind::Unsupported);
        }
    }

    /// The table of distribution-spec, "Referrers Tag Schema".
    #[test]
    fn referrers_tags() {
        let a = "a".repeat(128);
        for (digest, tag) in [
            (format!("sha256:{}", &a[..64]), format!("sha256-{}", &a[..64])),
            (format!("sha512:{a}"), format!("sha512-{}", &a[..64])),
            (
                "test+algorithm+using+algorithm+separators+and+lots+of+characters+to+excercise+overall+truncation:alsoSome=InTheEncodedSectionToShowHyphenReplacementAndLotsAndLotsOfCharactersToExcerciseEncodedTruncation".into(),
                "test-algorithm-using-algorithm-s-alsoSome-InTheEncodedSectionToShowHyphenReplacementAndLotsAndLot".into(),
            ),
        ] {
            assert_eq!(digest.parse::<Digest>().unwrap().referrers_tag(), tag);
        }
    }
}

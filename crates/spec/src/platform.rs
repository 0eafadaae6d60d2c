//! Platforms: what an image runs on, and which of several images suits a machine best.
//!
//! ```
//! use conex_spec::platform::Platform;
//!
//! let machine: Platform = "linux/arm64".parse()?;
//! let image: Platform = "linux/aarch64/v8".parse()?;
//! assert!(machine.accepts(&image));
//! # Ok::<(), conex_spec::Error>(())
//! ```

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::extra::Extra;
use crate::reference::grammar::shown;
use crate::strict_json::null_is_absent;

mod matching;
pub(crate) mod words;

/// Longer platforms are no real ones.
const MAX_LENGTH: usize = 255;

/// What an image runs on. image-spec, image-index.md, "`platform`".
///
/// A document that lacks the operating system or the architecture is read with an empty string
/// there; such a platform is copied as it is and never selected.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    /// The CPU, in Go's words: `amd64`, `arm64`.
    #[serde(
        default,
        deserialize_with = "null_is_absent",
        skip_serializing_if = "String::is_empty"
    )]
    pub architecture: String,
    /// The operating system, in Go's words: `linux`, `windows`.
    #[serde(
        default,
        deserialize_with = "null_is_absent",
        skip_serializing_if = "String::is_empty"
    )]
    pub os: String,
    /// The version of the operating system; only Windows images have it.
    #[serde(rename = "os.version", default, skip_serializing_if = "Option::is_none")]
    pub os_version: Option<String>,
    /// What the operating system must offer, as `win32k`.
    #[serde(
        rename = "os.features",
        default,
        deserialize_with = "null_is_absent",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub os_features: Vec<String>,
    /// The variant of the CPU: `v8` of `arm64`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// Reserved by the specification.
    #[serde(default, deserialize_with = "null_is_absent", skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<String>,
    /// Everything else, kept.
    #[serde(flatten)]
    pub extra: Extra,
}

impl Platform {
    /// A platform of two words, in the common spelling: `x86_64` becomes `amd64`.
    pub fn new(os: &str, architecture: &str) -> Self {
        let (architecture, variant) = matching::common_architecture(architecture, None);
        Self { architecture, os: matching::common_os(os), variant, ..Self::default() }
    }

    /// The platform this program was built for; the CPU's variant is not asked.
    pub fn host() -> Self {
        use std::env::consts::{ARCH, OS};
        let little = cfg!(target_endian = "little");
        Self::new(OS, matching::go_architecture(ARCH, little))
    }

    /// Whether it names an operating system and an architecture. What builders put beside images
    /// in an index, such as BuildKit's attestations, is `unknown/unknown`.
    pub fn is_known(&self) -> bool {
        let known = |word: &str| !word.is_empty() && word != "unknown";
        known(&self.os) && known(&self.architecture)
    }
}

/// Parses `os/architecture[/variant]`, `os(version+feature)/architecture`, or an architecture
/// alone, which is that of Linux.
impl FromStr for Platform {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let fault = || {
            Error::invalid("not a platform")
                .expected("OS/ARCHITECTURE[/VARIANT], as in linux/arm64/v8")
                .found(shown(text))
        };
        let mut parts = text.splitn(4, '/');
        let (first, second, variant) = (parts.next().unwrap_or(""), parts.next(), parts.next());
        if text.len() > MAX_LENGTH || parts.next().is_some() {
            return Err(fault());
        }
        let words = [second, variant];
        if !words.iter().flatten().all(|word| is_word(word)) {
            return Err(fault());
        }
        let Some(architecture) = second else {
            return parse_alone(first).map_err(|hint| fault().hint(hint));
        };
        let (os, os_version, os_features) = parse_os(first).ok_or_else(fault)?;
        let (architecture, variant) = matching::common_architecture(architecture, variant);
        Ok(Self { architecture, os, os_version, os_features, variant, ..Self::default() })
    }
}

/// One word without a slash; the error is a hint.
fn parse_alone(word: &str) -> Result<Platform, String> {
    let platform = Platform::new("linux", word);
    if words::ARCHITECTURES.contains(&platform.architecture.as_str()) {
        return Ok(platform);
    }
    Err(match parse_os(word) {
        Some((os, ..)) if words::SYSTEMS.contains(&os.as_str()) => {
            format!("add the architecture: {word}/amd64, {word}/arm64")
        }
        _ => "common platforms are linux/amd64, linux/arm64, linux/arm/v7, windows/amd64".into(),
    })
}

/// `os`, `os(version)`, `os(+feature)` or `os(version+feature+feature)`, as containerd writes it.
fn parse_os(text: &str) -> Option<(String, Option<String>, Vec<String>)> {
    let Some((os, options)) = text.split_once('(') else {
        return is_word(text).then(|| (matching::common_os(text), None, Vec::new()));
    };
    let mut options = options.strip_suffix(')')?.split('+').map(decode);
    let version = options.next()??;
    let features: Vec<String> = options.collect::<Option<_>>()?;
    let sound = is_word(os) && features.iter().all(|feature| !feature.is_empty());
    let version = Some(version).filter(|version| !version.is_empty());
    sound.then(|| (matching::common_os(os), version, features))
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_plain)
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_.-".contains(&byte)
}

/// Undoes [`encode`]; nothing where the text is no such.
fn decode(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut plain = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        plain.push(match byte {
            b'%' => {
                let digit = |byte: u8| char::from(byte).to_digit(16);
                let (high, low) = (digit(bytes.next()?)?, digit(bytes.next()?)?);
                u8::try_from(high * 16 + low).ok()?
            }
            byte if is_plain(byte) => byte,
            _ => return None,
        });
    }
    String::from_utf8(plain).ok()
}

/// Writes what could be read as punctuation, or would disturb a terminal, as `%XX`.
fn encode(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    for byte in text.bytes() {
        if is_plain(byte) {
            write!(f, "{}", char::from(byte))?;
        } else {
            write!(f, "%{byte:02X}")?;
        }
    }
    Ok(())
}

/// `linux/arm64/v8`, `windows(10.0.17763.1)/amd64`; an absent part is `unknown`.
impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or_unknown = |text: &'_ str| if text.is_empty() { "unknown" } else { text }.to_owned();
        encode(f, &or_unknown(&self.os))?;
        let version = self.os_version.as_deref().unwrap_or("");
        if !version.is_empty() || !self.os_features.is_empty() {
            f.write_str("(")?;
            encode(f, version)?;
            for feature in &self.os_features {
                f.write_str("+")?;
                encode(f, feature)?;
            }
            f.write_str(")")?;
        }
        f.write_str("/")?;
        encode(f, &or_unknown(&self.architecture))?;
        match self.variant.as_deref() {
            None | Some("") => Ok(()),
            Some(variant) => {
                f.write_str("/")?;
                encode(f, variant)
            }
        }
    }
}

#[cfg(test)]
mod tests;

//! Which image runs on which machine, and the many spellings of one platform.

use super::Platform;

/// Windows Server 2022 and 2025.
const LONG_TERM_BUILDS: [u32; 2] = [20348, 26100];
/// The rank of an image that asks for no version on a Windows of a known one.
const ANY_VERSION: u32 = 100_000;
/// The rank of an image that asks for no variant on a machine of an unlisted one.
const ANY_VARIANT: u32 = 1000;

impl Platform {
    /// The one spelling that all equal platforms share, for comparisons: common words, no variant
    /// where it is the architecture's first (`amd64/v1`, `arm64/v8`), `v7` for a bare `arm`.
    #[must_use]
    pub fn normalized(&self) -> Self {
        let (architecture, variant) =
            common_architecture(&self.architecture, self.variant.as_deref());
        let variant = match (architecture.as_str(), variant.as_deref()) {
            ("amd64", Some("v1")) | ("arm64", Some("v8" | "v8.0")) | ("386", _) => None,
            ("arm64", Some("v9.0")) => Some("v9".to_owned()),
            ("arm", None) => Some("v7".to_owned()),
            _ => variant,
        };
        let mut os_features = self.os_features.clone();
        os_features.sort();
        os_features.dedup();
        Self {
            architecture,
            variant,
            os: common_os(&self.os),
            os_version: self.os_version.clone().filter(|version| !version.is_empty()),
            os_features,
            features: self.features.clone(),
            extra: self.extra.clone(),
        }
    }

    /// Whether an image for `candidate` runs on this machine.
    pub fn accepts(&self, candidate: &Self) -> bool {
        self.rank(candidate).is_some()
    }

    /// How well an image for `candidate` suits this machine: 0 for its very variant and Windows
    /// build, more for each older one that it still runs, nothing where it does not run.
    ///
    /// Another architecture never suits, not even one the CPU could run (`386` on `amd64`): who
    /// wants it asks for it.
    pub fn rank(&self, candidate: &Self) -> Option<u32> {
        let (machine, image) = (self.normalized(), candidate.normalized());
        let same = machine.os == image.os && machine.architecture == image.architecture;
        if !same || !machine.is_known() {
            return None;
        }
        Some(machine.rank_of_variant(&image)?.saturating_add(machine.rank_of_system(&image)?))
    }

    fn rank_of_variant(&self, image: &Self) -> Option<u32> {
        let (newer, older) = (self.variant.as_deref(), image.variant.as_deref());
        if newer == older {
            return Some(0);
        }
        let known = levels_between(&self.architecture, newer, older);
        // The variant is a "minimum runtime requirement"; who gives none requires none.
        known.unwrap_or_else(|| older.is_none().then_some(ANY_VARIANT))
    }

    /// The image that suits this machine best, by the number that stands beside it; the first of
    /// equals. image-spec, image-index.md: "the first matching entry SHOULD be used". An entry
    /// without a platform is never chosen.
    pub fn select<'a>(
        &self,
        candidates: impl IntoIterator<Item = (usize, Option<&'a Self>)>,
    ) -> Option<usize> {
        candidates
            .into_iter()
            .filter_map(|(index, platform)| Some((index, self.rank(platform?)?)))
            .min_by_key(|&(_, rank)| rank)
            .map(|(index, _)| index)
    }

    /// Each of `os.features` is "a mandatory OS feature". Of the version, only Windows is particular:
    /// its containers share the kernel's interfaces with the machine.
    fn rank_of_system(&self, image: &Self) -> Option<u32> {
        let offered = |feature| self.os_features.contains(feature);
        if !image.os_features.iter().all(offered) {
            return None;
        }
        match (&self.os_version, &image.os_version) {
            (Some(machine), Some(image)) if self.os == "windows" && machine != image => {
                // Another update of the same build runs as well, but is not the one asked for.
                builds_between(windows_build(machine)?, windows_build(image)?).map(|n| n.max(1))
            }
            (Some(_), None) if self.os == "windows" => Some(ANY_VERSION),
            _ => Some(0),
        }
    }
}

/// The first three numbers of a version; the fourth counts updates, which change no interface.
fn windows_build(version: &str) -> Option<[u32; 3]> {
    let mut numbers = version.split('.').map(|number| number.parse().ok());
    Some([numbers.next()??, numbers.next()??, numbers.next()??])
}

/// How far the build of an image is below that of a machine that runs it. Up to Windows Server 2019
/// both must be the same; since Server 2022 a machine runs images from the last long-term release
/// before its own build on, as Microsoft's "Windows container version compatibility" has it.
fn builds_between(machine: [u32; 3], image: [u32; 3]) -> Option<u32> {
    let (machine_build, image_build) = (machine[2], image[2]);
    if machine[..2] != image[..2] {
        return None;
    }
    if machine_build < LONG_TERM_BUILDS[0] {
        return (machine_build == image_build).then_some(0);
    }
    let before = LONG_TERM_BUILDS.iter().rfind(|build| **build < machine_build);
    let oldest = *before.unwrap_or(&LONG_TERM_BUILDS[0]);
    (oldest..=machine_build).contains(&image_build).then(|| machine_build - image_build)
}

/// How far `older` is below `newer`; the inner nothing says that it is above, the outer one that
/// the variants of this architecture have no known order.
fn levels_between(
    architecture: &str,
    newer: Option<&str>,
    older: Option<&str>,
) -> Option<Option<u32>> {
    if architecture == "arm64" {
        return Some(arm64_levels(arm64(newer)?, arm64(older)?));
    }
    let newer = level(architecture, newer)?;
    let older = level(architecture, older)?;
    Some(newer.checked_sub(older))
}

/// The place of a variant in its architecture's line. image-spec, image-index.md, "Platform
/// Variants"; what is meant without a variant is Go's default.
fn level(architecture: &str, variant: Option<&str>) -> Option<u32> {
    match (architecture, variant) {
        ("amd64", None) => Some(1),
        ("ppc64" | "ppc64le", None) => Some(8),
        ("riscv64", None) => Some(20),
        ("amd64" | "arm", Some(text)) => number(text.strip_prefix('v')?),
        ("ppc64" | "ppc64le", Some(text)) => number(text.strip_prefix("power")?),
        ("riscv64", Some(text)) => number(text.strip_prefix("rva")?.strip_suffix("u64")?),
        _ => None,
    }
}

/// Major and minor of `v8`, `v8.2`, `v9`, `v9.1`.
fn arm64(variant: Option<&str>) -> Option<(u32, u32)> {
    let text = variant.unwrap_or("v8").strip_prefix('v')?;
    let (major, minor) = text.split_once('.').unwrap_or((text, "0"));
    let version = (number(major)?, number(minor)?);
    matches!(version.0, 8 | 9).then_some(version)
}

/// Armv9.x runs all that Armv8.(x+5) runs.
fn arm64_levels(newer: (u32, u32), older: (u32, u32)) -> Option<u32> {
    match (newer, older) {
        ((9, newer), (8, older)) => Some(newer + 1 + (newer + 5).checked_sub(older)?),
        ((newer_major, newer), (older_major, older)) if newer_major == older_major => {
            newer.checked_sub(older)
        }
        _ => None,
    }
}

/// A small decimal number; the parser of the standard library would take a plus sign.
fn number(text: &str) -> Option<u32> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let number: u8 = text.parse().ok()?;
    digits.then_some(number.into())
}

/// The operating system's name in Go's words.
pub(super) fn common_os(os: &str) -> String {
    match os.to_ascii_lowercase().as_str() {
        "macos" => "darwin".to_owned(),
        other => other.to_owned(),
    }
}

/// The architecture and variant in Go's words; only what is spelled otherwise is changed.
pub(super) fn common_architecture(
    architecture: &str,
    variant: Option<&str>,
) -> (String, Option<String>) {
    let architecture = architecture.to_ascii_lowercase();
    let variant = variant.filter(|text| !text.is_empty());
    let variant = variant.map(str::to_ascii_lowercase);
    let (common, implied) = match architecture.as_str() {
        "x86_64" | "x86-64" => ("amd64", None),
        "i386" | "i486" | "i586" | "i686" | "x86" => ("386", None),
        "aarch64" => ("arm64", None),
        "armhf" => ("arm", Some("v7")),
        "armel" => ("arm", Some("v6")),
        other => (other, None),
    };
    let variant = match variant {
        _ if implied.is_some() => implied.map(str::to_owned),
        // `8` and `8.2` for `v8` and `v8.2`.
        Some(text)
            if matches!(common, "amd64" | "arm" | "arm64")
                && text.starts_with(|first: char| first.is_ascii_digit()) =>
        {
            Some(format!("v{text}"))
        }
        other => other,
    };
    (common.to_owned(), variant)
}

/// Go's word for what Rust calls an architecture.
pub(super) fn go_architecture(rust: &str, little_endian: bool) -> &str {
    match (rust, little_endian) {
        ("powerpc64", true) => "ppc64le",
        ("powerpc64", false) => "ppc64",
        ("mips", true) => "mipsle",
        ("mips64", true) => "mips64le",
        ("loongarch64", _) => "loong64",
        ("wasm32" | "wasm64", _) => "wasm",
        // `x86_64`, `x86` and `aarch64` are among the common other spellings.
        _ => rust,
    }
}

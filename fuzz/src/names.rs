//! Names that people and documents give: what parses prints as something that parses as itself.

use std::fmt::{Debug, Display};
use std::str::FromStr;

use conex_spec::{Digest, Location, Platform, Reference};

pub fn reference(data: &[u8]) {
    round_trip::<Reference>(data);
}

/// A digest that can be verified is safe as a part of a path (rule D1).
pub fn digest(data: &[u8]) {
    let Some(digest) = round_trip::<Digest>(data) else { return };
    if digest.algorithm().is_ok() {
        let encoded = digest.encoded();
        assert!(encoded.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')), "{encoded}");
    }
}

pub fn platform(data: &[u8]) {
    if let Some(platform) = round_trip::<Platform>(data) {
        assert_eq!(platform.normalized(), platform.normalized().normalized(), "{platform}");
    }
}

pub fn location(data: &[u8]) {
    round_trip::<Location>(data);
}

fn round_trip<T: FromStr + Display + Debug + PartialEq>(data: &[u8]) -> Option<T> {
    let value: T = std::str::from_utf8(data).ok()?.parse().ok()?;
    let printed = value.to_string();
    match printed.parse::<T>() {
        Ok(again) => assert_eq!(again, value, "{printed:?}"),
        Err(_) => panic!("{value:?} prints as {printed:?}, which does not parse"),
    }
    Some(value)
}

//! The compact form of RFC 7515: `HEADER.PAYLOAD.SIGNATURE`, each in base64 without padding.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use serde::Deserialize;

use super::jwks::Keys;
use super::{Claims, Refused};

const OWN_HEADER: &str = r#"{"typ":"JWT","alg":"HS256"}"#;

/// What a token says of its signature. Whatever else it says (`jwk`, `jku`, `x5c`) is not looked at.
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<serde_json::Value>,
}

pub(super) fn seal(key: &hmac::Key, claims: &Claims) -> String {
    let payload = serde_json::to_vec(claims).unwrap_or_default();
    let signed = format!("{}.{}", encode(OWN_HEADER), encode(payload));
    let seal = hmac::sign(key, signed.as_bytes());
    format!("{signed}.{}", encode(seal))
}

pub(super) fn open(token: &str, key: &hmac::Key) -> Result<Claims, Refused> {
    let parts = Parts::of(token)?;
    parts.header("HS256")?;
    hmac::verify(key, parts.signed.as_bytes(), &parts.signature).map_err(|_| FORGED)?;
    parts.claims()
}

pub(super) fn verify(token: &str, keys: &Keys) -> Result<Claims, Refused> {
    let parts = Parts::of(token)?;
    let kid = parts.raw_header()?.kid;
    let fitting = keys.named(kid.as_deref());
    let mut right = fitting.filter(|key| parts.header(key.algorithm).is_ok());
    if !right.any(|key| key.verify(parts.signed.as_bytes(), &parts.signature)) {
        return Err(FORGED);
    }
    parts.claims()
}

/// Beneath a text that is no token, as no token begins with a space.
pub(super) fn mark(key: &hmac::Key, text: &str) -> String {
    encode(&hmac::sign(key, format!(" {text}").as_bytes()).as_ref()[..16])
}

const FORGED: Refused = "the token is not signed with a key that is trusted here";
const MALFORMED: Refused = "the token is malformed";

struct Parts<'a> {
    signed: &'a str,
    header: Vec<u8>,
    payload: Vec<u8>,
    signature: Vec<u8>,
}

impl<'a> Parts<'a> {
    fn of(token: &'a str) -> Result<Self, Refused> {
        let (signed, signature) = token.rsplit_once('.').ok_or(MALFORMED)?;
        let (header, payload) = signed.split_once('.').ok_or(MALFORMED)?;
        let bytes = |text| URL_SAFE_NO_PAD.decode(text).map_err(|_| MALFORMED);
        Ok(Self {
            signed,
            header: bytes(header)?,
            payload: bytes(payload)?,
            signature: bytes(signature)?,
        })
    }

    fn raw_header(&self) -> Result<Header, Refused> {
        serde_json::from_slice(&self.header).map_err(|_| MALFORMED)
    }

    fn header(&self, algorithm: &str) -> Result<(), Refused> {
        let header = self.raw_header()?;
        // "If any of the listed extension Header Parameters are not understood and supported by
        // the recipient, then the JWS is invalid." RFC 7515, 4.1.11.
        if header.alg == algorithm && header.crit.is_none() { Ok(()) } else { Err(FORGED) }
    }

    fn claims(&self) -> Result<Claims, Refused> {
        serde_json::from_slice(&self.payload).map_err(|_| MALFORMED)
    }
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

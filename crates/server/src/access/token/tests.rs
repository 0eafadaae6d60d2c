use super::*;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};

const NOW: u64 = 1_700_000_000;

fn pull(repository: &str) -> Vec<Scope> {
    vec![Scope::parse(&format!("repository:{repository}:pull")).unwrap()]
}

#[test]
fn our_own_tokens_are_for_one_registry_and_one_time() {
    let mint = Mint::new(b"key");
    let token = mint.issue(Some("alice"), "here", pull("a/b"), (NOW, 300));
    let claims = mint.check(&token, "here", NOW).unwrap();
    assert_eq!(claims.user(), Some("alice"));
    assert_eq!(claims.allows("a/b"), Actions::PULL);
    assert_eq!(claims.allows("a"), Actions::NONE);
    assert!(mint.check(&token, "here", NOW + 300 + SKEW - 1).is_ok());
    assert!(mint.check(&token, "here", NOW + 300 + SKEW).is_err());
    assert!(mint.check(&token, "here", NOW - SKEW - 1).is_err());
    assert!(mint.check(&token, "there", NOW).is_err());
    assert!(Mint::new(b"other").check(&token, "here", NOW).is_err());
    let stranger = mint.issue(None, "here", vec![], (NOW, 300));
    assert_eq!(mint.check(&stranger, "here", NOW).unwrap().user(), None);
}

#[test]
fn a_changed_token_is_none() {
    let mint = Mint::new(b"key");
    let token = mint.issue(Some("alice"), "here", pull("a"), (NOW, 300));
    for at in 0..token.len() {
        let mut bytes = token.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'Q' } else { b'A' };
        let changed = String::from_utf8(bytes).unwrap();
        assert!(mint.check(&changed, "here", NOW).is_err(), "{at}");
    }
    for bad in ["", ".", "..", "a.b.c", "....", "é.é.é"] {
        assert!(mint.check(bad, "here", NOW).is_err(), "{bad}");
    }
    assert_eq!(
        mint.check(&"a".repeat(LIMIT + 1), "here", NOW).unwrap_err(),
        "the token is too long"
    );
}

fn encode(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(value).unwrap())
}

fn claims() -> Value {
    json!({
        "iss": "issuer", "sub": "bob", "aud": ["x", "here"], "exp": NOW + 60, "iat": NOW,
        "access": [{"type": "repository", "name": "a", "actions": ["pull", "push"]}],
    })
}

struct Signer {
    p256: EcdsaKeyPair,
    ed: Ed25519KeyPair,
    issuer: Issuer,
    dir: tempfile::TempDir,
}

impl Signer {
    fn new() -> Self {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        let p256 = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).unwrap();
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
        let ed = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap();
        let point = p256.public_key().as_ref();
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let keys = json!({"keys": [
            {"kty": "EC", "crv": "P-256", "kid": "one", "x": text(&point[1..33]), "y": text(&point[33..])},
            {"kty": "OKP", "crv": "Ed25519", "kid": "two", "x": text(ed.public_key().as_ref())},
            {"kty": "oct", "k": "c2VjcmV0"},
        ]});
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys.json");
        std::fs::write(&path, keys.to_string()).unwrap();
        let issuer = Issuer::open("https://auth.test/token", "here", "issuer", &path).unwrap();
        Self { p256, ed, issuer, dir }
    }

    fn es256(&self, header: &Value, claims: &Value) -> String {
        let signed = format!("{}.{}", encode(header), encode(claims));
        let signature = self.p256.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn check(&self, token: &str) -> Result<Claims, Refused> {
        self.issuer.check(token, NOW)
    }
}

#[test]
fn an_issuers_tokens_are_checked_against_its_keys() {
    let signer = Signer::new();
    for kid in [json!({"alg": "ES256"}), json!({"alg": "ES256", "kid": "one"})] {
        let found = signer.check(&signer.es256(&kid, &claims())).unwrap();
        assert_eq!((found.user(), found.allows("a").has(Actions::PUSH)), (Some("bob"), true));
    }
    let signed =
        format!("{}.{}", encode(&json!({"alg": "EdDSA", "kid": "two"})), encode(&claims()));
    let signature = URL_SAFE_NO_PAD.encode(signer.ed.sign(signed.as_bytes()));
    signer.check(&format!("{signed}.{signature}")).unwrap();
}

/// Rule R6.
#[test]
fn forged_tokens_are_refused() {
    let signer = Signer::new();
    let stranger = Signer::new();
    let es256 = json!({"alg": "ES256", "kid": "one"});
    assert!(signer.check(&stranger.es256(&es256, &claims())).is_err(), "another key");
    let point = stranger.p256.public_key().as_ref();
    let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let own_key = json!({"alg": "ES256", "kid": "one", "jwk": {
        "kty": "EC", "crv": "P-256", "x": text(&point[1..33]), "y": text(&point[33..])}});
    assert!(signer.check(&stranger.es256(&own_key, &claims())).is_err(), "a key of its own");
    for header in
        [json!({"alg": "none"}), json!({"alg": "None"}), json!({}), json!({"alg": "HS256"})]
    {
        let unsigned = format!("{}.{}.", encode(&header), encode(&claims()));
        assert!(signer.check(&unsigned).is_err(), "{header}");
        assert!(signer.check(&signer.es256(&header, &claims())).is_err(), "{header}");
    }
    // The public key, which everyone knows, taken for a secret.
    let signed =
        format!("{}.{}", encode(&json!({"alg": "HS256", "kid": "one"})), encode(&claims()));
    let public = hmac::Key::new(hmac::HMAC_SHA256, signer.p256.public_key().as_ref());
    let seal = URL_SAFE_NO_PAD.encode(hmac::sign(&public, signed.as_bytes()));
    assert!(signer.check(&format!("{signed}.{seal}")).is_err());
    let other_kid = json!({"alg": "ES256", "kid": "two"});
    assert!(signer.check(&signer.es256(&other_kid, &claims())).is_err(), "another key's name");
    let critical = json!({"alg": "ES256", "crit": ["exp"]});
    assert!(signer.check(&signer.es256(&critical, &claims())).is_err());
}

#[test]
fn what_a_token_claims_must_hold() {
    let signer = Signer::new();
    let header = json!({"alg": "ES256"});
    for (name, value) in [
        ("iss", json!("someone")),
        ("aud", json!("there")),
        ("aud", json!([])),
        ("exp", json!(NOW - SKEW)),
        ("exp", json!(null)),
        ("exp", json!(-1)),
        ("nbf", json!(NOW + SKEW + 1)),
    ] {
        let mut claims = claims();
        claims[name] = value.clone();
        assert!(signer.check(&signer.es256(&header, &claims)).is_err(), "{name} {value}");
    }
    let mut all = claims();
    all["access"] = json!([{"type": "registry", "name": "catalog", "actions": ["*"]}]);
    let found = signer.check(&signer.es256(&header, &all)).unwrap();
    assert!(found.allows_catalog() && found.allows("a") == Actions::NONE);
}

#[test]
fn a_changed_file_of_keys_is_read_again() {
    let (signer, next) = (Signer::new(), Signer::new());
    let token = |signer: &Signer| signer.es256(&json!({"alg": "ES256", "kid": "one"}), &claims());
    let (old, new) = (token(&signer), token(&next));
    let path = signer.dir.path().join("keys.json");
    assert!(signer.issuer.refresh().is_none());
    assert!(signer.check(&old).is_ok() && signer.check(&new).is_err());
    // What is of no use is told once, and the keys before it stay.
    for bad in [Some("{"), None] {
        match bad {
            Some(text) => std::fs::write(&path, text).unwrap(),
            None => std::fs::remove_file(&path).unwrap(),
        }
        let told = signer.issuer.refresh().unwrap().to_string();
        assert!(told.contains("keys.json") && told.contains("are still used"), "{told}");
        assert!(signer.issuer.refresh().is_none() && signer.check(&old).is_ok());
    }
    std::fs::copy(next.dir.path().join("keys.json"), &path).unwrap();
    assert!(signer.issuer.refresh().is_none());
    assert!(signer.check(&old).is_err() && signer.check(&new).is_ok());
}

#[test]
fn key_files_that_serve_nothing_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys.json");
    for (text, message) in [
        ("", "not a JWK Set"),
        ("[]", "not a JWK Set"),
        (r#"{"keys": []}"#, "no key that can be used"),
        (r#"{"keys": [{"kty": "oct", "k": "x"}]}"#, "no key that can be used"),
        (r#"{"keys": [{"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}]}"#, "no key"),
        (r#"{"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "AA", "d": "AA"}]}"#, "private key"),
        (r#"{"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "AA", "use": "enc"}]}"#, "no key"),
    ] {
        std::fs::write(&path, text).unwrap();
        let err = Issuer::open("r", "s", "i", &path).unwrap_err();
        assert!(err.to_string().contains(message), "{text}: {err}");
    }
}

#[test]
fn scopes_are_read_as_clients_write_them() {
    let scope = Scope::parse("repository:host:5000/a/b:pull,push").unwrap();
    assert_eq!((scope.kind.as_str(), scope.name.as_str()), ("repository", "host:5000/a/b"));
    assert_eq!(scope.actions, ["pull", "push"]);
    assert!(Scope::parse("repository").is_none() && Scope::parse("a:b").is_none());
}

use super::*;

fn url(text: &str) -> Url {
    text.parse().unwrap()
}

fn origin(text: &str) -> Origin {
    Origin::of(&url(text)).unwrap()
}

#[test]
fn an_origin_is_scheme_host_and_port() {
    let registry = origin("https://r.example/v2/");
    for same in ["https://r.example:443/x", "https://R.EXAMPLE/", "HTTPS://r.example"] {
        assert!(may_see_secrets(&registry, &url(same)), "{same}");
    }
    for other in [
        "http://r.example/",
        "https://r.example:444/",
        "https://r.example.evil/",
        "https://evil.r.example/",
        "https://r.example@evil/",
        "ftp://r.example/",
    ] {
        assert!(!may_see_secrets(&registry, &url(other)), "{other}");
    }
    assert_eq!(origin("https://[::1]:5000/").to_string(), "https://[::1]:5000");
    assert_eq!(origin("http://r.example:80/").to_string(), "http://r.example");
}

#[test]
fn addresses_and_what_hides_them() {
    for (address, reach) in [
        ("8.8.8.8", Reach::Public),
        ("10.1.2.3", Reach::Private),
        ("172.31.0.1", Reach::Private),
        ("192.168.0.1", Reach::Private),
        ("100.64.0.1", Reach::Private),
        ("100.128.0.1", Reach::Public),
        ("127.0.0.1", Reach::Loopback),
        ("127.255.255.255", Reach::Loopback),
        ("169.254.169.254", Reach::Special),
        ("0.0.0.0", Reach::Special),
        ("255.255.255.255", Reach::Special),
        ("224.0.0.1", Reach::Special),
        ("2001:4860:4860::8888", Reach::Public),
        ("fd00::1", Reach::Private),
        ("fe80::1", Reach::Special),
        ("ff02::1", Reach::Special),
        ("::", Reach::Special),
        ("::1", Reach::Loopback),
        ("::ffff:127.0.0.1", Reach::Loopback),
        ("::ffff:169.254.169.254", Reach::Special),
        ("::ffff:8.8.8.8", Reach::Public),
        ("::7f00:1", Reach::Loopback),
        ("2002:7f00:1::", Reach::Loopback),
        ("2002:a9fe:a9fe::1", Reach::Special),
        ("64:ff9b::a00:1", Reach::Private),
    ] {
        assert_eq!(Reach::of(address.parse().unwrap()), reach, "{address}");
    }
}

/// WHATWG's parser makes one address of its many spellings before it is judged.
/// Rule C3.
#[test]
fn spelled_addresses_are_judged() {
    for (text, reach) in [
        ("https://2130706433/", Reach::Loopback),
        ("https://0177.0.0.1/", Reach::Loopback),
        ("https://0x7f.1/", Reach::Loopback),
        ("https://[::ffff:169.254.169.254]/", Reach::Special),
    ] {
        assert_eq!(Reach::of_literal(&url(text)), Some(reach), "{text}");
        assert_eq!(check_literal(&url(text), Reach::Public).unwrap_err().kind(), Kind::Denied);
        check_literal(&url(text), Reach::Special).unwrap();
    }
    assert_eq!(Reach::of_literal(&url("https://r.example/")), None);
    check_literal(&url("https://127.0.0.1/"), Reach::Loopback).unwrap();
    assert!(check_literal(&url("https://169.254.169.254/"), Reach::Loopback).is_err());
}

/// Rule C9.
#[test]
fn redirects_never_lose_tls_and_never_leave_http() {
    let from = url("https://r.example/v2/a/blobs/x");
    for (location, expected) in [
        ("/y?sig=a%2fb", Some("https://r.example/y?sig=a%2fb")),
        ("y", Some("https://r.example/v2/a/blobs/y")),
        ("//cdn.example/y", Some("https://cdn.example/y")),
        ("https://u:p@cdn.example/y#f", Some("https://cdn.example/y")),
        ("http://r.example/y", Some("https://r.example/y")),
        ("http://cdn.example/y", None),
        ("http://r.example:81/y", None),
        ("file:///etc/passwd", None),
        ("ftp://r.example/", None),
        ("gopher://r.example/", None),
        ("https://", None),
    ] {
        let found = redirect(&from, location).ok();
        assert_eq!(found.as_ref().map(Url::as_str), expected, "{location}");
    }
    let plain = url("http://127.0.0.1:5000/v2/");
    assert!(redirect(&plain, "http://127.0.0.2/x").is_ok());
}

/// Rule C5.
#[test]
fn pages_stay_at_the_registry() {
    let registry = origin("https://r.example");
    let from = url("https://r.example/v2/a/tags/list");
    assert!(page(&registry, &from, "/v2/a/tags/list?last=b").is_ok());
    assert!(page(&registry, &from, "http://r.example/v2/a/tags/list?last=b").is_ok());
    for other in ["https://evil.example/", "//evil.example/", "https://r.example:444/", "file:///x"]
    {
        assert_eq!(page(&registry, &from, other).unwrap_err().kind(), Kind::Denied, "{other}");
    }
}

#[test]
fn uploads_may_go_on_elsewhere_but_not_without_tls() {
    let registry = origin("https://r.example:5000");
    let from = url("https://r.example:5000/v2/a/blobs/uploads/");
    let to = |location: &str| upload(&registry, &from, location);
    assert_eq!(to("/u/1?a=b%2F").unwrap().as_str(), "https://r.example:5000/u/1?a=b%2F");
    assert_eq!(to("http://r.example:5000/u").unwrap().as_str(), "https://r.example:5000/u");
    assert_eq!(to("http://r.example/u").unwrap().as_str(), "https://r.example:5000/u");
    assert!(to("https://storage.example/u").is_ok());
    assert!(to("http://storage.example/u").is_err());
}

#[test]
fn token_servers_have_tls_where_the_registry_has_it() {
    let registry = origin("https://r.example");
    assert!(realm(&registry, "https://auth.example/token?x=y").is_ok());
    for bad in ["http://auth.example/", "ftp://auth.example/", "auth.example", "", "/token"] {
        assert!(realm(&registry, bad).is_err(), "{bad}");
    }
    assert!(realm(&origin("http://127.0.0.1:5000"), "http://127.0.0.1:5001/token").is_ok());
}

#[test]
fn passwords_stay_in_the_domain() {
    let check = |registry: &str, realm: &str, allowed: &[(String, String)]| {
        let origin = Origin::new("https", registry).unwrap();
        check_password(registry, &origin, &url(realm), allowed).is_ok()
    };
    for (registry, realm) in [
        ("registry-1.docker.io", "https://auth.docker.io/token"),
        ("registry.gitlab.com", "https://gitlab.com/jwt/auth"),
        ("registry.digitalocean.com", "https://api.digitalocean.com/v2/registry/auth"),
        ("ghcr.io", "https://ghcr.io/token"),
        ("registry.corp.co.uk", "https://auth.corp.co.uk/token"),
        ("a.azurecr.io", "https://a.azurecr.io/oauth2/token"),
        ("r.example:5000", "https://r.example:5001/token"),
        ("10.0.0.1:5000", "https://10.0.0.1/token"),
        ("localhost:5000", "https://localhost:5001/token"),
    ] {
        assert!(check(registry, realm, &[]), "{registry} {realm}");
    }
    for (registry, realm) in [
        ("ghcr.io", "https://evil.io/token"),
        ("registry.corp.co.uk", "https://evil.co.uk/token"),
        ("a.azurecr.io", "https://evil.azurecr.io/token"),
        ("r.example", "https://r.example.evil.com/token"),
        ("10.0.0.1:5000", "https://10.0.0.2/token"),
        ("127.0.0.1:5000", "https://127.0.0.2/token"),
        ("[::1]:5000", "https://[::2]/token"),
        ("localhost:5000", "https://evil/token"),
        ("co.uk", "https://co.uk.evil/token"),
    ] {
        assert!(!check(registry, realm, &[]), "{registry} {realm}");
    }
    let pair = [("r.example".to_owned(), "auth.other".to_owned())];
    assert!(check("r.example", "https://auth.other/token", &pair));
    assert!(!check("s.example", "https://auth.other/token", &pair));
}

#[test]
fn a_url_is_shown_without_its_query() {
    let signed = url("https://cdn.example/x?X-Amz-Signature=canary");
    assert_eq!(shown(&signed), "https://cdn.example/x?…");
}

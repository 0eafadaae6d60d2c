//! Who may do what. Rules R1 to R5 and R8.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests stop at the first surprise")]

use crate::common;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::{Registry, header, manifest};
use conex_server::access::htpasswd::Users;
use conex_server::access::rules::{Actions, Rule, Rules};
use conex_server::access::token::Own;
use conex_server::access::{Permissions, Tokens};
use conex_spec::{Digest, MediaType};
use reqwest::{RequestBuilder, Response};
use serde_json::{Value, json};

fn rule(repository: &str, user: &str, actions: &[Actions]) -> Rule {
    Rule {
        repositories: vec![repository.parse().unwrap()],
        users: vec![user.parse().unwrap()],
        actions: actions.iter().fold(Actions::NONE, |all, one| all.and(*one)),
    }
}

/// alice owns `a/*`, bob owns `b/*` and may push to `shared/*`; everyone reads `public/*`.
fn access(dir: &std::path::Path, tokens: Tokens) -> Permissions {
    let path = dir.join("users");
    let line =
        |user: &str| format!("{user}:{}\n", bcrypt::hash(format!("{user}-word"), 4).unwrap());
    std::fs::write(&path, line("alice") + &line("bob")).unwrap();
    let rules = Rules::new(vec![
        rule("a/*", "alice", &[Actions::ALL]),
        rule("b/*", "bob", &[Actions::ALL]),
        rule("shared/*", "alice", &[Actions::ALL]),
        rule("shared/*", "bob", &[Actions::PULL, Actions::PUSH]),
        rule("public/*", "anonymous", &[Actions::PULL]),
        rule("public/*", "alice", &[Actions::PUSH]),
    ]);
    Permissions { users: Some(Users::open(path).unwrap()), tokens, rules }
}

struct Guarded {
    registry: Registry,
    dir: tempfile::TempDir,
}

impl Guarded {
    async fn start(tokens: Tokens) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let access = access(dir.path(), tokens);
        Self { registry: Registry::with(|config| config.access = access).await, dir }
    }

    fn request(&self, user: &str, method: &str, path: &str) -> RequestBuilder {
        let request = self.registry.request(method, path);
        if user.is_empty() { request } else { request.header("authorization", basic(user)) }
    }

    async fn ask(&self, user: &str, method: &str, path: &str) -> Response {
        self.request(user, method, path).send().await.unwrap()
    }

    async fn status(&self, user: &str, method: &str, path: &str) -> u16 {
        self.ask(user, method, path).await.status().as_u16()
    }

    async fn push_blob(&self, user: &str, repository: &str, bytes: &[u8]) -> Digest {
        let digest = Digest::sha256(bytes);
        let path = format!("/v2/{repository}/blobs/uploads/?digest={digest}");
        let answer = self.request(user, "POST", &path).body(bytes.to_vec()).send().await.unwrap();
        assert_eq!(answer.status(), 201);
        digest
    }

    /// Puts a manifest; images differ by their annotation.
    async fn put(&self, user: &str, repository: &str, target: &str, note: &str) -> u16 {
        let config = conex_spec::Descriptor::of(MediaType::new("application/json"), b"{}");
        let body = manifest(&config, &[], json!({ "annotations": { "note": note } }));
        let request = self.request(user, "PUT", &format!("/v2/{repository}/manifests/{target}"));
        let request = request.header("content-type", MediaType::MANIFEST.as_str()).body(body);
        request.send().await.unwrap().status().as_u16()
    }

    async fn push_image(&self, user: &str, repository: &str, tag: &str) {
        self.push_blob(user, repository, b"{}").await;
        assert_eq!(self.put(user, repository, tag, "first").await, 201);
    }

    async fn token(&self, user: &str, scope: &str) -> Value {
        let path = format!("/token?service=x&scope={scope}");
        let answer = self.ask(user, "GET", &path).await;
        assert_eq!(answer.status(), 200);
        serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap()
    }
}

fn basic(user: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{user}-word")))
}

#[tokio::test]
async fn each_may_do_what_the_rules_allow_and_nothing_else() {
    let guarded = Guarded::start(Tokens::None).await;
    guarded.push_image("alice", "a/x", "1").await;
    guarded.push_image("alice", "public/x", "1").await;
    for (user, method, path, status) in [
        ("alice", "GET", "/v2/", 200),
        ("", "GET", "/v2/", 401),
        ("alice", "GET", "/v2/a/x/manifests/1", 200),
        ("bob", "GET", "/v2/a/x/manifests/1", 403),
        ("", "GET", "/v2/a/x/manifests/1", 401),
        ("", "GET", "/v2/public/x/manifests/1", 200),
        ("bob", "GET", "/v2/public/x/manifests/1", 200),
        ("bob", "POST", "/v2/public/x/blobs/uploads/", 403),
        ("", "POST", "/v2/public/x/blobs/uploads/", 401),
        ("bob", "GET", "/v2/a/x/tags/list", 403),
        ("bob", "DELETE", "/v2/a/x/manifests/1", 403),
        ("alice", "DELETE", "/v2/public/x/manifests/1", 403),
        ("alice", "DELETE", "/v2/a/x/manifests/1", 202),
        // Where nothing is, the answer is the same.
        ("bob", "GET", "/v2/a/nothing/manifests/1", 403),
        ("", "GET", "/v2/a/nothing/manifests/1", 401),
    ] {
        assert_eq!(guarded.status(user, method, path).await, status, "{user} {method} {path}");
    }
}

#[tokio::test]
async fn wrong_credentials_are_refused_even_where_strangers_may_read() {
    let guarded = Guarded::start(Tokens::None).await;
    guarded.push_image("alice", "public/x", "1").await;
    for value in [
        format!("Basic {}", STANDARD.encode("alice:wrong")),
        format!("Basic {}", STANDARD.encode("carol:carol-word")),
        format!("Basic {}", STANDARD.encode("alice")),
        "Basic ?".to_owned(),
        "Bearer abc".to_owned(),
        "Digest abc".to_owned(),
    ] {
        let request = guarded.registry.request("GET", "/v2/public/x/manifests/1");
        let answer = request.header("authorization", &value).send().await.unwrap();
        assert_eq!(answer.status(), 401, "{value}");
        assert!(header(&answer, "www-authenticate").starts_with("Basic "));
        let body: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        assert_eq!(body["errors"][0]["code"], "UNAUTHORIZED");
    }
}

/// Rule R1: what someone may not read cannot be mounted, and the answer does not tell whether it
/// is there.
#[tokio::test]
async fn nothing_is_mounted_from_where_one_may_not_read() {
    let guarded = Guarded::start(Tokens::None).await;
    let secret = guarded.push_blob("alice", "a/x", b"secret").await;
    let path = |digest: &Digest| format!("/v2/b/x/blobs/uploads/?mount={digest}&from=a/x");
    for digest in [&secret, &Digest::sha256(b"nothing")] {
        assert_eq!(guarded.status("bob", "POST", &path(digest)).await, 202);
        let anywhere = format!("/v2/b/x/blobs/uploads/?mount={digest}");
        assert_eq!(guarded.status("bob", "POST", &anywhere).await, 202);
    }
    assert_eq!(guarded.status("bob", "GET", &format!("/v2/b/x/blobs/{secret}")).await, 404);
    let own = format!("/v2/a/y/blobs/uploads/?mount={secret}&from=a/x");
    assert_eq!(guarded.status("alice", "POST", &own).await, 201);
}

/// Rules R1 to R4 together: whatever bob asks of what is alice's, with his password or with a token
/// of his own, is answered as if it were not there, and leaves it as it was.
#[tokio::test]
async fn nobody_learns_or_changes_what_another_has() {
    let guarded = Guarded::start(Tokens::Own(Own::default())).await;
    guarded.push_image("alice", "a/x", "1").await;
    let blob = guarded.push_blob("alice", "a/x", b"secret").await;
    let location =
        header(&guarded.ask("alice", "POST", "/v2/a/x/blobs/uploads/").await, "location");
    let end = Digest::sha256(b"secret");
    let manifest =
        header(&guarded.ask("alice", "HEAD", "/v2/a/x/manifests/1").await, "docker-content-digest");
    let none = Digest::sha256(b"none");
    let token =
        guarded.token("bob", "repository:a/x:pull,push,delete repository:b/x:pull,push").await;
    let bearer = format!("Bearer {}", token["token"].as_str().unwrap());
    for (there, missing) in [
        ("/v2/a/x/manifests/1".to_owned(), "/v2/a/x/manifests/2".to_owned()),
        (format!("/v2/a/x/manifests/{manifest}"), format!("/v2/a/x/manifests/{none}")),
        (format!("/v2/a/x/blobs/{blob}"), format!("/v2/a/x/blobs/{none}")),
        ("/v2/a/x/tags/list".into(), "/v2/a/none/tags/list".into()),
        (format!("/v2/a/x/referrers/{manifest}"), format!("/v2/a/x/referrers/{none}")),
        ("/v2/a/x/blobs/uploads/".into(), "/v2/a/none/blobs/uploads/".into()),
        (
            format!("{location}&digest={end}"),
            "/v2/a/x/blobs/uploads/00000000-0000-4000-8000-000000000000".into(),
        ),
        (
            format!("/v2/b/x/blobs/uploads/?mount={blob}&from=a/x"),
            format!("/v2/b/x/blobs/uploads/?mount={none}&from=a/x"),
        ),
        (
            location.replace("/a/x/", "/b/x/"),
            "/v2/b/x/blobs/uploads/00000000-0000-4000-8000-000000000000".into(),
        ),
    ] {
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"] {
            for credentials in [basic("bob"), bearer.clone()] {
                let mut answers = Vec::new();
                for path in [&there, &missing] {
                    let request = guarded.registry.request(method, path);
                    let request = request.header("authorization", &credentials).body("x");
                    let answer = request.send().await.unwrap();
                    let status = answer.status().as_u16();
                    let length = answer.bytes().await.unwrap().len();
                    assert!(status == 202 || status >= 400, "{method} {path}: {status}");
                    assert!(status < 500, "{method} {path}: {status}");
                    // A name that is longer may stand in the answer.
                    answers.push((status, if there.len() == missing.len() { length } else { 0 }));
                }
                assert_eq!(answers[0], answers[1], "{method} {there}");
            }
        }
    }
    assert_eq!(guarded.status("bob", "GET", &format!("/v2/b/x/blobs/{blob}")).await, 404);
    let got = guarded.ask("alice", "GET", &format!("/v2/a/x/blobs/{blob}")).await;
    assert_eq!(got.bytes().await.unwrap(), "secret");
    assert_eq!(guarded.status("alice", "GET", "/v2/a/x/manifests/1").await, 200);
    assert_eq!(header(&guarded.ask("alice", "GET", &location).await, "range"), "0-0");
}

/// Rule R3.
#[tokio::test]
async fn an_upload_is_its_owners_alone() {
    let guarded = Guarded::start(Tokens::None).await;
    let answer = guarded.ask("alice", "POST", "/v2/shared/x/blobs/uploads/").await;
    let location = header(&answer, "location");
    let bare = location.split('?').next().unwrap().to_owned();
    for path in [&location, &bare] {
        for method in ["GET", "PATCH", "PUT", "DELETE"] {
            assert_eq!(guarded.status("bob", method, path).await, 404, "{method} {path}");
        }
    }
    assert_eq!(guarded.status("alice", "GET", &bare).await, 404);
    let answer = guarded.request("alice", "PATCH", &location).body("abc").send().await.unwrap();
    assert_eq!(answer.status(), 202);
    let end = format!("{}&digest={}", header(&answer, "location"), Digest::sha256(b"abc"));
    assert_eq!(guarded.status("alice", "PUT", &end).await, 201);
}

/// Rule R4: also for the tags in a query.
#[tokio::test]
async fn who_may_not_overwrite_makes_new_tags_only() {
    let guarded = Guarded::start(Tokens::None).await;
    guarded.push_image("alice", "shared/x", "1").await;
    assert_eq!(guarded.put("bob", "shared/x", "1", "other").await, 403);
    assert_eq!(guarded.put("bob", "shared/x", "1", "first").await, 201, "the same content");
    assert_eq!(guarded.put("bob", "shared/x", "2", "other").await, 201);
    assert_eq!(guarded.put("bob", "shared/x", "3?tag=4&tag=1", "third").await, 403);
    assert_eq!(guarded.status("bob", "GET", "/v2/shared/x/manifests/4").await, 404);
    assert_eq!(guarded.put("alice", "shared/x", "1", "other").await, 201);
}

/// Rule R8.
#[tokio::test]
async fn the_catalog_shows_what_one_may_pull() {
    let guarded = Guarded::start(Tokens::None).await;
    for repository in ["a/x", "public/x", "public/y", "shared/x"] {
        guarded.push_image("alice", repository, "1").await;
    }
    guarded.push_image("bob", "b/x", "1").await;
    let list = async |user: &str, query: &str| {
        let answer = guarded.ask(user, "GET", &format!("/v2/_catalog{query}")).await;
        assert_eq!(answer.status(), 200);
        let body: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        body["repositories"]
            .as_array()
            .unwrap()
            .iter()
            .map(|name| name.as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    // alice may push to `public/*`, and reads it as everyone does.
    assert_eq!(list("alice", "").await, ["a/x", "public/x", "public/y", "shared/x"]);
    assert_eq!(list("bob", "").await, ["b/x", "public/x", "public/y", "shared/x"]);
    assert_eq!(list("", "").await, ["public/x", "public/y"]);
    assert_eq!(list("bob", "?n=2").await, ["b/x", "public/x"]);
    assert_eq!(list("bob", "?n=2&last=public/x").await, ["public/y", "shared/x"]);
}

#[tokio::test]
async fn our_tokens_open_what_was_asked_for_and_is_allowed() {
    let guarded = Guarded::start(Tokens::Own(Own::default())).await;
    guarded.push_image("alice", "a/x", "1").await;
    let answer = guarded.ask("", "GET", "/v2/a/x/manifests/1").await;
    assert_eq!(answer.status(), 401);
    let host = guarded.registry.address;
    let expected = format!(
        "Bearer realm=\"http://{host}/token\",service=\"{host}\",scope=\"repository:a/x:pull\""
    );
    assert_eq!(header(&answer, "www-authenticate"), expected);

    let bearer = async |token: &Value, method: &str, path: &str| {
        let value = format!("Bearer {}", token["token"].as_str().unwrap());
        let request = guarded.registry.request(method, path).header("authorization", value);
        request.send().await.unwrap()
    };
    let token = guarded.token("alice", "repository:a/x:pull").await;
    assert_eq!(bearer(&token, "GET", "/v2/a/x/manifests/1").await.status(), 200);
    assert_eq!(bearer(&token, "GET", "/v2/").await.status(), 200);
    let refused = bearer(&token, "POST", "/v2/a/x/blobs/uploads/").await;
    assert_eq!(refused.status(), 401);
    assert!(
        header(&refused, "www-authenticate")
            .ends_with("scope=\"repository:a/x:pull,push\",error=\"insufficient_scope\"")
    );
    let bobs = guarded.token("bob", "repository:a/x:pull,push,delete").await;
    assert_eq!(bearer(&bobs, "GET", "/v2/a/x/manifests/1").await.status(), 403);
    let strangers = guarded.token("", "repository:public/x:pull").await;
    assert_eq!(bearer(&strangers, "GET", "/v2/public/x/tags/list").await.status(), 404);
    assert_eq!(bearer(&strangers, "GET", "/v2/a/x/tags/list").await.status(), 401);
    // A token is no way to a new one.
    assert_eq!(bearer(&token, "GET", "/token").await.status(), 401);
    let wrong = guarded.registry.request("GET", "/token").basic_auth("alice", Some("x"));
    assert_eq!(wrong.send().await.unwrap().status(), 401);
}

#[tokio::test]
async fn a_form_gives_a_token_too() {
    let guarded = Guarded::start(Tokens::Own(Own::default())).await;
    let ask = async |form: &'static str| {
        let request = guarded.registry.request("POST", "/token").body(form);
        request.send().await.unwrap()
    };
    let answer = ask("grant_type=password&username=alice&password=alice%2Dword&service=x&scope=repository:a/x:pull+repository:b/x:pull").await;
    assert_eq!(
        (answer.status().as_u16(), header(&answer, "cache-control").as_str()),
        (200, "no-store")
    );
    let wrong = "grant_type=password&username=alice&password=x";
    assert_eq!(ask(wrong).await.status(), 401);
    assert_eq!(ask("grant_type=refresh_token&refresh_token=x").await.status(), 400);
    assert_eq!(ask("").await.status(), 400);
}

/// Rule R2, and what the operator expects of a file that was changed.
#[tokio::test]
async fn who_is_taken_out_is_out_at_once() {
    let guarded = Guarded::start(Tokens::Own(Own::default())).await;
    guarded.push_image("alice", "a/x", "1").await;
    let token = guarded.token("alice", "repository:a/x:pull").await;
    let value = format!("Bearer {}", token["token"].as_str().unwrap());
    let ask = || guarded.registry.request("GET", "/v2/a/x/manifests/1");
    assert_eq!(ask().header("authorization", &value).send().await.unwrap().status(), 200);
    std::fs::write(guarded.dir.path().join("users"), "").unwrap();
    assert_eq!(ask().header("authorization", &value).send().await.unwrap().status(), 401);
    assert_eq!(guarded.status("alice", "GET", "/v2/a/x/manifests/1").await, 401);
}

#[tokio::test]
async fn the_log_names_people_and_no_secrets() {
    let guarded = Guarded::start(Tokens::Own(Own::default())).await;
    guarded.push_image("alice", "a/x", "1").await;
    guarded.token("alice", "repository:a/x:pull").await;
    guarded.status("bob", "GET", "/v2/a/x/manifests/1").await;
    let log = guarded.registry.log.0.lock().unwrap();
    let last = log.last().unwrap();
    assert_eq!((last.user.as_deref(), last.status), (Some("bob"), 403));
    assert!(!format!("{log:?}").contains("-word"));
}

#[tokio::test]
async fn a_registry_without_users_lets_everyone_in() {
    let registry = Registry::start().await;
    registry.push_image("x", "1", b"layer").await;
    let request = registry.request("GET", "/v2/x/manifests/1").basic_auth("a", Some("b"));
    assert_eq!(request.send().await.unwrap().status(), 200);
    assert_eq!(registry.status("GET", "/token").await, 405);
}

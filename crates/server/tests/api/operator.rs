//! What the operator is told, and what the operator can forbid everyone.

#![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

use crate::common;

use common::{Registry, header};

async fn ask(registry: &Registry, path: &str) -> (u16, String) {
    let url = format!("http://{}{path}", registry.operator.unwrap());
    let answer = registry.client.get(url).send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_are_told_at_an_address_of_their_own() {
    let registry =
        Registry::with(|config| config.operator = Some(([127, 0, 0, 1], 0).into())).await;
    registry.push_image("a/b", "1", b"layer").await;
    assert_eq!(registry.status("GET", "/v2/a/b/manifests/1").await, 200);
    assert_eq!(registry.status("GET", "/v2/a/b/manifests/2").await, 404);
    assert_eq!(registry.status("BREW", "/v2/").await, 405);
    // Nobody else sees them.
    assert_eq!(registry.status("GET", "/metrics").await, 404);
    let (status, text) = ask(&registry, "/metrics").await;
    assert_eq!(status, 200);
    for line in [
        r#"conex_requests_total{endpoint="manifest",method="GET",status="200"} 1"#,
        r#"conex_requests_total{endpoint="manifest",method="GET",status="404"} 1"#,
        r#"conex_requests_total{endpoint="base",method="other",status="405"} 1"#,
        r#"conex_request_duration_seconds_count{endpoint="manifest"} 3"#,
        "# TYPE conex_connections gauge",
        "conex_faults_total 0",
        "# UNIT process_resident_memory_bytes bytes",
        "# EOF",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in:\n{text}");
    }
    let number = |name: &str| -> f64 {
        let line = text.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap();
        line.rsplit(' ').next().unwrap().parse().unwrap()
    };
    assert!(number("conex_received_bytes_total") > 5.0);
    assert!(number("process_resident_memory_bytes") > 1e6);
    assert!(number("process_open_fds") > 3.0);
    assert_eq!(ask(&registry, "/").await.0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn whether_it_is_well_is_told_at_both_addresses() {
    let registry =
        Registry::with(|config| config.operator = Some(([127, 0, 0, 1], 0).into())).await;
    for path in ["/healthz", "/readyz"] {
        assert_eq!(ask(&registry, path).await.0, 200);
        assert_eq!(registry.status("GET", path).await, 200);
        assert_eq!(registry.status("HEAD", path).await, 200);
        assert_eq!(registry.status("PUT", path).await, 405);
    }
    std::fs::remove_dir_all(registry.root().join(".conex")).unwrap();
    assert_eq!(ask(&registry, "/healthz").await.0, 200);
    assert_eq!(ask(&registry, "/readyz").await, (503, "the storage is gone\n".into()));
    let answer = registry.send("GET", "/readyz").await;
    assert_eq!(answer.status(), 503);
    // Strangers are not told why.
    assert!(!answer.text().await.unwrap().contains("storage"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_is_read_only_takes_nothing() {
    let first = Registry::start().await;
    first.push_image("a/b", "1", b"layer").await;
    let registry = first.restart_with(|config| config.read_only = true).await;
    assert_eq!(registry.status("GET", "/v2/a/b/manifests/1").await, 200);
    for (method, path) in [
        ("POST", "/v2/a/b/blobs/uploads/"),
        ("PUT", "/v2/a/b/manifests/2"),
        ("DELETE", "/v2/a/b/manifests/1"),
    ] {
        let answer = registry.send(method, path).await;
        assert_eq!((answer.status().as_u16(), header(&answer, "allow")), (405, "GET, HEAD".into()));
        assert!(answer.text().await.unwrap().contains("read-only"));
    }
}

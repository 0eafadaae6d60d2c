//! Pull and push against Docker's registry 2.8, which knows no referrers API and no SHA-512.
#![allow(clippy::unwrap_used, reason = "tests may stop at the first surprise")]

mod common;

use bytes::Bytes;
use common::docker::{self, DockerRegistry, USER};
use common::{all, blob, noise, quick, repository, stream};
use conex_client::{Client, Credentials, Secret};
use conex_spec::{
    Algorithm, Descriptor, Document, ImageManifest, Kind, Manifest, MediaType, Name, Tag,
};
use conex_store::{Memory, Sink, Source, SourceExt};
use conex_testkit::faults::Pair;
use conex_testkit::history::ask;
use conex_testkit::images;
use futures_util::TryStreamExt;

/// Its own harness, so that a case whose partner is missing is shown as ignored, with its name.
fn main() -> std::process::ExitCode {
    let cases = [
        docker::case("docker_images_come_back_as_they_went", docker_images_come_back_as_they_went),
        docker::case(
            "docker_takes_blobs_whole_and_in_chunks",
            docker_takes_blobs_whole_and_in_chunks,
        ),
        docker::case(
            "docker_never_gets_what_a_bad_source_sends",
            docker_never_gets_what_a_bad_source_sends,
        ),
        docker::case(
            "docker_refuses_algorithms_that_it_does_not_know",
            docker_refuses_algorithms_that_it_does_not_know,
        ),
        docker::case("docker_mounts_between_repositories", docker_mounts_between_repositories),
        docker::case("docker_referrers_live_under_a_tag", docker_referrers_live_under_a_tag),
        docker::case("docker_basic_logins", docker_basic_logins),
        docker::case("docker_deletes", docker_deletes),
        docker::case("docker_lists_lose_what_is_gone", docker_lists_lose_what_is_gone),
        docker::case("docker_behind_a_bad_wire", docker_behind_a_bad_wire),
    ];
    libtest_mimic::run(&libtest_mimic::Arguments::from_args(), cases.into()).exit_code()
}

async fn push_all(from: &Memory, root: &Descriptor, to: &dyn Sink) {
    for child in from.children(root).await.unwrap() {
        Box::pin(push_all(from, &child, to)).await;
    }
    to.put(root, from.fetch(root).await.unwrap()).await.unwrap();
}

fn tag(text: &str) -> Name {
    Name::Tag(text.parse().unwrap())
}

/// It forgets an upload of which a request broke off, so that a blob is sent again from its start.
async fn docker_behind_a_bad_wire() {
    for chunk_size in [None, Some(2 << 20)] {
        let docker = DockerRegistry::start(false).await;
        let repository = move |reference: &str| {
            let (mut options, _) = quick();
            options.timeouts.commit = std::time::Duration::from_millis(800);
            options.chunk_size = chunk_size;
            repository(options, reference)
        };
        let method = if chunk_size.is_some() { "PATCH" } else { "PUT" };
        let pair = Pair { registry: docker.address.clone(), repository, method, slack: None };
        if chunk_size.is_none() {
            pair.downloads().await;
        }
        pair.uploads().await;
        pair.random_cuts(7, 12).await;
    }
}

async fn docker_images_come_back_as_they_went() {
    let docker = DockerRegistry::start(false).await;
    let (options, notes) = quick();
    let repository = repository(options, &docker.reference("a/b"));
    let memory = Memory::new();
    let root = images::two_platforms(&memory);
    assert!(!repository.has(&root).await.unwrap());
    push_all(&memory, &root, &repository).await;
    assert!(repository.has(&root).await.unwrap());
    for name in ["v1", "latest"] {
        repository.tag(&root, Some(&Tag::new(name).unwrap())).await.unwrap();
    }
    assert_eq!(repository.resolve(None).await.unwrap(), root);
    assert_eq!(repository.resolve(Some(&tag("v1"))).await.unwrap(), root);
    let by_digest = Name::Digest(root.digest.clone());
    assert_eq!(repository.resolve(Some(&by_digest)).await.unwrap(), root);
    let manifest = repository.manifest(&root).await.unwrap();
    for child in manifest.children() {
        let pulled = repository.manifest(child).await.unwrap();
        for blob in pulled.children() {
            assert_eq!(repository.read(blob).await.unwrap(), memory.read(blob).await.unwrap());
            assert!(repository.has(blob).await.unwrap());
            let found = repository.resolve(Some(&Name::Digest(blob.digest.clone()))).await.unwrap();
            assert_eq!((&found.digest, found.size), (&blob.digest, blob.size));
        }
    }
    let tags: Vec<Tag> = repository.tags().try_collect().await.unwrap();
    assert_eq!(tags.iter().map(Tag::as_str).collect::<Vec<_>>(), ["latest", "v1"]);
    let missing = repository.resolve(Some(&tag("nowhere"))).await.unwrap_err();
    assert_eq!(missing.kind(), Kind::NotFound, "{missing}");
    assert!(notes.warnings().is_empty(), "{:?}", notes.all());
}

async fn docker_takes_blobs_whole_and_in_chunks() {
    let docker = DockerRegistry::start(false).await;
    for (chunk_size, length) in [(None, 0), (None, 1), (None, 20 << 20), (Some(3 << 20), 20 << 20)]
    {
        let (mut options, _) = quick();
        options.chunk_size = chunk_size;
        let repository =
            repository(options, &docker.reference(&format!("c{}", chunk_size.unwrap_or(0))));
        let bytes = noise(length);
        let blob = blob(&bytes);
        repository.put(&blob, stream(&bytes, 70_000)).await.unwrap();
        assert!(repository.has(&blob).await.unwrap());
        assert_eq!(all(repository.fetch(&blob).await.unwrap()).await.unwrap(), bytes);
        for range in [0..0, 0..1, 1..blob.size, blob.size / 2..blob.size / 2 + 10] {
            let range = range.start.min(blob.size)
                ..range.end.min(blob.size).max(range.start.min(blob.size));
            let part = all(repository.open(&blob, range.clone()).await.unwrap()).await.unwrap();
            assert_eq!(part, bytes[range.start as usize..range.end as usize]);
        }
        let wrong = Descriptor { size: blob.size + 1, ..blob.clone() };
        assert!(!repository.has(&wrong).await.unwrap());
    }
}

async fn docker_refuses_algorithms_that_it_does_not_know() {
    let docker = DockerRegistry::start(false).await;
    for algorithm in [Algorithm::Sha512, Algorithm::Blake3] {
        for size in [1000, 5 << 20] {
            let (options, notes) = quick();
            let repository = repository(options, &docker.reference("algorithms"));
            let bytes = noise(size);
            let digest = algorithm.digest(&bytes);
            let blob = Descriptor { digest, ..blob(&bytes) };
            let put = repository.put(&blob, stream(&bytes, 70_000)).await;
            assert_eq!(notes.retries(), 0);
            if algorithm == Algorithm::Sha512 {
                put.unwrap();
                assert_eq!(all(repository.fetch(&blob).await.unwrap()).await.unwrap(), bytes);
                continue;
            }
            let err = put.unwrap_err();
            assert_eq!(err.kind(), Kind::Invalid, "{err}");
            assert!(err.hint_text().unwrap().contains("knows no blake3"), "{err:?}");
        }
    }
}

async fn docker_never_gets_what_a_bad_source_sends() {
    let docker = DockerRegistry::start(false).await;
    for chunk_size in [None, Some(2 << 20)] {
        let (mut options, notes) = quick();
        options.chunk_size = chunk_size;
        let repository = repository(options, &docker.reference("bad"));
        for length in [5000, 9 << 20] {
            let bytes = noise(length);
            let mut flipped = bytes.to_vec();
            flipped[length - 1] ^= 1;
            let right = blob(&bytes);
            for wrong in [flipped, bytes[1..].to_vec(), [&bytes[..], b"x"].concat()] {
                let err = repository.put(&right, stream(&wrong.into(), 65_536)).await.unwrap_err();
                assert_eq!(err.kind(), Kind::Mismatch, "{err}");
                assert!(!repository.has(&right).await.unwrap());
            }
        }
        assert_eq!(notes.retries(), 0, "{:?}", notes.all());
    }
}

async fn docker_mounts_between_repositories() {
    let docker = DockerRegistry::start(false).await;
    let (options, _) = quick();
    let client = Client::new(options);
    let [from, to] =
        ["from", "to"].map(|name| client.repository(&docker.reference(name).parse().unwrap()));
    let bytes = noise(1000);
    let blob = blob(&bytes);
    assert!(!to.adopt(&blob, &from).await.unwrap());
    from.put(&blob, stream(&bytes, 100)).await.unwrap();
    assert!(!to.has(&blob).await.unwrap());
    assert!(to.adopt(&blob, &from).await.unwrap());
    assert!(to.has(&blob).await.unwrap());
}

/// The registry knows no referrers API, so the client keeps the referrers tag.
async fn docker_referrers_live_under_a_tag() {
    let docker = DockerRegistry::start(false).await;
    let (options, _) = quick();
    let repository = repository(options, &docker.reference("subject"));
    let memory = Memory::new();
    let subject = images::two_platforms(&memory);
    push_all(&memory, &subject, &repository).await;
    assert!(repository.referrers(&subject.digest).await.unwrap().is_empty());
    let config = Descriptor::empty();
    repository.put(&config, stream(&"{}".into(), 2)).await.unwrap();
    let signatures = ["a", "b", "c", "d"].map(|note| signature(&subject, note));
    let puts = signatures
        .iter()
        .chain(&signatures)
        .map(|(descriptor, bytes)| repository.put(descriptor, stream(bytes, 1000)));
    futures_util::future::try_join_all(puts).await.unwrap();
    let mut found = repository.referrers(&subject.digest).await.unwrap();
    assert_eq!(found.len(), 4);
    found.sort_by_key(|entry| entry.annotations["note"].clone());
    for (entry, (descriptor, bytes)) in found.iter().zip(&signatures) {
        let manifest = Manifest::parse(bytes.clone(), None).unwrap();
        let expected = manifest.as_referrer(&descriptor.digest, descriptor.size, &subject.digest);
        assert_eq!(Some(entry.clone()), expected);
    }
    let other = MediaType::new("application/vnd.example.sbom");
    assert!(repository.referrers_of_type(&subject.digest, Some(&other)).await.unwrap().is_empty());
    // This registry deletes no tags.
    repository.delete_manifest(&subject).await.unwrap();
    repository.forget_referrers(&subject.digest).await.unwrap();
    let list = repository.resolve(Some(&tag(&subject.digest.referrers_tag()))).await;
    assert_eq!(list.unwrap_err().kind(), Kind::NotFound);
    repository.forget_referrers(&subject.digest).await.unwrap();
}

fn signature(subject: &Descriptor, note: &str) -> (Descriptor, Bytes) {
    let empty = Descriptor::empty();
    let mut manifest = ImageManifest::new(empty.clone(), vec![empty]);
    manifest.artifact_type = Some(MediaType::new("application/vnd.example.signature"));
    manifest.subject = Some(subject.bare());
    manifest.annotations.insert("note".into(), note.into());
    let document = Document::new(manifest).unwrap();
    (document.descriptor(MediaType::MANIFEST), document.bytes().clone())
}

/// The registry takes no index that names what is gone, and others delete without a look at lists.
async fn docker_lists_lose_what_is_gone() {
    let docker = DockerRegistry::start(false).await;
    let (options, _) = quick();
    let repository = repository(options, &docker.reference("subject"));
    let memory = Memory::new();
    let subject = images::two_platforms(&memory);
    push_all(&memory, &subject, &repository).await;
    repository.put(&Descriptor::empty(), stream(&"{}".into(), 2)).await.unwrap();
    let [gone, kept] = ["gone", "kept"].map(|note| signature(&subject, note));
    repository.put(&gone.0, stream(&gone.1, 1000)).await.unwrap();
    let path = format!("/v2/subject/manifests/{}", gone.0.digest);
    let deleted = ask(&docker.address, "DELETE", &path, "text/plain", b"").unwrap();
    assert_eq!(deleted.status, 202);
    repository.put(&kept.0, stream(&kept.1, 1000)).await.unwrap();
    let listed = repository.referrers(&subject.digest).await.unwrap();
    let listed: Vec<_> = listed.iter().map(|entry| &entry.digest).collect();
    assert_eq!(listed, [&kept.0.digest]);
}

async fn docker_basic_logins() {
    let docker = DockerRegistry::start(true).await;
    let bytes = noise(6 << 20);
    let blob = blob(&bytes);
    let (options, _) = quick();
    let anonymous = repository(options, &docker.reference("a"));
    let err = anonymous.has(&blob).await.unwrap_err();
    assert_eq!(
        (err.kind(), err.found_value()),
        (Kind::Unauthorized, Some("no credentials")),
        "{err}"
    );

    for (password, right) in [(USER.1, true), ("canary", false)] {
        let (mut options, notes) = quick();
        options.credentials = Credentials::anonymous().with_password(
            &docker.address,
            USER.0,
            Secret::new(password),
            "the test",
        );
        let client = Client::new(options);
        let reference = docker.reference("a").parse().unwrap();
        let repository = client.repository(&reference);
        if right {
            client.ping(&reference).await.unwrap();
            repository.put(&blob, stream(&bytes, 100_000)).await.unwrap();
            assert!(repository.has(&blob).await.unwrap());
        } else {
            let err = client.ping(&reference).await.unwrap_err();
            assert_eq!(err.kind(), Kind::Unauthorized, "{err}");
            let err = repository.has(&blob).await.unwrap_err();
            assert_eq!(err.kind(), Kind::Unauthorized, "{err}");
            assert_eq!(err.found_value(), Some("the password of user \"bob\" from the test"));
            assert!(!err.to_string().contains("canary"));
        }
        assert!(notes.all().is_empty(), "{:?}", notes.all());
    }
}

async fn docker_deletes() {
    let docker = DockerRegistry::start(false).await;
    let (options, _) = quick();
    let repository = repository(options, &docker.reference("gone"));
    let memory = Memory::new();
    let root = images::two_platforms(&memory);
    push_all(&memory, &root, &repository).await;
    repository.delete_manifest(&root).await.unwrap();
    assert!(!repository.has(&root).await.unwrap());
    let nothing = Descriptor::of(MediaType::MANIFEST, b"nothing");
    let err = repository.delete_manifest(&nothing).await.unwrap_err();
    assert_eq!(err.kind(), Kind::NotFound);
}

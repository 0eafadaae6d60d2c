//! A chart into a layout and out again.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use conex_client::{Client, Options};
use conex_spec::{Kind, Location, MediaType, Name, Tag};

use super::archive::tests::tgz;
use super::push::{Recipe, push};
use super::versions::Wanted;
use super::{pull, versions};
use crate::artifact::Draft;
use crate::copy::CopyOptions;
use crate::open::Context;

fn context(dir: &Path) -> Context {
    Context::new(Client::new(Options::default()), Some(dir.join("store")), Arc::new(()))
}

fn chart(version: &str) -> Vec<u8> {
    let text = format!("apiVersion: v2\nname: app\nversion: {version}\nappVersion: '6.4'\n");
    tgz(&[("app/Chart.yaml", &text)])
}

async fn pushed(context: &Context, dir: &Path, version: &str, to: &Location) {
    let path = dir.join(format!("app-{version}.tgz"));
    fs::write(&path, chart(version)).unwrap();
    let recipe = Recipe { path, ..Recipe::default() };
    push(context, &recipe, to, &CopyOptions::default()).await.unwrap();
}

#[tokio::test]
async fn versions_are_listed_resolved_and_pulled() {
    let dir = tempfile::tempdir().unwrap();
    let context = context(dir.path());
    let place: Location = format!("oci:{}", dir.path().join("layout").display()).parse().unwrap();
    for version in ["1.2.0", "1.10.0+b", "2.0.0-rc.1", "1.9.3"] {
        pushed(&context, dir.path(), version, &place).await;
    }
    let listed = |wanted: &'static str| {
        let (context, place) = (&context, &place);
        async move {
            let wanted = if wanted.is_empty() { Wanted::All } else { wanted.parse().unwrap() };
            let rows = versions::versions(context, place, &wanted, None, 4).await.unwrap();
            rows.into_iter().map(|row| row.version).collect::<Vec<_>>()
        }
    };
    assert_eq!(listed("").await, ["2.0.0-rc.1", "1.10.0+b", "1.9.3", "1.2.0"]);
    assert_eq!(listed("^1.2, <1.10").await, ["1.9.3", "1.2.0"]);
    assert_eq!(listed("2.0.0-rc.1").await, ["2.0.0-rc.1"]);
    let wanted: Wanted = "^1".parse().unwrap();
    let found = versions::find(&context, &place, &wanted).await.unwrap();
    assert_eq!(found.location, place.with_name(Name::Tag(Tag::new("1.10.0_b").unwrap())).unwrap());
    let err = versions::find(&context, &place, &"^3".parse().unwrap()).await.unwrap_err();
    assert_eq!(err.kind(), Kind::NotFound);
    assert_eq!(err.found_value(), Some("2.0.0-rc.1, 1.10.0+b, 1.9.3, 1.2.0"));

    let out = dir.path().join("out");
    let report = pull::pull(&context, found.clone(), &out, false).await.unwrap();
    assert_eq!(report.files, [out.join("app-1.10.0+b.tgz")]);
    assert_eq!(fs::read(&report.files[0]).unwrap(), chart("1.10.0+b"));
    pull::pull(&context, found.clone(), &out, false).await.unwrap();
    fs::write(&report.files[0], "mine").unwrap();
    let err = pull::pull(&context, found.clone(), &out, false).await.unwrap_err();
    assert_eq!(err.kind(), Kind::Conflict);
    pull::pull(&context, found, &out, true).await.unwrap();
    assert_eq!(fs::read_dir(&out).unwrap().count(), 1);
}

#[tokio::test]
async fn only_charts_are_versions_of_a_chart() {
    let dir = tempfile::tempdir().unwrap();
    let context = context(dir.path());
    let place: Location = format!("oci:{}", dir.path().join("layout").display()).parse().unwrap();
    let at = |tag: &str| place.with_name(Name::Tag(Tag::new(tag).unwrap())).unwrap();
    pushed(&context, dir.path(), "1.2.0", &place).await;
    for tag in ["1.9.0", "2.0.0"] {
        let other = Draft::new(MediaType::new("a/b"));
        other.store(&context, &at(tag), &[], &CopyOptions::default()).await.unwrap();
    }
    let find = |wanted: &'static str| {
        let (context, place) = (&context, &place);
        async move { versions::find(context, place, &wanted.parse().unwrap()).await }
    };
    assert_eq!(find("^1").await.unwrap().location, at("1.2.0"));
    let err = find(">=1.9").await.unwrap_err();
    assert_eq!(err.kind(), Kind::NotFound);
    assert_eq!(err.found_value(), Some("2.0.0, 1.9.0, which are no charts"));
    let one = versions::find(&context, &at("1.2.0"), &Wanted::All).await;
    assert_eq!(one.unwrap_err().kind(), Kind::Usage);
    let one = versions::versions(&context, &at("1.2.0"), &Wanted::All, None, 1).await;
    assert_eq!(one.unwrap_err().kind(), Kind::Usage);
}

#[tokio::test]
async fn a_damaged_version_hides_no_others() {
    let dir = tempfile::tempdir().unwrap();
    let context = context(dir.path());
    let place: Location = format!("oci:{}", dir.path().join("layout").display()).parse().unwrap();
    pushed(&context, dir.path(), "1.2.0", &place).await;
    let at = place.with_name(Name::Tag(Tag::new("1.3.0").unwrap())).unwrap();
    let config = (super::oci::CONFIG, r#"{"version":"1.3.0"}"#.into());
    let damaged = Draft { config: Some(config), ..Draft::default() };
    damaged.store(&context, &at, &[], &CopyOptions::default()).await.unwrap();
    let rows = versions::versions(&context, &place, &Wanted::All, None, 2).await.unwrap();
    let rows: Vec<_> =
        rows.iter().map(|row| (row.version.as_str(), row.fault.as_deref())).collect();
    let [("1.3.0", Some(fault)), ("1.2.0", None)] = rows.as_slice() else { panic!("{rows:?}") };
    assert!(fault.starts_with(&format!("config of {at}: ")), "{fault}");
}

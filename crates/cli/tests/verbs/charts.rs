//! Charts of Helm and bundles of CNAB, through a registry and out again.

use std::fs;

use serde_json::{Value, json};

use crate::support::daemon::Registry;
use crate::support::layout::Handmade;
use crate::support::program::Conex;
use crate::support::scratch::Scratch;

/// A chart's folder; its name is that of the folder.
fn chart(scratch: &Scratch, version: &str) -> String {
    let folder = scratch.folder("wordpress");
    let text = format!(
        "apiVersion: v2\nname: wordpress\nversion: {version}\nappVersion: '6.4'\ndescription: A blog\n"
    );
    fs::write(folder.join("Chart.yaml"), text).unwrap();
    fs::create_dir_all(folder.join("templates")).unwrap();
    fs::write(folder.join("templates/x.yaml"), "kind: X\n").unwrap();
    scratch.arg("wordpress")
}

pub fn charts_are_pushed_listed_resolved_and_pulled() {
    let scratch = Scratch::new("charts");
    let conex = Conex::new(&scratch);
    let registry = Registry::start(&scratch);
    let place = registry.image("charts/wordpress");
    for version in ["1.2.0", "1.10.0+b.1", "2.0.0-rc.1"] {
        let pushed = conex.json(&["artifact", "push", &chart(&scratch, version), &place]);
        let tag = version.replace('+', "_");
        assert_eq!(pushed["location"], format!("{place}:{tag}"));
        assert_eq!(pushed["chart"]["version"], version);
    }
    let list = |args: &[&str]| {
        let rows = conex.json(&[&["charts", &place], args].concat());
        let rows = rows.as_array().unwrap().clone();
        rows.iter().map(|row| row["version"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(list(&[]), ["2.0.0-rc.1", "1.10.0+b.1", "1.2.0"]);
    assert_eq!(list(&["--version", "^1.2"]), ["1.10.0+b.1", "1.2.0"]);
    assert_eq!(list(&["--releases", "--limit", "1"]), ["1.10.0+b.1"]);
    let shown = conex.ok(&["charts", &place]);
    assert!(shown.contains("1.10.0+b.1  6.4") && shown.contains("A blog"), "{shown}");

    let out = scratch.arg("out");
    conex.ok(&["artifact", "pull", "--version", "^1", &place, &out]);
    let archive = scratch.join("out").join("wordpress-1.10.0+b.1.tgz");
    // A chart runs on every platform.
    let platform = ["--platform", "linux/amd64", &format!("{place}:1.10.0_b.1"), &out];
    let pulled = conex.json(&[&["artifact", "pull"], &platform[..]].concat());
    assert_eq!(pulled["files"][0], archive.to_str().unwrap(), "{pulled}");
    // What came out goes in again, and has the same layer.
    let again = conex.json(&[
        "artifact",
        "push",
        archive.to_str().unwrap(),
        &registry.image("x/wordpress"),
    ]);
    let inside = conex.json(&["inspect", &format!("{place}:1.10.0_b.1")]);
    assert!(
        inside.to_string().contains(again["layers"][0]["digest"].as_str().unwrap()),
        "{inside}"
    );
}

pub fn the_tag_of_a_chart_is_that_of_its_version() {
    let scratch = Scratch::new("charts-tag");
    let conex = Conex::new(&scratch);
    let folder = chart(&scratch, "1.0.0");
    let to = format!("oci:{}", scratch.arg("layout"));
    let run = conex.run(&["artifact", "push", &folder, &format!("{to}:2.0.0")]);
    let text = run.fails_with(2);
    assert!(text.contains("is not the tag of the chart's version"), "{text}");
    assert!(text.contains("hint: without a tag it becomes"), "{text}");
    assert!(!scratch.join("layout").exists());
}

/// A chart with its provenance file, through a layout and a registry; prereleases, and what ranges mean.
pub fn what_is_signed_stays_so() {
    let scratch = Scratch::new("charts-signed");
    let conex = Conex::new(&scratch);
    let registry = Registry::start(&scratch);
    let layout = format!("oci:{}", scratch.arg("layout"));
    for version in ["1.2.9", "1.3.0", "2.0.0-rc.1"] {
        conex.ok(&["artifact", "push", &chart(&scratch, version), &layout]);
    }
    let out = |name: &str| scratch.join(name).join("wordpress-1.3.0.tgz");
    conex.ok(&["artifact", "pull", "--version", "1.3.0", &layout, &scratch.arg("made")]);
    let archive = fs::read(out("made")).unwrap();
    let digest = conex_spec::Digest::sha256(&archive);
    let text = format!(
        "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\nname: wordpress\n...\nfiles:\n  \
         wordpress-1.3.0.tgz: {digest}\n-----BEGIN PGP SIGNATURE-----\n"
    );
    let signature = |name: &str| out(name).with_extension("tgz.prov");
    fs::write(signature("made"), &text).unwrap();
    let place = registry.image("charts/wordpress");
    for place in [&place, &layout] {
        let pushed = conex.json(&["artifact", "push", out("made").to_str().unwrap(), place]);
        let types: Vec<_> =
            pushed["layers"].as_array().unwrap().iter().map(|it| &it["mediaType"]).collect();
        assert_eq!(
            types,
            [
                "application/vnd.cncf.helm.chart.content.v1.tar+gzip",
                "application/vnd.cncf.helm.chart.provenance.v1.prov"
            ]
        );
        let folder = if place == &layout { "far" } else { "near" };
        conex.ok(&["artifact", "pull", "--version", "^1.2", place, &scratch.arg(folder)]);
        assert_eq!(fs::read(out(folder)).unwrap(), archive);
        assert_eq!(fs::read_to_string(signature(folder)).unwrap(), text);
        // A part of it alone, by the name that it has there.
        let one = format!("{place}:1.3.0");
        for (at, (filter, part)) in
            [("--type", "*prov*"), ("--title", "wordpress-1.3.0.tgz.prov")].iter().enumerate()
        {
            let alone = format!("{folder}-{at}");
            conex.ok(&["artifact", "pull", filter, part, &one, &scratch.arg(&alone)]);
            assert_eq!(fs::read_to_string(signature(&alone)).unwrap(), text);
            assert!(!out(&alone).exists());
        }
        let other = ["artifact", "pull", "--title", "other", &one, &scratch.arg("other")];
        let run = conex.run(&other);
        assert!(run.fails_with(3).contains("wordpress-1.3.0.tgz ("), "{}", run.err);
        let rows = conex.json(&["charts", "--version", "~1.3", place]);
        assert_eq!(
            (rows[0]["version"].as_str(), rows[0]["signed"].as_bool()),
            (Some("1.3.0"), Some(true))
        );
    }
    conex.ok(&["copy", "--all-tags", &layout, &registry.image("all/wordpress")]);
    for place in [layout, registry.image("all/wordpress")] {
        for (range, versions) in [
            ("^1.2", "1.3.0 1.2.9"),
            ("~1.2", "1.2.9"),
            (">=1.2 <1.3 || >=2.0.0-0", "2.0.0-rc.1 1.2.9"),
            (">1", ""),
            ("*", "1.3.0 1.2.9"),
            ("2.0.0-rc.1", "2.0.0-rc.1"),
        ] {
            let rows = conex.json(&["charts", "--version", range, &place]);
            let rows = rows.as_array().unwrap().iter();
            let found: Vec<_> = rows.map(|row| row["version"].as_str().unwrap()).collect();
            assert_eq!(found.join(" "), versions, "{range}");
        }
    }
}

pub fn a_bundle_comes_with_its_images() {
    let scratch = Scratch::new("bundles");
    let conex = Conex::new(&scratch);
    let other = Scratch::new("bundles-far");
    let (near, far) = (Registry::start(&scratch), Registry::start(&other));
    let mut digests = Vec::new();
    for name in ["installer", "mysql"] {
        let made = Handmade::new(scratch.join(name));
        let image = made.finish(&made.image(&[name.as_bytes()]));
        conex.ok(&["copy", &image, &near.image(&format!("app/{name}:1"))]);
        let digest = conex.ok(&["digest", &near.image(&format!("app/{name}:1"))]);
        digests.push(digest.trim().rsplit('@').next().unwrap().to_owned());
    }
    let mut bundle = json!({
        "schemaVersion": "v1.0.0", "name": "wordpress", "version": "0.1.0", "description": "A blog",
        "invocationImages": [{"imageType": "oci", "image": near.image("app/installer:1")}],
        "images": {"db": {"image": near.image("app/mysql:1"), "contentDigest": digests[1]}},
    });
    let path = scratch.join("bundle.json");
    fs::write(&path, bundle.to_string()).unwrap();
    let to = far.image("bundles/wordpress");
    let push = ["artifact", "push", path.to_str().unwrap(), &to];
    let pushed = conex.json(&push);
    let moved = format!("{to}@{}", digests[1]);
    assert_eq!(pushed["relocationMap"][near.image("app/mysql:1")], moved);
    conex.ok(&["inspect", &moved]);

    // None of its images is what the bundle is.
    let (whole, nowhere) = (format!("{to}:0.1.0"), scratch.arg("nowhere"));
    for args in [
        &["pull", &whole][..],
        &["pull", "--unpack", &nowhere, &whole],
        &["unpack", &whole, &nowhere],
        &["ls", &whole],
        &["diff", &moved, &whole],
        &["artifact", "pull", "--platform", "linux/amd64", &whole, &nowhere],
    ] {
        let run = conex.run(args);
        let text = run.fails_with(4);
        assert!(text.contains("is a CNAB bundle, and no image"), "{args:?} {text}");
        let (_, hint) = text.split_once("hint: ").unwrap();
        assert!(hint.starts_with(&format!("`conex artifact pull {to}@sha256:")), "{args:?} {text}");
    }
    assert!(conex.ok(&["inspect", &whole]).contains("wordpress"));
    conex.ok(&["pull", &moved]);

    let out = scratch.join("out");
    conex.ok(&["artifact", "pull", &format!("{to}:0.1.0"), out.to_str().unwrap()]);
    assert_eq!(fs::read_to_string(out.join("bundle.json")).unwrap(), bundle.to_string());
    let map: Value =
        serde_json::from_slice(&fs::read(out.join("relocation-mapping.json")).unwrap()).unwrap();
    assert_eq!(map, pushed["relocationMap"]);

    bundle["images"]["db"]["contentDigest"] = json!(digests[0]);
    bundle["version"] = json!("0.2.0");
    fs::write(&path, bundle.to_string()).unwrap();
    let run = conex.run(&["artifact", "push", path.to_str().unwrap(), &to]);
    let text = run.fails_with(4);
    assert!(text.contains("images.db.contentDigest is not that of"), "{text}");
    let tags = conex.ok(&["tags", "--quiet", &to]);
    assert_eq!(tags, "0.1.0\n");
}

pub fn one_version_is_no_range() {
    let scratch = Scratch::new("charts-version");
    let conex = Conex::new(&scratch);
    let registry = Registry::start(&scratch);
    let out = scratch.arg("out");
    for place in [registry.image("app"), format!("oci:{}", scratch.arg("layout"))] {
        conex.ok(&["artifact", "push", &chart(&scratch, "1.0.0"), &place]);
        fs::write(scratch.join("note.txt"), "no chart").unwrap();
        let note = scratch.arg("note.txt");
        conex.ok(&["artifact", "push", "--flat", &note, &format!("{place}:1.5.0")]);
        let one = format!("{place}:1.0.0");
        for args in [
            &["charts", &one][..],
            &["charts", "--version", "^1", &one],
            &["artifact", "pull", "--version", "^1", &one, &out],
        ] {
            let run = conex.run(args);
            let text = run.fails_with(2);
            assert!(text.contains("names one version"), "{text}");
        }
        let platform = ["--version", "^1", "--platform", "linux/amd64", &place, &out];
        conex.run(&[&["artifact", "pull"], &platform[..]].concat()).fails_with(2);
        // The newest tag in the range is no chart.
        let pulled = conex.json(&["artifact", "pull", "--version", "^1", &place, &out]);
        assert_eq!(pulled["chart"]["version"], "1.0.0");
        let run = conex.run(&["artifact", "pull", "--version", ">1.0", &place, &out]);
        let text = run.fails_with(3);
        assert!(text.contains("1.5.0, which are no charts"), "{text}");
    }
}

pub fn a_copy_says_what_it_copied() {
    let scratch = Scratch::new("copied-kinds");
    let conex = Conex::new(&scratch);
    let registry = Registry::start(&scratch);
    let made = Handmade::new(scratch.join("image"));
    let image = registry.image("app:1");
    conex.ok(&["copy", &made.finish(&made.image(&[b"layer"])), &image]);
    let bundle = json!({
        "schemaVersion": "v1.0.0", "name": "blog", "version": "0.1.0",
        "invocationImages": [{"image": image}], "images": {"app": {"image": image}},
    });
    fs::write(scratch.join("bundle.json"), bundle.to_string()).unwrap();
    fs::write(scratch.join("a.json"), r#"{"spdxVersion":"SPDX-2.3"}"#).unwrap();
    for (path, name) in [
        (chart(&scratch, "1.0.0+b"), "charts/wordpress"),
        (scratch.arg("bundle.json"), "bundles/blog"),
        (scratch.arg("a.json"), "sbom:1"),
    ] {
        conex.ok(&["artifact", "push", "--flat", &path, &registry.image(name)]);
    }
    let layout = format!("oci:{}", scratch.arg("layout"));
    for (name, said, kind) in [
        ("charts/wordpress:1.0.0_b", "the chart wordpress 1.0.0+b", json!("chart")),
        ("bundles/blog:0.1.0", "the bundle blog 0.1.0 with its 1 image", json!("bundle")),
        ("sbom:1", "one artifact, application/spdx+json,", json!("other")),
        ("app:1", "one image", Value::Null),
    ] {
        let from = registry.image(name);
        let tag = name.rsplit(':').next().unwrap();
        let to = format!("{layout}:{}", tag.replace('.', "-"));
        for place in [&from, &to] {
            let end = registry.image(&format!("copy/{}", name.replace(':', "/x:")));
            for to in [&to, &end] {
                let text = conex.ok(&["copy", place, to]);
                let line = format!("copied {said} from {place} to {to}\n");
                assert!(text.contains(&line) || text.contains("which was there"), "{line}{text}");
            }
        }
        let new = format!("oci:{}:new", scratch.arg(&format!("new-{}", tag.replace('.', "-"))));
        let report = conex.json(&["copy", &from, &new]);
        assert_eq!(report["copied"][0]["artifact"]["kind"], kind, "{report}");
    }
}

/// A chart in a registry, and the images that it names in another.
struct Named {
    scratch: Scratch,
    conex: Conex,
    near: Registry,
    far: Registry,
    /// Keeps the folder of the second registry.
    _other: Scratch,
    chart: String,
    digests: Vec<String>,
}

fn named() -> Named {
    let (scratch, other) = (Scratch::new("named"), Scratch::new("named-far"));
    let conex = Conex::new(&scratch);
    let (near, far) = (Registry::start(&scratch), Registry::start(&other));
    let folder = chart(&scratch, "1.2.0+b");
    let names = ["team/blog:6.4", "team/db:9"].map(|name| near.image(name));
    let mut digests = Vec::new();
    for name in &names {
        let made = Handmade::new(scratch.join(&name.replace(['/', ':'], "-")));
        let image = made.finish(&made.image(&[name.as_bytes()]));
        conex.ok(&["copy", &image, name]);
        digests.push(digest(&conex, name));
    }
    let values = format!(
        "image: {{registry: {}, repository: team/blog, tag: ''}}\ndb: {{image: '{}'}}\n",
        near.address, names[1]
    );
    fs::write(scratch.join("wordpress").join("values.yaml"), values).unwrap();
    let line = "image: {{ .Values.image.repository }}\nimage: {{ include \"other\" . }}\n";
    fs::write(scratch.join("wordpress").join("templates/x.yaml"), line).unwrap();
    conex.ok(&["artifact", "push", &folder, &near.image("charts/wordpress")]);
    let chart = near.image("charts/wordpress:1.2.0_b");
    Named { scratch, conex, near, far, _other: other, chart, digests }
}

fn digest(conex: &Conex, place: &str) -> String {
    conex.json(&["digest", place])["digest"].as_str().unwrap().to_owned()
}

pub fn a_chart_is_copied_with_the_images_that_it_names() {
    let Named { scratch, conex, near, far, chart, digests, .. } = &named();
    let to = far.image("mirror/wordpress:1.2.0_b");
    // Nothing beside the chart moves unless it is asked for.
    let alone = conex.json(&["copy", chart, &to]);
    assert_eq!(alone["named"], Value::Null);
    conex.run(&["digest", &far.image("team/blog:6.4")]).fails_with(3);
    let would = conex.json(&["copy", "--images", "--dry-run", chart, &to]);
    assert_eq!(would["named"]["carried"].as_array().unwrap().len(), 2);
    conex.run(&["digest", &far.image("team/blog:6.4")]).fails_with(3);

    let report = conex.json(&["copy", "--images", chart, &to]);
    let carried = report["named"]["carried"].as_array().unwrap();
    for (at, (image, name)) in
        ["team/blog:6.4", "team/db:9"].iter().zip(["image", "db.image"]).enumerate()
    {
        assert_eq!(carried[at]["image"], near.image(image), "{report}");
        assert_eq!(carried[at]["to"], far.image(image));
        assert_eq!(carried[at]["at"], format!("values.yaml {name}"));
        assert_eq!(carried[at]["root"]["digest"], *digests[at]);
        assert_eq!(digest(conex, &far.image(image)), digests[at]);
        conex.ok(&["validate", &far.image(image)]);
    }
    let left = report["named"]["left"].as_array().unwrap();
    assert_eq!(left.len(), 1, "{report}");
    assert_eq!(
        (left[0]["at"].as_str(), left[0]["missing"].as_bool()),
        (Some("templates/x.yaml:2"), Some(false))
    );
    assert_eq!(digest(conex, &to), digest(conex, chart));
    let again = conex.json(&["copy", "--images", chart, &to]);
    assert_eq!(again["summary"]["moved"]["blobs"], 0, "{again}");
    let text = conex.ok(&["copy", "--images", chart, &to]);
    let line = format!(
        "image {} is {}\n  {}\n",
        near.image("team/db:9"),
        far.image("team/db:9"),
        digests[1]
    );
    assert!(text.contains(&line), "{text}");
    assert!(
        text.contains("not carried: {{ include \"other\" . }}, which templates/x.yaml:2 names"),
        "{text}"
    );

    // All versions of a chart, each with its images; each of these once.
    let many = format!("oci:{}", scratch.arg("many"));
    let all = near.image("charts/wordpress");
    let report = conex.json(&["copy", "--all-tags", "--images", &all, &many]);
    assert_eq!(report["named"]["carried"].as_array().unwrap().len(), 2, "{report}");
    assert_eq!(conex.json(&["images", &many]).as_array().unwrap().len(), 3);
    let run = conex.run(&["artifact", "pull", &all, &scratch.arg("pulled")]);
    assert!(
        run.fails_with(3).contains("of a chart `--version '*'` takes the newest"),
        "{}",
        run.err
    );

    // Over a place without a network: beside the chart under their whole names.
    for place in ["oci:DIR", "oci-archive:DIR.tar", "store:air"] {
        let place = place.replace("DIR", &scratch.arg("air"));
        let stop = format!("{place}:1");
        conex.ok(&["copy", "--images", chart, &stop]);
        if !place.starts_with("store") {
            conex.ok(&["inspect", &format!("{place}:{}", near.image("team/db:9"))]);
        }
        let end = Scratch::new("named-end");
        let last = Registry::start(&end);
        let report = conex.json(&["copy", "--images", &stop, &last.image("w:1")]);
        assert_eq!(report["named"]["carried"].as_array().unwrap().len(), 2, "{report}");
        assert_eq!(digest(conex, &last.image("team/db:9")), digests[1]);
        assert_eq!(digest(conex, &last.image("w:1")), digest(conex, chart));
    }
}

pub fn a_chart_is_not_lost_among_its_images() {
    let Named { scratch, conex, near, far, chart, .. } = &named();
    for place in ["oci:AIR", "oci-archive:AIR.tar"] {
        let place = place.replace("AIR", &scratch.arg("air"));
        for _ in 0..2 {
            let text = conex.ok(&["copy", "--images", chart, &place]);
            let line =
                format!("copied the chart wordpress 1.2.0+b from {chart} to {place}:1.2.0_b\n");
            assert!(text.contains(&line) || text.contains("which was there"), "{text}");
        }
        assert_eq!(conex.json(&["charts", &place])[0]["version"], "1.2.0+b");
        let named = format!("{place}:1.2.0_b");
        let end = far.image(&format!("{}/wordpress:1", place.split(':').next().unwrap()));
        conex.ok(&["copy", "--images", &named, &end]);
        assert_eq!(digest(conex, &end), digest(conex, chart));
    }
    // By its digest it has the tag of its version.
    let at = format!("{}@{}", near.image("charts/wordpress"), digest(conex, chart));
    let by_digest = format!("oci:{}", scratch.arg("by-digest"));
    let report = conex.json(&["copy", "--images", &at, &by_digest]);
    assert_eq!(report["to"], format!("{by_digest}:1.2.0_b"));
    // A name that stands for something else is not taken from it.
    let layout = format!("oci:{}", scratch.arg("taken"));
    conex.ok(&["copy", &near.image("team/db:9"), &format!("{layout}:1.2.0_b")]);
    let run = conex.run(&["copy", "--images", chart, &layout]);
    let text = run.fails_with(1);
    assert!(text.contains("1.2.0_b in oci:") && text.contains(":NAME`"), "{text}");

    // Without its images it has no name there, and that is told.
    let alone = format!("oci:{}", scratch.arg("alone"));
    conex.ok(&["copy", chart, &alone]);
    let run = conex.run(&["charts", &alone]);
    assert_eq!((run.code, run.out.as_str()), (Some(0), ""), "{}", run.err);
    assert!(run.err.contains("1 of what is there has no name"), "{}", run.err);
}

pub fn an_image_that_is_missing_is_told() {
    let Named { conex, near, far, chart, digests, .. } = &named();
    conex.ok(&["untag", &near.image("team/db:9")]);
    let to = far.image("wordpress:1.2.0_b");
    let run = conex.run(&["copy", "--images", chart, &to]);
    let text = run.err;
    assert_eq!(run.code, Some(3), "{text}");
    assert!(run.out.contains("not carried: "), "{}", run.out);
    let name = near.image("team/db:9");
    assert!(text.contains(&format!("the image {name} did not come along")), "{text}");
    assert!(text.contains("it where values.yaml db.image names it"), "{text}");
    // All else was copied.
    assert_eq!(digest(conex, &far.image("team/blog:6.4")), digests[0]);
    assert_eq!(digest(conex, &to), digest(conex, chart));

    // A name that stands for something else.
    conex.ok(&["copy", &far.image("team/blog:6.4"), &far.image("team/db:9")]);
    conex.ok(&["copy", &near.image(&format!("team/db@{}", digests[1])), &near.image("team/db:9")]);
    let run = conex.run(&["copy", "--images", "--no-clobber", chart, &to]);
    assert_eq!(run.code, Some(1), "{}", run.err);
    assert!(run.err.contains("stands for something else, and was left so"), "{}", run.err);
    assert_eq!(digest(conex, &far.image("team/db:9")), digests[0]);

    let run = conex.run(&["copy", "--images", &near.image("team/blog:6.4"), &far.image("x:1")]);
    let text = run.fails_with(2);
    assert!(text.contains("names no images"), "{text}");
    conex.run(&["digest", &far.image("x:1")]).fails_with(3);
}

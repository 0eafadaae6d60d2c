use super::*;
use crate::error::Kind;

fn parse(text: &str) -> Platform {
    text.parse().unwrap_or_else(|err| panic!("{text}: {err}"))
}

#[test]
fn platforms_are_parsed_and_printed() {
    for (text, printed) in [
        ("linux/amd64", "linux/amd64"),
        ("linux/arm64/v8", "linux/arm64/v8"),
        ("Linux/ARM64/V8", "linux/arm64/v8"),
        ("linux/arm/7", "linux/arm/v7"),
        ("linux/arm64/8.2", "linux/arm64/v8.2"),
        ("linux/x86_64", "linux/amd64"),
        ("linux/x86-64/v3", "linux/amd64/v3"),
        ("linux/i686", "linux/386"),
        ("linux/aarch64", "linux/arm64"),
        ("linux/armhf", "linux/arm/v7"),
        ("linux/armel", "linux/arm/v6"),
        ("macos/arm64", "darwin/arm64"),
        ("arm64", "linux/arm64"),
        ("x86_64", "linux/amd64"),
        ("armhf", "linux/arm/v7"),
        ("windows(10.0.17763.1)/amd64", "windows(10.0.17763.1)/amd64"),
        ("windows(10.0.17763+win32k)/amd64", "windows(10.0.17763+win32k)/amd64"),
        ("windows(+win32k+x)/amd64", "windows(+win32k+x)/amd64"),
        ("windows(a%2Bb)/amd64", "windows(a%2Bb)/amd64"),
        ("windows()/amd64", "windows/amd64"),
        ("linux/ppc64le/power9", "linux/ppc64le/power9"),
        ("unknown/unknown", "unknown/unknown"),
        ("new-os/new.arch/x_1", "new-os/new.arch/x_1"),
    ] {
        assert_eq!(parse(text).to_string(), printed, "{text}");
        assert_eq!(parse(printed), parse(text), "{text}");
    }
    let windows = parse("windows(10.0+win32k)/amd64");
    assert_eq!(windows.os_version.as_deref(), Some("10.0"));
    assert_eq!(windows.os_features, ["win32k"]);
}

#[test]
fn hostile_platforms_are_refused() {
    let long = format!("linux/{}", "a".repeat(1 << 16));
    for text in [
        "",
        "/",
        "linux",
        "linux/",
        "/amd64",
        "linux//v8",
        "linux/arm64/",
        "a/b/c/d",
        "linux/a b",
        "linux/*",
        "lin ux/amd64",
        "linux/amd64\n",
        "linux/é",
        "linux/..%2F",
        "nonsense",
        "windows(/amd64",
        "windows(1/amd64",
        "windows(1)x/amd64",
        "windows(%)/amd64",
        "windows(%4)/amd64",
        "windows(%FF)/amd64",
        "windows(%+1)/amd64",
        "windows(1++2)/amd64",
        "windows((1))/amd64",
        "(1)/amd64",
        "windows(1)",
        &long,
    ] {
        let err = text.parse::<Platform>().expect_err(text);
        assert_eq!(err.kind(), Kind::Invalid);
        assert!(err.to_string().len() < 400);
    }
    let err = "linux".parse::<Platform>().unwrap_err();
    assert!(err.hint_text().unwrap().contains("linux/amd64"));
}

#[test]
fn a_stranger_cannot_disturb_the_terminal() {
    let platform: Platform =
        serde_json::from_str(r#"{"os":"\u001b[2J","architecture":"a/b","os.version":"1)+"}"#)
            .unwrap();
    assert_eq!(platform.to_string(), "%1B%5B2J(1%29%2B)/a%2Fb");
    assert_eq!(Platform::default().to_string(), "unknown/unknown");
}

/// Machine, image, and how well they suit each other.
#[rustfmt::skip]
const RANKS: &[(&str, &str, Option<u32>)] = &[
    ("linux/amd64", "linux/amd64", Some(0)),
    ("linux/amd64", "linux/x86_64/v1", Some(0)),
    ("linux/amd64", "linux/amd64/v2", None),
    ("linux/amd64/v3", "linux/amd64/v3", Some(0)),
    ("linux/amd64/v3", "linux/amd64/v2", Some(1)),
    ("linux/amd64/v3", "linux/amd64", Some(2)),
    ("linux/amd64/v3", "linux/amd64/v4", None),
    ("linux/amd64/v4", "linux/amd64/v1", Some(3)),
    ("linux/amd64/v2", "linux/amd64/v3", None),
    ("linux/amd64", "linux/386", None),
    ("linux/amd64", "windows/amd64", None),
    ("linux/amd64/odd", "linux/amd64", Some(1000)),
    ("linux/amd64/odd", "linux/amd64/v1", Some(1000)),
    ("linux/amd64/v2", "linux/amd64/odd", None),
    ("linux/386", "linux/i386/sse2", Some(0)),
    ("linux/arm", "linux/arm/v7", Some(0)),
    ("linux/arm", "linux/arm/v6", Some(1)),
    ("linux/arm/v8", "linux/arm/v5", Some(3)),
    ("linux/arm/v8", "linux/arm/v8", Some(0)),
    ("linux/arm/v5", "linux/arm/v5", Some(0)),
    ("linux/arm/v5", "linux/arm/v6", None),
    ("linux/arm/v7", "linux/arm64", None),
    ("linux/arm/v8", "linux/arm", Some(1)),
    ("linux/arm/v6", "linux/arm", None),
    ("linux/arm/v6", "linux/armel", Some(0)),
    ("linux/arm/v6", "linux/armhf", None),
    ("linux/arm64", "linux/arm64/v8", Some(0)),
    ("linux/arm64/v8", "linux/aarch64", Some(0)),
    ("linux/arm64", "linux/arm64/v8.1", None),
    ("linux/arm64/v8.2", "linux/arm64/v8.1", Some(1)),
    ("linux/arm64/v8.2", "linux/arm64", Some(2)),
    ("linux/arm64/v9", "linux/arm64/v9.0", Some(0)),
    ("linux/arm64/v9.1", "linux/arm64/v9", Some(1)),
    ("linux/arm64/v9.1", "linux/arm64/v8.6", Some(2)),
    ("linux/arm64/v9.1", "linux/arm64", Some(8)),
    ("linux/arm64/v9", "linux/arm64/v8.6", None),
    ("linux/arm64/v8.9", "linux/arm64/v9", None),
    ("linux/arm64/v8.999", "linux/arm64/v8.1", None),
    ("linux/arm64", "linux/arm/v7", None),
    ("linux/ppc64le/power9", "linux/ppc64le", Some(1)),
    ("linux/ppc64le", "linux/ppc64le/power9", None),
    ("linux/ppc64le", "linux/ppc64le/power8", Some(0)),
    ("linux/ppc64le/power10", "linux/ppc64le/power8", Some(2)),
    ("linux/ppc64le/power9", "linux/ppc64/power8", None),
    ("linux/ppc64/power9", "linux/ppc64", Some(1)),
    ("linux/riscv64/rva22u64", "linux/riscv64/rva20u64", Some(2)),
    ("linux/riscv64", "linux/riscv64/rva20u64", Some(0)),
    ("linux/riscv64/rva23u64", "linux/riscv64", Some(3)),
    ("linux/riscv64/rva20u64", "linux/riscv64/rva22u64", None),
    ("linux/riscv64", "linux/riscv64/rva22u64", None),
    ("linux/mips64le", "linux/mips64le", Some(0)),
    ("linux/mips64le", "linux/mips64", None),
    ("linux/loong64", "linux/loong64", Some(0)),
    ("linux/wasm", "linux/wasm", Some(0)),
    ("linux/s390x/z15", "linux/s390x", Some(1000)),
    ("linux/s390x", "linux/s390x/z15", None),
    ("darwin/arm64", "macos/aarch64", Some(0)),
    ("windows/amd64", "windows(10.0.17763.1)/amd64", Some(0)),
    ("windows(10.0.17763.9)/amd64", "windows(10.0.17763.1)/amd64", Some(1)),
    ("windows(10.0.17763.9)/amd64", "windows/amd64", Some(100_000)),
    ("windows(10.0.17763.9)/amd64", "windows(10.0.20348.1)/amd64", None),
    ("windows(10.0.17763.9)/amd64", "windows(10.0.14393.1)/amd64", None),
    ("windows(10.0.20348.9)/amd64", "windows(10.0.20348.1)/amd64", Some(1)),
    ("windows(10.0.20348.9)/amd64", "windows(10.0.17763.1)/amd64", None),
    ("windows(10.0.22631.1)/amd64", "windows(10.0.20348.1)/amd64", Some(2283)),
    ("windows(10.0.26100.1)/amd64", "windows(10.0.20348.1)/amd64", Some(5752)),
    ("windows(10.0.26100.1)/amd64", "windows(10.0.26100.9)/amd64", Some(1)),
    ("windows(10.0.26100.9)/amd64", "windows(10.0.26100.9)/amd64", Some(0)),
    ("windows(10.0.26200.1)/amd64", "windows(10.0.26100.1)/amd64", Some(100)),
    ("windows(10.0.26200.1)/amd64", "windows(10.0.20348.1)/amd64", None),
    ("windows(11.0.26100.1)/amd64", "windows(10.0.26100.1)/amd64", None),
    ("windows(10.0)/amd64", "windows(10.0)/amd64", Some(0)),
    ("windows(10.0)/amd64", "windows(10.1)/amd64", None),
    ("windows(10.0.17763.9+win32k)/amd64", "windows(10.0.17763.1+win32k)/amd64", Some(1)),
    ("windows(+win32k)/amd64", "windows(+win32k)/amd64", Some(0)),
    ("windows(+win32k)/amd64", "windows/amd64", Some(0)),
    ("windows/amd64", "windows(+win32k)/amd64", None),
    ("linux(5.15)/amd64", "linux(6.1)/amd64", Some(0)),
    ("linux/amd64", "linux(+x)/amd64", None),
    ("linux(+x+y)/amd64", "linux(+y)/amd64", Some(0)),
    ("unknown/unknown", "unknown/unknown", None),
    ("linux/unknown", "linux/unknown", None),
];

#[test]
fn ranks() {
    for &(machine, image, rank) in RANKS {
        let found = parse(machine).rank(&parse(image));
        assert_eq!(found, rank, "{image} on {machine}");
        assert_eq!(parse(machine).accepts(&parse(image)), rank.is_some());
    }
}

#[test]
fn the_best_is_selected_and_the_first_of_equals() {
    let select = |machine: &str, images: &[&str]| {
        let images: Vec<_> = images.iter().map(|text| text.parse().ok()).collect();
        let entries = images.iter().map(Option::as_ref).enumerate();
        parse(machine).select(entries)
    };
    assert_eq!(select("linux/amd64", &["linux/arm64", "linux/amd64", "linux/amd64"]), Some(1));
    assert_eq!(select("linux/arm/v7", &["linux/arm/v5", "linux/arm/v6", "linux/arm/v8"]), Some(1));
    assert_eq!(select("linux/amd64/v4", &["linux/amd64", "linux/amd64/v3"]), Some(1));
    assert_eq!(select("linux/amd64", &["unknown/unknown", "none", "linux/amd64"]), Some(2));
    assert_eq!(select("linux/amd64", &["none", "unknown/unknown"]), None);
    assert_eq!(select("linux/amd64", &[]), None);
    let servers = [
        "windows(10.0.17763.1)/amd64",
        "windows/amd64",
        "windows(10.0.20348.1)/amd64",
        "windows(10.0.26100.1)/amd64",
    ];
    for (machine, chosen) in [
        ("windows(10.0.17763.7)/amd64", Some(0)),
        ("windows(10.0.20348.7)/amd64", Some(2)),
        ("windows(10.0.26100.7)/amd64", Some(3)),
        ("windows(10.0.14393.7)/amd64", Some(1)),
        ("windows/amd64", Some(0)),
        ("windows/arm64", None),
    ] {
        assert_eq!(select(machine, &servers), chosen, "{machine}");
    }
    // The very version that was asked for comes before other updates of its build.
    let updates = ["windows(10.0.17763.5)/amd64", "windows(10.0.17763.6)/amd64"];
    assert_eq!(select("windows(10.0.17763.6)/amd64", &updates), Some(1));
    assert_eq!(select("windows(10.0.17763.7)/amd64", &updates), Some(0));
}

#[test]
fn a_platform_without_words_is_read_and_never_selected() {
    for json in ["{}", r#"{"os":null}"#, r#"{"os":"linux"}"#, r#"{"architecture":"amd64"}"#] {
        let platform: Platform = serde_json::from_str(json).unwrap();
        assert!(!parse("linux/amd64").accepts(&platform));
        assert!(!platform.accepts(&platform));
        assert!(!platform.is_known());
    }
}

#[test]
fn members_are_kept() {
    let json = r#"{"architecture":"amd64","os":"windows","os.version":"10.0.1","os.features":["win32k"],"variant":"v2","features":["x"],"org.example":{"b":1,"a":[2]}}"#;
    let platform: Platform = serde_json::from_str(json).unwrap();
    assert_eq!(serde_json::to_string(&platform).unwrap(), json);
    let null = r#"{"architecture":"arm","os":"linux","os.version":null,"os.features":null,"variant":null,"features":null}"#;
    let platform: Platform = serde_json::from_str(null).unwrap();
    assert_eq!(serde_json::to_string(&platform).unwrap(), r#"{"architecture":"arm","os":"linux"}"#);
    assert_eq!(platform.to_string(), "linux/arm");
    assert!(serde_json::from_str::<Platform>(r#"{"os":1}"#).is_err());
}

#[test]
fn the_spellings_of_one_platform_are_equal() {
    for (one, other) in [
        ("linux/amd64/v1", "linux/x86_64"),
        ("linux/arm64/v8.0", "linux/arm64"),
        ("linux/arm", "linux/armhf"),
        ("windows(+b+a+a)/amd64", "windows(+a+b)/amd64"),
    ] {
        assert_eq!(parse(one).normalized(), parse(other).normalized());
    }
}

#[test]
fn the_host_speaks_go() {
    let host = Platform::host();
    assert!(host.is_known() && host.accepts(&host));
    assert!(words::ARCHITECTURES.contains(&host.architecture.as_str()), "{host}");
    assert!(words::SYSTEMS.contains(&host.os.as_str()), "{host}");
    assert_eq!(matching::go_architecture("powerpc64", true), "ppc64le");
    assert_eq!(matching::go_architecture("mips64", false), "mips64");
}

proptest::proptest! {
    /// Printing and parsing again changes nothing, whatever a document holds.
    #[test]
    fn printing_is_stable(text in "(linux|windows)(\\([0-9.]{0,4}(\\+[a-z%0-9]{1,4})?\\))?/[a-z0-9]{1,5}(/v?[0-9.]{1,4})?|\\PC{0,20}") {
        if let Ok(platform) = text.parse::<Platform>() {
            assert_eq!(parse(&platform.to_string()), platform);
            platform.rank(&platform);
        }
    }
}

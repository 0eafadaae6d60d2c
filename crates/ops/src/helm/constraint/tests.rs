//! Cases of Masterminds' own tests, and what its documentation says.

use super::*;

fn matches(constraint: &str, version: &str) -> bool {
    let constraint: Constraint = constraint.parse().unwrap();
    constraint.matches(&version.parse().unwrap())
}

#[test]
fn each_operator_as_masterminds_has_it() {
    for (constraint, version, expected) in [
        ("=2.0", "1.2.3", false),
        ("=2.0", "2.0.0", true),
        ("=2.0", "2.0.1", true),
        ("4.1", "4.1.0", true),
        ("4.1", "4.1.7", true),
        ("2", "2.9.1", true),
        ("!=4.1.0", "4.1.0", false),
        ("!=4.1.0", "4.1.1", true),
        ("!=4.1", "4.1.1", false),
        ("!=4.1", "5.1.0", true),
        ("!=4.x", "5.1.0", true),
        ("!=4.x", "4.1.0", false),
        ("!=4.2.x", "4.2.3", false),
        (">1.1", "4.1.0", true),
        (">1.1", "1.1.0", false),
        (">1.1", "1.1.1", false),
        (">1.1", "1.2.0", true),
        (">0", "0.9.0", false),
        (">0", "1.0.0", true),
        (">11", "11.1.0", false),
        (">11", "12.0.0", true),
        (">11.1", "11.1.1", false),
        (">11.1", "11.2.0", true),
        ("<1.1", "0.1.0", true),
        ("<1.1", "1.1.0", false),
        ("<0", "0.0.0", false),
        (">=11", "11.1.2", true),
        (">=11.1", "11.0.9", false),
        ("=>1.1", "1.1.0", true),
        ("<=11", "11.1.0", true),
        ("<=11", "12.0.0", false),
        ("<=1.1", "1.1.5", true),
        ("<=1.1", "1.2.0", false),
        ("=<1.1.0", "1.1.1", false),
        ("~*", "2.1.1", true),
        ("~2", "2.9.0", true),
        ("~2", "3.0.0", false),
        ("~2.x", "2.1.1", true),
        ("~>2.1", "2.1.9", true),
        ("~2.1", "2.2.0", false),
        ("~1.2.3", "1.2.5", true),
        ("~1.2.3", "1.2.2", false),
        ("~1.2.3", "1.3.0", false),
        ("~0.0.0", "9.1.0", true),
        ("~0.0", "0.1.0", false),
        ("^*", "1.2.3", true),
        ("^1.2.3", "1.8.9", true),
        ("^1.2.3", "2.0.0", false),
        ("^1.2", "1.1.9", false),
        ("^1.2", "1.2.0", true),
        ("^1", "1.0.0", true),
        ("^0.2.3", "0.2.9", true),
        ("^0.2.3", "0.3.0", false),
        ("^0.2", "0.2.1", true),
        ("^0.2", "0.3.0", false),
        ("^0.0.3", "0.0.3", true),
        ("^0.0.3", "0.0.4", false),
        ("^0.0", "0.0.9", true),
        ("^0.0", "0.1.0", false),
        ("^0", "0.9.9", true),
        ("^0", "1.0.0", false),
        ("1.x", "1.9.1", true),
        ("1.2.x", "1.3.0", false),
        ("*", "7.0.0", true),
        ("x", "0.0.1", true),
        ("v1.2.3", "1.2.3+build", true),
    ] {
        assert_eq!(matches(constraint, version), expected, "{constraint} {version}");
    }
}

#[test]
fn groups_and_ranges() {
    for (constraint, version, expected) in [
        (">=1 <2", "1.5.0", true),
        (">=1, <2", "2.0.0", false),
        (">= 1.1 , < 2 , != 1.2.3", "1.2.3", false),
        (">= 1.1, < 2 || > 3", "3.5.0", false),
        (">= 1.1, < 2 || > 3", "4.0.0", true),
        ("1.1 - 2", "1.1.1", true),
        ("1.1-3", "4.3.2", false),
        ("1.1 - 2.2 || 4", "2.2.5", true),
        ("1.1 - 2.2.2", "2.2.5", false),
        ("2 - 4, != 3.1.0", "3.1.0", false),
        ("^1.1 || 5.x", "5.6.7", true),
    ] {
        assert_eq!(matches(constraint, version), expected, "{constraint} {version}");
    }
}

/// "a pre-release […] when the constraint is only looking for release versions" is passed over.
#[test]
fn prereleases_are_meant_only_where_one_is_named() {
    for (constraint, version, expected) in [
        ("*", "1.2.3-alpha", false),
        (">=1.2.3", "2.0.0-rc.1", false),
        ("^1.2", "1.3.0-beta", false),
        ("!=1.2.3", "1.2.4-a", false),
        (">=1.2.3-0", "2.0.0-rc.1", true),
        (">=1.2.3-0 <3", "2.0.0-rc.1", true),
        (">0.0.0-0", "0.0.1-a", true),
        ("^1.2.3-beta.2", "1.2.3-beta.4", true),
        ("^1.2.3-beta.2", "1.2.3-beta.1", false),
        ("~1.2.3-rc.1", "1.2.3", true),
        ("1.2.3-rc.1", "1.2.3-rc.1", true),
        ("=1.2.3-rc.1", "1.2.3-rc.2", false),
    ] {
        assert_eq!(matches(constraint, version), expected, "{constraint} {version}");
    }
}

#[test]
fn what_is_no_constraint() {
    for bad in [
        "",
        " ",
        "abc",
        "1.2.3.4",
        ">=",
        "1.2,",
        ",1",
        "||",
        "1 ||",
        "^^1",
        "1.2.3-",
        "1.2.3+",
        "1..2",
        "-1",
        "1 - ",
        ">1<2",
        "99999999999999999999999",
        "1,,2",
        "1é",
    ] {
        let err = bad.parse::<Constraint>().unwrap_err();
        assert_eq!(err.kind(), Kind::Usage, "{bad}");
    }
}

#[test]
fn versions_and_their_tags() {
    let version = |text: &str| text.parse::<Version>().unwrap();
    assert_eq!(version("1.2.3+meta.1").tag().unwrap().as_str(), "1.2.3_meta.1");
    assert_eq!(Version::of_tag("1.2.3_meta.1").unwrap().as_str(), "1.2.3+meta.1");
    assert_eq!(version("v1.2").order(&version("1.2.0")), Ordering::Greater);
    assert!(version("1.0.0-rc.1").is_prerelease());
    for bad in ["latest", "1.x", "", "*", "1.2.3-01", "sha256-abc.sig"] {
        assert!(bad.parse::<Version>().is_err(), "{bad}");
        assert!(Version::of_tag(bad).is_none());
    }
    let mut versions: Vec<_> =
        ["1.10.0", "1.9.0", "1.9.0-rc.10", "1.9.0-rc.2", "2"].map(version).into();
    versions.sort_by(Version::order);
    let texts: Vec<_> = versions.iter().map(Version::as_str).collect();
    assert_eq!(texts, ["1.9.0-rc.2", "1.9.0-rc.10", "1.9.0", "1.10.0", "2"]);
}

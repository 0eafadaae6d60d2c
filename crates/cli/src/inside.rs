//! An image and a path in it, in one word or two: `alpine:/etc` or `alpine /etc`.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::str::FromStr;

use conex_spec::{Error, Kind, Location, Result};

/// A location, perhaps with a path behind it.
#[derive(Clone, Debug)]
pub struct Inside {
    /// What all of it names, if it names something.
    whole: std::result::Result<Location, String>,
    /// What it names with a path taken off its end.
    split: Option<(Location, String)>,
}

impl FromStr for Inside {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let split = text.rfind(":/").and_then(|at| {
            let (location, path) = (&text[..at], &text[at + 1..]);
            // `oci:/folder` is a place, not the image `oci`.
            let taken = path.starts_with("//") || Location::is_kind(location);
            Some((location.parse().ok().filter(|_| !taken)?, path.to_owned()))
        });
        match text.parse() {
            Err(err) if split.is_none() => Err(err),
            whole => Ok(Self { whole: whole.map_err(|err: Error| err.to_string()), split }),
        }
    }
}

impl Inside {
    /// The location and the path, which is empty where none was given.
    pub fn with(&self, path: Option<&OsStr>) -> Result<(Location, Vec<u8>)> {
        let whole = || self.whole.clone().map_err(|text| Error::new(Kind::Usage, text));
        match (path, &self.split) {
            (None, Some((location, path))) => Ok((location.clone(), path.as_bytes().to_vec())),
            (path, _) => {
                Ok((whole()?, path.map(|path| path.as_bytes().to_vec()).unwrap_or_default()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_may_stand_behind_a_location() {
        let parts = |text: &str, path: Option<&str>| {
            let (location, path) =
                text.parse::<Inside>().unwrap().with(path.map(OsStr::new)).unwrap();
            (location.to_string(), String::from_utf8(path).unwrap())
        };
        for (text, path, expected, inside) in [
            ("r.example/a:1:/etc", None, "r.example/a:1", "/etc"),
            ("r.example:5000/a", None, "r.example:5000/a", ""),
            ("r.example/a:/etc/passwd", None, "r.example/a", "/etc/passwd"),
            ("r.example/a:1", Some("/etc"), "r.example/a:1", "/etc"),
            ("oci:/srv/a", None, "oci:/srv/a", ""),
            ("oci:/srv/a:1:/etc", None, "oci:/srv/a:1", "/etc"),
            ("oci:a:1:/etc", None, "oci:a:1", "/etc"),
            ("docker://r.example/a", None, "r.example/a", ""),
        ] {
            let expected = expected.parse::<Location>().unwrap().to_string();
            assert_eq!(parts(text, path), (expected, inside.to_owned()), "{text}");
        }
        assert!("R:/".parse::<Inside>().is_err());
        let folder = "dir:/srv/a".parse::<Inside>().unwrap_err();
        assert!(folder.hint_text().is_some_and(|hint| hint.contains("oci:DIR")), "{folder}");
        let both = "r.example/a:/etc".parse::<Inside>().unwrap();
        assert!(both.with(Some(OsStr::new("/usr"))).is_err());
    }
}

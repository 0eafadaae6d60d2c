//! `Config.User` of an image: by number, or by name out of the image's own files.
//! image-spec, conversion.md, "`Config.User`".

use std::io::Read;

use serde::Serialize;

use conex_layer::Root;
use conex_spec::{Error, Kind, Result};

/// More of `/etc/passwd` or `/etc/group` is not read, in bytes (rule U14).
const LIMIT: u64 = 1 << 20;

/// Who a container's process is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct User {
    /// User ID.
    pub uid: u32,
    /// Primary group ID.
    pub gid: u32,
    /// Supplementary group IDs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub additional_gids: Vec<u32>,
}

/// Finds who `user`, `uid`, `user:group`, `uid:gid`, `uid:group` or `user:gid` is in an image.
/// Nothing means root.
pub fn find(text: &str, root: &Root) -> Result<User> {
    if text.is_empty() {
        return Ok(User::default());
    }
    let (user, group) = match text.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (text, None),
    };
    let accounts = passwd(root)?;
    let uid = number(user)?;
    let account = match uid {
        Some(uid) => accounts.iter().find(|account| account.uid == uid),
        None => Some(
            accounts
                .iter()
                .find(|account| account.name == user)
                .ok_or_else(|| unknown("user", user, "etc/passwd"))?,
        ),
    };
    let gid = match group {
        Some(group) => match number(group)? {
            Some(gid) => gid,
            None => group_named(root, group)?,
        },
        None => account.map_or(0, |account| account.gid),
    };
    // "The converter SHOULD NOT modify `process.user.additionalGids` if the value of `user` is
    // numeric or if `Config.User` specifies a group."
    let additional_gids = match (uid, group) {
        (None, None) => groups_of(root, user)?,
        _ => Vec::new(),
    };
    let uid = uid.or(account.map(|account| account.uid)).unwrap_or_default();
    Ok(User { uid, gid, additional_gids })
}

/// A number that does not fit is an error and never a name: an overflow once meant root (rule U14).
fn number(text: &str) -> Result<Option<u32>> {
    if text.is_empty() {
        return Err(Error::invalid("user of the image makes no sense")
            .expected("USER or USER:GROUP, by name or number")
            .found("an empty name"));
    }
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return Ok(None);
    }
    match text.parse::<u32>() {
        Ok(id) if id != u32::MAX => Ok(Some(id)),
        _ => Err(Error::new(Kind::Invalid, "user of the image makes no sense")
            .expected("a number below 4294967295")
            .found(text)),
    }
}

struct Account {
    name: String,
    uid: u32,
    gid: u32,
}

fn passwd(root: &Root) -> Result<Vec<Account>> {
    let parse = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next()?.to_owned();
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        // The highest number means "no one" to the kernel.
        if uid == u32::MAX || gid == u32::MAX {
            return None;
        }
        Some(Account { name, uid, gid })
    };
    Ok(lines(root, b"etc/passwd")?.iter().filter_map(|line| parse(line)).collect())
}

fn group_named(root: &Root, name: &str) -> Result<u32> {
    let groups = lines(root, b"etc/group")?;
    let found = groups.iter().map(|line| line.split(':')).find_map(|mut fields| {
        (fields.next()? == name).then(|| fields.nth(1))?.and_then(|gid| gid.parse().ok())
    });
    found.ok_or_else(|| unknown("group", name, "etc/group"))
}

fn groups_of(root: &Root, user: &str) -> Result<Vec<u32>> {
    let groups = lines(root, b"etc/group")?;
    let found = groups.iter().filter_map(|line| {
        let mut fields = line.split(':').skip(2);
        let gid = fields.next()?.parse().ok()?;
        fields.next()?.split(',').any(|member| member == user).then_some(gid)
    });
    Ok(found.collect())
}

fn lines(root: &Root, path: &[u8]) -> Result<Vec<String>> {
    let file = match root.file(path) {
        Ok(file) => file,
        Err(err) if err.kind() == Kind::NotFound => return Ok(Vec::new()),
        Err(err) => return Err(err),
    };
    let mut bytes = Vec::new();
    let name = || format!("cannot read {} of the image", conex_tar::show(path));
    file.take(LIMIT + 1).read_to_end(&mut bytes).map_err(|err| Error::from_io(err, name))?;
    if bytes.len() as u64 > LIMIT {
        return Err(Error::new(Kind::Limit, name()).expected(format!("at most {LIMIT} bytes")));
    }
    Ok(String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect())
}

/// "If `Config.User` does not correspond to a user in the container's context, the converter
/// MUST return an error."
fn unknown(what: &str, name: &str, file: &str) -> Error {
    Error::not_found(format!("image runs as {what} {name:?}, whom its own files do not know"))
        .expected(format!("a line in /{file}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image() -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("etc")).unwrap();
        std::fs::write(
            dir.path().join("etc/passwd"),
            "root:x:0:0::/:/bin/sh\nbroken\nalice:x:1000:100::/:/bin/sh\n4294967296:x:7:7::/:\n",
        )
        .unwrap();
        std::fs::write(
            dir.path().join("etc/group"),
            "root:x:0:\nstaff:x:50:bob,alice\nwww:x:33:alice\n",
        )
        .unwrap();
        let root = Root::open(dir.path()).unwrap();
        (dir, root)
    }

    #[test]
    fn users_by_name_and_number() {
        let (_dir, root) = image();
        let user = |uid, gid, more: &[u32]| User { uid, gid, additional_gids: more.to_vec() };
        for (text, expected) in [
            ("", user(0, 0, &[])),
            ("alice", user(1000, 100, &[50, 33])),
            ("1000", user(1000, 100, &[])),
            ("7777", user(7777, 0, &[])),
            ("alice:www", user(1000, 33, &[])),
            ("alice:5", user(1000, 5, &[])),
            ("5:staff", user(5, 50, &[])),
        ] {
            assert_eq!(find(text, &root).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_user_is_an_error_and_never_root() {
        let (_dir, root) = image();
        for text in [
            "4294967296",
            "4294967295",
            "bob",
            "alice:nobody",
            "alice:",
            ":5",
            "1000:99999999999",
            "-1",
        ] {
            assert!(find(text, &root).is_err(), "{text}");
        }
    }

    #[test]
    fn files_of_the_host_are_out_of_reach() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("image/etc")).unwrap();
        std::fs::write(dir.path().join("passwd"), "mallory:x:0:0::/:\n").unwrap();
        std::os::unix::fs::symlink("../../passwd", dir.path().join("image/etc/passwd")).unwrap();
        let root = Root::open(&dir.path().join("image")).unwrap();
        assert!(find("mallory", &root).is_err());
    }
}

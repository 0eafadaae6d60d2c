//! Users and their passwords, as `htpasswd -B` writes them: `NAME:$2y$…`.
//!
//! Only bcrypt is taken: every other form that the file may hold is broken by a search today.
//! The file is read again when it was changed, so that a person who was taken out is out at once.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use conex_spec::{Error, Kind, Result};
use ring::hmac;
use ring::rand::SystemRandom;

use crate::stamp::Stamp;

/// The largest file, in bytes: some hundred thousand users.
const LIMIT: u64 = 32 << 20;
/// Passwords that are known to be right, so that not each request costs a bcrypt.
const KNOWN: usize = 4096;
/// How many rounds our own hashes take, as a power of two: a tenth of a second.
const COST: u32 = 10;
/// What an unknown user's password is compared with where the file has no user at all. Its cost is
/// `htpasswd -B`'s own.
const NOBODY: &str = "$2y$05$iZ2dFmIL1Rb/0mxxZzqT3.bpJRRu4AnxNWJDG/8HoRPZ4ZHKdHdJ6";

/// The file of users and passwords. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Users(Arc<Inner>);

struct Inner {
    path: PathBuf,
    key: hmac::Key,
    read: Mutex<Read>,
}

/// The file as it was when it was read last.
#[derive(Default)]
struct Read {
    stamp: Stamp,
    hashes: Arc<HashMap<String, String>>,
    /// For each user the seal of the password that was right.
    known: HashMap<String, hmac::Tag>,
}

impl Users {
    /// Reads a file.
    ///
    /// # Errors
    /// `Invalid` where a line is not `NAME:HASH` or its hash is none of bcrypt; the line is named.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())
            .map_err(|_| Error::new(Kind::Io, "the system gives no random bytes"))?;
        let users = Self(Arc::new(Inner { path, key, read: Mutex::default() }));
        users.refresh()?;
        Ok(users)
    }

    /// Whether this was found to be the password of the user lately. Costs next to nothing.
    pub fn recall(&self, user: &str, password: &str) -> Result<bool> {
        self.refresh()?;
        let sealed = self.seal(user, password);
        Ok(self.read().known.get(user).is_some_and(|known| self.same(known, &sealed)))
    }

    /// Whether this is the password of the user. Blocks, for as long as the hash takes.
    pub fn verify(&self, user: &str, password: &str) -> Result<bool> {
        if self.recall(user, password)? {
            return Ok(true);
        }
        let (hashes, stamp) = {
            let read = self.read();
            (Arc::clone(&read.hashes), read.stamp)
        };
        // An unknown user costs what a known one does, so that the time tells nothing.
        let hash = hashes.get(user);
        let other = || hashes.values().next().map_or(NOBODY, String::as_str);
        let right = bcrypt::verify(password, hash.map_or_else(other, String::as_str));
        if hash.is_none() || !right.unwrap_or(false) {
            return Ok(false);
        }
        let sealed = self.seal(user, password);
        let mut read = self.read();
        // Not where the file changed meanwhile: the password may be another one now.
        if read.stamp == stamp {
            if read.known.len() >= KNOWN {
                read.known.clear();
            }
            read.known.insert(user.to_owned(), sealed);
        }
        Ok(true)
    }

    /// Whether there is such a user now.
    pub fn has(&self, user: &str) -> Result<bool> {
        self.refresh()?;
        Ok(self.read().hashes.contains_key(user))
    }

    /// Reads the file if it was changed. One that cannot be read lets nobody in: it may have been
    /// taken away for that.
    fn refresh(&self) -> Result<()> {
        let path = &self.0.path;
        let fault = |err| Error::io("cannot read the users", path, err);
        let meta = fs::metadata(path).map_err(fault)?;
        let stamp = Stamp::of(&meta);
        if self.read().stamp == stamp {
            return Ok(());
        }
        if meta.len() > LIMIT {
            let message = format!("{} has more than {LIMIT} bytes", path.display());
            return Err(Error::new(Kind::Limit, message));
        }
        let hashes = parse(&fs::read_to_string(path).map_err(fault)?, path)?;
        *self.read() = Read { stamp, hashes: Arc::new(hashes), known: HashMap::new() };
        Ok(())
    }

    fn read(&self) -> MutexGuard<'_, Read> {
        self.0.read.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Passwords are kept in no form that a look into the memory would give away.
    fn seal(&self, user: &str, password: &str) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.0.key);
        context.update(&(user.len() as u64).to_be_bytes());
        context.update(user.as_bytes());
        context.update(password.as_bytes());
        context.sign()
    }

    /// In a time that does not tell how much of it is the same.
    fn same(&self, one: &hmac::Tag, other: &hmac::Tag) -> bool {
        let sealed = hmac::sign(&self.0.key, one.as_ref());
        hmac::verify(&self.0.key, other.as_ref(), sealed.as_ref()).is_ok()
    }
}

/// The text of a file of users with a new password for one of them, who may be new, or without that
/// user. Comments and the order stay. `path` is what the file is called.
///
/// # Errors
/// `Invalid` where the text is no such file; `Usage` for a name or a password that it cannot hold;
/// `NotFound` where a user is to go who is not there.
pub fn changed(text: &str, path: &Path, user: &str, password: Option<&str>) -> Result<String> {
    let known = parse(text, path)?.contains_key(user);
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let at = lines.iter().position(|line| line.trim().split(':').next() == Some(user));
    let Some(password) = password else {
        let Some(at) = at.filter(|_| known) else {
            let message = format!("there is no user {} in {}", user.escape_debug(), path.display());
            return Err(Error::not_found(message));
        };
        lines.remove(at);
        return Ok(joined(&lines));
    };
    let strange = |c: char| c == ':' || c.is_control() || c.is_whitespace();
    if user.is_empty() || user.starts_with('#') || user.contains(strange) || user.len() > 255 {
        return Err(Error::new(Kind::Usage, "this cannot be the name of a user")
            .expected("1 to 255 bytes without a colon or blanks")
            .found(user.escape_debug()));
    }
    let hash = bcrypt::non_truncating_hash(password, COST).map_err(|err| {
        Error::new(Kind::Usage, "this cannot be a password")
            .expected("1 to 71 bytes, which is all that bcrypt hashes")
            .source(err)
    })?;
    if password.is_empty() {
        return Err(Error::new(Kind::Usage, "the password is empty"));
    }
    let line = format!("{user}:{hash}");
    match at.filter(|_| known) {
        Some(at) => lines[at] = line,
        None => lines.push(line),
    }
    Ok(joined(&lines))
}

fn joined(lines: &[String]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Users").field("path", &self.path).finish_non_exhaustive()
    }
}

fn parse(text: &str, path: &Path) -> Result<HashMap<String, String>> {
    let mut hashes = HashMap::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim_end();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let fault = |message: &str| {
            let place = format!("{}, line {}", path.display(), number + 1);
            Error::invalid(format!("{place}: {message}"))
        };
        let (user, hash) = line
            .split_once(':')
            .ok_or_else(|| fault("not a user and the hash of a password").expected("NAME:HASH"))?;
        if user.is_empty() {
            return Err(fault("a user without a name"));
        }
        if !is_bcrypt(hash) {
            return Err(fault(&format!(
                "the password of {} is not hashed with bcrypt",
                user.escape_debug()
            ))
            .expected("$2y$…")
            .hint("`conex registry user FILE NAME` hashes it so"));
        }
        if hashes.insert(user.to_owned(), hash.to_owned()).is_some() {
            return Err(fault(&format!("{} stands there twice", user.escape_debug())));
        }
    }
    Ok(hashes)
}

/// `$2y$05$` and 53 letters of salt and hash.
fn is_bcrypt(hash: &str) -> bool {
    let kinds = ["$2y$", "$2b$", "$2a$"];
    let rest = kinds.iter().find_map(|kind| hash.strip_prefix(kind));
    let Some((cost, rest)) = rest.and_then(|rest| rest.split_once('$')) else { return false };
    let letter = |b: u8| b.is_ascii_alphanumeric() || b"./".contains(&b);
    let cost =
        cost.parse::<u32>().is_ok_and(|number| (4..=31).contains(&number) && cost.len() == 2);
    cost && rest.len() == 53 && rest.bytes().all(letter)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(password: &str) -> String {
        bcrypt::hash(password, 4).unwrap()
    }

    #[test]
    fn passwords_are_checked_and_the_file_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("users");
        fs::write(&path, format!("# people\n\nalice:{}\r\nbob:{}\n", hash("a"), hash("b")))
            .unwrap();
        let users = Users::open(&path).unwrap();
        for _ in 0..2 {
            assert!(users.verify("alice", "a").unwrap());
            assert!(users.verify("bob", "b").unwrap());
            assert!(!users.verify("alice", "b").unwrap());
            assert!(!users.verify("carol", "a").unwrap());
            assert!(!users.verify("", "").unwrap());
        }
        fs::write(&path, format!("alice:{}\n", hash("new"))).unwrap();
        assert!(!users.verify("alice", "a").unwrap(), "a password that was changed");
        assert!(!users.verify("bob", "b").unwrap(), "a user who was taken out");
        assert!(users.verify("alice", "new").unwrap());
        fs::remove_file(&path).unwrap();
        assert!(users.verify("alice", "new").is_err());
    }

    /// Where one name and password are joined, another pair must not have the same seal.
    #[test]
    fn what_is_known_is_of_one_user() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("users");
        fs::write(&path, format!("ab:{}\na:{}\n", hash("c"), hash("x"))).unwrap();
        let users = Users::open(&path).unwrap();
        assert!(users.verify("ab", "c").unwrap());
        assert!(!users.verify("a", "bc").unwrap());
    }

    #[test]
    fn bad_lines_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("users");
        let good = hash("a");
        for (text, message) in [
            ("alice".to_owned(), "line 1: not a user"),
            (format!("a:{good}\n\n:{good}"), "line 3: a user without a name"),
            ("alice:secret".to_owned(), "not hashed with bcrypt"),
            ("alice:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=".to_owned(), "not hashed with bcrypt"),
            ("alice:$apr1$lZL6V/ci$eIMz/iKDkbtys/uU7LEK00".to_owned(), "not hashed with bcrypt"),
            (format!("a:{good}\na:{good}"), "line 2: a stands there twice"),
        ] {
            fs::write(&path, &text).unwrap();
            let err = Users::open(&path).unwrap_err();
            assert!(err.to_string().contains(message), "{text}: {err}");
            assert!(!err.to_string().contains("secret"), "{err}");
        }
    }

    #[test]
    fn users_are_added_changed_and_removed() {
        let path = Path::new("users");
        let set = |text: &str, user: &str, word: &str| changed(text, path, user, Some(word));
        let text = set("# people\n", "alice", "a").unwrap();
        let text = set(&text, "bob", "b").unwrap();
        let text = set(&text, "alice", "new").unwrap();
        let names: Vec<_> = text.lines().map(|line| line.split(':').next().unwrap()).collect();
        assert_eq!(names, ["# people", "alice", "bob"]);
        let hashes = parse(&text, path).unwrap();
        assert!(bcrypt::verify("new", &hashes["alice"]).unwrap());
        assert!(bcrypt::verify("b", &hashes["bob"]).unwrap());
        let text = changed(&text, path, "alice", None).unwrap();
        assert_eq!(parse(&text, path).unwrap().len(), 1);
        assert_eq!(changed(&text, path, "alice", None).unwrap_err().kind(), Kind::NotFound);
        for (user, word) in [("", "a"), ("a:b", "a"), ("a b", "a"), ("#a", "a"), ("a", "")] {
            assert_eq!(set(&text, user, word).unwrap_err().kind(), Kind::Usage, "{user:?}");
        }
        // bcrypt would look at the first 72 bytes only.
        assert_eq!(set(&text, "a", &"x".repeat(80)).unwrap_err().kind(), Kind::Usage);
        assert_eq!(set("alice", "a", "a").unwrap_err().kind(), Kind::Invalid);
    }

    /// Otherwise the comparison ends at once, and tells who is unknown.
    #[test]
    fn nobody_has_a_real_hash() {
        assert!(is_bcrypt(NOBODY));
        assert!(!bcrypt::verify("", NOBODY).unwrap());
    }
}

//! A second wall around the threads that write a tree. Every path is resolved inside the tree anyway;
//! should that ever be wrong, Landlock keeps these threads, and those that they start, from opening or
//! making anything outside of the staging folder. Linux, Documentation/userspace-api/landlock.rst.

use std::os::fd::BorrowedFd;
use std::thread;

use conex_spec::{Error, Kind, Result};
use landlock::{
    ABI, Access, AccessFs, CompatLevel, Compatible, PathBeneath, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetError, RulesetStatus,
};

/// Runs `work` on a thread that reaches nothing but `folder` and what is open already. The thread of
/// the caller, which others will use again, stays as it is.
pub(super) fn confined<T: Send>(
    folder: BorrowedFd<'_>,
    work: impl FnOnce() -> Result<T> + Send,
) -> Result<T> {
    thread::scope(|scope| {
        let inside = || {
            // Older kernels, and some containers, do not have it.
            let _ = confine(folder);
            work()
        };
        let thread = thread::Builder::new().spawn_scoped(scope, inside);
        let thread =
            thread.map_err(|err| Error::from_io(err, || "cannot start a thread".into()))?;
        let stopped = |_| Err(Error::new(Kind::Io, "the thread that unpacks stopped"));
        thread.join().unwrap_or_else(stopped)
    })
}

/// True where the kernel keeps this thread to the folder from now on.
fn confine(folder: BorrowedFd<'_>) -> Result<bool, RulesetError> {
    // The first version forbids to link or rename from one directory to another.
    let least = AccessFs::from_all(ABI::V2);
    let all = AccessFs::from_all(ABI::V5);
    let status = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(least)?
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(all)?
        .create()?
        .add_rule(PathBeneath::new(folder, all))?
        .restrict_self()?;
    Ok(status.ruleset != RulesetStatus::NotEnforced)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::ErrorKind::PermissionDenied;
    use std::os::fd::AsFd;

    /// A test on a kernel without Landlock says so and is of no use.
    fn is_there(folder: BorrowedFd<'_>) -> bool {
        let there = thread::scope(|scope| scope.spawn(|| confine(folder)).join().unwrap());
        let there = matches!(there, Ok(true));
        if !there {
            eprintln!("skipped: this kernel has no Landlock, or not enough of it");
        }
        there
    }

    #[test]
    fn outside_of_the_folder_nothing_can_be_opened_or_made() {
        let temp = tempfile::tempdir().unwrap();
        let (inside, outside) = (temp.path().join("inside"), temp.path().join("outside"));
        fs::create_dir_all(inside.join("dir")).unwrap();
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("secret"), "canary").unwrap();
        let folder = fs::File::open(&inside).unwrap();
        if !is_there(folder.as_fd()) {
            return;
        }
        confined(folder.as_fd(), || {
            let denied = |result: std::io::Result<()>| result.unwrap_err().kind();
            let secret = outside.join("secret");
            // Also on the threads that this one starts.
            thread::scope(|scope| {
                scope.spawn(|| {
                    assert_eq!(denied(fs::read(&secret).map(drop)), PermissionDenied);
                });
            });
            assert_eq!(denied(fs::write(&secret, "x")), PermissionDenied);
            assert_eq!(denied(fs::create_dir(outside.join("new"))), PermissionDenied);
            assert_eq!(denied(fs::remove_file(&secret)), PermissionDenied);
            assert!(fs::rename(inside.join("dir"), outside.join("dir")).is_err());
            assert!(fs::hard_link(&secret, inside.join("secret")).is_err());
            // Inside all goes on as before.
            fs::write(inside.join("file"), "x").unwrap();
            fs::hard_link(inside.join("file"), inside.join("dir/link")).unwrap();
            fs::rename(inside.join("file"), inside.join("dir/file")).unwrap();
            std::os::unix::fs::symlink(&secret, inside.join("link")).unwrap();
            assert_eq!(denied(fs::read(inside.join("link")).map(drop)), PermissionDenied);
            Ok(())
        })
        .unwrap();
        // The caller is as free as before.
        assert_eq!(fs::read_to_string(outside.join("secret")).unwrap(), "canary");
    }

    #[test]
    fn what_goes_wrong_inside_comes_out() {
        let folder = fs::File::open("/").unwrap();
        let err = confined(folder.as_fd(), || Err::<(), _>(Error::invalid("inside")));
        assert!(err.unwrap_err().to_string().contains("inside"));
    }
}

//! Blobs into a folder of this machine as files: all of them, or none.
//!
//! What is in the way is told before anything is written. Blobs come in parallel into a private folder,
//! are verified there, and get their names when all are whole. A file that is there with the same content
//! stays as it is, so that a pull that was killed is gone on with wherever it was.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Serialize;

use conex_spec::{Descriptor, Digest, Error, Result};
use conex_store::bridge::blocking;
use conex_store::{Event, Observer, Source, SourceExt};

use super::draft::UNPACKED_DIGEST;
use super::fetch::fetch;
use super::landing::{COPY, Landing, Seen};
use super::{titles, tree};
use crate::copy::budget::Budget;
use crate::open::Context;

/// How much of a blob that broke off is worth to be kept for the next time, in bytes.
const WORTH: u64 = 1 << 20;
/// Blobs up to this size come in one piece, in bytes.
const SMALL: u64 = 64 << 10;
/// How many files are under way at a time, as far as the budget lets them.
const WIDTH: usize = 64;

/// A file or folder that is to come.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    title: String,
    layer: Descriptor,
    folder: bool,
}

impl Step {
    /// A blob as a file. The title is a path below the folder.
    ///
    /// # Errors
    /// `Invalid` for a title that leads out of it.
    pub(crate) fn file(title: &str, layer: &Descriptor) -> Result<Self> {
        let title = titles::clean(title)
            .map_err(|err| err.context(format_args!("layer {}", layer.digest)))?;
        Ok(Self { title, layer: layer.clone(), folder: false })
    }

    /// The folder that is packed in the blob.
    #[must_use]
    pub(crate) fn unpacked(self) -> Self {
        Self { folder: true, ..self }
    }
}

/// How they come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct How {
    /// Whether what has a title is replaced, as long as nothing is lost by it but files and links.
    pub(crate) overwrite: bool,
    /// Whether what has come must outlast a power cut.
    pub(crate) durable: bool,
    /// How many blobs are on their way at a time.
    pub(crate) jobs: usize,
}

/// A file or folder that has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct File {
    /// Its name below the folder.
    pub title: String,
    /// The blob.
    pub layer: Descriptor,
    /// Whether it was a packed folder that was unpacked.
    pub folder: bool,
    /// How many bytes of it were there from an earlier time.
    pub resumed: u64,
}

/// Brings blobs into a folder, which is made where there is none. Tells what has come, step by step.
///
/// # Security
/// No link is followed out of the folder, whoever made it (rules U1, U2).
///
/// # Errors
/// `Invalid` for two that want one place, `Conflict` for what is in the way and for what would be lost:
/// both before anything is written. A failure leaves the folder as it was.
pub(crate) async fn bring(
    source: &dyn Source,
    dir: &Path,
    steps: Vec<Step>,
    how: How,
    observer: &Arc<dyn Observer>,
) -> Result<Vec<File>> {
    let mut taken = titles::Taken::default();
    steps
        .iter()
        .try_for_each(|step| taken.take(&step.title))
        .map_err(|err| err.hint("`--title` and `--type` choose among them"))?;
    let path = dir.to_owned();
    let (landing, _lock) = blocking(move || Landing::open(&path, how.durable)).await?;
    let landing = Arc::new(landing);
    let done = land(source, &landing, steps, how, observer).await;
    let keep = done.is_err().then_some(WORTH);
    blocking(move || {
        landing.clear(keep);
        Ok(())
    })
    .await?;
    done
}

/// The same for the few files of a chart or a bundle, all at a time; where they are then.
///
/// # Errors
/// Those of [`bring`].
pub(crate) async fn bring_few(
    context: &Context,
    source: &dyn Source,
    dir: &Path,
    steps: Vec<Step>,
    overwrite: bool,
) -> Result<Vec<PathBuf>> {
    let how = How { overwrite, durable: context.is_durable(), jobs: steps.len() };
    let files = bring(source, dir, steps, how, &context.observer).await?;
    Ok(files.into_iter().map(|file| dir.join(file.title)).collect())
}

/// Brings all into the stage, and then gives them their names.
async fn land(
    source: &dyn Source,
    landing: &Arc<Landing>,
    steps: Vec<Step>,
    how: How,
    observer: &Arc<dyn Observer>,
) -> Result<Vec<File>> {
    let held = landing.clone();
    let (steps, there) = blocking(move || {
        let there = there(&held, &steps, how.overwrite)?;
        Ok((steps, there))
    })
    .await?;
    let wanted = steps.iter().zip(&there).filter(|(_, there)| !**there);
    let fetched = fetch_all(source, landing, wanted.map(|(step, _)| step), how, observer).await?;
    let landing = landing.clone();
    blocking(move || {
        place(&landing, &steps, &there, how.overwrite)?;
        let resumed = |step: &Step, there| match there {
            true => step.layer.size,
            false => fetched.get(&step.layer.digest).copied().unwrap_or_default(),
        };
        let files = steps.into_iter().zip(there).map(|(step, there)| {
            let resumed = resumed(&step, there);
            let Step { title, layer, folder } = step;
            File { title, layer, folder, resumed }
        });
        Ok(files.collect())
    })
    .await
}

/// Which files are there with the same content; fails for anything else that is in the way. What a packed
/// folder takes the place of is looked at when it is unpacked.
fn there(landing: &Landing, steps: &[Step], overwrite: bool) -> Result<Vec<bool>> {
    let look = |step: &Step| {
        let blob = Some(&step.layer).filter(|_| !step.folder);
        match landing.look(&step.title, blob)? {
            Seen::Same => Ok(true),
            Seen::Other(found) if !overwrite => Err(landing.taken(&step.title, found)),
            Seen::Other(_) if !step.folder => {
                landing.may_replace(&step.title, None).map(|()| false)
            }
            Seen::Other(_) | Seen::Nothing => Ok(false),
        }
    };
    steps.iter().map(look).collect()
}

/// Brings each blob once. Tells how much of it was there.
async fn fetch_all(
    source: &dyn Source,
    landing: &Arc<Landing>,
    steps: impl Iterator<Item = &Step>,
    how: How,
    observer: &Arc<dyn Observer>,
) -> Result<HashMap<Digest, u64>> {
    let mut blobs: Vec<&Descriptor> = steps.map(|step| &step.layer).collect();
    blobs.sort_by(|a, b| a.digest.cmp(&b.digest));
    blobs.dedup_by(|a, b| a.digest == b.digest);
    let budget = Budget::for_files(how.jobs);
    let fetches = blobs.into_iter().map(|blob| {
        let budget = &budget;
        async move {
            let _room = budget.room_for(blob).await?;
            if blob.size <= SMALL
                && landing.is_new()
                && small(source, landing, blob, observer).await
            {
                return Ok((blob.digest.clone(), 0));
            }
            let file = landing.blob(&blob.digest)?;
            let into = (file, landing.staged(&blob.digest));
            let resumed = fetch(source, blob, into, observer).await?;
            Ok::<_, Error>((blob.digest.clone(), resumed))
        }
    });
    stream::iter(fetches).buffer_unordered(WIDTH).try_collect().await
}

/// Brings a small blob in one piece, of which nothing is there. Tells whether that went well; what went
/// wrong is seen again in the long way, which may mend it.
async fn small(
    source: &dyn Source,
    landing: &Arc<Landing>,
    blob: &Descriptor,
    observer: &Arc<dyn Observer>,
) -> bool {
    let Ok(bytes) = source.read(blob).await else { return false };
    let (landing, digest) = (landing.clone(), blob.digest.clone());
    let write = move || landing.write(&digest, &bytes);
    let written = blocking(write).await.is_ok();
    if written {
        observer.event(Event::Started(blob));
        observer.event(Event::Progress(blob, blob.size));
        observer.event(Event::Done(blob));
    }
    written
}

/// Gives all their titles, once the last of them is ready and on the disk.
fn place(landing: &Landing, steps: &[Step], there: &[bool], overwrite: bool) -> Result<()> {
    let wanted = || steps.iter().enumerate().zip(there).filter(|(_, there)| !**there);
    // Of files with the same content, the last gets the blob itself.
    let last: HashMap<_, _> =
        wanted().map(|((at, step), _)| (step.layer.digest.clone(), at)).collect();
    let staged: Vec<_> = wanted()
        .map(|((at, step), _)| stage(landing, at, step, last.get(&step.layer.digest) == Some(&at)))
        .collect::<Result<_>>()?;
    let steps = || wanted().map(|((_, step), _)| step).zip(&staged);
    for (step, path) in steps().filter(|(step, _)| overwrite && step.folder) {
        landing.may_replace(&step.title, Some(path))?;
    }
    landing.sync()?;
    for (step, path) in steps() {
        landing.place(path, &step.title, overwrite)?;
    }
    landing.sync()
}

/// What is to get the title of a step: the blob itself, a copy of it where others want it too, or the
/// folder that was packed in it.
fn stage(landing: &Landing, at: usize, step: &Step, is_last: bool) -> Result<PathBuf> {
    let blob = landing.staged(&step.layer.digest);
    if step.folder {
        let stated = step.layer.annotations.get(UNPACKED_DIGEST).map(String::as_str);
        let target = landing.beside(&format!("tree-{at}"));
        return tree::unpack(&blob, &step.title, stated, &target)
            .map_err(|err| err.context(format_args!("folder {:?}", step.title)));
    }
    if is_last {
        return Ok(blob);
    }
    let copy = landing.beside(&format!("{COPY}{at}"));
    std::fs::copy(&blob, &copy).map_err(|err| Error::io("cannot write", &copy, err))?;
    Ok(copy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use conex_spec::{Kind, MediaType};
    use conex_store::Memory;
    use std::fs;

    const HOW: How = How { overwrite: false, durable: false, jobs: 4 };

    async fn brought(dir: &Path, files: &[(&str, &str)], how: How) -> Result<Vec<File>> {
        let memory = Memory::new();
        let step = |(title, text): &(&str, &str)| {
            Step::file(title, &memory.add(MediaType::OCTETS, (*text).to_owned()))
        };
        let steps: Vec<_> = files.iter().map(step).collect::<Result<_>>()?;
        bring(&memory, dir, steps, how, &(Arc::new(()) as Arc<dyn Observer>)).await
    }

    #[tokio::test]
    async fn all_come_or_none() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("out");
        for (files, hint) in [
            (&[("a", "1"), ("../b", "2")][..], None),
            (&[("a", "1"), ("a/b", "2")], Some("`--title` and `--type` choose among them")),
        ] {
            let err = brought(&dir, files, HOW).await.unwrap_err();
            assert_eq!((err.kind(), err.hint_text()), (Kind::Invalid, hint));
            assert!(!dir.exists());
        }
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("b"), "mine").unwrap();
        let files = [("a", "1"), ("b", "2")];
        let err = brought(&dir, &files, HOW).await.unwrap_err();
        assert_eq!(
            (err.kind(), err.found_value()),
            (Kind::Conflict, Some("another file of 4 bytes"))
        );
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 1);
        brought(&dir, &files, How { overwrite: true, durable: true, ..HOW }).await.unwrap();
        assert_eq!(fs::read_to_string(dir.join("b")).unwrap(), "2");
    }

    #[tokio::test]
    async fn what_is_not_what_it_says_does_not_come() {
        let temp = tempfile::tempdir().unwrap();
        let (memory, other) = (Memory::new(), Memory::new());
        let long = "x".repeat(SMALL as usize + 1);
        for text in ["short", &long] {
            let mut blob = memory.add(MediaType::OCTETS, text.to_owned());
            let steps = vec![Step::file("a", &blob).unwrap()];
            let observer = Arc::new(()) as Arc<dyn Observer>;
            let missing = bring(&other, temp.path(), steps, HOW, &observer).await.unwrap_err();
            assert_eq!(missing.kind(), Kind::NotFound);
            blob.size += 1;
            let steps = vec![Step::file("a", &blob).unwrap()];
            assert!(bring(&memory, temp.path(), steps, HOW, &observer).await.is_err());
            assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 0);
        }
    }

    /// As after a kill between two names.
    #[tokio::test]
    async fn what_is_there_stays_as_it_is() {
        let temp = tempfile::tempdir().unwrap();
        fs::write(temp.path().join("a"), "1").unwrap();
        let before = fs::metadata(temp.path().join("a")).unwrap();
        let files = [("a", "1"), ("b", "1"), ("c/d", "2")];
        for resumed in [[1, 0, 0], [1, 1, 1]] {
            let brought = brought(temp.path(), &files, HOW).await.unwrap();
            assert_eq!(brought.iter().map(|file| file.resumed).collect::<Vec<_>>(), resumed);
        }
        use std::os::unix::fs::MetadataExt;
        let after = fs::metadata(temp.path().join("a")).unwrap();
        assert_eq!((before.ino(), before.ctime_nsec()), (after.ino(), after.ctime_nsec()));
        assert_eq!(fs::read_to_string(temp.path().join("c/d")).unwrap(), "2");
        // A link to the same is something else.
        fs::remove_file(temp.path().join("a")).unwrap();
        std::os::unix::fs::symlink("b", temp.path().join("a")).unwrap();
        let err = brought(temp.path(), &files, HOW).await.unwrap_err();
        assert_eq!(err.found_value(), Some("a link"));
    }
}

//! What a bucket can do, and who may write to it.
//!
//! A bucket that holds to conditions needs nobody to keep order. For one that does not, a server
//! takes a lease: an object that it rewrites every few seconds. Whoever finds one waits a while to
//! see whether it is still rewritten. So no clock is read, and the lease of a dead server holds up
//! the next one only as long.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use conex_spec::{Error, Kind, Result};
use futures_util::future::join_all;
use object_store::PutMode;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use uuid::Uuid;

use super::bucket::{Bucket, Refused, unchanged};
use crate::paths;

/// How often a lease is rewritten, and how long one that is not counts.
const RENEWAL: Duration = Duration::from_secs(2);
const LIFE: Duration = Duration::from_secs(8);
/// How many writes at once show whether a condition holds.
const RACERS: usize = 16;
const ROUNDS: usize = 4;
/// How long each is, in bytes: it takes a store some time.
const RACER_SIZE: usize = 64 << 10;
/// How long two that take the same lease wait for each other.
const SETTLE: Duration = Duration::from_millis(1500);

/// Whether writes hold to their conditions.
///
/// # Errors
/// Those of a bucket that cannot be written at all.
pub(super) async fn knows_conditions(bucket: &Bucket) -> Result<bool> {
    let name = paths::probe(Uuid::new_v4());
    let put =
        |text: &'static str, mode| bucket.put(&name, Bytes::from_static(text.as_bytes()), mode);
    // First without one, so that what is wrong with the bucket itself is told as that.
    let first = put("first", PutMode::Overwrite).await?;
    let refused =
        |put: std::result::Result<String, Refused>| matches!(put, Err(Refused::Condition));
    let knows = !first.is_empty()
        && refused(put("second", PutMode::Create).await)
        && refused(put("third", unchanged("\"00000000000000000000000000000000\"")).await)
        && one_wins(bucket, &name, &first).await;
    bucket.delete(&name).await?;
    Ok(knows)
}

/// Whether of many writes that replace the same version just one is taken: a store that looks first
/// and then writes takes several. The first round opens the connections that the others race on.
async fn one_wins(bucket: &Bucket, name: &str, tag: &str) -> bool {
    let body = Bytes::from(vec![b'x'; RACER_SIZE]);
    let mut tag = tag.to_owned();
    for round in 0..ROUNDS {
        let body = |number: usize| [format!("{round} {number}").as_bytes(), &body].concat();
        let write = |number| bucket.put(name, body(number).into(), unchanged(&tag));
        let written = join_all((0..RACERS).map(write)).await;
        let mut taken = written.into_iter().flatten();
        match (taken.next(), taken.next()) {
            (Some(next), None) => tag = next,
            _ => return false,
        }
    }
    true
}

/// The right to be the only one who writes.
#[derive(Debug)]
pub(super) struct Lease {
    lost: Arc<AtomicBool>,
    renewing: JoinHandle<()>,
}

impl Lease {
    pub(super) async fn take(bucket: &Bucket) -> Result<Self> {
        let found = read(bucket).await?;
        if found.is_some() {
            sleep(LIFE).await;
            if read(bucket).await? != found {
                return Err(taken(bucket));
            }
        }
        let own = Uuid::new_v4();
        write(bucket, own, 0).await?;
        sleep(SETTLE).await;
        if !is_own(bucket, own).await? {
            return Err(taken(bucket));
        }
        let lost = Arc::new(AtomicBool::new(false));
        let renewing = tokio::spawn(renew(bucket.clone(), own, Arc::clone(&lost)));
        Ok(Self { lost, renewing })
    }

    /// Fails where another one has taken it.
    pub(super) fn check(&self) -> Result<()> {
        if self.lost.load(Ordering::SeqCst) {
            let message = "another process serves this bucket now";
            return Err(Error::new(Kind::Conflict, message));
        }
        Ok(())
    }

    pub(super) async fn give_up(&self, bucket: &Bucket) {
        self.renewing.abort();
        if !self.lost.swap(true, Ordering::SeqCst) {
            // One that stays is found dead by the next server.
            let _ = bucket.delete(paths::LEASE).await;
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.renewing.abort();
    }
}

async fn renew(bucket: Bucket, own: Uuid, lost: Arc<AtomicBool>) {
    for count in 1.. {
        sleep(RENEWAL).await;
        // A store that does not answer takes no writes of ours either.
        match is_own(&bucket, own).await {
            Ok(true) => drop(write(&bucket, own, count).await),
            Ok(false) => {
                lost.store(true, Ordering::SeqCst);
                return;
            }
            Err(_) => {}
        }
    }
}

async fn read(bucket: &Bucket) -> Result<Option<Bytes>> {
    Ok(bucket.get(paths::LEASE, 1024).await?.map(|object| object.bytes))
}

async fn write(bucket: &Bucket, own: Uuid, count: u64) -> Result<()> {
    bucket.put(paths::LEASE, format!("{own} {count}\n").into(), PutMode::Overwrite).await?;
    Ok(())
}

async fn is_own(bucket: &Bucket, own: Uuid) -> Result<bool> {
    let found = read(bucket).await?;
    Ok(found.is_some_and(|found| found.starts_with(own.to_string().as_bytes())))
}

fn taken(bucket: &Bucket) -> Error {
    let message = format!("{bucket} is served by another process already");
    Error::new(Kind::Conflict, message).hint(
        "this store ignores If-Match, so one process has a bucket; stop the other one, or ask it: \
             `operator` in its settings",
    )
}

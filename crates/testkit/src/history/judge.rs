//! Whether a history keeps the laws.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{Action, Event, Outcome};

/// A moment from which to which something happened. One without an answer may happen at any later
/// moment too.
#[derive(Clone, Copy, Debug)]
struct Span {
    start: u64,
    end: u64,
    /// Whether it is known to have happened by its end.
    sure: bool,
}

/// Something that is there or not: what made it so.
#[derive(Debug, Default)]
struct Presence {
    puts: Vec<Span>,
    deletes: Vec<Span>,
}

/// A manifest that was put.
#[derive(Debug, Default)]
struct Manifest {
    presence: Presence,
    children: BTreeSet<String>,
    subject: Option<String>,
}

/// A tag: who made it what.
#[derive(Debug, Default)]
struct Register {
    /// The digest, or nothing where it was deleted.
    writes: Vec<(Option<String>, Span)>,
    reads: Vec<Read>,
}

type Key = (String, String);
/// What a tag was read as, from when to when.
type Read = (Option<String>, u64, u64);

/// All that happened, sorted by what it happened to: repository and name.
#[derive(Debug, Default)]
struct World {
    blobs: BTreeMap<Key, Presence>,
    /// When a client was told that a blob is there.
    promises: BTreeMap<Key, Vec<Span>>,
    manifests: BTreeMap<Key, Manifest>,
    /// The manifests that need a blob.
    parents: BTreeMap<Key, BTreeSet<String>>,
    tags: BTreeMap<Key, Register>,
    lease: u64,
}

/// All that breaks a law, in words. `lease` is for how long a promise must hold.
pub fn judge(events: &[Event], lease: Duration) -> Vec<String> {
    let mut world = World { lease: nanoseconds(lease), ..World::default() };
    for event in events {
        world.learn(event);
    }
    let mut faults: Vec<_> = events.iter().flat_map(|event| world.faults(event)).collect();
    for ((repository, tag), register) in &world.tags {
        faults.extend(
            register.faults().into_iter().map(|fault| format!("{repository}:{tag}: {fault}")),
        );
    }
    faults
}

impl World {
    fn learn(&mut self, event: &Event) {
        let sure = matches!(event.outcome, Outcome::Done);
        let span = Span { start: event.start, end: if sure { event.end } else { u64::MAX }, sure };
        let happened = sure || event.outcome == Outcome::Unknown;
        let promised = sure || matches!(event.outcome, Outcome::Found(_));
        let told = Span { sure: true, end: event.end, ..span };
        match &event.action {
            Action::PutBlob { repository, digest } if happened => {
                let key = (repository.clone(), digest.clone());
                self.blobs.entry(key.clone()).or_default().puts.push(span);
                if promised {
                    self.promises.entry(key).or_default().push(told);
                }
            }
            Action::HeadBlob { repository, digest } if promised => {
                let key = (repository.clone(), digest.clone());
                self.promises.entry(key).or_default().push(told);
            }
            Action::DeleteBlob { repository, digest } if happened => {
                let key = (repository.clone(), digest.clone());
                self.blobs.entry(key).or_default().deletes.push(span);
            }
            Action::PutManifest { repository, digest, children, tag, subject } if happened => {
                for child in children {
                    let parents = self.parents.entry((repository.clone(), child.clone()));
                    parents.or_default().insert(digest.clone());
                }
                let key = (repository.clone(), digest.clone());
                let manifest = self.manifests.entry(key).or_default();
                manifest.presence.puts.push(span);
                manifest.children.extend(children.iter().cloned());
                manifest.subject.clone_from(subject);
                if let Some(tag) = tag {
                    let register = self.tags.entry((repository.clone(), tag.clone())).or_default();
                    register.writes.push((Some(digest.clone()), span));
                }
            }
            Action::DeleteManifest { repository, digest } if happened => {
                let key = (repository.clone(), digest.clone());
                self.manifests.entry(key).or_default().presence.deletes.push(span);
                // Its tags go with it.
                for ((_, _), register) in
                    self.tags.iter_mut().filter(|((at, _), _)| at == repository)
                {
                    let theirs =
                        |(value, _): &(Option<String>, Span)| value.as_ref() == Some(digest);
                    if register.writes.iter().any(theirs) {
                        register.writes.push((None, Span { sure: false, ..span }));
                    }
                }
            }
            Action::DeleteTag { repository, tag } if happened => {
                let register = self.tags.entry((repository.clone(), tag.clone())).or_default();
                register.writes.push((None, span));
            }
            Action::GetTag { repository, tag } => {
                let value = match &event.outcome {
                    Outcome::Found(digest) => Some(digest.clone()),
                    Outcome::Missing => None,
                    _ => return,
                };
                let register = self.tags.entry((repository.clone(), tag.clone())).or_default();
                register.reads.push((value, event.start, event.end));
            }
            _ => {}
        }
    }

    fn faults(&self, event: &Event) -> Vec<String> {
        let (start, end) = (event.start, event.end);
        let fault = |what: &str| vec![format!("{what}: {event:?}")];
        match (&event.action, &event.outcome) {
            (
                Action::GetBlob { repository, digest } | Action::HeadBlob { repository, digest },
                outcome,
            ) => {
                let key = (repository.clone(), digest.clone());
                match outcome {
                    Outcome::Found(found) if found != digest => fault("L2: other bytes"),
                    Outcome::Found(_) | Outcome::Done => {
                        let gone = self.blobs.get(&key).is_none_or(|blob| blob.is_gone(start, end));
                        if gone { fault("L4: a blob came back") } else { Vec::new() }
                    }
                    Outcome::Missing => {
                        self.lost(&key, start, end).map_or(vec![], |why| fault(&why))
                    }
                    _ => Vec::new(),
                }
            }
            (Action::PutManifest { repository, .. }, Outcome::Lacking(missing)) => missing
                .iter()
                .filter_map(|digest| self.lost(&(repository.clone(), digest.clone()), start, end))
                .flat_map(|why| fault(&format!("BLOB_UNKNOWN, {why}")))
                .collect(),
            (Action::GetManifest { repository, digest }, outcome) => {
                let key = (repository.clone(), digest.clone());
                let Some(manifest) = self.manifests.get(&key) else {
                    let found = matches!(outcome, Outcome::Found(_));
                    return if found { fault("L4: nobody put it") } else { Vec::new() };
                };
                match outcome {
                    Outcome::Found(found) if found != digest => fault("L2: other bytes"),
                    Outcome::Found(_) if manifest.presence.is_gone(start, end) => {
                        fault("L4: a manifest came back")
                    }
                    Outcome::Missing if manifest.presence.is_there(start, end) => {
                        fault("L1: a manifest is lost")
                    }
                    _ => Vec::new(),
                }
            }
            (Action::Referrers { repository, subject }, Outcome::Listed(listed)) => {
                let theirs = self.manifests.iter().filter(|((at, _), manifest)| {
                    at == repository && manifest.subject.as_ref() == Some(subject)
                });
                let mut faults = Vec::new();
                for ((_, digest), manifest) in theirs {
                    let is_listed = listed.contains(digest);
                    if !is_listed && manifest.presence.is_there(start, end) {
                        faults.push(format!("L1: a referrer is lost: {digest}: {event:?}"));
                    }
                    if is_listed && manifest.presence.is_gone(start, end) {
                        faults.push(format!("L4: a referrer came back: {digest}: {event:?}"));
                    }
                }
                faults
            }
            _ => Vec::new(),
        }
    }

    /// Why a blob should have been there all the time from `start` to `end`; nothing if it need not.
    fn lost(&self, key: &Key, start: u64, end: u64) -> Option<String> {
        let blob = self.blobs.get(key)?;
        let promised = self.promises.get(key).into_iter().flatten();
        // It holds from when it was told of until the lease is over.
        let kept = |told: &&Span| {
            told.end < start
                && end < told.start.saturating_add(self.lease)
                && !blob.deletes.iter().any(|delete| delete.end > told.start && delete.start < end)
        };
        if promised.clone().any(|told| kept(&told)) {
            return Some("L6: a blob is lost that was promised".into());
        }
        let parents = self.parents.get(key).into_iter().flatten();
        for parent in parents {
            let Some(manifest) = self.manifests.get(&(key.0.clone(), parent.clone())) else {
                continue;
            };
            let deleted = |put: &Span| {
                blob.deletes.iter().any(|delete| delete.end > put.start && delete.start < end)
            };
            if manifest.presence.there_since(start, end).is_some_and(|put| !deleted(&put)) {
                return Some(format!("L3: a blob is lost that {parent} needs"));
            }
        }
        None
    }
}

impl Presence {
    /// Whether it must be there from `start` to `end`.
    fn is_there(&self, start: u64, end: u64) -> bool {
        self.there_since(start, end).is_some()
    }

    /// The put since which it must be there: one that had ended, after which nobody can have deleted
    /// it.
    fn there_since(&self, start: u64, end: u64) -> Option<Span> {
        let undone = |put: &Span| {
            self.deletes.iter().any(|delete| delete.end > put.start && delete.start < end)
        };
        let ended = self.puts.iter().filter(|put| put.sure && put.end < start);
        ended.filter(|put| !undone(put)).max_by_key(|put| put.end).copied()
    }

    /// Whether it cannot be there at any moment from `start` to `end`.
    fn is_gone(&self, start: u64, end: u64) -> bool {
        let undone =
            |delete: &Span| self.puts.iter().any(|put| put.end > delete.start && put.start < end);
        let never = !self.puts.iter().any(|put| put.start < end);
        let ended = |delete: &&Span| delete.sure && delete.end < start;
        never || self.deletes.iter().filter(ended).any(|delete| !undone(delete))
    }
}

impl Register {
    fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for (value, start, end) in &self.reads {
            if !self.can_be(value.as_ref(), *start, *end) {
                faults.push(format!("L5: read {value:?} from {start} to {end}"));
            }
        }
        faults.extend(self.stale());
        faults
    }

    /// Whether a read may tell a value: somebody wrote it, and nobody wrote anything else between
    /// that and the read.
    fn can_be(&self, value: Option<&String>, start: u64, end: u64) -> bool {
        let covered = |after: u64| {
            self.writes
                .iter()
                .any(|(_, other)| other.sure && other.start > after && other.end < start)
        };
        let from_the_start = value.is_none() && !covered(0);
        let mut theirs = self.writes.iter().filter(|(written, _)| written.as_ref() == value);
        from_the_start
            || theirs.any(|(_, write)| {
                write.start < end && !covered(if write.sure { write.end } else { start })
            })
    }

    /// Of two reads one after the other, the later one tells what was surely written before what the
    /// earlier one told.
    fn stale(&self) -> Vec<String> {
        let span = |value: &String| {
            let mut theirs =
                self.writes.iter().filter(|(written, _)| written.as_ref() == Some(value));
            // Only where it was written once can its place in the order be told.
            let first = theirs.next().map(|(_, span)| *span);
            first.filter(|_| theirs.next().is_none())
        };
        let mut reads: Vec<_> = self.reads.iter().filter(|(value, ..)| value.is_some()).collect();
        reads.sort_by_key(|(_, start, _)| *start);
        let mut newest: Option<(u64, &Read)> = None;
        let mut faults = Vec::new();
        let mut ended: Vec<_> = reads.clone();
        ended.sort_by_key(|(_, _, end)| *end);
        let mut ended = ended.into_iter().peekable();
        for read in reads {
            while let Some(before) = ended.next_if(|before| before.2 < read.1) {
                let Some(span) = before.0.as_ref().and_then(span) else { continue };
                if newest.is_none_or(|(start, _)| start < span.start) {
                    newest = Some((span.start, before));
                }
            }
            let Some((start, before)) = newest else { continue };
            let mine = read.0.as_ref().and_then(span).filter(|span| span.sure);
            if mine.is_some_and(|mine| mine.end < start) {
                faults.push(format!("L5: read {read:?} after {before:?}, which is newer"));
            }
        }
        faults
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> String {
        text.to_owned()
    }

    fn event(start: u64, end: u64, action: Action, outcome: Outcome) -> Event {
        Event { action, outcome, start, end }
    }

    fn put_blob(start: u64, end: u64) -> Event {
        let action = Action::PutBlob { repository: text("a"), digest: text("b") };
        event(start, end, action, Outcome::Done)
    }

    fn get_blob(start: u64, end: u64, outcome: Outcome) -> Event {
        let action = Action::GetBlob { repository: text("a"), digest: text("b") };
        event(start, end, action, outcome)
    }

    fn put(start: u64, end: u64, digest: &str, tag: Option<&str>, outcome: Outcome) -> Event {
        let (repository, digest, children) = (text("a"), text(digest), vec![text("b")]);
        let (tag, subject) = (tag.map(text), Some(text("s")));
        event(
            start,
            end,
            Action::PutManifest { repository, digest, children, tag, subject },
            outcome,
        )
    }

    fn get(start: u64, end: u64, digest: &str, outcome: Outcome) -> Event {
        let action = Action::GetManifest { repository: text("a"), digest: text(digest) };
        event(start, end, action, outcome)
    }

    fn delete(start: u64, end: u64, digest: &str, outcome: Outcome) -> Event {
        let action = Action::DeleteManifest { repository: text("a"), digest: text(digest) };
        event(start, end, action, outcome)
    }

    fn tag(start: u64, end: u64, outcome: Outcome) -> Event {
        event(start, end, Action::GetTag { repository: text("a"), tag: text("t") }, outcome)
    }

    fn found(digest: &str) -> Outcome {
        Outcome::Found(text(digest))
    }

    fn laws(events: &[Event]) -> Vec<String> {
        let faults = judge(events, Duration::from_nanos(100));
        let law = |fault: &String| {
            (1..=7).map(|law| format!("L{law}")).find(|law| fault.contains(&format!("{law}: ")))
        };
        faults.iter().filter_map(law).collect()
    }

    #[test]
    fn what_was_acknowledged_is_there() {
        use Outcome::{Done, Missing, Unknown};
        let lost = get(30, 40, "m", Missing);
        assert_eq!(laws(&[put(10, 20, "m", None, Done), lost.clone()]), ["L1"]);
        assert!(laws(&[put(10, 35, "m", None, Done), lost.clone()]).is_empty());
        assert!(laws(&[put(10, 20, "m", None, Unknown), lost.clone()]).is_empty());
        // Deleted meanwhile, perhaps.
        for outcome in [Done, Unknown] {
            for (start, end) in [(22, 25), (15, 25), (35, 60)] {
                let events = [
                    put(10, 20, "m", None, Done),
                    delete(start, end, "m", outcome.clone()),
                    lost.clone(),
                ];
                assert!(laws(&events).is_empty());
            }
        }
        let again = [delete(1, 5, "m", Done), put(10, 20, "m", None, Done), lost];
        assert_eq!(laws(&again), ["L1"]);
    }

    #[test]
    fn what_was_deleted_stays_away() {
        use Outcome::{Done, Unknown};
        let first = put(1, 2, "m", None, Done);
        let back = get(30, 40, "m", found("m"));
        assert_eq!(laws(&[first.clone(), delete(10, 20, "m", Done), back.clone()]), ["L4"]);
        assert!(laws(&[first.clone(), delete(10, 35, "m", Done), back.clone()]).is_empty());
        assert!(laws(&[first.clone(), delete(10, 20, "m", Unknown), back.clone()]).is_empty());
        let again =
            [first, delete(10, 20, "m", Done), put(15, 25, "m", None, Unknown), back.clone()];
        assert!(laws(&again).is_empty());
        assert_eq!(laws(&[back]), ["L4"]);
        assert_eq!(laws(&[put(1, 2, "m", None, Done), get(3, 4, "m", found("n"))]), ["L2"]);
    }

    #[test]
    fn blobs_stay_for_manifests_and_for_a_while() {
        use Outcome::{Done, Lacking, Missing};
        assert_eq!(laws(&[put_blob(0, 10), get_blob(50, 60, Missing)]), ["L6"]);
        assert!(laws(&[put_blob(0, 10), get_blob(90, 120, Missing)]).is_empty());
        let seen = get_blob(80, 90, found("b"));
        assert!(laws(&[put_blob(0, 10), seen, get_blob(120, 130, Missing)]).is_empty());
        let head = Action::HeadBlob { repository: text("a"), digest: text("b") };
        let seen = event(80, 90, head, Done);
        assert_eq!(laws(&[put_blob(0, 10), seen, get_blob(120, 130, Missing)]), ["L6"]);
        let held = [put_blob(0, 10), put(20, 30, "m", None, Done), get_blob(500, 510, Missing)];
        assert_eq!(laws(&held), ["L3"]);
        let lacking = Lacking(vec![text("b")]);
        let held =
            [put_blob(0, 10), put(20, 30, "m", None, Done), put(500, 510, "n", None, lacking)];
        assert_eq!(laws(&held), ["L3"]);
        let freed = [
            put_blob(0, 10),
            put(20, 30, "m", None, Done),
            delete(40, 50, "m", Done),
            get_blob(500, 510, Missing),
        ];
        assert!(laws(&freed).is_empty());
    }

    #[test]
    fn tags_are_what_the_last_one_made_them() {
        use Outcome::{Done, Missing, Unknown};
        let (one, two) = (put(10, 20, "m", Some("t"), Done), put(30, 40, "n", Some("t"), Done));
        let with = |more: &[Event]| laws(&[&[one.clone(), two.clone()], more].concat());
        assert!(with(&[tag(50, 60, found("n")), tag(22, 25, found("m"))]).is_empty());
        assert!(with(&[tag(35, 60, found("m")), tag(15, 18, found("m"))]).is_empty());
        assert!(with(&[tag(15, 18, Missing), tag(1, 2, Missing)]).is_empty());
        assert_eq!(with(&[tag(50, 60, found("m"))]), ["L5"]);
        assert_eq!(with(&[tag(50, 60, Missing)]), ["L5"]);
        assert_eq!(with(&[tag(22, 25, found("n"))]), ["L5"]);
        // The write that was underway was seen, so it is over.
        assert_eq!(with(&[tag(31, 33, found("n")), tag(35, 38, found("m"))]), ["L5"]);
        let lost = put(41, 42, "o", Some("t"), Unknown);
        assert!(with(&[lost.clone(), tag(50, 60, found("n")), tag(70, 80, found("o"))]).is_empty());
        assert!(with(&[lost, tag(50, 60, found("o"))]).is_empty());
        assert!(with(&[delete(45, 48, "n", Done), tag(50, 60, Missing)]).is_empty());
    }

    #[test]
    fn referrers_are_listed() {
        use Outcome::{Done, Listed};
        let list = |names: &[&str]| {
            let action = Action::Referrers { repository: text("a"), subject: text("s") };
            event(50, 60, action, Listed(names.iter().map(|name| text(name)).collect()))
        };
        let put = put(10, 20, "m", None, Done);
        assert!(laws(&[put.clone(), list(&["m"])]).is_empty());
        assert_eq!(laws(&[put.clone(), list(&[])]), ["L1"]);
        assert_eq!(laws(&[put, delete(30, 40, "m", Done), list(&["m"])]), ["L4"]);
    }
}

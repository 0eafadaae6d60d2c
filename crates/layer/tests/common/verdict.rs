//! What must come of a hostile layer.

use std::fs;
use std::path::Path;

use conex_layer::unpack::Report;
use conex_spec::Error;
use conex_tar::Code;

use super::{World, has, lower, odd};

/// What must come of a layer on top of the lower one.
pub enum Verdict {
    /// An error whose text holds this.
    Reject(&'static str),
    /// No error; then this must hold of the tree.
    Accept(fn(&Path)),
    /// As `Accept`, with a warning of this sort.
    Warn(Code, fn(&Path)),
}

pub fn check(row: &str, tar: Vec<u8>, verdict: &Verdict) {
    let world = World::new();
    judge(row, &world, world.unpack(&[lower(), tar]), verdict);
}

pub fn judge(row: &str, world: &World, result: Result<Report, Error>, verdict: &Verdict) {
    match (verdict, result) {
        (Verdict::Reject(text), Err(err)) => {
            let shown = err.to_string();
            assert!(shown.contains(text), "{row}: {shown}");
            assert!(shown.chars().all(|c| !c.is_control()), "{row}: {shown:?}");
        }
        (Verdict::Reject(_), Ok(_)) => panic!("{row}: accepted"),
        (Verdict::Accept(test), Ok(report)) => {
            test(&world.target());
            assert_eq!(odd(&report), [""; 0], "{row}");
        }
        (Verdict::Warn(code, test), Ok(report)) => {
            test(&world.target());
            assert!(has(&report, *code), "{row}: {:?}", report.warnings.kept());
        }
        (_, Err(err)) => panic!("{row}: {err}"),
    }
}

pub fn table(rows: Vec<(&str, Vec<u8>, Verdict)>) {
    for (row, tar, verdict) in rows {
        check(row, tar, &verdict);
    }
}

pub fn text(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).unwrap()
}

pub fn ok(_: &Path) {}

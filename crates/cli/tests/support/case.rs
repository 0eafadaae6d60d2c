//! Cases that name what they need of the machine. Where it is missing the case is shown as
//! ignored, with what it needs; with `CI=true` in the environment it fails.

use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};

use super::program;
use super::scratch;

/// The need of a case that mounts, makes devices or changes owners.
pub const ROOT: &str = "root";

/// One test.
pub struct Case {
    pub name: &'static str,
    /// Programs, devices by their path, or [`ROOT`].
    pub needs: &'static [&'static str],
    pub run: fn(),
}

/// A table of cases: `module::function needs "program" "program";`.
#[macro_export]
macro_rules! cases {
    ($($run:path $(, needs $($need:expr)+)?;)*) => {
        &[$($crate::support::case::Case {
            name: stringify!($run),
            needs: &[$($($need),+)?],
            run: $run,
        }),*]
    };
}

/// Runs the cases as cargo's own tests are run, and removes what they leave behind.
pub fn main(cases: &'static [Case]) -> ExitCode {
    scratch::sweep();
    let conclusion = libtest_mimic::run(&Arguments::from_args(), cases.iter().map(trial).collect());
    scratch::end();
    conclusion.exit_code()
}

fn trial(case: &'static Case) -> Trial {
    let missing: Vec<_> = case.needs.iter().copied().filter(|need| !is_there(need)).collect();
    if missing.is_empty() {
        return Trial::test(case.name, || {
            (case.run)();
            Ok(())
        });
    }
    let missing = missing.join(", ");
    let message = format!(
        "needs {missing}; `scripts/install-partners`, run as root, installs what tests need"
    );
    let trial = Trial::test(case.name, || Err(Failed::from(message)));
    trial.with_kind(format!("needs {missing}")).with_ignored_flag(!in_ci())
}

fn is_there(need: &str) -> bool {
    match need {
        ROOT => rustix::process::geteuid().is_root(),
        device if device.starts_with('/') => std::path::Path::new(device).exists(),
        name => program::find(name).is_some(),
    }
}

fn in_ci() -> bool {
    std::env::var("CI").is_ok_and(|value| value == "true")
}

//! `conex push`: an image from this machine to a registry.

use serde::Serialize;

use conex_spec::{Descriptor, Error, Kind, Location, Reference, Result};

use crate::copy::request::{Request, run};
use crate::copy::{CopyOptions, Summary};
use crate::open::Context;

/// What was pushed.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Where it is now.
    pub location: Location,
    /// What its name stands for there.
    pub root: Descriptor,
    /// What moved, and what was there already.
    pub summary: Summary,
}

/// Pushes what `from` names to a registry, whole, with what belongs to it.
pub async fn push(
    context: &Context,
    from: &Location,
    to: &Reference,
    options: &CopyOptions,
) -> Result<Report> {
    let location = Location::Registry(to.clone());
    let report = run(context, &Request::new(from.clone(), location.clone()), options).await?;
    let root = report.copied.into_iter().next().map(|copied| copied.root);
    let root = root.ok_or_else(|| Error::new(Kind::Usage, "nothing to push"))?;
    Ok(Report { location, root, summary: report.summary })
}

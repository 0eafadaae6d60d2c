//! `conex push`: an image from this machine to a registry.

use serde::Serialize;

use conex_spec::{Descriptor, Location, Reference, Result};

use crate::copy::{CopyOptions, Summary, copy_to};
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

/// Pushes what `from` names to a registry, whole.
pub async fn push(
    context: &Context,
    from: &Location,
    to: &Reference,
    options: &CopyOptions,
) -> Result<Report> {
    let (source, root) = context.resolve(from).await?;
    let location = Location::Registry(to.clone());
    let summary = copy_to(context, source.as_ref(), &root, &location, options).await?;
    Ok(Report { location, root, summary })
}

//! `conex digest`: what a name stands for, and nothing else.

use serde::Serialize;

use conex_spec::{Digest, Location, Platform, Result};

use crate::choose::choose;
use crate::open::{Context, image, name_in};

/// What a location names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Where it is.
    pub location: Location,
    /// Its digest.
    pub digest: Digest,
}

/// The digest of a root, or of its image for a platform. In a registry one HEAD request tells it,
/// where no platform is to be chosen.
pub async fn digest(
    context: &Context,
    location: &Location,
    platform: Option<&Platform>,
) -> Result<Report> {
    let digest = match (location, platform) {
        (Location::Registry(reference), None) => {
            let name = reference.name_or_latest();
            context.client.repository(&image(reference)).digest_of(&name).await?
        }
        (_, platform) => {
            let source = context.source(location)?;
            let mut root = source.resolve(name_in(location)?.as_ref()).await?;
            if let Some(platform) = platform {
                root = choose(source.as_ref(), &root, platform).await?;
            }
            root.digest
        }
    };
    Ok(Report { location: location.clone(), digest })
}

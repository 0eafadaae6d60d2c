//! `conex repos`: the repositories of a registry or of the local store.

use std::fmt;
use std::str::FromStr;

use futures_util::{StreamExt, TryStreamExt};
use serde::Serialize;

use conex_spec::{Error, Kind, Reference, Result};

use crate::glob::Glob;
use crate::open::Context;
use crate::tags::stored_repositories;

/// What has repositories.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// A registry, as `host` or `host:port`.
    Registry(String),
    /// The local store.
    Store,
}

impl FromStr for Holder {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if text == "store:" {
            return Ok(Self::Store);
        }
        let bare = text.strip_prefix("docker://").unwrap_or(text);
        let bare = bare.strip_suffix('/').unwrap_or(bare);
        let wrong = |err: Error| {
            err.with_kind(Kind::Usage)
                .expected("a registry as HOST[:PORT], or `store:`")
                .hint("`conex tags REGISTRY/REPOSITORY` lists the tags of one repository")
        };
        let registry = Reference::new(bare, "x").map_err(wrong)?;
        Ok(Self::Registry(registry.registry().to_owned()))
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Registry(registry) => registry,
            Self::Store => "store:",
        })
    }
}

/// A repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// Its name in its registry; in the local store with the registry.
    pub name: String,
}

/// Lists repositories, in the order of the place.
///
/// # Errors
/// `Unsupported` where a registry has no such list.
pub async fn repos(
    context: &Context,
    holder: &Holder,
    filter: Option<&Glob>,
    limit: Option<usize>,
) -> Result<Vec<Row>> {
    let fits = |name: &String| filter.is_none_or(|glob| glob.fits(name));
    let limit_or_all = limit.unwrap_or(usize::MAX);
    let names: Vec<String> = match holder {
        Holder::Store => {
            stored_repositories(context)?.into_iter().filter(fits).take(limit_or_all).collect()
        }
        Holder::Registry(registry) => {
            let page = limit.filter(|_| filter.is_none());
            let names = context.client.repositories(registry, page)?;
            names
                .try_filter(|name| std::future::ready(fits(name)))
                .take(limit_or_all)
                .try_collect()
                .await?
        }
    };
    Ok(names.into_iter().map(|name| Row { name }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registries_and_the_store() {
        for (text, expected) in [
            ("store:", Some("store:")),
            ("localhost:5000", Some("localhost:5000")),
            ("docker://r.example/", Some("r.example")),
            ("docker.io", Some("docker.io")),
            ("r.example/team", None),
            ("", None),
            ("oci:dir", None),
        ] {
            let holder = text.parse::<Holder>().ok().map(|holder| holder.to_string());
            assert_eq!(holder.as_deref(), expected, "{text}");
        }
    }
}

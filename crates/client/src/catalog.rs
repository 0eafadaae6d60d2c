//! The repositories of a registry. distribution-spec has no list of them; Docker's registry and
//! many others do ("Listing Repositories" in Docker's "Registry HTTP API V2").

use conex_spec::{Error, Kind, Reference, Result};
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};
use http::StatusCode;

use crate::auth::Scope;
use crate::fault::escaped;
use crate::names::{List, PAGE};
use crate::paths;
use crate::repository::Client;

impl Client {
    /// The names of the repositories of a registry that it shows to who asks, in its order.
    /// `page` as in [`Repository::tags_after`](crate::Repository::tags_after).
    ///
    /// # Errors
    /// `Unsupported` where the registry has no such list.
    pub fn repositories(
        &self,
        registry: &str,
        page: Option<usize>,
    ) -> Result<BoxStream<'static, Result<String>>> {
        // Some repository names the registry to the client; this one is never asked for.
        let some = self.repository(&Reference::new(registry, "x")?);
        some.check()?;
        let registry = some.registry().clone();
        let what = format!("repositories of {}", registry.name);
        let list = List {
            registry: registry.clone(),
            scope: Scope::catalog(),
            what: what.clone(),
            after: None,
            refused,
        };
        let page = page.unwrap_or(PAGE).clamp(1, PAGE);
        let names = list.names(move |origin| paths::catalog(origin, page));
        Ok(names
            .try_filter_map(move |text| {
                let sound = Reference::check_repository(&text).is_ok();
                if !sound {
                    registry.warn(&format!("{what}: \"{}\" is no repository", escaped(&text)));
                }
                std::future::ready(Ok(sound.then_some(text)))
            })
            .boxed())
    }
}

const HINT: &str = "many registries list no repositories, or only to administrators; \
    `conex tags REGISTRY/REPOSITORY` lists the tags of one";

fn refused(status: StatusCode, err: Error) -> Error {
    match status.as_u16() {
        404 | 405 | 501 => err.with_kind(Kind::Unsupported).hint(HINT),
        401 | 403 => err.hint(HINT),
        _ => err,
    }
}

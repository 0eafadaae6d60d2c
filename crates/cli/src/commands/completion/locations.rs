//! Locations, with the names that are there now.

use std::fs;
use std::time::Duration;

use futures_util::{Stream, StreamExt, TryStreamExt};

use conex_client::Domain;
use conex_ops::Context;
use conex_ops::open::Keep;
use conex_spec::{Location, Reference, Result};
use conex_store::{Collection, Source};

/// How long a registry may take: whoever typed Tab waits for it.
const PATIENCE: Duration = Duration::from_secs(1);
/// How many tags or repositories are asked for.
const TAGS: usize = 200;

const PREFIXES: [&str; 5] = ["oci:", "oci-archive:", "docker-archive:", "docker-daemon:", "store:"];

/// What is wanted of a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// An image of it, by its tag.
    Image,
    /// All of it: a repository, a layout, an archive, a name in the store.
    Place,
    /// All of a layout or of the store.
    Keep,
    /// All of a layout.
    Layout,
}

/// The locations that begin so. What cannot be told is left out.
pub async fn candidates(context: &Context, text: &str, which: Which) -> Vec<String> {
    if let Some(path) = text.strip_prefix("oci:") {
        return layout(context, path, which).await;
    }
    match which {
        Which::Image | Which::Place => {}
        Which::Keep => return vec!["oci:".to_owned(), "store:".to_owned()],
        Which::Layout => return vec!["oci:".to_owned()],
    }
    if let Some((prefix @ ("oci-archive" | "docker-archive"), path)) = text.split_once(':') {
        return files(path).into_iter().map(|file| format!("{prefix}:{file}")).collect();
    }
    let stored = stored(context);
    let repositories = stored.iter().filter_map(|name| name.parse::<Reference>().ok());
    let repositories: Vec<Reference> = repositories.collect();
    // What comes after a colon is a tag.
    let end = if which == Which::Image { ":" } else { "" };
    if text.starts_with("store:") {
        let whole = repositories.iter().map(|known| known.without_name().to_string());
        let names: Vec<String> = if which == Which::Image { stored } else { whole.collect() };
        return names.into_iter().map(|name| format!("store:{name}")).collect();
    }
    let mut found: Vec<String> = PREFIXES.iter().map(ToString::to_string).collect();
    found.extend(repositories.iter().map(|known| format!("{}{end}", known.without_name())));
    let logins = domains(context);
    // What stands there already is no news.
    let slashed = logins.iter().map(|login| format!("{login}/"));
    found.extend(slashed.filter(|login| login != text));
    let known = repositories.iter().map(Reference::registry);
    let known: Vec<&str> = known.chain(logins.iter().map(Domain::registry)).collect();
    match text.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')) {
        // The colon of a port stands before a slash.
        Some((repository, _)) if which == Which::Image => {
            found.extend(tags(context, repository, &known).await);
        }
        _ => {
            let listed = listed(context, text, &known).await;
            found.extend(listed.into_iter().map(|name| format!("{name}{end}")));
        }
    }
    found
}

/// The registries that there are logins for, or images of in the local store.
pub fn registries(context: &Context) -> Vec<String> {
    let stored = stored(context);
    let stored = stored.iter().filter_map(|name| name.parse::<Reference>().ok());
    let stored = stored.map(|known| known.registry().to_owned());
    stored.chain(logins(context)).collect()
}

/// The same without parts of registries, and the local store.
pub fn holders(context: &Context) -> Vec<String> {
    let registries = registries(context).into_iter();
    let whole = registries.map(|name| name.split('/').next().unwrap_or_default().to_owned());
    whole.chain(["store:".to_owned()]).collect()
}

/// What there are logins for.
pub fn logins(context: &Context) -> Vec<String> {
    domains(context).iter().map(ToString::to_string).collect()
}

fn domains(context: &Context) -> Vec<Domain> {
    context.client.credentials().map(|them| them.domains()).unwrap_or_default()
}

/// Folders, and in a layout its tags.
async fn layout(context: &Context, path: &str, which: Which) -> Vec<String> {
    let Some((folder, _)) = path.split_once(':') else {
        let end = if which == Which::Image { ":" } else { "" };
        let marked = |folder: String| {
            let is_layout = fs::exists(format!("{folder}oci-layout")).unwrap_or(false);
            let folder =
                if is_layout { folder.trim_end_matches('/').to_owned() + end } else { folder };
            format!("oci:{folder}")
        };
        return files(path).into_iter().filter(|file| file.ends_with('/')).map(marked).collect();
    };
    if which != Which::Image {
        return Vec::new();
    }
    let Ok(layout) = context.keep(&Keep::Layout(folder.into())) else { return Vec::new() };
    let tags = Source::tags(layout.as_ref()).filter_map(|tag| std::future::ready(tag.ok()));
    tags.map(|tag| format!("oci:{folder}:{tag}")).collect().await
}

/// The names in the local store.
fn stored(context: &Context) -> Vec<String> {
    let Ok(store) = context.keep(&Keep::Store) else { return Vec::new() };
    let entries = Collection::entries(store.as_ref()).unwrap_or_default();
    entries.into_iter().map(|entry| entry.name).collect()
}

/// Whether a registry may be asked: where it is on this machine, was pulled from, or has a login of
/// the person. No Tab is to tell a stranger what someone types.
fn is_near(reference: &Reference, known: &[&str]) -> bool {
    reference.is_loopback() || known.contains(&reference.registry())
}

/// The tags of a repository.
async fn tags(context: &Context, repository: &str, known: &[&str]) -> Vec<String> {
    let Ok(Location::Registry(reference)) = repository.parse() else { return Vec::new() };
    if !is_near(&reference, known) {
        return Vec::new();
    }
    let tags = context.client.repository(&reference).tags_after(None, Some(TAGS));
    in_time(tags.map_ok(|tag| format!("{repository}:{tag}"))).await
}

/// The repositories of the registry whose name and slash stand there.
async fn listed(context: &Context, text: &str, known: &[&str]) -> Vec<String> {
    let Some((registry, _)) = text.split_once('/') else { return Vec::new() };
    let Ok(some) = Reference::new(registry, "x") else { return Vec::new() };
    if some.registry() != registry || !is_near(&some, known) {
        return Vec::new();
    }
    let Ok(names) = context.client.repositories(registry, Some(TAGS)) else { return Vec::new() };
    in_time(names.map_ok(|name| format!("{registry}/{name}"))).await
}

/// The first of what a registry lists, if it comes in time.
async fn in_time(listed: impl Stream<Item = Result<String>>) -> Vec<String> {
    match tokio::time::timeout(PATIENCE, listed.take(TAGS).try_collect()).await {
        Ok(Ok(listed)) => listed,
        _ => Vec::new(),
    }
}

/// Files and folders that begin so; a folder ends in a slash.
pub fn files(text: &str) -> Vec<String> {
    let (folder, start) = match text.rfind('/') {
        Some(at) => text.split_at(at + 1),
        None => ("", text),
    };
    let Ok(entries) = fs::read_dir(if folder.is_empty() { "." } else { folder }) else {
        return Vec::new();
    };
    let shown = |entry: fs::DirEntry| {
        let name = entry.file_name().into_string().ok()?;
        let hidden = name.starts_with('.') && !start.starts_with('.');
        let is_folder = fs::metadata(entry.path()).is_ok_and(|meta| meta.is_dir());
        let end = if is_folder { "/" } else { "" };
        (name.starts_with(start) && !hidden).then(|| format!("{folder}{name}{end}"))
    };
    entries.filter_map(|entry| shown(entry.ok()?)).collect()
}

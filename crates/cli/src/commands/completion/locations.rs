//! Locations, with the names that are there now.

use std::fs;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt};

use conex_ops::Context;
use conex_ops::open::Keep;
use conex_spec::{Location, Reference};
use conex_store::{Collection, Source};

/// How long a registry may take: whoever typed Tab waits for it.
const PATIENCE: Duration = Duration::from_secs(1);
/// How many tags are asked for.
const TAGS: usize = 200;

const PREFIXES: [&str; 5] = ["oci:", "oci-archive:", "docker-archive:", "docker-daemon:", "store:"];

/// The locations that begin so. What cannot be told is left out.
pub async fn candidates(context: &Context, text: &str) -> Vec<String> {
    if let Some(path) = text.strip_prefix("oci:") {
        return layout(context, path).await;
    }
    if let Some((prefix @ ("oci-archive" | "docker-archive"), path)) = text.split_once(':') {
        return files(path).into_iter().map(|file| format!("{prefix}:{file}")).collect();
    }
    let stored = stored(context);
    if text.starts_with("store:") {
        return stored.into_iter().map(|name| format!("store:{name}")).collect();
    }
    let mut found: Vec<String> = PREFIXES.iter().map(ToString::to_string).collect();
    let repositories = stored.iter().filter_map(|name| name.parse::<Reference>().ok());
    let repositories: Vec<Reference> = repositories.collect();
    found.extend(repositories.iter().map(|known| format!("{}:", known.without_name())));
    found.extend(tags(context, text, &repositories).await);
    found
}

/// Folders, and in a layout its tags.
async fn layout(context: &Context, path: &str) -> Vec<String> {
    let Some((folder, _)) = path.split_once(':') else {
        let marked = |folder: String| {
            let is_layout = fs::exists(format!("{folder}oci-layout")).unwrap_or(false);
            let folder =
                if is_layout { folder.trim_end_matches('/').to_owned() + ":" } else { folder };
            format!("oci:{folder}")
        };
        return files(path).into_iter().filter(|file| file.ends_with('/')).map(marked).collect();
    };
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

/// The tags of a repository, where its registry is on this machine or was pulled from: no Tab is to
/// tell a stranger what someone types.
async fn tags(context: &Context, text: &str, known: &[Reference]) -> Vec<String> {
    // The colon of a port stands before a slash.
    let Some((repository, _)) = text.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')) else {
        return Vec::new();
    };
    let Ok(Location::Registry(reference)) = repository.parse() else { return Vec::new() };
    let is_known = known.iter().any(|other| other.registry() == reference.registry());
    if !reference.is_loopback() && !is_known {
        return Vec::new();
    }
    let tags = context.client.repository(&reference).tags_after(None, Some(TAGS));
    let tags = tags.take(TAGS).map_ok(|tag| format!("{repository}:{tag}")).try_collect();
    match tokio::time::timeout(PATIENCE, tags).await {
        Ok(Ok(tags)) => tags,
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

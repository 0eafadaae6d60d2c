//! Which image of an index suits a platform. image-spec, image-index.md.

use conex_spec::{Descriptor, Error, Kind, Manifest, Platform, Result};
use conex_store::{Source, SourceExt};

use crate::images::platform_of;
use crate::walk::{MAX_DEPTH, MAX_NODES};

/// The image below `root` that suits `platform` best. An image manifest is its own choice, unless
/// its config names a platform that does not suit.
///
/// # Errors
/// `NotFound`, with what there is, where nothing suits.
pub async fn choose(
    source: &dyn Source,
    root: &Descriptor,
    platform: &Platform,
) -> Result<Descriptor> {
    if !root.media_type.is_index() {
        return match platform_of(source, root).await? {
            Some(other) if other.is_known() && !platform.accepts(&other) => {
                let image = Descriptor { platform: Some(other), ..root.clone() };
                Err(no_image(source, root, platform, &[image]))
            }
            _ => Ok(root.clone()),
        };
    }
    let images = images(source, root).await?;
    let candidates = images.iter().map(|image| image.platform.as_ref()).enumerate();
    match (platform.select(candidates), images.as_slice()) {
        (Some(chosen), _) => Ok(images[chosen].clone()),
        // An index around a single image that names no platform leaves no other choice.
        (None, [only]) if only.platform.is_none() => Ok(only.clone()),
        (None, _) => Err(no_image(source, root, platform, &images)),
    }
}

/// The image manifests below an index, in the order of preference, nested indexes opened in place.
pub async fn images(source: &dyn Source, root: &Descriptor) -> Result<Vec<Descriptor>> {
    let mut found = Vec::new();
    let mut waiting = vec![(root.clone(), 0)];
    let mut seen = std::collections::HashSet::new();
    while let Some((node, depth)) = waiting.pop() {
        let fresh = seen.insert(node.digest.clone());
        if !node.media_type.is_index() {
            if fresh && node.media_type.is_manifest() {
                found.push(node);
            }
            continue;
        }
        if depth > MAX_DEPTH || seen.len() > MAX_NODES {
            return Err(Error::new(Kind::Limit, "indexes are nested too deep or list too much")
                .expected(format!("at most {MAX_DEPTH} levels and {MAX_NODES} entries")));
        }
        if !fresh {
            continue;
        }
        if let Manifest::Index(index) = source.manifest(&node).await?.into_value() {
            waiting.extend(index.manifests.into_iter().rev().map(|entry| (entry, depth + 1)));
        }
    }
    Ok(found)
}

fn no_image(
    source: &dyn Source,
    root: &Descriptor,
    platform: &Platform,
    images: &[Descriptor],
) -> Error {
    let mut there: Vec<_> = images
        .iter()
        .filter_map(|image| image.platform.as_ref())
        .map(Platform::to_string)
        .collect();
    there.sort_unstable();
    there.dedup();
    let found = if there.is_empty() { "no entry with a platform".into() } else { there.join(", ") };
    Error::not_found(format!(
        "no image for this platform in {} at {}",
        root.digest.short(),
        source.location()
    ))
    .expected(platform)
    .found(found)
    .hint("choose one with `--platform OS/ARCH[/VARIANT]`")
}

#[cfg(test)]
mod tests {
    use super::*;
    use conex_store::Memory;
    use conex_testkit::images;

    fn platform(text: &str) -> Platform {
        text.parse().unwrap()
    }

    #[tokio::test]
    async fn the_best_image_is_taken_from_nested_indexes_too() {
        let store = Memory::new();
        let one = |text: &str, layers| images::image(&store, &platform(text), layers, 10);
        let (v6, v7, amd64) =
            (one("linux/arm/v6", 1), one("linux/arm/v7", 2), one("linux/amd64", 3));
        let arms = images::index(&store, vec![v6.clone(), v7.clone()]);
        let root = images::index(&store, vec![arms, amd64.clone()]);
        for (asked, expected) in
            [("linux/arm/v8", &v7), ("linux/arm/v6", &v6), ("linux/amd64", &amd64)]
        {
            assert_eq!(
                choose(&store, &root, &platform(asked)).await.unwrap(),
                *expected,
                "{asked}"
            );
        }
    }

    #[tokio::test]
    async fn an_empty_choice_lists_what_there_is() {
        let store = Memory::new();
        let root = images::two_platforms(&store);
        let err = choose(&store, &root, &platform("linux/s390x")).await.unwrap_err();
        assert_eq!(err.kind(), Kind::NotFound);
        assert_eq!(err.found_value(), Some("linux/amd64, linux/arm64"));
    }

    #[tokio::test]
    async fn a_single_image_for_another_platform_is_no_choice() {
        let store = Memory::new();
        let image = images::image(&store, &platform("linux/arm64"), 1, 10);
        assert!(choose(&store, &image, &platform("linux/arm64")).await.is_ok());
        let err = choose(&store, &image, &platform("linux/amd64")).await.unwrap_err();
        assert_eq!((err.kind(), err.found_value()), (Kind::NotFound, Some("linux/arm64")));
    }
}

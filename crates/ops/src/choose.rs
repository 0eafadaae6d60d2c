//! Which image of an index suits a platform. image-spec, image-index.md.

use std::collections::BTreeSet;

use conex_spec::{Descriptor, Error, Kind, Location, Manifest, Name, Platform, Result};
use conex_store::{Source, SourceExt};

use crate::cnab::index::{BUNDLE, is_bundle};
use crate::images::platform_of;
use crate::walk::{MAX_DEPTH, MAX_NODES};

/// How many configs are read to learn what an index does not say.
const MAX_CONFIGS: usize = 32;
/// How many entries an error lists.
const MAX_LISTED: usize = 20;

/// The image below `root` that suits `platform` best. An image manifest is its own choice, unless
/// its config names a platform that does not suit.
///
/// Of several that suit as well, the first is taken (image-spec, image-index.md, "`platform`"). Where
/// no entry of an index says that it suits, the configs of those that say nothing are asked.
///
/// # Errors
/// `NotFound`, with what there is, where nothing suits; `Usage` where nothing says what it suits; `Invalid`
/// for a bundle, whose images are parts of it and no choice.
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
    let images = below(source, root, Bundles::Closed).await?;
    if let Some(chosen) = best(platform, &images) {
        return Ok(images[chosen].clone());
    }
    // No entry says that it suits; of those that say nothing, the configs may.
    let silent = images.iter().enumerate().filter(|(_, image)| image.platform.is_none());
    let silent: Vec<_> = silent.map(|(index, _)| index).collect();
    let mut told = images.clone();
    for &index in silent.iter().take(MAX_CONFIGS) {
        told[index].platform = platform_of(source, &images[index]).await?;
    }
    let unknown = |index: &&usize| told[**index].platform.is_none();
    match (best(platform, &told), silent.iter().filter(unknown).collect::<Vec<_>>().as_slice()) {
        (Some(chosen), _) => Ok(images[chosen].clone()),
        // An index around a single artifact leaves no other choice.
        (None, [only]) if !told.iter().any(suits_something) => Ok(images[**only].clone()),
        (None, [_, _, ..]) if !told.iter().any(suits_something) => {
            Err(ambiguous(source, root, &images))
        }
        (None, _) => Err(no_image(source, root, platform, &told)),
    }
}

fn best(platform: &Platform, images: &[Descriptor]) -> Option<usize> {
    platform.select(images.iter().map(|image| image.platform.as_ref()).enumerate())
}

fn suits_something(image: &Descriptor) -> bool {
    image.platform.as_ref().is_some_and(Platform::is_known)
}

/// The image manifests below an index, in the order of preference, nested indexes opened in place.
pub async fn images(source: &dyn Source, root: &Descriptor) -> Result<Vec<Descriptor>> {
    below(source, root, Bundles::Open).await
}

/// What becomes of bundles.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Bundles {
    /// They are indexes as others are.
    Open,
    /// They hold no images to choose from.
    Closed,
}

async fn below(
    source: &dyn Source,
    root: &Descriptor,
    bundles: Bundles,
) -> Result<Vec<Descriptor>> {
    let mut found = Vec::new();
    let mut waiting = vec![(root.clone(), 0)];
    let mut seen = std::collections::HashSet::new();
    while let Some((node, depth)) = waiting.pop() {
        // One image may be listed for several platforms; an index is opened once.
        let listed_for = node.platform.as_ref().filter(|_| !node.media_type.is_index());
        let fresh = seen.insert((node.digest.clone(), listed_for.map(Platform::to_string)));
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
            match bundles {
                Bundles::Closed if is_bundle(&index) && depth == 0 => {
                    return Err(no_choice(source.location(), root));
                }
                Bundles::Closed if is_bundle(&index) => continue,
                _ => {}
            }
            waiting.extend(index.manifests.into_iter().rev().map(|entry| (entry, depth + 1)));
        }
    }
    Ok(found)
}

fn no_choice(place: &Location, root: &Descriptor) -> Error {
    let name = place.name().unwrap_or_else(|| Name::Digest(root.digest.clone()));
    let bundle = place.with_name(name).unwrap_or_else(|_| place.clone());
    Error::invalid(format!("{bundle} is a CNAB bundle, and no image"))
        .expected("an image, or an index of one image for several platforms")
        .found(BUNDLE)
        .hint(format!(
            "`conex artifact pull {bundle} DIR` takes it whole, and tells the digests of its images"
        ))
}

fn no_image(
    source: &dyn Source,
    root: &Descriptor,
    platform: &Platform,
    images: &[Descriptor],
) -> Error {
    let platforms = images.iter().filter_map(|image| image.platform.as_ref());
    let there: BTreeSet<_> = platforms.map(Platform::to_string).collect();
    let found =
        if there.is_empty() { "no entry with a platform".into() } else { listed(there.iter()) };
    let hint = match (there.len(), there.first()) {
        (1, Some(other)) => format!("there is one for another platform: `--platform {other}`"),
        _ => "choose one with `--platform OS/ARCH[/VARIANT]`".into(),
    };
    Error::not_found(format!(
        "no image for this platform in {} at {}",
        root.digest.short(),
        source.location()
    ))
    .expected(platform)
    .found(found)
    .hint(hint)
}

/// Entries of which none says what it suits, each with what tells it from the others.
fn ambiguous(source: &dyn Source, root: &Descriptor, images: &[Descriptor]) -> Error {
    let entries = images.iter().map(|image| {
        let kind = image.artifact_type.as_ref().unwrap_or(&image.media_type);
        format!("{} ({kind})", image.digest)
    });
    let place = source.location();
    Error::new(
        Kind::Usage,
        format!("no entry of {} at {place} says what it suits", root.digest.short()),
    )
    .expected("one entry, or platforms to choose by")
    .found(listed(entries))
    .hint("name one by its digest: LOCATION@DIGEST")
}

pub(crate) fn listed(entries: impl ExactSizeIterator<Item = impl std::fmt::Display>) -> String {
    let more = entries.len().saturating_sub(MAX_LISTED);
    let shown: Vec<_> = entries.take(MAX_LISTED).map(|entry| entry.to_string()).collect();
    let rest = if more > 0 { format!(", and {more} more") } else { String::new() };
    shown.join(", ") + &rest
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
    async fn the_images_of_a_bundle_are_no_choice() {
        let store = Memory::new();
        let amd64 = platform("linux/amd64");
        let image = images::image(&store, &amd64, 1, 10);
        let entry = |kind: &str| {
            let key = crate::cnab::index::ENTRY.to_owned();
            Descriptor { annotations: [(key, kind.to_owned())].into(), ..image.clone() }
        };
        let bundle = images::index(&store, vec![entry("config"), entry("component")]);
        let err = choose(&store, &bundle, &amd64).await.unwrap_err();
        assert_eq!(err.kind(), Kind::Invalid);
        assert!(err.message().ends_with(" is a CNAB bundle, and no image"), "{err}");
        assert!(err.hint_text().unwrap().contains("`conex artifact pull "), "{err}");
        // Beside an image it is passed over, and one of its own images is one.
        let root = images::index(&store, vec![bundle, image.clone()]);
        assert_eq!(choose(&store, &root, &amd64).await.unwrap(), image);
        assert_eq!(choose(&store, &image, &amd64).await.unwrap(), image);
    }

    #[tokio::test]
    async fn a_single_image_for_another_platform_is_no_choice() {
        let store = Memory::new();
        let image = images::image(&store, &platform("linux/arm64"), 1, 10);
        assert!(choose(&store, &image, &platform("linux/arm64")).await.is_ok());
        let err = choose(&store, &image, &platform("linux/amd64")).await.unwrap_err();
        assert_eq!((err.kind(), err.found_value()), (Kind::NotFound, Some("linux/arm64")));
    }

    /// An index of images that names the platforms of some, all of whom their configs name.
    fn half_silent(store: &Memory, texts: &[(&str, bool)]) -> (Descriptor, Vec<Descriptor>) {
        let entries = texts.iter().zip(1..).map(|((text, says), layers)| {
            let image = images::image(store, &platform(text), layers, 10);
            Descriptor { platform: image.platform.clone().filter(|_| *says), ..image }
        });
        let entries: Vec<_> = entries.collect();
        (images::index(store, entries.clone()), entries)
    }

    #[tokio::test]
    async fn configs_say_what_an_index_does_not() {
        let store = Memory::new();
        let (root, entries) = half_silent(
            &store,
            &[("linux/arm64", false), ("linux/amd64", false), ("linux/s390x", true)],
        );
        for (asked, expected) in [("linux/amd64", 1), ("linux/arm64", 0), ("linux/s390x", 2)] {
            let chosen = choose(&store, &root, &platform(asked)).await.unwrap();
            assert_eq!(chosen, entries[expected], "{asked}");
        }
        let err = choose(&store, &root, &platform("linux/386")).await.unwrap_err();
        assert_eq!(err.found_value(), Some("linux/amd64, linux/arm64, linux/s390x"));
        let (alone, _) = half_silent(&store, &[("linux/arm64", false)]);
        assert!(choose(&store, &alone, &platform("linux/386")).await.is_err());
    }

    #[tokio::test]
    async fn an_ambiguous_choice_lists_what_there_is() {
        let store = Memory::new();
        let artifact = |name: &str| {
            let kind = conex_spec::MediaType::new(format!("application/vnd.example.{name}"));
            let manifest =
                conex_spec::artifact::manifest(kind, conex_spec::artifact::Content::Nothing);
            let document = conex_spec::Document::new(manifest.unwrap()).unwrap();
            store.add(conex_spec::MediaType::MANIFEST, document.bytes().clone())
        };
        let (one, other) = (artifact("one"), artifact("other"));
        let amd64 = platform("linux/amd64");
        let root = images::index(&store, vec![one.clone(), other.clone()]);
        let err = choose(&store, &root, &amd64).await.unwrap_err();
        assert_eq!(err.kind(), Kind::Usage);
        for entry in [&one, &other] {
            assert!(err.found_value().unwrap().contains(entry.digest.as_str()), "{err}");
        }
        let root = images::index(&store, vec![one.clone()]);
        assert_eq!(choose(&store, &root, &amd64).await.unwrap(), one);
    }

    #[tokio::test]
    async fn one_image_may_suit_several_platforms_and_what_is_beside_images_suits_none() {
        let store = Memory::new();
        let image = images::image(&store, &platform("linux/amd64"), 1, 10);
        let for_platform =
            |text: &str| Descriptor { platform: Some(platform(text)), ..image.clone() };
        let root = images::index(
            &store,
            vec![for_platform("unknown/unknown"), for_platform("linux/386"), image.clone()],
        );
        for asked in ["linux/386", "linux/amd64"] {
            assert_eq!(choose(&store, &root, &platform(asked)).await.unwrap(), for_platform(asked));
        }
    }
}

//! What Docker's archives call images: whole references, where the other places have tags.
//!
//! An archive whose images all come from one repository stands for that repository, so that its
//! tags are `1` and `2`. Any other has whole names as its tags.

use conex_spec::{Error, Kind, Location, Name, Reference, Result, Tag};
use conex_store::archive::docker::repo_tag;

/// What an archive calls an image that is called `text` elsewhere: a whole name as it is, a tag
/// beside the repository that the archive's own name or else the source gives. `many` says that
/// `text` is one of many tags, and not what a person wrote.
pub(super) fn written(text: &str, from: &Location, to: &Location, many: bool) -> Result<Tag> {
    let name = if text.contains(['/', ':']) {
        Tag::new(text)?
    } else if let Some(repository) = repository(to).or_else(|| repository(from).filter(|_| many)) {
        Tag::new(&repository.with_tag(Tag::registry(text)?)?.to_string())?
    } else if many {
        return Err(Error::new(Kind::Usage, "Docker's archives call images by whole names")
            .expected("a repository for the tags, as `docker-archive:FILE:NAME`")
            .found(format!("the tag {text} alone")));
    } else {
        Tag::new(text)?
    };
    // Refused before anything is written.
    repo_tag(&name)?;
    Ok(name)
}

/// Whether a name of the archive itself gives a repository only, because the tags are given apart.
pub(super) fn names_repository(to: &Location) -> bool {
    matches!(to, Location::DockerArchive { reference: Some(name), .. }
        if name.as_str().parse::<Reference>().is_ok_and(|name| name.name().is_none()))
}

/// The tags of an archive, each with what the archive calls it.
pub(super) fn read(names: Vec<Tag>) -> Vec<(String, Tag)> {
    let parse = |name: &Tag| name.as_str().parse::<Reference>().ok();
    let parsed: Vec<_> = names.iter().map(parse).collect();
    let repository = |known: &Option<Reference>| known.as_ref().map(Reference::without_name);
    let first = parsed.first().and_then(repository);
    let is_one = first.is_some() && parsed.iter().all(|known| repository(known) == first);
    let text = |name: &Tag, parsed: Option<Reference>| match parsed.map(|it| it.name_or_latest()) {
        Some(Name::Tag(tag)) if is_one => tag.to_string(),
        _ => name.to_string(),
    };
    names.into_iter().zip(parsed).map(|(name, parsed)| (text(&name, parsed), name)).collect()
}

fn repository(location: &Location) -> Option<Reference> {
    match location {
        Location::Registry(reference) | Location::Store(reference) => {
            Some(reference.without_name())
        }
        Location::DockerArchive { reference: Some(name), .. } => {
            name.as_str().parse::<Reference>().ok().map(|name| name.without_name())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn location(text: &str) -> Location {
        text.parse().unwrap()
    }

    #[test]
    fn tags_become_whole_names_where_a_repository_is_known() {
        let name = |text: &str, from: &str, to: &str, many: bool| {
            written(text, &location(from), &location(to), many).map(|name| name.to_string())
        };
        for (text, from, to, many, found) in [
            ("1", "oci:d", "docker-archive:f:team/app", true, "docker.io/team/app:1"),
            ("1", "oci:d", "docker-archive:f:team/app:9", false, "docker.io/team/app:1"),
            ("1", "r.example/a", "docker-archive:f", true, "r.example/a:1"),
            ("1", "store:a", "docker-archive:f", true, "docker.io/library/a:1"),
            ("b:2", "oci:d", "docker-archive:f:team/app", true, "b:2"),
            ("b", "r.example/a:1", "docker-archive:f", false, "b"),
        ] {
            assert_eq!(name(text, from, to, many).unwrap(), found, "{text} {from} {to}");
        }
        for (text, to) in [("1", "docker-archive:f"), ("a/B:1", "docker-archive:f:a")] {
            assert_eq!(name(text, "oci:d", to, true).unwrap_err().kind(), Kind::Usage, "{text}");
        }
        assert!(names_repository(&location("docker-archive:f:team/app")));
        assert!(!names_repository(&location("docker-archive:f:team/app:1")));
        assert!(!names_repository(&location("docker-archive:f")));
    }

    #[test]
    fn one_repository_has_tags_and_several_have_names() {
        let read = |names: &[&str]| -> Vec<String> {
            let names = names.iter().map(|name| Tag::new(name).unwrap()).collect();
            read(names).into_iter().map(|(text, _)| text).collect()
        };
        assert_eq!(read(&["app:1", "docker.io/library/app:2"]), ["1", "2"]);
        assert_eq!(read(&["app:1", "b:1"]), ["app:1", "b:1"]);
        assert_eq!(read(&["app:1", "a:b:c"]), ["app:1", "a:b:c"]);
        assert!(read(&[]).is_empty());
    }
}

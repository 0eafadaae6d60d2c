//! What belongs to an image without being part of it, and comes along when the image is copied:
//! the manifests that have it as their `subject` (distribution-spec, "Listing Referrers"), and what
//! cosign puts under tags that are made of its digest. Both may have such company themselves.
//!
//! Whoever may push can list what he wants, so each referrer has to say itself whose it is, and
//! there is an end to how many are carried (rule R11).

use std::collections::HashSet;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::{StreamExt, future};
use serde::Serialize;
use tokio::sync::OnceCell;

use conex_spec::{Descriptor, Digest, Error, Kind, Location, Manifest, Name, Result, Tag};
use conex_store::referrers::SUFFIXES;
use conex_store::{Event, Observer, Source};

/// More company than this has no real image.
pub const MAX_ATTACHED: usize = 10_000;
/// Where there are more tags, each one that might be there is asked for.
const MAX_TAGS: usize = 1000;

/// Which company of an image is copied with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct With {
    /// The manifests whose `subject` it is.
    pub referrers: bool,
    /// What lies under cosign's tags, `sha256-….sig`, `.att` and `.sbom`.
    pub signatures: bool,
    /// Whether it was asked for: then every manifest's company is looked at even where the image
    /// is there already, and a list that cannot be read is an error.
    pub insist: bool,
}

impl With {
    /// The image alone.
    pub const NONE: Self = Self { referrers: false, signatures: false, insist: false };

    /// Whether anything comes along.
    pub fn any(self) -> bool {
        self.referrers || self.signatures
    }
}

impl Default for With {
    fn default() -> Self {
        Self { referrers: true, signatures: true, insist: false }
    }
}

/// `referrers`, `signatures`, both with a comma between them, or `none`.
impl FromStr for With {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if text == "none" {
            return Ok(Self::NONE);
        }
        let mut with = Self { insist: true, ..Self::NONE };
        for word in text.split(',') {
            match word {
                "referrers" => with.referrers = true,
                "signatures" => with.signatures = true,
                _ => {
                    return Err(Error::new(Kind::Usage, "no such company of an image")
                        .expected("`referrers`, `signatures`, `referrers,signatures` or `none`")
                        .found(word.escape_debug()));
                }
            }
        }
        Ok(with)
    }
}

/// Something that belongs to a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attached {
    /// What it is.
    pub root: Descriptor,
    /// Whose it is.
    pub subject: Digest,
    /// The tag that binds it, where no `subject` does.
    pub name: Option<String>,
}

impl Attached {
    /// Whether the manifest itself says whose it is.
    pub(crate) fn belongs(&self, manifest: &Manifest) -> bool {
        self.name.is_some()
            || manifest.subject().is_some_and(|subject| subject.digest == self.subject)
    }
}

/// Finds the company of manifests at one source.
pub(crate) struct Belongings<'a> {
    source: &'a dyn Source,
    with: With,
    observer: &'a Arc<dyn Observer>,
    /// All tags of the source, unless there are too many or nobody may list them.
    tags: OnceCell<Option<HashSet<Tag>>>,
    count: AtomicUsize,
}

impl<'a> Belongings<'a> {
    pub(crate) fn new(source: &'a dyn Source, with: With, observer: &'a Arc<dyn Observer>) -> Self {
        Self { source, with, observer, tags: OnceCell::new(), count: AtomicUsize::new(0) }
    }

    /// The same, where the tags of the source were listed already.
    pub(crate) fn with_tags(self, tags: Option<HashSet<Tag>>) -> Self {
        match tags {
            Some(tags) => Self { tags: OnceCell::new_with(Some(Some(tags))), ..self },
            None => self,
        }
    }

    /// Counts from nothing: what one walk holds is bounded, not what a command carries.
    pub(crate) fn begin(&self) {
        self.count.store(0, Ordering::Relaxed);
    }

    /// What belongs to a manifest.
    ///
    /// # Errors
    /// `Limit` where there is too much of it.
    pub(crate) async fn of(&self, manifest: &Descriptor) -> Result<Vec<Attached>> {
        let subject = &manifest.digest;
        let (referrers, signatures) =
            future::join(self.referrers(subject), self.signatures(subject)).await;
        let mut found = self.tolerate(subject, referrers)?;
        found.extend(self.tolerate(subject, signatures)?);
        let count = self.count.fetch_add(found.len(), Ordering::Relaxed) + found.len();
        if count > MAX_ATTACHED {
            return Err(Error::new(Kind::Limit, "too much belongs to the image")
                .expected(format!("at most {MAX_ATTACHED} referrers and signatures"))
                .found(format!("more than {}", count - 1))
                .hint("`--with none` copies the image alone"));
        }
        Ok(found)
    }

    /// Tells that a listed referrer is not what the list says.
    pub(crate) fn leave_out(&self, attached: &Attached) {
        let (root, subject) = (attached.root.digest.short(), attached.subject.short());
        let text = format!("left out {root}: listed as a referrer of {subject}, and is none");
        self.observer.event(Event::Warning(&text));
    }

    async fn referrers(&self, subject: &Digest) -> Result<Vec<Attached>> {
        if !self.with.referrers {
            return Ok(Vec::new());
        }
        let listed = self.source.referrers(subject).await?.into_iter();
        let manifests = listed.filter(|root| root.media_type.is_manifest());
        Ok(manifests.map(|root| Attached { root, subject: subject.clone(), name: None }).collect())
    }

    async fn signatures(&self, subject: &Digest) -> Result<Vec<Attached>> {
        // A digest of another algorithm makes no tag that a registry takes.
        if !self.with.signatures || subject.algorithm_name() != "sha256" {
            return Ok(Vec::new());
        }
        let known = self.tags.get_or_init(|| tag_set(self.source)).await;
        let looked = signature_names(subject).map(async |name| {
            let tag = in_words_of(self.source.location(), &name)?;
            if known.as_ref().is_some_and(|known| !known.contains(&tag)) {
                return Ok(None);
            }
            match self.source.resolve(Some(&Name::Tag(tag))).await {
                Ok(root) if root.media_type.is_manifest() => {
                    Ok(Some(Attached { root, subject: subject.clone(), name: Some(name) }))
                }
                Err(err) if err.kind() != Kind::NotFound => Err(err),
                _ => Ok(None),
            }
        });
        let found: Result<Vec<_>> = future::join_all(looked).await.into_iter().collect();
        Ok(found?.into_iter().flatten().collect())
    }

    /// Who did not ask for company is not kept from the image by a registry that cannot list it.
    fn tolerate(&self, subject: &Digest, found: Result<Vec<Attached>>) -> Result<Vec<Attached>> {
        match found {
            Err(err) if !self.with.insist && err.kind() != Kind::Limit => {
                let text = format!("what belongs to {} is left out: {err}", subject.short());
                self.observer.event(Event::Warning(&text));
                Ok(Vec::new())
            }
            found => found,
        }
    }
}

/// The tags under which cosign keeps what it says of a manifest.
pub(crate) fn signature_names(digest: &Digest) -> [String; 3] {
    SUFFIXES.map(|suffix| format!("{}-{}.{suffix}", digest.algorithm_name(), digest.encoded()))
}

/// What a place calls the tag of a repository: the local store has whole references.
pub(crate) fn in_words_of(place: &Location, tag: &str) -> Result<Tag> {
    match place {
        Location::Store(reference) => {
            let named = reference.without_name().with_tag(Tag::registry(tag)?)?;
            Tag::new(&named.to_string())
        }
        _ => Tag::new(tag),
    }
}

/// All tags, where there are not too many of them.
async fn tag_set(source: &dyn Source) -> Option<HashSet<Tag>> {
    let tags: Vec<_> = source.tags().take(MAX_TAGS + 1).collect().await;
    let set: Result<HashSet<Tag>> = tags.into_iter().collect();
    set.ok().filter(|set| set.len() <= MAX_TAGS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use conex_store::referrers::is_digest_tag;

    #[test]
    fn company_is_named() {
        let with = |text: &str| text.parse::<With>();
        assert_eq!(with("none").unwrap(), With::NONE);
        assert_eq!(with("referrers,signatures").unwrap(), With { insist: true, ..With::default() });
        assert!(!with("signatures").unwrap().referrers);
        for bad in ["", "all", "none,referrers", "referrers,"] {
            assert_eq!(with(bad).unwrap_err().kind(), Kind::Usage, "{bad}");
        }
    }

    /// Nothing that a stranger may call a tag is taken for a digest (rule R11).
    #[test]
    fn tags_of_digests_are_told_from_others() {
        let digest = Digest::sha256(b"x");
        let [sig, att, sbom] = signature_names(&digest);
        for tag in [&sig, &att, &sbom, &digest.referrers_tag()] {
            assert!(is_digest_tag(tag), "{tag}");
        }
        for tag in ["sha256-xyz.sig", "1.2", "sig", "sha256-", ".sig", "latest.sig", "-"] {
            assert!(!is_digest_tag(tag), "{tag}");
        }
    }
}

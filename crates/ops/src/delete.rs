//! `conex delete`: a manifest and what goes with it. First all of it is found, then it is deleted.
//!
//! What goes: the manifest with every tag of it; of an index the manifests below it that no other
//! tag leads to; and with `referrers` what refers to any of them, be it as its `subject` or under
//! the tags that cosign makes of a digest. Blobs are collected by whoever
//! keeps them: a registry by itself, a place of this machine by `conex gc`.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use futures_util::TryStreamExt;
use serde::Serialize;

use conex_spec::{Descriptor, Digest, Error, Kind, Location, Manifest, Name, Result, Tag};
use conex_store::{Source, SourceExt, bridge};

use crate::copy::belongings::{in_words_of, signature_names};
use crate::manifest::whole_archive;
use crate::open::{Context, name_in};
use crate::walk::MAX_NODES;

/// What to delete along with a manifest, and how to find out.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Delete what refers to it as well.
    pub referrers: bool,
    /// Leave the manifests below an index alone.
    pub keep_children: bool,
    /// How many tags are looked into at a time.
    pub jobs: usize,
}

/// All that goes with a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// What was named.
    pub location: Location,
    /// What that stands for.
    pub root: Descriptor,
    /// Every tag that goes.
    pub tags: Vec<String>,
    /// Tags of indexes that list it, and stay without it.
    pub listed_in: Vec<String>,
    /// Manifests of the index that no other tag leads to.
    pub children: Vec<Descriptor>,
    /// What refers to any of these.
    pub referrers: Vec<Descriptor>,
    /// What cosign's tags bind to any of these, unless another tag leads to it as well.
    pub signatures: Vec<Signature>,
    /// Whether the referrers and signatures go too. Else they stay, and refer to nothing.
    pub with_referrers: bool,
    /// Whether it was done, and not only planned.
    pub deleted: bool,
}

/// What lies under a tag that is made of a digest: `sha256-….sig`, `.att` or `.sbom`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Signature {
    /// The tag.
    pub tag: Tag,
    /// What it stands for.
    pub root: Descriptor,
}

/// A manifest that is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Deleted {
    /// What was named.
    pub location: Location,
    /// What that stood for.
    pub digest: Digest,
}

/// Finds all that goes with a manifest. Nothing is changed.
pub async fn plan(context: &Context, location: &Location, options: &Options) -> Result<Plan> {
    check(location)?;
    let (source, root) = context.resolve(location).await?;
    let source = source.as_ref();
    if !root.media_type.is_manifest() {
        return Err(Error::new(Kind::Usage, format!("{} is no manifest", root.digest))
            .found(&root.media_type)
            .hint("`conex blob delete` deletes a blob of a registry"));
    }
    let roots = roots(source, options.jobs.max(1)).await?;
    let of_root = |(_, other): &&(Tag, Descriptor)| other.digest == root.digest;
    let tags: Vec<String> = roots.iter().filter(of_root).map(|(tag, _)| tag.to_string()).collect();
    let others = others(source, &root, &roots).await?;
    let lists = |(_, below): &&(&Tag, Arc<HashSet<Digest>>)| below.contains(&root.digest);
    let listed_in = others.iter().filter(lists).map(|(tag, _)| tag.to_string()).collect();
    let children = match root.media_type.is_index() && !options.keep_children {
        true => orphans(source, &root, &others).await?,
        false => Vec::new(),
    };
    let mut going = vec![root.clone()];
    going.extend(children.iter().cloned());
    let (referrers, signatures) = company(source, going, &roots).await?;
    Ok(Plan {
        location: location.clone(),
        root,
        tags,
        listed_in,
        children,
        referrers,
        signatures,
        with_referrers: options.referrers,
        deleted: false,
    })
}

/// Deletes what a plan names, the root first: what is left when it breaks off is what nothing
/// leads to any more.
pub async fn execute(context: &Context, plan: &mut Plan) -> Result<()> {
    drop_root(context, &plan.location, &plan.root).await?;
    let signatures = plan.signatures.iter().map(|signature| &signature.root);
    let company = plan.referrers.iter().chain(signatures).filter(|_| plan.with_referrers);
    for manifest in plan.children.iter().chain(company) {
        match drop_root(context, &plan.location, manifest).await {
            // Some registries delete what only an index leads to along with it.
            Err(err) if err.kind() == Kind::NotFound => {}
            done => done?,
        }
    }
    if let (Location::Registry(reference), true) = (&plan.location, plan.with_referrers) {
        let repository = context.client.repository(reference);
        for manifest in std::iter::once(&plan.root).chain(&plan.children) {
            repository.forget_referrers(&manifest.digest).await?;
        }
    }
    plan.deleted = true;
    Ok(())
}

/// Deletes one manifest with all its names.
pub(crate) async fn drop_root(
    context: &Context,
    location: &Location,
    root: &Descriptor,
) -> Result<()> {
    check(location)?;
    if let Location::Registry(reference) = location {
        return context.client.repository(reference).delete_manifest(root).await;
    }
    let collection = context.keep_of(location)?;
    let digest = root.digest.clone();
    bridge::blocking(move || {
        let mut gone = collection.remove(&Name::Digest(digest.clone()))?;
        // The local store has its names beside the digest.
        let names = collection.entries()?.into_iter().filter(|entry| entry.root.digest == digest);
        for entry in names {
            gone.extend(collection.remove(&Name::Tag(Tag::new(&entry.name)?))?);
        }
        if !gone.is_empty() {
            return Ok(());
        }
        Err(Error::not_found(format!("{digest} is no image there"))
            .hint("`conex gc` removes content that no image needs"))
    })
    .await
}

fn check(location: &Location) -> Result<()> {
    match location {
        Location::OciArchive { .. } | Location::DockerArchive { .. } => {
            return Err(whole_archive(location));
        }
        Location::DockerDaemon(_) | Location::Memory => {
            return Err(Error::new(Kind::Unsupported, "an engine's images are its own")
                .hint("`docker rmi NAME` deletes one there"));
        }
        _ => {}
    }
    // Nobody means `latest` who leaves it out here.
    if location.name().is_none() {
        return Err(Error::new(Kind::Usage, format!("{location} names no image"))
            .expected("a tag or a digest: LOCATION:TAG, LOCATION@DIGEST"));
    }
    name_in(location).map(drop)
}

/// All tags and what they stand for.
async fn roots(source: &dyn Source, jobs: usize) -> Result<Vec<(Tag, Descriptor)>> {
    let resolve = |tag: Tag| async move {
        match source.resolve(Some(&Name::Tag(tag.clone()))).await {
            // Taken away since it was listed.
            Err(err) if err.kind() == Kind::NotFound => Ok(None),
            root => Ok(Some((tag, root?))),
        }
    };
    let roots: Vec<Option<(Tag, Descriptor)>> =
        source.tags().map_ok(resolve).try_buffered(jobs).try_collect().await?;
    Ok(roots.into_iter().flatten().collect())
}

/// What each tag leads to, other than those of a root: of an index all manifests below it, which are
/// read once however many tags it has.
async fn others<'a>(
    source: &dyn Source,
    root: &Descriptor,
    roots: &'a [(Tag, Descriptor)],
) -> Result<Vec<(&'a Tag, Arc<HashSet<Digest>>)>> {
    let mut known: HashMap<&Digest, Arc<HashSet<Digest>>> = HashMap::new();
    let mut found = Vec::new();
    for (tag, other) in roots.iter().filter(|(_, other)| other.digest != root.digest) {
        let below = match known.get(&other.digest) {
            Some(below) => Arc::clone(below),
            None => {
                let nodes = match other.media_type.is_index() {
                    true => walk_index(source, other).await?,
                    false => vec![other.clone()],
                };
                Arc::new(nodes.into_iter().map(|node| node.digest).collect())
            }
        };
        known.insert(&other.digest, Arc::clone(&below));
        found.push((tag, below));
    }
    Ok(found)
}

/// The manifests below an index that no other tag leads to.
async fn orphans(
    source: &dyn Source,
    root: &Descriptor,
    others: &[(&Tag, Arc<HashSet<Digest>>)],
) -> Result<Vec<Descriptor>> {
    let needed = |digest: &Digest| others.iter().any(|(_, below)| below.contains(digest));
    let below = walk_index(source, root).await?;
    let gone = |node: &Descriptor| node.digest != root.digest && !needed(&node.digest);
    Ok(below.into_iter().filter(gone).collect())
}

/// The manifests below an index, itself included; those that are missing need nothing.
async fn walk_index(source: &dyn Source, root: &Descriptor) -> Result<Vec<Descriptor>> {
    let (mut found, mut waiting) = (Vec::new(), vec![root.clone()]);
    let mut seen = HashSet::new();
    while let Some(node) = waiting.pop() {
        if !node.media_type.is_manifest() || !seen.insert(node.digest.clone()) {
            continue;
        }
        if seen.len() > MAX_NODES {
            return Err(Error::new(Kind::Limit, "an index lists too much")
                .expected(format!("at most {MAX_NODES} manifests")));
        }
        if node.media_type.is_index() {
            match source.manifest(&node).await.map(|manifest| manifest.into_value()) {
                Ok(Manifest::Index(index)) => waiting.extend(index.manifests),
                Ok(_) => {}
                Err(err) if err.kind() == Kind::NotFound => {}
                Err(err) => return Err(err),
            }
        }
        found.push(node);
    }
    Ok(found)
}

/// What refers to manifests, and to that in turn: as referrers, and under cosign's tags.
async fn company(
    source: &dyn Source,
    subjects: Vec<Descriptor>,
    roots: &[(Tag, Descriptor)],
) -> Result<(Vec<Descriptor>, Vec<Signature>)> {
    let mut seen: HashSet<Digest> = subjects.iter().map(|node| node.digest.clone()).collect();
    let (mut referrers, mut signatures, mut waiting) = (Vec::new(), Vec::new(), subjects);
    while let Some(subject) = waiting.pop() {
        for referrer in source.referrers(&subject.digest).await? {
            if seen.insert(referrer.digest.clone()) {
                waiting.push(referrer.clone());
                referrers.push(referrer);
            }
        }
        for signature in signatures_of(source.location(), &subject.digest, roots)? {
            if seen.insert(signature.root.digest.clone()) {
                waiting.push(signature.root.clone());
                signatures.push(signature);
            }
        }
        if seen.len() > MAX_NODES {
            return Err(Error::new(Kind::Limit, "too much refers to the manifest"));
        }
    }
    Ok((referrers, signatures))
}

/// What cosign's tags of a digest stand for, and no other tag does.
fn signatures_of(
    place: &Location,
    subject: &Digest,
    roots: &[(Tag, Descriptor)],
) -> Result<Vec<Signature>> {
    // A digest of another algorithm makes no tag that a registry takes.
    if subject.algorithm_name() != "sha256" {
        return Ok(Vec::new());
    }
    let mut names = Vec::new();
    for name in signature_names(subject) {
        names.push(in_words_of(place, &name)?);
    }
    let (own, others): (Vec<_>, Vec<_>) = roots.iter().partition(|(tag, _)| names.contains(tag));
    let shared: HashSet<_> = others.into_iter().map(|(_, root)| &root.digest).collect();
    let alone = own.into_iter().filter(|(_, root)| !shared.contains(&root.digest));
    Ok(alone.map(|(tag, root)| Signature { tag: tag.clone(), root: root.clone() }).collect())
}

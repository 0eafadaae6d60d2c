//! `conex copy`

use std::time::Instant;

use clap::Args;
use serde::Serialize;

use conex_ops::copy::belongings::With;
use conex_ops::copy::named::Images;
use conex_ops::copy::request::{self, Artifact, Copied, Kept, Request, Sort};
use conex_ops::copy::tags::{Glob, Regex, TagFilter, Versions};
use conex_ops::{Context, CopyOptions, Summary};
use conex_spec::{Descriptor, Error, Location, Platform, Result};

use crate::args::typed;
use crate::output::{Output, escape, size};

/// Copy an image or artifact, with all platforms of an index, from anywhere to anywhere
///
/// What belongs to an image comes along: its referrers, and what cosign keeps under tags made of
/// its digest; see --with. Content that is at the destination already does not move. Where a
/// registry has the same image under the same tag, only what belongs to the image itself is
/// looked at, not what belongs to each image of an index; name --with to have all of it looked at.
///
/// An archive file is replaced once the new one is complete. What an oci-archive holds under other
/// names stays in it where a name is given, and goes where none is; a docker-archive holds nothing but
/// what is copied. An archive `-` is standard input or standard output; the report then goes to
/// standard error. docker-archive and docker-daemon take images of one platform: choose one with
/// --platform.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  conex copy alpine oci:./alpine:latest
  conex copy oci:./app:1.2 registry.example/team/app:1.2 --tag 1 --tag latest
  conex copy --platform linux/arm64 debian:12 store:debian:12
  conex copy --platform linux/amd64 --platform linux/arm64 debian:12 oci:./mirror:debian
  conex copy --all-tags registry.example/team/app oci:./mirror
  conex copy --all-tags oci:./mirror docker-archive:many.tar:team/app
  conex copy --tags-semver '>=1.2, <2' --exclude '*-rc*' registry.example/team/app mirror.example/app
  conex copy --images registry.example/charts/wordpress:1.2.3 mirror.example/charts/wordpress:1.2.3
  conex copy store:debian:12 oci-archive:debian.tar:12
  conex copy --platform linux/amd64 alpine docker-archive:-:alpine:latest | docker load
  conex copy docker-daemon:app:dev registry.example/team/app:dev")]
pub struct Copy {
    /// What to copy; a place without a tag with --all-tags
    #[arg(value_parser = typed::<Location>)]
    from: Location,
    /// Where to
    #[arg(value_parser = typed::<Location>)]
    to: Location,
    /// Copy only the image for this platform, without the index around it:
    /// OS[(VERSION)]/ARCH[/VARIANT]. Given several times: the index with only these images and
    /// their attestations. `all` copies everything, as it is without this option
    #[arg(long, value_name = "PLATFORM", value_parser = typed::<Wanted>)]
    platform: Vec<Wanted>,
    /// Keep the index to the last byte, with the chosen images only; many registries refuse that
    #[arg(long, requires = "platform")]
    sparse: bool,
    /// Copy all tags of a repository, layout or name in the store
    #[arg(long)]
    all_tags: bool,
    /// Copy the tags that match; `*` is any text, `?` any character. May be repeated
    #[arg(long, value_name = "GLOB", value_parser = typed::<Glob>)]
    tags: Vec<Glob>,
    /// Copy the tags that match as a whole
    #[arg(long, value_name = "REGEX", value_parser = typed::<Regex>)]
    tags_regex: Vec<Regex>,
    /// Copy the tags that are versions in a range, as '>=1.2, <2 || ^3': a comma is `and`, `||` is
    /// `or`, and so is this option again; pre-releases only if named
    #[arg(long, value_name = "RANGE", value_parser = typed::<Versions>)]
    tags_semver: Vec<Versions>,
    /// Leave out the tags that match, and copy all the others, or those of them that the other
    /// options choose. May be repeated
    #[arg(long, value_name = "GLOB", value_parser = typed::<Glob>)]
    exclude: Vec<Glob>,
    /// Give it this name at the destination too. May be repeated
    #[arg(long, value_name = "TAG", conflicts_with_all = MANY)]
    tag: Vec<String>,
    /// Leave alone the tags at the destination that stand for something else, and name them; then
    /// the exit code is 1. The others, of --tag or of many tags, are given all the same
    #[arg(long)]
    no_clobber: bool,
    #[command(flatten)]
    company: Company,
    /// Copy the images too that a Helm chart names: into a registry under their own paths, anywhere
    /// else beside the chart under their whole names, where they are looked for first. The chart
    /// stays as it is. A bundle always has its images with it. One that is missing is told, and the
    /// exit code with it
    #[arg(long, conflicts_with = "platform")]
    images: bool,
    /// Look for every blob and manifest at the destination, also where a registry has the image
    /// under its tag already and may have lost a part of it
    #[arg(long)]
    full: bool,
    #[command(flatten)]
    rehash: Rehash,
    /// Say what would move, and move nothing
    #[arg(long)]
    dry_run: bool,
}

/// The options that copy many tags.
const MANY: [&str; 5] = ["all_tags", "tags", "tags_regex", "tags_semver", "exclude"];

/// What comes along.
#[derive(Debug, Args)]
pub struct Company {
    /// What comes along with an image: `referrers`, `signatures` under cosign's tags, both with a
    /// comma, or `none`; both without this option
    #[arg(long, value_name = "WHAT", value_parser = typed::<With>)]
    with: Option<With>,
}

impl Company {
    pub fn chosen(&self) -> With {
        self.with.unwrap_or_default()
    }
}

/// How content on this machine is known.
#[derive(Debug, Args)]
pub struct Rehash {
    /// Take what is there for sound, without hashing it, where its files are as conex left them:
    /// quicker, but a worn disk is not noticed
    #[arg(long)]
    no_rehash: bool,
}

impl Rehash {
    pub fn wanted(&self) -> bool {
        !self.no_rehash
    }
}

/// A platform, or all of them.
#[derive(Clone, Debug)]
enum Wanted {
    All,
    One(Platform),
}

impl std::str::FromStr for Wanted {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if text == "all" { Ok(Self::All) } else { text.parse().map(Self::One) }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    #[serde(flatten)]
    report: request::Report,
    /// The root, where it is only one.
    #[serde(skip_serializing_if = "Option::is_none")]
    root: Option<Descriptor>,
    #[serde(skip_serializing_if = "Option::is_none")]
    images: Option<usize>,
    seconds: f64,
    #[serde(skip)]
    extent: Extent,
}

/// How much of an index was copied.
#[derive(Clone, Copy)]
enum Extent {
    Whole,
    Trimmed,
    Sparse,
}

impl Copy {
    pub async fn run(
        &self,
        context: &Context,
        options: &CopyOptions,
        output: &Output,
    ) -> Result<()> {
        let started = Instant::now();
        let (with, full, rehash) = (self.company.chosen(), self.full, self.rehash.wanted());
        let options = CopyOptions { with, full, rehash, dry_run: self.dry_run, ..*options };
        let request = self.request();
        let report = request::run(context, &request, &options).await?;
        let seconds = started.elapsed().as_millis() as f64 / 1000.0;
        let only = match report.copied.as_slice() {
            [only] => Some(only),
            _ => None,
        };
        let (root, images) = (only.map(|only| only.root.clone()), only.and_then(|o| o.images));
        let checked = report.check();
        let extent = match () {
            () if request.platforms.is_empty() => Extent::Whole,
            () if request.sparse => Extent::Sparse,
            () => Extent::Trimmed,
        };
        let report = Report { report, root, images, seconds, extent };
        output.beside(&self.to).report(&report, text)?;
        checked
    }

    fn request(&self) -> Request {
        let all = self.platform.iter().any(|wanted| matches!(wanted, Wanted::All));
        let platforms = self.platform.iter().filter_map(|wanted| match wanted {
            Wanted::One(platform) if !all => Some(platform.clone()),
            _ => None,
        });
        let filter = TagFilter {
            globs: self.tags.clone(),
            regexes: self.tags_regex.clone(),
            versions: self.tags_semver.clone(),
            exclude: self.exclude.clone(),
        };
        let filtered = !(self.tags.is_empty()
            && self.tags_regex.is_empty()
            && self.tags_semver.is_empty()
            && self.exclude.is_empty());
        Request {
            platforms: platforms.collect(),
            sparse: self.sparse,
            tags: (self.all_tags || filtered).then_some(filter),
            names: self.tag.clone(),
            no_clobber: self.no_clobber,
            images: self.images,
            ..Request::new(self.from.clone(), self.to.clone())
        }
    }
}

fn text(report: &Report) -> String {
    let copy = &report.report;
    let verb = if copy.dry_run { "would copy" } else { "copied" };
    let mut text = format!("{verb} {} from {} to {}\n", what(report), copy.from, copy.to);
    text += &summary(&copy.summary, copy.dry_run);
    if copy.copied.iter().any(|copied| copied.tag.is_some()) {
        text += &copy.copied.iter().map(line).collect::<String>();
    } else {
        text += &copy
            .copied
            .iter()
            .map(|copied| format!("{}\n", copied.root.digest))
            .collect::<String>();
    }
    text += &copy.kept.iter().map(kept).collect::<String>();
    text += &left(&copy.left);
    let is = if copy.dry_run { "would be" } else { "is" };
    text + &copy.named.as_ref().map(|images| named(images, is)).unwrap_or_default()
}

/// The images that charts and bundles name.
fn named(images: &Images, is: &str) -> String {
    let carried = images
        .carried
        .iter()
        .map(|it| format!("image {} {is} {}\n  {}\n", escape(&it.image), it.to, it.root.digest));
    let left = images.left.iter().map(|it| {
        let (image, at, why) = (escape(&it.image), escape(&it.at), escape(&it.why));
        format!("not carried: {image}, which {at} names: {why}\n")
    });
    carried.chain(left).collect()
}

/// Of signatures whose images were not copied.
fn left(tags: &[String]) -> String {
    let Some(first) = tags.first() else { return String::new() };
    let count = tags.len();
    format!(
        "left behind signatures of images that were not copied: {count}, as {}\n",
        escape(first)
    )
}

fn what(report: &Report) -> String {
    let copied = match report.report.copied.as_slice() {
        [copied @ Copied { tag: None, .. }] => copied,
        [_] => return "one tag".into(),
        many => return format!("{} tags", many.len()),
    };
    match (&copied.artifact, copied.images) {
        (Some(artifact), images) => self::artifact(artifact, images),
        (None, Some(images)) if copied.root.media_type.is_index() => match report.extent {
            Extent::Whole => {
                format!("the whole index of {} (`--platform` narrows it)", count(images))
            }
            Extent::Trimmed => format!("the index trimmed to {}", count(images)),
            Extent::Sparse => format!("the index of {}, and the chosen of them", count(images)),
        },
        (None, None) if copied.root.media_type.is_index() => "the index, which was there,".into(),
        (None, Some(_)) => "one image".into(),
        (None, None) => "one manifest, which was there,".into(),
    }
}

fn artifact(artifact: &Artifact, images: Option<usize>) -> String {
    let named = |noun: &str| {
        let words = [Some(noun), artifact.name.as_deref(), artifact.version.as_deref()];
        escape(&words.into_iter().flatten().collect::<Vec<_>>().join(" "))
    };
    match artifact.kind {
        Sort::Chart => named("the chart"),
        Sort::Bundle => match images {
            Some(images) => format!("{} with its {}", named("the bundle"), count(images)),
            None => named("the bundle"),
        },
        Sort::Other => format!("one artifact, {},", artifact.artifact_type),
    }
}

fn count(images: usize) -> String {
    format!("{images} {}", if images == 1 { "image" } else { "images" })
}

fn line(copied: &Copied) -> String {
    format!("{} {}\n", copied.root.digest, copied.tag.as_deref().unwrap_or_default())
}

fn kept(kept: &Kept) -> String {
    format!("kept {}, which stands for {}\n", kept.name, kept.found)
}

fn summary(summary: &Summary, dry_run: bool) -> String {
    let mut text = super::summary(summary);
    if dry_run {
        text = text.replacen("moved", "would move", 1);
    }
    if summary.unchanged > 1 {
        text += &format!("; {} tags are unchanged", summary.unchanged);
    }
    let company = &summary.referrers;
    if company.blobs > 0 {
        text += &format!(
            "\nreferrers and signatures: {}, of {} (`--with none` leaves them behind)",
            company.blobs,
            size(company.bytes)
        );
    }
    text + "\n"
}

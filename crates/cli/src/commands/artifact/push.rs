//! `conex artifact push`

use std::path::{Path, PathBuf};

use clap::Args;

use conex_ops::artifact::push::push;
use conex_ops::{Context, CopyOptions};
use conex_spec::{Error, Kind, Location, Result};

use super::packages::{self, Sort};
use super::{Packaging, files_and_location, text};
use crate::args::typed;
use crate::output::Output;

/// Package files and folders as an artifact and put it somewhere
///
/// What is wrong with a file, a title or an annotation is told before anything is sent. Files that
/// are there already are not sent again. What an oci-archive holds under other names stays in it;
/// without a name the artifact takes the place of all that it holds.
#[derive(Debug, Args)]
#[command(override_usage = "conex artifact push [OPTIONS] [FILE[:TYPE]]... <LOCATION>")]
#[command(after_help = "\
The path of a file is its title: the name that it has where it is pulled to. Without TYPE the name tells
what it is, as `.json` application/json, `.tgz` application/gzip, `.wasm` application/wasm; any other
file is application/octet-stream. A folder is application/vnd.oci.image.layer.v1.tar+gzip.

A chart of Helm, its archive or its folder, is stored as `helm push` stores it, with its provenance file;
a bundle of CNAB, its bundle.json, as cnab-to-oci does, with all its images. Without a tag both get that of
their version. They are known by their content, as are SBOMs, attestations, modules of WebAssembly and models;
what --as says is checked, and `--as files` looks into nothing.

Examples:
  conex artifact push report.json notes.md registry.example/team/report:1.2
  conex artifact push model.bin:application/vnd.example.model oci:./build:model --tag latest
  conex artifact push ./site registry.example/team/site:1 --artifact-type application/vnd.example.site
  conex artifact push data.csv registry.example/team/data:7 --config meta.json:application/vnd.example.meta+json
  conex artifact push wordpress-1.2.3.tgz registry.example/charts/wordpress
  conex artifact push bundle.json registry.example/bundles/wordpress
  conex artifact push registry.example/team/mark:1 --artifact-type application/vnd.example.mark -a state=good")]
pub struct Push {
    /// Files and folders, and last where they go
    // One list, since options may stand between the files and the location.
    #[arg(required = true, num_args = 1.., value_name = "FILE… LOCATION")]
    places: Vec<String>,
    /// Another tag in the same place; may be repeated
    #[arg(long, value_name = "NAME")]
    tag: Vec<String>,
    /// The provenance file of a chart; without it FILE.prov, where that is there
    #[arg(long, value_name = "FILE")]
    provenance: Option<PathBuf>,
    /// Where the images of a bundle are, by digest or under their whole names as tags; without it in
    /// the registries that it names
    #[arg(long, value_name = "LOCATION", value_parser = typed::<Location>)]
    images_from: Option<Location>,
    #[command(flatten)]
    packaging: Packaging,
}

impl Push {
    pub async fn run(
        &self,
        context: &Context,
        options: &CopyOptions,
        output: &Output,
    ) -> Result<()> {
        let (files, location): (_, Location) = files_and_location(&self.places)?;
        let sort = self.package(files);
        self.check(sort.unwrap_or(Sort::Files))?;
        if let Some(sort) = sort {
            return self.push_package(sort, files, &location, context, options, output).await;
        }
        let tags = conex_ops::tag::more(&location, &self.tag)?;
        let recipe = self.packaging.recipe(files)?;
        let stored = push(context, &recipe, &location, &tags, options).await?;
        output.beside(&location).report(&stored, |stored| text("pushed", stored))
    }

    /// Whether it is a chart or a bundle, said or seen.
    fn package(&self, files: &[String]) -> Option<Sort> {
        let packaging = &self.packaging;
        match (packaging.kind, files) {
            (Some(sort @ (Sort::Chart | Sort::Bundle)), _) => Some(sort),
            (None, [file]) if packaging.artifact_type.is_none() && packaging.config.is_none() => {
                Sort::of(Path::new(file))
            }
            _ => None,
        }
    }

    /// An option that says nothing about what is pushed is a mistake, and not passed over; `--flat` is true
    /// of all that has a name of its own.
    fn check(&self, sort: Sort) -> Result<()> {
        let own = &self.packaging;
        let (chart, bundle) = (sort == Sort::Chart, sort == Sort::Bundle);
        let files = !chart && !bundle;
        let wrong = [
            (!chart && self.provenance.is_some(), "--provenance", "a chart"),
            (!bundle && self.images_from.is_some(), "--images-from", "a bundle"),
            (!files && own.artifact_type.is_some(), "--artifact-type", "files"),
            (!files && own.config.is_some(), "--config", "files"),
            (!files && own.annotation_file.is_some(), "--annotation-file", "files"),
            (!files && own.folder.is_some(), "--folder", "files"),
            (!files && own.no_hard_links, "--no-hard-links", "files"),
            (bundle && !own.annotation.is_empty(), "--annotation", "a chart or files"),
            (bundle && own.created.is_some(), "--created", "a chart or files"),
        ];
        let Some((_, option, of)) = wrong.into_iter().find(|(wrong, ..)| *wrong) else {
            return Ok(());
        };
        let err = Error::new(Kind::Usage, format!("{option} is for {of}"))
            .expected(of)
            .found(sort.noun());
        Err(match (of, own.kind) {
            ("files" | "a chart or files", None) => err.hint("`--as files` pushes it as it is"),
            (_, None) if files => err.hint("`--as helm` or `--as cnab` tells why it is none"),
            _ => err,
        })
    }

    async fn push_package(
        &self,
        sort: Sort,
        files: &[String],
        to: &Location,
        context: &Context,
        options: &CopyOptions,
        output: &Output,
    ) -> Result<()> {
        if !self.tag.is_empty() {
            return Err(Error::new(Kind::Usage, "a chart or a bundle has the tag of its version")
                .expected("no `--tag`")
                .hint("`conex tag` gives it more, and `--as files` pushes any file as it is"));
        }
        let push = packages::Push {
            sort,
            files,
            to,
            annotations: self.packaging.annotations(None)?,
            created: self.packaging.created()?,
            provenance: self.provenance.clone(),
            images_from: self.images_from.clone(),
        };
        push.run(context, options, output).await
    }
}

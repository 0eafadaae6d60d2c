//! `conex artifact push`

use clap::Args;

use conex_ops::artifact::push::push;
use conex_ops::{Context, CopyOptions};
use conex_spec::{Location, Result};

use super::{Packaging, files_and_location, text};
use crate::output::Output;

/// Package files and folders as an artifact and put it somewhere
///
/// What is wrong with a file, a title or an annotation is told before anything is sent. Files that
/// are there already are not sent again.
#[derive(Debug, Args)]
#[command(override_usage = "conex artifact push [OPTIONS] [FILE[:TYPE]]... <LOCATION>")]
#[command(after_help = "\
The path of a file is its title: the name that it has where it is pulled to. Without TYPE the name tells
what it is, as `.json` application/json, `.tgz` application/gzip, `.wasm` application/wasm; any other
file is application/octet-stream. A folder is application/vnd.oci.image.layer.v1.tar+gzip.

Examples:
  conex artifact push report.json notes.md registry.example/team/report:1.2
  conex artifact push model.bin:application/vnd.example.model oci:./build:model --tag latest
  conex artifact push ./site registry.example/team/site:1 --artifact-type application/vnd.example.site
  conex artifact push data.csv registry.example/team/data:7 --config meta.json:application/vnd.example.meta+json
  conex artifact push registry.example/team/mark:1 --artifact-type application/vnd.example.mark -a state=good")]
pub struct Push {
    /// Files and folders, and last where they go
    // One list, since options may stand between the files and the location.
    #[arg(required = true, num_args = 1.., value_name = "FILE… LOCATION")]
    places: Vec<String>,
    /// Another tag in the same place; may be repeated
    #[arg(long, value_name = "NAME")]
    tag: Vec<String>,
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
        let tags = conex_ops::tag::more(&location, &self.tag)?;
        let recipe = self.packaging.recipe(files)?;
        let stored = push(context, &recipe, &location, &tags, options).await?;
        output.beside(&location).report(&stored, |stored| text("pushed", stored))
    }
}

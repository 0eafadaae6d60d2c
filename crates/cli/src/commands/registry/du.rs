//! `conex registry du`

use clap::Args;

use conex_server::gc::Usage;
use conex_spec::Result;

use super::Which;
use crate::output::{Output, escape, size};

/// Tell what each repository of a registry takes up, alone and shared with others
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  conex registry du
  conex registry du /srv/registry --format json
  conex registry du s3://bucket/registry")]
pub struct Du {
    #[command(flatten)]
    which: Which,
}

impl Du {
    pub async fn run(&self, output: &Output) -> Result<()> {
        let keeper = self.which.keeper(false, |_| ()).await?;
        let usage = keeper.usage().await;
        keeper.close().await;
        output.report(&usage?, text)
    }
}

fn text(usage: &Usage) -> String {
    let mut text = String::new();
    for share in &usage.repositories {
        let (own, shared) = (size(share.own), size(share.shared));
        let (name, manifests, tags) = (escape(&share.repository), share.manifests, share.tags);
        text += &format!(
            "{own:>10} own {shared:>10} shared  {name}  ({manifests} manifests, {tags} tags)\n"
        );
    }
    let (total, unneeded) = (&usage.total, &usage.unneeded);
    text += &format!("{:>10} in all, in {} blobs\n", size(total.bytes), total.blobs);
    if unneeded.blobs > 0 {
        let unneeded = size(unneeded.bytes);
        text +=
            &format!("{unneeded:>10} of it no repository has; `conex registry gc` removes it\n");
    }
    text
}

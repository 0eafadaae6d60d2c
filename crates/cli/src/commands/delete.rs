//! `conex delete`

use clap::Args;

use conex_ops::Context;
use conex_ops::delete::{Options, Plan, execute, plan};
use conex_spec::{Descriptor, Error, Kind, Location, Result};

use crate::args::typed;
use crate::output::{Output, escape};
use crate::terminal;

/// Delete images or artifacts with all that goes with them, once that is seen and agreed to
///
/// With a manifest go all of its tags and, of an index, the manifests that no other tag leads to.
/// What refers to it goes with --referrers, signatures under cosign's tags too. All of that is
/// named first, and the tagged indexes that list it and stay without it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  conex delete registry.example/team/app:1.2
  conex delete --dry-run registry.example/team/app@sha256:…
  conex delete --yes --referrers registry.example/team/app:1.2 registry.example/team/app:1.3
  conex delete --yes oci:./mirror:debian-12

`conex untag` removes a tag alone. On this machine `conex gc` then removes the content.")]
pub struct Delete {
    /// What to delete
    #[arg(required = true, value_name = "LOCATION", value_parser = typed::<Location>)]
    locations: Vec<Location>,
    /// Delete what refers to it as well
    #[arg(long)]
    referrers: bool,
    /// Of an index, leave its manifests alone
    #[arg(long)]
    keep_children: bool,
    /// Only tell what would be deleted
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

impl Delete {
    pub async fn run(&self, context: &Context, jobs: usize, output: &Output) -> Result<()> {
        let (referrers, keep_children) = (self.referrers, self.keep_children);
        let options = Options { referrers, keep_children, jobs };
        let mut plans: Vec<Plan> = Vec::new();
        for location in &self.locations {
            let plan = plan(context, location, &options).await?;
            // Two tags of one manifest are one plan.
            if !plans.iter().any(|known| same(known, &plan)) {
                plans.push(plan);
            }
        }
        if !self.dry_run {
            self.agree(&plans).await?;
            for plan in &mut plans {
                execute(context, plan).await?;
            }
        }
        output.report(&plans, |plans| plans.iter().map(text).collect())
    }

    /// Asks on a terminal. Elsewhere nobody could answer.
    async fn agree(&self, plans: &[Plan]) -> Result<()> {
        if self.yes {
            return Ok(());
        }
        if !terminal::is_there() {
            return Err(Error::new(
                Kind::Usage,
                "nobody is there to agree to what would be deleted",
            )
            .hint("`--dry-run` shows it, `--yes` agrees to it"));
        }
        let told: String = plans.iter().map(text).collect();
        let answer = terminal::ask(&format!("{told}Delete this? [y/N] ")).await?;
        match answer.trim().to_ascii_lowercase().as_str() {
            "y" | "yes" => Ok(()),
            _ => Err(Error::new(Kind::Usage, "nothing was deleted")),
        }
    }
}

fn same(a: &Plan, b: &Plan) -> bool {
    a.root.digest == b.root.digest && a.location.place() == b.location.place()
}

fn text(plan: &Plan) -> String {
    let verb = if plan.deleted { "deleted" } else { "would delete" };
    let mut text = format!("{verb} {} of {}\n", plan.root.digest, plan.location.place());
    for tag in &plan.tags {
        text += &format!("  its tag      {}\n", escape(tag));
    }
    for index in &plan.listed_in {
        text += &format!("  missing then in the index {}\n", escape(index));
    }
    for child in &plan.children {
        text += &format!("  in the index {}\n", described(child));
    }
    let referrer = if plan.with_referrers { "refers to it" } else { "stays behind" };
    for node in &plan.referrers {
        text += &format!("  {referrer} {}\n", described(node));
    }
    for signature in &plan.signatures {
        text += &format!("  {referrer} {}\n", escape(signature.tag.as_str()));
    }
    text
}

fn described(node: &Descriptor) -> String {
    let kind = node.artifact_type.as_ref().map(|kind| escape(kind.as_str()));
    let platform = node.platform.as_ref().map(|platform| escape(&platform.to_string()));
    match platform.or(kind) {
        Some(what) => format!("{} ({what})", node.digest),
        None => node.digest.to_string(),
    }
}

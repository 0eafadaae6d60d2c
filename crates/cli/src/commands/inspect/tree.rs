//! What `conex inspect --tree` prints for people.

use conex_ops::inspect::MISSING;
use conex_ops::inspect::tree::{Node, Tree};
use conex_spec::annotations::TITLE;

use crate::output::{escape, size};

pub fn text(tree: &Tree) -> String {
    let mut text = format!("{}\n", escape(&tree.location.to_string()));
    let only = [Branch { label: "", node: &tree.root }];
    branches(&mut text, "", &only);
    if tree.cut {
        text += "more is there than is shown\n";
    }
    text
}

struct Branch<'t> {
    label: &'static str,
    node: &'t Node,
}

fn branches(text: &mut String, indent: &str, branches: &[Branch<'_>]) {
    for (index, branch) in branches.iter().enumerate() {
        let last = index + 1 == branches.len();
        let (fork, stem) = if last { ("└── ", "    ") } else { ("├── ", "│   ") };
        *text += &format!("{indent}{fork}{}{}\n", branch.label, escape(&line(branch.node)));
        let below = format!("{indent}{stem}");
        if let Some(fault) = branch.node.fault.as_ref().filter(|fault| *fault != MISSING) {
            *text += &format!("{below}!   {}\n", escape(fault));
        }
        let children = branch.node.children.iter().map(|node| Branch { label: "", node });
        let referrers =
            branch.node.referrers.iter().map(|node| Branch { label: "referrer: ", node });
        self::branches(text, &below, &children.chain(referrers).collect::<Vec<_>>());
    }
}

fn line(node: &Node) -> String {
    let blob = &node.descriptor;
    let mut line = node.role.to_owned();
    if let Some(platform) = &blob.platform {
        line += &format!(" {platform}");
    }
    if let Some(title) = blob.annotations.get(TITLE) {
        line += &format!(" {title}");
    }
    line += &format!("  {}  {}", blob.digest, size(blob.size));
    if let Some(kind) = &blob.artifact_type {
        line += &format!("  {kind}");
    } else if matches!(node.role, "blob" | "artifact") {
        line += &format!("  {}", blob.media_type);
    }
    if node.fault.as_deref() == Some(MISSING) {
        line += "  missing";
    }
    if node.repeated && node.role != "layer" && node.role != "config" {
        line += "  (shown above)";
    }
    line
}

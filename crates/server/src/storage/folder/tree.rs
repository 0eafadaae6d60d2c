//! The repositories of a folder, as its tree tells them.

use std::ops::ControlFlow;

use conex_spec::Result;

use super::Inner;
use crate::paths::{self, Repository};
use crate::storage::home::Page;

impl Inner {
    pub(super) fn has_repository(&self, repository: &Repository) -> Result<bool> {
        Ok(self.folder.has(&repository.manifests())? || self.folder.has(&repository.blobs())?)
    }

    pub(super) fn repositories(&self, last: &str, count: usize) -> Result<Page<String>> {
        let mut page = Page { items: Vec::new(), more: false };
        let mut walk = Walk { home: self, last, count, page: &mut page };
        let _ = walk.folder("")?;
        Ok(page)
    }
}

/// Goes through the tree of repositories in the order of their whole names.
struct Walk<'a> {
    home: &'a Inner,
    last: &'a str,
    count: usize,
    page: &'a mut Page<String>,
}

impl Walk<'_> {
    /// The repositories below `prefix`, which is empty or ends in a slash.
    fn folder(&mut self, prefix: &str) -> Result<ControlFlow<()>> {
        let folder = format!("{}/{prefix}", paths::REPOSITORIES);
        let names = self.home.folder.list(folder.trim_end_matches('/'))?;
        let names = names.into_iter().filter(|name| !name.starts_with(['_', '.']));
        // `a-b` comes between `a` and `a/b`, so a folder stands in the order twice: as itself and,
        // with a slash, for all below it.
        let mut steps: Vec<String> = names
            .flat_map(|name| [format!("{prefix}{name}"), format!("{prefix}{name}/")])
            .collect();
        steps.sort_unstable();
        for step in steps {
            let flow = if step.ends_with('/') { self.below(&step)? } else { self.visit(step)? };
            if flow.is_break() {
                return Ok(flow);
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn below(&mut self, prefix: &str) -> Result<ControlFlow<()>> {
        // All below it was on an earlier page.
        if prefix < self.last && !self.last.starts_with(prefix) {
            return Ok(ControlFlow::Continue(()));
        }
        self.folder(prefix)
    }

    fn visit(&mut self, name: String) -> Result<ControlFlow<()>> {
        if name.as_str() <= self.last {
            return Ok(ControlFlow::Continue(()));
        }
        let Ok(repository) = name.parse::<Repository>() else {
            return Ok(ControlFlow::Continue(()));
        };
        if !self.home.has_repository(&repository)? {
            return Ok(ControlFlow::Continue(()));
        }
        if self.page.items.len() == self.count {
            self.page.more = true;
            return Ok(ControlFlow::Break(()));
        }
        self.page.items.push(name);
        Ok(ControlFlow::Continue(()))
    }
}

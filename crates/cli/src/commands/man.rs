//! `conex man`

use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, Command, CommandFactory};
use clap_mangen::Man as Page;

use conex_spec::{Error, Result};

use crate::output::Output;

/// Write the manual pages, one for each command
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  conex man --output ~/.local/share/man/man1
  conex man --output . && man ./conex-copy.1")]
pub struct Man {
    /// The folder, which is made where there is none
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
}

impl Man {
    pub fn run(&self, output: &Output) -> Result<()> {
        fs::create_dir_all(&self.output)
            .map_err(|err| Error::making("cannot make", &self.output, err))?;
        let mut root = crate::args::Args::command();
        root.build();
        let mut pages = Vec::new();
        write(&root, "conex", &self.output, &mut pages)?;
        output.report(&pages, |pages| {
            pages.iter().map(|page| format!("{}\n", page.display())).collect()
        })
    }
}

/// The page of a command, and those of its subcommands.
fn write(command: &Command, name: &str, folder: &Path, pages: &mut Vec<PathBuf>) -> Result<()> {
    let visible = || command.get_subcommands().filter(|sub| !sub.is_hide_set());
    for sub in visible() {
        write(sub, &format!("{name}-{}", sub.get_name()), folder, pages)?;
    }
    let path = folder.join(format!("{name}.1"));
    fs::write(&path, page(command, name))
        .map_err(|err| Error::making("cannot write", &path, err))?;
    pages.push(path);
    Ok(())
}

fn page(command: &Command, name: &str) -> Vec<u8> {
    let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let page = Page::new(command.clone().display_name(name))
        .source(concat!("conex ", env!("CARGO_PKG_VERSION")))
        .manual("Manual of conex");
    let mut text = Vec::new();
    // A vector takes whatever is written to it.
    let _ = page
        .render_title(&mut text)
        .and_then(|()| page.render_name_section(&mut text))
        .and_then(|()| page.render_synopsis_section(&mut text))
        .and_then(|()| page.render_description_section(&mut text))
        .and_then(|()| page.render_options_section(&mut text));
    if command.has_subcommands() {
        let _ = page.render_subcommands_section(&mut text);
    }
    for (heading, lines) in sections(&after) {
        text.extend_from_slice(format!(".SH {heading}\n.nf\n{lines}.fi\n").as_bytes());
    }
    if name != "conex" {
        text.extend_from_slice(EXIT_STATUS.as_bytes());
    }
    text
}

const EXIT_STATUS: &str = ".SH \"EXIT STATUS\"\n0 when all is done. What another code means is in \
    \\fBconex\\fR(1), \"EXIT CODES\".\n.SH \"SEE ALSO\"\n\\fBconex\\fR(1)\n";

/// What stands after the options in a help text: a line that ends in a colon is a heading.
fn sections(after: &str) -> Vec<(String, String)> {
    let mut sections: Vec<(String, String)> = Vec::new();
    for line in after.lines() {
        match line.strip_suffix(':').filter(|heading| !heading.starts_with(' ')) {
            Some(heading) => {
                sections.push((format!("\"{}\"", heading.to_uppercase()), String::new()));
            }
            None => match sections.last_mut() {
                Some((_, lines)) => *lines += &roff(line),
                None if line.is_empty() => {}
                None => sections.push(("NOTES".into(), roff(line))),
            },
        }
    }
    sections
}

/// A line as it is. A dot or a quote at its beginning would be a command.
fn roff(line: &str) -> String {
    let line = line.replace('\\', "\\e").replace('-', "\\-");
    let guard = if line.starts_with(['.', '\'']) { "\\&" } else { "" };
    format!("{guard}{line}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_becomes_sections() {
        let found = sections("Examples:\n  conex -x\n.a\\b\n\nNote it");
        let lines = "  conex \\-x\n\\&.a\\eb\n\nNote it\n";
        assert_eq!(found, [("\"EXAMPLES\"".to_owned(), lines.to_owned())]);
    }
}

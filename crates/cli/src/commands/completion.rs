//! `conex completion`, and what its scripts ask for with each Tab.
//!
//! A script hands the words so far to `conex __complete`, which answers one candidate a line, and
//! knows options and commands from the same place as `--help`. Nothing that goes wrong is told:
//! there is no worse place for an error than the line that someone is typing.
//!
//! | part | module |
//! |---|---|
//! | what is wanted at the end of the words so far | [`engine`] |
//! | locations, with the tags that are there now | [`locations`] |

mod engine;
mod locations;

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use conex_ops::Context;
use conex_spec::Result;

use crate::args::Global;
use crate::output::Output;

/// Print the completion script of a shell
///
/// Commands, options, folders, registries with a login, and tags are completed: those of layouts
/// and of the local store at once; repositories and tags of a registry where it is on this machine,
/// there is a login for it, or the local store has something of it, and where it answers within a
/// second.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  source <(conex completion bash)
  conex completion bash > ~/.local/share/bash-completion/completions/conex
  conex completion zsh > ~/.zfunc/_conex
  conex completion fish > ~/.config/fish/completions/conex.fish")]
pub struct Completion {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

impl Completion {
    pub fn run(&self, output: &Output) -> Result<()> {
        output.print(match self.shell {
            Shell::Bash => include_str!("completion/conex.bash"),
            Shell::Zsh => include_str!("completion/conex.zsh"),
            Shell::Fish => include_str!("completion/conex.fish"),
        })
    }
}

/// What the scripts ask for.
#[derive(Debug, Args)]
#[command(hide = true)]
pub struct Complete {
    /// The words after `conex`; the last one is being typed
    // All stand after `--`: an option among them is none of this command.
    #[arg(last = true)]
    words: Vec<String>,
}

impl Complete {
    /// The options of every command, with the places that the words name.
    pub fn places(&self, global: &Global) -> Global {
        let value = |option: &str| {
            let pairs = self.words.windows(2).filter(|pair| pair[0] == option);
            let apart = pairs.map(|pair| pair[1].as_str());
            let joined =
                self.words.iter().filter_map(|word| word.strip_prefix(option)?.strip_prefix('='));
            apart.chain(joined).last().map(PathBuf::from)
        };
        let mut global = global.clone();
        global.store = value("--store").or(global.store);
        global.auth_file = value("--auth-file").or(global.auth_file);
        global
    }

    pub async fn run(&self, context: &Context, output: &Output) -> Result<()> {
        let mut lines = String::new();
        for candidate in engine::candidates(context, &self.words).await {
            // Neither a shell nor a terminal is to obey what a registry calls a tag.
            if candidate.chars().all(|c| !c.is_control()) {
                lines += &candidate;
                lines.push('\n');
            }
        }
        output.print(&lines)
    }
}

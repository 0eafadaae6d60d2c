//! What is wanted at the end of the words so far, told from the commands as clap knows them.

use std::any::TypeId;
use std::path::PathBuf;

use clap::{Arg, Command, CommandFactory};

use conex_client::Domain;
use conex_ops::Context;
use conex_ops::json_file::{Target, Typed};
use conex_ops::open::Keep;
use conex_ops::repos::Holder;
use conex_ops::tags::Place;
use conex_spec::Location;

use super::locations::{self, Which};
use crate::args::Args;
use crate::commands::diff::Side;
use crate::inside::Inside;

/// Longer lists help nobody, and keep the shell busy.
const MOST: usize = 500;

/// The candidates for the last word, each in whole.
pub async fn candidates(context: &Context, words: &[String]) -> Vec<String> {
    let mut root = Args::command();
    root.build();
    let (last, before) = match words.split_last() {
        Some((last, before)) => (last.as_str(), before),
        None => ("", &[][..]),
    };
    let mut found = match wanted(&root, before, last) {
        Wanted::Names(names) => names,
        Wanted::Location(prefix, text, which) => {
            let found = locations::candidates(context, text, which).await;
            found.into_iter().map(|location| format!("{prefix}{location}")).collect()
        }
        Wanted::Registry => locations::registries(context),
        Wanted::Holder => locations::holders(context),
        Wanted::Login => locations::logins(context),
        Wanted::File(prefix, text) => {
            locations::files(text).into_iter().map(|file| format!("{prefix}{file}")).collect()
        }
        Wanted::Either(text) => {
            let mut found = locations::candidates(context, text, Which::Image).await;
            found.extend(locations::files(text));
            found
        }
    };
    found.retain(|candidate| candidate.starts_with(last));
    found.sort();
    found.dedup();
    found.truncate(MOST);
    found
}

/// What can stand there.
#[derive(Debug, PartialEq, Eq)]
enum Wanted<'a> {
    Names(Vec<String>),
    /// A location, after what stands before it in the word.
    Location(&'a str, &'a str, Which),
    /// A registry, or a part of one.
    Registry,
    /// A whole registry, or the local store.
    Holder,
    /// What there is a login for.
    Login,
    File(&'a str, &'a str),
    /// A folder or a location.
    Either(&'a str),
}

fn wanted<'a>(root: &Command, before: &[String], last: &'a str) -> Wanted<'a> {
    let mut command = root;
    let (mut positionals, mut only_values) = (0, false);
    let mut option: Option<&Arg> = None;
    for word in before {
        if option.take().is_some() {
            continue;
        }
        if only_values || !word.starts_with('-') || word == "-" {
            match command.find_subcommand(word).filter(|_| !only_values && positionals == 0) {
                Some(subcommand) => command = subcommand,
                None => positionals += 1,
            }
        } else if word == "--" {
            only_values = true;
        } else if !word.contains('=') {
            // An option that must have an `=` has its value in the same word.
            option = find_option(command, word)
                .filter(|arg| arg.get_action().takes_values() && !arg.is_require_equals_set());
        }
    }
    if let Some(option) = option {
        return value(option, "", last);
    }
    if last.starts_with('-') && !only_values && last != "-" {
        return match last.split_once('=') {
            Some((name, text)) => match find_option(command, name) {
                Some(option) => value(option, &last[..=name.len()], text),
                None => Wanted::Names(Vec::new()),
            },
            None => Wanted::Names(options(command)),
        };
    }
    if last == "-" && !only_values {
        return Wanted::Names(options(command));
    }
    if command.has_subcommands() {
        let visible = command.get_subcommands().filter(|sub| !sub.is_hide_set());
        return Wanted::Names(visible.map(|sub| sub.get_name().to_owned()).collect());
    }
    let arguments: Vec<&Arg> = command.get_positionals().collect();
    let argument = arguments.get(positionals).copied().or_else(|| {
        // The last one may be given several times.
        let many = |arg: &&Arg| arg.get_num_args().is_some_and(|range| range.max_values() > 1);
        arguments.last().copied().filter(many)
    });
    let wanted = argument.map_or(Wanted::Names(Vec::new()), |argument| value(argument, "", last));
    match wanted {
        Wanted::Registry if command.get_name() == "logout" => Wanted::Login,
        Wanted::Location(prefix, text, Which::Image) if copies_many(command, before) => {
            Wanted::Location(prefix, text, Which::Place)
        }
        wanted => wanted,
    }
}

/// Whether the words so far ask `conex copy` for the tags of a whole place.
fn copies_many(command: &Command, before: &[String]) -> bool {
    let is_one = |word: &String| {
        ["--all-tags", "--tags", "--tags-regex", "--tags-semver", "--exclude"]
            .contains(&word.split('=').next().unwrap_or_default())
    };
    command.get_name() == "copy" && before.iter().any(is_one)
}

fn find_option<'c>(command: &'c Command, word: &str) -> Option<&'c Arg> {
    command.get_opts().find(|arg| match word.strip_prefix("--") {
        Some(long) => arg.get_long() == Some(long),
        None => arg.get_short().is_some_and(|short| word == format!("-{short}")),
    })
}

fn options(command: &Command) -> Vec<String> {
    let visible = command.get_arguments().filter(|arg| !arg.is_hide_set());
    visible.filter_map(|arg| arg.get_long()).map(|long| format!("--{long}")).collect()
}

fn value<'a>(arg: &Arg, prefix: &'a str, text: &'a str) -> Wanted<'a> {
    let possible = arg.get_possible_values();
    if !possible.is_empty() {
        let names = possible.iter().map(|value| format!("{prefix}{}", value.get_name()));
        return Wanted::Names(names.collect());
    }
    let parser = arg.get_value_parser().type_id();
    if parser == TypeId::of::<PathBuf>() {
        return Wanted::File(prefix, text);
    }
    // A command that parses its words by itself takes locations and folders, and so does `diff`.
    if arg.get_id() == "places" || parser == TypeId::of::<Side>() {
        return Wanted::Either(text);
    }
    let locations = [
        (TypeId::of::<Location>(), Which::Image),
        (TypeId::of::<Inside>(), Which::Image),
        (TypeId::of::<Target>(), Which::Image),
        (TypeId::of::<Typed>(), Which::Image),
        (TypeId::of::<Place>(), Which::Place),
        (TypeId::of::<Keep>(), Which::Keep),
    ];
    if arg.get_id() == "layout" {
        return Wanted::Location(prefix, text, Which::Layout);
    }
    if let Some((_, which)) = locations.iter().find(|(known, _)| parser == *known) {
        return Wanted::Location(prefix, text, *which);
    }
    if parser == TypeId::of::<Domain>() {
        return Wanted::Registry;
    }
    if parser == TypeId::of::<Holder>() {
        return Wanted::Holder;
    }
    Wanted::Names(Vec::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(words: &[&str]) -> String {
        let mut root = Args::command();
        root.build();
        let (last, before) = words.split_last().unwrap();
        let before: Vec<String> = before.iter().map(|word| (*word).to_owned()).collect();
        match wanted(&root, &before, last) {
            Wanted::Names(names) => names.join(" "),
            Wanted::Location(prefix, text, Which::Image) => format!("location {prefix}|{text}"),
            Wanted::Location(prefix, text, which) => format!("{which:?} {prefix}|{text}"),
            Wanted::Registry => "registry".into(),
            Wanted::Holder => "holder".into(),
            Wanted::Login => "login".into(),
            Wanted::File(prefix, text) => format!("file {prefix}|{text}"),
            Wanted::Either(text) => format!("either {text}"),
        }
    }

    #[test]
    fn what_is_wanted_where() {
        for (words, expected) in [
            (&["copy", "oci:"][..], "location |oci:"),
            (&["copy", "--platform", "linux/amd64", "a", "b"], "location |b"),
            (&["copy", "a", "b", "c"], ""),
            (&["copy", "--plain-http", "oci:"], "location |oci:"),
            (&["copy", "--plain-http=a", "oci:"], "location |oci:"),
            (&["copy", "--tag", "t", "--cert-dir", "x"], "file |x"),
            (&["pack", "a", "oci:"], "either oci:"),
            (&["pack", "--base", "oci:"], "location |oci:"),
            (&["repack", "./root"], "file |./root"),
            (&["repack", "root", "oci:"], "location |oci:"),
            (&["diff", "oci:"], "either oci:"),
            (&["diff", "oci:a", "./r"], "either ./r"),
            (&["ls", "oci:"], "location |oci:"),
            (&["cat", "oci:"], "location |oci:"),
            (&["export", "oci:"], "location |oci:"),
            (&["export", "oci:a", "f"], "file |f"),
            (&["tag", "oci:x"], "location |oci:x"),
            (&["tag", "oci:x", ""], ""),
            (&["inspect", "oci:"], "location |oci:"),
            (&["validate", "oci:"], "location |oci:"),
            (&["unpack", "oci:"], "location |oci:"),
            (&["push", "store:"], "location |store:"),
            (&["tags", "oci:"], "Place |oci:"),
            (&["copy", "--all-tags", "oci:"], "Place |oci:"),
            (&["copy", "--tags=1*", "oci:a", "oci:"], "Place |oci:"),
            (&["gc", "oci:"], "Keep |oci:"),
            (&["repair", "--from", "a"], "location |a"),
            (&["repair", "oci:"], "Keep |oci:"),
            (&["manifest", "get", "a"], "location |a"),
            (&["index", "create", "a", "b"], "location |b"),
            (&["login", "a"], "registry"),
            (&["logout", "a"], "login"),
            (&["auth", "check", "a"], "registry"),
            (&["repos", "a"], "holder"),
            (&["serve", "oci:"], "Layout |oci:"),
            (&["rm", "a", "b", ""], "location |"),
            (&["--store", ""], "file |"),
            (&["tags", "--sort", ""], "name version date size"),
            (&["tags", "--sort=d"], "--sort=name --sort=version --sort=date --sort=size"),
            (&["manifest", ""], "get put delete"),
            (&["manifest", "get", "--output", "x"], "file |x"),
            (&["blob", "put", "oci:x", "f"], "file |f"),
            (&["completion", ""], "bash zsh fish"),
            (&["digest", "--", "-x"], "location |-x"),
        ] {
            assert_eq!(asked(words), expected, "{words:?}");
        }
        let commands = asked(&[""]);
        assert!(commands.contains("copy") && commands.contains("tags"), "{commands}");
        assert!(!commands.contains("__complete"), "{commands}");
        let options = asked(&["tags", "--"]);
        assert!(options.contains("--sort") && options.contains("--progress"), "{options}");
    }
}

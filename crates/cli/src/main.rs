//! The program `conex`: arguments → verb → text or JSON. The only crate that prints, and that
//! reads the environment, the home folder or the clock.

#![allow(unreachable_pub, reason = "a program has no outside; `pub` means the neighbour module")]

mod args;
mod commands;
mod environment;
mod failure;
mod inside;
mod output;
mod progress;
mod registries;
mod terminal;

use std::process::ExitCode;

use clap::Parser;

use crate::args::Args;
use crate::output::Output;

fn main() -> ExitCode {
    end_on_panic();
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(err) => {
            let words: Vec<_> = std::env::args_os().skip(1).collect();
            return failure::usage(&err, &words);
        }
    };
    let output = Output::new(args.global.format.clone());
    match commands::run(&args, &output) {
        Ok(code) => code,
        Err(err) => failure::report(&err, &output),
    }
}

/// A panic ends the program in every build, as it does in a release: what a thread left half-done
/// is not waited for.
fn end_on_panic() {
    let told = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        told(panic);
        std::process::abort();
    }));
}

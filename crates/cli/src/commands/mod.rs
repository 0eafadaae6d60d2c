//! One file for each command: arguments → verb → text or JSON.

pub mod artifact;
pub mod auth;
pub mod blob;
pub mod cat;
pub mod charts;
pub mod completion;
pub mod copy;
pub mod delete;
pub mod demo;
pub mod diff;
pub mod digest;
pub mod discover;
pub mod du;
pub mod export;
pub mod fsck;
pub mod gc;
pub mod images;
pub mod index;
pub mod inspect;
mod layers;
pub mod login;
pub mod logout;
pub mod ls;
pub mod man;
pub mod manifest;
pub mod pack;
pub mod pull;
pub mod push;
mod raw;
pub mod registry;
pub mod repack;
pub mod repair;
pub mod repos;
pub mod rm;
pub mod serve;
pub mod tag;
pub mod tags;
pub mod unpack;
pub mod untag;
pub mod validate;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use tokio::signal::unix::{SignalKind, signal};

use conex_client::{Client, Credentials, Options, Uploads};
use conex_ops::{Context, CopyOptions, Summary};
use conex_spec::{Error, Kind, Platform, Result};
use conex_store::rate::Limiter;
use conex_store::{Event, Observer};

use crate::args::{Args, Command, Format, Global};
use crate::environment;
use crate::output::{Output, size};
use crate::progress::{self, End, Show};

/// How many layers are validated at a time: each takes memory for what unpacks it.
const VALIDATORS: usize = 4;
/// How many files of an artifact are listed.
const MAX_SHOWN_FILES: usize = 20;
/// How many names are looked into at a time, where nobody says it.
const LOOKS: usize = 8;
/// The exit code of content that was looked at and is not sound.
const UNSOUND: u8 = 4;
/// That of a command that a signal stopped, as a shell tells it: 128 and SIGINT.
const INTERRUPTED: u8 = 130;
/// How long threads may take to put away what they were doing.
const SHUTDOWN: Duration = Duration::from_secs(5);

/// Where uploads that broke off are remembered, in the folder of the local store.
const UPLOADS: &str = ".conex/uploads";
/// How long they are: as long as registries keep them by default.
const UPLOAD_AGE: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Runs the command that was typed.
pub fn run(args: &Args, output: &Output) -> Result<ExitCode> {
    if matches!(output.format(), Format::Sarif) && !matches!(args.command, Command::Validate(_)) {
        return Err(Error::new(Kind::Usage, "there is no SARIF of what this command does")
            .expected("--format text, json, or a Go template")
            .hint("`conex validate` prints its findings as SARIF"));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|err| Error::new(Kind::Io, "cannot start threads").source(err))?;
    let progress = progress::show(args.global.progress, args.global.verbose);
    let result = runtime.block_on(until_interrupted(args, output, &progress));
    progress.finish(match &result {
        Ok(code) if *code != ExitCode::from(INTERRUPTED) => End::Done,
        _ if output.has_reported() => End::Reported,
        _ => End::Failed,
    });
    // What still moves when a command has failed is dropped, and its writers remove what they staged.
    runtime.shutdown_timeout(SHUTDOWN);
    result
}

/// Runs the command, or drops it when a signal asks the program to stop; dropped, it removes
/// what it staged. What came of large blobs stays, and open uploads are not cancelled: the same
/// command goes on with both. A service stops by itself.
async fn until_interrupted(
    args: &Args,
    output: &Output,
    progress: &Arc<dyn Show>,
) -> Result<ExitCode> {
    if matches!(args.command, Command::Serve(_)) {
        return dispatch(args, output, progress).await;
    }
    tokio::select! {
        result = dispatch(args, output, progress) => result,
        () = stop_signal() => {
            progress.event(Event::Warning("interrupted; the same command goes on from here"));
            Ok(ExitCode::from(INTERRUPTED))
        }
    }
}

/// Ends with the first signal that asks the program to stop.
pub async fn stop_signal() {
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}

async fn dispatch(args: &Args, output: &Output, progress: &Arc<dyn Show>) -> Result<ExitCode> {
    let global = &args.global;
    let context = || context(global, Arc::clone(progress));
    match &args.command {
        Command::Inspect(command) => command.run(&context(), output).await?,
        Command::Copy(command) => command.run(&context(), &options(global), output).await?,
        Command::Pull(command) => {
            command.run(&context(), &options(global), !global.no_sync, output).await?;
        }
        Command::Push(command) => command.run(&context(), &options(global), output).await?,
        Command::Pack(command) => command.run(&context(), &options(global), output).await?,
        Command::Repack(command) => command.run(&context(), &options(global), output).await?,
        Command::Diff(command) => return command.run(&context(), output).await,
        Command::Unpack(command) => command.run(&context(), !global.no_sync, output).await?,
        Command::Ls(command) => command.run(&context(), output).await?,
        Command::Cat(command) => command.run(&context()).await?,
        Command::Export(command) => command.run(&context(), !global.no_sync, output).await?,
        Command::Validate(command) => {
            return command.run(&context(), global.jobs.unwrap_or(VALIDATORS), output).await;
        }
        Command::Index(command) => command.run(&context(), &options(global), output).await?,
        Command::Images(command) => command.run(&context(), output).await?,
        Command::Tag(command) => command.run(&context(), output).await?,
        Command::Untag(command) => command.run(&context(), output).await?,
        Command::Delete(command) => {
            command.run(&context(), global.jobs.unwrap_or(LOOKS), output).await?;
        }
        Command::Tags(command) => {
            command.run(&context(), global.jobs.unwrap_or(LOOKS), output).await?;
        }
        Command::Charts(command) => {
            command.run(&context(), global.jobs.unwrap_or(LOOKS), output).await?;
        }
        Command::Repos(command) => command.run(&context(), output).await?,
        Command::Digest(command) => command.run(&context(), output).await?,
        Command::Artifact(command) => {
            command.run(&context(), &options(global), output).await?;
        }
        Command::Discover(command) => command.run(&context(), output).await?,
        Command::Manifest(command) => command.run(&context(), !global.no_sync, output).await?,
        Command::Blob(command) => return command.run(&context(), !global.no_sync, output).await,
        Command::Rm(command) => command.run(&context(), output).await?,
        Command::Gc(command) => command.run(&context(), output).await?,
        Command::Du(command) => command.run(&context(), output).await?,
        Command::Fsck(command) => return command.run(&context(), output).await,
        Command::Repair(command) => return command.run(&context(), output).await,
        Command::Login(command) => command.run(&context(), global, output).await?,
        Command::Logout(command) => command.run(&context(), output).await?,
        Command::Auth(command) => command.run(&context(), output).await?,
        Command::Serve(command) => command.run(output).await?,
        Command::Registry(command) => {
            return command.run(context, !global.no_sync, output).await;
        }
        Command::Completion(command) => command.run(output)?,
        Command::Man(command) => command.run(output)?,
        Command::Complete(command) => {
            command.run(&silent(&command.places(global)), output).await?;
        }
        Command::Demo(command) => command.run(output).await?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The same world where nothing may be said but the result, and nobody waits for a second try.
fn silent(global: &Global) -> Context {
    let mut options = client_options(global, Arc::new(()));
    options.retry.attempts = 1;
    let store = environment::store_folder(global.store.as_ref());
    Context::new(Client::new(options), store, Arc::new(()))
}

/// The world of the verbs, as the options of every command describe it.
fn context(global: &Global, progress: Arc<dyn Show>) -> Context {
    let observer: Arc<dyn Observer> = progress;
    let client = Client::new(client_options(global, Arc::clone(&observer)));
    let store = environment::store_folder(global.store.as_ref());
    let context = Context::new(client, store, observer);
    if global.no_sync { context.without_sync() } else { context }
}

fn options(global: &Global) -> CopyOptions {
    let default = CopyOptions::default();
    CopyOptions { jobs: global.jobs.unwrap_or(default.jobs), ..default }
}

fn client_options(global: &Global, observer: Arc<dyn Observer>) -> Options {
    let mut credentials = Credentials::anonymous().with_helpers(environment::search_path());
    if let Some(text) = environment::login_text().filter(|_| global.auth_file.is_none()) {
        credentials = credentials.with_docker_config_text(text, "DOCKER_AUTH_CONFIG");
    }
    for file in environment::login_files(global.auth_file.as_ref()) {
        credentials = credentials.with_docker_config(file);
    }
    let engine = environment::engine();
    let limiter = global.limit_rate.map(Limiter::new);
    let uploads = uploads(global);
    let given = Options { credentials, observer, limiter, uploads, engine, ..Options::default() };
    global.registries.apply(given)
}

/// Uploads that break off are remembered beside the local store.
fn uploads(global: &Global) -> Option<Uploads> {
    let folder = environment::store_folder(global.store.as_ref())?.join(UPLOADS);
    let age = environment::now().duration_since(UNIX_EPOCH).ok()?.saturating_sub(UPLOAD_AGE);
    Some(Uploads { folder, before: age.as_secs().cast_signed() })
}

/// The platform that was asked for, or this machine's.
fn platform_or_host(asked: Option<&Platform>) -> Platform {
    asked.cloned().unwrap_or_else(Platform::host)
}

/// Seconds since 1970 as RFC 3339 writes them, in UTC.
fn rfc3339(seconds: u64) -> String {
    conex_spec::date::to_rfc3339(seconds.try_into().unwrap_or(i64::MAX), 0)
}

/// Kind and permissions as `ls -l` writes them.
fn mode(kind: &str, mode: u32) -> String {
    let mut text = String::from(match kind {
        "directory" => "d",
        "symbolic link" => "l",
        "hard link" => "h",
        "character device" => "c",
        "block device" => "b",
        "named pipe" => "p",
        _ => "-",
    });
    for (shift, special, with, without) in
        [(6, 0o4000, 's', 'S'), (3, 0o2000, 's', 'S'), (0, 0o1000, 't', 'T')]
    {
        let bits = mode >> shift;
        text.push(if bits & 4 == 0 { '-' } else { 'r' });
        text.push(if bits & 2 == 0 { '-' } else { 'w' });
        text.push(match (bits & 1 != 0, mode & special != 0) {
            (true, true) => with,
            (false, true) => without,
            (true, false) => 'x',
            (false, false) => '-',
        });
    }
    text
}

/// `1.0 KiB in 2 blobs`
pub fn size_in(bytes: u64, blobs: u64) -> String {
    format!("{} in {blobs} {}", size(bytes), if blobs == 1 { "blob" } else { "blobs" })
}

/// What a copy did, on one line.
fn summary(summary: &Summary) -> String {
    let mut text = format!("moved {}", size_in(summary.moved.bytes, summary.moved.blobs));
    for (what, count) in [
        ("resumed after", summary.resumed),
        ("already there", summary.present),
        ("taken over", summary.adopted),
        ("left out", summary.left_out),
    ] {
        if count.blobs > 0 {
            text += &format!(", {what} {} in {}", size(count.bytes), count.blobs);
        }
    }
    text
}

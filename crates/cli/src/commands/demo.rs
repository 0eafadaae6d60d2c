//! `conex demo`: the main job in front of one's eyes. Every step is a command that a person
//! would type, and is run as one.
#![expect(clippy::disallowed_methods, reason = "the demonstration types commands for a person")]

mod files;
mod program;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use clap::Args;

use conex_server::{Access, Config, Log, Server};
use conex_spec::{Error, Kind, Result};

use self::program::Cpu;
use crate::environment;
use crate::output::{Output, size};

/// Show the main job from end to end, with everything in one temporary folder
#[derive(Debug, Args)]
#[command(after_help = "\
It builds an image for two platforms, serves a registry, pushes, pulls, pushes a next version,
pulls what is new, validates, unpacks, and starts the image where runc or crun is there.")]
pub struct Demo {
    /// The folder to work in; without it a new temporary one
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

const CPUS: [Cpu; 2] = [Cpu::Amd64, Cpu::Arm64];

impl Demo {
    pub async fn run(&self, output: &Output) -> Result<()> {
        let dir = self.folder()?;
        let traffic = Arc::new(Traffic::default());
        let mut config = Config::new(dir.join("registry"), ([127, 0, 0, 1], 0).into());
        config.log = traffic.clone();
        let server = Server::bind(config).await?;
        let address = server.local_addr().to_string();
        let service = tokio::spawn(server.run(std::future::pending::<()>()));
        let show = Show { output, dir, address, traffic };
        let shown = tokio::task::block_in_place(|| show.all());
        service.abort();
        shown
    }

    fn folder(&self) -> Result<PathBuf> {
        let dir = match &self.dir {
            Some(dir) => dir.clone(),
            None => {
                environment::temporary_folder().join(format!("conex-demo-{}", std::process::id()))
            }
        };
        fs::create_dir_all(&dir).map_err(|err| Error::making("cannot make folder", &dir, err))?;
        dir.canonicalize().map_err(|err| Error::io("cannot open folder", &dir, err))
    }
}

/// The bytes that the registry sent and received.
#[derive(Default)]
struct Traffic {
    sent: AtomicU64,
    received: AtomicU64,
}

impl Log for Traffic {
    fn access(&self, access: &Access) {
        self.sent.fetch_add(access.sent, Ordering::Relaxed);
        self.received.fetch_add(access.received, Ordering::Relaxed);
    }
}

struct Show<'a> {
    output: &'a Output,
    dir: PathBuf,
    address: String,
    traffic: Arc<Traffic>,
}

impl Show<'_> {
    fn all(&self) -> Result<()> {
        self.say(&format!("All of this happens in {}.", self.dir.display()))?;
        self.say("A registry is served there; a person would type:")?;
        self.say(&format!(
            "$ conex serve --root {} --listen {}",
            self.in_dir("registry"),
            self.address
        ))?;
        self.build(1)?;
        self.push(1)?;
        self.pull("Pull it for this machine's platform: one of the two images moves.")?;
        self.build(2)?;
        self.push(2)?;
        self.pull(
            "Pull again: only the layer that changed moves, with the config and the manifest.",
        )?;
        self.title("Validate what is in the local store: every digest, size and diff ID.")?;
        self.conex(&["images"])?;
        self.conex(&["validate", &self.stored()])?;
        self.title("Unpack it as a bundle for a runtime.")?;
        self.conex(&["unpack", "--bundle", &self.stored(), &self.in_dir("bundle")])?;
        self.start()?;
        self.end()
    }

    fn build(&self, version: u32) -> Result<()> {
        self.title(&format!(
            "Build version {version}: an index of images for two platforms, from folders."
        ))?;
        if version == 1 {
            files::base(&self.dir.join("base"))?;
            files::changes(&self.dir.join("changes"))?;
        }
        let mut index = vec!["index".into(), "create".into(), self.built(version, None)];
        for cpu in CPUS {
            let app = format!("app-{}", cpu.name());
            files::app(&self.dir.join(&app), cpu, version)?;
            let platform = format!("linux/{}", cpu.name());
            let image = self.built(version, Some(cpu));
            let folders = ["base", &app, "changes"].map(|folder| self.in_dir(folder));
            let mut pack = vec!["pack"];
            pack.extend(folders.iter().map(String::as_str));
            pack.extend([image.as_str(), "--whiteouts", "--platform", &platform]);
            pack.extend(["--owner", "0:0"]);
            pack.extend(["--entrypoint", "/bin/hello", "--user", "demo"]);
            self.conex(&pack)?;
            index.push(image);
        }
        self.conex(&index.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn push(&self, version: u32) -> Result<()> {
        self.title("Push it: both platforms, each layer once.")?;
        let before = self.traffic.received.load(Ordering::Relaxed);
        self.conex(&["push", &self.image(), "--from", &self.built(version, None)])?;
        let received = self.traffic.received.load(Ordering::Relaxed) - before;
        self.say(&format!("(the registry received {})", size(received)))
    }

    fn pull(&self, title: &str) -> Result<()> {
        self.title(title)?;
        let before = self.traffic.sent.load(Ordering::Relaxed);
        self.conex(&["pull", &self.image()])?;
        let sent = self.traffic.sent.load(Ordering::Relaxed) - before;
        self.say(&format!("(the registry sent {})", size(sent)))
    }

    fn start(&self) -> Result<()> {
        let found = ["runc", "crun"].iter().find_map(|name| environment::find_program(name));
        let Some(runtime) = found else {
            return self
                .title("No runtime is installed: with runc or crun the image would start now.");
        };
        let bundle = self.in_dir("bundle");
        let root = self.in_dir("runtime");
        let words = ["--root", &root, "run", "--bundle", &bundle, "conex-demo"];
        if !rustix::process::geteuid().is_root() {
            self.title("Start it. A runtime wants to be root for this bundle, so this one is for you to type:")?;
            return self.say(&format!("$ sudo {} {}", runtime.display(), words.join(" ")));
        }
        self.title("Start it.")?;
        self.run(&runtime, &runtime.display().to_string(), &words)
    }

    fn end(&self) -> Result<()> {
        self.title("That was it. What was made stays:")?;
        for (folder, what) in [
            ("registry", "what the registry keeps; `conex serve --root` serves it again"),
            ("store", "the local store; `export CONEX_STORE=` makes it yours"),
            ("build", "the images as an OCI layout"),
            ("bundle", "the unpacked image, in `rootfs`, and the runtime's `config.json`"),
        ] {
            self.say(&format!("  {folder:<8} {what}"))?;
        }
        self.say(&format!("All in {}; remove it when you have seen enough.", self.dir.display()))
    }

    /// Runs conex as a person would.
    fn conex(&self, words: &[&str]) -> Result<()> {
        let program = std::env::current_exe().map_err(|err| {
            Error::new(Kind::Io, "cannot find the program's own file").source(err)
        })?;
        self.run(&program, "conex", words)
    }

    fn run(&self, program: &Path, name: &str, words: &[&str]) -> Result<()> {
        let started = Instant::now();
        self.say(&format!("$ {name} {}", words.join(" ")))?;
        let status = Command::new(program)
            .args(words)
            .env("CONEX_STORE", self.dir.join("store"))
            .stdin(Stdio::null())
            .status()
            .map_err(|err| Error::io("cannot run", program, err))?;
        if !status.success() {
            return Err(Error::new(Kind::Io, format!("`{name} {}` failed", words.join(" ")))
                .found(status)
                .hint("the error above says why"));
        }
        self.say(&format!("({} ms)", started.elapsed().as_millis()))
    }

    fn title(&self, title: &str) -> Result<()> {
        self.say(&format!("\n# {title}"))
    }

    fn say(&self, line: &str) -> Result<()> {
        self.output.print(&format!("{line}\n"))
    }

    fn in_dir(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }

    /// The image in the registry.
    fn image(&self) -> String {
        format!("{}/demo/hello:latest", self.address)
    }

    /// The image in the local store.
    fn stored(&self) -> String {
        format!("store:{}", self.image())
    }

    /// The image, or one platform's part of it, in the layout of builds.
    fn built(&self, version: u32, cpu: Option<Cpu>) -> String {
        let part = cpu.map_or_else(String::new, |cpu| format!("-{}", cpu.name()));
        format!("oci:{}:{version}{part}", self.in_dir("build"))
    }
}

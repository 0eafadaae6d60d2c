//! Docker's registry, as Debian packages it: a real partner.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use conex_testkit::token_server::{CERTIFICATE, TokenServer};
use libtest_mimic::{Failed, Trial};

const PROGRAM: &str = "/usr/bin/docker-registry";

/// A case that needs the registry: ignored where it is missing, and a failure in CI.
pub fn case<F: Future<Output = ()> + 'static>(name: &str, run: fn() -> F) -> Trial {
    let missing = !Path::new(PROGRAM).exists();
    #[allow(clippy::disallowed_methods, reason = "the test harness asks where it runs")]
    let in_ci = std::env::var("CI").is_ok_and(|value| value == "true");
    let trial = Trial::test(name, move || {
        if missing {
            return Err(Failed::from(
                "needs docker-registry; `scripts/install-partners` installs it",
            ));
        }
        tokio::runtime::Runtime::new()?.block_on(run());
        Ok(())
    });
    let kind = if missing { "needs docker-registry" } else { "" };
    trial.with_kind(kind).with_ignored_flag(missing && !in_ci)
}

/// A registry on a port of its own, gone with this value.
pub struct DockerRegistry {
    process: Child,
    dir: tempfile::TempDir,
    pub address: String,
}

/// The user that [`DockerRegistry::start`] lets in where it is asked to want a login.
pub const USER: (&str, &str) = ("bob", "secret");
const HTPASSWD: &str = "bob:$2b$04$jbLPRoLv19V6MxSysg5hqu/LnmQay8Vt3maxnUUdL4fqKtKDiRhuG\n";

impl DockerRegistry {
    /// Starts one, with or without a password.
    pub async fn start(login: bool) -> Self {
        Self::start_with(|dir| {
            let passwords = dir.join("htpasswd");
            std::fs::write(&passwords, HTPASSWD).unwrap();
            let path = passwords.display();
            let auth = format!("auth:\n  htpasswd:\n    realm: test\n    path: {path}\n");
            if login { auth } else { String::new() }
        })
        .await
    }

    /// Starts one that wants tokens of a token server.
    pub async fn start_with_tokens(server: &TokenServer) -> Self {
        Self::start_with(|dir| {
            let certificate = dir.join("certificate.pem");
            std::fs::write(&certificate, CERTIFICATE).unwrap();
            server.docker_config(&certificate)
        })
        .await
    }

    async fn start_with(auth: impl FnOnce(&Path) -> String) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let address = format!("127.0.0.1:{port}");
        let root = dir.path().join("data");
        let mut config = format!(
            "version: 0.1\nlog:\n  level: error\n  accesslog:\n    disabled: true\nstorage:\n  filesystem:\n    rootdirectory: {}\n  delete:\n    enabled: true\nhttp:\n  addr: {address}\n",
            root.display()
        );
        config += &auth(dir.path());
        let file = dir.path().join("config.yml");
        std::fs::write(&file, config).unwrap();
        #[allow(clippy::disallowed_methods, reason = "the partner is a program")]
        let process = Command::new(PROGRAM)
            .arg("serve")
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let registry = Self { process, dir, address };
        for _ in 0..200 {
            if tokio::net::TcpStream::connect(&registry.address).await.is_ok() {
                return registry;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("docker-registry does not listen");
    }

    pub fn reference(&self, name: &str) -> String {
        format!("{}/{name}", self.address)
    }
}

impl Drop for DockerRegistry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = self.dir.path();
    }
}

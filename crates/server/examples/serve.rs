//! Serves a folder: `cargo run --release -p conex-server --example serve -- ROOT [ADDRESS] [log]`.

use std::net::SocketAddr;
use std::sync::Arc;

use conex_server::{Access, Config, Log, Server};

struct Print;

impl Log for Print {
    #[allow(clippy::print_stderr, reason = "an example is a program")]
    fn access(&self, access: &Access) {
        let Access { method, target, status, received, sent, duration, fault, .. } = access;
        let target = target.escape_debug();
        eprintln!("{method} {target} {status} {received} {sent} {duration:?} {fault:?}");
    }
}

#[tokio::main]
#[allow(clippy::print_stdout, reason = "an example is a program")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let root = args.next().ok_or("which folder?")?;
    let listen: SocketAddr = args.next().as_deref().unwrap_or("127.0.0.1:5000").parse()?;
    let mut config = Config::new(root, listen);
    if args.next().is_some() {
        config.log = Arc::new(Print);
    }
    let server = Server::bind(config).await?;
    println!("{}", server.local_addr());
    server.run(tokio::signal::ctrl_c()).await?;
    Ok(())
}

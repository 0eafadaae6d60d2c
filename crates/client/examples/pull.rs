//! Pulls every blob of an image from a registry into a layout and says how long it took.
//!
//! ```sh
//! cargo run --release -p conex-client --example pull -- 127.0.0.1:5000/app DIR
//! ```
#![allow(clippy::print_stdout, reason = "an example is a program")]

use std::time::Instant;

use conex_client::{Client, Options};
use conex_spec::{Descriptor, Error, Kind, Result};
use conex_store::{Layout, Sink, Source, SourceExt};
use futures_util::TryStreamExt;

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(reference), Some(dir)) = (arguments.next(), arguments.next()) else {
        return Err(Error::new(Kind::Usage, "pull REFERENCE DIR"));
    };
    let started = Instant::now();
    let client = Client::new(Options::default());
    let reference = reference.parse()?;
    let repository = client.repository(&reference);
    let root = repository.resolve(Some(&reference.name_or_latest())).await?;
    if dir == "-" {
        for blob in repository.children(&root).await? {
            repository.open(&blob, 0..blob.size).await?.try_for_each(|_| async { Ok(()) }).await?;
        }
    } else {
        let layout = Layout::create(dir.as_ref(), None)?;
        copy(&repository, &root, &layout).await?;
        layout.tag(&root, None).await?;
    }
    println!("{} in {:.3} s", root.digest, started.elapsed().as_secs_f64());
    Ok(())
}

async fn copy(from: &dyn Source, root: &Descriptor, to: &dyn Sink) -> Result<()> {
    for child in from.children(root).await? {
        Box::pin(copy(from, &child, to)).await?;
    }
    // The sink verifies; to read through `fetch` would hash twice.
    to.put(root, from.open(root, 0..root.size).await?).await
}

//! Pushes a file as a layer of an artifact and says how long it took.
//!
//! ```sh
//! cargo run --release -p conex-client --example push -- FILE 127.0.0.1:5000/app [CHUNK]
//! ```
#![allow(clippy::print_stdout, reason = "an example is a program")]

use std::fs::File;
use std::sync::Arc;
use std::time::Instant;

use conex_client::{Client, Options};
use conex_spec::{
    Algorithm, Descriptor, Document, Error, ImageManifest, Kind, MediaType, Result, Tag,
};
use conex_store::Sink;
use conex_store::bridge::{bytes_stream, file_stream};

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(path), Some(reference)) = (arguments.next(), arguments.next()) else {
        return Err(Error::new(Kind::Usage, "push FILE REFERENCE [CHUNK]"));
    };
    let chunk_size = arguments.next().and_then(|size| size.parse().ok());
    let client = Client::new(Options { chunk_size, ..Options::default() });
    let repository = client.repository(&reference.parse()?);
    let mut file = File::open(&path).map_err(|err| Error::io("cannot open", path.as_ref(), err))?;
    let mut hasher = Algorithm::Sha256.hasher();
    let mut buffer = vec![0; 1 << 20];
    let mut size = 0;
    loop {
        let read = std::io::Read::read(&mut file, &mut buffer);
        let read = read.map_err(|err| Error::io("cannot read", path.as_ref(), err))?;
        if read == 0 {
            break;
        }
        hasher.update(&buffer[..read]);
        size += read as u64;
    }
    let layer = Descriptor::new(MediaType::LAYER_GZIP, hasher.finish(), size);
    let started = Instant::now();
    repository.put(&layer, file_stream(Arc::new(file), 0..size, path)).await?;
    println!("layer in {:.3} s", started.elapsed().as_secs_f64());
    let config = Descriptor::empty();
    repository.put(&config, bytes_stream("{}".into(), 0..2)).await?;
    let manifest = Document::new(ImageManifest::new(config, vec![layer]))?;
    let root = manifest.descriptor(MediaType::MANIFEST);
    repository.put(&root, bytes_stream(manifest.bytes().clone(), 0..root.size)).await?;
    repository.tag(&root, Some(&Tag::latest())).await?;
    println!("{}", root.digest);
    Ok(())
}

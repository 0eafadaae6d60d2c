//! `conex validate`: whether all that can be reached from a root is sound. Reads everything,
//! in constant memory, and tells all faults at once.

use std::collections::HashSet;
use std::io::Read;

use serde::Serialize;

use conex_spec::{
    Compression, Descriptor, Digest, Error, ImageConfig, ImageManifest, Kind, Location, Manifest,
    Result,
};
use conex_store::{Source, SourceExt, bridge};
use conex_tar::compression::Decoder;

use crate::open::Context;
use crate::walk::{Graph, walk};

/// What was found.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Where it is.
    pub location: Location,
    /// What was validated.
    pub root: Descriptor,
    /// How many manifests, indexes, configs and layers were read.
    pub checked: u64,
    /// How many bytes were read.
    pub bytes: u64,
    /// The faults, in the order in which they were met.
    pub findings: Vec<Finding>,
}

/// Something that is not sound.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// The content.
    pub digest: Digest,
    /// What is wrong with it.
    pub message: String,
}

/// Validates what a location names.
pub async fn validate(context: &Context, location: &Location) -> Result<Report> {
    let (source, root) = context.resolve(location).await?;
    let graph = walk(source.as_ref(), &root).await?;
    let mut validator = Validator {
        source: source.as_ref(),
        done: HashSet::new(),
        layers: HashSet::new(),
        findings: Vec::new(),
    };
    validator.check_all(&graph).await?;
    Ok(Report {
        location: location.clone(),
        root,
        checked: (graph.manifests.len() + graph.blobs.len()) as u64,
        bytes: graph.size(),
        findings: validator.findings,
    })
}

struct Validator<'a> {
    source: &'a dyn Source,
    done: HashSet<Digest>,
    /// Layers that were uncompressed, each with the diff ID that some config gives it.
    layers: HashSet<(Digest, Digest)>,
    findings: Vec<Finding>,
}

impl Validator<'_> {
    async fn check_all(&mut self, graph: &Graph) -> Result<()> {
        for node in &graph.manifests {
            if let Manifest::Image(image) = node.manifest.value()
                && image.is_image()
            {
                self.check_image(image).await?;
            }
        }
        for blob in &graph.blobs {
            if self.done.insert(blob.digest.clone()) {
                let read = self.read(blob).await;
                self.note(blob, read)?;
            }
        }
        Ok(())
    }

    /// Layers against the diff IDs of the config, which also checks them as blobs.
    async fn check_image(&mut self, image: &ImageManifest) -> Result<()> {
        let config = match self.source.document::<ImageConfig>(&image.config).await {
            Ok(config) => config,
            Err(err) => return self.note(&image.config, Err(err)),
        };
        self.done.insert(image.config.digest.clone());
        let diff_ids = match config.diff_ids(image.layers.len()) {
            Ok(diff_ids) => diff_ids,
            Err(err) => return self.note(&image.config, Err(err)),
        };
        for (layer, diff_id) in image.layers.iter().zip(diff_ids) {
            if let Some(compression) = layer.media_type.compression()
                && self.layers.insert((layer.digest.clone(), diff_id.clone()))
            {
                let checked = self.check_layer(layer, compression, diff_id).await;
                self.note(layer, checked)?;
                self.done.insert(layer.digest.clone());
            }
        }
        Ok(())
    }

    async fn check_layer(
        &self,
        layer: &Descriptor,
        compression: Compression,
        diff_id: &Digest,
    ) -> Result<()> {
        let content = bridge::reader(self.source.fetch(layer).await?);
        let (expected, what) = (diff_id.clone(), layer.digest.short().to_owned());
        bridge::blocking(move || {
            let found = hash_uncompressed(content, compression, &expected).map_err(|err| {
                Error::from_io(err, || format!("layer {what} cannot be decompressed"))
            })??;
            expected
                .check(&found, || format!("layer {what} has another diff ID than the config says"))
        })
        .await
    }

    async fn read(&self, blob: &Descriptor) -> Result<()> {
        let mut content = self.source.fetch(blob).await?;
        while let Some(chunk) = futures_util::StreamExt::next(&mut content).await {
            chunk?;
        }
        Ok(())
    }

    /// What could not be looked at is neither sound nor unsound: that ends the validation.
    fn note(&mut self, blob: &Descriptor, checked: Result<()>) -> Result<()> {
        match checked {
            Ok(()) => Ok(()),
            Err(err) if is_fault_of_content(err.kind()) => {
                let message = err.to_string();
                self.findings.push(Finding { digest: blob.digest.clone(), message });
                Ok(())
            }
            Err(err) => Err(err),
        }
    }
}

fn is_fault_of_content(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Invalid | Kind::Mismatch | Kind::NotFound | Kind::Limit | Kind::Unsupported
    )
}

fn hash_uncompressed(
    content: impl Read,
    compression: Compression,
    expected: &Digest,
) -> std::io::Result<Result<Digest>> {
    let mut hasher = match expected.algorithm() {
        Ok(algorithm) => algorithm.hasher(),
        Err(err) => return Ok(Err(err)),
    };
    let mut decoder = Decoder::new(compression, content)?;
    let mut buffer = vec![0; 256 << 10];
    loop {
        match decoder.read(&mut buffer)? {
            0 => return Ok(Ok(hasher.finish())),
            count => hasher.update(&buffer[..count]),
        }
    }
}

//! An image: what its config says, and its layers beside the history that made them.

use std::io::{self, Read};

use indexmap::IndexMap;
use serde::Serialize;
use serde_json::Value;

use conex_spec::config::{Execution, History, RootFs};
use conex_spec::{
    Annotations, Compression, Descriptor, Digest, Error, ImageConfig, ImageManifest, Platform,
    Result,
};
use conex_store::{Source, SourceExt, bridge};
use conex_tar::compression::Decoder;

use super::{absence, is_of_content, told};

/// A container image.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Image {
    /// The digest of the config, which is what docker calls an image by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<Digest>,
    /// What it runs on.
    pub platform: Platform,
    /// The operating system it runs on.
    pub os: String,
    /// The CPU it runs on.
    pub architecture: String,
    /// The CPU's variant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// When it was made, as RFC 3339 writes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// Who made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// The config: its descriptor, and what a container starts with.
    pub config: Config,
    /// The labels of the config.
    #[serde(skip_serializing_if = "Annotations::is_empty")]
    pub labels: Annotations,
    /// The environment of the config.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// What the config says of its layers.
    #[serde(rename = "rootfs", skip_serializing_if = "Option::is_none")]
    pub root_fs: Option<RootFs>,
    /// The layers, base first.
    pub layers: Vec<Layer>,
    /// How they came to be, base first; entries that made no layer included.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<History>,
    /// Everything else that the config has.
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    pub other: IndexMap<String, Value>,
    /// The size in bytes of all layers as they are stored.
    pub size: u64,
    /// Their size in bytes without compression, where it is known of all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unpacked_size: Option<u64>,
    /// Why the config cannot be shown, where it cannot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
}

/// A config as regctl and docker show it, in one: `.Config.Digest` and `.Config.Env`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Config {
    /// The config, where it is one of a manifest.
    #[serde(flatten)]
    pub descriptor: Option<Descriptor>,
    /// What a container starts with.
    #[serde(flatten)]
    pub execution: Option<Execution>,
}

/// A layer and how it came to be.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Layer {
    /// The layer; a config without its manifest knows only diff IDs.
    #[serde(flatten)]
    pub descriptor: Option<Descriptor>,
    /// The digest of its content without compression, as the config says.
    #[serde(rename = "diffID", skip_serializing_if = "Option::is_none")]
    pub diff_id: Option<Digest>,
    /// Its size in bytes without compression, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unpacked_size: Option<u64>,
    /// The command that made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// When it was made, as RFC 3339 writes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// Why it cannot be read, where that is known: `missing`, or what is wrong with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
}

/// Reads the config of an image. One that is not there is the report's `fault`: a manifest alone
/// is still worth a look.
pub(super) async fn read(source: &dyn Source, manifest: ImageManifest) -> Result<Image> {
    let (config, fault) = match source.document::<ImageConfig>(&manifest.config).await {
        Ok(config) => (Some(config.into_value()), None),
        Err(err) if is_of_content(&err) => (None, Some(told(&err))),
        Err(err) => return Err(err),
    };
    let layers = manifest.layers.into_iter().map(Some).collect();
    let mut image = Image { fault, ..described(config, layers) };
    image.id = Some(manifest.config.digest.clone());
    image.config.descriptor = Some(manifest.config);
    for layer in &mut image.layers {
        if let Some(blob) = &layer.descriptor {
            layer.fault = absence(source, blob).await;
        }
    }
    Ok(image)
}

/// A manifest without its config.
pub(super) fn alone(manifest: ImageManifest) -> Image {
    let mut image = described(None, manifest.layers.into_iter().map(Some).collect());
    image.fault = Some("a file holds the manifest only".into());
    image.id = Some(manifest.config.digest.clone());
    image.config.descriptor = Some(manifest.config);
    image
}

/// An image config by itself.
pub(super) fn of_config(config: ImageConfig) -> Image {
    let layers = config.rootfs.diff_ids.iter().map(|_| None).collect();
    described(Some(config), layers)
}

/// "history MAY have fewer or more entries": those that made a layer stand for the layers, in
/// their order (image-spec, config.md, "Properties").
fn described(config: Option<ImageConfig>, layers: Vec<Option<Descriptor>>) -> Image {
    let config = config.unwrap_or_default();
    let platform = config.platform();
    let mut made = config.history.iter().filter(|entry| !entry.empty_layer);
    let mut diff_ids = config.rootfs.diff_ids.iter();
    let layers: Vec<Layer> = layers
        .into_iter()
        .map(|descriptor| {
            let entry = made.next();
            Layer {
                diff_id: diff_ids.next().cloned(),
                unpacked_size: descriptor.as_ref().and_then(known_size),
                created_by: entry.and_then(|entry| entry.created_by.clone()),
                created: entry.and_then(|entry| entry.created.clone()),
                fault: None,
                descriptor,
            }
        })
        .collect();
    let size = layers.iter().flat_map(|layer| &layer.descriptor).map(|layer| layer.size);
    let execution = config.config.unwrap_or_default();
    Image {
        os: platform.os.clone(),
        architecture: platform.architecture.clone(),
        variant: platform.variant.clone(),
        platform,
        created: config.created,
        author: config.author,
        labels: execution.labels.clone(),
        env: execution.env.clone(),
        config: Config { descriptor: None, execution: Some(execution) },
        root_fs: Some(config.rootfs),
        size: size.fold(0, u64::saturating_add),
        unpacked_size: unpacked(&layers),
        layers,
        history: config.history,
        other: config.extra.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
        ..Image::default()
    }
}

/// Without compression the size is the size; any other is not known before the layer is read:
/// the trailer of gzip speaks of its last member only, and of that modulo 2^32 (RFC 1952, 2.3.1).
fn known_size(layer: &Descriptor) -> Option<u64> {
    (layer.media_type.compression() == Some(Compression::None)).then_some(layer.size)
}

fn unpacked(layers: &[Layer]) -> Option<u64> {
    layers
        .iter()
        .map(|layer| layer.unpacked_size)
        .try_fold(0_u64, |sum, size| sum.checked_add(size?))
}

impl Image {
    /// Reads every layer whose size without compression is not known.
    pub(super) async fn count_unpacked(&mut self, source: &dyn Source) -> Result<()> {
        for layer in &mut self.layers {
            if let (None, Some(blob), None) = (layer.unpacked_size, &layer.descriptor, &layer.fault)
                && let Some(compression) = blob.media_type.compression()
            {
                layer.unpacked_size = Some(count(source, blob, compression).await?);
            }
        }
        self.unpacked_size = unpacked(&self.layers);
        Ok(())
    }
}

async fn count(source: &dyn Source, layer: &Descriptor, compression: Compression) -> Result<u64> {
    let content = bridge::reader(source.fetch(layer).await?);
    let digest = layer.digest.clone();
    bridge::blocking(move || {
        drain(content, compression).map_err(|err| {
            Error::from_io(err, || format!("layer {} cannot be decompressed", digest.short()))
        })
    })
    .await
}

fn drain(content: impl Read, compression: Compression) -> io::Result<u64> {
    let mut decoder = Decoder::new(compression, content)?;
    let mut buffer = vec![0; 256 << 10];
    let mut size = 0;
    loop {
        match decoder.read(&mut buffer)? {
            0 => return Ok(size),
            count => size += count as u64,
        }
    }
}

//! `conex unpack --bundle`: a folder that a runtime starts, with `rootfs` and `config.json`.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use conex_layer::Root;
use conex_layer::unpack::Options;
use conex_spec::{Error, Kind, Location, Platform, Result};
use conex_store::commit::Folder;

use crate::open::Context;
use crate::runtime_config::runtime_config;
use crate::unpack::{Report, load, unpack_image};

/// Unpacks the image that suits `platform` to a bundle. The bundle appears whole, or not at all,
/// and only its owner may enter it: the tree holds set-user-id files (rule U10).
pub async fn bundle(
    context: &Context,
    location: &Location,
    platform: &Platform,
    target: &Path,
    options: Options,
) -> Result<Report> {
    let doing = || format!("cannot unpack {location}");
    let (source, image) =
        load(context, location, platform).await.map_err(|err| err.context(doing()))?;
    let private = Private::beside(target)?;
    let rootfs = private.path.join("rootfs");
    let unpacked = unpack_image(context, &source, &image, &rootfs, options).await;
    let tree = unpacked.map_err(|err| err.context(doing()))?;
    let config = runtime_config(&image.config, &Root::open(&rootfs)?)?;
    let config = serde_json::to_vec_pretty(&config)
        .map_err(|err| Error::invalid("runtime config cannot be printed").source(err))?;
    private.publish(&config, target)?;
    Ok(Report { platform: image.config.platform(), image: image.root, tree })
}

/// A private folder beside the target, gone unless it is published.
struct Private {
    path: PathBuf,
}

impl Private {
    fn beside(target: &Path) -> Result<Self> {
        let link = fs::symlink_metadata(target).is_ok_and(|target| target.is_symlink());
        if link
            || fs::read_dir(target).is_ok_and(|mut entries| entries.next().is_some())
            || target.is_file()
        {
            return Err(Error::new(
                Kind::Conflict,
                format!("{} is there already", target.display()),
            )
            .expected("no such folder, or an empty one")
            .hint("name another folder, or remove this one first"));
        }
        let name = target.file_name().ok_or_else(|| {
            Error::new(Kind::Usage, format!("{} names no folder", target.display()))
        })?;
        let hidden = format!(".{}.conex-{}", name.to_string_lossy(), std::process::id());
        let path = target.with_file_name(hidden);
        DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .map_err(|err| Error::io("cannot make folder", &path, err))?;
        Ok(Self { path })
    }

    fn publish(mut self, config: &[u8], target: &Path) -> Result<()> {
        let folder = Folder::open(&self.path)?;
        folder.write_new("config.json", config)?;
        fs::rename(&self.path, target).map_err(|err| Error::io("cannot publish", target, err))?;
        self.path = PathBuf::new();
        Folder::open(parent(target))?.sync_folder("")
    }
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        if !self.path.as_os_str().is_empty() {
            // What cannot be removed stays in a hidden folder that only its owner can read.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

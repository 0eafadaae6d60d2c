//! The marker file of a layout directory. image-spec, image-layout.md, "oci-layout file".

use serde::{Deserialize, Serialize};

use crate::document::Format;
use crate::error::{Error, Kind, Result};
use crate::extra::Extra;
use crate::strict_json::Shape;

/// The name of the marker file.
pub const MARKER_FILE: &str = "oci-layout";
/// The name of the file that lists what a layout holds.
pub const INDEX_FILE: &str = "index.json";
/// The version that the specification pins.
pub const VERSION: &str = "1.0.0";

/// The content of `oci-layout`, of the type [`MediaType::LAYOUT_HEADER`](crate::MediaType::LAYOUT_HEADER).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LayoutMarker {
    /// `imageLayoutVersion`: the layout's version, always [`VERSION`]. Required.
    pub image_layout_version: String,
    /// "It MAY include additional fields."
    #[serde(flatten)]
    pub extra: Extra,
}

impl Default for LayoutMarker {
    fn default() -> Self {
        Self { image_layout_version: VERSION.into(), extra: Extra::default() }
    }
}

impl Format for LayoutMarker {
    const NAME: &'static str = "layout marker";
    const SHAPE: Shape = Shape::Object(&[("imageLayoutVersion", Shape::Free)]);

    fn check(&self) -> Result<()> {
        if self.image_layout_version == VERSION {
            return Ok(());
        }
        Err(Error::new(Kind::Unsupported, "layout has an unknown version")
            .expected(VERSION)
            .found(&self.image_layout_version))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::Document;

    #[test]
    fn only_the_pinned_version_is_read() {
        let parse = |text: &'static str| Document::<LayoutMarker>::parse(text);
        assert!(parse(r#"{"imageLayoutVersion":"1.0.0","x":1}"#).is_ok());
        assert!(parse(r#"{"imageLayoutVersion":"2.0.0"}"#).is_err());
        assert!(parse("{}").is_err());
    }
}

//! A destination that is only thought of: for what a copy to a place without content would move.

use async_trait::async_trait;

use conex_spec::{Descriptor, Error, Kind, Location, Result, Tag};
use conex_store::source::Place;
use conex_store::{ByteStream, Sink};

/// See the module.
#[derive(Debug)]
pub(crate) struct Nowhere(pub(crate) Location);

impl Place for Nowhere {
    fn location(&self) -> &Location {
        &self.0
    }
}

#[async_trait]
impl Sink for Nowhere {
    async fn has(&self, _blob: &Descriptor) -> Result<bool> {
        Ok(false)
    }

    async fn put(&self, _blob: &Descriptor, _content: ByteStream) -> Result<()> {
        Err(unreal())
    }

    async fn tag(&self, _root: &Descriptor, _tag: Option<&Tag>) -> Result<()> {
        Err(unreal())
    }
}

fn unreal() -> Error {
    Error::new(Kind::Usage, "nothing is written in a dry run")
}

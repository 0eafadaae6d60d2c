//! How much moves at a time: so many blobs, and so many bytes of buffers in all. Many small blobs
//! then hide each other's waiting, and a few large ones fill the line, in the same memory.

use tokio::sync::{Semaphore, SemaphorePermit};

use conex_spec::{Descriptor, Error, Kind, Result};
use conex_store::Sink;

/// What all buffers together may take, in bytes.
const ROOM: u64 = 12 << 20;
/// What one blob on its way takes at most, unless it is large.
const MOST: u64 = 3 << 20;
/// From how many bytes on a blob is large. It fills the line for a while by itself, so that fewer
/// of them need to be under way.
const LARGE: u64 = 8 << 20;
/// What a large blob takes: two are under way at a time, and small ones beside them.
const MOST_OF_LARGE: u64 = 5 << 20;
/// What is counted, in bytes.
const UNIT: u64 = 64 << 10;

#[derive(Debug)]
pub(crate) struct Budget {
    blobs: Semaphore,
    units: Semaphore,
}

impl Budget {
    pub(crate) fn new(jobs: usize, to: &dyn Sink) -> Self {
        Self {
            blobs: Semaphore::new(jobs.min(to.width()).clamp(1, Semaphore::MAX_PERMITS)),
            units: Semaphore::new((ROOM / UNIT) as usize),
        }
    }

    /// The same for files of a folder, of which any number may come at a time.
    pub(crate) fn for_files(jobs: usize) -> Self {
        Self {
            blobs: Semaphore::new(jobs.clamp(1, Semaphore::MAX_PERMITS)),
            units: Semaphore::new((ROOM / UNIT) as usize),
        }
    }

    /// Waits until there is room for a blob; it is given back when the permits are dropped.
    pub(crate) async fn room_for(
        &self,
        blob: &Descriptor,
    ) -> Result<(SemaphorePermit<'_>, SemaphorePermit<'_>)> {
        let closed = |_| Error::new(Kind::Io, "the copy is over");
        let most = if blob.size < LARGE { MOST } else { MOST_OF_LARGE };
        let units = blob.size.min(most).div_ceil(UNIT).max(1);
        let blobs = self.blobs.acquire().await.map_err(closed)?;
        // At most 80, by the constants above.
        let units = self.units.acquire_many(units as u32).await.map_err(closed)?;
        Ok((blobs, units))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use conex_spec::MediaType;
    use conex_store::Memory;

    async fn together(size: u64) -> usize {
        let (budget, mut held) = (Budget::new(12, &Memory::new()), Vec::new());
        let mut blob = Descriptor::of(MediaType::LAYER, b"");
        blob.size = size;
        let soon = std::time::Duration::from_millis(20);
        while let Ok(room) = tokio::time::timeout(soon, budget.room_for(&blob)).await {
            held.push(room.unwrap());
        }
        held.len()
    }

    #[tokio::test]
    async fn many_small_blobs_or_a_few_large_ones() {
        assert_eq!(together(0).await, 12);
        assert_eq!(together(1 << 20).await, 12);
        assert_eq!(together(7 << 20).await, 4);
        assert_eq!(together(u64::MAX).await, 2);
    }
}

//! What a copy did.

use serde::Serialize;

use conex_spec::Descriptor;

/// What a copy did. All sizes are in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Content that moved. The bytes are those that moved now.
    pub moved: Count,
    /// Of what moved, the blobs of which an earlier process had left a part that was gone on with,
    /// and the bytes of these parts.
    pub resumed: Count,
    /// Content that was at the destination already.
    pub present: Count,
    /// Content that the destination took over without moving bytes: mounted, reflinked, linked.
    pub adopted: Count,
    /// Layers that may not be distributed and were left out.
    pub left_out: Count,
    /// What belongs to the images, as referrers and signatures, and came along; it is counted
    /// above too. The bytes are those of the manifests.
    pub referrers: Count,
    /// Roots that the destination already had under all the names.
    pub unchanged: u64,
}

/// How much of something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Count {
    /// How many blobs and manifests.
    pub blobs: u64,
    /// How many bytes.
    pub bytes: u64,
}

impl Count {
    pub(crate) fn add(&mut self, blob: &Descriptor) {
        self.add_bytes(blob.size);
    }

    /// Counts one more of so many bytes.
    pub fn add_bytes(&mut self, size: u64) {
        self.blobs += 1;
        self.bytes = self.bytes.saturating_add(size);
    }
}

/// What became of one blob or manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// So many bytes of it were there from an earlier time.
    Moved {
        resumed: u64,
    },
    Present,
    Adopted,
    LeftOut,
}

impl Summary {
    /// Adds what another copy did.
    pub fn merge(&mut self, other: Self) {
        let counts = [
            (&mut self.moved, other.moved),
            (&mut self.resumed, other.resumed),
            (&mut self.present, other.present),
            (&mut self.adopted, other.adopted),
            (&mut self.left_out, other.left_out),
            (&mut self.referrers, other.referrers),
        ];
        for (sum, count) in counts {
            sum.blobs += count.blobs;
            sum.bytes = sum.bytes.saturating_add(count.bytes);
        }
        self.unchanged += other.unchanged;
    }

    pub(crate) fn count(&mut self, blob: &Descriptor, outcome: Outcome) {
        match outcome {
            Outcome::Moved { resumed } => {
                self.moved.add_bytes(blob.size.saturating_sub(resumed));
                if resumed > 0 {
                    self.resumed.add_bytes(resumed);
                }
            }
            Outcome::Present => self.present.add(blob),
            Outcome::Adopted => self.adopted.add(blob),
            Outcome::LeftOut => self.left_out.add(blob),
        }
    }
}

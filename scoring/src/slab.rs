//! The state of one stream of one model: a fixed stride of bytes for every device slot. All zeros: never seen.

/// One stream's state, by device slot.
#[derive(Clone, Debug)]
pub(crate) struct Slab {
    stride: usize,
    bytes: Vec<u8>,
}

impl Slab {
    pub(crate) fn new(stride: usize) -> Self {
        Self { stride, bytes: Vec::new() }
    }

    pub(crate) fn from_bytes(stride: usize, bytes: Vec<u8>) -> Self {
        Self { stride, bytes }
    }

    pub(crate) fn stride(&self) -> usize {
        self.stride
    }

    /// Appends the slot's bytes.
    #[inline]
    pub(crate) fn gather(&self, slot: u32, into: &mut Vec<u8>) {
        let at = slot as usize * self.stride;
        match self.bytes.get(at..at + self.stride) {
            Some(bytes) => into.extend_from_slice(bytes),
            None => into.resize(into.len() + self.stride, 0),
        }
    }

    /// Replaces the slot's bytes.
    #[inline]
    pub(crate) fn scatter(&mut self, slot: u32, bytes: &[u8]) {
        let at = slot as usize * self.stride;
        let end = at + self.stride;
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        self.bytes[at..end].copy_from_slice(bytes);
    }

    /// Forgets the slot.
    pub(crate) fn clear(&mut self, slot: u32) {
        let at = slot as usize * self.stride;
        if let Some(bytes) = self.bytes.get_mut(at..at + self.stride) {
            bytes.fill(0);
        }
    }

    /// Slots that were seen, with their bytes.
    pub(crate) fn seen(&self) -> impl Iterator<Item = (u32, &[u8])> {
        // Of a model without state there is nothing to be seen, and chunks of nothing cannot be had.
        let chunks = self.bytes.chunks_exact(self.stride.max(1));
        (0..).zip(chunks).filter(|(_, bytes)| bytes.iter().any(|byte| *byte != 0))
    }

    /// All bytes up to the last slot that was seen: the same for the same states, whatever happened in between.
    pub(crate) fn trimmed(&self) -> &[u8] {
        let used = self.bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        &self.bytes[..used.next_multiple_of(self.stride.max(1)).min(self.bytes.len())]
    }
}

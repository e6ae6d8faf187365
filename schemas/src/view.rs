//! A reading borrowed from the bytes it came in, or from a decoder's scratch: what the hot path works on.
//!
//! Invariants: every field has passed the grammar of [`crate::grammar`]; names are unique; measurements and tags
//! are in the order they were sent; nothing is allocated once the scratch has grown to its size.

use crate::Micros;
use crate::record::{Measured, Reading};
use crate::usual::Layout;
use std::sync::Arc;

/// A piece of the text that a view borrows from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    start: u32,
    end: u32,
}

impl Span {
    /// A reading is at most `reading_bytes_max` long, far below 4 GiB; a greater index saturates to nothing.
    #[inline]
    pub(crate) fn new(start: usize, end: usize) -> Self {
        let narrow = |index| u32::try_from(index).unwrap_or(u32::MAX);
        Self { start: narrow(start), end: narrow(end) }
    }

    #[inline]
    pub(crate) fn of(self, text: &str) -> &str {
        text.get(self.start as usize..self.end as usize).unwrap_or_default()
    }
}

impl Span {
    /// The same piece of the text's bytes.
    #[inline]
    pub(crate) fn bytes_of(self, text: &[u8]) -> &[u8] {
        text.get(self.start as usize..self.end as usize).unwrap_or_default()
    }
}

/// The parts of a reading as spans of a text; kept from reading to reading.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    pub(crate) device_id: Span,
    pub(crate) event_time: Option<Micros>,
    pub(crate) seq: Option<i64>,
    pub(crate) boot: Option<Span>,
    pub(crate) measurements: Vec<(Span, Measured)>,
    pub(crate) tags: Vec<(Span, Span)>,
}

impl Parts {
    pub(crate) fn clear(&mut self) {
        self.device_id = Span::default();
        self.event_time = None;
        self.seq = None;
        self.boot = None;
        self.measurements.clear();
        self.tags.clear();
    }

    /// Whether a measurement or tag of that name is there already.
    pub(crate) fn contains(&self, name: &[u8], text: &[u8]) -> bool {
        self.measurements.iter().any(|(known, _)| known.bytes_of(text) == name)
            || self.tags.iter().any(|(known, _)| known.bytes_of(text) == name)
    }
}

/// Names seen so far, by a filter that never misses one: most new names need no comparison at all.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen([u64; 4]);

impl Seen {
    /// False: certainly new. True: compare.
    #[inline]
    pub(crate) fn insert(&mut self, name: &[u8]) -> bool {
        let length = name.len();
        let at = |index: usize| name.get(index).copied().map_or(0, usize::from);
        let hash = at(0)
            + 31 * at(length.wrapping_sub(1))
            + 131 * at(length.wrapping_sub(2))
            + 17 * length
            + 7 * at(length / 2);
        let (word, bit) = (hash / 64 % 4, 1_u64 << (hash % 64));
        let seen = self.0[word] & bit != 0;
        self.0[word] |= bit;
        seen
    }
}

/// Bytes that were checked to be text.
#[inline]
fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

/// A reading, borrowed.
#[derive(Clone, Copy, Debug)]
pub struct ReadingView<'d> {
    /// What names are pieces of.
    text: &'d str,
    /// What device id, boot and tags' values are pieces of.
    values: &'d [u8],
    parts: &'d Parts,
    layout: Option<&'d Arc<Layout>>,
}

impl<'d> ReadingView<'d> {
    #[inline]
    pub(crate) const fn new(text: &'d str, parts: &'d Parts) -> Self {
        Self { text, values: text.as_bytes(), parts, layout: None }
    }

    #[inline]
    pub(crate) fn of_layout(layout: &'d Arc<Layout>, values: &'d [u8], parts: &'d Parts) -> Self {
        Self { text: &layout.text, values, parts, layout: Some(layout) }
    }

    /// The layout of its names, if it is one that the decoder knows: the same for all that share it.
    #[inline]
    #[must_use]
    pub const fn layout(&self) -> Option<&'d Arc<Layout>> {
        self.layout
    }

    /// See [`Reading::device_id`].
    #[must_use]
    pub fn device_id(&self) -> &'d str {
        text(self.parts.device_id.bytes_of(self.values))
    }

    /// [`ReadingView::device_id`] as bytes: the quick way to compare.
    #[inline]
    #[must_use]
    pub fn device_id_bytes(&self) -> &'d [u8] {
        self.parts.device_id.bytes_of(self.values)
    }

    /// See [`Reading::event_time`].
    #[must_use]
    pub const fn event_time(&self) -> Option<Micros> {
        self.parts.event_time
    }

    /// See [`Reading::seq`].
    #[must_use]
    pub const fn seq(&self) -> Option<i64> {
        self.parts.seq
    }

    /// See [`Reading::boot`].
    #[must_use]
    pub fn boot(&self) -> Option<&'d str> {
        self.parts.boot.map(|span| text(span.bytes_of(self.values)))
    }

    /// Measurements in the order they were sent.
    #[must_use]
    pub fn measurements(&self) -> impl ExactSizeIterator<Item = (&'d str, Measured)> + Clone + use<'d> {
        let text = self.text;
        self.parts.measurements.iter().map(move |(name, measured)| (name.of(text), *measured))
    }

    /// What stands at a place among the measurements.
    #[inline]
    #[must_use]
    pub fn measured(&self, place: usize) -> Option<Measured> {
        self.parts.measurements.get(place).map(|(_, measured)| *measured)
    }

    /// Text fields in the order they were sent.
    #[must_use]
    pub fn tags(&self) -> impl ExactSizeIterator<Item = (&'d str, &'d str)> + Clone + use<'d> {
        let (names, values) = (self.text, self.values);
        self.parts.tags.iter().map(move |(name, value)| (name.of(names), text(value.bytes_of(values))))
    }

    /// A reading of its own.
    #[must_use]
    pub fn to_owned(&self) -> Reading {
        Reading {
            device_id: self.device_id().to_owned(),
            event_time: self.event_time(),
            seq: self.seq(),
            boot: self.boot().map(str::to_owned),
            measurements: self.measurements().map(|(name, measured)| (name.to_owned(), measured)).collect(),
            tags: self.tags().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        }
    }
}

//! What happened, owned and comparable: numbers by their bits, so that -0.0 is not 0.0.

use std::fmt;

use windowing::api::{Emission, Kind, Micros, ScoreStats, Sequence, Sink, Slot, Stats, Taken};

/// A number that equals only itself, bit by bit.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bits(u64);

impl From<f64> for Bits {
    fn from(number: f64) -> Self {
        Self(number.to_bits())
    }
}

impl From<Bits> for f64 {
    fn from(bits: Bits) -> Self {
        Self::from_bits(bits.0)
    }
}

impl fmt::Debug for Bits {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{:?}", f64::from_bits(self.0))
    }
}

/// One row that came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) slot: u32,
    pub(crate) metric: u16,
    pub(crate) window: u16,
    pub(crate) name: String,
    pub(crate) start: Micros,
    pub(crate) end: Micros,
    pub(crate) revision: u32,
    pub(crate) kind: Kind,
    pub(crate) newest: bool,
    pub(crate) first: bool,
    /// Values, nulls.
    pub(crate) counts: [u64; 2],
    /// Sum, min, max, first, last, mean, m2.
    pub(crate) numbers: [Bits; 7],
    /// Count, alerts, failed; mean, max; for each model.
    pub(crate) scores: Vec<([u64; 3], [Bits; 2])>,
    pub(crate) contributed_at: Micros,
}

impl Row {
    pub(crate) fn of(emission: &Emission<'_>) -> Self {
        let Stats { count, nulls, sum, min, max, first, last, mean, m2 } = emission.stats;
        let score = |score: &ScoreStats| {
            ([score.count, score.alerts, score.failed], [score.mean.into(), score.max.into()])
        };
        Self {
            slot: emission.slot.0,
            metric: emission.metric.0,
            window: emission.window,
            name: emission.window_name.to_owned(),
            start: emission.start,
            end: emission.end,
            revision: emission.revision,
            kind: emission.kind,
            newest: emission.newest,
            first: emission.first,
            counts: [count, nulls],
            numbers: [sum, min, max, first, last, mean, m2].map(Bits::from),
            scores: emission.scores.iter().map(score).collect(),
            contributed_at: emission.contributed_at,
        }
    }
}

/// One thing that happened, or one answer that was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Row(Row),
    Evicted(u32, String),
    Seen(Sequence),
    Taken(Taken),
    PaneLimit(u32),
    DeviceLimit(u32),
}

/// Collects them.
#[derive(Debug, Default)]
pub(crate) struct Events(pub(crate) Vec<Event>);

impl Sink for Events {
    fn emit(&mut self, emission: Emission<'_>) {
        self.0.push(Event::Row(Row::of(&emission)));
    }

    fn evict(&mut self, slot: Slot, device: &str) {
        self.0.push(Event::Evicted(slot.0, device.to_owned()));
    }
}

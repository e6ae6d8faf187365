//! Everything a partition knows: a pure function of its log.
//!
//! Lives here: what is kept, and its bytes in a snapshot. How it changes is in `step`.
//!
//! Invariants:
//! * No clock, no I/O, no randomness, no order of a hash map.
//! * State is never rolled back; it is thrown away and folded again.
//! * [`PartitionState::save`] then [`PartitionState::load`] behaves the same to the byte.

mod books;
mod bytes;
mod contests;
mod fleet;
mod models;
mod names;
mod plan;
mod rules;
mod saving;

pub(crate) use books::Books;
pub use bytes::Damaged;
pub(crate) use contests::Contests;
pub(crate) use fleet::{Entry, Fleet, Repeat, Version};
pub(crate) use models::Numbers;
pub(crate) use names::Names;
pub(crate) use plan::How;
pub use rules::TooManyNames;
pub(crate) use rules::{Check, Rules, settings};
pub use saving::LoadError;
pub(crate) use saving::{FORMAT, canonical};

use crate::outputs::{Chain, Outputs};
use crate::step::{Closed, Measure, Queue};
use journal::port::NewRecord;
use schemas::Micros;
use schemas::pipeline::Pipeline;
use schemas::record::{Aggregate, DeviceSummary, EmissionKind, Totals, TrialCounts};
use scoring::{Lane, ModelSet};
use windowing::api::{DeviceState, Footprint, Slot, Value};
use windowing::partition::Partition;

/// One partition's state.
pub struct PartitionState {
    pub(crate) core: Core,
    pub(crate) lane: Lane,
    pub(crate) queue: Queue,
}

impl std::fmt::Debug for PartitionState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mark = self.mark();
        f.debug_struct("PartitionState").field("partition", &self.partition()).field("mark", &mark).finish()
    }
}

/// What is left when models and the readings that wait for them are looked at separately.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) partition: u32,
    pub(crate) partitions: u32,
    /// Next offset.
    pub(crate) position: i64,
    /// Running maximum of receipt times.
    pub(crate) receipt_now: Micros,
    pub(crate) write_clock: Micros,
    pub(crate) chain: Chain,
    pub(crate) books: Books,
    pub(crate) rules: Rules,
    pub(crate) names: Names,
    pub(crate) models: Numbers,
    pub(crate) contests: Contests,
    pub(crate) fleet: Fleet,
    pub(crate) windows: Partition,
    /// Before this receipt time no device is evicted; not part of what is saved.
    pub(crate) evictions_from: Micros,
    /// Ranges of offsets whose readings are not scored, by decision.
    pub(crate) skips: Vec<(i64, i64)>,
    /// Windows that wait for their scores; nothing at a cut.
    pub(crate) closed: Closed,
    pub(crate) scratch: Scratch,
}

/// Buffers that are kept from record to record.
#[derive(Debug)]
pub(crate) struct Scratch {
    pub(crate) measured: Vec<Measure>,
    pub(crate) values: Vec<Value<'static>>,
    pub(crate) aggregate: Aggregate,
    pub(crate) evicted: Vec<Slot>,
    /// Of the reading that was judged last, if it may be repeated.
    pub(crate) repeat: Option<Repeat>,
}

impl Default for Scratch {
    fn default() -> Self {
        Self {
            measured: Vec::new(),
            values: Vec::new(),
            evicted: Vec::new(),
            repeat: None,
            aggregate: Aggregate {
                device_id: String::new(),
                metric: String::new(),
                window: String::new(),
                start: 0,
                end: 0,
                revision: 0,
                kind: EmissionKind::Early,
                newest: false,
                count: 0,
                nulls: 0,
                sum: None,
                min: None,
                max: None,
                first: None,
                last: None,
                mean: None,
                m2: None,
                merged_into: None,
                device: Some(DeviceSummary::default()),
                scores: Vec::new(),
                contributed_at: 0,
                generation: 0,
                write_clock: 0,
            },
        }
    }
}

/// What is published with a committed position, besides the outputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Next offset.
    pub position: i64,
    /// Configuration in force.
    pub generation: i64,
    /// Chained digest of all outputs so far.
    pub digest: Chain,
    /// Write clock.
    pub write_clock: Micros,
    /// Running maximum of receipt times.
    pub receipt_now: Micros,
}

impl PartitionState {
    /// A partition of which nothing has been read; `position` is the first offset there is.
    #[must_use]
    pub fn new(partition: u32, partitions: u32, position: i64) -> Self {
        Self {
            core: Core {
                partition,
                partitions,
                position,
                receipt_now: 0,
                write_clock: 0,
                chain: Chain::default(),
                books: Books { counted_from: position, ..Books::default() },
                rules: Rules::none(),
                names: Names::default(),
                models: Numbers::default(),
                contests: Contests::default(),
                fleet: Fleet::default(),
                windows: Partition::new(),
                evictions_from: Micros::MIN,
                skips: Vec::new(),
                closed: Closed::default(),
                scratch: Scratch::default(),
            },
            lane: Lane::new(&ModelSet::none()).of_partition(partition),
            queue: Queue::default(),
        }
    }

    /// Partition of `iot.raw`.
    #[must_use]
    pub fn partition(&self) -> u32 {
        self.core.partition
    }

    /// Next offset to be stepped.
    #[must_use]
    pub fn position(&self) -> i64 {
        self.core.position
    }

    /// What is published with the position; readings that wait for their scores are not in it.
    #[must_use]
    pub fn mark(&self) -> Mark {
        Mark {
            position: self.core.position,
            generation: self.core.rules.generation,
            digest: self.core.chain,
            write_clock: self.core.write_clock,
            receipt_now: self.core.receipt_now,
        }
    }

    /// The books.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.core.books.totals()
    }

    /// What versions on trial have done.
    #[must_use]
    pub fn trials(&self) -> Vec<TrialCounts> {
        if self.core.contests.is_empty() {
            return Vec::new();
        }
        self.core.contests.published(&self.lane.counters())
    }

    /// First offset counted, and offsets that retention took unread.
    #[must_use]
    pub fn counted(&self) -> (i64, i64) {
        (self.core.books.counted_from, self.core.books.lost)
    }

    /// Partitions of `iot.raw`.
    #[must_use]
    pub fn partitions(&self) -> u32 {
        self.core.partitions
    }

    /// Values that no window took because the device or the partition had as many names as it may have.
    #[must_use]
    pub fn unnamed_values(&self) -> i64 {
        self.core.books.unnamed_values
    }

    /// Notes that retention took a range before it could be read.
    pub(crate) fn note_lost(&mut self, from: i64, to: i64) {
        if to > from {
            self.core.books.lost += to - from;
            self.core.position = to;
        }
    }

    /// Leaves out what cannot be folded again.
    pub(crate) fn jump(&mut self, to: i64) {
        self.core.position = to;
    }

    /// Goes on from what was committed where the state itself cannot be exact.
    pub(crate) fn adopt(&mut self, mark: &Mark, totals: Option<&Totals>) {
        let core = &mut self.core;
        core.position = mark.position;
        core.chain = mark.digest;
        core.write_clock = core.write_clock.max(mark.write_clock);
        core.receipt_now = core.receipt_now.max(mark.receipt_now);
        if let Some(totals) = totals {
            core.books.adopt(totals, mark.position);
        }
    }

    /// The configuration in force.
    #[must_use]
    pub fn pipeline(&self) -> Option<&Pipeline> {
        self.core.rules.pipeline.as_deref()
    }

    /// Readings of these offsets are not scored.
    pub fn skip_scoring(&mut self, ranges: &[(i64, i64)]) {
        for range in ranges {
            if !self.core.skips.contains(range) {
                self.core.skips.push(*range);
            }
        }
    }

    /// When to look again whether something happens if nothing arrives: at or before `by` exactly if something is due
    /// by then, else some time after `by` and never later than the first deadline.
    #[must_use]
    pub fn wake_at(&mut self, by: Micros) -> Option<Micros> {
        let windows = self.core.windows.wake_at(by);
        let stalled = self.core.fleet.stall_deadline();
        windows.into_iter().chain(stalled).min()
    }

    /// Gives the waiting outputs their clock and digest and returns them finished; nothing may wait for scores.
    pub fn seal(&mut self, out: &mut Outputs, to: Option<&mut Vec<NewRecord>>) {
        debug_assert!(
            self.queue.is_empty() && self.core.closed.is_empty(),
            "a cut never splits a scoring batch"
        );
        let Core { partition, write_clock, chain, books, .. } = &mut self.core;
        out.seal(*partition, write_clock, chain, books, to);
    }

    /// One device's clock and open panes.
    #[must_use]
    pub fn explain(&self, device: &str) -> Option<(DeviceState, Option<Micros>)> {
        let slot = self.core.windows.find(device)?;
        Some((self.core.windows.explain(slot), self.core.fleet.entry(slot).last_receipt()))
    }

    /// Device ids after `after` in alphabetical order, at most so many.
    #[must_use]
    pub fn device_ids(&self, after: &str, limit: usize) -> Vec<String> {
        let mut ids: Vec<&str> = self.core.fleet.ids().map(|(_, id)| id).filter(|id| *id > after).collect();
        ids.sort_unstable();
        ids.truncate(limit);
        ids.into_iter().map(str::to_owned).collect()
    }

    /// Devices known.
    #[must_use]
    pub fn devices(&self) -> usize {
        self.core.fleet.len()
    }

    /// Name of a metric that windows speak of by number.
    #[must_use]
    pub fn metric_name(&self, metric: windowing::api::Metric) -> &str {
        self.core.names.name(metric)
    }

    /// Panes open.
    #[must_use]
    pub fn panes(&self) -> u32 {
        self.core.windows.panes()
    }

    /// Memory and panes of the windows.
    #[must_use]
    pub fn footprint(&self) -> Footprint {
        self.core.windows.footprint()
    }

    /// Offsets of the oldest and the youngest record of which something waits for its scores.
    pub(crate) fn waiting(&self) -> Option<(i64, i64)> {
        let ranges = [self.queue.range(), self.core.closed.range()];
        ranges.into_iter().flatten().reduce(|one, other| (one.0.min(other.0), one.1.max(other.1)))
    }

    /// Readings before the position that wait for their scores: they have no outcome yet.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.queue.readings()
    }

    /// Every measurement name, by number.
    #[must_use]
    pub fn metric_names(&self) -> Vec<String> {
        self.core.names.all().map(str::to_owned).collect()
    }
}

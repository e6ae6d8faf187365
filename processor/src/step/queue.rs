//! Readings on their way through the models: classified, not yet in any window.
//!
//! The queue holds every record since the oldest waiting reading, also those that only let time pass, so that timers
//! fire between the same records whatever the size of a batch.

use super::letters::{Rounds, Source};
use super::reading::Measure;
use super::scores::Scores;
use super::take::Taking;
use super::{Halt, take::Mark};
use crate::outputs::Outputs;
use crate::state::{Core, PartitionState, Repeat};
use schemas::Micros;
use schemas::codec::Codec;
use schemas::raw::{RawDecoder, RawView};
use scoring::{Flushed, Input, Lane, ModelSet, Row};
use windowing::api::{Slot, Value};

/// Records that wait at most.
const ITEMS_MAX: usize = 4_096;
/// Bytes of their keys and values at most.
const BYTES_MAX: usize = 4 << 20;

/// What waits.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    items: Vec<Item>,
    measured: Vec<Measure>,
    bytes: Vec<u8>,
    inputs: Vec<Input>,
    /// Models that the reading at hand is not for, by index; empty: none.
    pub(super) without: Vec<bool>,
    /// The same of the waiting readings.
    unrouted: Vec<bool>,
    flushed: Flushed,
    scores: Scores,
    /// Where the verdicts of each waiting reading begin.
    starts: Vec<usize>,
    /// Panes that the waiting readings may add at most.
    panes_max: u64,
    /// The last reading may meet the limit of panes: nothing may be judged before it is folded.
    near_limit: bool,
}

#[derive(Debug)]
enum Item {
    /// Nothing is left of a record but its receipt time, and that its device has spoken.
    Pass { offset: i64, receipt: Micros, heard: Option<Slot> },
    /// A reading.
    Reading(Waiting),
}

/// A waiting reading; its bytes and values lie in the queue's buffers.
#[derive(Debug)]
struct Waiting {
    slot: Slot,
    /// Known of those that may be refused only: asking costs as much as half of a step.
    redriven: i32,
    offset: i64,
    receipt: Micros,
    received_at: Micros,
    event_time: Micros,
    restamped: bool,
    row: Option<Row>,
    mark: Option<(Option<Span>, i64)>,
    repeat: Option<Repeat>,
    measured: Span,
    unrouted: Span,
    key: Span,
    value: Span,
}

/// A piece of a buffer of the queue; buffers are far smaller than 4 GiB.
#[derive(Clone, Copy, Debug)]
struct Span {
    start: u32,
    end: u32,
}

impl Span {
    fn new(start: usize, end: usize) -> Self {
        let narrow = |at| u32::try_from(at).expect("the queue's buffers have bounds");
        Self { start: narrow(start), end: narrow(end) }
    }

    fn of<T>(self, buffer: &[T]) -> &[T] {
        &buffer[self.start as usize..self.end as usize]
    }
}

impl Queue {
    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Readings that wait.
    pub(crate) fn readings(&self) -> usize {
        self.items.iter().filter(|item| matches!(item, Item::Reading(_))).count()
    }

    /// Offsets of the oldest and the youngest waiting reading.
    pub(crate) fn range(&self) -> Option<(i64, i64)> {
        let mut offsets = self.items.iter().filter_map(|item| match item {
            Item::Reading(waiting) => Some(waiting.offset),
            Item::Pass { .. } => None,
        });
        let first = offsets.next()?;
        Some((first, offsets.next_back().unwrap_or(first)))
    }

    fn store(&mut self, bytes: &[u8]) -> Span {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        Span::new(start, self.bytes.len())
    }

    fn clear(&mut self) {
        self.items.clear();
        self.measured.clear();
        self.unrouted.clear();
        self.bytes.clear();
        self.panes_max = 0;
        self.near_limit = false;
    }
}

impl PartitionState {
    /// Lets a record's receipt time pass, in its place.
    pub(super) fn pass(&mut self, offset: i64, receipt: Micros, heard: Option<Slot>, out: &mut Outputs) {
        if self.queue.is_empty() {
            self.core.pass(offset, receipt, &mut self.lane, out);
            if let Some(slot) = heard {
                self.core.fleet.touch(slot, receipt);
            }
        } else {
            self.queue.items.push(Item::Pass { offset, receipt, heard });
        }
    }

    /// Whether the next reading can be judged while others wait.
    pub(super) fn must_flush(&self, value_bytes: usize) -> bool {
        let queue = &self.queue;
        !queue.is_empty()
            && (queue.near_limit
                || queue.items.len() >= ITEMS_MAX
                || queue.bytes.len() + value_bytes > BYTES_MAX
                || !self.lane.fits(super::reading::VALUES_MAX))
    }

    /// Whether so many values may take the partition to its limit of panes; judged against what waits.
    fn nears_limit(&self, values: usize) -> bool {
        let Some(pipeline) = self.core.rules.pipeline.as_ref() else { return false };
        let windows = &self.core.windows;
        let more = u64::from(windows.panes_of_reading_max(values)) + self.queue.panes_max;
        u64::from(windows.panes()) + more > u64::from(pipeline.limits.panes_max)
    }

    /// Whether what waits must be folded before a reading of so many values can be queued.
    pub(super) fn must_flush_for_panes(&self, values: usize) -> bool {
        !self.queue.is_empty() && self.nears_limit(values)
    }

    /// Queues a classified reading: its values are in the scratch.
    pub(super) fn enqueue(&mut self, taking: &Taking<'_>, skipped: bool) -> Result<(), Halt> {
        let values = self.core.scratch.measured.iter().filter(|measure| measure.aggregated).count();
        let near_limit = self.nears_limit(values);
        let panes = u64::from(self.core.windows.panes_of_reading_max(values));
        let row = if skipped { None } else { self.push_row(taking)? };
        let queue = &mut self.queue;
        let start = queue.measured.len();
        queue.measured.extend_from_slice(&self.core.scratch.measured);
        let unrouted = Span::new(queue.unrouted.len(), queue.unrouted.len() + queue.without.len());
        queue.unrouted.extend_from_slice(&queue.without);
        let mut mark = taking.mark;
        if !near_limit {
            // It cannot be refused any more: those behind it may be compared with it at once.
            self.core.remember(taking.slot, taking.event_time, mark.take(), taking.repeat);
        }
        let mark = mark.map(|Mark { boot, seq }| (boot.map(|boot| queue.store(boot.as_bytes())), seq));
        let waiting = Waiting {
            slot: taking.slot,
            offset: taking.source.offset,
            receipt: taking.receipt,
            received_at: taking.source.received_at,
            event_time: taking.event_time,
            restamped: taking.restamped,
            redriven: if near_limit { taking.source.rounds.count() } else { 0 },
            row,
            mark,
            repeat: taking.repeat.filter(|_| near_limit),
            measured: Span::new(start, queue.measured.len()),
            unrouted,
            key: queue.store(taking.source.key.unwrap_or_default()),
            value: queue.store(taking.source.value),
        };
        queue.panes_max += panes;
        queue.near_limit = near_limit;
        queue.items.push(Item::Reading(waiting));
        Ok(())
    }

    /// Gives the models that the reading is for its values.
    fn push_row(&mut self, taking: &Taking<'_>) -> Result<Option<Row>, Halt> {
        let inputs = &mut self.queue.inputs;
        inputs.clear();
        let measured = &self.core.scratch.measured;
        inputs.extend(measured.iter().map(|m| Input { metric: m.metric.0, value: m.value }));
        let names = &self.core.names;
        let reading = scoring::Reading {
            slot: taking.slot.0,
            event_time: taking.event_time,
            offset: taking.source.offset,
            values: inputs,
        };
        let name_of = |metric| names.name(windowing::api::Metric(metric));
        let pushed = self.lane.push_routed(&reading, &self.queue.without, name_of);
        // `must_flush` has asked whether it fits.
        pushed.map(Some).map_err(|why| Halt::Braked(why.to_string()))
    }

    /// Scores what waits and folds it, in log order; then scores the windows that were closed.
    pub(super) fn flush(
        &mut self,
        codec: &Codec,
        again: &mut RawDecoder,
        out: &mut Outputs,
    ) -> Result<(), Halt> {
        if !self.queue.is_empty() {
            self.fold_queue(codec, again, out)?;
        }
        self.score_closed(out)
    }

    fn fold_queue(&mut self, codec: &Codec, again: &mut RawDecoder, out: &mut Outputs) -> Result<(), Halt> {
        let Self { core, lane, queue } = self;
        lane.flush(&mut queue.flushed).map_err(|why| Halt::Braked(why.to_string()))?;
        queue.summarize(core, lane.models());
        queue.fold(core, lane, codec, again, out);
        core.books.scored += queue.scores.counts.0;
        core.books.scoring_failed += queue.scores.counts.1;
        queue.clear();
        Ok(())
    }
}

impl Queue {
    /// Brings the verdicts into the form that windows take.
    fn summarize(&mut self, core: &mut Core, set: &ModelSet) {
        self.scores.begin(core.models.width());
        self.starts.clear();
        for item in &self.items {
            if let Item::Reading(waiting) = item {
                let measured = waiting.measured.of(&self.measured);
                if let (Some(row), false) = (waiting.row, core.contests.is_empty()) {
                    (0..measured.len())
                        .for_each(|value| core.contests.count(self.flushed.verdicts(row, value)));
                }
                let (models, id) = ((set, &core.models), &core.fleet.entry(waiting.slot).id);
                let start = match waiting.row {
                    Some(row) => self.scores.add(&self.flushed, row, measured.len(), models, id),
                    None => {
                        let names: Vec<&str> = measured.iter().map(|m| core.names.name(m.metric)).collect();
                        let unrouted = waiting.unrouted.of(&self.unrouted);
                        self.scores.add_skipped(models, &names, unrouted, id)
                    }
                };
                self.starts.push(start);
            }
        }
    }

    /// Folds what waits, in log order.
    fn fold(
        &self,
        core: &mut Core,
        lane: &mut Lane,
        codec: &Codec,
        again: &mut RawDecoder,
        out: &mut Outputs,
    ) {
        let mut values: Vec<Value<'_>> = Vec::new();
        let mut starts = self.starts.iter();
        for item in &self.items {
            let waiting = match item {
                Item::Pass { offset, receipt, heard } => {
                    core.pass(*offset, *receipt, lane, out);
                    if let Some(slot) = heard {
                        core.fleet.touch(*slot, *receipt);
                    }
                    continue;
                }
                Item::Reading(waiting) => waiting,
            };
            core.pass(waiting.offset, waiting.receipt, lane, out);
            let start = *starts.next().expect("each waiting reading has its verdicts");
            let measured = waiting.measured.of(&self.measured);
            values.clear();
            for (place, measure) in measured.iter().enumerate().filter(|(_, measure)| measure.aggregated) {
                let scores = self.scores.of(start, place);
                values.push(Value { metric: measure.metric, value: measure.value, scores });
            }
            let taking = self.taking(waiting);
            let taken =
                core.take(&taking, &values, out, || match again.decode(codec, taking.source.value, true) {
                    Ok(RawView::Reading(view)) => Some(view.to_owned()),
                    _ => None,
                });
            match (taken, waiting.row) {
                (false, _) => {}
                (true, Some(row)) => {
                    core.publish_scores(&taking, row, measured, &self.flushed, lane.models(), out);
                }
                (true, None) => {
                    let detail = "a decision keeps this range from the models".to_owned();
                    core.scoring_letter(&taking, detail, out);
                }
            }
        }
    }

    fn taking<'q>(&'q self, waiting: &'q Waiting) -> Taking<'q> {
        let boot = |at: Span| std::str::from_utf8(at.of(&self.bytes)).ok();
        let mark = waiting.mark.as_ref();
        Taking {
            slot: waiting.slot,
            receipt: waiting.receipt,
            event_time: waiting.event_time,
            restamped: waiting.restamped,
            mark: mark.map(|(at, seq)| Mark { boot: at.and_then(boot), seq: *seq }),
            repeat: waiting.repeat,
            source: Source {
                offset: waiting.offset,
                received_at: waiting.received_at,
                key: Some(waiting.key.of(&self.bytes)),
                value: waiting.value.of(&self.bytes),
                rounds: Rounds::Counted(waiting.redriven),
            },
        }
    }
}

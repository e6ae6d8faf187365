//! A partition in a worker's hands, from its assignment to its loss.

use crate::controller::Written;
use crate::observe::Outcomes;
use crate::outputs::Outputs;
use crate::recovery::{Expected, Plan};
use crate::state::PartitionState;
use crate::view::{PartitionPhase, PartitionView, SnapshotView};
use journal::port::{Committed, NewRecord, TopicPartition};
use schemas::Micros;
use schemas::codec::Codec;
use schemas::record::SnapshotLocator;
use schemas::topic::Topic;
use std::time::Duration;

/// What the worker does with it.
#[derive(Debug)]
pub(super) enum Phase {
    /// Its state is not there yet; tried again at this time.
    Starting { retry_at: Duration, why: Option<String> },
    /// Folding silently up to the committed position.
    Replaying(Expected),
    /// Publishing.
    Live,
    /// A step waits for the world; tried again at this time.
    Blocked { retry_at: Duration, why: String, expected: Option<Expected> },
    /// Stopped. `expected`: what a release goes on from.
    Quarantined { why: String, expected: Option<Expected> },
}

/// A partition in a worker's hands.
#[derive(Debug)]
pub(super) struct Assigned {
    pub(super) partition: TopicPartition,
    pub(super) phase: Phase,
    /// None until it has been recovered.
    pub(super) state: Option<PartitionState>,
    pub(super) out: Outputs,
    /// Finished records of an aborted cut, to be sent before the next.
    pub(super) unsent: Vec<NewRecord>,
    /// What the assignment brought.
    pub(super) fetched: Option<Committed>,
    /// Committed, as far as is known.
    pub(super) committed: Option<i64>,
    /// Totals of outcomes that this process has counted up to; none: it has folded nothing of its own.
    pub(super) reported: Option<Outcomes>,
    /// What its models had done when that was last told.
    pub(super) modelled: Vec<scoring::Counters>,
    /// Position of the last cut, on its way or committed.
    pub(super) cut_to: Option<i64>,
    pub(super) snapshots: Snapshots,
    pub(super) degraded: Option<String>,
    /// It was made to go on from here: no re-fold from a snapshot before this can agree with what follows.
    pub(super) continued: Option<i64>,
    /// A decision that must be durable before anything is folded again.
    pub(super) deciding: Option<Written>,
    pub(super) ticks: Ticks,
    /// Emergency brakes in a row, and altogether.
    pub(super) braked: (u32, u64),
    /// Times in a row that it could not begin or go on.
    pub(super) setbacks: u32,
    /// Where `until_end` stops.
    pub(super) target: Option<i64>,
    pub(super) paused: bool,
}

/// Snapshots of a partition.
#[derive(Debug, Default)]
pub(super) struct Snapshots {
    pub(super) current: Option<SnapshotLocator>,
    pub(super) previous: Option<SnapshotLocator>,
    /// Durable, not yet committed.
    pub(super) pending: Option<SnapshotLocator>,
    /// Records and bytes folded since the last one was taken.
    pub(super) records: u64,
    pub(super) bytes: u64,
    /// Bytes of the last one.
    pub(super) size: u64,
    /// When the last one was taken, or the partition assigned.
    pub(super) taken_at: Duration,
}

/// Ticks of a partition.
#[derive(Debug, Default)]
pub(super) struct Ticks {
    /// Written last.
    pub(super) at: Option<Duration>,
    /// The deadline it was written for: one tick each.
    pub(super) deadline: Option<Micros>,
}

impl Assigned {
    pub(super) fn new(partition: u32, fetched: Option<Committed>, codec: &Codec, now: Duration) -> Self {
        let committed = fetched.as_ref().map(|committed| committed.offset);
        Self {
            partition: TopicPartition { topic: Topic::Raw, partition },
            phase: Phase::Starting { retry_at: now, why: None },
            state: None,
            out: Outputs::new(codec.clone()),
            unsent: Vec::new(),
            fetched,
            committed,
            reported: None,
            modelled: Vec::new(),
            cut_to: committed,
            snapshots: Snapshots { taken_at: now, ..Snapshots::default() },
            degraded: None,
            continued: None,
            deciding: None,
            ticks: Ticks::default(),
            braked: (0, 0),
            setbacks: 0,
            target: None,
            paused: false,
        }
    }

    /// Takes a recovery's plan over.
    pub(super) fn begin(&mut self, plan: Plan) {
        self.snapshots.current = plan.snapshot;
        self.snapshots.previous = plan.previous;
        self.degraded = plan.degraded;
        if let Some(expected) = plan.expected.as_ref().filter(|expected| expected.audited) {
            // The group's position is not where the last commit was: the next commit puts it right.
            self.committed = Some(expected.mark.position);
            self.cut_to = self.committed;
        }
        self.phase = plan.expected.map_or(Phase::Live, Phase::Replaying);
        self.state = Some(plan.state);
    }

    /// Whether what it has brought forth may be committed: also before a record that cannot be stepped yet, but not
    /// around readings that wait for their scores.
    pub(super) fn is_publishing(&self) -> bool {
        match &self.phase {
            Phase::Live => true,
            Phase::Blocked { expected: None, .. } => {
                self.state.as_ref().is_some_and(|state| state.waiting().is_none())
            }
            _ => false,
        }
    }

    pub(super) fn position(&self) -> Option<i64> {
        self.state.as_ref().map(PartitionState::position)
    }

    /// Whether there is anything between the last cut and the state.
    pub(super) fn has_progress(&self) -> bool {
        self.is_publishing()
            && (self.position().is_some_and(|position| Some(position) != self.cut_to && self.moved(position))
                || !self.unsent.is_empty())
    }

    /// A partition that was never committed and has read nothing has not moved.
    fn moved(&self, position: i64) -> bool {
        self.cut_to.is_some() || self.state.as_ref().is_some_and(|state| position > state.counted().0)
    }

    /// Whether outputs or a locator wait to be published.
    pub(super) fn waits(&self) -> bool {
        self.is_publishing()
            && (!self.out.is_empty()
                || !self.unsent.is_empty()
                || self.snapshots.pending.is_some()
                || self.state.as_ref().is_some_and(|state| state.waiting().is_some()))
    }

    /// Everything that the state has seen is committed.
    pub(super) fn is_clean(&self) -> bool {
        self.out.is_empty()
            && self.unsent.is_empty()
            && self.committed.is_some()
            && self.position() == self.committed
            && matches!(self.phase, Phase::Live)
    }

    fn shown(&self) -> PartitionPhase {
        match &self.phase {
            Phase::Starting { why, .. } => PartitionPhase::Starting { why: why.clone() },
            Phase::Replaying(expected) => PartitionPhase::Recovering { until: expected.mark.position },
            Phase::Live => match &self.degraded {
                None => PartitionPhase::Ok,
                Some(why) => PartitionPhase::Degraded { why: why.clone() },
            },
            Phase::Blocked { why, .. } => PartitionPhase::Blocked { why: why.clone() },
            Phase::Quarantined { why, .. } => PartitionPhase::Quarantined { why: why.clone() },
        }
    }

    /// A copy for others.
    pub(super) fn view(
        &mut self,
        worker: &str,
        bound: &'static str,
        fold_rate: u64,
        seen_at: Micros,
    ) -> PartitionView {
        let phase = self.shown();
        let snapshot = self.snapshots.current.as_ref().map(|locator| SnapshotView {
            covers_to: locator.covers_to,
            offset: locator.offset,
            records: locator.records,
        });
        let mut view = PartitionView {
            partition: self.partition.partition,
            worker: worker.to_owned(),
            phase,
            position: self.committed.unwrap_or(0),
            committed: self.committed,
            generation: -1,
            digest: String::new(),
            write_clock: 0,
            receipt_now: 0,
            totals: schemas::record::Totals::default(),
            pending: 0,
            counted_from: 0,
            lost: 0,
            unnamed_values: 0,
            devices: 0,
            panes: 0,
            next_deadline: None,
            snapshot,
            since_snapshot: self.snapshots.records,
            snapshot_bound: bound,
            fold_rate,
            models: Vec::new(),
            brakes: self.braked.1,
            seen_at,
        };
        if let Some(state) = &mut self.state {
            let mark = state.mark();
            view.position = mark.position;
            view.generation = mark.generation;
            view.digest = mark.digest.iter().map(|byte| format!("{byte:02x}")).collect();
            view.write_clock = mark.write_clock;
            view.receipt_now = mark.receipt_now;
            view.totals = state.totals();
            (view.counted_from, view.lost) = state.counted();
            view.pending = state.pending();
            view.unnamed_values = state.unnamed_values();
            view.devices = state.devices();
            view.panes = state.panes();
            view.next_deadline = state.wake_at(seen_at);
            view.models = state.lane.counters();
        }
        view
    }
}

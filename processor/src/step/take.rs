//! A classified reading meets the windows; time passes.

use super::emit::Emit;
use super::letters::Source;
use crate::outputs::Outputs;
use crate::state::{Core, Repeat};
use schemas::Micros;
use schemas::reason::{Reject, RejectReason};
use schemas::record::{Alert, AlertKind, Late, Reading, Refusal, Stage};
use schemas::topic::Topic;
use scoring::Lane;
use windowing::api::{Observation, PaneLimit, Slot, Taken, Value};
use windowing::partition::Partition;

/// Refusals that a late reading names: more might not fit into a record.
const REFUSALS_MAX: usize = 1_000;

/// A sequence number that is remembered when the reading has been taken.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark<'a> {
    pub(super) boot: Option<&'a str>,
    pub(super) seq: i64,
}

/// A classified reading.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taking<'a> {
    pub(super) slot: Slot,
    /// Receipt time of the partition with this record.
    pub(super) receipt: Micros,
    pub(super) event_time: Micros,
    pub(super) restamped: bool,
    pub(super) mark: Option<Mark<'a>>,
    pub(super) repeat: Option<Repeat>,
    pub(super) source: Source<'a>,
}

impl Core {
    /// The windows, and what takes their emissions.
    #[inline]
    pub(super) fn emitting<'a>(&'a mut self, out: &'a mut Outputs) -> (&'a mut Partition, Emit<'a>) {
        let emit = Emit {
            out,
            fleet: &mut self.fleet,
            names: &self.names,
            models: &self.models,
            rules: &self.rules,
            closed: &mut self.closed,
            scratch: &mut self.scratch.aggregate,
            evicted: &mut self.scratch.evicted,
        };
        (&mut self.windows, emit)
    }

    /// Time passes up to a record: what is due fires, devices are forgotten.
    #[inline]
    pub(super) fn pass(&mut self, offset: i64, receipt: Micros, lane: &mut Lane, out: &mut Outputs) {
        out.at(offset, receipt);
        let (windows, mut emit) = self.emitting(out);
        windows.advance(receipt, &mut emit);
        // Whoever asks for evictions scores the windows that close with them first.
        if !self.scratch.evicted.is_empty() && self.closed.is_empty() {
            self.forget_evicted(lane);
        }
        if self.fleet.may_stall(receipt) {
            self.stalled(receipt, out);
        }
    }

    /// The models forget evicted devices, too.
    pub(super) fn forget_evicted(&mut self, lane: &mut Lane) {
        for slot in self.scratch.evicted.drain(..) {
            lane.evict(slot.0);
        }
    }

    #[cold]
    fn stalled(&mut self, receipt: Micros, out: &mut Outputs) {
        while let Some(slot) = self.fleet.next_stalled(receipt) {
            let entry = self.fleet.entry(slot);
            let last = entry.last_receipt().unwrap_or(receipt);
            let message = format!(
                "`{}` has sent nothing for {} s",
                entry.id.as_str(),
                receipt.saturating_sub(last) / 1_000_000
            );
            let alert = Alert {
                event_time: last,
                ..self.alert(&entry.id, AlertKind::Stalled, message, receipt, out)
            };
            out.push(Topic::Alerts, Some(entry.id.as_bytes()), &alert);
        }
    }

    /// An alert with what all kinds have.
    pub(super) fn alert(
        &self,
        device_id: &str,
        kind: AlertKind,
        message: String,
        received_at: Micros,
        out: &Outputs,
    ) -> Alert {
        Alert {
            device_id: device_id.to_owned(),
            id: format!("{}-{}-{}", self.partition, out.source(), out.next_index(Topic::Alerts)),
            kind,
            message,
            event_time: received_at,
            metric: None,
            value: None,
            model: None,
            version: None,
            score: None,
            threshold: None,
            feature: None,
            expected_low: None,
            expected_high: None,
            window: None,
            window_end: None,
            received_at,
            generation: self.rules.generation,
            write_clock: 0,
        }
    }

    /// Folds a reading into its windows; `pass` has let its time come. False: the limit of panes refused it.
    #[inline]
    pub(super) fn take(
        &mut self,
        taking: &Taking<'_>,
        values: &[Value<'_>],
        out: &mut Outputs,
        owned: impl FnOnce() -> Option<Reading>,
    ) -> bool {
        if taking.restamped {
            self.restamped(taking, out);
        }
        let observation = Observation { event_time: taking.event_time, offset: taking.source.offset, values };
        let (windows, mut emit) = self.emitting(out);
        // By reference: moving it about costs more than what is done with it.
        match &windows.observe(taking.slot, &observation, &mut emit) {
            Ok(taken) => {
                self.fleet.touch(taking.slot, taking.receipt);
                self.remember(taking.slot, taking.event_time, taking.mark, taking.repeat);
                self.count(taking, taken, out, owned);
                true
            }
            Err(limit) => {
                self.pane_limit(taking, *limit, out);
                false
            }
        }
    }

    /// Makes a later copy of the reading a duplicate.
    pub(super) fn remember(
        &mut self,
        slot: Slot,
        event_time: Micros,
        mark: Option<Mark<'_>>,
        repeat: Option<Repeat>,
    ) {
        if let Some(Mark { boot, seq }) = mark {
            self.windows.mark(slot, boot, seq, event_time);
        }
        if let Some(repeat) = repeat {
            let kept = &mut self.fleet.entry_mut(slot).repeat;
            match kept {
                Some(kept) => **kept = repeat,
                None => *kept = Some(Box::new(repeat)),
            }
        }
    }

    #[inline]
    fn count(
        &mut self,
        taking: &Taking<'_>,
        taken: &Taken,
        out: &mut Outputs,
        owned: impl FnOnce() -> Option<Reading>,
    ) {
        self.books.received += 1;
        if taken.panes > 0 {
            self.books.aggregated += 1;
            self.books.late_partial += i64::from(!taken.refused.is_empty());
        } else if taken.refused.is_empty() {
            // No window takes any of its measurements: the configuration's choice.
            self.books.filtered += 1;
        } else {
            self.books.late += 1;
            if let Some(reading) = owned() {
                self.late(taking, taken, reading, out);
            }
        }
    }

    #[cold]
    fn late(&mut self, taking: &Taking<'_>, taken: &Taken, reading: Reading, out: &mut Outputs) {
        let refused = taken.refused.iter().take(REFUSALS_MAX);
        let refusals = refused.map(|(window, start, end)| Refusal {
            window: self.rules.window_name(*window).to_owned(),
            start: *start,
            end: *end,
        });
        let late = Late {
            refusals: refusals.collect(),
            reading,
            source_partition: i32::try_from(self.partition).unwrap_or(i32::MAX),
            source_offset: taking.source.offset,
            received_at: taking.source.received_at,
            write_clock: 0,
        };
        out.push(Topic::Late, taking.source.key, &late);
    }

    #[cold]
    fn restamped(&mut self, taking: &Taking<'_>, out: &mut Outputs) {
        let id = &self.fleet.entry(taking.slot).id;
        let message = format!("the clock of `{id}` runs ahead; a reading was stamped with its receipt time");
        let alert = self.alert(id, AlertKind::Clock, message, taking.source.received_at, out);
        out.push(Topic::Alerts, Some(id.as_bytes()), &alert);
    }

    #[cold]
    fn pane_limit(&mut self, taking: &Taking<'_>, limit: PaneLimit, out: &mut Outputs) {
        self.books.received += 1;
        self.books.rejected += 1;
        let reject = Reject::new(RejectReason::PaneLimit, limit.to_string());
        let id = &self.fleet.entry(taking.slot).id;
        self.letter(taking.source, Stage::Step, &reject, Some(id), out);
    }

    /// No more readings are expected.
    pub(super) fn end(&mut self, slot: Option<Slot>, out: &mut Outputs) {
        let (windows, mut emit) = self.emitting(out);
        windows.end(slot, &mut emit);
        debug_assert!(self.scratch.evicted.is_empty(), "an end forgets no device");
    }
}

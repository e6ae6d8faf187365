//! A reading: does it belong here, have we seen it, what did it measure, does the configuration want it.

use super::Halt;
use super::letters::Source;
use super::take::{Mark, Taking};
use crate::mutation::{self, Mutation};
use crate::outputs::Outputs;
use crate::state::{Check, Core, Entry, Fleet, How, Names, PartitionState, Repeat, Rules};
use journal::port::RecordRef;
use schemas::Micros;
use schemas::codec::Codec;
use schemas::pipeline::ClockAhead;
use schemas::raw::RawDecoder;
use schemas::reason::{Reject, RejectReason};
use schemas::record::{Measured, Stage};
use schemas::view::ReadingView;
use windowing::api::{Metric, Sequence, Slot, Value};
use windowing::id::is_same;

/// Values of a reading at most: the decoder's own limit with room to spare.
pub(super) const VALUES_MAX: usize = 128;
/// Within so much receipt time an equal reading without `seq` is a repeat.
const REPEAT_SPAN: Micros = 1_000_000;

/// A reading that brings no time of its own is a retry for so long after its device's newest one; later, numbers that
/// were seen before are those of a device that has restarted its counter.
const UNTIMED_RETRY_SPAN: Micros = 60_000_000;

/// One measurement that something wants.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Measure {
    pub(crate) metric: Metric,
    /// After calibration; none: null.
    pub(crate) value: Option<f64>,
    /// Before calibration.
    pub(crate) raw: Option<f64>,
    /// Windows may take it; else it is for filters and models only.
    pub(crate) aggregated: bool,
}

/// What is left to do with a reading.
enum Judged {
    /// What it is compared with for repeats is left in the scratch.
    Take {
        slot: Slot,
        event_time: Micros,
        restamped: bool,
        beyond_horizon: bool,
    },
    Duplicate(Slot),
    Filtered(Slot),
}

impl PartitionState {
    pub(super) fn reading(
        &mut self,
        record: &RecordRef<'_>,
        receipt: Micros,
        view: &ReadingView<'_>,
        codec: &Codec,
        again: &mut RawDecoder,
        out: &mut Outputs,
    ) -> Result<(), Halt> {
        if self.must_flush(record.value.len() + record.key.map_or(0, <[u8]>::len)) {
            self.flush(codec, again, out)?;
        }
        if self.must_flush_for_panes(view.measurements().len()) {
            self.flush(codec, again, out)?;
        }
        let judged = match self.core.judge(record, receipt, view) {
            Ok(judged) => judged,
            Err(reject) => {
                self.refuse(record, receipt, Stage::Step, &reject, Some(view.device_id()), out);
                return Ok(());
            }
        };
        match judged {
            Judged::Take { slot, event_time, restamped, beyond_horizon } => {
                let untimed = restamped || view.event_time().is_none();
                // Below the horizon and without a time of its own it says nothing about where the counter stands.
                let seq = view.seq().filter(|_| !(untimed && beyond_horizon));
                let mark = seq.map(|seq| Mark { boot: view.boot(), seq });
                let source = Source::of(record);
                let repeat = self.core.scratch.repeat.take();
                let taking = Taking { slot, receipt, event_time, restamped, mark, repeat, source };
                if self.lane.is_idle() {
                    self.take_now(&taking, view, out);
                } else {
                    let skipped =
                        self.core.skips.iter().any(|(from, to)| (*from..*to).contains(&record.offset));
                    self.route(slot, view);
                    self.enqueue(&taking, skipped)?;
                }
                self.core.books.beyond_horizon += i64::from(beyond_horizon);
            }
            Judged::Duplicate(slot) => {
                self.pass(record.offset, receipt, Some(slot), out);
                if !mutation::is(Mutation::UncountedDuplicate) {
                    self.core.books.received += 1;
                    self.core.books.duplicate += 1;
                }
            }
            Judged::Filtered(slot) => {
                self.pass(record.offset, receipt, Some(slot), out);
                self.core.books.received += 1;
                self.core.books.filtered += 1;
            }
        }
        Ok(())
    }

    /// Without models nothing waits: the reading goes straight to the windows.
    #[inline]
    fn take_now(&mut self, taking: &Taking<'_>, view: &ReadingView<'_>, out: &mut Outputs) {
        self.core.pass(taking.source.offset, taking.receipt, &mut self.lane, out);
        let mut values = std::mem::take(&mut self.core.scratch.values);
        values.clear();
        // A loop and not `extend`: with one value or two, asking for room for all of them costs more than taking them.
        for measure in self.core.scratch.measured.iter().filter(|measure| measure.aggregated) {
            values.push(Value { metric: measure.metric, value: measure.value, scores: &[] });
        }
        self.core.take(taking, &values, out, || Some(view.to_owned()));
        self.core.scratch.values = values;
    }
}

impl Core {
    /// Judges a reading against everything but the windows; its values are left in the scratch.
    #[inline]
    fn judge(
        &mut self,
        record: &RecordRef<'_>,
        receipt: Micros,
        view: &ReadingView<'_>,
    ) -> Result<Judged, Reject> {
        let device_id = view.device_id_bytes();
        // Where a device belongs never changes: one that is known has been through the gate.
        let own = record.key.is_some_and(|key| is_same(key, device_id));
        let known = if own { self.windows.find_bytes(device_id) } else { None };
        if known.is_none() {
            self.gate(record, view.device_id())?;
        }
        let Some(pipeline) = &self.rules.pipeline else { return Err(no_configuration()) };
        let (drop_repeats, clock_ahead) = (pipeline.drop_repeats, pipeline.time.clock_ahead);
        self.scratch.repeat = None;
        let mut event_time = view.event_time().unwrap_or(receipt);
        let mut restamped = false;
        if event_time > receipt.saturating_add(pipeline.time.max_ahead) {
            if clock_ahead == ClockAhead::Reject {
                return Err(ahead(event_time, receipt, pipeline.time.max_ahead));
            }
            event_time = receipt;
            restamped = true;
        }
        let slot = match known {
            Some(slot) => slot,
            None => self
                .windows
                .locate(view.device_id(), receipt)
                .map_err(|limit| Reject::new(RejectReason::DeviceLimit, limit.to_string()))?,
        };
        if !self.fleet.has(slot)
            && let Some(overrides) = self.fleet.admit(slot, view.device_id())
        {
            self.windows.set_overrides(slot, overrides);
        }
        let mut beyond_horizon = false;
        if let Some(seq) = view.seq() {
            let untimed = restamped || view.event_time().is_none();
            let as_of = if untimed { receipt.saturating_sub(UNTIMED_RETRY_SPAN) } else { event_time };
            match self.windows.sequence(slot, view.boot(), seq, as_of) {
                Sequence::Fresh => {}
                Sequence::Duplicate => return Ok(Judged::Duplicate(slot)),
                Sequence::BeyondHorizon => beyond_horizon = true,
            }
        }
        if drop_repeats && view.seq().is_none() {
            // Readings without a time of their own have that in common.
            let event_time = view.event_time().unwrap_or(Micros::MIN);
            let this = Repeat { event_time, fingerprint: fingerprint(view), receipt };
            if self.fleet.entry(slot).repeat.as_deref().is_some_and(|last| last.repeats(&this)) {
                return Ok(Judged::Duplicate(slot));
            }
            self.scratch.repeat = Some(this);
        }
        let Self { scratch, names, rules, fleet, books, .. } = self;
        let unnamed = measure(&mut scratch.measured, names, rules, fleet, slot, view)?;
        if !rules.checks.is_empty() && !passes(&rules.checks, &scratch.measured, fleet, slot, view) {
            return Ok(Judged::Filtered(slot));
        }
        books.unnamed_values += unnamed;
        Ok(Judged::Take { slot, event_time, restamped, beyond_horizon })
    }
}

impl Repeat {
    fn repeats(&self, later: &Self) -> bool {
        self.event_time == later.event_time
            && self.fingerprint == later.fingerprint
            && later.receipt - self.receipt <= REPEAT_SPAN
    }
}

/// Collects the measurements that something wants, calibrated; returns how many had no room among the names.
#[inline]
fn measure(
    measured: &mut Vec<Measure>,
    names: &mut Names,
    rules: &mut Rules,
    fleet: &mut Fleet,
    slot: Slot,
    view: &ReadingView<'_>,
) -> Result<i64, Reject> {
    let entry = fleet.entry_mut(slot);
    let mut unnamed = 0;
    if !measure_by_plan(measured, names, rules, entry, view) {
        unnamed = measure_each(measured, names, rules, entry, view);
    }
    if let Some(version) = entry.current()
        && !version.calibration.is_empty()
    {
        for measure in measured {
            let channel = version.calibration.iter().find(|(metric, ..)| *metric == measure.metric);
            if let (Some((_, scale, offset)), Some(raw)) = (channel, measure.raw) {
                let value = raw * scale + offset;
                if !value.is_finite() {
                    return Err(not_finite(names.name(measure.metric), raw, *scale, *offset));
                }
                measure.value = Some(value);
            }
        }
    }
    Ok(unnamed)
}

/// Collects them by what is known of the layout; false: something is new, and every measurement must be looked at.
#[inline]
fn measure_by_plan(
    measured: &mut Vec<Measure>,
    names: &Names,
    rules: &mut Rules,
    entry: &Entry,
    view: &ReadingView<'_>,
) -> bool {
    let Some(layout) = view.layout() else { return false };
    measured.clear();
    for wanted in rules.wanted(layout, names) {
        let (raw, boolean) = number_of(view.measured(wanted.place).unwrap_or(Measured::Null));
        let (metric, aggregated) = match wanted.how {
            How::Named(metric) => (metric, true),
            How::Own { metric, .. } if !boolean && entry.metrics.contains(&metric) => (metric, true),
            How::Own { metric, watched } if boolean && watched => (metric, false),
            How::Own { .. } | How::New if boolean => continue,
            How::Own { .. } | How::New => return false,
            How::Watched(metric) => (metric, false),
        };
        measured.push(Measure { metric, value: raw, raw, aggregated });
    }
    true
}

/// A measurement as a number, and whether it was a boolean.
#[inline]
fn number_of(value: Measured) -> (Option<f64>, bool) {
    match value {
        Measured::Null => (None, false),
        Measured::Number(number) => (Some(number), false),
        Measured::Bool(truth) => (Some(f64::from(u8::from(truth))), true),
    }
}

/// Looks at every measurement; returns how many had no room among the names.
fn measure_each(
    measured: &mut Vec<Measure>,
    names: &mut Names,
    rules: &Rules,
    entry: &mut Entry,
    view: &ReadingView<'_>,
) -> i64 {
    measured.clear();
    let mut unnamed = 0;
    for (place, (name, value)) in view.measurements().enumerate() {
        let (raw, boolean) = number_of(value);
        let known = names.find(place, name);
        let named = known.is_some_and(|metric| rules.is_named(metric));
        let watched = known.is_some_and(|metric| rules.is_watched(metric));
        let (metric, aggregated) = match (known, rules.per_device_max) {
            (Some(metric), _) if named => (metric, true),
            (Some(metric), Some(_)) if !boolean && entry.metrics.contains(&metric) => (metric, true),
            (known, Some(most)) if !boolean => {
                let room = entry.metrics.len() < most;
                match known.or_else(|| if room { names.intern(name) } else { None }) {
                    Some(metric) if room => {
                        entry.learn(metric);
                        (metric, true)
                    }
                    Some(metric) if watched => {
                        unnamed += 1;
                        (metric, false)
                    }
                    _ => {
                        unnamed += 1;
                        continue;
                    }
                }
            }
            (Some(metric), _) if watched => (metric, false),
            _ => continue,
        };
        measured.push(Measure { metric, value: raw, raw, aggregated });
    }
    unnamed
}

/// Whether every filter lets the reading pass.
fn passes(checks: &[Check], measured: &[Measure], fleet: &Fleet, slot: Slot, view: &ReadingView<'_>) -> bool {
    checks.iter().all(|check| match check {
        Check::Range { metric, .. } => {
            let found = measured.iter().find(|measure| measure.metric == *metric);
            check.passes(found.and_then(|measure| measure.value))
        }
        Check::Tag { tag, any_of, not, pass_missing } => {
            let own = view.tags().find(|(name, _)| name == tag).map(|(_, value)| value);
            let device = || fleet.entry(slot).current()?.record.tags.get(tag).map(String::as_str);
            match own.or_else(device) {
                None => *pass_missing,
                Some(value) => any_of.iter().any(|other| other == value) != *not,
            }
        }
    })
}

/// FNV-1a over names and values, for comparison with the reading before it.
fn fingerprint(view: &ReadingView<'_>) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut add = |bytes: &[u8]| {
        for byte in bytes {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    };
    for (name, value) in view.measurements() {
        add(name.as_bytes());
        match value {
            Measured::Null => add(&[0xff]),
            Measured::Number(number) => add(&number.to_bits().to_le_bytes()),
            Measured::Bool(truth) => add(&[0xfe, u8::from(truth)]),
        }
    }
    hash
}

#[cold]
fn no_configuration() -> Reject {
    Reject::new(
        RejectReason::NoConfiguration,
        "no configuration has reached this partition yet; redrive it once there is one",
    )
}

#[cold]
fn ahead(event_time: Micros, receipt: Micros, max_ahead: Micros) -> Reject {
    let by = event_time.saturating_sub(receipt) / 1_000_000;
    let allowed = max_ahead / 1_000_000;
    Reject::new(
        RejectReason::ClockAhead,
        format!("the event time is {by} s after the receipt time; at most {allowed} s are accepted"),
    )
}

#[cold]
fn not_finite(name: &str, raw: f64, scale: f64, offset: f64) -> Reject {
    Reject::new(
        RejectReason::NotFinite,
        format!("`{name}`: {raw} x {scale} + {offset} is not finite; look at the device's calibration"),
    )
}

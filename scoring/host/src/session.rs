//! One thread's instance of a plugin, and the guarded call: every way it can end has a name, and an instance that
//! ended badly is replaced before the next call.

use crate::bindings::exports::highwater::scoring::model;
use crate::descriptor::{Descriptor, StateId};
use crate::inert::Refusal;
use crate::inside::{Inside, LogLine, SaidTooMuch};
use crate::plugin::{Live, Plugin, StartError};
use std::collections::BTreeMap;
use std::time::Instant;
use wasmtime::{Store, Trap, WasmBacktrace};

/// Bit of a row's flags: the series has had too few rows.
pub const ROW_WARM_UP: u8 = 1;
/// Bit of a row's flags: the model declines, the score means nothing.
pub const ROW_SKIPPED: u8 = 2;
/// Bytes kept of what is said about a failure.
const DETAIL_BYTES_MAX: usize = 1024;
/// Characters kept of a function's name.
const NAME_CHARS_MAX: usize = 120;

/// Rows to be scored in one call; `scoring/wit` defines the columns.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// Series in `state`.
    pub slots: u32,
    /// Row -> series.
    pub slot: &'a [u32],
    /// Row -> event time, microseconds.
    pub event_time: &'a [i64],
    /// Features x rows, column-major.
    pub values: &'a [f64],
    /// Bitmap over `values`, or empty.
    pub missing: &'a [u8],
    /// `slots` x stride bytes.
    pub state: &'a [u8],
}

/// A result that was checked: lengths agree, numbers are finite and within the declared ranges.
#[derive(Debug)]
pub struct Scored {
    values: Vec<f64>,
    score_at: usize,
    expected_at: [Option<usize>; 2],
    rows: usize,
    flags: Vec<u8>,
    /// The slab, updated.
    pub state: Vec<u8>,
    /// Fuel the call used.
    pub fuel_used: u64,
}

impl Scored {
    /// Row -> score.
    #[must_use]
    #[inline]
    pub fn scores(&self) -> &[f64] {
        &self.values[self.score_at..self.score_at + self.rows]
    }

    /// Least and greatest value that the model says it would have expected of a row's first feature.
    #[must_use]
    pub fn expected(&self, row: usize) -> [Option<f64>; 2] {
        self.expected_at.map(|at| self.values.get(at? + row).copied())
    }

    /// A row's flags.
    #[must_use]
    #[inline]
    pub fn flags(&self, row: usize) -> u8 {
        self.flags.get(row).copied().unwrap_or(0)
    }
}

/// How a call failed. Each follows from component, settings and arguments alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Failure {
    /// Used more fuel than it was given.
    OutOfFuel,
    /// Panicked, ran out of memory or stack, divided by zero, said too much ...
    Trap,
    /// Reported a fault.
    Fault,
    /// Returned something that does not fit the batch or its own description.
    InvalidOutput,
}

impl Failure {
    /// All of them, in the order of counters.
    pub const ALL: [Self; 4] = [Self::OutOfFuel, Self::Trap, Self::Fault, Self::InvalidOutput];

    /// Public name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OutOfFuel => "out-of-fuel",
            Self::Trap => "trap",
            Self::Fault => "fault",
            Self::InvalidOutput => "invalid-output",
        }
    }
}

/// Why a call has no result.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// It failed, and always will.
    #[error("{}: {detail}", failure.as_str())]
    Failed {
        /// How.
        failure: Failure,
        /// In words; deterministic.
        detail: String,
        /// Functions that were running, innermost first, by their names in the component; empty when none was.
        trace: Vec<String>,
    },
    /// It was stopped, or could not be started, too often. Nothing follows from it: the machine may be slow.
    #[error("stopped without a result: {0}")]
    Braked(String),
}

/// What a session has done, for metrics only: some of it depends on the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SessionCounts {
    /// Calls begun.
    pub calls: u64,
    /// Instances started.
    pub starts: u64,
    /// Calls stopped by the brake.
    pub brakes: u64,
    /// Fuel used by calls that succeeded.
    pub fuel_used: u64,
    /// Linear memory of the instance after the last call.
    pub memory_bytes: u64,
    /// Greatest linear memory seen.
    pub memory_bytes_peak: u64,
    /// Log lines and gauges that were not kept.
    pub said_dropped: u64,
    /// Nanoseconds spent in calls and in starting instances.
    pub busy_nanos: u64,
}

/// One thread's use of a plugin.
pub struct Session {
    plugin: Plugin,
    live: Option<Live>,
    counts: SessionCounts,
    lines: Vec<LogLine>,
    last_words: Vec<LogLine>,
    gauges: BTreeMap<String, f64>,
}

enum Ended<T> {
    /// With so much fuel.
    Done(T, u64),
    Failed(Failed),
    Braked,
}

/// A failure with everything that is known of it.
pub(crate) struct Failed {
    pub(crate) failure: Failure,
    pub(crate) detail: String,
    trace: Vec<String>,
}

impl Failed {
    /// One that no function of the guest was running in.
    fn plain(failure: Failure, detail: String) -> Self {
        Self { failure, detail, trace: Vec::new() }
    }
}

impl Session {
    /// Starts nothing yet.
    #[must_use]
    pub fn new(plugin: Plugin) -> Self {
        let counts = SessionCounts::default();
        Self {
            plugin,
            live: None,
            counts,
            lines: Vec::new(),
            last_words: Vec::new(),
            gauges: BTreeMap::new(),
        }
    }

    /// The plugin.
    #[must_use]
    pub fn plugin(&self) -> &Plugin {
        &self.plugin
    }

    /// What was done so far.
    #[must_use]
    pub fn counts(&self) -> SessionCounts {
        self.counts
    }

    /// The last value of each gauge the guest showed.
    #[must_use]
    pub fn gauges(&self) -> &BTreeMap<String, f64> {
        &self.gauges
    }

    /// The lines logged since the last time.
    pub fn take_lines(&mut self) -> Vec<LogLine> {
        std::mem::take(&mut self.lines)
    }

    /// The last lines logged in the call that failed last, oldest first.
    #[must_use]
    pub fn last_words(&self) -> &[LogLine] {
        &self.last_words
    }

    /// Makes the next call run in an instance that has seen nothing.
    pub fn renew(&mut self) {
        self.live = None;
    }

    /// Scores a batch with so much fuel. A call the brake stopped is tried again in a new instance, up to
    /// `brake_attempts_max` times in all.
    ///
    /// # Errors
    /// [`CallError::Failed`]: nothing has changed, the same call would fail again. [`CallError::Braked`]: no
    /// verdict; the caller must not turn it into one.
    pub fn score(&mut self, batch: &Batch<'_>, fuel: u64) -> Result<Scored, CallError> {
        self.timed(fuel, |session, live| session.call_score(live, batch, fuel))
    }

    /// Translates the state of so many series, which lie one after the other, from another version's form into this
    /// one's.
    ///
    /// # Errors
    /// As [`Session::score`].
    pub fn upgrade_state(
        &mut self,
        source: &StateId,
        slots: u32,
        state: &[u8],
        fuel: u64,
    ) -> Result<Vec<u8>, CallError> {
        self.timed(fuel, |session, live| session.call_upgrade(live, source, slots, state, fuel))
    }

    fn timed<T>(&mut self, fuel: u64, call: impl Fn(&Self, &mut Live) -> Ended<T>) -> Result<T, CallError> {
        let began = Instant::now();
        let done = self.attempts(fuel, call);
        let nanos = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.counts.busy_nanos = self.counts.busy_nanos.saturating_add(nanos);
        done
    }

    fn attempts<T>(
        &mut self,
        fuel: u64,
        call: impl Fn(&Self, &mut Live) -> Ended<T>,
    ) -> Result<T, CallError> {
        for _ in 0..self.plugin.host().limits().brake_attempts_max {
            let mut live = match self.live.take() {
                Some(live) => live,
                None => match self.plugin.start() {
                    Ok(live) => {
                        self.counts.starts += 1;
                        live
                    }
                    Err(StartError::Braked) => {
                        self.counts.brakes += 1;
                        continue;
                    }
                    // It started before with the same arguments: this is the machine's doing.
                    Err(StartError::Refused(refused)) => return Err(CallError::Braked(refused.to_string())),
                },
            };
            self.counts.calls += 1;
            let ended = self.fuelled(&mut live, fuel, &call);
            self.listen(live.store.data_mut());
            match ended {
                Ended::Done(done, fuel_used) => {
                    self.counts.fuel_used += fuel_used;
                    let grown = live.store.data().memory_bytes - live.memory_at_start;
                    if grown <= self.plugin.host().limits().memory_growth_max {
                        self.live = Some(live);
                    }
                    return Ok(done);
                }
                Ended::Failed(Failed { failure, detail, trace }) => {
                    self.last_words = live.store.data_mut().recent.drain(..).collect();
                    return Err(CallError::Failed { failure, detail, trace });
                }
                Ended::Braked => self.counts.brakes += 1,
            }
        }
        Err(CallError::Braked("the brake's deadline passed each time".to_owned()))
    }

    fn fuelled<T>(
        &self,
        live: &mut Live,
        fuel: u64,
        call: impl Fn(&Self, &mut Live) -> Ended<T>,
    ) -> Ended<T> {
        let store = &mut live.store;
        store.set_epoch_deadline(self.plugin.host().limits().brake_ticks);
        store.data_mut().begin_call();
        match store.set_fuel(fuel) {
            Ok(()) => call(self, live),
            Err(error) => Ended::Failed(Failed::plain(Failure::OutOfFuel, error.to_string())),
        }
    }

    fn call_score(&self, live: &mut Live, batch: &Batch<'_>, fuel: u64) -> Ended<Scored> {
        let Live { store, exports, .. } = live;
        let rows = batch.slot.len();
        let argument = model::Batch {
            rows: u32::try_from(rows).unwrap_or(u32::MAX),
            slots: batch.slots,
            slot: batch.slot,
            event_time: batch.event_time,
            values: batch.values,
            missing: batch.missing,
        };
        let answer = exports.highwater_scoring_model().call_score(&mut *store, argument, batch.state);
        answered(store, answer, fuel, |raw, fuel_used| {
            check(self.plugin.descriptor(), raw, rows, batch.state.len(), fuel_used)
        })
    }

    fn call_upgrade(
        &self,
        live: &mut Live,
        source: &StateId,
        slots: u32,
        state: &[u8],
        fuel: u64,
    ) -> Ended<Vec<u8>> {
        let Live { store, exports, .. } = live;
        let source = model::StateIdParam { schema: &source.schema, revision: source.revision };
        let answer = exports.highwater_scoring_model().call_upgrade_state(&mut *store, source, slots, state);
        let expected = slots as usize * self.plugin.descriptor().stride;
        answered(store, answer, fuel, |state, _| {
            if state.len() == expected {
                return Ok(state);
            }
            Err(format!("{} bytes of state, not {expected}", state.len()))
        })
    }

    /// Takes over what the guest said.
    fn listen(&mut self, inside: &mut Inside) {
        self.counts.memory_bytes = inside.memory_bytes as u64;
        self.counts.memory_bytes_peak = self.counts.memory_bytes_peak.max(inside.memory_bytes as u64);
        if inside.lines.is_empty() && inside.gauges.is_empty() {
            return;
        }
        let room = self.plugin.host().limits().log_lines_max.saturating_sub(self.lines.len());
        let dropped = inside.lines.len().saturating_sub(room) as u64;
        self.lines.extend(inside.lines.drain(..).take(room));
        self.counts.said_dropped +=
            dropped + std::mem::take(&mut inside.lines_dropped) + std::mem::take(&mut inside.gauges_dropped);
        self.gauges.clone_from(&inside.gauges);
    }
}

/// How a call ended that has answered this.
fn answered<R, T>(
    store: &Store<Inside>,
    answer: wasmtime::Result<Result<R, model::Fault>>,
    fuel: u64,
    check: impl FnOnce(R, u64) -> Result<T, String>,
) -> Ended<T> {
    match answer {
        Ok(Ok(raw)) => {
            let fuel_used = fuel - left(store);
            match check(raw, fuel_used) {
                Ok(done) => Ended::Done(done, fuel_used),
                Err(detail) => Ended::Failed(Failed::plain(Failure::InvalidOutput, detail)),
            }
        }
        Ok(Err(fault)) => Ended::Failed(Failed::plain(Failure::Fault, fault_text(&fault))),
        Err(error) if error.downcast_ref::<Trap>() == Some(&Trap::Interrupt) => Ended::Braked,
        Err(error) => Ended::Failed(describe_failure(&error, store.data().last_words().as_deref())),
    }
}

/// Fuel left in a store.
fn left(store: &Store<Inside>) -> u64 {
    store.get_fuel().unwrap_or(0)
}

/// Believes a result, or says what is wrong with it.
fn check(
    descriptor: &Descriptor,
    raw: model::Scored,
    rows: usize,
    state_bytes: usize,
    fuel_used: u64,
) -> Result<Scored, String> {
    let expected = rows * descriptor.ranges.len();
    if raw.values.len() != expected {
        return Err(format!("{} values, not {expected}", raw.values.len()));
    }
    if !raw.row_flags.is_empty() && raw.row_flags.len() != rows {
        return Err(format!("{} row flags, not {rows}", raw.row_flags.len()));
    }
    if raw.state.len() != state_bytes {
        return Err(format!("{} bytes of state, not {state_bytes}", raw.state.len()));
    }
    for (output, (min, max)) in descriptor.ranges.iter().enumerate() {
        let column = &raw.values[output * rows..(output + 1) * rows];
        // Comparisons with NaN are false, so NaN is found here too.
        if let Some(row) = column.iter().position(|value| !(*value >= *min && *value <= *max)) {
            return Err(format!("output {output} is {}, not in {min} ..= {max}", column[row]));
        }
    }
    let (values, flags, state) = (raw.values, raw.row_flags, raw.state);
    let expected_at = descriptor.expected.map(|output| output.map(|output| output * rows));
    Ok(Scored { values, score_at: descriptor.score * rows, expected_at, rows, flags, state, fuel_used })
}

/// Names a failed call: a trap by its kind, with the guest's last words and the functions it was in.
pub(crate) fn describe_failure(error: &wasmtime::Error, last_words: Option<&str>) -> Failed {
    let (failure, mut detail) = match error.downcast_ref::<Trap>() {
        Some(Trap::OutOfFuel) => (Failure::OutOfFuel, "used more fuel than a row has".to_owned()),
        Some(trap) => (Failure::Trap, trap.to_string()),
        None => match error.downcast_ref::<SaidTooMuch>() {
            Some(error) => (Failure::Trap, error.to_string()),
            None => match error.downcast_ref::<Refusal>() {
                Some(refusal) => (Failure::Trap, refusal.to_string()),
                None => (Failure::InvalidOutput, error.root_cause().to_string()),
            },
        },
    };
    if let Some(words) = last_words {
        detail = format!("{detail}: {words}");
    }
    let trace = trace(error);
    if !trace.is_empty() {
        detail = format!("{detail}; in {}", trace.join(" < "));
    }
    detail.truncate(detail.floor_char_boundary(DETAIL_BYTES_MAX));
    Failed { failure, detail, trace }
}

/// The functions a guest was in, innermost first. The engine keeps the innermost 20.
fn trace(error: &wasmtime::Error) -> Vec<String> {
    let frames = error.downcast_ref::<WasmBacktrace>().map_or(&[][..], WasmBacktrace::frames);
    frames
        .iter()
        .map(|frame| match frame.func_name() {
            Some(name) => plain_name(name),
            None => format!("function {}", frame.func_index()),
        })
        .collect()
}

/// As a person writes it: names of Rust's compiler are mangled, and have a hash.
fn plain_name(name: &str) -> String {
    format!("{:#}", rustc_demangle::demangle(name)).chars().take(NAME_CHARS_MAX).collect()
}

/// A fault in words, bounded.
pub(crate) fn fault_text(fault: &model::Fault) -> String {
    let (kind, text) = match fault {
        model::Fault::BadConfig(text) => ("bad configuration", text),
        model::Fault::BadInput(text) => ("bad input", text),
        model::Fault::BadState(text) => ("bad state", text),
        model::Fault::Internal(text) => ("internal", text),
    };
    format!("{kind}: {}", &text[..text.floor_char_boundary(DETAIL_BYTES_MAX)])
}

#[cfg(test)]
mod tests {
    use super::plain_name;

    #[test]
    fn names_are_those_of_the_source() {
        assert_eq!(plain_name("_RNvNtCsgXGp5Oqx2Ny_4core9panicking9panic_fmt"), "core::panicking::panic_fmt");
        assert_eq!(plain_name("_ZN8fixtures9misbehave17h0123456789abcdefE"), "fixtures::misbehave");
        for name in ["memcpy", "highwater:scoring/model@1.0.0#score", ""] {
            assert_eq!(plain_name(name), name);
        }
        assert_eq!(plain_name(&"x".repeat(10_000)).len(), super::NAME_CHARS_MAX);
    }
}

//! One thread's instance of a plugin, and the guarded call: every way it can end has a name, and an instance that
//! ended badly is replaced before the next call.

use crate::bindings::exports::highwater::scoring::model;
use crate::descriptor::Descriptor;
use crate::inside::{Inside, LogLine, SaidTooMuch};
use crate::plugin::{Live, Plugin, StartError};
use std::collections::BTreeMap;
use wasmtime::{Store, Trap};

/// Bit of a row's flags: the series has had too few rows.
pub const ROW_WARM_UP: u8 = 1;
/// Bit of a row's flags: the model declines, the score means nothing.
pub const ROW_SKIPPED: u8 = 2;
/// Bytes kept of what a guest says about its failure.
const DETAIL_BYTES_MAX: usize = 512;

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
}

/// One thread's use of a plugin.
pub struct Session {
    plugin: Plugin,
    live: Option<Live>,
    counts: SessionCounts,
    lines: Vec<LogLine>,
    gauges: BTreeMap<String, f64>,
}

enum Ended {
    Scored(Scored),
    Failed(Failure, String),
    Braked,
}

impl Session {
    /// Starts nothing yet.
    #[must_use]
    pub fn new(plugin: Plugin) -> Self {
        let counts = SessionCounts::default();
        Self { plugin, live: None, counts, lines: Vec::new(), gauges: BTreeMap::new() }
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
            let ended = self.call(&mut live, batch, fuel);
            self.listen(live.store.data_mut());
            match ended {
                Ended::Scored(scored) => {
                    self.counts.fuel_used += scored.fuel_used;
                    let grown = live.store.data().memory_bytes - live.memory_at_start;
                    if grown <= self.plugin.host().limits().memory_growth_max {
                        self.live = Some(live);
                    }
                    return Ok(scored);
                }
                Ended::Failed(failure, detail) => return Err(CallError::Failed { failure, detail }),
                Ended::Braked => self.counts.brakes += 1,
            }
        }
        Err(CallError::Braked("the brake's deadline passed each time".to_owned()))
    }

    fn call(&self, live: &mut Live, batch: &Batch<'_>, fuel: u64) -> Ended {
        let Live { store, exports, .. } = live;
        store.set_epoch_deadline(self.plugin.host().limits().brake_ticks);
        store.data_mut().begin_call();
        if let Err(error) = store.set_fuel(fuel) {
            return Ended::Failed(Failure::OutOfFuel, error.to_string());
        }
        let rows = batch.slot.len();
        let argument = model::Batch {
            rows: u32::try_from(rows).unwrap_or(u32::MAX),
            slots: batch.slots,
            slot: batch.slot,
            event_time: batch.event_time,
            values: batch.values,
            missing: batch.missing,
        };
        match exports.highwater_scoring_model().call_score(&mut *store, argument, batch.state) {
            Ok(Ok(raw)) => {
                let fuel_used = fuel - left(store);
                match check(self.plugin.descriptor(), raw, rows, batch.state.len(), fuel_used) {
                    Ok(scored) => Ended::Scored(scored),
                    Err(detail) => Ended::Failed(Failure::InvalidOutput, detail),
                }
            }
            Ok(Err(fault)) => Ended::Failed(Failure::Fault, fault_text(&fault)),
            Err(error) if error.downcast_ref::<Trap>() == Some(&Trap::Interrupt) => Ended::Braked,
            Err(error) => {
                let (failure, detail) = describe_failure(&error, store.data().last_error.as_deref());
                Ended::Failed(failure, detail)
            }
        }
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
    Ok(Scored { values, score_at: descriptor.score * rows, rows, flags, state, fuel_used })
}

/// Names a failed call: a trap by its kind, with the guest's last words.
pub(crate) fn describe_failure(error: &wasmtime::Error, last_words: Option<&str>) -> (Failure, String) {
    let (failure, mut detail) = match error.downcast_ref::<Trap>() {
        Some(Trap::OutOfFuel) => (Failure::OutOfFuel, "used more fuel than a row has".to_owned()),
        Some(trap) => (Failure::Trap, trap.to_string()),
        None => match error.downcast_ref::<SaidTooMuch>() {
            Some(error) => (Failure::Trap, error.to_string()),
            None => (Failure::InvalidOutput, error.root_cause().to_string()),
        },
    };
    if let Some(words) = last_words {
        detail = format!("{detail}: {words}");
    }
    detail.truncate(detail.floor_char_boundary(DETAIL_BYTES_MAX));
    (failure, detail)
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

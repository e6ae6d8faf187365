//! Where a model's fuel goes: by row, and by function.
//!
//! By function: the same call is made again and again in new instances, each time with a little more fuel, and where it
//! runs dry is a sample of where fuel is used. Fuel counts instructions, so the profile is the same on every machine, and
//! the engine needs no profiler. It looks at its fuel when a function begins and when a loop turns: fuel used between
//! two such places is told of the second.

use crate::conformance::ordinary_rows;
use crate::evidence::{FailedBatch, ReplayError, started};
use scoring_host::{Batch, CallError, HostLimits, Plugin, Session};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// Places at which a call is stopped.
const SAMPLES: u64 = 256;
/// Calls that are timed.
const TIMED_CALLS: u32 = 64;
/// Most rows of a profile: one call has them all.
pub const PROFILE_ROWS_MAX: usize = 1024;
/// Series of the rows that are made up.
const SERIES: u32 = 8;
/// What a call may use: as much as can be asked for.
const FUEL: u64 = u64::MAX / 4;

/// What a model costs on some rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// Rows of the call.
    pub rows: usize,
    /// Fuel of a call with all rows.
    pub fuel: u64,
    /// Fuel of each row alone in a new instance, from the least to the most.
    pub fuel_by_row: Vec<u64>,
    /// Bytes of linear memory, at most.
    pub memory_bytes_peak: u64,
    /// Time of a call with all rows: the median of several. Of this machine.
    pub time: Duration,
    /// By the part that is theirs, greatest first.
    pub functions: Vec<FunctionShare>,
}

/// A function's part of the fuel, from 0 to 1.
#[derive(Clone, Debug, PartialEq)]
pub struct FunctionShare {
    /// Its name in the component.
    pub name: String,
    /// Of it alone.
    pub own: f64,
    /// With what it calls.
    pub total: f64,
}

/// A component and what it is started with.
#[derive(Clone, Copy, Debug)]
pub struct Configured<'a> {
    /// The component.
    pub component: &'a [u8],
    /// Settings, JSON.
    pub settings: &'a str,
    /// Trained weights.
    pub artifact: Option<&'a [u8]>,
    /// Seed.
    pub seed: u64,
}

/// Profiles a component on rows that are made up: ordinary values of several series.
///
/// # Errors
/// The component cannot be started, or fails on these rows.
pub fn profile(configured: Configured<'_>, rows: usize, limits: HostLimits) -> Result<Profile, ReplayError> {
    let plugin = start(configured, limits)?;
    let rows = rows.clamp(1, PROFILE_ROWS_MAX);
    let columns = ordinary_rows(rows, SERIES, plugin.descriptor());
    Subject { plugin, rows }.measure(&columns)
}

/// Profiles a component on the rows of a saved batch.
///
/// # Errors
/// As [`profile`], and when the batch does not fit the component.
pub fn profile_batch(
    configured: Configured<'_>,
    batch: &FailedBatch,
    limits: HostLimits,
) -> Result<Profile, ReplayError> {
    let plugin = start(configured, limits)?;
    let columns = batch.columns(plugin.descriptor())?;
    let rows = columns.slot.len();
    Subject { plugin, rows }.measure(&columns)
}

fn start(configured: Configured<'_>, limits: HostLimits) -> Result<Plugin, ReplayError> {
    let Configured { component, settings, artifact, seed } = configured;
    // Nobody is kept waiting, and a slow machine shall not spoil a sample.
    let limits = HostLimits { brake_ticks: u64::MAX / 2, ..limits };
    Ok(started(component, settings, artifact, seed, limits)?)
}

/// Rows in the columns that a guest takes, owned.
#[derive(Clone, Debug)]
pub(crate) struct Columns {
    pub(crate) slots: u32,
    pub(crate) slot: Vec<u32>,
    pub(crate) event_time: Vec<i64>,
    pub(crate) values: Vec<f64>,
    pub(crate) missing: Vec<u8>,
    pub(crate) state: Vec<u8>,
}

impl Columns {
    pub(crate) fn batch(&self) -> Batch<'_> {
        Batch {
            slots: self.slots,
            slot: &self.slot,
            event_time: &self.event_time,
            values: &self.values,
            missing: &self.missing,
            state: &self.state,
        }
    }

    /// One row by itself, on the state before the first.
    pub(crate) fn of_row(&self, row: usize) -> Self {
        let (rows, stride) = (self.slot.len(), self.state.len() / (self.slots.max(1) as usize));
        let features = self.values.len() / rows.max(1);
        let mut missing = Vec::new();
        let cells = (0..features).map(|feature| feature * rows + row);
        for (place, cell) in cells.clone().enumerate() {
            if self.missing.get(cell / 8).is_some_and(|byte| byte >> (cell % 8) & 1 == 1) {
                missing.resize(features.div_ceil(8), 0);
                missing[place / 8] |= 1 << (place % 8);
            }
        }
        let at = self.slot[row] as usize * stride;
        Self {
            slots: 1,
            slot: vec![0],
            event_time: vec![self.event_time[row]],
            values: cells.map(|cell| self.values[cell]).collect(),
            missing,
            state: self.state[at..at + stride].to_vec(),
        }
    }
}

struct Subject {
    plugin: Plugin,
    rows: usize,
}

impl Subject {
    fn measure(&self, columns: &Columns) -> Result<Profile, ReplayError> {
        let batch = &columns.batch();
        let mut session = Session::new(self.plugin.clone());
        let fuel = fuel_of(&mut session, batch)?;
        let time = timed(&mut session, batch)?;
        let mut fuel_by_row = Vec::with_capacity(self.rows);
        for row in 0..self.rows {
            session.renew();
            fuel_by_row.push(fuel_of(&mut session, &columns.of_row(row).batch())?);
        }
        fuel_by_row.sort_unstable();
        let memory_bytes_peak = session.counts().memory_bytes_peak;
        let functions = self.sampled(batch, fuel);
        Ok(Profile { rows: self.rows, fuel, fuel_by_row, memory_bytes_peak, time, functions })
    }

    /// Which functions were running when the fuel ran out, at places spread evenly over the call.
    #[expect(clippy::cast_precision_loss, reason = "some hundreds")]
    fn sampled(&self, batch: &Batch<'_>, fuel: u64) -> Vec<FunctionShare> {
        let mut counts: BTreeMap<String, (u64, u64)> = BTreeMap::new();
        let mut session = Session::new(self.plugin.clone());
        let mut samples = 0;
        for sample in 0..SAMPLES {
            session.renew();
            let budget = u128::from(fuel) * u128::from(2 * sample + 1) / u128::from(2 * SAMPLES);
            let stopped = session.score(batch, u64::try_from(budget).unwrap_or(fuel));
            // It may end before it looks at its fuel again.
            let Err(CallError::Failed { trace, .. }) = stopped else { continue };
            let Some(innermost) = trace.first() else { continue };
            samples += 1;
            counts.entry(innermost.clone()).or_default().0 += 1;
            for function in trace.iter().collect::<BTreeSet<_>>() {
                counts.entry(function.clone()).or_default().1 += 1;
            }
        }
        let share = |count: u64| count as f64 / samples.max(1) as f64;
        let named = |(name, (own, total)): (String, (u64, u64))| FunctionShare {
            name,
            own: share(own),
            total: share(total),
        };
        let mut functions: Vec<FunctionShare> = counts.into_iter().map(named).collect();
        functions.sort_by(|one, other| other.own.total_cmp(&one.own).then(other.total.total_cmp(&one.total)));
        functions
    }
}

fn fuel_of(session: &mut Session, batch: &Batch<'_>) -> Result<u64, ReplayError> {
    session.score(batch, FUEL).map(|scored| scored.fuel_used).map_err(failed)
}

fn timed(session: &mut Session, batch: &Batch<'_>) -> Result<Duration, ReplayError> {
    let mut times = Vec::new();
    for _ in 0..TIMED_CALLS {
        let began = Instant::now();
        fuel_of(session, batch)?;
        times.push(began.elapsed());
    }
    times.sort_unstable();
    Ok(times[times.len() / 2])
}

fn failed(why: CallError) -> ReplayError {
    ReplayError::Unreadable(format!("the component fails on these rows: {why}"))
}

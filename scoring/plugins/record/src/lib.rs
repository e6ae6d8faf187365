//! Whether a series is further from its habits than it has been for long: a deviation, held against its own record.
//!
//! Two habits are learned per series, both as an exponentially weighted mean and variance (Finch, "Incremental
//! calculation of weighted mean and variance", 2009, section 9, with weight `max(w, 1 / (n + 1))`, so that the first
//! rows form a plain average):
//!
//! * *drift*: how far a fast mean of the values lies from their slow mean;
//! * *hour*: what the value is in this hour of the day (UTC), once that hour has had [`HOUR_ROWS_MIN`] rows.
//!
//! ```text
//! deviation = |z(drift)| + hour-share * |z(hour)|                standard deviations, before this row is learned
//! record'   = max(record * (1 - decay), min(deviation, growth * max(record, floor)))
//! score     = deviation / (deviation + max(record, floor))
//! ```
//!
//! So 0.5 is "as far as ever lately", and a series that always jumps about raises the bar for itself; `floor` keeps a
//! calm one from alarming at trifles, `growth` keeps one freak value from deafening the model. To compare with the
//! greatest of the past instead of a fixed number of sigmas is the idea of record statistics (Chandler, "The
//! distribution and frequency of record values", 1952): in a stationary series records become rare by themselves.
//!
//! Refractory: after a row at or above `trigger`, the scores of the next `refractory-rows` rows are held below half the
//! trigger, so one event alarms once. Set `trigger` to the model's threshold.
//!
//! Only `+ - * /` and `sqrt` are used: IEEE 754 fixes their results, so every machine gives the same bytes.

use guest::habit::{Habit, Refractory, bounded, greatest, least, weight};
use guest::univariate::{Said, Univariate, Word, get, put};
use serde::Deserialize;

const HOURS: usize = 24;
const HOUR_MICROS: i64 = 3_600_000_000;
/// Rows of an hour of the day before it counts.
const HOUR_ROWS_MIN: f64 = 10.0;

// The slab: rows, refractory rows left, fast mean, record; mean and variance of the values and of the drift; rows, mean
// and variance of each hour.
const LEFT: usize = 1;
const FAST: usize = 2;
const RECORD: usize = 3;
const VALUES: usize = 4;
const DRIFT: usize = 6;
const HOURLY: usize = 8;

/// Settings.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Settings {
    /// Weight of a new row in the slow mean and in what drift is usual, in (0, 1].
    pub slow: f64,
    /// Weight of a new row in the fast mean, in (0, 1].
    pub fast: f64,
    /// Weight of a new row in its hour of the day, in (0, 1].
    pub hour: f64,
    /// What a deviation from the hour's habit counts, beside one of the drift; 0: hours do not matter.
    pub hour_share: f64,
    /// Share of the record that is forgotten with each row, in [0, 1).
    pub decay: f64,
    /// Least record, in standard deviations.
    pub floor: f64,
    /// A row raises the record to this multiple at most.
    pub growth: f64,
    /// Rows of a series before its scores mean something.
    pub warm_up_rows: u32,
    /// Score that starts the refractory period.
    pub trigger: f64,
    /// Rows after a trigger whose scores are held down.
    pub refractory_rows: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            slow: 0.001,
            fast: 0.1,
            hour: 0.02,
            hour_share: 0.75,
            decay: 0.0001,
            floor: 4.0,
            growth: 1.1,
            warm_up_rows: 100,
            trigger: 0.5,
            refractory_rows: 100,
        }
    }
}

/// The model.
pub struct Record;

/// Words of the numbers of an event time's hour.
fn hour_of(event_time: i64) -> usize {
    HOURLY + 3 * event_time.div_euclid(HOUR_MICROS).rem_euclid(HOURS as i64) as usize
}

fn habit(slab: &[Word], at: usize) -> Habit {
    Habit { mean: get(slab, at), variance: get(slab, at + 1) }
}

/// Learns a value at a habit of the slab.
fn learn(slab: &mut [Word], at: usize, value: f64, weight: f64) {
    let mut habit = habit(slab, at);
    habit.learn(value, weight);
    put(slab, at, habit.mean);
    put(slab, at + 1, habit.variance);
}

impl Univariate for Record {
    type Settings = Settings;
    const NAME: &'static str = "record";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const REVISION: u32 = 1;
    const SCORE: &'static str = "novelty";
    const SCORE_MAX: f64 = 1.0;
    // It judges two distances at once: no interval of values is where one begins.
    const INTERVAL: bool = false;

    fn check(settings: &Settings) -> Result<(), String> {
        for (name, weight) in [("slow", settings.slow), ("fast", settings.fast), ("hour", settings.hour)] {
            if !(weight > 0.0 && weight <= 1.0) {
                return Err(format!("{name} must be above 0 and at most 1"));
            }
        }
        let within = |value: f64, least: f64, greatest: f64| value >= least && value <= greatest;
        if !(settings.decay >= 0.0 && settings.decay < 1.0) {
            return Err("decay must be at least 0 and below 1".to_owned());
        }
        if !(within(settings.floor, 1e-3, 1e6) && within(settings.growth, 1.0, 1e6)) {
            return Err("floor must be 0.001 to 1000000, growth 1 to 1000000".to_owned());
        }
        if !(within(settings.hour_share, 0.0, 1e6) && within(settings.trigger, 0.0, 1.0)) {
            return Err("hour-share must be 0 to 1000000, trigger 0 to 1".to_owned());
        }
        Ok(())
    }

    fn words(_: &Settings) -> usize {
        HOURLY + 3 * HOURS
    }

    fn warm_up_rows(settings: &Settings) -> u32 {
        settings.warm_up_rows
    }

    fn fold(slab: &mut [Word], value: f64, event_time: i64, settings: &Settings) -> Said {
        let value = bounded(value);
        let (rows, fast) = (get(slab, 0), get(slab, FAST));
        let fast = if rows == 0.0 { value } else { fast + settings.fast * (value - fast) };
        let drift = fast - get(slab, VALUES);
        let hour = hour_of(event_time);
        let hour_rows = get(slab, hour);

        let mut deviation = 0.0;
        if rows >= 2.0 {
            deviation = habit(slab, DRIFT).deviations(drift);
            if hour_rows >= HOUR_ROWS_MIN {
                deviation += settings.hour_share * habit(slab, hour + 1).deviations(value);
            }
        }
        let record = get(slab, RECORD);
        let bar = greatest(record, settings.floor);
        let score = deviation / (deviation + bar);

        let raised = greatest(record * (1.0 - settings.decay), least(deviation, settings.growth * bar));
        let slow = weight(settings.slow, rows);
        learn(slab, DRIFT, drift, slow);
        learn(slab, VALUES, value, slow);
        learn(slab, hour + 1, value, weight(settings.hour, hour_rows));
        let mut left = get(slab, LEFT);
        let refractory = Refractory { trigger: settings.trigger, rows: settings.refractory_rows };
        let said = refractory.hold(score, rows >= f64::from(settings.warm_up_rows), &mut left);
        for (at, number) in
            [(0, rows + 1.0), (LEFT, left), (FAST, fast), (RECORD, raised), (hour, hour_rows + 1.0)]
        {
            put(slab, at, number);
        }
        Said::score(said)
    }
}

guest::export_univariate!(Record);

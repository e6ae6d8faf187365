//! How far a value lies from a forecast of level, trend and season, in standard deviations of what such forecasts have
//! missed by: Holt-Winters.
//!
//! ```text
//! forecast = level + trend + season[s]                       s: the part of the period the row lies in
//! miss     = x - forecast
//! level'     = level + trend + alpha * miss
//! trend'     = trend + beta * alpha * miss
//! season[s]' = season[s] + gamma * (1 - alpha) * miss
//! ```
//!
//! The error-correction form of the additive method (Holt 1957; Winters, "Forecasting sales by exponentially weighted
//! moving averages", 1960; this form: Hyndman et al., "Forecasting with Exponential Smoothing", 2008, chapter 2), with one
//! season for each of 24 parts of `period-seconds` instead of one for each row, so that rows may come when they like. The
//! score is `|miss| / sigma`, from misses so far, weighted as in `ewma`. What is learned of a row is bounded by `miss-max`
//! standard deviations: an outlier moves level and season a little, and a new level is learned step by step.
//!
//! Refractory: after a row at or above `trigger`, the scores of the next `refractory-rows` rows are held below half the
//! trigger, so one event alarms once. Set `trigger` to the model's threshold.
//!
//! Expected of a row are the values that lie within `trigger` of these deviations of the forecast.

use guest::habit::{Habit, Refractory, around, bounded, greatest, least, weight};
use guest::univariate::{Said, Univariate, Word, get, put};
use serde::Deserialize;

/// Greatest score.
const SCORE_MAX: f64 = 1000.0;
const PARTS: usize = 24;
/// Rows after which the level is no longer the plain average.
const OPENING_ROWS: f64 = 10.0;
const PERIOD_SECONDS_MAX: u32 = 400 * 86_400;

// The slab: rows, refractory rows left, level, trend, mean and variance of the misses; the seasons.
const LEFT: usize = 1;
const LEVEL: usize = 2;
const TREND: usize = 3;
const MISSES: usize = 4;
const SEASONS: usize = 6;

/// Settings.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Settings {
    /// Seconds after which the season begins anew: 86400, or 604800 for a week.
    pub period_seconds: u32,
    /// Weight of a miss in the level, in [0, 1].
    pub alpha: f64,
    /// Weight of what the level has learned in the trend, in [0, 1].
    pub beta: f64,
    /// Weight of a miss in its season, in [0, 1].
    pub gamma: f64,
    /// Weight of a miss in how much misses spread, in (0, 1].
    pub spread: f64,
    /// Standard deviations of a miss that is learned at most.
    pub miss_max: f64,
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
            period_seconds: 86_400,
            alpha: 0.05,
            beta: 0.0,
            gamma: 0.1,
            spread: 0.005,
            miss_max: 4.0,
            warm_up_rows: 300,
            trigger: 6.0,
            refractory_rows: 100,
        }
    }
}

/// The model.
pub struct Seasonal;

/// Word of the season that an event time lies in.
fn season_of(event_time: i64, settings: &Settings) -> usize {
    let period = i64::from(settings.period_seconds) * 1_000_000;
    let part = event_time.rem_euclid(period) as f64 / period as f64 * PARTS as f64;
    SEASONS + (part as usize).min(PARTS - 1)
}

impl Univariate for Seasonal {
    type Settings = Settings;
    const NAME: &'static str = "seasonal";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const REVISION: u32 = 1;
    const SCORE: &'static str = "sigmas";
    const SCORE_MAX: f64 = SCORE_MAX;
    const INTERVAL: bool = true;

    fn check(settings: &Settings) -> Result<(), String> {
        if !(PARTS as u32..=PERIOD_SECONDS_MAX).contains(&settings.period_seconds) {
            return Err(format!("period-seconds must be {PARTS} to {PERIOD_SECONDS_MAX}"));
        }
        let share = |value: f64| (0.0..=1.0).contains(&value);
        if !(share(settings.alpha) && share(settings.beta) && share(settings.gamma)) {
            return Err("alpha, beta and gamma must be 0 to 1".to_owned());
        }
        if !(settings.spread > 0.0 && settings.spread <= 1.0) {
            return Err("spread must be above 0 and at most 1".to_owned());
        }
        if !(settings.miss_max > 0.0 && settings.miss_max <= SCORE_MAX && settings.trigger >= 0.0) {
            return Err(format!("miss-max must be above 0 and at most {SCORE_MAX}, trigger not negative"));
        }
        Ok(())
    }

    fn words(_: &Settings) -> usize {
        SEASONS + PARTS
    }

    fn warm_up_rows(settings: &Settings) -> u32 {
        settings.warm_up_rows
    }

    fn fold(slab: &mut [Word], value: f64, event_time: i64, settings: &Settings) -> Said {
        let value = bounded(value);
        let (rows, season) = (get(slab, 0), season_of(event_time, settings));
        let (level, trend) = (get(slab, LEVEL), get(slab, TREND));
        let mut misses = Habit { mean: get(slab, MISSES), variance: get(slab, MISSES + 1) };
        let forecast = if rows == 0.0 { value } else { level + trend + get(slab, season) };
        let miss = bounded(value - forecast);
        let opening = rows < OPENING_ROWS;
        let spread = misses.spread();
        let expected = around(forecast, settings.trigger * spread);
        let score = if opening || miss == 0.0 { 0.0 } else { least(miss.abs() / spread, SCORE_MAX) };

        let learned = if opening {
            miss
        } else {
            least(greatest(miss, -settings.miss_max * spread), settings.miss_max * spread)
        };
        let alpha = if opening { weight(settings.alpha, rows) } else { settings.alpha };
        let moved = level + trend + alpha * learned;
        put(slab, LEVEL, if rows == 0.0 { value } else { bounded(moved) });
        put(slab, TREND, bounded(trend + settings.beta * alpha * learned));
        let other = get(slab, season) + settings.gamma * (1.0 - alpha) * learned;
        put(slab, season, bounded(other));
        misses.learn(learned, weight(settings.spread, rows));
        put(slab, MISSES, misses.mean);
        put(slab, MISSES + 1, misses.variance);
        put(slab, 0, rows + 1.0);
        let mut left = get(slab, LEFT);
        let refractory = Refractory { trigger: settings.trigger, rows: settings.refractory_rows };
        let score = refractory.hold(score, rows >= f64::from(settings.warm_up_rows), &mut left);
        put(slab, LEFT, left);
        Said { score, expected }
    }
}

guest::export_univariate!(Seasonal);

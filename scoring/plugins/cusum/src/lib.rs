//! Whether a series has moved to another level: a cumulative sum on either side.
//!
//! ```text
//! z    = (x - mean) / sigma                                  mean and sigma of the rows before
//! up   = max(0, up + z - slack),   down = max(0, down - z - slack)
//! score = max(up, down)
//! ```
//!
//! Small shifts that no single value shows add up; `slack` is half of the shift, in standard deviations, that is worth
//! finding (Page, "Continuous inspection schemes", 1954; the tabular form with two sides: Montgomery, "Introduction to
//! Statistical Quality Control", chapter on cumulative sums). `z` is taken for `z-max` at most, so that one freak value is
//! no change of level. While a sum is above half of `trigger` nothing is learned, or a slow shift would be taken for the
//! new habit before it is found. At `trigger` the change is found: the sums and what was learned begin anew at the new
//! level, and the series warms up again. Set `trigger` to the model's threshold.

use guest::habit::{Habit, bounded, greatest, least, weight};
use guest::univariate::{Said, Univariate, Word, get, put};
use serde::Deserialize;

/// Greatest score.
const SCORE_MAX: f64 = 1000.0;

// The slab: rows, upper sum, lower sum, mean, variance.
const UP: usize = 1;
const DOWN: usize = 2;
const MEAN: usize = 3;
const VARIANCE: usize = 4;

/// Settings.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Settings {
    /// Weight of a new row in mean and variance, in (0, 1].
    pub alpha: f64,
    /// Standard deviations a row may lie off without adding to a sum.
    pub slack: f64,
    /// Standard deviations that one row counts at most.
    pub z_max: f64,
    /// Sum at which the level has changed.
    pub trigger: f64,
    /// Rows of a level before its sums mean something.
    pub warm_up_rows: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { alpha: 0.01, slack: 0.5, z_max: 4.0, trigger: 20.0, warm_up_rows: 50 }
    }
}

/// The model.
pub struct Cusum;

impl Univariate for Cusum {
    type Settings = Settings;
    const NAME: &'static str = "cusum";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const REVISION: u32 = 1;
    const SCORE: &'static str = "sum";
    const SCORE_MAX: f64 = SCORE_MAX;
    // A sum over many rows says nothing of the last one.
    const INTERVAL: bool = false;

    fn check(settings: &Settings) -> Result<(), String> {
        if !(settings.alpha > 0.0 && settings.alpha <= 1.0) {
            return Err("alpha must be above 0 and at most 1".to_owned());
        }
        if !(settings.slack >= 0.0 && settings.z_max > settings.slack && settings.z_max <= SCORE_MAX) {
            return Err(format!("slack must be at least 0, and z-max above it and at most {SCORE_MAX}"));
        }
        if !(settings.trigger > 0.0 && settings.trigger <= SCORE_MAX) {
            return Err(format!("trigger must be above 0 and at most {SCORE_MAX}"));
        }
        Ok(())
    }

    fn words(_: &Settings) -> usize {
        5
    }

    fn warm_up_rows(settings: &Settings) -> u32 {
        settings.warm_up_rows
    }

    fn fold(slab: &mut [Word], value: f64, _: i64, settings: &Settings) -> Said {
        let value = bounded(value);
        let rows = get(slab, 0);
        let mut habit = Habit { mean: get(slab, MEAN), variance: get(slab, VARIANCE) };
        let (mut up, mut down) = (0.0, 0.0);
        if rows >= f64::from(settings.warm_up_rows) {
            let z = (value - habit.mean) / habit.spread();
            let z = least(greatest(z, -settings.z_max), settings.z_max);
            up = least(greatest(0.0, get(slab, UP) + z - settings.slack), SCORE_MAX);
            down = least(greatest(0.0, get(slab, DOWN) - z - settings.slack), SCORE_MAX);
        }
        let score = greatest(up, down);
        let found = score >= settings.trigger;
        if found {
            (up, down, habit) = (0.0, 0.0, Habit { mean: value, variance: 0.0 });
        } else if score < settings.trigger / 2.0 {
            habit.learn(value, weight(settings.alpha, rows));
        }
        let rows = if found { 1.0 } else { rows + 1.0 };
        for (at, number) in
            [(0, rows), (UP, up), (DOWN, down), (MEAN, habit.mean), (VARIANCE, habit.variance)]
        {
            put(slab, at, number);
        }
        Said::score(score)
    }
}

guest::export_univariate!(Cusum);

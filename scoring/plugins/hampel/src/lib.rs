//! How far a value lies from the median of the values before it, in robust standard deviations: a Hampel identifier.
//!
//! ```text
//! score = |x - median| / (1.4826 * MAD + sigma-min)        over the last `window` values, x not among them
//! ```
//!
//! MAD is the median of the distances from the median; times 1.4826 it estimates the standard deviation of a normal
//! distribution (Hampel, "The influence curve and its role in robust estimation", 1974; as a filter: Pearson, "Outliers in
//! process modeling and identification", 2002). Up to half of the window may be outliers without moving the scale, which
//! a mean and a variance cannot say of themselves. The median of an even number is the lower of the two in the middle.
//!
//! Refractory: after a row at or above `trigger`, the scores of the next `refractory-rows` rows are held below half the
//! trigger, so one event alarms once. Set `trigger` to the model's threshold.
//!
//! Expected of a row are the values that lie within `trigger` of these deviations of the median.

use guest::habit::{Refractory, around, bounded, least};
use guest::univariate::{Said, Univariate, Word, get, put};
use serde::Deserialize;

/// Greatest score; also the score of any change while the window holds one value only.
const SCORE_MAX: f64 = 1000.0;
/// Standard deviations of a normal distribution in its median distance from the median.
const NORMAL: f64 = 1.4826;
const WINDOW_MAX: usize = 128;

// The slab: rows, refractory rows left; the window in the order of arrival, as a ring; the window in order of size.
const LEFT: usize = 1;
const RING: usize = 2;

/// Settings.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Settings {
    /// Values that are looked back at, 3 to 128.
    pub window: usize,
    /// Least standard deviation, in the unit of the values.
    pub sigma_min: f64,
    /// Score that starts the refractory period.
    pub trigger: f64,
    /// Rows after a trigger whose scores are held down.
    pub refractory_rows: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { window: 31, sigma_min: 0.0, trigger: 5.0, refractory_rows: 31 }
    }
}

/// The model.
pub struct Hampel;

/// Place in an ordered part of the slab where a value belongs: behind all that are less.
fn place(slab: &[Word], from: usize, count: usize, value: f64) -> usize {
    let (mut low, mut high) = (0, count);
    while low < high {
        let at = low.midpoint(high);
        if get(slab, from + at) < value {
            low = at + 1;
        } else {
            high = at;
        }
    }
    low
}

/// Takes a value out of an ordered part of so many, and puts another in.
fn exchange(slab: &mut [Word], from: usize, count: usize, out: f64, value: f64) {
    let at = from + place(slab, from, count, out);
    slab.copy_within(at + 1..from + count, at);
    insert(slab, from, count - 1, value);
}

/// Puts a value in beside so many that are ordered.
fn insert(slab: &mut [Word], from: usize, count: usize, value: f64) {
    let at = from + place(slab, from, count, value);
    slab.copy_within(at..from + count, at + 1);
    put(slab, at, value);
}

/// The median of an ordered part, and the median distance from it: the distances on either side of it are ordered too,
/// so the smaller half of them is merged.
fn middle(slab: &[Word], from: usize, count: usize) -> (f64, f64) {
    let half = (count - 1) / 2;
    let median = get(slab, from + half);
    let (mut below, mut above, mut distance) = (half as isize, half + 1, 0.0);
    for _ in 0..=half {
        let down = if below >= 0 { median - get(slab, from + below as usize) } else { f64::INFINITY };
        let up = if above < count { get(slab, from + above) - median } else { f64::INFINITY };
        if down <= up {
            (distance, below) = (down, below - 1);
        } else {
            (distance, above) = (up, above + 1);
        }
    }
    (median, distance)
}

impl Univariate for Hampel {
    type Settings = Settings;
    const NAME: &'static str = "hampel";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const REVISION: u32 = 1;
    const SCORE: &'static str = "sigmas";
    const SCORE_MAX: f64 = SCORE_MAX;
    const INTERVAL: bool = true;

    fn check(settings: &Settings) -> Result<(), String> {
        if !(3..=WINDOW_MAX).contains(&settings.window) {
            return Err(format!("window must be 3 to {WINDOW_MAX}"));
        }
        if [settings.trigger, settings.sigma_min].iter().any(|value| !value.is_finite() || *value < 0.0) {
            return Err("trigger and sigma-min must be finite and not negative".to_owned());
        }
        Ok(())
    }

    fn words(settings: &Settings) -> usize {
        RING + 2 * settings.window
    }

    fn warm_up_rows(settings: &Settings) -> u32 {
        settings.window as u32
    }

    fn fold(slab: &mut [Word], value: f64, _: i64, settings: &Settings) -> Said {
        let value = bounded(value);
        let (rows, window) = (get(slab, 0), settings.window);
        let (count, sorted) = (least(rows, window as f64) as usize, RING + window);
        let (mut score, mut expected) = (0.0, [value; 2]);
        if count > 0 {
            let (median, distance) = middle(slab, sorted, count);
            let spread = NORMAL * distance + settings.sigma_min;
            let off = (value - median).abs();
            expected = around(median, settings.trigger * spread);
            score = if off == 0.0 { 0.0 } else { least(off / spread, SCORE_MAX) };
        }
        let at = RING + (rows % window as f64) as usize;
        if count == window {
            let oldest = get(slab, at);
            exchange(slab, sorted, count, oldest, value);
        } else {
            insert(slab, sorted, count, value);
        }
        put(slab, at, value);
        put(slab, 0, rows + 1.0);
        let mut left = get(slab, LEFT);
        let refractory = Refractory { trigger: settings.trigger, rows: settings.refractory_rows };
        let score = refractory.hold(score, count == window, &mut left);
        put(slab, LEFT, left);
        Said { score, expected }
    }
}

guest::export_univariate!(Hampel);

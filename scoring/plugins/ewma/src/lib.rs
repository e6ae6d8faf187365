//! How far a value lies from where its series has been: an exponentially weighted z-score with a refractory period.
//!
//! Per series the slab holds an exponentially weighted mean and variance, updated as in Finch, "Incremental
//! calculation of weighted mean and variance" (2009), section 9:
//!
//! ```text
//! diff = x - mean;  step = a * diff;  mean' = mean + step;  variance' = (1 - a) * (variance + diff * step)
//! ```
//!
//! with `a = max(alpha, 1 / (n + 1))`, so that the first rows form a plain average instead of clinging to the first
//! value. The score is `|x - mean| / sigma`, taken *before* the update and capped at [`SCORE_MAX`]: standard
//! deviations, so a threshold reads "so many sigmas". `sigma = max(sqrt(variance), sigma-min, sigma-min-ratio * |mean|)`
//! keeps a resting sensor's last digit from counting as a catastrophe.
//!
//! Refractory: after a row at or above `trigger`, the scores of the next `refractory-rows` rows are held below half the
//! trigger, so one event alarms once while the averages get used to the new level. Set `trigger` to the model's
//! threshold.
//!
//! Only `+ - * /` and `sqrt` are used: IEEE 754 fixes their results, so every machine gives the same bytes.
//!
//! Expected of a row are the values that lie within `trigger` of these deviations of the mean.

use guest::habit::{around, bounded, greatest, least};
use guest::univariate::{Said, outputs};
use guest::{Batch, Descriptor, Fault, Feature, MissingRule, Model, RowFlags, Scored, StateId, Traits};
use serde::Deserialize;
use std::sync::OnceLock;

/// Greatest score; also the score of any change while sigma is 0.
const SCORE_MAX: f64 = 1000.0;
/// Rows seen (u32), refractory rows left (u32), mean (f64), variance (f64); little-endian.
const STRIDE: usize = 24;

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
struct Settings {
    /// Weight of a new value, in (0, 1].
    alpha: f64,
    /// Rows of a series before its scores mean something.
    warm_up_rows: u32,
    /// Score that starts the refractory period.
    trigger: f64,
    /// Rows after a trigger whose scores are held down.
    refractory_rows: u32,
    /// Least sigma, in the unit of the values.
    sigma_min: f64,
    /// Least sigma as a share of the mean.
    sigma_min_ratio: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            alpha: 0.01,
            warm_up_rows: 100,
            trigger: 5.0,
            refractory_rows: 100,
            sigma_min: 0.0,
            sigma_min_ratio: 0.001,
        }
    }
}

impl Settings {
    fn parse(text: &str) -> Result<Self, String> {
        let settings: Self = guest::settings::read(text)?;
        if !(settings.alpha > 0.0 && settings.alpha <= 1.0) {
            return Err("alpha must be above 0 and at most 1".to_owned());
        }
        let floors = [settings.trigger, settings.sigma_min, settings.sigma_min_ratio];
        if floors.iter().any(|value| !value.is_finite() || *value < 0.0) {
            return Err("trigger, sigma-min and sigma-min-ratio must be finite and not negative".to_owned());
        }
        Ok(settings)
    }
}

struct Series {
    rows: u32,
    refractory: u32,
    mean: f64,
    variance: f64,
}

impl Series {
    fn read(bytes: &[u8; STRIDE]) -> Self {
        let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let float = |at: usize| f64::from_bits(u64::from(word(at)) | u64::from(word(at + 4)) << 32);
        Self { rows: word(0), refractory: word(4), mean: float(8), variance: float(16) }
    }

    fn write(&self, bytes: &mut [u8; STRIDE]) {
        bytes[..4].copy_from_slice(&self.rows.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.refractory.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.mean.to_le_bytes());
        bytes[16..].copy_from_slice(&self.variance.to_le_bytes());
    }

    /// Scores a value, then learns it.
    fn fold(&mut self, value: f64, settings: &Settings) -> Said {
        let diff = bounded(value) - self.mean;
        let floor = greatest(settings.sigma_min, settings.sigma_min_ratio * self.mean.abs());
        let sigma = greatest(self.variance.sqrt(), floor);
        let expected = around(self.mean, settings.trigger * sigma);
        let score = if self.rows == 0 || diff == 0.0 { 0.0 } else { least(diff.abs() / sigma, SCORE_MAX) };

        let weight = greatest(settings.alpha, 1.0 / (f64::from(self.rows) + 1.0));
        let step = weight * diff;
        self.mean += step;
        self.variance = (1.0 - weight) * (self.variance + diff * step);

        let warm = self.rows >= settings.warm_up_rows;
        self.rows = self.rows.saturating_add(1);
        if self.refractory > 0 {
            self.refractory -= 1;
            return Said { score: least(score, settings.trigger / 2.0), expected };
        }
        if warm && score >= settings.trigger {
            self.refractory = settings.refractory_rows;
        }
        Said { score, expected }
    }
}

struct Ewma;

static SETTINGS: OnceLock<Settings> = OnceLock::new();

impl Model for Ewma {
    fn configure(settings: String, artifact: Option<Vec<u8>>, _seed: u64) -> Result<(), Fault> {
        guest::report_panics();
        if artifact.is_some() {
            return Err(Fault::BadConfig("takes no artifact".to_owned()));
        }
        let settings = Settings::parse(&settings).map_err(Fault::BadConfig)?;
        SETTINGS.set(settings).map_err(|_| Fault::Internal("configured twice".to_owned()))
    }

    fn describe() -> Descriptor {
        Descriptor {
            name: "ewma".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            features: vec![Feature { name: "value".to_owned(), unit: None, missing: MissingRule::SkipRow }],
            outputs: outputs("sigmas", SCORE_MAX, true),
            state: StateId { schema: "ewma".to_owned(), revision: 1 },
            stride: STRIDE as u32,
            accepts: Vec::new(),
            warm_up_rows: settings().warm_up_rows,
            traits: Traits::LEARNS | Traits::BATCH_INVARIANT | Traits::DETERMINISTIC,
        }
    }

    fn score(rows: Batch, mut state: Vec<u8>) -> Result<Scored, Fault> {
        let settings = settings();
        let (slabs, rest) = state.as_chunks_mut::<STRIDE>();
        if !rest.is_empty() {
            return Err(Fault::BadState("not a multiple of the stride".to_owned()));
        }
        let count = rows.values.len();
        let mut values = rows.values;
        values.resize(3 * count, 0.0);
        let (scores, bounds) = values.split_at_mut(count);
        let (lows, highs) = bounds.split_at_mut(count);
        let mut row_flags = vec![0; count];
        let columns = scores.iter_mut().zip(lows).zip(highs).zip(&mut row_flags).zip(&rows.slot);
        for ((((value, low), high), flags), slot) in columns {
            let Some(slab) = slabs.get_mut(*slot as usize) else {
                return Err(Fault::BadInput("a row names a series that was not passed".to_owned()));
            };
            let mut series = Series::read(slab);
            if series.rows < settings.warm_up_rows {
                *flags = RowFlags::WARM_UP.bits();
            }
            let said = series.fold(*value, settings);
            (*value, [*low, *high]) = (said.score, said.expected);
            series.write(slab);
        }
        Ok(Scored { values, row_flags, state })
    }

    fn upgrade_state(source: StateId, _slots: u32, _state: Vec<u8>) -> Result<Vec<u8>, Fault> {
        Err(Fault::BadState(format!("cannot read {} revision {}", source.schema, source.revision)))
    }
}

/// What `configure` left.
fn settings() -> &'static Settings {
    SETTINGS.get().expect("the host configures first")
}

guest::export!(Ewma with_types_in guest::bindings);

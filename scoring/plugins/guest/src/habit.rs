//! What several detectors learn of a series, in arithmetic that gives the same bytes on every machine: only `+ - * /` and
//! `sqrt`, whose results IEEE 754 fixes.

/// Values beyond it are taken for it, so that squares stay finite.
pub const MAGNITUDE_MAX: f64 = 1e150;

/// `f64::max` for numbers: two instructions here, where the one that minds NaN is a call.
#[must_use]
pub fn greatest(a: f64, b: f64) -> f64 {
    if a > b { a } else { b }
}

/// `f64::min` for numbers.
#[must_use]
pub fn least(a: f64, b: f64) -> f64 {
    if a < b { a } else { b }
}

/// A value within what the detectors calculate with.
#[must_use]
pub fn bounded(value: f64) -> f64 {
    least(greatest(value, -MAGNITUDE_MAX), MAGNITUDE_MAX)
}

/// The values that lie so far from a middle at most.
#[must_use]
pub fn around(middle: f64, distance: f64) -> [f64; 2] {
    [bounded(middle - distance), bounded(middle + distance)]
}

/// The weight of a new row: at least this, and so much that the first rows form a plain average.
#[must_use]
pub fn weight(least: f64, rows: f64) -> f64 {
    greatest(least, 1.0 / (rows + 1.0))
}

/// An exponentially weighted mean and variance. Finch, "Incremental calculation of weighted mean and variance" (2009),
/// section 9.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Habit {
    /// Mean.
    pub mean: f64,
    /// Variance.
    pub variance: f64,
}

impl Habit {
    /// Learns a value that has this weight.
    pub fn learn(&mut self, value: f64, weight: f64) {
        let difference = value - self.mean;
        let step = weight * difference;
        self.mean += step;
        self.variance = (1.0 - weight) * (self.variance + difference * step);
    }

    /// How far a value lies from the mean, in standard deviations; a spread of nothing is taken for a trifle of the mean.
    #[must_use]
    pub fn deviations(&self, value: f64) -> f64 {
        (value - self.mean).abs() / self.spread()
    }

    /// The standard deviation and a trifle: never 0.
    #[must_use]
    pub fn spread(&self) -> f64 {
        self.variance.sqrt() + 1e-9 * self.mean.abs() + 1e-12
    }
}

/// Holds the scores after a trigger below half of it for some rows, so that one event alarms once.
#[derive(Clone, Copy, Debug)]
pub struct Refractory {
    /// Score that starts it.
    pub trigger: f64,
    /// Rows it lasts.
    pub rows: u32,
}

impl Refractory {
    /// What is said of a score; `left` is how many rows are still to be held down, `warm` whether an alarm would count.
    #[must_use]
    pub fn hold(self, score: f64, warm: bool, left: &mut f64) -> f64 {
        if *left > 0.0 {
            *left -= 1.0;
            return least(score, self.trigger / 2.0);
        }
        if warm && score >= self.trigger {
            *left = f64::from(self.rows);
        }
        score
    }
}

//! What came of a flush.

use crate::lane::Row;
use scoring_host::Failure;

/// What one model says of one value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verdict {
    /// The model does not look at it, lacks a feature it needs, or declines.
    NotScored,
    /// A score.
    Score {
        /// Greater is stranger; finite.
        score: f64,
        /// The series has had too few rows: no alert.
        warm_up: bool,
        /// Past warm-up and at or above the model's threshold.
        over_threshold: bool,
        /// Belongs to the sample that goes to `iot.scores`, a function of offset and metric.
        sampled: bool,
    },
    /// The model failed on this row, and always will; [`Flushed::failures`] says more.
    Failed(Failure),
    /// The row was kept from a model that has failed on too many before it.
    LeftOut,
}

impl Verdict {
    /// Whether it is told to anybody but the windows.
    #[inline]
    pub(crate) const fn is_notable(&self) -> bool {
        match self {
            Self::NotScored | Self::LeftOut => false,
            Self::Score { over_threshold, sampled, .. } => *over_threshold || *sampled,
            Self::Failed(_) => true,
        }
    }
}

/// A row a model failed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedRow {
    /// The reading.
    pub row: Row,
    /// Which of the reading's values, in the order pushed.
    pub value: usize,
    /// Index of the model.
    pub model: usize,
    /// How.
    pub failure: Failure,
    /// In words; the same in every run of the same release.
    pub detail: String,
}

/// The verdicts of one flush. Keep it and pass it in again: it keeps its memory.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Flushed {
    pub(crate) models: usize,
    /// Row -> index of its first value; one more at the end.
    pub(crate) starts: Vec<u32>,
    /// Value -> model -> verdict.
    pub(crate) verdicts: Vec<Verdict>,
    /// Value -> whether anything is to be told of it.
    pub(crate) notable: Vec<bool>,
    pub(crate) failures: Vec<FailedRow>,
    /// Model, value, and what the model would have expected, in this order; of those over the threshold.
    pub(crate) expected: Vec<(usize, u32, [Option<f64>; 2])>,
}

impl Flushed {
    /// Readings in this flush.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.starts.len().saturating_sub(1)
    }

    /// By model index, what was said of the reading's `value`-th value.
    ///
    /// # Panics
    /// When the row is not of this flush, or had fewer values.
    #[must_use]
    #[inline]
    pub fn verdicts(&self, row: Row, value: usize) -> &[Verdict] {
        let cell = self.starts[row.0 as usize] as usize + value;
        assert!(cell < self.starts[row.0 as usize + 1] as usize, "the reading has no such value");
        &self.verdicts[cell * self.models..(cell + 1) * self.models]
    }

    /// Whether any model failed on the reading's `value`-th value, or scored it over its threshold or for the sample.
    #[must_use]
    #[inline]
    pub fn is_notable(&self, row: Row, value: usize) -> bool {
        self.notable[self.starts[row.0 as usize] as usize + value]
    }

    /// Least and greatest value that a model says it would have expected of the first feature of a row that is over its
    /// threshold.
    #[must_use]
    pub fn expected(&self, row: Row, value: usize, model: usize) -> [Option<f64>; 2] {
        let cell = self.starts[row.0 as usize] as usize + value;
        let found = self.expected.binary_search_by_key(&(model, cell), |(by, of, _)| (*by, *of as usize));
        found.map_or([None; 2], |at| self.expected[at].2)
    }

    /// The rows that failed, in log order by model.
    #[must_use]
    pub fn failures(&self) -> &[FailedRow] {
        &self.failures
    }

    pub(crate) fn clear(&mut self) {
        self.models = 0;
        self.starts.clear();
        self.verdicts.clear();
        self.notable.clear();
        self.failures.clear();
        self.expected.clear();
    }

    /// Which reading and which of its values a cell is.
    pub(crate) fn locate(&self, cell: u32) -> (Row, usize) {
        let row = self.starts.partition_point(|start| *start <= cell) - 1;
        (Row(u32::try_from(row).unwrap_or(u32::MAX)), (cell - self.starts[row]) as usize)
    }
}

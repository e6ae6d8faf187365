//! What a lane has done, by model. For metrics: the books count verdicts themselves, and the host's part of these
//! numbers depends on the machine.

use scoring_host::{Failure, SessionCounts};

/// One model's numbers since the lane was made or configured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Name of the model.
    pub model: String,
    /// Digest of its version.
    pub version: String,
    /// Rows given to the model.
    pub rows: u64,
    /// Rows that got a score.
    pub scored: u64,
    /// Scores over the threshold.
    pub over_threshold: u64,
    /// Scores of series that were warming up.
    pub warm_up: u64,
    /// Rows the model declined.
    pub skipped: u64,
    /// Rows that failed, in the order of [`Failure::ALL`].
    pub failed: [u64; 4],
    /// Rows that were kept from the model because it had failed on too many.
    pub left_out: u64,
    /// Batches that had to be cut into smaller ones.
    pub halved: u64,
    /// The host's numbers.
    pub host: SessionCounts,
}

impl Counters {
    pub(crate) fn fail(&mut self, failure: Failure) {
        self.failed[failure as usize] += 1;
    }
}

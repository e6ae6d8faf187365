//! The processor's books, checked against the journal's own offsets.

use super::OpsError;
use crate::view::View;
use journal::port::{Journal, TopicPartition};
use schemas::record::Totals;
use schemas::topic::Topic;
use serde::Serialize;

/// One partition's books.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BooksLine {
    /// Partition of `iot.raw`.
    pub partition: u32,
    /// Readings read.
    pub received: i64,
    /// Taken by at least one window.
    pub aggregated: i64,
    /// Dropped by a rule of the configuration.
    pub filtered: i64,
    /// Seen before.
    pub duplicate: i64,
    /// Refused by every window.
    pub late: i64,
    /// Dead letters other than `scoring`.
    pub rejected: i64,
    /// Read, waiting for their scores.
    pub pending: i64,
    /// Records in the log behind the position, by the journal's count.
    pub in_flight: i64,
    /// Offsets that retention took unread.
    pub lost: i64,
    /// Readings without an outcome, or with two: 0.
    pub readings_unexplained: i64,
    /// Offsets without a record, or with two: 0.
    pub offsets_unexplained: i64,
    /// Both are 0.
    pub balanced: bool,
}

impl BooksLine {
    /// The line of a partition: its totals and waiting readings at a position, the first offset they count from, the
    /// offsets lost since, and the log's end.
    #[must_use]
    pub fn of(
        partition: u32,
        totals: &Totals,
        pending: usize,
        (counted_from, position, end): (i64, i64, i64),
        lost: i64,
    ) -> Self {
        let pending = i64::try_from(pending).unwrap_or(i64::MAX);
        let outcomes = totals.aggregated + totals.filtered + totals.duplicate + totals.late + totals.rejected;
        let readings_unexplained = totals.received - outcomes;
        let offsets_unexplained = position - counted_from - lost - totals.received - totals.others - pending;
        Self {
            partition,
            received: totals.received + pending,
            aggregated: totals.aggregated,
            filtered: totals.filtered,
            duplicate: totals.duplicate,
            late: totals.late,
            rejected: totals.rejected,
            pending,
            in_flight: (end - position).max(0),
            lost,
            readings_unexplained,
            offsets_unexplained,
            balanced: readings_unexplained == 0 && offsets_unexplained == 0,
        }
    }
}

/// The books of the partitions that this process owns.
///
/// # Errors
/// When the journal does not answer.
pub fn books(view: &View, journal: &dyn Journal) -> Result<Vec<BooksLine>, OpsError> {
    let mut reader = journal.reader()?;
    let mut lines = Vec::new();
    for seen in view.partitions() {
        let raw = TopicPartition { topic: Topic::Raw, partition: seen.partition };
        let (_, end) = reader.bounds(raw)?;
        let offsets = (seen.counted_from, seen.position, end);
        lines.push(BooksLine::of(seen.partition, &seen.totals, seen.pending, offsets, seen.lost));
    }
    Ok(lines)
}

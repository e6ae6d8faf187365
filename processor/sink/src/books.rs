//! The sink's books: per topic and partition, what was read and what became of it.
//!
//! Invariants: `read = written + dead_lettered + pending`, each counted where it happens; in flight is the
//! journal's end minus the position, measured apart. What retention deleted before it was read is `lost`: it is
//! never made up for, and the books say so for ever.

use journal::port::{Journal, JournalError, TopicPartition};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Counts since the group first read the partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Records delivered by the journal.
    pub read: i64,
    /// Records whose rows the store has.
    pub written: i64,
    /// Records nobody could decode, now dead letters.
    pub dead_lettered: i64,
    /// Offsets that retention deleted before they were read.
    pub lost: i64,
}

/// One partition's line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Topic and partition.
    pub partition: TopicPartition,
    /// See [`Totals`].
    pub totals: Totals,
    /// Read, and on the way into the store.
    pub pending: i64,
    /// Next offset to be read.
    pub position: i64,
    /// Offsets from the position to the end of the log, measured at the journal.
    pub in_flight: i64,
}

impl Entry {
    /// Whether every record read has an outcome or is on its way, and none was lost.
    #[must_use]
    pub const fn balanced(&self) -> bool {
        let Totals { read, written, dead_lettered, lost } = self.totals;
        read == written + dead_lettered + self.pending && lost == 0
    }
}

/// All lines, by topic and partition; only of the partitions assigned to this instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Books {
    /// The lines.
    pub entries: Vec<Entry>,
}

impl Books {
    /// Whether every line is.
    #[must_use]
    pub fn balanced(&self) -> bool {
        self.entries.iter().all(Entry::balanced)
    }

    /// Sum over the lines of one figure.
    pub fn sum(&self, figure: impl Fn(&Entry) -> i64) -> i64 {
        self.entries.iter().map(figure).sum()
    }
}

/// The books as last committed, of a journal whose sink does not run.
///
/// # Errors
/// When the journal does not answer.
pub fn committed(journal: &dyn Journal) -> Result<Books, JournalError> {
    let mut reader = journal.reader()?;
    let mut entries = Vec::new();
    for topic in crate::TOPICS {
        for partition in 0..journal.partitions() {
            let partition = TopicPartition { topic, partition };
            let committed = reader.committed(crate::GROUP, partition)?;
            let (start, end) = reader.bounds(partition)?;
            let totals = committed.as_ref().and_then(|committed| totals_of(&committed.metadata));
            let position = committed.map_or(start, |committed| committed.offset);
            let in_flight = end.saturating_sub(position).max(0);
            entries.push(Entry {
                partition,
                totals: totals.unwrap_or_default(),
                pending: 0,
                position,
                in_flight,
            });
        }
    }
    Ok(Books { entries })
}

/// What is committed beside an offset.
#[derive(Debug, Serialize, Deserialize)]
struct Metadata {
    version: u32,
    #[serde(flatten)]
    totals: Totals,
}

/// Totals as offset metadata.
pub(crate) fn metadata(totals: Totals) -> String {
    let Totals { read, written, dead_lettered, lost } = totals;
    format!(
        r#"{{"version":1,"read":{read},"written":{written},"dead_lettered":{dead_lettered},"lost":{lost}}}"#
    )
}

/// Totals from offset metadata; none when it was not written by a sink of a version we know.
pub(crate) fn totals_of(metadata: &str) -> Option<Totals> {
    serde_json::from_str::<Metadata>(metadata)
        .ok()
        .filter(|found| found.version == 1)
        .map(|found| found.totals)
}

/// The lines as the worker moves them; read by others at any time.
#[derive(Debug, Default)]
pub(crate) struct Ledger(Mutex<BTreeMap<TopicPartition, Line>>);

/// Where a partition stands.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Line {
    /// Counts, those of the running batch included.
    pub(crate) totals: Totals,
    /// Of the running batch.
    pub(crate) pending: i64,
    /// Next offset to be read.
    pub(crate) position: i64,
}

impl Ledger {
    pub(crate) fn lock(&self) -> MutexGuard<'_, BTreeMap<TopicPartition, Line>> {
        // Counters only: whole at every step.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lines; in flight is for the caller to measure.
    pub(crate) fn entries(&self) -> Vec<Entry> {
        let entry = |(partition, line): (&TopicPartition, &Line)| Entry {
            partition: *partition,
            totals: line.totals,
            pending: line.pending,
            position: line.position,
            in_flight: 0,
        };
        self.lock().iter().map(entry).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemas::topic::Topic;

    #[test]
    fn metadata_comes_back_and_anything_else_is_refused() {
        let totals = Totals { read: 10, written: 8, dead_lettered: 2, lost: 5 };
        assert_eq!(totals_of(&metadata(totals)), Some(totals));
        for other in ["", "{}", "AAAA", &metadata(totals).replace(":1,", ":2,")] {
            assert_eq!(totals_of(other), None, "{other}");
        }
    }

    #[test]
    fn one_record_missing_anywhere_unbalances_the_line() {
        let whole = Entry {
            partition: TopicPartition { topic: Topic::Alerts, partition: 0 },
            totals: Totals { read: 10, written: 7, dead_lettered: 1, lost: 0 },
            pending: 2,
            position: 10,
            in_flight: 0,
        };
        assert!(whole.balanced());
        let changes: [fn(&mut Entry); 5] = [
            |entry| entry.totals.read -= 1,
            |entry| entry.totals.written -= 1,
            |entry| entry.totals.dead_lettered -= 1,
            |entry| entry.pending -= 1,
            |entry| entry.totals.lost += 1,
        ];
        for change in changes {
            let mut entry = whole.clone();
            change(&mut entry);
            assert!(!entry.balanced() && !Books { entries: vec![whole.clone(), entry] }.balanced());
        }
    }
}

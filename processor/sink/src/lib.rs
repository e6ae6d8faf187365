//! Committed results to rows: reads aggregates, alerts, scores and devices in a consumer group of its own, writes
//! them to the store by write clock, and commits its position only after every write succeeded.
//!
//! Lives here: the poll thread (`worker`), what a record becomes (`batch`), the books per topic and partition
//! ([`books`]), waiting between attempts (`backoff`). Does not live here: what a row is or which write wins
//! (`store`), or what is computed (`processor`).
//!
//! Invariants:
//! * A position is committed only after all writes and dead letters below it are durable: a crash repeats writes,
//!   which change nothing, and never skips one.
//! * Totals are committed in the metadata of the same commit, so that they survive kill -9 and count each record once.
//! * An overloaded store slows the sink, which is seen as lag; nothing is dropped.

mod backoff;
mod batch;
pub mod books;
mod config;
mod worker;

#[cfg(test)]
mod tests;

pub use config::{RawSink, SinkConfig};

use books::{Books, Ledger};
use chassis::admin::Readiness;
use chassis::supervise::Supervisor;
use journal::port::{Journal, JournalError, Reader};
use schemas::codec::Codec;
use schemas::topic::Topic;
use std::sync::{Arc, Mutex, PoisonError};
use store::feed::Feed;
use store::port::{Store, StoreError};

/// Name of the consumer group.
pub const GROUP: &str = "highwater-sink";

/// What is read.
pub const TOPICS: [Topic; 4] = [Topic::Aggregates, Topic::Alerts, Topic::Scores, Topic::Devices];

/// Name of the sink's entry in [`Readiness`] and of its thread.
pub const NAME: &str = "sink";

/// What the sink works with.
pub struct SinkDeps {
    /// Where results are read and positions committed.
    pub journal: Arc<dyn Journal>,
    /// Decodes them.
    pub codec: Codec,
    /// Where rows go.
    pub store: Arc<dyn Store>,
    /// Runs the thread and says when to stop.
    pub supervisor: Supervisor,
    /// Told when partitions have been assigned.
    pub readiness: Readiness,
    /// Told of what was stored.
    pub feed: Feed,
    /// Stable name of this instance within the group.
    pub member: String,
}

/// A running sink.
pub struct SinkHandle {
    ledger: Arc<Ledger>,
    reader: Mutex<Box<dyn Reader>>,
}

/// Why the sink stopped.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// The journal's fault, and not one that waiting cures.
    #[error("the sink's journal")]
    Journal(#[from] JournalError),
    /// The store's fault, and not one that waiting cures.
    #[error("the sink's store")]
    Store(#[from] StoreError),
    /// The system gives no thread.
    #[error("the sink's thread")]
    Thread(#[from] std::io::Error),
}

/// Starts the sink on a thread of `deps.supervisor`. It stops at the phase `Close` of the shutdown, after storing
/// what had been committed by then (at most `drain_max`); with `until_end` it stops by itself at the end of the
/// topics as it was at the start, and begins the shutdown.
///
/// # Errors
/// When the journal has no reader or the system no thread. Later faults end the thread and, through the
/// supervisor, the program.
pub fn start(deps: SinkDeps, config: SinkConfig) -> Result<SinkHandle, SinkError> {
    let ledger = Arc::new(Ledger::default());
    let reader = Mutex::new(deps.journal.reader()?);
    deps.readiness.missing(NAME, "its partitions");
    let supervisor = deps.supervisor.clone();
    let worker = worker::Worker::new(deps, config, Arc::clone(&ledger));
    supervisor.thread(NAME, move || worker.run().map_err(Into::into))?;
    Ok(SinkHandle { ledger, reader })
}

impl SinkHandle {
    /// The books, per topic and partition. In flight is asked of the journal now, after the positions.
    ///
    /// # Errors
    /// When the journal does not answer.
    pub fn books(&self) -> Result<Books, JournalError> {
        let mut entries = self.ledger.entries();
        let mut reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        for entry in &mut entries {
            let (_, end) = reader.bounds(entry.partition)?;
            entry.in_flight = end.saturating_sub(entry.position);
        }
        Ok(Books { entries })
    }
}

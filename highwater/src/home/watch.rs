//! The backlog monitor: measures once a second, and publishes the figures and the books as metrics.

use super::live::Live;
use super::measured::Publisher;
use super::open::Measured;
use super::processor::Running;
use chassis::BoxError;
use chassis::metrics as names;
use chassis::shutdown::{Phase, Shutdown};
use journal::port::{Journal, JournalError};
use lag::{Monitor, Rules};
use processor::view::PartitionPhase;
use schemas::topic::Topic;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Between two measurements.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The well-known lag metrics name a cluster.
const CLUSTER: &str = "embedded";

/// One monitor for every group and topic of the pipeline.
///
/// # Errors
/// When the journal has no reader.
pub(super) fn monitors(journal: &dyn Journal) -> Result<Vec<Monitor>, JournalError> {
    let watched =
        std::iter::once((processor::GROUP, Topic::Raw)).chain(sink::TOPICS.map(|topic| (sink::GROUP, topic)));
    watched
        .map(|(group, topic)| {
            Ok(Monitor::new(journal.reader()?, group, topic, journal.partitions(), Rules::default()))
        })
        .collect()
}

/// Runs until the shutdown has closed the door; a journal that does not answer is said and asked again.
///
/// # Errors
/// When the measuring thread dies.
pub(crate) async fn run(live: Arc<Live>, measured: Measured, shutdown: Shutdown) -> Result<(), BoxError> {
    let publisher = Arc::new(Mutex::new(Publisher::default()));
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            () = shutdown.reached(Phase::Close) => return Ok(()),
            _ = ticks.tick() => {}
        }
        let (live, measured, publisher) = (Arc::clone(&live), measured.clone(), Arc::clone(&publisher));
        let looking = move || {
            publisher.lock().unwrap_or_else(PoisonError::into_inner).look(&measured);
            look(&live)
        };
        if let Err(error) = tokio::task::spawn_blocking(looking).await? {
            tracing::warn!("the backlog could not be measured: {error}");
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts beyond 2^52 are shown rounded by any scraper")]
fn look(live: &Live) -> Result<(), journal::port::JournalError> {
    for group in live.measure()? {
        for series in lag::series(&group, CLUSTER) {
            let labels: Vec<metrics::Label> =
                series.labels.iter().map(|(name, value)| metrics::Label::new(*name, value.clone())).collect();
            metrics::gauge!(series.name, labels).set(series.value);
        }
    }
    let books = live.watched_books()?;
    metrics::gauge!(names::BOOKS_BALANCED).set(if books.balanced { 1.0 } else { 0.0 });
    // Ingest publishes its own.
    for stage in books.stages.iter().filter(|stage| stage.stage != "ingest") {
        let (in_flight, difference) = (stage.total.in_flight, stage.total.difference);
        metrics::gauge!(names::READINGS_IN_FLIGHT, "stage" => stage.stage).set(in_flight as f64);
        metrics::gauge!(names::BOOKS_DIFFERENCE, "stage" => stage.stage).set(difference as f64);
    }
    let partitions = live.processor().map(Running::partitions).unwrap_or_default();
    for state in PartitionPhase::NAMES {
        let count = partitions.iter().filter(|seen| seen.phase.name() == state).count();
        metrics::gauge!(names::PARTITIONS, "state" => state).set(count as f64);
    }
    Ok(())
}

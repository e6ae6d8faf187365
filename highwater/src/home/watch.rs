//! The backlog monitor: measures once a second, and publishes the figures and the books as metrics.

use super::live::Live;
use chassis::BoxError;
use chassis::shutdown::{Phase, Shutdown};
use std::sync::Arc;
use std::time::Duration;

/// Between two measurements.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The well-known lag metrics name a cluster.
const CLUSTER: &str = "embedded";

/// Runs until the shutdown has closed the door; a journal that does not answer is said and asked again.
///
/// # Errors
/// When the measuring thread dies.
pub(crate) async fn run(live: Arc<Live>, shutdown: Shutdown) -> Result<(), BoxError> {
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            () = shutdown.reached(Phase::Close) => return Ok(()),
            _ = ticks.tick() => {}
        }
        let live = Arc::clone(&live);
        if let Err(error) = tokio::task::spawn_blocking(move || look(&live)).await? {
            tracing::warn!("the backlog could not be measured: {error}");
        }
    }
}

fn look(live: &Live) -> Result<(), journal::port::JournalError> {
    for group in live.measure()? {
        for series in lag::series(&group, CLUSTER) {
            let labels: Vec<metrics::Label> =
                series.labels.iter().map(|(name, value)| metrics::Label::new(*name, value.clone())).collect();
            metrics::gauge!(series.name, labels).set(series.value);
        }
    }
    let books = live.closed_books()?;
    metrics::gauge!("highwater_books_balanced").set(if books.balanced { 1.0 } else { 0.0 });
    Ok(())
}

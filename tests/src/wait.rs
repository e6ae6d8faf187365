//! Waiting for something to become true.

use anyhow::{Result, bail};
use std::time::{Duration, Instant};

/// Bound of a wait for something that happens at once on an idle machine.
pub const WAIT_MAX: Duration = Duration::from_secs(60);
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(25);

/// Looks until `look` returns something, at most for `bound`; `look` says in its error what it saw instead.
///
/// # Errors
/// What was seen at the last look, when the bound is reached.
pub async fn eventually<T, F>(what: &str, bound: Duration, mut look: F) -> Result<T>
where
    F: AsyncFnMut() -> Result<T>,
{
    let begun = Instant::now();
    let mut looks = tokio::time::interval(LOOK_EVERY);
    loop {
        looks.tick().await;
        match look().await {
            Ok(found) => return Ok(found),
            Err(seen) if begun.elapsed() > bound => bail!("not within {bound:?}: {what}; at last: {seen:#}"),
            Err(_) => {}
        }
    }
}

/// Waits for something that should not happen: true when it did not, within `bound`.
pub async fn for_at_most(bound: Duration, event: impl Future) -> bool {
    tokio::time::timeout(bound, event).await.is_err()
}

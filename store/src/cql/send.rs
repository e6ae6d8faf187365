//! Sends the groups of a write call: so many at a time, again when that helps, and not at all any more once it does not.
//!
//! Invariants:
//! * A call succeeds only when every group was acknowledged; after a failure nothing new is sent, and what is on the
//!   way is waited for.
//! * Repetitions are bounded: each group's, those of a call together by a share of its groups, and all by the time since
//!   the call began. What is beyond goes up to the caller, whose waits are longer: so failures do not multiply.

use super::fault::{self, Class};
use super::limit::Limit;
use super::plan::Group;
use super::statement::Puts;
use crate::port::StoreError;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use scylla::client::session::Session;
use scylla::errors::ExecutionError;
use scylla::statement::batch::{Batch, BatchType};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Attempts at one group, the first included.
const ATTEMPTS_MAX: u32 = 3;
/// First wait before an attempt is repeated; doubles.
const WAIT: Duration = Duration::from_millis(50);
/// Nothing is repeated later in a call than this: a caller that wants to stop must get its answer.
const REPEAT_WITHIN: Duration = Duration::from_secs(5);
/// Repetitions of a call: so many, and one for so many groups.
const REPEATS_FREE: usize = 8;
const GROUPS_A_REPEAT: usize = 10;

/// What happened since the store was opened.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) requests: AtomicU64,
    pub(super) repeats: AtomicU64,
    pub(super) overloads: AtomicU64,
    pub(super) passing: AtomicU64,
    pub(super) fatal: AtomicU64,
}

/// What sends.
pub(super) struct Sender<'a> {
    pub(super) session: &'a Session,
    pub(super) puts: &'a Puts,
    pub(super) limit: &'a Limit,
    pub(super) counts: &'a Counts,
    pub(super) place: &'a str,
}

struct Failed {
    group: Group,
    attempts: u32,
    error: ExecutionError,
}

impl Sender<'_> {
    /// Sends all groups.
    ///
    /// # Errors
    /// The first that repeating does not help against.
    pub(super) async fn send(&self, groups: Vec<Group>) -> Result<(), StoreError> {
        let begun = Instant::now();
        let mut repeats_left = REPEATS_FREE + groups.len() / GROUPS_A_REPEAT;
        let mut waiting = groups.into_iter();
        let mut running = FuturesUnordered::new();
        let mut failed: Option<StoreError> = None;
        loop {
            while failed.is_none() && running.len() < self.limit.allowed() {
                let Some(group) = waiting.next() else { break };
                running.push(self.attempt(group, 1));
            }
            match running.next().await {
                None => return failed.map_or(Ok(()), Err),
                Some(Ok(())) => self.limit.went_well(),
                Some(Err(Failed { group, attempts, error })) => {
                    let class = fault::class(&error);
                    let Counts { overloads, passing, fatal, .. } = self.counts;
                    match class {
                        Class::Overload => overloads,
                        Class::Passing => passing,
                        Class::Fatal => fatal,
                    }
                    .fetch_add(1, Ordering::Relaxed);
                    if class == Class::Overload {
                        self.limit.overloaded(Instant::now());
                    }
                    let again = class != Class::Fatal
                        && attempts < ATTEMPTS_MAX
                        && repeats_left > 0
                        && begun.elapsed() < REPEAT_WITHIN;
                    if again && failed.is_none() {
                        repeats_left -= 1;
                        self.counts.repeats.fetch_add(1, Ordering::Relaxed);
                        tracing::debug!(%error, attempts, "a write is repeated");
                        running.push(self.attempt(group, attempts + 1));
                    } else {
                        // A fatal fault says more than one that passes.
                        let error = fault::of(self.place, &error);
                        let fatal = matches!(error, StoreError::Fatal(_));
                        if failed.is_none() || fatal {
                            failed = Some(error);
                        }
                    }
                }
            }
        }
    }

    /// One attempt; one that is repeated waits first, in its place among those on the way.
    async fn attempt(&self, group: Group, attempts: u32) -> Result<(), Failed> {
        if attempts > 1 {
            tokio::time::sleep(jittered(WAIT * 2_u32.pow(attempts - 2))).await;
        }
        self.counts.requests.fetch_add(1, Ordering::Relaxed);
        match self.request(&group).await {
            Ok(()) => Ok(()),
            Err(error) => Err(Failed { group, attempts, error }),
        }
    }

    async fn request(&self, group: &Group) -> Result<(), ExecutionError> {
        if let ([put], [cells]) = (group.puts.as_slice(), group.cells.as_slice()) {
            return self.session.execute_unpaged(self.puts.of(*put), cells).await.map(drop);
        }
        // One partition: the coordinator makes one mutation of it, and needs no log for that.
        let statements = group.puts.iter().map(|put| self.puts.of(*put).clone().into()).collect();
        let mut batch = Batch::new_with_statements(BatchType::Unlogged, statements);
        batch.set_is_idempotent(true);
        self.session.batch(&batch, group.cells.as_slice()).await.map(drop)
    }
}

/// Half of a wait, and a random part of the other half, so that writers do not come back in step.
fn jittered(whole: Duration) -> Duration {
    use std::hash::{BuildHasher, RandomState};
    // Each `RandomState` has keys of its own: random enough for that.
    let share = u32::try_from(RandomState::new().hash_one(0_u8) % 1_024).unwrap_or(0);
    whole / 2 + whole / 2 / 1_024 * share
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_differ_within_their_half() {
        let waits: std::collections::BTreeSet<Duration> =
            (0..100).map(|_| jittered(Duration::from_millis(100))).collect();
        assert!(waits.iter().all(|wait| (50..=100).contains(&wait.as_millis())), "{waits:?}");
        assert!(waits.len() > 10, "{waits:?}");
    }
}

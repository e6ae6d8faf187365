//! When a snapshot is taken, and what becomes of it.

use super::assigned::{Assigned, Phase};
use super::{Worker, WorkerError};
use crate::snapshot::Blob;
use chassis::metrics as names;
use std::time::Duration;

/// What keeps the next snapshot.
pub(super) const BY_REFOLD: &str = "refold-budget";
/// A partition that was made to go on has a snapshot of its own so soon; the same again when writing it fails.
const CONTINUED_AFTER: Duration = Duration::from_secs(1);
/// See [`BY_REFOLD`].
pub(super) const BY_SHARE: &str = "snapshot-share-percent";

impl Worker {
    /// Which rule the next snapshot of a partition waits for; none: it is due.
    pub(super) fn snapshot_bound(&self, part: &Assigned) -> Option<&'static str> {
        let config = &self.setup.config;
        let taken = &part.snapshots;
        let since = self.now().saturating_sub(taken.taken_at);
        if part.continued.is_some() && since >= CONTINUED_AFTER {
            return None;
        }
        if taken.records == 0 {
            return Some(BY_REFOLD);
        }
        if since >= config.snapshot_interval_max {
            return None;
        }
        let refold_us = u128::from(taken.records) * 1_000_000 / u128::from(self.fold_rate.max(1));
        if refold_us < config.refold_budget.as_micros() {
            return Some(BY_REFOLD);
        }
        let allowed = u128::from(taken.bytes) * u128::from(config.snapshot_share_percent);
        if allowed < u128::from(taken.size) * 100 { Some(BY_SHARE) } else { None }
    }

    /// Takes one at a cut: the state is exactly what the cut's position and digest say.
    pub(super) fn snapshot_if_due(&mut self, number: u32) {
        let Some(part) = self.parts.get(&number) else { return };
        if self.writing.is_none() && part.snapshots.pending.is_none() && self.snapshot_bound(part).is_none() {
            self.snapshot(number);
        }
    }

    fn snapshot(&mut self, number: u32) {
        let now = self.now();
        let Some(part) = self.parts.get_mut(&number) else { return };
        let Some(state) = &part.state else { return };
        let mut bytes = Vec::with_capacity(usize::try_from(part.snapshots.size + 4_096).unwrap_or(4_096));
        state.save(&self.setup.tools.codec, &mut bytes);
        part.snapshots.records = 0;
        part.snapshots.bytes = 0;
        part.snapshots.size = bytes.len() as u64;
        part.snapshots.taken_at = now;
        let covers_to = state.position();
        let build = self.setup.build.clone();
        self.setup.snapshots.submit(Blob { partition: number, covers_to, build, bytes });
        self.writing = Some(number);
    }

    /// Takes back what the snapshot thread is done with.
    pub(super) fn collect_snapshot(&mut self, wait: Duration) {
        if self.writing.is_none() {
            return;
        }
        let Some(written) = self.setup.snapshots.outcome(wait) else { return };
        let partition = self.writing.take();
        match written.outcome {
            Ok(locator) => {
                metrics::counter!(names::SNAPSHOT_BYTES_TOTAL).increment(written.bytes as u64);
                // Of an assignment that is over, or of a state that was thrown away: nobody will ever refer to it.
                if let Some(part) = self.parts.get_mut(&written.partition)
                    && part.position().is_some_and(|position| locator.covers_to <= position)
                    && matches!(part.phase, Phase::Live)
                {
                    part.snapshots.pending = Some(locator);
                }
            }
            Err(why) => {
                metrics::counter!(names::SNAPSHOTS_FAILED_TOTAL).increment(1);
                tracing::warn!(worker = self.setup.name, partition, why, "no snapshot");
            }
        }
    }

    /// On a graceful stop every partition leaves a snapshot, so that the next owner folds nothing again.
    pub(super) fn final_snapshots(&mut self) -> Result<(), WorkerError> {
        let deadline = self.now() + self.setup.config.drain_timeout;
        let numbers: Vec<u32> = self.parts.keys().copied().collect();
        for number in numbers {
            self.await_snapshot(deadline);
            let Some(part) = self.parts.get(&number) else { continue };
            let newer = part.snapshots.current.as_ref().map(|locator| locator.covers_to) != part.position();
            if part.is_clean() && newer && self.writing.is_none() && self.now() < deadline {
                self.snapshot(number);
            }
        }
        self.await_snapshot(deadline);
        Ok(())
    }

    fn await_snapshot(&mut self, deadline: Duration) {
        if self.writing.is_some() {
            let left = deadline.saturating_sub(self.now());
            self.collect_snapshot(left.max(Duration::from_millis(1)));
        }
    }
}

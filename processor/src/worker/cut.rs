//! Cuts, and what becomes of them.

use super::{Flight, RETRY_MAX, RETRY_MIN, Worker, WorkerError};
use crate::commit::{Attempt, Cycle, Part};
use crate::mutation::{self, Mutation};
use crate::observe;
use crate::recovery::{CONTINUED, METADATA_VERSION};
use chassis::metrics as names;
use journal::METADATA_BYTES_MAX;
use journal::port::{NewRecord, TopicPartition};
use schemas::codec::Codec;
use schemas::record::{Audit, CommitMetadata};
use schemas::topic::Topic;
use std::collections::BTreeSet;
use std::time::Duration;

impl Worker {
    /// Something waits, the committer is idle, and enough time or enough bytes have come together.
    pub(super) fn cut_is_due(&self) -> bool {
        if self.flight.is_some() || self.token.is_none() {
            return false;
        }
        let config = &self.setup.config;
        let since = self.now().saturating_sub(self.last_cut);
        let bytes: usize = self.parts.values().map(|part| part.out.bytes()).sum();
        let waits = self.parts.values().any(super::Assigned::waits);
        let progress = waits || self.parts.values().any(super::Assigned::has_progress);
        bytes >= config.commit_bytes_max
            || (waits && since >= config.commit_gap_min)
            || (progress && (since >= config.commit_interval || self.reached_targets()))
    }

    /// Nothing more is to be read: there is nothing to wait for.
    fn reached_targets(&self) -> bool {
        self.setup.until_end
            && self.parts.values().all(|part| part.target.is_some() && part.position() >= part.target)
    }

    /// Freezes what all partitions have brought forth and hands it to the committer.
    pub(super) fn cut(&mut self) {
        let Some(token) = self.token.clone() else { return };
        let mut cycle = Cycle::new(token);
        let numbers: Vec<u32> = self.parts.keys().copied().collect();
        for number in numbers {
            self.cut_partition(number, &mut cycle);
        }
        self.last_cut = self.now();
        if !cycle.parts.is_empty() {
            self.attempts = 0;
            self.dropped.clear();
            self.send(Box::new(cycle));
        }
    }

    fn send(&mut self, cycle: Box<Cycle>) {
        self.attempts += 1;
        self.flight = Some(Flight::Sent);
        self.setup.committer.submit(cycle);
    }

    fn cut_partition(&mut self, number: u32, cycle: &mut Cycle) {
        let Some(part) = self.parts.get_mut(&number) else { return };
        let locator = part.snapshots.pending.is_some();
        if !part.is_publishing() || !(part.has_progress() || locator) {
            return;
        }
        let Some(state) = &mut part.state else { return };
        if let Err(halt) = state.settle(&mut self.setup.tools, &mut part.out) {
            if let Some(mut part) = self.parts.remove(&number) {
                self.halt(&mut part, &halt);
                self.reseek.insert(number);
                self.parts.insert(number, part);
            }
            return;
        }
        observe::models(number, &mut part.modelled, state.lane.counters());
        let mut records = std::mem::take(&mut part.unsent);
        state.seal(&mut part.out, Some(&mut records));
        part.braked.0 = 0;
        part.setbacks = 0;
        let mark = state.mark();
        let from = part.cut_to;
        if part.snapshots.pending.as_ref().is_some_and(|locator| locator.covers_to <= mark.position) {
            let pending = part.snapshots.pending.take();
            part.snapshots.previous = std::mem::replace(&mut part.snapshots.current, pending);
            let covered = part.snapshots.current.as_ref().map(|locator| locator.covers_to);
            if part.continued.is_some() && covered >= part.continued {
                part.continued = None;
                part.snapshots.previous = None;
            }
        }
        let build = format!("{}{}", self.setup.build, part.continued.map_or("", |_| CONTINUED));
        let partition = i32::try_from(number).unwrap_or(i32::MAX);
        let audit = Audit {
            partition,
            from: from.unwrap_or(state.counted().0),
            to: mark.position,
            totals: state.totals(),
            digest: mark.digest.to_vec(),
            write_clock: mark.write_clock,
            generation: mark.generation,
            snapshot: part.snapshots.current.clone(),
            build: self.setup.build.clone(),
            trials: state.trials(),
        };
        let metadata = CommitMetadata {
            version: METADATA_VERSION,
            build,
            generation: mark.generation,
            digest: audit.digest.clone(),
            write_clock: mark.write_clock,
            receipt_now: mark.receipt_now,
            snapshot: part.snapshots.current.clone(),
            previous: part.snapshots.previous.clone(),
        };
        records.push(NewRecord {
            to: TopicPartition { topic: Topic::Audit, partition: number },
            key: None,
            value: self.setup.tools.codec.to_bytes(&audit),
            headers: Vec::new(),
        });
        let to = if mutation::is(Mutation::SnapshotAhead) { from.unwrap_or(0) } else { mark.position };
        let text = metadata_text(&self.setup.tools.codec, metadata);
        let outcomes = observe::outcomes(&audit.totals);
        cycle.add(Part { partition: part.partition, from, to, outcomes }, records, text);
        part.cut_to = Some(mark.position);
        self.snapshot_if_due(number);
        self.show(number);
    }

    /// Takes back what the committer is done with, waiting for it at most so long.
    pub(super) fn collect(&mut self, wait: Duration) -> Result<(), WorkerError> {
        if let Some(Flight::Waiting { retry_at, .. }) = &self.flight
            && *retry_at <= self.now()
            && let Some(Flight::Waiting { mut cycle, .. }) = self.flight.take()
        {
            if mutation::is(Mutation::TokenLate)
                && let Some(token) = &self.token
            {
                cycle.token = token.clone();
            }
            self.send(cycle);
        }
        if !matches!(self.flight, Some(Flight::Sent)) {
            return Ok(());
        }
        let Some((cycle, attempt)) = self.setup.committer.outcome(wait) else { return Ok(()) };
        self.flight = None;
        match attempt {
            Attempt::Done => self.done(&cycle),
            Attempt::Again(why) => self.again(cycle, &why, false),
            Attempt::Unresolved(why) => self.again(cycle, &why, true),
            Attempt::Lost(why) => {
                let gone = std::mem::take(&mut self.dropped);
                if cycle.parts.iter().any(|part| !gone.contains(&part.partition.partition)) {
                    self.rejoin(&why);
                }
            }
            Attempt::Fatal(why) => return Err(self.journal_error(why)),
        }
        Ok(())
    }

    fn done(&mut self, cycle: &Cycle) {
        let dropped = std::mem::take(&mut self.dropped);
        for (cut, (_, committed)) in cycle.parts.iter().zip(&cycle.transaction.offsets) {
            let number = cut.partition.partition;
            if dropped.contains(&number) {
                continue;
            }
            if let Some(part) = self.parts.get_mut(&number) {
                part.committed = Some(cut.to);
                observe::counted(number, part.reported.replace(cut.outcomes), cut.outcomes);
                part.fetched = Some(committed.clone());
                if part.state.is_none() {
                    part.cut_to = Some(cut.to);
                }
            }
            self.show(number);
        }
        observe::committed(&self.setup.view, cycle);
    }

    /// Nothing was written, or nobody knows: what is still ours goes out again later.
    fn again(&mut self, mut cycle: Box<Cycle>, why: &str, resolve_first: bool) {
        let dropped = std::mem::take(&mut self.dropped);
        cycle.retain(|partition| !dropped.contains(&partition));
        if cycle.parts.is_empty() {
            return;
        }
        metrics::counter!(names::COMMITS_FAILED_TOTAL).increment(1);
        // Ever more seldom: it may last until somebody makes room.
        if self.attempts.is_power_of_two() {
            tracing::warn!(
                worker = self.setup.name,
                why,
                attempts = self.attempts,
                "a commit failed; sending it again"
            );
        }
        cycle.resolve_first = resolve_first;
        let backoff = RETRY_MIN.saturating_mul(1 << self.attempts.min(10)).min(RETRY_MAX);
        self.flight = Some(Flight::Waiting { cycle, retry_at: self.now() + backoff });
    }

    /// Commits everything there is of these partitions, within the time that a departure may take.
    pub(super) fn drain(&mut self, going: &BTreeSet<u32>) -> Result<(), WorkerError> {
        let deadline = self.now() + self.setup.config.drain_timeout;
        loop {
            self.collect_snapshot(Duration::ZERO);
            let left = deadline.saturating_sub(self.now());
            match &self.flight {
                Some(Flight::Sent) => self.collect(left.max(RETRY_MIN))?,
                Some(Flight::Waiting { retry_at, .. }) => {
                    let wait = retry_at.saturating_sub(self.now()).max(Duration::from_micros(1));
                    (self.setup.pace.rest)(wait.min(left.max(RETRY_MIN)));
                    self.collect(Duration::ZERO)?;
                }
                None => {
                    let more = |number: &u32| {
                        self.parts.get(number).is_some_and(|part| {
                            part.is_publishing() && (part.has_progress() || part.snapshots.pending.is_some())
                        })
                    };
                    if self.token.is_none() || !going.iter().any(more) {
                        return Ok(());
                    }
                    self.cut();
                }
            }
            if self.now() >= deadline {
                tracing::warn!(worker = self.setup.name, "what is not committed by now will be folded again");
                return Ok(());
            }
        }
    }
}

/// The metadata as text; what does not fit gives way to the next recovery's patience.
fn metadata_text(codec: &Codec, mut metadata: CommitMetadata) -> String {
    let mut text = codec.to_text(&metadata);
    if text.len() > METADATA_BYTES_MAX {
        metadata.previous = None;
        text = codec.to_text(&metadata);
    }
    debug_assert!(text.len() <= METADATA_BYTES_MAX, "{} bytes of metadata", text.len());
    text
}

//! The poll thread: one batch at a time, read, written, committed.
//!
//! Invariants: nothing of a batch is committed before all of it is durable; what cannot be done now is tried again
//! with the same batch; a partition that went to another member is forgotten, its totals with it, and begins
//! again from what that member committed.

use crate::backoff::Backoff;
use crate::batch::Batch;
use crate::books::{Ledger, Line, Totals, metadata, totals_of};
use crate::{GROUP, NAME, SinkConfig, SinkDeps, SinkError, TOPICS};
use chassis::metrics as names;
use chassis::shutdown::{Hold, Phase};
use journal::port::{
    Assignment, Committed, Consumer, ConsumerEvent, Disposition, JournalError, NewRecord, TopicPartition,
};
use std::collections::BTreeMap;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};
use store::port::{StoreError, Write};

/// Longest wait for a dead letter's append to be durable before it is asked again.
const APPEND_WAIT: Duration = Duration::from_secs(30);
/// Dead letters of one append: an append as large as the whole queue would never be taken.
const LETTERS_AT_ONCE: usize = 16;

pub(crate) struct Worker {
    deps: SinkDeps,
    config: SinkConfig,
    ledger: Arc<Ledger>,
    backoff: Backoff,
    /// Where to stop, once it is known.
    target: Option<Target>,
    /// Whether the group has said which partitions are ours; not during a rebalance.
    settled: bool,
    _hold: Hold,
}

struct Target {
    ends: BTreeMap<TopicPartition, i64>,
    deadline: Option<Instant>,
}

/// What the assignment of partitions was turned into by one poll.
#[derive(Default)]
struct Rebalance {
    /// Whether the last word was an assignment; none: nothing was said.
    settled: Option<bool>,
    assigned: Vec<Assignment>,
    revoked: Vec<TopicPartition>,
}

/// An attempt is over: done, or given up because the drain's time is over.
#[derive(PartialEq, Eq)]
enum Outcome {
    Done,
    GivenUp,
}

impl Worker {
    pub(crate) fn new(deps: SinkDeps, config: SinkConfig, ledger: Arc<Ledger>) -> Self {
        let backoff = Backoff::new(config.retry_wait_min, config.retry_wait_max, &deps.member);
        let hold = deps.supervisor.shutdown().hold(Phase::Close, NAME);
        Self { deps, config, ledger, backoff, target: None, settled: false, _hold: hold }
    }

    /// Runs until the stop.
    pub(crate) fn run(mut self) -> Result<(), SinkError> {
        let deps = &self.deps;
        let (journal, member) = (Arc::clone(&deps.journal), deps.member.clone());
        if self.config.until_end {
            let Some(ends) = self.attempt("the topics' ends", || all_ends(&*journal))? else { return Ok(()) };
            self.target = Some(Target { ends, deadline: None });
        }
        loop {
            let joined = self.attempt("joining the group", || journal.consumer(GROUP, &member, &TOPICS))?;
            let Some(mut consumer) = joined else { return Ok(()) };
            let ended = self.consume(&mut *consumer);
            if let Err(error) = consumer.leave(&mut |_| {}) {
                tracing::warn!(%error, "the sink's membership will end by timeout");
            }
            self.ledger.lock().clear();
            self.settled = false;
            match ended {
                Ok(()) => break,
                // A consumer that was fenced stays so: only a new one gets partitions again.
                Err(SinkError::Journal(error)) if error.disposition() == Disposition::Rejoin => {
                    self.wait("the membership", &error);
                    if self.out_of_time() {
                        break;
                    }
                }
                Err(error) => return Err(error),
            }
        }
        if self.config.until_end {
            self.deps.supervisor.shutdown().begin("everything up to the end of the topics is stored");
        }
        Ok(())
    }

    fn consume(&mut self, consumer: &mut dyn Consumer) -> Result<(), SinkError> {
        loop {
            self.notice_stop(consumer)?;
            if self.target_reached() {
                return Ok(());
            }
            let (mut batch, rebalance) = match self.poll(consumer) {
                Ok(polled) => polled,
                Err(error) => {
                    self.recover(consumer, error)?;
                    continue;
                }
            };
            for partition in rebalance.revoked {
                batch.give_up(partition);
                self.ledger.lock().remove(&partition);
            }
            for assignment in rebalance.assigned {
                self.begin(consumer, &assignment)?;
            }
            if let Some(settled) = rebalance.settled {
                self.settled = settled;
                self.deps.readiness.ready(NAME);
            }
            if !batch.is_empty() && self.store(consumer, batch)? == Outcome::GivenUp {
                return Ok(());
            }
        }
    }

    /// At the stop, what was committed until now is still stored, for at most `drain_max`.
    fn notice_stop(&mut self, consumer: &mut dyn Consumer) -> Result<(), SinkError> {
        let stopping = self.deps.supervisor.shutdown().phase() >= Phase::Close;
        if !stopping || self.target.as_ref().is_some_and(|target| target.deadline.is_some()) {
            return Ok(());
        }
        let deadline = Some(Instant::now() + self.config.drain_max);
        let mut ends = BTreeMap::new();
        let assigned: Vec<TopicPartition> = self.ledger.lock().keys().copied().collect();
        for partition in assigned {
            match consumer.bounds(partition) {
                Ok((_, end)) => drop(ends.insert(partition, end)),
                // Nobody can say how far to go: what is stored and committed so far is where the next start goes on.
                Err(error) => tracing::warn!(%error, ?partition, "its end is unknown: not drained"),
            }
        }
        self.target = Some(Target { ends, deadline });
        Ok(())
    }

    fn target_reached(&self) -> bool {
        let Some(target) = &self.target else { return false };
        if !self.settled && target.deadline.is_none() {
            return false;
        }
        let ledger = self.ledger.lock();
        let mut lines = ledger.iter();
        lines.all(|(partition, line)| target.ends.get(partition).is_none_or(|end| line.position >= *end))
            || self.out_of_time()
    }

    fn out_of_time(&self) -> bool {
        self.target
            .as_ref()
            .and_then(|target| target.deadline)
            .is_some_and(|deadline| Instant::now() >= deadline)
    }

    fn poll(&mut self, consumer: &mut dyn Consumer) -> Result<(Batch, Rebalance), JournalError> {
        let mut batch = Batch::default();
        let mut rebalance = Rebalance::default();
        let codec = &self.deps.codec;
        let max_wait = if self.target.is_some() { self.config.retry_wait_min } else { self.config.poll_wait };
        consumer.poll(max_wait, self.config.batch_rows_max, &mut |event| match event {
            ConsumerEvent::Assigned(assignments) => {
                rebalance.settled = Some(true);
                rebalance.assigned.extend_from_slice(assignments);
            }
            ConsumerEvent::Revoked { partitions, .. } => {
                rebalance.settled = Some(false);
                rebalance.revoked.extend_from_slice(partitions);
                rebalance.assigned.retain(|assignment| !partitions.contains(&assignment.partition));
            }
            ConsumerEvent::Reached { partition, offset } => batch.reached(partition, offset),
            ConsumerEvent::Batch { partition, records } => {
                for record in records {
                    batch.add(codec, partition, record);
                }
            }
        })?;
        Ok((batch, rebalance))
    }

    /// A partition begins where the group stands; a group that never stood there begins at the log's start.
    fn begin(&mut self, consumer: &mut dyn Consumer, assignment: &Assignment) -> Result<(), SinkError> {
        let partition = assignment.partition;
        let line = if let Some(committed) = &assignment.committed {
            let totals = totals_of(&committed.metadata).unwrap_or_else(|| {
                tracing::warn!(?partition, "the group's totals cannot be read: its books begin again here");
                Totals::default()
            });
            Line { totals, pending: 0, position: committed.offset }
        } else {
            let Some((start, _)) = self.attempt("the log's start", || consumer.bounds(partition))? else {
                return Ok(());
            };
            Line { totals: Totals::default(), pending: 0, position: start }
        };
        match consumer.seek(partition, line.position) {
            Ok(()) => drop(self.ledger.lock().insert(partition, line)),
            // Gone again before it began.
            Err(error) if error.disposition() == Disposition::Rejoin => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// A failed poll: waits when that helps, and steps over what retention deleted, in the books. What only a new
    /// membership mends is an error.
    fn recover(&mut self, consumer: &mut dyn Consumer, error: JournalError) -> Result<(), SinkError> {
        if let JournalError::OutOfRange { partition, offset, start } = error {
            tracing::error!(?partition, offset, start, "retention deleted results before they were stored");
            if let Some(line) = self.ledger.lock().get_mut(&partition) {
                line.totals.lost += start.saturating_sub(line.position);
                line.position = start;
            }
            return Ok(consumer.seek(partition, start)?);
        }
        match error.disposition() {
            Disposition::Retry | Disposition::Resolve => {
                self.wait("reading", &error);
                Ok(())
            }
            Disposition::Rejoin | Disposition::Fatal => Err(error.into()),
        }
    }

    /// Everything of a batch, in order: decode what was kept, write, send dead letters, commit.
    fn store(&mut self, consumer: &mut dyn Consumer, mut batch: Batch) -> Result<Outcome, SinkError> {
        self.note_read(&batch);
        let codec = self.deps.codec.clone();
        let decoded = self.attempt("decoding", || batch.decode_kept(&codec).map_err(JournalError::Retry))?;
        if decoded.is_none() {
            return Ok(Outcome::GivenUp);
        }
        if self.write(&batch.writes)? == Outcome::GivenUp {
            return Ok(Outcome::GivenUp);
        }
        let (journal, letters) = (Arc::clone(&self.deps.journal), std::mem::take(&mut batch.letters));
        for letters in letters.chunks(LETTERS_AT_ONCE) {
            if self.attempt("dead letters", || append(&*journal, letters))?.is_none() {
                return Ok(Outcome::GivenUp);
            }
        }
        let offsets = self.note_stored(&batch);
        match self.attempt("committing", || consumer.commit(&offsets)) {
            Ok(Some(())) => Ok(Outcome::Done),
            Ok(None) => Ok(Outcome::GivenUp),
            // Another member has the partitions and writes the same rows; what we keep begins with the assignment.
            Err(SinkError::Journal(error)) if error.disposition() == Disposition::Rejoin => {
                tracing::info!(%error, "partitions went to another member");
                let mut ledger = self.ledger.lock();
                for (partition, _) in &offsets {
                    ledger.remove(partition);
                }
                Ok(Outcome::Done)
            }
            Err(error) => Err(error),
        }
    }

    fn write(&mut self, writes: &[Write]) -> Result<Outcome, SinkError> {
        let started = Instant::now();
        loop {
            match self.deps.store.write(writes) {
                Ok(()) => break,
                Err(StoreError::Retry(why)) if !self.out_of_time() => self.wait("writing", &why),
                Err(StoreError::Retry(_)) => return Ok(Outcome::GivenUp),
                Err(error) => return Err(error.into()),
            }
        }
        self.backoff.reset();
        if !writes.is_empty() {
            metrics::histogram!(names::SINK_WRITE_SECONDS).record(started.elapsed().as_secs_f64());
            count(writes, self.deps.journal.now());
            self.deps.feed.tell(writes);
        }
        Ok(Outcome::Done)
    }

    fn note_read(&self, batch: &Batch) {
        let mut ledger = self.ledger.lock();
        for (partition, share) in &batch.shares {
            if let Some(line) = ledger.get_mut(partition) {
                line.totals.read += share.read;
                line.pending += share.read;
                line.position = share.next;
            }
        }
    }

    /// Moves the batch from pending to its outcomes and says what is to be committed.
    fn note_stored(&self, batch: &Batch) -> Vec<(TopicPartition, Committed)> {
        let mut ledger = self.ledger.lock();
        let mut offsets = Vec::with_capacity(batch.shares.len());
        for (partition, share) in &batch.shares {
            if let Some(line) = ledger.get_mut(partition) {
                line.totals.written += share.writes;
                line.totals.dead_lettered += share.letters;
                line.pending -= share.writes + share.letters;
                let committed = Committed { offset: line.position, metadata: metadata(line.totals) };
                offsets.push((*partition, committed));
            }
        }
        offsets
    }

    /// Asks the journal until it answers; none: the drain's time is over.
    fn attempt<T>(
        &mut self,
        what: &str,
        mut ask: impl FnMut() -> Result<T, JournalError>,
    ) -> Result<Option<T>, SinkError> {
        loop {
            match ask() {
                Ok(answer) => {
                    self.backoff.reset();
                    return Ok(Some(answer));
                }
                Err(error) => match error.disposition() {
                    // All of ours may be repeated without effect, whatever the outcome was.
                    Disposition::Retry | Disposition::Resolve if !self.out_of_time() => {
                        self.wait(what, &error)
                    }
                    Disposition::Retry | Disposition::Resolve => return Ok(None),
                    Disposition::Rejoin | Disposition::Fatal => return Err(error.into()),
                },
            }
        }
    }

    /// Waits before the next attempt; the stop ends the first wait after it, and sets the deadline for the others.
    fn wait(&mut self, what: &str, why: &dyn std::fmt::Display) {
        let wait = self.backoff.wait();
        tracing::warn!(%why, ?wait, "{what}: trying again");
        let shutdown = self.deps.supervisor.shutdown();
        if shutdown.phase() < Phase::Close {
            let _ = shutdown.wait_reached(Phase::Close, wait);
        } else {
            let _ = shutdown.wait_reached(Phase::Closed, wait);
        }
        if shutdown.phase() >= Phase::Close {
            let deadline = Instant::now() + self.config.drain_max;
            let target = self.target.get_or_insert_with(|| Target { ends: BTreeMap::new(), deadline: None });
            target.deadline.get_or_insert(deadline);
        }
    }
}

fn all_ends(journal: &dyn journal::port::Journal) -> Result<BTreeMap<TopicPartition, i64>, JournalError> {
    let mut reader = journal.reader()?;
    let mut ends = BTreeMap::new();
    for topic in TOPICS {
        for partition in 0..journal.partitions() {
            let partition = TopicPartition { topic, partition };
            ends.insert(partition, reader.bounds(partition)?.1);
        }
    }
    Ok(ends)
}

fn append(journal: &dyn journal::port::Journal, letters: &[NewRecord]) -> Result<(), JournalError> {
    let (done, appended) = mpsc::sync_channel(1);
    journal.appender().append(
        letters.to_vec(),
        Box::new(move |outcome| {
            // Nobody waits any more after `APPEND_WAIT`: the letters are sent again then.
            let _ = done.send(outcome.map(drop));
        }),
    )?;
    let late = |_| JournalError::Unknown(format!("no answer to an append within {APPEND_WAIT:?}"));
    appended.recv_timeout(APPEND_WAIT).map_err(late)?
}

#[expect(clippy::cast_precision_loss, reason = "a span of microseconds, for a histogram")]
fn count(writes: &[Write], now: i64) {
    let mut rows = [("windows", 0_u64), ("scores", 0), ("alerts", 0), ("devices", 0)];
    let fresh = metrics::histogram!(names::FRESHNESS_SECONDS, "stage" => "stored");
    for write in writes {
        rows[match write {
            Write::Aggregate(_) => 0,
            Write::Score(_) => 1,
            Write::Alert(_) => 2,
            Write::Device(_) => 3,
        }]
        .1 += 1;
        // A write clock is the receipt time of the record that caused the row.
        fresh.record((now - write.write_clock()).max(0) as f64 / 1e6);
    }
    for (table, rows) in rows {
        metrics::counter!(names::SINK_ROWS_TOTAL, "table" => table).increment(rows);
    }
}

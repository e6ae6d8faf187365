//! One worker: a member of the group on a thread of its own, which owns its partitions' states.
//!
//! Lives here: what a worker is made of, its loop, its end. Below: events of the group (`events`), recovery and the
//! way back from trouble (`revive`), cuts and what becomes of them (`cut`), snapshots (`snapshots`), ticks
//! (`ticks`), answers (`answers`), one partition (`assigned`).
//!
//! Invariants:
//! * A buffer belongs to (partition, assignment): what was cut under a lost assignment is never sent again.
//! * The token is captured on this thread; a cut carries the one it was made under.
//! * State is never rolled back. It is kept as far as everything in it is committed, else thrown away.

mod answers;
mod assigned;
mod cut;
mod events;
mod revive;
mod snapshots;
mod ticks;

use self::assigned::Assigned;
use crate::GROUP;
use crate::commit::{CommitLane, Cycle};
use crate::config::ProcessorConfig;
use crate::snapshot::SnapshotLane;
use crate::state::PartitionState;
use crate::step::Tools;
use crate::view::{Question, View};
use journal::port::{
    Appender, Consumer, Disposition, GroupToken, Journal, JournalError, Reader, TopicPartition,
};
use schemas::topic::Topic;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

/// Why a worker stops.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WorkerError {
    /// The journal cannot go on, or does not answer any more.
    #[error("worker {worker}: {why}")]
    Journal {
        /// Worker.
        worker: String,
        /// In words.
        why: String,
    },
    /// A thread could not be started, or has panicked.
    #[error("worker {worker}: {why}")]
    Thread {
        /// Worker.
        worker: String,
        /// In words.
        why: String,
    },
    /// `--until-end` cannot reach the end of these partitions.
    #[error("worker {worker} stops before the end: {why}")]
    Incomplete {
        /// Worker.
        worker: String,
        /// Partitions and what they wait for.
        why: String,
    },
}

/// Time as the worker's decisions about *when* see it; no byte depends on it.
pub(crate) struct Pace {
    /// Since some beginning.
    pub(crate) now: Box<dyn Fn() -> Duration + Send>,
    /// Lets time pass.
    pub(crate) rest: Box<dyn Fn(Duration) + Send>,
}

/// What a worker is made of.
pub(crate) struct Setup {
    pub(crate) name: String,
    pub(crate) build: String,
    pub(crate) config: Arc<ProcessorConfig>,
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) tools: Tools,
    pub(crate) committer: Box<dyn CommitLane>,
    pub(crate) snapshots: Box<dyn SnapshotLane>,
    pub(crate) view: View,
    pub(crate) pace: Pace,
    pub(crate) until_end: bool,
}

/// A cut that is not committed yet.
enum Flight {
    /// The committer has it.
    Sent,
    /// It came back and goes out again at this time.
    Waiting { cycle: Box<Cycle>, retry_at: Duration },
}

/// One worker.
pub(crate) struct Worker {
    setup: Setup,
    appender: Arc<dyn Appender>,
    reader: Option<Box<dyn Reader>>,
    consumer: Option<Box<dyn Consumer>>,
    token: Option<GroupToken>,
    parts: BTreeMap<u32, Assigned>,
    /// Clean states of partitions that have gone: they may come back.
    warm: BTreeMap<u32, PartitionState>,
    flight: Option<Flight>,
    /// Partitions of the cut on its way that have been lost since.
    dropped: BTreeSet<u32>,
    attempts: u32,
    last_cut: Duration,
    /// Partition whose snapshot is being written.
    writing: Option<u32>,
    inbox: Receiver<Question>,
    /// Records a second at which this worker folds.
    fold_rate: u64,
    /// The last poll brought nothing.
    idle: bool,
    /// Reading has stopped until the committer catches up.
    throttled: bool,
    /// Partitions whose next record is not the one the consumer would deliver.
    reseek: BTreeSet<u32>,
    /// The group's last word was an assignment.
    seated: bool,
    failure: Option<String>,
}

/// Until something better is measured.
const FOLD_RATE_AT_FIRST: u64 = 300_000;
/// Between attempts of the same thing, at first and at most.
const RETRY_MIN: Duration = Duration::from_millis(10);
const RETRY_MAX: Duration = Duration::from_secs(1);
/// While a cut waits for the committer, or the committer for a cut, polls are this short.
const BRISK: Duration = Duration::from_millis(2);

impl Worker {
    pub(crate) fn new(setup: Setup) -> Self {
        let inbox = setup.view.mailbox(&setup.name);
        let appender = setup.journal.appender();
        let last_cut = (setup.pace.now)();
        Self {
            setup,
            appender,
            reader: None,
            consumer: None,
            token: None,
            parts: BTreeMap::new(),
            warm: BTreeMap::new(),
            flight: None,
            dropped: BTreeSet::new(),
            attempts: 0,
            last_cut,
            writing: None,
            inbox,
            fold_rate: FOLD_RATE_AT_FIRST,
            idle: false,
            throttled: false,
            reseek: BTreeSet::new(),
            seated: false,
            failure: None,
        }
    }

    /// Works until asked to stop, or until the end of the log as it was at the start has been reached and committed.
    ///
    /// # Errors
    /// When it cannot go on.
    pub(crate) fn run(mut self, stop: &dyn Fn() -> bool) -> Result<(), WorkerError> {
        while !stop() {
            if self.turn()? {
                break;
            }
        }
        self.finish()
    }

    fn now(&self) -> Duration {
        (self.setup.pace.now)()
    }

    fn journal_error(&self, why: impl std::fmt::Display) -> WorkerError {
        WorkerError::Journal { worker: self.setup.name.clone(), why: why.to_string() }
    }

    /// Once round. True: the end has been reached.
    pub(crate) fn turn(&mut self) -> Result<bool, WorkerError> {
        self.poll()?;
        if let Some(why) = self.failure.take() {
            return Err(self.journal_error(why));
        }
        self.revive()?;
        self.reposition()?;
        self.collect(Duration::ZERO)?;
        self.collect_snapshot(Duration::ZERO);
        if self.cut_is_due() {
            self.cut();
            self.collect(Duration::ZERO)?;
        }
        self.throttle();
        self.tick();
        self.answer();
        self.reached_end()
    }

    /// How long a poll may wait.
    fn poll_wait(&mut self) -> Duration {
        let config = &self.setup.config;
        let mut wait = config.poll_wait_max;
        if self.flight.is_some() || self.writing.is_some() {
            wait = wait.min(BRISK);
        }
        if self.parts.values().any(Assigned::waits) {
            let due = self.last_cut + config.commit_gap_min;
            wait = wait.min(due.saturating_sub(self.now()));
        } else if self.parts.values().any(Assigned::has_progress) {
            let due = self.last_cut + config.commit_interval;
            wait = wait.min(due.saturating_sub(self.now()));
        }
        if let Some(until_tick) = self.until_tick() {
            wait = wait.min(until_tick);
        }
        wait.max(Duration::from_micros(500))
    }

    fn poll(&mut self) -> Result<(), WorkerError> {
        let mut consumer = match self.consumer.take() {
            Some(consumer) => consumer,
            None => {
                let joined = self.setup.journal.consumer(GROUP, &self.setup.name, &[Topic::Raw]);
                match joined {
                    Ok(consumer) => consumer,
                    Err(why) => return self.trouble(&why),
                }
            }
        };
        let wait = self.poll_wait();
        let records_max = self.setup.config.poll_records_max;
        let polled = consumer.poll(wait, records_max, &mut |event| self.event(event));
        self.token = consumer.token();
        self.consumer = Some(consumer);
        match polled {
            Ok(records) => {
                self.idle = records == 0;
                Ok(())
            }
            Err(why) => self.trouble(&why),
        }
    }

    /// A call of the consumer has failed.
    fn trouble(&mut self, why: &JournalError) -> Result<(), WorkerError> {
        if let JournalError::OutOfRange { partition, offset, start } = why {
            self.out_of_range(*partition, *offset, *start);
            return Ok(());
        }
        match why.disposition() {
            Disposition::Retry | Disposition::Resolve => {
                tracing::warn!(worker = self.setup.name, %why, "the journal does not answer; trying again");
                (self.setup.pace.rest)(RETRY_MIN);
                Ok(())
            }
            Disposition::Rejoin => {
                self.rejoin(&why.to_string());
                Ok(())
            }
            Disposition::Fatal => Err(self.journal_error(why)),
        }
    }

    /// Gives everything up and joins the group again.
    fn rejoin(&mut self, why: &str) {
        tracing::warn!(worker = self.setup.name, why, "lost its partitions; joining the group again");
        let all: Vec<TopicPartition> = self.parts.values().map(|part| part.partition).collect();
        self.lose(&all);
        self.consumer = None;
        self.token = None;
        (self.setup.pace.rest)(RETRY_MIN);
    }

    /// A reader, opened when first needed.
    fn reader(&mut self) -> Result<Box<dyn Reader>, JournalError> {
        match self.reader.take() {
            Some(reader) => Ok(reader),
            None => self.setup.journal.reader(),
        }
    }

    fn report(&self, partition: TopicPartition, what: String) {
        tracing::warn!(worker = self.setup.name, partition = partition.partition, "{what}");
        self.setup.view.report(self.setup.journal.now(), partition, what);
    }

    /// Stops reading while a slow commit keeps more than its share waiting.
    fn throttle(&mut self) {
        let waiting: usize = self.parts.values().map(|part| part.out.bytes()).sum();
        let over = waiting > self.setup.config.waiting_bytes_max && self.flight.is_some();
        let release = self.throttled && self.flight.is_none();
        let Some(consumer) = &mut self.consumer else { return };
        if over && !self.throttled {
            self.throttled = true;
            self.parts.values().for_each(|part| consumer.pause(part.partition));
        } else if release {
            self.throttled = false;
            for part in self.parts.values().filter(|part| !part.paused) {
                consumer.resume(part.partition);
            }
        }
    }

    /// Whether every assigned partition has reached its target and has it committed.
    fn reached_end(&mut self) -> Result<bool, WorkerError> {
        if !self.setup.until_end || !self.seated {
            return Ok(false);
        }
        let stuck: Vec<String> = self.parts.values().filter_map(Assigned::stuck).collect();
        if !stuck.is_empty() {
            let why = stuck.join("; ");
            return Err(WorkerError::Incomplete { worker: self.setup.name.clone(), why });
        }
        let there = |part: &Assigned| {
            part.target.is_some_and(|target| part.position().is_some_and(|position| position >= target))
                && part.is_clean_or_empty()
        };
        Ok(self.flight.is_none() && self.parts.values().all(there))
    }

    /// Commits what there is, writes snapshots and leaves the group.
    pub(crate) fn finish(&mut self) -> Result<(), WorkerError> {
        let all: BTreeSet<u32> = self.parts.keys().copied().collect();
        self.drain(&all)?;
        self.final_snapshots()?;
        self.drain(&all)?;
        if let Some(mut consumer) = self.consumer.take() {
            let left = consumer.leave(&mut |event| self.event(event));
            if let Err(why) = left {
                tracing::warn!(worker = self.setup.name, %why, "leaving the group failed; it ends by timeout");
            }
        }
        for partition in all {
            self.setup.view.hide(partition, &self.setup.name);
        }
        Ok(())
    }
}

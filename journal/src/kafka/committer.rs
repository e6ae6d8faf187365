//! Transactions: outputs, positions and metadata at once.
//!
//! Lives here: the order of a commit, and what each failure means. Does not live here: whether to try again
//! (`processor::commit`).
//!
//! Invariants:
//! * The transaction is open for the commit only: begin, produce, wait for delivery, bind positions, commit.
//! * librdkafka speaks the first transaction protocol, in which an end that was delayed can hit a later transaction
//!   of the same producer. So after any failure, and after any commit of which a step took long enough to have been sent
//!   twice in silence, the next one has a new producer: another epoch, which the old end cannot touch.

use super::Shared;
use super::config::RETRY_BACKOFF;
use super::error::{About, sorted, sorted_about};
use super::native::{Failure, Kind, Native, Positions, Proof};
use crate::port::{Committer, GroupToken, JournalError, Transaction};
use schemas::topic::Topic;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// A step of a commit that took longer may have been retried inside librdkafka.
const SUSPICIOUS: Duration = Duration::from_millis(RETRY_BACKOFF.as_millis() as u64 * 8 / 10);
/// Between two calls of the same step.
const PAUSE: Duration = Duration::from_millis(20);
/// Between two looks whether everything is delivered; librdkafka by itself looks every 10 ms.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// A transactional producer.
pub(super) struct KafkaCommitter {
    shared: Arc<Shared>,
    id: String,
    native: Option<Native>,
    /// Another producer has taken the id over: this one never commits again.
    fenced: Option<String>,
}

impl KafkaCommitter {
    /// Takes the id over; an older producer of it is fenced.
    pub(super) fn new(shared: Arc<Shared>, id: &str) -> Result<Self, JournalError> {
        let mut committer = Self { shared, id: id.to_owned(), native: None, fenced: None };
        committer.native = Some(committer.produce()?);
        Ok(committer)
    }

    fn produce(&self) -> Result<Native, JournalError> {
        let config = self.shared.config.committer(&self.id);
        let role = format!("committer {}", self.id);
        let mut native = Native::new(Kind::Producer, &role, &config, self.shared.statistics.clone())
            .map_err(|why| JournalError::Fatal(format!("the producer of {}: {why}", self.id)))?;
        native.learn(&self.shared.names.all()).map_err(|why| sorted("the producer's topics", &why))?;
        let deadline = Instant::now() + self.shared.config.answer_timeout;
        // Whoever has no broker yet looks for the coordinator again after half a second; an answer shows that there is one.
        native.partition_counts(left(deadline)).map_err(|why| sorted("asking as a producer", &why))?;
        let taken = patiently(deadline, || native.init_transactions(left(deadline)));
        taken.map_err(|why| {
            let id = self.full_id();
            let about = About { transactional_id: &id, ..About::default() };
            sorted_about(&format!("taking over the transactional id {id}"), about, &why)
        })?;
        Ok(native)
    }

    /// The id as the brokers know it.
    fn full_id(&self) -> String {
        format!("{}{}", self.shared.config.prefix, self.id)
    }

    /// Commits; returns how long the longest step took that must not be repeated in silence.
    fn attempt(
        &self,
        native: &Native,
        transaction: &Transaction,
        token: &GroupToken,
    ) -> Result<Duration, Failed> {
        let deadline = Instant::now() + self.shared.config.commit_timeout;
        native.begin().map_err(Failed::Before)?;
        for record in &transaction.records {
            native.add(record).map_err(Failed::Open)?;
        }
        delivered(native, deadline).map_err(Failed::Open)?;
        // Not the delivery: a record that is sent twice is told by its sequence number.
        let mut steps = Steps { begun: Instant::now(), longest: Duration::ZERO };
        if !transaction.offsets.is_empty() {
            let group = format!("{}{}", self.shared.config.prefix, token.group);
            let proof = Proof {
                member: token.proof.clone(),
                generation: i32::try_from(token.generation).unwrap_or(i32::MAX),
            };
            let mut positions = Positions::new();
            for (of, committed) in &transaction.offsets {
                let topic = self.shared.names.text(of.topic);
                positions.add_at(topic, of.partition, committed.offset, &committed.metadata);
            }
            let bind = || native.add_positions(&positions, &group, &token.member, &proof, left(deadline));
            patiently(deadline, bind).map_err(Failed::Open)?;
            steps.next();
        }
        patiently(deadline, || native.commit_transaction(left(deadline))).map_err(Failed::Ending)?;
        steps.next();
        Ok(steps.longest)
    }

    /// What a failed attempt means; everything that can be taken back is.
    fn after(&mut self, native: &Native, failed: Failed, of: (&Transaction, &str)) -> JournalError {
        let (failure, ending) = match failed {
            Failed::Before(failure) => return self.sort("beginning a transaction", &failure, of),
            Failed::Open(failure) => (failure, false),
            Failed::Ending(failure) => (failure, true),
        };
        if failure.fatal {
            return self.sort("a transaction", &failure, of);
        }
        if ending && !failure.abort {
            return JournalError::Unknown(format!("committing: {}", failure.text));
        }
        // Whether the abort is answered or not: the next producer of this id ends the transaction first.
        if let Err(why) = native.abort_transaction(self.shared.config.answer_timeout) {
            tracing::debug!(why = why.text, "the abort was not answered");
        }
        self.sort("a transaction", &failure, of)
    }

    fn sort(
        &mut self,
        what: &str,
        failure: &Failure,
        (transaction, group): (&Transaction, &str),
    ) -> JournalError {
        let mut topics: Vec<Topic> = transaction.records.iter().map(|record| record.to.topic).collect();
        topics.sort_unstable();
        topics.dedup();
        let names = topics.iter().map(|topic| self.shared.names.text(*topic)).collect::<Vec<_>>().join(", ");
        let (id, group) = (self.full_id(), format!("{}{group}", self.shared.config.prefix));
        let about = About { operation: "Write", topics: &names, group: &group, transactional_id: &id };
        let error = sorted_about(what, about, failure);
        if failure.fatal
            && let JournalError::Fenced(why) = &error
        {
            self.fenced = Some(why.clone());
        }
        error
    }
}

/// The steps of a commit: a request that was repeated in silence has made its own step slow.
struct Steps {
    begun: Instant,
    longest: Duration,
}

impl Steps {
    fn next(&mut self) {
        self.longest = self.longest.max(self.begun.elapsed());
        self.begun = Instant::now();
    }
}

/// Where an attempt failed.
enum Failed {
    /// Nothing was begun.
    Before(Failure),
    /// Before the end was asked for: nothing is visible.
    Open(Failure),
    /// The end was asked for.
    Ending(Failure),
}

/// Waits until the records are where they belong. Positions that were sent beside them would meet the end of the
/// transaction before, which the brokers are still writing into its partitions: librdkafka repeats that request after
/// [`RETRY_BACKOFF`], but that of the first record after 20 ms.
fn delivered(native: &Native, deadline: Instant) -> Result<(), Failure> {
    loop {
        match native.flush(LOOK_EVERY) {
            Err(_) if Instant::now() + LOOK_EVERY < deadline => {}
            answer => return answer,
        }
    }
}

fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1))
}

/// Calls again while the failure is one that says so.
fn patiently(deadline: Instant, mut call: impl FnMut() -> Result<(), Failure>) -> Result<(), Failure> {
    loop {
        match call() {
            Err(failure) if failure.retriable && Instant::now() + PAUSE < deadline => {
                std::thread::park_timeout(PAUSE);
            }
            answer => return answer,
        }
    }
}

impl Committer for KafkaCommitter {
    fn commit(&mut self, transaction: &Transaction, token: &GroupToken) -> Result<(), JournalError> {
        self.shared.check()?;
        if let Some(why) = &self.fenced {
            return Err(JournalError::Fenced(why.clone()));
        }
        self.shared.layout.admit(&transaction.records)?;
        self.shared.layout.admit_offsets(&transaction.offsets)?;
        self.shared.seats.admit(token)?;
        let native = match self.native.take() {
            Some(native) => native,
            None => {
                let renewed = self.produce()?;
                self.shared.renewed.fetch_add(1, Ordering::Relaxed);
                renewed
            }
        };
        native.poll(Duration::ZERO);
        match self.attempt(&native, transaction, token) {
            Ok(longest) => {
                if longest < SUSPICIOUS {
                    self.native = Some(native);
                } else {
                    tracing::debug!(id = self.id, took = ?longest, "a slow commit: a new producer follows");
                }
                Ok(())
            }
            Err(failed) => {
                self.shared.aborted.fetch_add(1, Ordering::Relaxed);
                Err(self.after(&native, failed, (transaction, &token.group)))
            }
        }
    }
}

//! Transactions: outputs, positions and metadata at once.
//!
//! Lives here: the order of a commit, and what each failure means. Does not live here: whether to try again
//! (`processor::commit`).
//!
//! Invariants:
//! * The transaction is open for the commit only: begin, produce, bind positions, commit.
//! * librdkafka speaks the first transaction protocol, in which an end that was delayed can hit a later transaction
//!   of the same producer. So after any failure, and after any commit that took long enough to have been sent twice
//!   in silence, the next one has a new producer: another epoch, which the old end cannot touch.

use super::Shared;
use super::config::RETRY_BACKOFF;
use super::error::sorted;
use super::native::{Failure, Kind, Native, Positions, Proof};
use crate::port::{Committer, GroupToken, JournalError, Transaction};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A commit that took longer may have been retried inside librdkafka.
const SUSPICIOUS: Duration = Duration::from_millis(RETRY_BACKOFF.as_millis() as u64 * 8 / 10);
/// Between two calls of the same step.
const PAUSE: Duration = Duration::from_millis(20);

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
        let taken = patiently(deadline, || native.init_transactions(left(deadline)));
        taken.map_err(|why| sorted(&format!("taking over the transactional id {}", self.id), &why))?;
        Ok(native)
    }

    fn attempt(&self, native: &Native, transaction: &Transaction, token: &GroupToken) -> Result<(), Failed> {
        let deadline = Instant::now() + self.shared.config.commit_timeout;
        native.begin().map_err(Failed::Before)?;
        for record in &transaction.records {
            native.add(record).map_err(Failed::Open)?;
        }
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
        }
        patiently(deadline, || native.commit_transaction(left(deadline))).map_err(Failed::Ending)
    }

    /// What a failed attempt means; everything that can be taken back is.
    fn after(&mut self, native: &Native, failed: Failed) -> JournalError {
        let (failure, ending) = match failed {
            Failed::Before(failure) => return self.sort("beginning a transaction", &failure),
            Failed::Open(failure) => (failure, false),
            Failed::Ending(failure) => (failure, true),
        };
        if failure.fatal {
            return self.sort("a transaction", &failure);
        }
        if ending && !failure.abort {
            return JournalError::Unknown(format!("committing: {}", failure.text));
        }
        // Whether the abort is answered or not: the next producer of this id ends the transaction first.
        if let Err(why) = native.abort_transaction(self.shared.config.answer_timeout) {
            tracing::debug!(why = why.text, "the abort was not answered");
        }
        self.sort("a transaction", &failure)
    }

    fn sort(&mut self, what: &str, failure: &Failure) -> JournalError {
        let error = sorted(what, failure);
        if failure.fatal
            && let JournalError::Fenced(why) = &error
        {
            self.fenced = Some(why.clone());
        }
        error
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
            None => self.produce()?,
        };
        native.poll(Duration::ZERO);
        let started = Instant::now();
        match self.attempt(&native, transaction, token) {
            Ok(()) => {
                if started.elapsed() < SUSPICIOUS {
                    self.native = Some(native);
                } else {
                    tracing::debug!(id = self.id, took = ?started.elapsed(), "a slow commit: a new producer follows");
                }
                Ok(())
            }
            Err(failed) => Err(self.after(&native, failed)),
        }
    }
}

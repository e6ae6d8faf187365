//! Making a cut visible: the committer and what it is handed.
//!
//! The committer executes attempts and finds out what became of one whose answer was lost. Whether to try again, and
//! with which partitions, is decided by the poll thread, which owns the assignment.

use crate::GROUP;
use crate::observe::Outcomes;
use journal::port::{
    Committed, Committer, Disposition, GroupToken, Journal, JournalError, NewRecord, Reader, TopicPartition,
    Transaction,
};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// One partition's part of a cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) partition: TopicPartition,
    /// What must be committed before; none: nothing.
    pub(crate) from: Option<i64>,
    pub(crate) to: i64,
    /// Totals of outcomes with this cut.
    pub(crate) outcomes: Outcomes,
}

/// A cut on its way, frozen.
#[derive(Debug)]
pub(crate) struct Cycle {
    pub(crate) parts: Vec<Part>,
    pub(crate) transaction: Transaction,
    /// Captured on the poll thread when the cut was made.
    pub(crate) token: GroupToken,
    /// An earlier attempt may have happened: look before trying again.
    pub(crate) resolve_first: bool,
}

impl Cycle {
    pub(crate) fn new(token: GroupToken) -> Self {
        Self { parts: Vec::new(), transaction: Transaction::default(), token, resolve_first: false }
    }

    /// Adds a partition's outputs and position.
    pub(crate) fn add(&mut self, part: Part, records: Vec<NewRecord>, metadata: String) {
        let committed = Committed { offset: part.to, metadata };
        self.transaction.records.extend(records);
        self.transaction.offsets.push((part.partition, committed));
        self.parts.push(part);
    }

    /// Leaves only the partitions that are still owned: every record lies in the partition of its source.
    pub(crate) fn retain(&mut self, keep: impl Fn(u32) -> bool) {
        self.parts.retain(|part| keep(part.partition.partition));
        self.transaction.offsets.retain(|(partition, _)| keep(partition.partition));
        self.transaction.records.retain(|record| keep(record.to.partition));
    }
}

/// What became of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Attempt {
    /// Visible and durable.
    Done,
    /// Nothing was written: the same may be sent again.
    Again(String),
    /// Not known, and the journal does not say: ask again before sending.
    Unresolved(String),
    /// Somebody else owns the partitions.
    Lost(String),
    /// Ours or the journal's fault.
    Fatal(String),
}

/// Executes attempts, one at a time.
pub(crate) struct Committing {
    journal: Arc<dyn Journal>,
    id: String,
    committer: Option<Box<dyn Committer>>,
    reader: Option<Box<dyn Reader>>,
}

impl Committing {
    pub(crate) fn new(journal: Arc<dyn Journal>, id: String) -> Self {
        Self { journal, id, committer: None, reader: None }
    }

    /// Makes the cycle visible, or says why not.
    pub(crate) fn attempt(&mut self, cycle: &Cycle) -> Attempt {
        if cycle.resolve_first {
            match self.resolve(cycle) {
                Ok(Resolved::NotHappened) => {}
                Ok(Resolved::Happened) => return Attempt::Done,
                Ok(Resolved::Foreign(what)) => return Attempt::Lost(what),
                Err(why) => return Attempt::Unresolved(why.to_string()),
            }
        }
        let done = self.producer().and_then(|producer| producer.commit(&cycle.transaction, &cycle.token));
        let Err(why) = done else { return Attempt::Done };
        // A request of a failed attempt may still be on its way: a new producer fences it.
        self.committer = None;
        match why.disposition() {
            Disposition::Retry => Attempt::Again(why.to_string()),
            Disposition::Rejoin => Attempt::Lost(why.to_string()),
            Disposition::Fatal => Attempt::Fatal(why.to_string()),
            Disposition::Resolve => match self.producer().map(|_| ()).and_then(|()| self.resolve(cycle)) {
                Ok(Resolved::Happened) => Attempt::Done,
                Ok(Resolved::NotHappened) => Attempt::Again(why.to_string()),
                Ok(Resolved::Foreign(what)) => Attempt::Lost(what),
                Err(_) => Attempt::Unresolved(why.to_string()),
            },
        }
    }

    fn producer(&mut self) -> Result<&mut Box<dyn Committer>, JournalError> {
        let committer = match self.committer.take() {
            Some(committer) => committer,
            None => self.journal.committer(&self.id)?,
        };
        Ok(self.committer.insert(committer))
    }

    /// Compares what is committed with both ends of each part.
    fn resolve(&mut self, cycle: &Cycle) -> Result<Resolved, JournalError> {
        let reader = match self.reader.take() {
            Some(reader) => reader,
            None => self.journal.reader()?,
        };
        let reader = self.reader.insert(reader);
        let mut happened = 0;
        for part in &cycle.parts {
            let committed = reader.committed(GROUP, part.partition)?.map(|committed| committed.offset);
            if committed == Some(part.to) && part.from != Some(part.to) {
                happened += 1;
            } else if committed != part.from {
                return Ok(Resolved::Foreign(format!(
                    "{:?}: committed is {committed:?}, neither {:?} nor {}",
                    part.partition, part.from, part.to
                )));
            }
        }
        match happened {
            0 => Ok(Resolved::NotHappened),
            _ => Ok(Resolved::Happened),
        }
    }
}

enum Resolved {
    Happened,
    NotHappened,
    Foreign(String),
}

/// Where cycles go and come back with their outcome; one at a time.
pub(crate) trait CommitLane: Send {
    /// Hands a cycle over; nothing may be on its way.
    fn submit(&mut self, cycle: Box<Cycle>);
    /// The cycle that has come back, waiting for it at most so long.
    fn outcome(&mut self, wait: Duration) -> Option<(Box<Cycle>, Attempt)>;
}

/// Commits on the calling thread.
#[cfg(test)]
pub(crate) struct InlineLane {
    committing: Committing,
    done: Option<(Box<Cycle>, Attempt)>,
}

#[cfg(test)]
impl InlineLane {
    pub(crate) fn new(committing: Committing) -> Self {
        Self { committing, done: None }
    }
}

#[cfg(test)]
impl CommitLane for InlineLane {
    fn submit(&mut self, cycle: Box<Cycle>) {
        let attempt = self.committing.attempt(&cycle);
        self.done = Some((cycle, attempt));
    }

    fn outcome(&mut self, _: Duration) -> Option<(Box<Cycle>, Attempt)> {
        self.done.take()
    }
}

/// The committer thread.
pub(crate) struct ThreadLane {
    to: Option<SyncSender<Box<Cycle>>>,
    from: Receiver<(Box<Cycle>, Attempt)>,
    thread: Option<JoinHandle<()>>,
}

impl ThreadLane {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub(crate) fn start(mut committing: Committing, name: &str) -> std::io::Result<Self> {
        let (to, cycles) = sync_channel::<Box<Cycle>>(1);
        let (outcomes, from) = sync_channel(1);
        let body = move || {
            // What a killed predecessor left open keeps its positions from everybody until the id is taken over.
            if let Err(why) = committing.producer() {
                tracing::debug!(%why, "the committer is made with the first commit");
            }
            for cycle in cycles {
                let attempt = committing.attempt(&cycle);
                if outcomes.send((cycle, attempt)).is_err() {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name(format!("{name}-committer")).spawn(body)?;
        Ok(Self { to: Some(to), from, thread: Some(thread) })
    }
}

impl CommitLane for ThreadLane {
    fn submit(&mut self, cycle: Box<Cycle>) {
        let to = self.to.as_ref().expect("the lane is open until it is dropped");
        // A thread that is gone has panicked: the outcome says so.
        let _ = to.send(cycle);
    }

    fn outcome(&mut self, wait: Duration) -> Option<(Box<Cycle>, Attempt)> {
        let gone = || {
            let (group, member, proof) = (String::new(), String::new(), String::new());
            let nothing = GroupToken { group, member, generation: 0, proof };
            Some((Box::new(Cycle::new(nothing)), Attempt::Fatal("the committer thread has ended".to_owned())))
        };
        if wait.is_zero() {
            return match self.from.try_recv() {
                Ok(outcome) => Some(outcome),
                Err(TryRecvError::Empty) => None,
                Err(TryRecvError::Disconnected) => gone(),
            };
        }
        match self.from.recv_timeout(wait) {
            Ok(outcome) => Some(outcome),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => gone(),
        }
    }
}

impl Drop for ThreadLane {
    fn drop(&mut self) {
        self.to = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the committer thread had panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use journal::memory::{MemoryConfig, MemoryJournal};

    /// On Kafka an open transaction of a killed predecessor keeps its positions from everybody until then.
    #[test]
    fn the_id_is_taken_over_at_the_start() {
        let journal = MemoryJournal::new(MemoryConfig::default()).unwrap();
        let mut predecessor = journal.committer("id").unwrap();
        let committing = Committing::new(Arc::new(journal), "id".to_owned());
        // Dropped, it has done what it does at the start, and nothing was ever committed through it.
        drop(ThreadLane::start(committing, "worker").unwrap());
        let nobody =
            GroupToken { group: String::new(), member: String::new(), generation: 0, proof: String::new() };
        let refused = predecessor.commit(&Transaction::default(), &nobody);
        assert!(matches!(refused, Err(JournalError::Fenced(_))), "{refused:?}");
    }
}

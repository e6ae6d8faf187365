//! What every adapter promises, as one suite: `run` it over a [`Harness`] of the adapter.
//!
//! Lives here: the checks, and a small group member to make them with. Does not live here: anything that only one
//! adapter can do (its own tests).
//!
//! Every wait is bounded by [`WAIT_MAX`]; a check that fails panics, and `run` names it.

#![allow(clippy::unwrap_used, reason = "a test suite: a panic is its answer")]

mod groups;
mod limits;
mod log;
mod pipeline;
mod transactions;

use crate::StoredRecord;
use crate::port::{
    Committed, Consumer, ConsumerEvent, GroupToken, Journal, JournalError, NewRecord, TopicPartition,
};
use schemas::topic::Topic;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

/// The longest that a check waits for something that must happen.
pub const WAIT_MAX: Duration = Duration::from_secs(30);
/// Partitions that a harness makes.
pub const PARTITIONS: u32 = 4;
/// Bound on the append queue that a harness sets.
pub const APPEND_QUEUE_BYTES_MAX: usize = 2 << 20;
/// How long one poll waits, in turns with other members.
const TURN: Duration = Duration::from_millis(5);

/// An adapter on trial: a fresh journal of [`PARTITIONS`] partitions and [`APPEND_QUEUE_BYTES_MAX`].
pub trait Harness {
    /// The journal as it is now.
    fn journal(&self) -> Arc<dyn Journal>;
    /// The power goes and comes back: what is not durable is lost. Earlier parts are of no more use.
    fn reopen(&mut self);
    /// Removes every record that a partition now has, as retention would; the topic's other partitions may follow.
    fn expire(&mut self, partition: TopicPartition);
    /// Keeps appends from becoming durable until [`Harness::release_appends`]; one may be on its way already.
    fn stall_appends(&mut self);
    /// Ends the stall.
    fn release_appends(&mut self);
    /// Loses the answer of the next transaction, which has happened or not; false when this home cannot.
    fn lose_next_answer(&mut self, happened: bool) -> bool;
}

/// A check.
pub type Check = fn(&mut dyn Harness);

/// Every check, by what it finds true.
pub const CHECKS: &[(&str, Check)] = &[
    ("offsets rise in the order of the records", log::offsets_rise),
    ("records come back as they were written", log::round_trip),
    ("what was acknowledged survives a power cut", log::durable),
    ("receipt times never fall", log::receipt_times),
    ("every offset is a place to start from", log::any_start),
    ("keys are where the partitioner says", log::partitioner),
    ("appenders at once lose and double nothing", log::concurrent_appenders),
    ("schema ids are stable", log::schema_ids),
    ("a transaction is visible as a whole", transactions::atomic),
    ("positions carry their metadata", transactions::metadata),
    ("a newer producer fences the older", transactions::newer_producer),
    ("an old token commits nothing", transactions::old_token),
    ("an unknown outcome can be found out", transactions::unknown),
    ("members share co-partitioned topics", groups::shares),
    ("a member commits until its visitor returns", groups::last_commit),
    ("the next owner starts where the last one committed", groups::handover),
    ("a restarted member takes its seat over", groups::restarted_member),
    ("a dropped member's partitions go to the others", groups::dropped_member),
    ("seek, pause and resume", groups::seek_pause_resume),
    ("a poll brings at most what was asked for", groups::records_max),
    ("a waiting poll wakes up for a record", groups::wakes_up),
    ("positions below the log's start are refused", limits::out_of_range),
    ("a full queue refuses at once", limits::full),
    ("what no home takes is refused, and the largest record taken", limits::impossible),
    ("a pipeline of threads copies exactly once", pipeline::copies_once),
];

/// Runs every check on a harness of its own.
///
/// # Panics
/// When a check fails, naming all that did.
pub fn run(mut make: impl FnMut() -> Box<dyn Harness>) {
    let mut failed = Vec::new();
    for (name, check) in CHECKS {
        let mut harness = make();
        if catch_unwind(AssertUnwindSafe(|| check(harness.as_mut()))).is_err() {
            failed.push(*name);
        }
    }
    assert!(failed.is_empty(), "the adapter does not conform: {failed:?}");
}

fn raw(partition: u32) -> TopicPartition {
    TopicPartition { topic: Topic::Raw, partition }
}

fn aggregates(partition: u32) -> TopicPartition {
    TopicPartition { topic: Topic::Aggregates, partition }
}

fn record(to: TopicPartition, value: impl Into<Vec<u8>>) -> NewRecord {
    NewRecord { to, key: None, value: value.into(), headers: Vec::new() }
}

fn at(offset: i64, metadata: &str) -> Committed {
    Committed { offset, metadata: metadata.to_owned() }
}

/// Appends and waits until it is durable.
fn append(journal: &dyn Journal, records: Vec<NewRecord>) -> Vec<i64> {
    try_append(journal, records).unwrap()
}

fn try_append(journal: &dyn Journal, records: Vec<NewRecord>) -> Result<Vec<i64>, JournalError> {
    let (sender, receiver) = channel();
    journal.appender().append(records, Box::new(move |done| sender.send(done).unwrap()))?;
    receiver.recv_timeout(WAIT_MAX).unwrap()
}

/// Everything a partition has.
fn read_all(journal: &dyn Journal, partition: TopicPartition) -> Vec<StoredRecord> {
    let mut reader = journal.reader().unwrap();
    let (start, end) = reader.bounds(partition).unwrap();
    let mut records = Vec::new();
    let mut next = start;
    while next < end {
        let after = reader.read(partition, next, 1000, &mut |record| {
            records.push(StoredRecord::copy(partition, &record));
        });
        let after = after.unwrap();
        assert!(after > next, "{partition:?} has an end of {end} and nothing from {next} on");
        next = after;
    }
    records
}

fn values(records: &[StoredRecord]) -> Vec<String> {
    records.iter().map(|record| String::from_utf8(record.value.clone()).unwrap()).collect()
}

/// A member that starts where the group has committed, or at the log's start.
struct Member {
    consumer: Box<dyn Consumer>,
    owned: Vec<TopicPartition>,
    committed: BTreeMap<TopicPartition, Committed>,
    records: Vec<StoredRecord>,
    assignments: usize,
    lost: bool,
    seeks: bool,
}

impl Member {
    fn join(journal: &dyn Journal, group: &str, member: &str, topics: &[Topic]) -> Self {
        let consumer = journal.consumer(group, member, topics).unwrap();
        Self {
            consumer,
            owned: Vec::new(),
            committed: BTreeMap::new(),
            records: Vec::new(),
            assignments: 0,
            lost: false,
            seeks: true,
        }
    }

    /// One poll, and the seeks that follow an assignment.
    fn turn(&mut self, wait: Duration) -> Result<usize, JournalError> {
        let (mut new, mut gone) = (None, None);
        let records = &mut self.records;
        let delivered = self.consumer.poll(wait, 100, &mut |event| match event {
            ConsumerEvent::Assigned(assignments) => new = Some(assignments.to_vec()),
            ConsumerEvent::Revoked { lost, .. } => gone = Some(lost),
            ConsumerEvent::Batch { partition, records: batch } => {
                records.extend(batch.iter().map(|record| StoredRecord::copy(partition, record)));
            }
            ConsumerEvent::Reached { .. } => {}
        })?;
        if let Some(lost) = gone {
            self.owned.clear();
            self.lost |= lost;
        }
        if let Some(assignments) = new {
            self.assignments += 1;
            self.owned = assignments.iter().map(|assignment| assignment.partition).collect();
            self.committed.clear();
            for assignment in assignments {
                let start = self.consumer.bounds(assignment.partition)?.0;
                let position = assignment.committed.as_ref().map_or(start, |committed| committed.offset);
                if self.seeks {
                    self.consumer.seek(assignment.partition, position)?;
                }
                self.committed
                    .extend(assignment.committed.map(|committed| (assignment.partition, committed)));
            }
        }
        Ok(delivered)
    }

    /// Polls until it owns so many partitions.
    fn own(&mut self, count: usize) {
        until(&mut [self], |members| members[0].owned.len() == count);
    }

    fn token(&self) -> GroupToken {
        self.consumer.token().unwrap()
    }
}

/// Polls members in turns until something holds.
#[track_caller]
fn until(members: &mut [&mut Member], mut holds: impl FnMut(&[&mut Member]) -> bool) {
    let end = Instant::now() + WAIT_MAX;
    while !holds(members) {
        assert!(Instant::now() < end, "it did not come to hold in {WAIT_MAX:?}");
        for member in members.iter_mut() {
            member.turn(TURN).unwrap();
        }
    }
}

//! One thread, zero waits, faults at every call: a copying pipeline over the in-memory home, which must come out
//! exactly once whatever happens, and the same way every time.

use super::super::faults::{self, Call, Fault, Plan, Rates};
use super::super::{MemoryConfig, MemoryJournal};
use crate::port::{
    Committed, Committer, Consumer, ConsumerEvent, Disposition, Journal, JournalError, NewRecord,
    TopicPartition, Transaction,
};
use schemas::topic::Topic;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const RECORDS: usize = 40;
const PARTITIONS: u32 = 2;
/// Far more rounds than any plan here needs.
const ROUNDS_MAX: usize = 5_000;

fn raw(partition: u32) -> TopicPartition {
    TopicPartition { topic: Topic::Raw, partition }
}

fn journal() -> MemoryJournal {
    MemoryJournal::new(MemoryConfig { partitions: PARTITIONS, ..MemoryConfig::default() }).unwrap()
}

/// What the outside world sees of one run.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    acknowledged: BTreeSet<usize>,
    input: Vec<Vec<Vec<u8>>>,
    output: Vec<Vec<Vec<u8>>>,
    calls: u64,
}

/// A worker's parts, until something takes them away.
struct Worker {
    consumer: Box<dyn Consumer>,
    committer: Box<dyn Committer>,
    pending: Option<Transaction>,
    in_doubt: bool,
}

impl Worker {
    fn start(journal: &MemoryJournal, name: &str) -> Result<Self, JournalError> {
        let consumer = journal.consumer("copiers", name, &[Topic::Raw])?;
        Ok(Self { consumer, committer: journal.committer(name)?, pending: None, in_doubt: false })
    }

    /// Reads a little and commits it; a commit in doubt is resolved before anything else.
    fn step(&mut self, journal: &MemoryJournal) -> Result<(), JournalError> {
        let (mut records, mut reached) = (Vec::new(), BTreeMap::new());
        let mut starts = Vec::new();
        let waiting = self.pending.is_some();
        let mut revoked = false;
        self.consumer.poll(Duration::ZERO, if waiting { 0 } else { 3 }, &mut |event| match event {
            ConsumerEvent::Assigned(assignments) => {
                let start = |committed: &Option<Committed>| committed.as_ref().map_or(0, |at| at.offset);
                starts = assignments.iter().map(|of| (of.partition, start(&of.committed))).collect();
            }
            ConsumerEvent::Revoked { .. } => revoked = true,
            ConsumerEvent::Reached { .. } => {}
            ConsumerEvent::Batch { partition, records: batch } => {
                for record in batch {
                    let to = TopicPartition { topic: Topic::Aggregates, ..partition };
                    records.push(NewRecord {
                        to,
                        key: None,
                        value: record.value.to_vec(),
                        headers: Vec::new(),
                    });
                    reached.insert(partition, record.offset + 1);
                }
            }
        })?;
        if revoked {
            (self.pending, self.in_doubt) = (None, false);
        }
        for (partition, start) in starts {
            self.consumer.seek(partition, start)?;
        }
        if !reached.is_empty() {
            let offsets =
                reached.into_iter().map(|(of, offset)| (of, Committed { offset, metadata: String::new() }));
            self.pending = Some(Transaction { records, offsets: offsets.collect() });
        }
        self.publish(journal)
    }

    fn publish(&mut self, journal: &MemoryJournal) -> Result<(), JournalError> {
        let Some(transaction) = &self.pending else { return Ok(()) };
        let Some(token) = self.consumer.token() else { return Ok(()) };
        if self.in_doubt {
            // Before anything is sent again, however often the question is refused.
            let (partition, at) = &transaction.offsets[0];
            let happened = journal.reader()?.committed("copiers", *partition)?.as_ref() == Some(at);
            self.in_doubt = false;
            if happened {
                self.pending = None;
                return Ok(());
            }
        }
        match self.committer.commit(transaction, &token) {
            Err(JournalError::Unknown(_)) => {
                self.in_doubt = true;
                Ok(())
            }
            Err(error) => Err(error),
            Ok(()) => {
                self.pending = None;
                Ok(())
            }
        }
    }
}

/// Appends what is not acknowledged yet, one by one, as a device that repeats until it is answered. A reading in
/// doubt is looked for first.
fn feed(journal: &MemoryJournal, acknowledged: &Arc<Mutex<BTreeSet<usize>>>) {
    let known = acknowledged.lock().unwrap().clone();
    let Some(number) = (0..RECORDS).find(|number| !known.contains(number)) else { return };
    let value = format!("{number}").into_bytes();
    let to = raw(u32::try_from(number).unwrap() % PARTITIONS);
    if journal.records(to).iter().any(|record| record.value == value) {
        acknowledged.lock().unwrap().insert(number);
        return;
    }
    let record = NewRecord { to, key: None, value, headers: Vec::new() };
    let acknowledged = Arc::clone(acknowledged);
    let done = Box::new(move |appended: Result<Vec<i64>, JournalError>| {
        if appended.is_ok() {
            acknowledged.lock().unwrap().insert(number);
        }
    });
    let _ = journal.appender().append(vec![record], done);
}

fn copied(journal: &MemoryJournal) -> bool {
    (0..PARTITIONS).all(|of| {
        let committed = journal.positions("copiers").get(&raw(of)).map_or(0, |at| at.offset);
        committed == i64::try_from(journal.records(raw(of)).len()).unwrap()
    })
}

fn turn(worker: &mut Option<Worker>, journal: &MemoryJournal, name: &str) {
    if worker.is_none() {
        *worker = Worker::start(journal, name).ok();
    }
    let Some(running) = worker else { return };
    match running.step(journal).map_err(|error| error.disposition()) {
        Ok(()) | Err(Disposition::Retry) => {}
        Err(Disposition::Resolve) => unreachable!("resolved where it arises"),
        Err(Disposition::Rejoin | Disposition::Fatal) => *worker = None,
    }
}

fn run(plan: Option<Plan>) -> Outcome {
    let mut journal = journal();
    journal.inject(plan);
    let acknowledged = Arc::new(Mutex::new(BTreeSet::new()));
    let (mut a, mut b) = (None, None);
    for round in 0.. {
        assert!(round < ROUNDS_MAX, "it does not come to an end");
        if journal.crashed() {
            (a, b) = (None, None);
            journal = journal.reopen();
        }
        feed(&journal, &acknowledged);
        turn(&mut a, &journal, "a");
        if (10..30).contains(&(round % 60)) {
            turn(&mut b, &journal, "b");
        } else if let Some(leaving) = b.take() {
            drop(leaving);
        }
        journal.advance(Duration::from_millis(10));
        if acknowledged.lock().unwrap().len() == RECORDS && !journal.crashed() && copied(&journal) {
            break;
        }
    }
    let values = |topic| {
        let of = |partition| journal.records(TopicPartition { topic, partition });
        (0..PARTITIONS)
            .map(|partition| of(partition).into_iter().map(|record| record.value).collect())
            .collect()
    };
    let acknowledged = acknowledged.lock().unwrap().clone();
    Outcome {
        acknowledged,
        input: values(Topic::Raw),
        output: values(Topic::Aggregates),
        calls: journal.calls(),
    }
}

fn exactly_once(outcome: &Outcome, plan: &str) {
    assert_eq!(outcome.output, outcome.input, "{plan}: each input once, in order");
    let distinct: BTreeSet<_> = outcome.input.iter().flatten().collect();
    assert_eq!(distinct.len(), RECORDS, "{plan}");
    assert_eq!(outcome.acknowledged.len(), RECORDS, "{plan}");
}

#[test]
fn a_fault_at_any_call_loses_and_doubles_nothing() {
    let calls = run(None).calls;
    let faults = [
        Fault::Refuse,
        Fault::LoseAnswer { happened: true },
        Fault::LoseAnswer { happened: false },
        Fault::CrashBefore,
        Fault::CrashAfter,
    ];
    for number in 0..calls {
        for fault in faults {
            exactly_once(&run(Some(faults::at(number, fault))), &format!("{fault:?} at call {number}"));
        }
    }
}

#[test]
fn seeded_faults_lose_and_double_nothing_and_repeat_themselves() {
    let rates = Rates { refuse: 60, lose: 60, crash: 15 };
    let mut calls = BTreeSet::new();
    for seed in 0..60 {
        let outcome = run(Some(faults::seeded(seed, rates)));
        exactly_once(&outcome, &format!("seed {seed}"));
        assert_eq!(run(Some(faults::seeded(seed, rates))), outcome, "seed {seed} again");
        calls.insert(outcome.calls);
    }
    assert!(calls.len() > 10, "the seeds make a difference");
}

#[test]
fn one_record_lost_or_doubled_is_noticed() {
    let mut outcome = run(None);
    outcome.output[0].pop();
    assert!(std::panic::catch_unwind(|| exactly_once(&outcome, "one lost")).is_err());
    let mut outcome = run(None);
    let doubled = outcome.output[1][0].clone();
    outcome.output[1].push(doubled);
    assert!(std::panic::catch_unwind(|| exactly_once(&outcome, "one doubled")).is_err());
}

#[test]
fn the_plan_sees_every_kind_of_call() {
    let kinds = Arc::new(Mutex::new(Vec::new()));
    let journal = journal();
    let noted = Arc::clone(&kinds);
    journal.inject(Some(Box::new(move |number, call| {
        noted.lock().unwrap().push((number, call));
        None
    })));
    let mut consumer = journal.consumer("g", "m", &[Topic::Raw]).unwrap();
    consumer.poll(Duration::ZERO, 1, &mut |_| {}).unwrap();
    consumer.commit(&[]).unwrap();
    consumer.bounds(raw(0)).unwrap();
    let token = consumer.token().unwrap();
    journal.committer("p").unwrap().commit(&Transaction::default(), &token).unwrap();
    journal.appender().append(Vec::new(), Box::new(|_| {})).unwrap();
    let mut reader = journal.reader().unwrap();
    reader.read(raw(0), 0, 1, &mut |_| {}).unwrap();
    journal.schema_id("s", "x").unwrap();
    let kinds: Vec<Call> = kinds
        .lock()
        .unwrap()
        .iter()
        .enumerate()
        .map(|(index, (number, call))| {
            assert_eq!(*number, index as u64);
            *call
        })
        .collect();
    use Call::{Append, Commit, CommitPositions, Look, Open, Poll, Read, Schema};
    assert_eq!(kinds, [Open, Poll, CommitPositions, Look, Open, Commit, Append, Open, Read, Schema]);
    assert_eq!(journal.calls(), 10);
}

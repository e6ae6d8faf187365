//! The in-memory home: conformance, virtual time, faults, power cuts at every call.

mod simulation;

use super::*;
use crate::conformance::{self, Harness};
use crate::port::{Journal, NewRecord};
use std::sync::mpsc::channel;

struct InMemory {
    journal: MemoryJournal,
}

impl InMemory {
    fn new() -> Self {
        let config = MemoryConfig {
            partitions: conformance::PARTITIONS,
            append_queue_bytes_max: conformance::APPEND_QUEUE_BYTES_MAX,
            ..MemoryConfig::default()
        };
        Self { journal: MemoryJournal::new(config).unwrap() }
    }
}

impl Harness for InMemory {
    fn journal(&self) -> Arc<dyn Journal> {
        Arc::new(self.journal.clone())
    }

    fn reopen(&mut self) {
        self.journal = self.journal.reopen();
    }

    fn expire(&mut self, partition: TopicPartition) {
        self.journal.trim(partition, i64::MAX).unwrap();
    }

    fn stall_appends(&mut self) {
        self.journal.hold();
    }

    fn release_appends(&mut self) {
        self.journal.release();
    }

    fn lose_next_answer(&mut self, happened: bool) -> bool {
        self.journal.inject(Some(faults::next(Call::Commit, 1, faults::Fault::LoseAnswer { happened })));
        true
    }
}

#[test]
fn conforms() {
    conformance::run(|| Box::new(InMemory::new()));
}

fn raw(partition: u32) -> TopicPartition {
    TopicPartition { topic: Topic::Raw, partition }
}

fn append(journal: &MemoryJournal, value: &str) -> Result<Vec<i64>, JournalError> {
    let record = NewRecord { to: raw(0), key: None, value: value.as_bytes().to_vec(), headers: Vec::new() };
    let (sender, receiver) = channel();
    journal.appender().append(vec![record], Box::new(move |done| sender.send(done).unwrap()))?;
    receiver.try_recv().expect("appends that are not held complete at once")
}

#[test]
fn records_carry_virtual_time_and_age_by_it() {
    let hour = Duration::from_secs(3600);
    let retention = BTreeMap::from([(Topic::Raw, Retention { age: Some(hour), partition_bytes_max: None })]);
    let journal = MemoryJournal::new(MemoryConfig { retention, ..MemoryConfig::default() }).unwrap();
    let start = journal.now();
    append(&journal, "a").unwrap();
    journal.advance(Duration::from_secs(1));
    append(&journal, "b").unwrap();
    let times: Vec<Micros> = journal.records(raw(0)).iter().map(|record| record.received_at).collect();
    assert_eq!(times, [start, start + 1_000_000]);
    journal.advance(hour);
    assert_eq!(journal.records(raw(0)).len(), 1, "the first is older than an hour");
    assert_eq!(journal.topic(Topic::Raw).len(), 1);
    assert_eq!(journal.reader().unwrap().bounds(raw(0)).unwrap(), (1, 2));
}

#[test]
fn a_crash_takes_held_appends_and_every_part() {
    let journal = MemoryJournal::new(MemoryConfig::default()).unwrap();
    append(&journal, "durable").unwrap();
    let mut reader = journal.reader().unwrap();
    let mut consumer = journal.consumer("g", "m", &[Topic::Raw]).unwrap();
    journal.hold();
    let (sender, receiver) = channel();
    let record = NewRecord { to: raw(0), key: None, value: b"held".to_vec(), headers: Vec::new() };
    journal.appender().append(vec![record], Box::new(move |done| sender.send(done).unwrap())).unwrap();
    assert_eq!(journal.appender().queued().records, 1);
    journal.crash();
    assert!(matches!(receiver.try_recv().unwrap(), Err(JournalError::Fatal(_))));
    let fatal = |error: JournalError| assert!(matches!(error, JournalError::Fatal(_)), "{error:?}");
    fatal(append(&journal, "after").unwrap_err());
    fatal(reader.bounds(raw(0)).unwrap_err());
    fatal(consumer.poll(Duration::ZERO, 1, &mut |_| {}).unwrap_err());
    fatal(journal.schema_id("s", "x").unwrap_err());
    let next = journal.reopen();
    fatal(reader.read(raw(0), 0, 1, &mut |_| {}).unwrap_err());
    fatal(append(&journal, "zombie").unwrap_err());
    assert_eq!(append(&next, "next").unwrap(), [1]);
    let values: Vec<_> = next.records(raw(0)).into_iter().map(|record| record.value).collect();
    assert_eq!(values, [b"durable".to_vec(), b"next".to_vec()]);
}

#[test]
fn held_appends_are_written_in_order() {
    let journal = MemoryJournal::new(MemoryConfig::default()).unwrap();
    journal.hold();
    let (sender, receiver) = channel();
    for value in 0..3 {
        let sender = sender.clone();
        let record = NewRecord { to: raw(0), key: None, value: vec![value], headers: Vec::new() };
        let done = Box::new(move |done: Result<Vec<i64>, _>| sender.send(done.unwrap()).unwrap());
        journal.appender().append(vec![record], done).unwrap();
    }
    assert!(receiver.try_recv().is_err() && journal.records(raw(0)).is_empty());
    journal.release();
    assert_eq!(receiver.try_iter().collect::<Vec<_>>(), [[0], [1], [2]]);
    assert_eq!(append(&journal, "at once").unwrap(), [3]);
}

#[test]
fn a_partition_with_a_backlog_does_not_keep_the_others_waiting() {
    let journal = MemoryJournal::new(MemoryConfig::default()).unwrap();
    let records = (0..400).map(|index| NewRecord {
        to: raw(index % 4),
        key: None,
        value: Vec::new(),
        headers: Vec::new(),
    });
    journal.appender().append(records.collect(), Box::new(|_| {})).unwrap();
    let mut consumer = journal.consumer("g", "m", &[Topic::Raw]).unwrap();
    consumer.poll(Duration::ZERO, 0, &mut |_| {}).unwrap();
    (0..4).for_each(|partition| consumer.seek(raw(partition), 0).unwrap());
    let mut seen = Vec::new();
    for _ in 0..4 {
        let polled = consumer.poll(Duration::ZERO, 10, &mut |event| {
            if let crate::port::ConsumerEvent::Batch { partition, .. } = event {
                seen.push(partition.partition);
            }
        });
        assert_eq!(polled.unwrap(), 10);
    }
    assert_eq!(seen, [0, 1, 2, 3]);
}

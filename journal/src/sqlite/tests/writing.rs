//! The writer: grouping, its answers, closing, retention in slices and by size.

use super::{InFile, SqliteConfig, SqliteJournal, append, raw, read_all, record};
use crate::conformance::{APPEND_QUEUE_BYTES_MAX, Harness as _, WAIT_MAX};
use crate::port::{Journal, JournalError, Queued, TopicPartition};
use crate::retention::Retention;
use schemas::topic::Topic;
use std::collections::BTreeMap;
use std::sync::mpsc::channel;
use std::time::Duration;

#[test]
fn what_queues_up_is_committed_in_one_group() {
    let mut harness = InFile::new();
    harness.stall_appends();
    let appender = harness.open().appender();
    let (sender, receiver) = channel();
    for index in 0..50_u8 {
        let sender = sender.clone();
        let done = Box::new(move |offsets| sender.send((index, offsets)).unwrap());
        appender.append(vec![record(raw(0), vec![index; 100]); 2], done).unwrap();
    }
    assert_eq!(appender.queued(), Queued { records: 100, bytes: 10_000, bytes_max: APPEND_QUEUE_BYTES_MAX });
    let before = harness.open().stats();
    harness.release_appends();
    for index in 0..50 {
        let (told, offsets) = receiver.recv_timeout(WAIT_MAX).unwrap();
        assert_eq!((told, offsets.unwrap()), (index, vec![2 * i64::from(index), 2 * i64::from(index) + 1]));
    }
    let after = harness.open().stats();
    assert_eq!(after.groups - before.groups, 1, "50 appends, one sync");
    assert_eq!(after.appended - before.appended, 100);
    assert_eq!(after.queued.records, 0);
    assert_eq!(read_all(harness.open(), raw(0)).len(), 100);
}

#[test]
fn closing_writes_what_is_queued_and_answers_everybody() {
    let mut harness = InFile::new();
    harness.stall_appends();
    let appender = harness.open().appender();
    let (sender, receiver) = channel();
    appender
        .append(vec![record(raw(0), b"queued".to_vec())], Box::new(move |done| sender.send(done).unwrap()))
        .unwrap();
    harness.release_appends();
    harness.open().close();
    assert_eq!(receiver.recv_timeout(WAIT_MAX).unwrap(), Ok(vec![0]));
    let closed = JournalError::Fatal("the journal is closed".to_owned());
    assert_eq!(appender.append(vec![record(raw(0), Vec::new())], Box::new(|_| {})), Err(closed.clone()));
    assert_eq!(harness.open().committer("p").err(), Some(closed.clone()));
    assert_eq!(harness.open().schema_id("s", "x"), Err(closed));
    harness.reopen();
    assert_eq!(read_all(harness.open(), raw(0)).len(), 1);
}

#[test]
fn the_file_closes_with_the_last_part() {
    let harness = InFile::new();
    let config = harness.config();
    let InFile { directory: _directory, journal, .. } = harness;
    let reader = journal.as_ref().unwrap().reader().unwrap();
    drop(journal);
    assert!(
        matches!(SqliteJournal::open(config.clone()), Err(JournalError::InUse { .. })),
        "a reader has it open"
    );
    drop(reader);
    let journal = SqliteJournal::open(config.clone()).unwrap();

    // The last part may go on the writer's own thread.
    let appender = journal.appender();
    let (sender, receiver) = channel();
    let (go, wait) = channel::<()>();
    let last = journal.appender();
    let done = Box::new(move |_| {
        wait.recv_timeout(WAIT_MAX).unwrap();
        drop(last);
        sender.send(()).unwrap();
    });
    appender.append(vec![record(raw(0), Vec::new())], done).unwrap();
    drop((appender, journal));
    go.send(()).unwrap();
    receiver.recv_timeout(WAIT_MAX).unwrap();
}

#[test]
fn a_completion_that_panics_stops_nobody() {
    let harness = InFile::new();
    let appender = harness.open().appender();
    appender.append(vec![record(raw(0), Vec::new())], Box::new(|_| panic!("on purpose"))).unwrap();
    assert_eq!(append(harness.open(), vec![record(raw(0), Vec::new())]).unwrap(), [1]);
}

#[test]
fn a_completion_that_waits_for_the_journal_is_refused() {
    let harness = InFile::new();
    let journal = std::sync::Arc::clone(harness.journal.as_ref().unwrap());
    let (sender, receiver) = channel();
    let done = Box::new(move |_| sender.send(journal.schema_id("s", "x")).unwrap());
    harness.open().appender().append(vec![record(raw(0), Vec::new())], done).unwrap();
    let refused = receiver.recv_timeout(WAIT_MAX).unwrap().unwrap_err();
    assert!(refused.to_string().contains("completion"), "{refused}");
}

#[test]
fn retention_by_size_keeps_the_youngest_in_every_partition() {
    let harness = InFile::new();
    harness.open().close();
    let kept = Retention { age: None, partition_bytes_max: Some(10_000) };
    let audit = TopicPartition { topic: Topic::Audit, partition: 0 };
    let config = SqliteConfig {
        retention: BTreeMap::from([(Topic::Raw, kept)]),
        retention_segments_max: 3,
        ..harness.config()
    };
    let journal = SqliteJournal::open(config).unwrap();
    for _ in 0..50 {
        append(&journal, vec![record(raw(0), vec![1; 1000]), record(audit, vec![2; 1000])]).unwrap();
    }
    append(&journal, vec![record(raw(1), vec![3; 1000])]).unwrap();
    let removed = journal.retain().unwrap();
    let mut reader = journal.reader().unwrap();
    assert_eq!(reader.bounds(raw(0)).unwrap(), (removed as i64, 50));
    assert_eq!(read_all(&journal, raw(0)).len(), 9, "10,000 bytes hold nine such records with their lengths");
    assert_eq!(removed, 41, "in slices of three");
    assert_eq!(read_all(&journal, raw(1)).len(), 1);
    assert_eq!(read_all(&journal, audit).len(), 50, "a topic without a bound keeps everything");
    assert_eq!(journal.stats().expired, 41);
    assert_eq!(journal.retain().unwrap(), 0);
}

#[test]
fn retention_runs_by_itself() {
    let harness = InFile::new();
    harness.open().close();
    let config = SqliteConfig { retention_interval: Duration::from_millis(5), ..harness.config() };
    let journal = SqliteJournal::open(config).unwrap();
    append(&journal, vec![record(raw(0), Vec::new())]).unwrap();
    harness.clock.advance(Duration::from_secs(3601));
    let mut reader = journal.reader().unwrap();
    let end = std::time::Instant::now() + WAIT_MAX;
    while reader.bounds(raw(0)).unwrap() != (1, 1) {
        assert!(std::time::Instant::now() < end, "nothing was removed");
        std::thread::park_timeout(Duration::from_millis(5));
    }
    drop((reader, journal));
    let journal = SqliteJournal::open(harness.config()).unwrap();
    assert_eq!(journal.reader().unwrap().bounds(raw(0)).unwrap(), (1, 1), "an emptied log keeps its end");
    assert_eq!(append(&journal, vec![record(raw(0), Vec::new())]).unwrap(), [1]);
}

//! The SQLite home: conformance, power cuts, other processes, wrong files, full disks, retention.

mod files;
mod power;
mod writing;

use super::*;
use crate::StoredRecord;
use crate::conformance::{self, Harness};
use crate::port::{Journal, NewRecord};
use std::sync::mpsc::{Sender, channel};
use tempfile::TempDir;

/// A clock that tests set.
#[derive(Clone)]
struct SetClock(Arc<AtomicI64>);

impl SetClock {
    const START: Micros = 1_700_000_000_000_000;

    fn new() -> Self {
        Self(Arc::new(AtomicI64::new(Self::START)))
    }

    fn set(&self, now: Micros) {
        self.0.store(now, Ordering::SeqCst);
    }

    fn advance(&self, by: Duration) {
        self.0.fetch_add(i64::try_from(by.as_micros()).unwrap(), Ordering::SeqCst);
    }

    fn clock(&self) -> Clock {
        let now = Arc::clone(&self.0);
        Arc::new(move || now.fetch_add(1, Ordering::SeqCst))
    }
}

fn raw(partition: u32) -> TopicPartition {
    TopicPartition { topic: Topic::Raw, partition }
}

fn record(to: TopicPartition, value: Vec<u8>) -> NewRecord {
    NewRecord { to, key: None, value, headers: Vec::new() }
}

fn append(journal: &SqliteJournal, records: Vec<NewRecord>) -> Result<Vec<i64>, JournalError> {
    let (sender, receiver) = channel();
    journal.appender().append(records, Box::new(move |done| sender.send(done).unwrap()))?;
    receiver.recv_timeout(conformance::WAIT_MAX).unwrap()
}

fn read_all(journal: &SqliteJournal, partition: TopicPartition) -> Vec<StoredRecord> {
    let mut reader = journal.reader().unwrap();
    let start = reader.bounds(partition).unwrap().0;
    let mut records = Vec::new();
    let mut keep = |record: crate::port::RecordRef<'_>| records.push(StoredRecord::copy(partition, &record));
    reader.read(partition, start, usize::MAX, &mut keep).unwrap();
    records
}

struct InFile {
    directory: TempDir,
    clock: SetClock,
    journal: Option<Arc<SqliteJournal>>,
    stall: Option<Sender<()>>,
}

impl InFile {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let mut harness = Self { directory, clock: SetClock::new(), journal: None, stall: None };
        harness.journal = Some(SqliteJournal::open(harness.config()).unwrap());
        harness
    }

    fn config(&self) -> SqliteConfig {
        let age = |age| Retention { age: Some(Duration::from_secs(age)), partition_bytes_max: None };
        SqliteConfig {
            partitions: conformance::PARTITIONS,
            append_queue_bytes_max: conformance::APPEND_QUEUE_BYTES_MAX,
            segment_bytes_max: 1000,
            read_bytes_max: 2000,
            retention: BTreeMap::from([(Topic::Raw, age(3600))]),
            retention_interval: Duration::from_secs(3600),
            clock: self.clock.clock(),
            ..SqliteConfig::new(self.directory.path().join("journal.db"))
        }
    }

    fn open(&self) -> &SqliteJournal {
        self.journal.as_deref().unwrap()
    }
}

impl Harness for InFile {
    fn journal(&self) -> Arc<dyn Journal> {
        Arc::clone(self.journal.as_ref().unwrap()) as Arc<dyn Journal>
    }

    fn reopen(&mut self) {
        self.open().close();
        self.journal = Some(SqliteJournal::open(self.config()).unwrap());
    }

    fn expire(&mut self, _partition: TopicPartition) {
        self.clock.advance(Duration::from_secs(3601));
        self.open().retain().unwrap();
    }

    fn stall_appends(&mut self) {
        let (release, stalled) = channel::<()>();
        let first = record(TopicPartition { topic: Topic::Audit, partition: 1 }, Vec::new());
        // The writer's thread runs the completion: it waits there until the sender is gone.
        let done = Box::new(move |_| assert!(stalled.recv().is_err()));
        let appender = self.open().appender();
        appender.append(vec![first], done).unwrap();
        // It is not queued any more when its completion runs.
        let end = Instant::now() + conformance::WAIT_MAX;
        while appender.queued().records > 0 {
            assert!(Instant::now() < end, "the first append does not complete");
            std::thread::park_timeout(Duration::from_millis(1));
        }
        self.stall = Some(release);
    }

    fn release_appends(&mut self) {
        self.stall = None;
    }

    fn lose_next_answer(&mut self, _happened: bool) -> bool {
        false
    }
}

#[test]
fn conforms() {
    conformance::run(|| Box::new(InFile::new()));
}

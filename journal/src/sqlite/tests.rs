//! The SQLite home: conformance, power cuts, other processes, wrong files, full disks, retention.

use super::*;
use crate::conformance::{self, Harness};
use crate::port::{Journal, NewRecord};
use std::sync::mpsc::{Sender, channel};
use tempfile::TempDir;

/// A clock that tests set.
#[derive(Clone)]
struct SetClock(Arc<AtomicI64>);

impl SetClock {
    fn new() -> Self {
        Self(Arc::new(AtomicI64::new(1_700_000_000_000_000)))
    }

    fn advance(&self, by: Duration) {
        self.0.fetch_add(i64::try_from(by.as_micros()).unwrap(), Ordering::SeqCst);
    }

    fn clock(&self) -> Clock {
        let now = Arc::clone(&self.0);
        Arc::new(move || now.fetch_add(1, Ordering::SeqCst))
    }
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
        let first = NewRecord {
            to: TopicPartition { topic: Topic::Audit, partition: 0 },
            key: None,
            value: Vec::new(),
            headers: Vec::new(),
        };
        // The writer's thread runs the completion: it waits there until the sender is gone.
        let done = Box::new(move |_| assert!(stalled.recv().is_err()));
        self.open().appender().append(vec![first], done).unwrap();
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

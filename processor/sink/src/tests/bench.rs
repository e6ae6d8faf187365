//! What the tests stand on: a journal, a store that can be made to fail, and a sink that is waited for.

use crate::books::{Totals, totals_of};
use crate::{GROUP, SinkConfig, SinkDeps, SinkHandle};
use chassis::admin::Readiness;
use chassis::shutdown::Shutdown;
use chassis::supervise::{Failure, Supervisor};
use journal::memory::{MemoryConfig, MemoryJournal};
use journal::port::{Committed, ConsumerEvent, Journal, NewRecord, TopicPartition};
use schemas::codec::Codec;
use schemas::record::{Aggregate, Alert, Score};
use schemas::topic::Topic;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};
use store::conformance;
use store::feed::Feed;
use store::port::{DeviceRow, Listed, Page, Span, Store, StoreError, StoreTotals, Write};
use store::sqlite::{SqliteOptions, SqliteStore};

const PATIENCE: Duration = Duration::from_secs(30);

/// Waits for a condition, in small steps, not for ever.
pub(super) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < PATIENCE, "waited {PATIENCE:?} for: {what}");
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

pub(super) const fn at(topic: Topic, partition: u32) -> TopicPartition {
    TopicPartition { topic, partition }
}

pub(super) fn window(device: &str, number: i64) -> Aggregate {
    conformance::aggregate(device, number * 60_000_000, 1, 1_000 + number)
}

pub(super) fn alert(device: &str, number: i64) -> Alert {
    conformance::alert(device, &format!("0-{number}-0"), number, 1_000 + number)
}

/// Waits that make a test quick.
pub(super) fn quick() -> SinkConfig {
    let (min, max) = (Duration::from_millis(1), Duration::from_millis(4));
    SinkConfig {
        poll_wait: Duration::from_millis(5),
        retry_wait_min: min,
        retry_wait_max: max,
        ..SinkConfig::default()
    }
}

/// A store in a folder that goes with it.
pub(super) struct Scratch {
    pub(super) store: SqliteStore,
    _folder: tempfile::TempDir,
}

pub(super) fn scratch() -> Scratch {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&folder.path().join("store.db"), SqliteOptions::default()).unwrap();
    Scratch { store, _folder: folder }
}

/// A real store that refuses on demand.
pub(super) struct Moody {
    inner: Scratch,
    refuse: AtomicU32,
    attempts: AtomicU32,
    broken: AtomicBool,
}

impl Moody {
    /// Refuses the next so many writes.
    pub(super) fn refuse(&self, times: u32) {
        self.refuse.store(times, Ordering::SeqCst);
    }

    pub(super) fn attempts(&self) -> u32 {
        self.attempts.load(Ordering::SeqCst)
    }

    pub(super) fn break_for_good(&self) {
        self.broken.store(true, Ordering::SeqCst);
    }
}

impl Store for Moody {
    fn write(&self, writes: &[Write]) -> Result<(), StoreError> {
        self.attempts.fetch_add(1, Ordering::SeqCst);
        if self.broken.load(Ordering::SeqCst) {
            return Err(StoreError::Fatal("damaged for the test".to_owned()));
        }
        let take = |left: u32| left.checked_sub(1);
        if self.refuse.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).is_ok() {
            return Err(StoreError::Retry("overloaded for the test".to_owned()));
        }
        self.inner.store.write(writes)
    }

    fn windows(
        &self,
        device: &str,
        metric: &str,
        window: &str,
        span: Span,
        page: &Page,
    ) -> Result<Listed<Aggregate>, StoreError> {
        self.inner.store.windows(device, metric, window, span, page)
    }

    fn latest(&self, device: &str) -> Result<Vec<Aggregate>, StoreError> {
        self.inner.store.latest(device)
    }

    fn scores(
        &self,
        device: &str,
        model: Option<&str>,
        span: Span,
        page: &Page,
    ) -> Result<Listed<Score>, StoreError> {
        self.inner.store.scores(device, model, span, page)
    }

    fn alerts(&self, device: Option<&str>, span: Span, page: &Page) -> Result<Listed<Alert>, StoreError> {
        self.inner.store.alerts(device, span, page)
    }

    fn devices(&self, page: &Page) -> Result<Listed<DeviceRow>, StoreError> {
        self.inner.store.devices(page)
    }

    fn device(&self, device: &str) -> Result<Option<DeviceRow>, StoreError> {
        self.inner.store.device(device)
    }

    fn totals(&self) -> Result<Option<StoreTotals>, StoreError> {
        self.inner.store.totals()
    }

    fn count(&self) -> Result<StoreTotals, StoreError> {
        self.inner.store.count()
    }
}

pub(super) struct Bench {
    journal: Mutex<MemoryJournal>,
    pub(super) codec: Codec,
    pub(super) store: Arc<Moody>,
    pub(super) readiness: Readiness,
    pub(super) feed: Feed,
}

/// A sink under test.
pub(super) struct Running {
    pub(super) handle: SinkHandle,
    pub(super) supervisor: Supervisor,
}

impl Running {
    /// Waits for it to end by itself.
    pub(super) fn ended(&self) -> Result<(), Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime
            .block_on(async { tokio::time::timeout(PATIENCE, self.supervisor.join(PATIENCE)).await })
            .unwrap()
    }

    pub(super) fn stop(&self) {
        self.supervisor.shutdown().begin("the test is over");
        self.ended().unwrap();
    }
}

impl Bench {
    pub(super) fn new() -> Self {
        let journal = MemoryJournal::new(MemoryConfig::default()).unwrap();
        let shared: Arc<dyn Journal> = Arc::new(journal.clone());
        let store = Moody { inner: scratch(), refuse: 0.into(), attempts: 0.into(), broken: false.into() };
        Self {
            codec: journal::ids::codec(shared).unwrap(),
            journal: Mutex::new(journal),
            store: Arc::new(store),
            readiness: Readiness::new(),
            feed: Feed::default(),
        }
    }

    pub(super) fn journal(&self) -> MemoryJournal {
        self.journal.lock().unwrap().clone()
    }

    /// The power comes back.
    pub(super) fn reopen(&self) {
        let mut journal = self.journal.lock().unwrap();
        *journal = journal.reopen();
    }

    pub(super) fn append(&self, to: TopicPartition, values: impl IntoIterator<Item = Vec<u8>>) {
        let record = |value| NewRecord { to, key: Some(b"d".to_vec()), value, headers: Vec::new() };
        let (done, appended) = mpsc::channel();
        let records = values.into_iter().map(record).collect();
        self.journal()
            .appender()
            .append(records, Box::new(move |outcome| done.send(outcome).unwrap()))
            .unwrap();
        appended.recv_timeout(PATIENCE).unwrap().unwrap();
    }

    pub(super) fn try_start(&self, config: SinkConfig) -> Option<Running> {
        self.begin("one", config).ok()
    }

    pub(super) fn start(&self, config: SinkConfig) -> Running {
        self.start_as("one", config)
    }

    pub(super) fn start_as(&self, member: &str, config: SinkConfig) -> Running {
        self.begin(member, config).unwrap()
    }

    fn begin(&self, member: &str, config: SinkConfig) -> Result<Running, crate::SinkError> {
        let supervisor = Supervisor::new(Shutdown::new());
        let deps = SinkDeps {
            journal: Arc::new(self.journal()),
            codec: self.codec.clone(),
            store: Arc::clone(&self.store) as Arc<dyn Store>,
            supervisor: supervisor.clone(),
            readiness: self.readiness.clone(),
            feed: self.feed.clone(),
            member: member.to_owned(),
        };
        Ok(Running { handle: crate::start(deps, config)?, supervisor })
    }

    pub(super) fn stored(&self) -> StoreTotals {
        self.store.count().unwrap()
    }

    /// The totals that a restart would find.
    pub(super) fn committed(&self) -> BTreeMap<TopicPartition, Totals> {
        let positions = self.journal().positions(GROUP);
        positions
            .into_iter()
            .filter_map(|(place, found)| Some((place, totals_of(&found.metadata)?)))
            .collect()
    }

    /// Commits a position as a program that knows nothing of our metadata.
    pub(super) fn commit_as_stranger(&self, group: &str, place: TopicPartition, offset: i64) {
        let mut consumer = self.journal().consumer(group, "stranger", &[place.topic]).unwrap();
        let mut assigned = false;
        until("the stranger has its partitions", || {
            let noted = |event: ConsumerEvent<'_>| assigned |= matches!(event, ConsumerEvent::Assigned(_));
            consumer.poll(Duration::from_millis(5), 1, &mut { noted }).unwrap();
            assigned
        });
        consumer.commit(&[(place, Committed { offset, metadata: "theirs".to_owned() })]).unwrap();
        consumer.leave(&mut |_| {}).unwrap();
    }
}

//! A journal that keeps what is appended in memory and answers as it is told, and a door in front of it.

use chassis::admin::Readiness;
use chassis::auth::{Keys, RawAuth, RawKey, Role, hash_of};
use chassis::clock::Clock;
use chassis::config::Problems;
use chassis::shutdown::Shutdown;
use chassis::supervise::Supervisor;
use ingest::{Ingest, IngestConfig, IngestDeps, start};
use journal::port::{
    Appended, Appender, Committer, Consumer, Journal, JournalError, NewRecord, Queued, Reader,
};
use schemas::Micros;
use schemas::codec::Codec;
use schemas::grammar::ReadingLimits;
use schemas::raw::RawDecoder;
use schemas::record::{DeadLetter, Raw};
use schemas::topic::Topic;
use serde_json::Value;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
pub(crate) const SEED: &str = r#"{"device_id":"sensor-12","temp":23.5,"ts":1627847280}"#;
/// What the door's clock shows.
pub(crate) const NOW: Micros = 1_700_000_000_000_000;

/// What the journal does with an append.
#[derive(Clone, Debug, Default)]
pub(crate) enum Mode {
    /// Writes it at once.
    #[default]
    Accept,
    /// Queues it until it is released.
    Hold,
    /// Has no room.
    Full,
    /// Fails it.
    Fail(JournalError),
    /// Forgets the completion, as a journal that is closed does.
    Drop,
}

#[derive(Default)]
struct State {
    mode: Mode,
    queue_bytes_max: Option<usize>,
    written: Vec<NewRecord>,
    held: VecDeque<(Vec<NewRecord>, Appended)>,
}

/// The journal; clones are the same one.
#[derive(Clone)]
pub(crate) struct FakeJournal {
    state: Arc<Mutex<State>>,
    changed: Arc<tokio::sync::Notify>,
}

impl FakeJournal {
    pub(crate) fn new() -> Self {
        Self { state: Arc::default(), changed: Arc::new(tokio::sync::Notify::new()) }
    }

    pub(crate) fn set(&self, mode: Mode) {
        self.state.lock().unwrap().mode = mode;
    }

    pub(crate) fn set_queue_bytes_max(&self, bytes_max: usize) {
        self.state.lock().unwrap().queue_bytes_max = Some(bytes_max);
    }

    pub(crate) fn written(&self) -> Vec<NewRecord> {
        self.state.lock().unwrap().written.clone()
    }

    /// Forgets the last record, as a faulty journal would.
    pub(crate) fn lose_one(&self) {
        self.state.lock().unwrap().written.pop();
    }

    /// Waits until so many appends are held.
    pub(crate) async fn held(&self, count: usize) {
        let waiting = async {
            while self.state.lock().unwrap().held.len() < count {
                self.changed.notified().await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.expect("held in time");
    }

    /// Writes what is held, and everything from now on.
    pub(crate) fn release(&self) {
        let held = {
            let mut state = self.state.lock().unwrap();
            state.mode = Mode::Accept;
            std::mem::take(&mut state.held)
        };
        for (records, done) in held {
            done(Ok(self.write(records)));
        }
    }

    fn write(&self, records: Vec<NewRecord>) -> Vec<i64> {
        let mut state = self.state.lock().unwrap();
        let first = state.written.len() as i64;
        let offsets = (first..).take(records.len()).collect();
        state.written.extend(records);
        offsets
    }
}

impl Appender for FakeJournal {
    fn append(&self, records: Vec<NewRecord>, done: Appended) -> Result<(), JournalError> {
        let mode = self.state.lock().unwrap().mode.clone();
        match mode {
            Mode::Accept => done(Ok(self.write(records))),
            Mode::Hold => {
                self.state.lock().unwrap().held.push_back((records, done));
                self.changed.notify_one();
            }
            Mode::Full => return Err(JournalError::Full { bytes: 1_000, bytes_max: 1_000 }),
            Mode::Fail(error) => done(Err(error)),
            Mode::Drop => drop(done),
        }
        Ok(())
    }

    fn queued(&self) -> Queued {
        let state = self.state.lock().unwrap();
        let records = state.held.iter().flat_map(|(records, _)| records);
        let (count, bytes) =
            records.fold((0, 0), |(count, bytes), record| (count + 1, bytes + record.value.len()));
        Queued { records: count, bytes, bytes_max: state.queue_bytes_max.unwrap_or(1 << 30) }
    }
}

fn not_here<T>() -> Result<T, JournalError> {
    Err(JournalError::Fatal("ingest only appends".to_owned()))
}

impl Journal for FakeJournal {
    fn partitions(&self) -> u32 {
        4
    }

    fn now(&self) -> Micros {
        NOW
    }

    fn consumer(&self, _: &str, _: &str, _: &[Topic]) -> Result<Box<dyn Consumer>, JournalError> {
        not_here()
    }

    fn committer(&self, _: &str) -> Result<Box<dyn Committer>, JournalError> {
        not_here()
    }

    fn appender(&self) -> Arc<dyn Appender> {
        Arc::new(self.clone())
    }

    fn reader(&self) -> Result<Box<dyn Reader>, JournalError> {
        not_here()
    }

    fn schema_id(&self, _: &str, _: &str) -> Result<u32, JournalError> {
        not_here()
    }

    fn schema_of(&self, _: u32) -> Result<Option<String>, JournalError> {
        not_here()
    }
}

/// An open door.
pub(crate) struct Door {
    pub(crate) url: String,
    pub(crate) ingest: Ingest,
    pub(crate) journal: FakeJournal,
    pub(crate) readiness: Readiness,
    pub(crate) supervisor: Supervisor,
    pub(crate) client: reqwest::Client,
    codec: Codec,
}

/// An answer, read.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) retry_after_s: Option<u64>,
    pub(crate) body: Value,
}

impl Answer {
    /// The first rejection's reason and detail.
    pub(crate) fn first(&self) -> (&str, &str) {
        let first = &self.body["rejected"][0];
        (first["reason"].as_str().unwrap_or_default(), first["detail"].as_str().unwrap_or_default())
    }

    pub(crate) fn kind(&self) -> &str {
        let kind = self.body["type"].as_str().unwrap_or_default();
        kind.strip_prefix("urn:highwater:problem:").unwrap_or_default()
    }
}

/// Small limits, so that tests of limits are quick.
pub(crate) fn small() -> IngestConfig {
    IngestConfig {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        readings_max: 100,
        body_max: 1 << 20,
        bodies_in_flight_max: 16 << 20,
        ..IngestConfig::default()
    }
}

pub(crate) async fn open(config: IngestConfig) -> Door {
    open_with(config, Keys::none()).await
}

pub(crate) async fn open_with(config: IngestConfig, keys: Keys) -> Door {
    let journal = FakeJournal::new();
    let (codec, readiness) = (Codec::local(), Readiness::new());
    let supervisor = Supervisor::new(Shutdown::new());
    let deps = IngestDeps {
        journal: Arc::new(journal.clone()),
        codec: codec.clone(),
        clock: Clock::manual(NOW),
        keys: Arc::new(keys),
        readiness: readiness.clone(),
        supervisor: supervisor.clone(),
    };
    let ingest = start(deps, config).await.unwrap();
    let url = format!("http://{}/v1/readings", ingest.address());
    Door {
        url,
        ingest,
        journal,
        readiness,
        supervisor,
        client: reqwest::Client::builder().no_proxy().build().unwrap(),
        codec,
    }
}

/// Keys whose text is their name.
pub(crate) fn keys(roles: &[(&str, Role)]) -> Keys {
    let key = |(name, role): &(&str, Role)| RawKey {
        name: Some((*name).to_owned()),
        roles: vec![*role],
        hash: Some(hash_of(name)),
    };
    RawAuth { key: roles.iter().map(key).collect(), insecure: None }.resolve("auth", &mut Problems::default())
}

pub(crate) async fn answer_of(response: reqwest::Response) -> Answer {
    let status = response.status().as_u16();
    let retry_after =
        response.headers().get("retry-after").map(|value| value.to_str().unwrap().parse().unwrap());
    let text = response.text().await.unwrap();
    Answer {
        status,
        retry_after_s: retry_after,
        body: serde_json::from_str(&text).unwrap_or(Value::String(text)),
    }
}

impl Door {
    pub(crate) async fn post(&self, body: impl Into<reqwest::Body>) -> Answer {
        answer_of(self.client.post(&self.url).body(body).send().await.unwrap()).await
    }

    pub(crate) async fn post_as(&self, headers: &[(&str, &str)], body: impl Into<reqwest::Body>) -> Answer {
        let request = headers
            .iter()
            .fold(self.client.post(&self.url), |request, (name, value)| request.header(*name, *value));
        answer_of(request.body(body).send().await.unwrap()).await
    }

    /// A request to another path.
    pub(crate) async fn ask(&self, method: reqwest::Method, path: &str, body: &str) -> Answer {
        let url = format!("http://{}{path}", self.ingest.address());
        answer_of(self.client.request(method, url).body(body.to_owned()).send().await.unwrap()).await
    }

    /// What was written to `iot.raw`, with its keys checked against its partitions.
    pub(crate) fn raw(&self) -> Vec<Raw> {
        let mut decoder = RawDecoder::new(ReadingLimits::DEFAULT);
        let written = self.journal.written();
        let raw = written.iter().filter(|record| record.to.topic == Topic::Raw);
        raw.map(|record| {
            if let Some(key) = &record.key {
                assert_eq!(record.to.partition, schemas::partition::partition_of(key, 4));
            }
            decoder.decode(&self.codec, &record.value, false).unwrap().to_owned()
        })
        .collect()
    }

    /// What was written to `iot.dead-letters`.
    pub(crate) fn letters(&self) -> Vec<DeadLetter> {
        let written = self.journal.written();
        let letters = written.iter().filter(|record| record.to.topic == Topic::DeadLetters);
        letters.map(|record| self.codec.decode(&record.value).unwrap()).collect()
    }

    /// The books balance, and say what the journal holds.
    pub(crate) fn check_books(&self) {
        let books = self.ingest.books();
        assert_eq!(books.difference(), 0, "{books:?}");
        let readings = self.raw().iter().filter(|raw| matches!(raw, Raw::Reading(_))).count();
        assert_eq!(
            (books.accepted, books.rejected),
            (readings as u64, self.letters().len() as u64),
            "{books:?}"
        );
    }
}

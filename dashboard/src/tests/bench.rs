//! A dashboard under test, and a pipeline that says what the test wants.

use crate::live::{LiveView, Unavailable};
use crate::{DashboardConfig, DashboardDeps, NAME};
use chassis::admin::Readiness;
use chassis::auth::{Keys, RawAuth, RawKey, Role, hash_of};
use chassis::clock::Clock;
use chassis::config::Problems;
use chassis::shutdown::Shutdown;
use chassis::supervise::Supervisor;
use serde_json::{Value, json};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;
use store::feed::Feed;
use store::port::{Store, Write};
use store::sqlite::{SqliteOptions, SqliteStore};
use tokio::sync::Notify;

pub(super) const PATIENCE: Duration = Duration::from_secs(20);
pub(super) const KEY: &str = "hw_reader";
pub(super) const INGEST_KEY: &str = "hw_sender";

/// What the pipeline says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answers {
    Sample,
    Unavailable,
    Panic,
}

pub(super) struct Pipeline {
    answers: Mutex<Answers>,
    shut: Mutex<bool>,
    opened: Condvar,
    entered: Notify,
}

impl Pipeline {
    pub(super) fn set(&self, answers: Answers) {
        *self.answers.lock().unwrap() = answers;
    }

    /// Answers wait until the gate is dropped.
    pub(super) fn block(&self) -> Gate<'_> {
        *self.shut.lock().unwrap() = true;
        Gate(self)
    }

    /// Waits until a question is being answered.
    pub(super) async fn entered(&self) {
        tokio::time::timeout(PATIENCE, self.entered.notified()).await.unwrap();
    }

    fn answer(&self, mut value: Value, name: &str) -> Result<Value, Unavailable> {
        self.entered.notify_one();
        let shut = self.shut.lock().unwrap();
        let (shut, waited) = self.opened.wait_timeout_while(shut, PATIENCE, |shut| *shut).unwrap();
        assert!(!waited.timed_out(), "nobody opened the gate");
        drop(shut);
        let answers = *self.answers.lock().unwrap();
        value["sample"] = name.into();
        match answers {
            Answers::Sample => Ok(value),
            Answers::Unavailable => Err(Unavailable("the processor does not answer".to_owned())),
            Answers::Panic => panic!("for the test"),
        }
    }
}

/// Holds answers back; see [`Pipeline::block`].
pub(super) struct Gate<'a>(&'a Pipeline);

impl Drop for Gate<'_> {
    fn drop(&mut self) {
        *self.0.shut.lock().unwrap() = false;
        self.0.opened.notify_all();
    }
}

impl LiveView for Pipeline {
    fn books(&self) -> Result<Value, Unavailable> {
        self.answer(json!({ "balanced": true, "stages": [] }), "books")
    }

    fn lag(&self) -> Result<Value, Unavailable> {
        self.answer(json!({ "sentence": "Everything is read.", "partitions": [] }), "lag")
    }

    fn device_state(&self, device_id: &str) -> Result<Option<Value>, Unavailable> {
        let state = self.answer(json!({ "device_id": device_id }), "state")?;
        Ok((device_id != "nobody").then_some(state))
    }

    fn models(&self) -> Result<Value, Unavailable> {
        self.answer(json!({ "items": [] }), "models")
    }
}

pub(super) struct Options {
    pub(super) config: DashboardConfig,
    pub(super) keys: Keys,
    /// Whether the sink runs in this process.
    pub(super) feed: bool,
}

pub(super) fn options() -> Options {
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    Options {
        config: DashboardConfig { listen, ..DashboardConfig::default() },
        keys: Keys::none(),
        feed: true,
    }
}

/// One key that may read, one that may not.
pub(super) fn keys() -> Keys {
    let key = |name: &str, role, key| RawKey {
        name: Some(name.to_owned()),
        roles: vec![role],
        hash: Some(hash_of(key)),
    };
    let raw = RawAuth {
        key: vec![key("reader", Role::Read, KEY), key("sender", Role::Ingest, INGEST_KEY)],
        insecure: None,
    };
    let mut problems = Problems::default();
    let keys = raw.resolve("auth", &mut problems);
    assert_eq!(problems.list(), []);
    keys
}

pub(super) struct Bench {
    pub(super) live: Arc<Pipeline>,
    pub(super) client: reqwest::Client,
    pub(super) supervisor: Supervisor,
    store: Arc<SqliteStore>,
    feed: Feed,
    address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Bench {
    pub(super) async fn start(options: Options) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&folder.path().join("store.db"), SqliteOptions::default()).unwrap();
        let store = Arc::new(store);
        let live = Arc::new(Pipeline {
            answers: Mutex::new(Answers::Sample),
            shut: Mutex::new(false),
            opened: Condvar::new(),
            entered: Notify::new(),
        });
        let (feed, readiness) = (Feed::default(), Readiness::new());
        let supervisor = Supervisor::new(Shutdown::new());
        let deps = DashboardDeps {
            store: Arc::clone(&store) as Arc<dyn Store>,
            live: Arc::clone(&live) as Arc<dyn LiveView>,
            feed: options.feed.then(|| feed.clone()),
            keys: Arc::new(options.keys),
            supervisor: supervisor.clone(),
            readiness: readiness.clone(),
            clock: Clock::manual(1_000),
        };
        let handle = crate::start(deps, options.config).await.unwrap();
        assert_eq!(readiness.missing_parts().get(NAME), None);
        let client = reqwest::Client::builder().timeout(PATIENCE).build().unwrap();
        Self { live, client, supervisor, store, feed, address: handle.address, _folder: folder }
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// As the sink does: into the store, then told.
    pub(super) fn write(&self, writes: &[Write]) {
        self.store.write(writes).unwrap();
        self.feed.tell(writes);
    }

    /// A JSON answer that must be one.
    pub(super) async fn get(&self, path: &str) -> Value {
        let answer = self.client.get(self.url(path)).send().await.unwrap();
        let (status, kind) = (answer.status(), answer.headers()["content-type"].clone());
        let body = answer.text().await.unwrap();
        assert_eq!((status.as_u16(), kind.to_str().unwrap()), (200, "application/json"), "{path}: {body}");
        serde_json::from_str(&body).unwrap()
    }

    /// A problem document that must be one.
    pub(super) async fn problem(&self, path: &str) -> (u16, Value) {
        let answer = self.client.get(self.url(path)).send().await.unwrap();
        let (status, kind) = (answer.status().as_u16(), answer.headers()["content-type"].clone());
        let body = answer.text().await.unwrap();
        assert_eq!(kind.to_str().unwrap(), "application/problem+json", "{path}: {body}");
        (status, serde_json::from_str(&body).unwrap())
    }
}

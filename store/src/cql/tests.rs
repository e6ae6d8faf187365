//! The adapter on a real cluster: conformance, convergence against the embedded adapter, what is on the disk as another
//! client sees it, tables that are made, roles.
//!
//! They run where `HIGHWATER_TEST_CQL=host:port` names a cluster of one node without logins (and
//! `HIGHWATER_TEST_SECURED_CQL` one with logins), each in a keyspace of its own that it drops; elsewhere each says that
//! it is skipped.

mod convergence;
mod roles;
mod rows;
mod tables;

use super::*;
use crate::conformance;
use std::sync::atomic::AtomicU32;

/// The address that a variable names, or a line that the test is skipped; where servers are required, a failure.
fn named(variable: &str, test: &str) -> Option<String> {
    let found = std::env::var(variable).ok().filter(|address| !address.is_empty());
    if found.is_none() {
        let required = std::env::var("HIGHWATER_TEST_REQUIRED").is_ok_and(|value| value == "1");
        assert!(!required, "{test}: {variable} is not set");
        // Not `println!`, which the test harness keeps to itself when a test passes.
        let line = format!("skipped: {test}: {variable} is not set\n");
        let _ = std::io::Write::write_all(&mut std::io::stderr().lock(), line.as_bytes());
    }
    found
}

/// The node of these tests.
fn node(test: &str) -> Option<String> {
    named("HIGHWATER_TEST_CQL", test)
}

/// A keyspace name that no other test and no other run has.
fn fresh() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("test_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A client of the test's own, beside the store.
struct Client {
    threads: Threads,
    session: Arc<Session>,
    config: CqlConfig,
}

impl Client {
    fn new(config: &CqlConfig) -> Self {
        let threads = Threads::start().unwrap();
        let asked = config.clone();
        let session = threads.run(async move { session::connect(&asked).await.map(Arc::new) }).unwrap();
        Self { threads, session, config: config.clone() }
    }

    /// Runs a statement; `{k}` is the keyspace.
    fn try_run(&self, text: &str) -> Result<scylla::response::query_result::QueryResult, StoreError> {
        let (session, text) = (Arc::clone(&self.session), text.replace("{k}", &self.config.keyspace));
        let place = self.config.place();
        self.threads.run(async move {
            let mut statement = scylla::statement::Statement::new(text);
            statement.set_request_timeout(Some(std::time::Duration::from_secs(60)));
            session.query_unpaged(statement, ()).await.map_err(|error| fault::of(&place, &error))
        })
    }

    /// Rows of a statement, as the cluster gives them.
    fn rows(&self, text: &str) -> Vec<Vec<Option<scylla::value::CqlValue>>> {
        let rows = self.try_run(text).unwrap().into_rows_result().unwrap();
        rows.rows::<scylla::value::Row>().unwrap().map(|row| row.unwrap().columns).collect()
    }
}

/// A keyspace that is dropped at the end.
struct Keyspace(CqlConfig);

impl Drop for Keyspace {
    fn drop(&mut self) {
        let dropped = Client::new(&self.0).try_run("DROP KEYSPACE IF EXISTS {k}");
        if !std::thread::panicking() {
            dropped.unwrap();
        }
    }
}

/// A store in a keyspace that goes with it.
struct Scratch {
    store: CqlStore,
    config: CqlConfig,
    _keyspace: Keyspace,
}

fn scratch_with(node: &str, change: impl FnOnce(&mut CqlConfig)) -> Scratch {
    let mut config = CqlConfig::new(vec![node.to_owned()], &fresh());
    change(&mut config);
    let keyspace = Keyspace(config.clone());
    Scratch { store: CqlStore::open(config.clone()).unwrap(), config, _keyspace: keyspace }
}

fn scratch(node: &str) -> Scratch {
    scratch_with(node, |_| {})
}

impl Store for Scratch {
    fn write(&self, writes: &[Write]) -> Result<(), StoreError> {
        self.store.write(writes)
    }

    fn windows(
        &self,
        device: &str,
        metric: &str,
        window: &str,
        span: Span,
        page: &Page,
    ) -> Result<Listed<Aggregate>, StoreError> {
        self.store.windows(device, metric, window, span, page)
    }

    fn latest(&self, device: &str) -> Result<Vec<Aggregate>, StoreError> {
        self.store.latest(device)
    }

    fn scores(
        &self,
        device: &str,
        model: Option<&str>,
        span: Span,
        page: &Page,
    ) -> Result<Listed<Score>, StoreError> {
        self.store.scores(device, model, span, page)
    }

    fn alerts(&self, device: Option<&str>, span: Span, page: &Page) -> Result<Listed<Alert>, StoreError> {
        self.store.alerts(device, span, page)
    }

    fn devices(&self, page: &Page) -> Result<Listed<DeviceRow>, StoreError> {
        self.store.devices(page)
    }

    fn device(&self, device: &str) -> Result<Option<DeviceRow>, StoreError> {
        self.store.device(device)
    }

    fn totals(&self) -> Result<Option<StoreTotals>, StoreError> {
        self.store.totals()
    }

    fn count(&self) -> Result<StoreTotals, StoreError> {
        self.store.count()
    }
}

#[test]
fn conforms() {
    let Some(node) = node("cql conforms") else { return };
    conformance::all(|| scratch(&node));
}

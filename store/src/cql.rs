//! The distributed adapter: Cassandra or ScyllaDB, over CQL.
//!
//! Lives here: the store, and the bridge from the synchronous port to the driver. How a cluster is reached is in
//! `session`, the tables in `schema`, every statement in `statement`, what a call writes in `plan`, how it is sent in
//! `send` and `limit`, the queries in `read`, counting in `count`, and what an error means in `fault`.
//!
//! Invariants:
//! * Nothing is read to be written: every write stands by its record's write clock alone, so any order and any
//!   repetition of the same writes gives the same answers.
//! * The driver runs on threads of its own. A call waits for them without entering another runtime, so it may come from
//!   any thread; from one that runs tasks it should not, since it blocks it.

mod cells;
mod config;
mod count;
mod fault;
mod limit;
mod plan;
mod read;
mod row;
mod schema;
mod send;
mod session;
mod statement;
#[cfg(feature = "tls")]
mod tls;

#[cfg(test)]
mod tests;

pub use config::{Consistency, CqlConfig, Login, Replication, Retention, Tls};

use crate::port::{DeviceRow, Listed, Page, Span, Store, StoreError, StoreTotals, Write};
use limit::Limit;
use read::Reader;
use schemas::record::{Aggregate, Alert, Score};
use scylla::client::session::Session;
use send::{Counts, Sender};
use statement::{Asks, Puts};
use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::sync::OnceCell;

/// Longest opening, another program's making of the tables included.
const OPEN_TIMEOUT: Duration = Duration::from_secs(180);
/// Threads of the driver.
const THREADS: usize = 2;

/// The store in one keyspace of a cluster.
pub struct CqlStore {
    cluster: Arc<Cluster>,
    /// One call writes at a time, so that the limit is one of the store.
    writing: Mutex<()>,
    runtime: Threads,
}

struct Cluster {
    session: Session,
    config: CqlConfig,
    asks: Asks,
    /// Prepared by the first write: who only reads needs no right to write.
    puts: OnceCell<Puts>,
    limit: Limit,
    counts: Counts,
}

/// The runtime; dropped without waiting, which may happen on a thread of another one.
struct Threads(Option<Runtime>);

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Threads {
    fn start() -> Result<Self, StoreError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("cql")
            .enable_all()
            .build()
            .map_err(|error| StoreError::Fatal(format!("the store gets no threads: {error}")))?;
        Ok(Self(Some(runtime)))
    }

    /// Runs a task on these threads and waits for its end.
    fn run<T: Send + 'static>(
        &self,
        task: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, StoreError> {
        let gone = || StoreError::Fatal("the store's task has ended without an answer".to_owned());
        let runtime = self.0.as_ref().ok_or_else(gone)?;
        let (done, answer) = mpsc::sync_channel(1);
        runtime.spawn(async move {
            // It waits below for as long as this runs.
            let _ = done.send(task.await);
        });
        answer.recv().map_err(|_| gone())?
    }
}

/// What happened since the store was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CqlCounts {
    /// Requests to write, the repeated ones included.
    pub requests: u64,
    /// Repeated ones among them.
    pub repeats: u64,
    /// Those that were refused for overload or not answered in time.
    pub overloads: u64,
    /// Those that failed for another reason that passes.
    pub passing: u64,
    /// Those that failed for a reason that no waiting cures.
    pub fatal: u64,
    /// Requests that may be on the way now.
    pub concurrency: usize,
}

impl CqlStore {
    /// Connects, and makes sure of the tables.
    ///
    /// # Errors
    /// [`StoreError::Retry`] when no node can be reached; [`StoreError::Fatal`] when a setting is wrong, the login is
    /// refused, the tables are missing and may not be made, are newer, or are not ours.
    pub fn open(config: CqlConfig) -> Result<Self, StoreError> {
        config.check()?;
        let runtime = Threads::start()?;
        let cluster = runtime.run(async move {
            let session = ready(&config).await?;
            let asks = Asks::prepare(&session, &config.keyspace, &config.place()).await?;
            let limit = Limit::new(config.concurrency_max);
            let (puts, counts) = (OnceCell::new(), Counts::default());
            Ok(Arc::new(Cluster { session, config, asks, puts, limit, counts }))
        })?;
        Ok(Self { cluster, writing: Mutex::new(()), runtime })
    }

    /// What happened since it was opened.
    #[must_use]
    pub fn counts(&self) -> CqlCounts {
        let Counts { requests, repeats, overloads, passing, fatal } = &self.cluster.counts;
        CqlCounts {
            requests: requests.load(Ordering::Relaxed),
            repeats: repeats.load(Ordering::Relaxed),
            overloads: overloads.load(Ordering::Relaxed),
            passing: passing.load(Ordering::Relaxed),
            fatal: fatal.load(Ordering::Relaxed),
            concurrency: self.cluster.limit.allowed(),
        }
    }

    fn ask<T, F>(&self, question: impl FnOnce(Arc<Cluster>) -> F + Send + 'static) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        self.runtime.run(question(Arc::clone(&self.cluster)))
    }
}

/// Makes the keyspace and its tables, or brings older ones up to this version, whatever `create` says, and leaves: a
/// step of a deployment with more rights than the services have.
///
/// # Errors
/// As [`CqlStore::open`].
pub fn migrate(config: CqlConfig) -> Result<(), StoreError> {
    let config = CqlConfig { create: true, ..config };
    config.check()?;
    Threads::start()?.run(async move { ready(&config).await.map(drop) })
}

/// A session on a keyspace that has the tables.
async fn ready(config: &CqlConfig) -> Result<Session, StoreError> {
    let opening = async {
        let session = session::connect(config).await?;
        schema::ready(&session, config).await?;
        Ok(session)
    };
    let late = |_| StoreError::Retry(format!("{} was not ready within {OPEN_TIMEOUT:?}", config.place()));
    tokio::time::timeout(OPEN_TIMEOUT, opening).await.map_err(late)?
}

impl Cluster {
    fn reader(&self) -> Reader<'_> {
        Reader { session: &self.session, asks: &self.asks, config: &self.config }
    }

    async fn write(&self, groups: Vec<plan::Group>) -> Result<(), StoreError> {
        let place = self.config.place();
        let puts =
            self.puts.get_or_try_init(|| Puts::prepare(&self.session, &self.config.keyspace, &place)).await?;
        let (session, limit, counts) = (&self.session, &self.limit, &self.counts);
        Sender { session, puts, limit, counts, place: &place }.send(groups).await
    }
}

impl fmt::Debug for CqlStore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("CqlStore").field("config", &self.cluster.config).finish_non_exhaustive()
    }
}

impl Store for CqlStore {
    fn write(&self, writes: &[Write]) -> Result<(), StoreError> {
        if writes.is_empty() {
            return Ok(());
        }
        let groups = plan::groups(writes, self.cluster.config.retention)?;
        let _one = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        self.ask(move |cluster| async move { cluster.write(groups).await })
    }

    fn windows(
        &self,
        device: &str,
        metric: &str,
        window: &str,
        span: Span,
        page: &Page,
    ) -> Result<Listed<Aggregate>, StoreError> {
        let key = [device, metric, window].map(str::to_owned);
        let page = page.clone();
        self.ask(move |cluster| async move {
            let [device, metric, window] = &key;
            cluster.reader().windows((device, metric, window), span, &page).await
        })
    }

    fn latest(&self, device: &str) -> Result<Vec<Aggregate>, StoreError> {
        let device = device.to_owned();
        self.ask(move |cluster| async move { cluster.reader().latest(&device).await })
    }

    fn scores(
        &self,
        device: &str,
        model: Option<&str>,
        span: Span,
        page: &Page,
    ) -> Result<Listed<Score>, StoreError> {
        let (device, model, page) = (device.to_owned(), model.map(str::to_owned), page.clone());
        self.ask(move |cluster| async move {
            cluster.reader().scores(&device, model.as_deref(), span, &page).await
        })
    }

    fn alerts(&self, device: Option<&str>, span: Span, page: &Page) -> Result<Listed<Alert>, StoreError> {
        let (device, page) = (device.map(str::to_owned), page.clone());
        self.ask(move |cluster| async move { cluster.reader().alerts(device.as_deref(), span, &page).await })
    }

    fn devices(&self, page: &Page) -> Result<Listed<DeviceRow>, StoreError> {
        let page = page.clone();
        self.ask(move |cluster| async move { cluster.reader().devices(&page).await })
    }

    fn device(&self, device: &str) -> Result<Option<DeviceRow>, StoreError> {
        let device = device.to_owned();
        self.ask(move |cluster| async move { cluster.reader().device(&device).await })
    }

    fn totals(&self) -> Result<Option<StoreTotals>, StoreError> {
        Ok(None)
    }

    fn count(&self) -> Result<StoreTotals, StoreError> {
        self.ask(move |cluster| async move { count::totals(&cluster.session, &cluster.config).await })
    }
}

//! The pipeline in one process: which parts run, in which order they start, drain and stop.
//!
//! Lives here: wiring. Does not live here: what any part does.
//!
//! Invariant: parts start from the store outwards (sink, processor, door), so that nothing is taken in that nobody
//! works on; they stop from the door inwards.

pub(crate) mod admin;
pub(crate) mod books;
pub(crate) mod brief;
pub(crate) mod drain;
pub(crate) mod live;
pub(crate) mod offline;
mod outputs;
pub(crate) mod processor;
mod trail;
pub(crate) mod watch;

use crate::config::Settings;
use crate::telemetry;
use anyhow::{Context, Result, bail};
use chassis::admin::{Admin, Readiness};
use chassis::auth::Keys;
use chassis::clock::Clock;
use chassis::server::{ServerLimits, bind};
use chassis::shutdown::{Hold, Phase, Shutdown};
use chassis::supervise::Supervisor;
use dashboard::{DashboardDeps, DashboardHandle};
use ingest::{Ingest, IngestDeps};
use journal::port::Journal;
use journal::sqlite::SqliteJournal;
use live::Live;
use sink::{SinkDeps, SinkHandle};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use store::port::Store;
use store::sqlite::SqliteStore;

/// Time for everything to stop: requests, the fold to the end, commits, snapshots, the sink's drain.
const GRACE: Duration = Duration::from_secs(60);

/// Name of the start itself in the readiness.
const STARTED: &str = "start";

/// Which parts run in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Parts {
    /// Name of the whole, in logs and metrics.
    pub(crate) service: &'static str,
    /// The door.
    pub(crate) ingest: bool,
    /// The processor.
    pub(crate) process: bool,
    /// The sink.
    pub(crate) sink: bool,
    /// Query API and page.
    pub(crate) dashboard: bool,
    /// Propose the file's pipeline when it differs from the one in force.
    pub(crate) apply: bool,
    /// Stop by themselves at the end of the log as it was at start.
    pub(crate) until_end: bool,
    /// Write an end record for every partition first.
    pub(crate) close: bool,
}

impl Parts {
    /// Everything.
    pub(crate) const fn all(service: &'static str) -> Self {
        Self {
            service,
            ingest: true,
            process: true,
            sink: true,
            dashboard: true,
            apply: false,
            until_end: false,
            close: false,
        }
    }

    /// Nothing yet.
    pub(crate) const fn none(service: &'static str) -> Self {
        Self {
            service,
            ingest: false,
            process: false,
            sink: false,
            dashboard: false,
            apply: false,
            until_end: false,
            close: false,
        }
    }
}

/// A running home.
pub(crate) struct Home {
    shutdown: Shutdown,
    supervisor: Supervisor,
    journal: Arc<SqliteJournal>,
    live: Arc<Live>,
    admin: SocketAddr,
    ingest: Option<SocketAddr>,
    dashboard: Option<SocketAddr>,
    last_look: Option<Hold>,
}

impl Home {
    /// Opens journal and store and starts the parts.
    ///
    /// # Errors
    /// When a file cannot be used, a port is taken, or a model does not load.
    pub(crate) async fn start(settings: Settings, parts: Parts) -> Result<Self> {
        let metrics = telemetry::init(parts.service, &settings)?;
        let shutdown = Shutdown::new();
        let last_look = parts.until_end.then(|| shutdown.hold(Phase::Close, "the books"));
        let supervisor = Supervisor::new(shutdown.clone());
        let readiness = Readiness::new();
        // Parts register when they start: until all have, nobody knows what is missing.
        readiness.missing(STARTED, "parts that have not started");
        let keys = Arc::new(settings.keys.clone());
        let opened = open(&settings).await?;
        try_addresses(&settings, parts).await?;
        let store = Arc::clone(&opened.store) as Arc<dyn Store>;
        let live =
            Arc::new(Live::new(opened.port(), opened.codec.clone(), store, settings.pipeline.clone())?);

        let listener = bind(settings.admin.listen).await.context("`admin.listen`")?;
        let admin_address = listener.local_addr()?;
        let identity = telemetry::identity(parts.service);
        let admin = Admin::new(identity, readiness.clone(), metrics, Arc::clone(&keys), shutdown.clone())
            .merge(admin::router(Arc::clone(&live), Arc::clone(&opened.store) as _));
        supervisor.task("admin", admin.serve(listener, ServerLimits::default()));

        let starting = Starting { settings, parts, supervisor, readiness, keys, opened, live };
        starting.sink()?;
        starting.processor()?;
        starting.configured().await?;
        let ingest = starting.ingest().await?.map(|ingest| ingest.address());
        let dashboard = starting.dashboard().await?.map(|dashboard| dashboard.address);
        starting.watch();
        starting.readiness.ready(STARTED);
        let Starting { supervisor, opened, live, .. } = starting;
        let journal = opened.journal;
        Ok(Self { shutdown, supervisor, journal, live, admin: admin_address, ingest, dashboard, last_look })
    }

    /// What is known of the running parts.
    pub(crate) fn live(&self) -> &Arc<Live> {
        &self.live
    }

    /// Where the door is.
    pub(crate) const fn ingest(&self) -> Option<SocketAddr> {
        self.ingest
    }

    /// Where the page is.
    pub(crate) const fn dashboard(&self) -> Option<SocketAddr> {
        self.dashboard
    }

    /// Where the admin address is.
    pub(crate) const fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// The shutdown all parts watch.
    pub(crate) const fn shutdown(&self) -> &Shutdown {
        &self.shutdown
    }

    /// With `until_end`: what keeps the files open until it is dropped, so that the books can be read at the end.
    pub(crate) fn last_look(&mut self) -> Option<Hold> {
        self.last_look.take()
    }

    /// Begins the shutdown at a signal; a second one leaves at once.
    pub(crate) fn until_signal(&self) {
        let shutdown = self.shutdown.clone();
        // Not in the supervised set: it must not keep the others waiting.
        tokio::spawn(async move {
            if let Err(error) = shutdown.watch_signals().await {
                tracing::error!("signals cannot be watched: {error}");
            }
        });
    }

    /// Waits for a signal, a failure, or a part that ends the run; then stops everything in order.
    ///
    /// # Errors
    /// The failure that ended it, or what did not stop in time.
    pub(crate) async fn run_until_stopped(self) -> Result<()> {
        let stopped = self.supervisor.join(GRACE).await;
        // Whoever holds the last phase reads the files once more.
        let closed = if self.shutdown.begun() { self.shutdown.closed(GRACE).await } else { Ok(()) };
        self.journal.close();
        stopped.context("stopping")?;
        closed.context("stopping")
    }
}

struct Opened {
    journal: Arc<SqliteJournal>,
    store: Arc<SqliteStore>,
    codec: schemas::codec::Codec,
}

impl Opened {
    fn port(&self) -> Arc<dyn Journal> {
        Arc::clone(&self.journal) as Arc<dyn Journal>
    }
}

/// Opens the two files; what they say about a file that cannot be used is said to the user as it is.
async fn open(settings: &Settings) -> Result<Opened> {
    let (journal, store) = (settings.journal.clone(), settings.store.clone());
    tokio::task::spawn_blocking(move || {
        let journal = SqliteJournal::open(journal.sqlite())?;
        let codec = journal::ids::codec(Arc::clone(&journal) as Arc<dyn Journal>)?;
        let store = Arc::new(SqliteStore::open(&store.path, store.sqlite())?);
        Ok(Opened { journal, store, codec })
    })
    .await
    .context("opening the home")?
}

/// Tries every address before anything starts, so that a port in use changes nothing and all are named at once.
async fn try_addresses(settings: &Settings, parts: Parts) -> Result<()> {
    let wanted = [
        ("admin", true, settings.admin.listen),
        ("ingest", parts.ingest, settings.ingest.listen),
        ("dashboard", parts.dashboard, settings.dashboard.listen),
    ];
    // Held until all are tried: two services may have been given the same one.
    let mut tried = Vec::new();
    let mut refused = Vec::new();
    for (service, _, address) in wanted.into_iter().filter(|(_, runs, _)| *runs) {
        match bind(address).await {
            Ok(listener) => tried.push(listener),
            Err(error) => refused.push(format!("`{service}.listen`: {error}")),
        }
    }
    if refused.is_empty() {
        return Ok(());
    }
    bail!("{} (--set SERVICE.listen=127.0.0.1:0 takes any free port)", refused.join("; "))
}

struct Starting {
    settings: Settings,
    parts: Parts,
    supervisor: Supervisor,
    readiness: Readiness,
    keys: Arc<Keys>,
    opened: Opened,
    live: Arc<Live>,
}

impl Starting {
    fn sink(&self) -> Result<()> {
        if !self.parts.sink {
            return Ok(());
        }
        let deps = SinkDeps {
            journal: self.opened.port(),
            codec: self.opened.codec.clone(),
            store: Arc::clone(&self.opened.store) as _,
            supervisor: self.supervisor.clone(),
            readiness: self.readiness.clone(),
            feed: self.live.feed().clone(),
            member: self.settings.process.instance.clone(),
        };
        let mut config = self.settings.sink;
        config.until_end = self.parts.until_end;
        let handle: SinkHandle = sink::start(deps, config)?;
        self.live.set_sink(handle);
        Ok(())
    }

    fn processor(&self) -> Result<()> {
        if !self.parts.process {
            return Ok(());
        }
        let running = processor::start(processor::Deps {
            settings: &self.settings,
            journal: self.opened.port(),
            codec: self.opened.codec.clone(),
            supervisor: &self.supervisor,
            readiness: &self.readiness,
            apply: self.parts.apply,
            until_end: self.parts.until_end,
            close: self.parts.close,
        })?;
        self.live.set_processor(running);
        Ok(())
    }

    /// Waits until the configuration stands in every partition: a reading in front of it would be a dead letter.
    async fn configured(&self) -> Result<()> {
        const PATIENCE: Duration = Duration::from_secs(30);
        const LOOK_EVERY: Duration = Duration::from_millis(5);
        let Some(running) = self.live.processor().filter(|_| self.parts.ingest) else { return Ok(()) };
        let shutdown = self.supervisor.shutdown();
        let everywhere = async {
            let mut looks = tokio::time::interval(LOOK_EVERY);
            loop {
                looks.tick().await;
                let view = running.get().controller_view();
                if view.generation.is_some() && view.missing.is_empty() || shutdown.begun() {
                    return;
                }
            }
        };
        tokio::time::timeout(PATIENCE, everywhere)
            .await
            .context("the configuration could not be written into every partition of the journal")
    }

    async fn ingest(&self) -> Result<Option<Ingest>> {
        if !self.parts.ingest {
            return Ok(None);
        }
        let deps = IngestDeps {
            journal: self.opened.port(),
            codec: self.opened.codec.clone(),
            clock: Clock::system(),
            keys: Arc::clone(&self.keys),
            readiness: self.readiness.clone(),
            supervisor: self.supervisor.clone(),
        };
        let ingest = ingest::start(deps, self.settings.ingest.clone()).await.context("`ingest.listen`")?;
        self.live.set_ingest(ingest.clone());
        Ok(Some(ingest))
    }

    async fn dashboard(&self) -> Result<Option<DashboardHandle>> {
        if !self.parts.dashboard {
            return Ok(None);
        }
        let deps = DashboardDeps {
            store: Arc::clone(&self.opened.store) as _,
            live: Arc::clone(&self.live) as _,
            feed: self.parts.sink.then(|| self.live.feed().clone()),
            keys: Arc::clone(&self.keys),
            supervisor: self.supervisor.clone(),
            readiness: self.readiness.clone(),
            clock: Clock::system(),
        };
        Ok(Some(dashboard::start(deps, self.settings.dashboard).await.context("`dashboard.listen`")?))
    }

    fn watch(&self) {
        let live = Arc::clone(&self.live);
        self.supervisor.task("backlog monitor", watch::run(live, self.supervisor.shutdown().clone()));
    }
}

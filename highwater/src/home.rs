//! The pipeline in one process: which parts run, in which order they start, drain and stop.
//!
//! Lives here: wiring. Does not live here: what any part does.
//!
//! Where journal and store are, and waiting for them, is `open`'s; the parts one by one are `starting`'s.
//!
//! Invariant: parts start from the store outwards (sink, processor, door), so that nothing is taken in that nobody
//! works on; they stop from the door inwards.

pub(crate) mod admin;
pub(crate) mod books;
pub(crate) mod brief;
mod claim;
pub(crate) mod drain;
pub(crate) mod failing;
pub(crate) mod history;
pub(crate) mod live;
mod measured;
mod models;
pub(crate) mod offline;
pub(crate) mod open;
mod outputs;
pub(crate) mod processor;
mod starting;
mod trail;
pub(crate) mod watch;
mod whereabouts;

use crate::config::Settings;
use crate::telemetry;
use anyhow::{Context, Result, bail};
use chassis::admin::{Admin, Readiness};
use chassis::server::{ServerLimits, bind};
use chassis::shutdown::{Hold, Phase, Shutdown};
use chassis::supervise::Supervisor;
use claim::Claim;
use live::{Live, Watched};
use open::{OpenJournal, Opened, Waiting};
use starting::Starting;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

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
    /// Begin the shutdown at a signal; a second one leaves at once.
    pub(crate) signals: bool,
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
            signals: false,
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
            signals: false,
        }
    }
}

/// A stop was asked for before everything had started.
#[derive(Debug, thiserror::Error)]
#[error("stopped before everything had started")]
pub(crate) struct Stopped;

/// A running home.
pub(crate) struct Home {
    shutdown: Shutdown,
    supervisor: Supervisor,
    journal: OpenJournal,
    /// Until the end: this process's names in the groups.
    _claims: Vec<Claim>,
    live: Arc<Live>,
    admin: SocketAddr,
    ingest: Option<SocketAddr>,
    dashboard: Option<SocketAddr>,
    last_look: Option<Hold>,
}

impl Home {
    /// Opens journal and store and starts the parts. The admin address comes first where servers are waited for.
    ///
    /// # Errors
    /// When a file or a server cannot be used, a port is taken, or a model does not load; [`Stopped`] when a stop was
    /// asked for meanwhile.
    pub(crate) async fn start(settings: Settings, parts: Parts) -> Result<Self> {
        open::NoRegistry::check(&settings)?;
        let metrics = telemetry::init(parts.service, &settings)?;
        let shutdown = Shutdown::new();
        if parts.signals {
            watch_signals(&shutdown);
        }
        let last_look = parts.until_end.then(|| shutdown.hold(Phase::Close, "the books"));
        let supervisor = Supervisor::new(shutdown.clone());
        let readiness = Readiness::new();
        // Parts register when they start: until all have, nobody knows what is missing.
        readiness.missing(STARTED, "parts that have not started");
        let keys = Arc::new(settings.keys.clone());
        let files = open::files(&settings).await?;
        let claims = claims(&settings, parts)?;
        try_addresses(&settings, parts).await?;

        let listener = bind(settings.admin.listen).await.context("`admin.listen`")?;
        let admin_address = listener.local_addr()?;
        let asked = Arc::new(OnceLock::new());
        let identity = telemetry::identity(parts.service);
        let admin = Admin::new(identity, readiness.clone(), metrics, Arc::clone(&keys), shutdown.clone())
            .merge(admin::router(Arc::clone(&asked)));
        supervisor.task("admin", admin.serve(listener, ServerLimits::default()));

        let waiting = Waiting { settings: &settings, parts, readiness: &readiness, shutdown: &shutdown };
        let opened = match files {
            Some(opened) => opened,
            None => waiting.open().await?,
        };
        let live = live(&opened, &settings, parts).await?;
        // Set once.
        let _ = asked.set(Arc::clone(&live));
        let starting = Starting { settings, parts, supervisor, readiness, keys, opened, live };
        let started = starting.all().await;
        let Starting { supervisor, readiness, opened, live, .. } = starting;
        if started.as_ref().is_err_and(|why| why.is::<Stopped>()) {
            // A part that has failed asks for the stop too: its error is the answer then.
            supervisor.join(GRACE).await.context("stopping")?;
            opened.journal.close();
        }
        let (ingest, dashboard) = started?;
        readiness.ready(STARTED);
        let (journal, admin) = (opened.journal, admin_address);
        Ok(Self { shutdown, supervisor, journal, _claims: claims, live, admin, ingest, dashboard, last_look })
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

/// Begins the shutdown at a signal. Not in the supervised set: it must not keep the others waiting.
fn watch_signals(shutdown: &Shutdown) {
    let shutdown = shutdown.clone();
    tokio::spawn(async move {
        if let Err(error) = shutdown.watch_signals().await {
            tracing::error!("signals cannot be watched: {error}");
        }
    });
}

/// This process's names in the groups; one file has one process anyway.
fn claims(settings: &Settings, parts: Parts) -> Result<Vec<Claim>> {
    if settings.journal.file().is_some() {
        return Ok(Vec::new());
    }
    let prefix = settings.journal.kafka.as_ref().map_or("", |kafka| kafka.topic_prefix.as_str());
    let home = format!("{}/{prefix}", settings.journal.at);
    let groups = [(parts.process, ::processor::GROUP), (parts.sink, ::sink::GROUP)];
    let wanted = groups.into_iter().filter(|(runs, _)| *runs);
    wanted.map(|(_, group)| Claim::take(&home, group, &settings.process.instance)).collect()
}

/// What is known of the parts that will run.
async fn live(opened: &Opened, settings: &Settings, parts: Parts) -> Result<Arc<Live>> {
    let shared = settings.journal.file().is_none();
    // A file has one process, which watches everything; of many processes each watches its own group.
    let watched = Watched {
        processor: !shared || parts.process || parts.dashboard,
        sink: !shared || parts.sink || parts.dashboard,
    };
    let (journal, codec, store) = (opened.journal.port(), opened.codec.clone(), Arc::clone(&opened.store));
    let (pipeline, owners) = (settings.pipeline.clone(), open::owners(settings));
    let scoring = settings.scoring.clone();
    let make = move || Live::new(journal, codec, store, pipeline, scoring, watched, owners);
    Ok(Arc::new(tokio::task::spawn_blocking(make).await.context("the journal's readers")??))
}

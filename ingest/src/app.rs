//! Starting the door, and the handle to it.

use crate::batch::Recorder;
use crate::books::{IngestBooks, Ledger};
use crate::config::IngestConfig;
use crate::door::{Door, Outage};
use crate::http;
use crate::scrub::Scrubber;
use chassis::BoxError;
use chassis::admin::Readiness;
use chassis::auth::{Keys, Role, require};
use chassis::clock::Clock;
use chassis::server::{bind, serve};
use chassis::shutdown::{Phase, Shutdown};
use chassis::supervise::Supervisor;
use journal::port::Journal;
use schemas::codec::Codec;
use std::net::SocketAddr;
use std::sync::Arc;

/// What the door works with.
pub struct IngestDeps {
    /// Where readings go.
    pub journal: Arc<dyn Journal>,
    /// Of the same journal's schema ids.
    pub codec: Codec,
    /// For `ingest-at` and durations; event time is never taken from it.
    pub clock: Clock,
    /// Who may come in.
    pub keys: Arc<Keys>,
    /// Where an outage of the journal is shown.
    pub readiness: Readiness,
    /// Runs the listener; a journal that will not write again is a failure of it.
    pub supervisor: Supervisor,
}

/// The door, open.
#[derive(Clone, Debug)]
pub struct Ingest {
    address: SocketAddr,
    ledger: Ledger,
}

impl Ingest {
    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What became of every reading so far.
    #[must_use]
    pub fn books(&self) -> IngestBooks {
        self.ledger.books()
    }
}

/// Opens the door. It stops taking requests when the shutdown begins, and that phase ends only after every request
/// in progress is answered.
///
/// # Errors
/// When the address cannot be listened on.
pub async fn start(deps: IngestDeps, config: IngestConfig) -> std::io::Result<Ingest> {
    let IngestDeps { journal, codec, clock, keys, readiness, supervisor } = deps;
    let listener = bind(config.listen).await?;
    let address = listener.local_addr()?;
    let recorder = Recorder {
        codec,
        limits: config.reading_limits(),
        partitions: journal.partitions(),
        scrubber: Scrubber::new(&config),
    };
    let limits = config.server_limits();
    let shutdown = supervisor.shutdown().clone();
    let door = Arc::new(Door::new(config, recorder, clock, journal.appender(), readiness, shutdown.clone()));
    let ledger = door.ledger.clone();
    let outage = Arc::clone(&door.outage);
    let router = require(http::router(door), &keys, Role::Ingest).merge(http::description());
    let serving = serve("ingest", listener, router, limits, &shutdown, Phase::StopIntake);
    tracing::info!(%address, "ingest listens");
    supervisor.task("ingest", serving);
    supervisor.task("ingest journal watch", watch(outage, shutdown));
    Ok(Ingest { address, ledger })
}

/// Fails when the journal will not write again. The listener goes on meanwhile, and drains: senders get their 503
/// instead of a cut connection.
async fn watch(outage: Arc<Outage>, shutdown: Shutdown) -> Result<(), BoxError> {
    tokio::select! {
        () = shutdown.reached(Phase::StopIntake) => Ok(()),
        () = outage.fatal.notified() => Err("the journal will not write again".into()),
    }
}

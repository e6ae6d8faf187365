//! The query API and the web page.
//!
//! Lives here: answering from the store ([`api`]), the event stream ([`stream`]), the page's files (`page`), and
//! what the running pipeline tells of itself as a trait ([`live`]) that the program fills in. Does not live here:
//! what rows mean (`store`), or where books and backlog come from (`processor`, `sink`, `lag`).
//!
//! Invariants:
//! * Nothing here changes anything: every path answers `GET` only.
//! * Every list is a bounded page, every stream a bounded buffer, every query waits a bounded time for its turn.
//! * The page asks nobody but this server, and runs no inline script.

mod api;
mod config;
pub mod live;
mod page;
mod parameters;
mod rows;
mod stream;

#[cfg(test)]
mod tests;

pub use config::{DashboardConfig, RawDashboard};
pub use live::LiveView;

use chassis::admin::Readiness;
use chassis::auth::{Keys, Role, require};
use chassis::clock::Clock;
use chassis::server;
use chassis::shutdown::Phase;
use chassis::supervise::Supervisor;
use std::net::SocketAddr;
use std::sync::Arc;
use store::feed::Feed;
use store::port::Store;

/// Name of the dashboard's entry in [`Readiness`], of its tasks, and of its listener in metrics.
pub const NAME: &str = "dashboard";

/// What the dashboard works with.
pub struct DashboardDeps {
    /// Answers queries.
    pub store: Arc<dyn Store>,
    /// Answers what only the running pipeline knows.
    pub live: Arc<dyn LiveView>,
    /// Tells what was just stored, when the sink runs in this process; otherwise the store is polled.
    pub feed: Option<Feed>,
    /// Who may read.
    pub keys: Arc<Keys>,
    /// Runs the tasks and says when to stop.
    pub supervisor: Supervisor,
    /// Told when the port is open.
    pub readiness: Readiness,
    /// The time of day.
    pub clock: Clock,
}

/// A running dashboard.
#[derive(Clone, Copy, Debug)]
pub struct DashboardHandle {
    /// Where it listens; the port is the real one when 0 was asked for.
    pub address: SocketAddr,
}

/// A device as `/v1/devices` lists it, for others that answer the same question.
#[must_use]
pub fn device_row(row: &store::port::DeviceRow) -> serde_json::Value {
    rows::device(row, None)
}

/// Opens the port and serves until the shutdown begins.
///
/// # Errors
/// When the port cannot be opened.
pub async fn start(deps: DashboardDeps, config: DashboardConfig) -> std::io::Result<DashboardHandle> {
    deps.readiness.missing(NAME, "its port");
    let listener = server::bind(config.listen).await?;
    let address = listener.local_addr()?;
    let shutdown = deps.supervisor.shutdown().clone();
    let hub = stream::Hub::new(&config, deps.clock.now());
    let watch = stream::watch(
        Arc::clone(&hub),
        Arc::clone(&deps.store),
        deps.feed,
        shutdown.clone(),
        config.poll_every,
    );
    deps.supervisor.task("dashboard stream", watch);
    let state = Arc::new(api::Api::new(deps.store, deps.live, hub, shutdown.clone(), config));
    let router = require(api::router(state).merge(page::router()), &deps.keys, Role::Read)
        .layer(axum::middleware::map_response(page::secure));
    let serving =
        server::serve(NAME, listener, router, server::ServerLimits::default(), &shutdown, Phase::StopIntake);
    deps.supervisor.task(NAME, serving);
    deps.readiness.ready(NAME);
    Ok(DashboardHandle { address })
}

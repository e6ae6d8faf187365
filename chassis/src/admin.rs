//! Each service's own address: `/healthz`, `/readyz` and `/metrics` without a key, whatever else is merged in for
//! the role admin. It is the last listener to close, so that a drain can be watched.

use crate::auth::{Keys, Role, require};
use crate::metrics::Metrics;
use crate::server::{ServerLimits, serve};
use crate::shutdown::{Phase, Shutdown};
use crate::{BoxError, body};
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Serialize;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::TcpListener;

#[cfg(test)]
mod tests;

/// Who we are.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Identity {
    /// The service's name.
    pub name: &'static str,
    /// Version of the release.
    pub version: &'static str,
    /// Commit or other mark of the build.
    pub build: &'static str,
    /// Whether connections to servers can be encrypted.
    pub tls: bool,
}

/// What has to be true before work may be sent here; each part says by name what is missing.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<Mutex<BTreeMap<String, Option<String>>>>);

impl Readiness {
    /// Nothing to wait for yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes that `name` is missing, and what it waits for. A part registers so before it starts.
    pub fn missing(&self, name: &str, waits_for: impl Into<String>) {
        self.lock().insert(name.to_owned(), Some(waits_for.into()));
    }

    /// Notes that `name` is there.
    pub fn ready(&self, name: &str) {
        self.lock().insert(name.to_owned(), None);
    }

    /// What is missing, by name, with what it waits for.
    #[must_use]
    pub fn missing_parts(&self) -> BTreeMap<String, String> {
        let parts = self.lock();
        parts.iter().filter_map(|(name, missing)| Some((name.clone(), missing.clone()?))).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Option<String>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The admin address, before it is opened.
#[derive(Debug)]
pub struct Admin {
    identity: Identity,
    readiness: Readiness,
    metrics: Metrics,
    shutdown: Shutdown,
    keys: Arc<Keys>,
    extra: Option<Router>,
}

impl Admin {
    /// With the three paths that need no key.
    #[must_use]
    pub fn new(
        identity: Identity,
        readiness: Readiness,
        metrics: Metrics,
        keys: Arc<Keys>,
        shutdown: Shutdown,
    ) -> Self {
        Self { identity, readiness, metrics, shutdown, keys, extra: None }
    }

    /// Adds paths for the role admin; `router` must have one.
    #[must_use]
    pub fn merge(mut self, router: Router) -> Self {
        let router = require(router, &self.keys, Role::Admin);
        self.extra = Some(self.extra.take().unwrap_or_default().merge(router));
        self
    }

    /// The router, for tests and for serving it otherwise.
    pub fn router(&self) -> Router {
        let state = Arc::new(Served {
            identity: self.identity,
            readiness: self.readiness.clone(),
            metrics: self.metrics.clone(),
            shutdown: self.shutdown.clone(),
        });
        let open = Router::new()
            .route("/healthz", get(healthz))
            .route("/readyz", get(readyz))
            .route("/metrics", get(scraped))
            .with_state(state);
        open.merge(self.extra.clone().unwrap_or_default())
    }

    /// Serves until the files are closed; see [`crate::server::serve`].
    ///
    /// # Errors
    /// As [`crate::server::serve`].
    pub async fn serve(self, listener: TcpListener, limits: ServerLimits) -> Result<(), BoxError> {
        let serving = serve("admin", listener, self.router(), limits, &self.shutdown, Phase::Close);
        let mut serving = std::pin::pin!(serving);
        let mut upkeep = tokio::time::interval(UPKEEP_EVERY);
        loop {
            tokio::select! {
                ended = &mut serving => return ended,
                _ = upkeep.tick() => self.metrics.upkeep(),
            }
        }
    }
}

/// How often histogram samples are folded when nobody scrapes.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);

struct Served {
    identity: Identity,
    readiness: Readiness,
    metrics: Metrics,
    shutdown: Shutdown,
}

async fn healthz(State(served): State<Arc<Served>>) -> Response {
    let Identity { name, version, build, tls } = served.identity;
    json_answer(StatusCode::OK, &json!({ "name": name, "version": version, "build": build, "tls": tls }))
}

async fn readyz(State(served): State<Arc<Served>>) -> Response {
    let mut missing = served.readiness.missing_parts();
    if served.shutdown.begun() {
        missing.insert("shutdown".to_owned(), format!("shutting down, phase {:?}", served.shutdown.phase()));
    }
    let status = if missing.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    json_answer(status, &json!({ "ready": missing.is_empty(), "missing": missing }))
}

async fn scraped(State(served): State<Arc<Served>>) -> Response {
    let text = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, text)], served.metrics.render()).into_response()
}

fn json_answer(status: StatusCode, value: &serde_json::Value) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], value.to_string()).into_response()
}

/// Reads the body of an admin request: at most 1 MiB (a chunk of a model), within 10 s.
///
/// # Errors
/// [`body::BodyError`].
pub async fn read_body(body: axum::body::Body) -> Result<Vec<u8>, body::BodyError> {
    const BYTES_MAX: usize = 1 << 20;
    const MAX_WAIT: Duration = Duration::from_secs(10);
    body::read(body, BYTES_MAX, MAX_WAIT).await
}

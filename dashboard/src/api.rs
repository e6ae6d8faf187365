//! The query paths. Every answer is JSON; every error a problem document that says what would be right.

mod queries;
mod search;

use crate::config::DashboardConfig;
use crate::live::{LiveView, Unavailable};
use crate::parameters::Parameters;
use crate::stream::{self, Hub};
use axum::Router;
use axum::extract::{FromRequestParts, Query, State};
use axum::http::{HeaderMap, StatusCode, header, request::Parts};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use chassis::problem::Problem;
use chassis::shutdown::Shutdown;
use serde_json::Value;
use std::sync::Arc;
use store::port::{Store, StoreError};
use tokio::sync::Semaphore;

/// The description of all paths; a test holds it against the running server.
const OPENAPI: &str = include_str!("../openapi.json");

/// What every path shares.
pub(crate) struct Api {
    store: Arc<dyn Store>,
    live: Arc<dyn LiveView>,
    hub: Arc<Hub>,
    shutdown: Shutdown,
    config: DashboardConfig,
    turns: Arc<Semaphore>,
    streams: Arc<Semaphore>,
}

impl Api {
    pub(crate) fn new(
        store: Arc<dyn Store>,
        live: Arc<dyn LiveView>,
        hub: Arc<Hub>,
        shutdown: Shutdown,
        config: DashboardConfig,
    ) -> Self {
        let turns = Arc::new(Semaphore::new(config.queries_max as usize));
        let streams = Arc::new(Semaphore::new(config.streams_max as usize));
        Self { store, live, hub, shutdown, config, turns, streams }
    }

    /// Runs a query that may block, when it is its turn.
    async fn ask<T: Send + 'static>(
        self: &Arc<Self>,
        query: impl FnOnce(&Self) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let wait = tokio::time::timeout(self.config.query_wait_max, Arc::clone(&self.turns).acquire_owned());
        let Ok(Ok(turn)) = wait.await else {
            let detail = format!("{} queries are running; ask again in a moment", self.config.queries_max);
            return Err(
                Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", "Too busy", detail).retry_after(1)
            );
        };
        let api = Arc::clone(self);
        let answer = tokio::task::spawn_blocking(move || {
            // The turn is over when the query is, also when the caller has gone.
            let _turn = turn;
            query(&api)
        });
        answer.await.unwrap_or_else(|error| {
            tracing::error!(%error, "a query failed");
            let detail = "this is a fault of the server; its log says more";
            Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "Failed", detail))
        })
    }
}

/// Every path under `/v1`, with the query parameters it knows.
pub(crate) const PATHS: [(&str, &[&str]); 11] = [
    ("/v1/devices", &["q", "latest", "limit", "cursor"]),
    ("/v1/devices/{id}", &[]),
    ("/v1/devices/{id}/state", &[]),
    ("/v1/devices/{id}/scores", &["model", "from", "to", "limit", "cursor"]),
    ("/v1/devices/{id}/windows", &["metric", "window", "from", "to", "limit", "cursor"]),
    ("/v1/alerts", &["device", "from", "to", "limit", "cursor"]),
    ("/v1/books", &[]),
    ("/v1/lag", &[]),
    ("/v1/models", &[]),
    ("/v1/stream", &[]),
    ("/v1/openapi.json", &[]),
];

/// The router of [`PATHS`].
pub(crate) fn router(api: Arc<Api>) -> Router {
    let [devices, device, state, scores, windows, alerts, books, lag, models, stream, openapi] =
        PATHS.map(|(path, _)| path);
    Router::new()
        .route(devices, get(search::devices))
        .route(device, get(queries::device))
        .route(state, get(queries::state))
        .route(scores, get(queries::scores))
        .route(windows, get(queries::windows))
        .route(alerts, get(queries::alerts))
        .route(books, get(queries::books))
        .route(lag, get(queries::lag))
        .route(models, get(queries::models))
        .route(stream, get(events))
        .route(openapi, get(description))
        .with_state(api)
}

/// The query parameters of a request, checked against [`PATHS`].
pub(crate) struct Known(Parameters);

impl<S: Send + Sync> FromRequestParts<S> for Known {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let matched = axum::extract::MatchedPath::from_request_parts(parts, state).await;
        let path = matched.as_ref().map(axum::extract::MatchedPath::as_str).unwrap_or_default();
        let accepted = PATHS.iter().find(|(known, _)| *known == path).map_or(&[][..], |(_, names)| *names);
        let given: Query<Vec<(String, String)>> = Query::try_from_uri(&parts.uri).map_err(|error| {
            let detail = format!("the query string cannot be read: {error}");
            Problem::new(StatusCode::BAD_REQUEST, "bad-parameter", "A parameter cannot be used", detail)
        })?;
        Parameters::new(given.0, accepted).map(Self)
    }
}

/// A JSON answer that nobody keeps.
fn answer(value: &Value) -> Response {
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    (headers, value.to_string()).into_response()
}

/// What a store's error means for the caller.
fn store_problem(error: StoreError) -> Problem {
    match error {
        StoreError::Argument(detail) => {
            Problem::new(StatusCode::BAD_REQUEST, "bad-parameter", "A parameter cannot be used", detail)
        }
        StoreError::Retry(detail) => {
            tracing::warn!(detail, "a query could not be answered");
            Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "store-unavailable",
                "The store does not answer",
                detail,
            )
            .retry_after(1)
        }
        StoreError::Denied(detail) | StoreError::Fatal(detail) => {
            tracing::error!(detail, "a query could not be answered");
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "store-failed", "The store has failed", detail)
        }
    }
}

fn live_problem(Unavailable(detail): Unavailable) -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "Nobody can say now", detail).retry_after(1)
}

async fn description(_: Known) -> Response {
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-cache")];
    (headers, OPENAPI).into_response()
}

async fn events(State(api): State<Arc<Api>>, _: Known, headers: HeaderMap) -> Result<Response, Problem> {
    let Ok(place) = Arc::clone(&api.streams).try_acquire_owned() else {
        let detail = format!("{} event streams are open, as many as may be", api.config.streams_max);
        let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", "Too many streams", detail);
        return Err(problem.retry_after(5));
    };
    let after = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    Ok(stream::response(&api.hub, after, place, api.shutdown.clone(), api.config.heartbeat))
}

//! The admin address's paths: what one-shot commands ask, and the few that change something. All need the role
//! admin; health, readiness and metrics are the chassis's own.

use super::live::Live;
use super::processor::Running;
use axum::Json;
use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use chassis::problem::Problem;
use dashboard::LiveView;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;
use store::port::{Page, Store, StoreError};

/// Devices of one page, at most.
const DEVICES_MAX: u32 = 1_000;

#[derive(Clone)]
struct Asked {
    live: Arc<Live>,
    store: Arc<dyn Store>,
}

/// The paths.
pub(super) fn router(live: Arc<Live>, store: Arc<dyn Store>) -> Router {
    Router::new()
        .route("/v1/books", get(books))
        .route("/v1/lag", get(lag))
        .route("/v1/models", get(models))
        .route("/v1/partitions", get(partitions))
        .route("/v1/devices", get(devices))
        .route("/v1/devices/{device}", get(device))
        .route("/v1/devices/{device}/state", get(device_state))
        .with_state(Asked { live, store })
}

/// Runs something that may wait for a file or a worker off the async threads.
async fn blocking<T: Serialize + Send + 'static>(
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Response {
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(answer)) => Json(answer).into_response(),
        Ok(Err(problem)) => problem.into_response(),
        Err(error) => unavailable(error).into_response(),
    }
}

fn unavailable(error: impl std::fmt::Display) -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "Not available now", error.to_string())
}

fn missing(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "not-found", "Not found", detail)
}

fn of_store(error: StoreError) -> Problem {
    match error {
        StoreError::Argument(detail) => Problem::new(StatusCode::BAD_REQUEST, "argument", "Bad argument", detail),
        error => unavailable(error),
    }
}

async fn books(State(asked): State<Asked>) -> Response {
    blocking(move || asked.live.books().map_err(unavailable)).await
}

async fn lag(State(asked): State<Asked>) -> Response {
    blocking(move || asked.live.lag().map_err(unavailable)).await
}

async fn models(State(asked): State<Asked>) -> Response {
    blocking(move || asked.live.models().map_err(unavailable)).await
}

fn processor(asked: &Asked) -> Result<&Running, Problem> {
    asked.live.processor().ok_or_else(|| unavailable("no processor runs in this process"))
}

async fn partitions(State(asked): State<Asked>) -> Response {
    blocking(move || Ok(json!({ "items": processor(&asked)?.get().view().partitions() }))).await
}

#[derive(Deserialize)]
struct Listing {
    limit: Option<u32>,
    cursor: Option<String>,
    reason: Option<String>,
}

async fn devices(State(asked): State<Asked>, Query(listing): Query<Listing>) -> Response {
    blocking(move || {
        let page = Page { limit: listing.limit.unwrap_or(100).min(DEVICES_MAX), cursor: listing.cursor };
        let listed = asked.store.devices(&page).map_err(of_store)?;
        let items: Vec<Value> = listed.items.iter().map(dashboard::device_row).collect();
        Ok(json!({ "items": items, "next": listed.next }))
    })
    .await
}

async fn device(State(asked): State<Asked>, Path(device): Path<String>) -> Response {
    blocking(move || {
        let row = asked.store.device(&device).map_err(of_store)?;
        let row = row.ok_or_else(|| missing(format!("no device `{device}` is stored")))?;
        Ok(dashboard::device_row(&row))
    })
    .await
}

async fn device_state(State(asked): State<Asked>, Path(device): Path<String>) -> Response {
    blocking(move || {
        let state = asked.live.device_state(&device).map_err(unavailable)?;
        state.ok_or_else(|| missing(format!("no state is kept of device `{device}`")))
    })
    .await
}


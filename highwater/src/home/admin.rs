//! The admin address's paths: what one-shot commands ask, and the few that change something. All need the role
//! admin; health, readiness and metrics are the chassis's own.

mod extract;
#[cfg(test)]
mod tests;

use self::extract::{Path, Query, Sent};
use super::live::Live;
use super::models::{PUSH_BYTES_MAX, Push};
use axum::Json;
use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use chassis::problem::Problem;
use dashboard::LiveView;
use processor::ops::OpsError;
use schemas::pipeline::Pipeline;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::{Arc, OnceLock};
use store::port::{Page, StoreError};

/// Letters of one list, at most.
const LETTERS_MAX: usize = 1_000;
/// Devices of one page, at most.
const DEVICES_MAX: u32 = 1_000;

/// Nothing to ask before journal and store are open.
#[derive(Clone)]
struct Asked(Arc<OnceLock<Arc<Live>>>);

impl Asked {
    fn live(&self) -> Result<&Arc<Live>, Problem> {
        self.0.get().ok_or_else(|| unavailable("this process is starting: /readyz says what it waits for"))
    }
}

/// The paths.
pub(super) fn router(live: Arc<OnceLock<Arc<Live>>>) -> Router {
    Router::new()
        .route("/v1/books", get(books))
        .route("/v1/lag", get(lag))
        .route("/v1/models", get(models).post(push).layer(DefaultBodyLimit::max(PUSH_BYTES_MAX)))
        .route("/v1/models/{name}/activate", post(activate))
        .route("/v1/models/{name}/rollback", post(roll_back))
        .route("/v1/partitions", get(partitions))
        .route("/v1/partitions/{partition}", get(partition))
        .route("/v1/partitions/{partition}/release", post(release))
        .route("/v1/devices", get(devices))
        .route("/v1/devices/{device}", get(device))
        .route("/v1/devices/{device}/state", get(device_state))
        .route("/v1/dead-letters", get(letters))
        .route("/v1/dead-letters/redrive", post(redrive))
        .route("/v1/dead-letters/{id}", get(letter))
        .route("/v1/config", get(config_in_force).post(propose).layer(DefaultBodyLimit::max(PUSH_BYTES_MAX)))
        .with_state(Asked(live))
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
        StoreError::Argument(detail) => {
            Problem::new(StatusCode::BAD_REQUEST, "argument", "Bad argument", detail)
        }
        error => unavailable(error),
    }
}

fn of_ops(error: OpsError) -> Problem {
    match error {
        OpsError::NotFound(detail) => missing(detail),
        OpsError::Refused(detail) => Problem::new(StatusCode::CONFLICT, "refused", "Refused", detail),
        OpsError::Unavailable(detail) => unavailable(detail),
    }
}

async fn books(State(asked): State<Asked>) -> Response {
    blocking(move || asked.live()?.books().map_err(unavailable)).await
}

async fn lag(State(asked): State<Asked>) -> Response {
    blocking(move || asked.live()?.lag().map_err(unavailable)).await
}

async fn models(State(asked): State<Asked>) -> Response {
    blocking(move || asked.live()?.models().map_err(unavailable)).await
}

async fn push(State(asked): State<Asked>, Sent(push): Sent<Push>) -> Response {
    blocking(move || asked.live()?.versions().push(&push).map_err(of_ops)).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Activation {
    #[serde(default)]
    force: bool,
}

async fn activate(
    State(asked): State<Asked>,
    Path(name): Path<String>,
    Sent(how): Sent<Activation>,
) -> Response {
    blocking(move || {
        let generation = asked.live()?.versions().rollouts().activate(&name, how.force).map_err(of_ops)?;
        tracing::warn!(model = name, generation, force = how.force, "a version was let in by hand");
        Ok(json!({ "name": name, "generation": generation }))
    })
    .await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rollback {
    why: String,
}

async fn roll_back(
    State(asked): State<Asked>,
    Path(name): Path<String>,
    Sent(how): Sent<Rollback>,
) -> Response {
    blocking(move || {
        let generation = asked.live()?.versions().rollouts().roll_back(&name, &how.why).map_err(of_ops)?;
        tracing::warn!(model = name, generation, why = how.why, "a version was taken back by hand");
        Ok(json!({ "name": name, "generation": generation }))
    })
    .await
}

async fn partitions(State(asked): State<Asked>) -> Response {
    blocking(move || Ok(json!({ "items": asked.live()?.partitions().map_err(of_ops)? }))).await
}

async fn partition(State(asked): State<Asked>, Path(partition): Path<u32>) -> Response {
    blocking(move || asked.live()?.explain_partition(partition).map_err(of_ops)).await
}

async fn release(State(asked): State<Asked>, Path(partition): Path<u32>) -> Response {
    blocking(move || {
        asked.live()?.release(partition).map_err(of_ops)?;
        tracing::warn!(partition, "a quarantined partition was released");
        Ok(json!({ "partition": partition, "released": true }))
    })
    .await
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
        let listed = asked.live()?.store().devices(&page).map_err(of_store)?;
        let items: Vec<Value> = listed.items.iter().map(dashboard::device_row).collect();
        Ok(json!({ "items": items, "next": listed.next }))
    })
    .await
}

async fn device(State(asked): State<Asked>, Path(device): Path<String>) -> Response {
    blocking(move || {
        let row = asked.live()?.store().device(&device).map_err(of_store)?;
        let row = row.ok_or_else(|| missing(format!("no device `{device}` is stored")))?;
        Ok(dashboard::device_row(&row))
    })
    .await
}

async fn device_state(State(asked): State<Asked>, Path(device): Path<String>) -> Response {
    blocking(move || asked.live()?.explain_device(&device).map_err(of_ops)).await
}

async fn letters(State(asked): State<Asked>, Query(listing): Query<Listing>) -> Response {
    blocking(move || {
        let limit = usize::try_from(listing.limit.unwrap_or(50)).unwrap_or(LETTERS_MAX).min(LETTERS_MAX);
        let items = asked.live()?.letters().list(listing.reason.as_deref(), limit).map_err(of_ops)?;
        Ok(json!({ "items": items }))
    })
    .await
}

async fn letter(State(asked): State<Asked>, Path(id): Path<String>) -> Response {
    blocking(move || asked.live()?.letters().show(&id).map_err(of_ops)).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Redrive {
    #[serde(default)]
    ids: Vec<String>,
    reason: Option<String>,
}

async fn redrive(State(asked): State<Asked>, Sent(wanted): Sent<Redrive>) -> Response {
    blocking(move || asked.live()?.letters().redrive(&wanted.ids, wanted.reason.as_deref()).map_err(of_ops))
        .await
}

async fn config_in_force(State(asked): State<Asked>) -> Response {
    blocking(move || asked.live()?.config_in_force().map_err(of_ops)).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Proposal {
    pipeline: Pipeline,
    /// Trained weights that it names, in base64.
    #[serde(default)]
    weights: Vec<String>,
}

async fn propose(State(asked): State<Asked>, Sent(proposal): Sent<Proposal>) -> Response {
    blocking(move || {
        let live = asked.live()?;
        live.versions().keep_weights(&proposal.weights).map_err(of_ops)?;
        let generation = live.propose(&proposal.pipeline).map_err(of_ops)?;
        Ok(json!({ "generation": generation }))
    })
    .await
}

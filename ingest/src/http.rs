//! Requests and answers. What each path takes and gives stands in `openapi.json` and, for people, in
//! `docs/ingest.md`.

mod devices;

use crate::admission::Reservation;
use crate::door::{Acknowledged, Door, Refused, Unread, Waiting};
use crate::encoding::Encoding;
use axum::Router;
use axum::body::{Body, HttpBody};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use chassis::body::{self, BodyError};
use chassis::problem::Problem;
use serde::Serialize;
use std::sync::Arc;

/// Bodies above it, and all compressed ones, are taken apart on a thread for such work: the ones that answer must
/// not stand still. Half a millisecond's worth.
const INLINE_BYTES_MAX: usize = 128 << 10;
/// Least seconds before a request that met a full house is sent again.
const BUSY_RETRY_S: u64 = 1;
/// Least seconds before a request that met an outage is sent again.
const OUTAGE_RETRY_S: u64 = 5;

/// What each path takes and gives; tested against the server.
const OPENAPI: &str = include_str!("../openapi.json");

/// The description, which needs no key.
pub(crate) fn description() -> Router {
    let described = ([(header::CONTENT_TYPE, "application/json")], OPENAPI);
    Router::new().route("/v1/openapi.json", get(async move || described))
}

/// The paths that write, all for the role ingest.
pub(crate) fn router(door: Arc<Door>) -> Router {
    Router::new()
        .route("/v1/readings", post(readings))
        .route("/v1/devices/{id}", put(devices::replace).delete(devices::remove))
        .route("/v1/ends", post(devices::end))
        .with_state(door)
}

async fn readings(State(door): State<Arc<Door>>, headers: HeaderMap, body: Body) -> Response {
    match take_readings(&door, &headers, body).await {
        Ok(acknowledged) => answer(acknowledged),
        Err(problem) => problem.into_response(),
    }
}

async fn take_readings(door: &Arc<Door>, headers: &HeaderMap, body: Body) -> Result<Acknowledged, Problem> {
    let text = |name| headers.get(name).and_then(|value: &axum::http::HeaderValue| value.to_str().ok());
    let Some(encoding) = Encoding::from_header(text(header::CONTENT_ENCODING)) else {
        body::discard(body).await;
        return Err(unknown_encoding(text(header::CONTENT_ENCODING).unwrap_or_default()));
    };
    let lines = text(header::CONTENT_TYPE).is_some_and(says_lines);
    let mut room = match door.admit(body.size_hint().exact()) {
        Ok(room) => room,
        Err(refused) => {
            body::discard(body).await;
            return Err(problem_of(door, &refused));
        }
    };
    let sent = door.read(body, &mut room).await.map_err(|unread| match unread {
        Unread::Refused(refused) => problem_of(door, &refused),
        Unread::Body(error) => body_problem(&error),
    })?;
    // Room is held until the answer is known; only then is the memory free again.
    let (waiting, _room) =
        take(door, sent, encoding, lines, room).await.map_err(|refused| problem_of(door, &refused))?;
    waiting.finish().await.map_err(|refused| problem_of(door, &refused))
}

/// Takes a body apart, here or on a thread for such work.
async fn take(
    door: &Arc<Door>,
    sent: Vec<u8>,
    encoding: Encoding,
    lines: bool,
    mut room: Reservation,
) -> Result<(Waiting, Reservation), Refused> {
    if encoding == Encoding::Identity && sent.len() <= INLINE_BYTES_MAX {
        return Ok((door.take(&sent, encoding, lines, &mut room)?, room));
    }
    let Ok(worker) = Arc::clone(&door.workers).acquire_owned().await else {
        return Err(Refused::Unavailable("the service is closed".to_owned()));
    };
    let at_work = Arc::clone(door);
    // CANCEL: once it runs it runs to its end, and what it queued stands in the books.
    let taken = tokio::task::spawn_blocking(move || {
        let taken = at_work.take(&sent, encoding, lines, &mut room);
        drop(worker);
        taken.map(|waiting| (waiting, room))
    });
    match taken.await {
        Ok(taken) => taken,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(Refused::Unavailable("the service is closing".to_owned())),
        },
    }
}

fn says_lines(content_type: &str) -> bool {
    let kind = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    ["application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines"]
        .contains(&kind.as_str())
}

fn answer(acknowledged: Acknowledged) -> Response {
    let Acknowledged { accepted, rejections } = acknowledged;
    match rejections.first() {
        Some(first) if accepted == 0 => {
            let detail = format!("no reading could be used; the first: {}: {}", first.reason, first.detail);
            let listed = serde_json::to_value(&rejections).unwrap_or_default();
            Problem::new(StatusCode::BAD_REQUEST, "nothing-readable", "No reading could be used", detail)
                .with("accepted", 0)
                .with("rejected", listed)
                .into_response()
        }
        _ => json(StatusCode::OK, &serde_json::json!({ "accepted": accepted, "rejected": rejections })),
    }
}

fn json<T: Serialize>(status: StatusCode, value: &T) -> Response {
    match serde_json::to_vec(value) {
        Ok(body) => (status, [(header::CONTENT_TYPE, "application/json")], body).into_response(),
        // Our own types have string keys only, so that this does not happen.
        Err(error) => {
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "Our fault", error.to_string())
                .into_response()
        }
    }
}

fn problem_of(door: &Door, refused: &Refused) -> Problem {
    let detail = refused.to_string();
    match refused {
        Refused::TooLarge(_) => Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "Too large", detail),
        Refused::Busy { cause, .. } => {
            let detail = format!("{detail}; nothing of this request was taken, send it again later");
            Problem::new(StatusCode::TOO_MANY_REQUESTS, "busy", "Too much at once", detail)
                .retry_after(door.turn_away(cause, BUSY_RETRY_S))
        }
        Refused::Unavailable(_) => {
            let detail = format!("{detail}; nothing of this request was acknowledged, send it again later");
            Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "journal-unavailable",
                "The journal cannot write",
                detail,
            )
            .retry_after(door.turn_away("journal", OUTAGE_RETRY_S))
        }
    }
}

fn body_problem(error: &BodyError) -> Problem {
    let detail = error.to_string();
    match error {
        BodyError::TooLarge { .. } => {
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "Too large", detail)
        }
        BodyError::TooSlow { .. } => Problem::new(StatusCode::REQUEST_TIMEOUT, "timeout", "Too slow", detail),
        BodyError::Broken(_) | BodyError::NoRoom => {
            Problem::new(StatusCode::BAD_REQUEST, "broken-body", "Body not readable", detail)
        }
    }
}

fn unknown_encoding(found: &str) -> Problem {
    let detail = format!("Content-Encoding `{found}` is not known here; send gzip, zstd, or none");
    Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unknown-encoding", "Unknown encoding", detail)
}

//! What changes results besides readings: a device's metadata, and the word that no more readings are expected.

use super::{body_problem, json, problem_of};
use crate::batch::ingest_at;
use crate::config::in_memory;
use crate::door::Door;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use chassis::body;
use chassis::problem::Problem;
use journal::port::{NewRecord, TopicPartition};
use schemas::grammar::check_device_id;
use schemas::json::parse_device;
use schemas::reason::Reject;
use schemas::record::{Device, End, Raw};
use schemas::topic::Topic;
use serde::Deserialize;
use std::sync::Arc;

/// `PUT /v1/devices/{id}`: the metadata from here on, as a whole.
pub(super) async fn replace(State(door): State<Arc<Door>>, Path(id): Path<String>, body: Body) -> Response {
    let replaced = async {
        let sent = read_small(&door, body).await?;
        let mut device =
            parse_device(&id, &sent, &door.recorder.limits).map_err(|reject| rejected(&reject))?;
        if let Some(scrubber) = &door.recorder.scrubber {
            scrubber.device(&mut device.tags);
        }
        write_device(&door, device).await
    };
    replaced.await.unwrap_or_else(Problem::into_response)
}

/// `DELETE /v1/devices/{id}`: no metadata from here on; readings go on being accepted.
pub(super) async fn remove(State(door): State<Arc<Door>>, Path(id): Path<String>) -> Response {
    let removed = async {
        check_device_id(&id).map_err(|reject| rejected(&reject))?;
        write_device(&door, Device { device_id: id, deleted: true, ..Device::default() }).await
    };
    removed.await.unwrap_or_else(Problem::into_response)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawEnd {
    // Null must be written out: an empty object should not end everything.
    #[serde(deserialize_with = "Option::deserialize")]
    device_id: Option<String>,
}

/// `POST /v1/ends`: no more readings are expected of a device (`{"device_id":"a"}`) or of any
/// (`{"device_id":null}`); what is open is emitted. Imports and back-fills send it; devices do not.
pub(super) async fn end(State(door): State<Arc<Door>>, body: Body) -> Response {
    let ended = async {
        let sent = read_small(&door, body).await?;
        let RawEnd { device_id } = serde_json::from_slice(&sent).map_err(|error| {
            let detail =
                format!("{error}; expected {{\"device_id\":\"a\"}} for one device, or null there for all");
            Problem::new(StatusCode::BAD_REQUEST, "malformed-json", "Not an end", detail)
        })?;
        if let Some(device_id) = &device_id {
            check_device_id(device_id).map_err(|reject| rejected(&reject))?;
        }
        let records = end_records(&door, device_id.as_deref());
        let partitions = records.len();
        door.write(records).await.map_err(|refused| problem_of(&door, &refused))?;
        Ok(json(StatusCode::OK, &serde_json::json!({ "device_id": device_id, "partitions": partitions })))
    };
    ended.await.unwrap_or_else(Problem::into_response)
}

fn end_records(door: &Door, device_id: Option<&str>) -> Vec<NewRecord> {
    let value = door.recorder.codec.to_bytes(&Raw::End(End { device_id: device_id.map(str::to_owned) }));
    let headers = ingest_at(door.clock.now());
    match device_id {
        Some(device_id) => vec![door.recorder.keyed(Topic::Raw, device_id, value, headers)],
        None => (0..door.recorder.partitions)
            .map(|partition| NewRecord {
                to: TopicPartition { topic: Topic::Raw, partition },
                key: None,
                value: value.clone(),
                headers: headers.clone(),
            })
            .collect(),
    }
}

async fn write_device(door: &Door, device: Device) -> Result<Response, Problem> {
    let Device { device_id, deleted, .. } = &device;
    let told = serde_json::json!({ "device_id": device_id, "deleted": deleted });
    let device_id = device_id.clone();
    let value = door.recorder.codec.to_bytes(&Raw::Device(device));
    let record = door.recorder.keyed(Topic::Raw, &device_id, value, ingest_at(door.clock.now()));
    door.write(vec![record]).await.map_err(|refused| problem_of(door, &refused))?;
    Ok(json(StatusCode::OK, &told))
}

async fn read_small(door: &Door, body: Body) -> Result<Vec<u8>, Problem> {
    body::read(body, in_memory(door.config.reading_max), door.config.body_timeout)
        .await
        .map_err(|error| body_problem(&error))
}

fn rejected(reject: &Reject) -> Problem {
    let detail = reject.detail.clone();
    Problem::new(StatusCode::BAD_REQUEST, reject.reason.as_str(), "Not acceptable", detail)
}

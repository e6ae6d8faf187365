//! Records as the API's JSON: times in RFC 3339, names as in the topics, absent values as null.

use chassis::clock::rfc3339;
use schemas::record::{Aggregate, Alert, DeviceLatest, Score, ScoreSummary};
use serde_json::{Value, json};
use store::port::DeviceRow;

/// One window row.
pub(crate) fn window(row: &Aggregate) -> Value {
    json!({
        "device_id": row.device_id,
        "metric": row.metric,
        "window": row.window,
        "start": rfc3339(row.start),
        "end": rfc3339(row.end),
        "revision": row.revision,
        "kind": row.kind.as_str(),
        "count": row.count,
        "nulls": row.nulls,
        "sum": row.sum,
        "min": row.min,
        "max": row.max,
        "first": row.first,
        "last": row.last,
        "mean": row.mean,
        "stddev": stddev(row),
        "unit": row.device.as_ref().and_then(|device| device.unit.as_deref()),
        "scores": row.scores.iter().map(summary).collect::<Vec<_>>(),
        "contributed_at": rfc3339(row.contributed_at),
        "generation": row.generation,
    })
}

/// Population standard deviation, from the sum of squared deviations.
#[expect(clippy::cast_precision_loss, reason = "a count, far below 2^53")]
fn stddev(row: &Aggregate) -> Option<f64> {
    row.m2.filter(|_| row.count > 0).map(|m2| (m2 / row.count as f64).max(0.0).sqrt())
}

fn summary(scores: &ScoreSummary) -> Value {
    json!({
        "model": scores.model,
        "count": scores.count,
        "mean": scores.mean,
        "max": scores.max,
        "alerts": scores.alerts,
        "failed": scores.failed,
    })
}

/// One score.
pub(crate) fn score(row: &Score) -> Value {
    json!({
        "device_id": row.device_id,
        "model": row.model,
        "version": row.version,
        "metric": row.metric,
        "event_time": rfc3339(row.event_time),
        "value": row.value,
        "score": row.score,
        "threshold": row.threshold,
        "warm_up": row.warm_up,
        "received_at": rfc3339(row.received_at),
    })
}

/// One alert.
pub(crate) fn alert(row: &Alert) -> Value {
    json!({
        "id": row.id,
        "device_id": row.device_id,
        "kind": row.kind.as_str(),
        "message": row.message,
        "event_time": rfc3339(row.event_time),
        "metric": row.metric,
        "value": row.value,
        "model": row.model,
        "version": row.version,
        "score": row.score,
        "threshold": row.threshold,
        "received_at": rfc3339(row.received_at),
    })
}

/// One device; `latest`: its newest windows, when they were asked for.
pub(crate) fn device(row: &DeviceRow, latest: Option<&[Aggregate]>) -> Value {
    let mut value = json!({
        "device_id": row.device_id,
        "seen_at": row.seen_at.map(rfc3339),
        "alerts": row.alerts,
        "metadata": row.metadata.as_ref().map(metadata),
    });
    if let Some(latest) = latest {
        value["latest"] = latest.iter().map(window).collect();
    }
    value
}

fn metadata(latest: &DeviceLatest) -> Value {
    let device = &latest.device;
    let channels: serde_json::Map<String, Value> = device
        .channels
        .iter()
        .map(|(name, channel)| {
            let value = json!({ "unit": channel.unit, "scale": channel.scale, "offset": channel.offset });
            (name.clone(), value)
        })
        .collect();
    json!({
        "site": device.site,
        "model": device.model,
        "tags": device.tags,
        "channels": channels,
        "received_at": rfc3339(latest.received_at),
    })
}

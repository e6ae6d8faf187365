//! Nested parts of a row as JSON text: the metadata in force, score summaries, a device's metadata. Flat parts
//! are columns of their own.
//!
//! Names here are stored: a change is a new version of the tables.

use schemas::Micros;
use schemas::record::{Channel, Device, DeviceLatest, DeviceSummary, ScoreSummary};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

#[derive(Serialize, Deserialize)]
struct Summary {
    site: Option<String>,
    model: Option<String>,
    unit: Option<String>,
    tags: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
struct Scores {
    model: String,
    count: i64,
    mean: f64,
    max: f64,
    alerts: i64,
    failed: i64,
}

#[derive(Serialize, Deserialize)]
struct StoredChannel {
    unit: Option<String>,
    scale: Option<f64>,
    offset: Option<f64>,
}

#[derive(Serialize, Deserialize)]
struct Metadata {
    deleted: bool,
    site: Option<String>,
    model: Option<String>,
    tags: BTreeMap<String, String>,
    channels: BTreeMap<String, StoredChannel>,
    disorder: Option<Micros>,
    quiet_after: Option<Micros>,
    lateness: Option<Micros>,
    settle: Option<Micros>,
    received_at: Micros,
}

/// JSON text of the metadata in force at a pane's last reading.
pub(crate) fn summary_text(summary: &DeviceSummary) -> serde_json::Result<String> {
    let DeviceSummary { site, model, unit, tags } = summary.clone();
    serde_json::to_string(&Summary { site, model, unit, tags })
}

/// The reverse of [`summary_text`].
pub(crate) fn summary(text: &str) -> serde_json::Result<DeviceSummary> {
    let Summary { site, model, unit, tags } = serde_json::from_str(text)?;
    Ok(DeviceSummary { site, model, unit, tags })
}

/// JSON text of score summaries; none when there are none.
pub(crate) fn scores_text(scores: &[ScoreSummary]) -> serde_json::Result<Option<String>> {
    if scores.is_empty() {
        return Ok(None);
    }
    let stored: Vec<Scores> = scores
        .iter()
        .cloned()
        .map(|ScoreSummary { model, count, mean, max, alerts, failed }| Scores {
            model,
            count,
            mean,
            max,
            alerts,
            failed,
        })
        .collect();
    serde_json::to_string(&stored).map(Some)
}

/// The reverse of [`scores_text`].
pub(crate) fn scores(text: Option<&str>) -> serde_json::Result<Vec<ScoreSummary>> {
    let Some(text) = text else { return Ok(Vec::new()) };
    let stored: Vec<Scores> = serde_json::from_str(text)?;
    let summary = |Scores { model, count, mean, max, alerts, failed }| ScoreSummary {
        model,
        count,
        mean,
        max,
        alerts,
        failed,
    };
    Ok(stored.into_iter().map(summary).collect())
}

/// JSON text of a device's metadata, deletions included; id and write clock are columns.
pub(crate) fn metadata_text(latest: &DeviceLatest) -> serde_json::Result<String> {
    let Device {
        device_id: _,
        deleted,
        site,
        model,
        tags,
        channels,
        disorder,
        quiet_after,
        lateness,
        settle,
    } = latest.device.clone();
    let stored = |Channel { unit, scale, offset }| StoredChannel { unit, scale, offset };
    let channels = channels.into_iter().map(|(name, channel)| (name, stored(channel))).collect();
    let received_at = latest.received_at;
    serde_json::to_string(&Metadata {
        deleted,
        site,
        model,
        tags,
        channels,
        disorder,
        quiet_after,
        lateness,
        settle,
        received_at,
    })
}

/// The reverse of [`metadata_text`].
pub(crate) fn metadata(device_id: &str, write_clock: Micros, text: &str) -> serde_json::Result<DeviceLatest> {
    let Metadata {
        deleted,
        site,
        model,
        tags,
        channels,
        disorder,
        quiet_after,
        lateness,
        settle,
        received_at,
    } = serde_json::from_str(text)?;
    let channel = |StoredChannel { unit, scale, offset }| Channel { unit, scale, offset };
    let channels = channels.into_iter().map(|(name, stored)| (name, channel(stored))).collect();
    let device_id = device_id.to_owned();
    let device =
        Device { device_id, deleted, site, model, tags, channels, disorder, quiet_after, lateness, settle };
    Ok(DeviceLatest { device, received_at, write_clock })
}

//! End-to-end scenarios: the real binary, reached as its users reach it.

#[path = "scenarios/bad_input.rs"]
mod bad_input;
#[path = "scenarios/commands.rs"]
mod commands;
#[path = "scenarios/dead_letters.rs"]
mod dead_letters;
#[path = "scenarios/demo.rs"]
mod demo;
#[path = "scenarios/hot_rooms.rs"]
mod hot_rooms;
#[path = "scenarios/kill.rs"]
mod kill;
#[path = "scenarios/late.rs"]
mod late;
#[path = "scenarios/models.rs"]
mod models;
#[path = "scenarios/nab.rs"]
mod nab;
#[path = "scenarios/rollout.rs"]
mod rollout;
#[path = "scenarios/services.rs"]
mod services;
#[path = "scenarios/shutdown.rs"]
mod shutdown;
#[path = "scenarios/weights.rs"]
mod weights;

use anyhow::{Result, ensure};
use e2e::{Home, WAIT_MAX, eventually};
use loadgen::{Truth, Verification};

/// Waits until the query API serves exactly the truth.
async fn comes_true(truth: &Truth, home: &Home) -> Result<Verification> {
    eventually("the query API serves the truth", WAIT_MAX, async || {
        let found = loadgen::verify(truth, &home.query_url(), None).await?;
        ensure!(found.ok, "{found:?}");
        Ok(found)
    })
    .await
}

/// Epoch microseconds now, on whole milliseconds.
fn now() -> loadgen::Micros {
    jiff::Timestamp::now().as_millisecond() * 1_000
}

/// RFC 3339.
fn rfc3339(at: loadgen::Micros) -> String {
    jiff::Timestamp::from_microsecond(at).map_or_else(|error| error.to_string(), |time| time.to_string())
}

/// Ends every device: what is open is emitted.
async fn end(instance: &e2e::Instance) -> Result<()> {
    instance.post("/ingest/v1/ends", &serde_json::json!({ "device_id": null })).await.map(drop)
}

/// The processor's count of one outcome, or of `received`, over all partitions; the greatest number when the books
/// do not have it.
fn totals(books: &serde_json::Value, outcome: &str) -> u64 {
    let stages = books["stages"].as_array().map(Vec::as_slice).unwrap_or_default();
    let processor = stages.iter().find(|stage| stage["outcomes"]["aggregated"].is_u64());
    let count = processor.and_then(|stage| match outcome {
        "received" => stage[outcome].as_u64(),
        outcome => stage["outcomes"][outcome].as_u64(),
    });
    count.unwrap_or(u64::MAX)
}

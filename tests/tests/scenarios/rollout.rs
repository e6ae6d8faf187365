//! Versions of a model exchanged in a running stream, killed (kill -9) in every stage: a good one comes in, a bad one
//! goes by itself, and every reading is scored once.

use crate::{comes_true, end};
use anyhow::{Context, Result, bail, ensure};
use e2e::{Home, Instance, WAIT_MAX, eventually};
use loadgen::{Fleet, FleetConfig, Load, RunConfig, TruthWindow};
use serde_json::Value;
use std::time::Duration;

const CONFIG: &str = r#"
[[window]]
name = "1s"
kind = "tumbling"
size = "1s"

[time]
disorder = "2s"
settle = "500ms"

[[model]]
name = "heat"
component = "ewma"
each = ["temp"]
threshold = 6.0
settings = { warm-up-rows = 0 }
"#;
const PUSH_MAX: Duration = Duration::from_secs(60);
const GATES: [&str; 12] = [
    "--shadow",
    "1s",
    "--canary",
    "50",
    "--canary-each",
    "1s",
    "--bake",
    "1s",
    "--rows",
    "100",
    "--alerts-free",
    "10",
];

fn push(home: &Home, what: &[&str]) -> Result<()> {
    let url = home.admin_url();
    let args = [&["model", "push", "heat", "--url", &url], what, &GATES].concat();
    let done = home.command(&args, PUSH_MAX)?;
    ensure!(done.code == Some(0), "{done:?}");
    Ok(())
}

/// The rows of the model's versions.
async fn versions(instance: &Instance) -> Result<Vec<Value>> {
    let listed = instance.get("/admin/v1/models").await?;
    Ok(listed["items"].as_array().context("no models")?.clone())
}

async fn reaches(instance: &Instance, role: &str) -> Result<()> {
    eventually(&format!("a version is in {role}"), WAIT_MAX, async || {
        let versions = versions(instance).await?;
        ensure!(versions.iter().any(|version| version["role"] == role), "{versions:?}");
        Ok(())
    })
    .await
}

/// Waits until nothing is on trial; returns the version in force and how the trial ended.
async fn over(instance: &Instance) -> Result<(Value, Value)> {
    let mut last = Value::Null;
    eventually("the trial is over", WAIT_MAX, async || {
        let versions = versions(instance).await?;
        let [only] = &versions[..] else { bail!("{versions:?}") };
        last = only.clone();
        Ok(())
    })
    .await?;
    let ended = last["ended"].clone();
    Ok((last, ended))
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_are_exchanged_while_devices_send_and_processes_die() -> Result<()> {
    let home = Home::new()?.configured(CONFIG)?;
    let mut instance = home.start().await?;
    let mut fleet = FleetConfig { devices: 20, ..FleetConfig::demo(5) };
    fleet.faults.broken_clocks = 0.0;
    let config = RunConfig {
        rate: 300.0,
        duration: Duration::from_hours(1),
        batch: 50,
        patience: Duration::from_mins(2),
        windows: vec![TruthWindow::tumbling("1s", Duration::from_secs(1))],
        ..RunConfig::new(&home.ingest_url())
    };
    let (enough, told) = tokio::sync::oneshot::channel::<()>();
    let load = Load { fleet: Fleet::new(fleet)?, config };
    let sending = tokio::spawn(loadgen::run(load, async { drop(told.await) }));

    push(&home, &["--settings", r#"{"alpha": 0.05, "warm-up-rows": 0}"#])?;
    for stage in ["shadow", "canary 50 %", "bake"] {
        reaches(&instance, stage).await.map_err(|error| error.context(instance.log()))?;
        instance.kill()?;
        instance = home.start().await?;
    }
    let (active, ended) = over(&instance).await?;
    ensure!(active["settings"]["alpha"] == 0.05 && ended["outcome"] == "let-in", "{active}");

    push(
        &home,
        &[
            "--settings",
            r#"{"alpha": 0.5, "warm-up-rows": 0, "trigger": 0.001, "refractory-rows": 0}"#,
            "--threshold",
            "0.001",
        ],
    )?;
    reaches(&instance, "shadow").await?;
    let (active, ended) = over(&instance).await?;
    ensure!(active["settings"]["alpha"] == 0.05 && ended["outcome"] == "rolled-back", "{active}");
    let why = ended["why"].as_str().unwrap_or_default();
    ensure!(why.starts_with("gate alert-ratio-max: "), "{ended}");

    enough.send(()).ok();
    let report = sending.await??;
    ensure!(report.uncertain == 0 && report.rejected_unexpected == 0, "{report}");
    end(&instance).await?;
    let books = instance.settled().await?;
    comes_true(&report.truth, &home).await.map_err(|error| error.context(instance.log()))?;
    ensure!(crate::totals(&books, "aggregated") == report.truth.aggregated, "{books} {report}");
    scored_once(&instance).await?;
    ensure!(instance.stop().await?.success(), "not a clean end");
    Ok(())
}

/// Of every window of `temp`, whatever versions were in force: as many scores as readings.
async fn scored_once(instance: &Instance) -> Result<()> {
    let devices = instance.get("/query/v1/devices?limit=100").await?;
    let mut windows = 0;
    for device in devices["items"].as_array().context("no devices")? {
        let id = device["device_id"].as_str().context("no id")?;
        let path = format!("/query/v1/devices/{id}/windows?metric=temp&window=1s&limit=1000");
        for window in instance.get(&path).await?["items"].as_array().context("no windows")? {
            let scores = window["scores"].as_array().context("no scores")?;
            let count =
                |score: &Value| score["count"].as_i64().unwrap_or(0) + score["failed"].as_i64().unwrap_or(0);
            ensure!(Some(scores.iter().map(count).sum::<i64>()) == window["count"].as_i64(), "{window}");
            windows += 1;
        }
    }
    ensure!(windows > 100, "{windows} windows");
    Ok(())
}

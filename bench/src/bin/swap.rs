//! A model exchanged under load, from push through shadow, canary and bake: readings that no version or two versions
//! scored, and how long a partition committed nothing, with the trial and before it, in one run.
//!
//! `swap [SECONDS] [RATE] [DEVICES]`: a load for so long (60), of so many readings a second (50,000) of so many devices
//! (1,000). The trial begins after a quarter of it. It starts the `highwater` beside it, or the one that
//! `HIGHWATER_BIN` names. The run counts only if every window has as many scores as readings, and the windows all readings.

use anyhow::{Context, Result, ensure};
use bench::alone::{Alone, MODEL, WINDOWS};
use loadgen::{Fleet, FleetConfig, Load, RunConfig, TruthWindow};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

const TRIAL: [&str; 14] = [
    "--settings",
    r#"{"alpha": 0.05}"#,
    "--shadow",
    "3s",
    "--canary",
    "10,50",
    "--canary-each",
    "3s",
    "--bake",
    "3s",
    "--rows",
    "10000",
    "--alerts-free",
    "1000000",
];
const BATCH: usize = 500;
const CONNECTIONS: u32 = 8;
const SETTLE_MAX: Duration = Duration::from_mins(2);
const LOOK_EVERY: Duration = Duration::from_millis(5);
const PAGE: usize = 1_000;

/// Since when each partition has committed nothing, and the longest it took.
#[derive(Default)]
struct Pauses {
    since: BTreeMap<i64, (i64, Instant)>,
    longest: Duration,
}

impl Pauses {
    fn look(&mut self, partitions: &Value) {
        for item in partitions["items"].as_array().into_iter().flatten() {
            let number = |name: &str| item[name].as_i64().unwrap_or(-1);
            let (partition, committed) = (number("partition"), number("committed"));
            let now = Instant::now();
            let last = self.since.entry(partition).or_insert((committed, now));
            self.longest = self.longest.max(now - last.1);
            if last.0 != committed {
                *last = (committed, now);
            }
        }
    }
}

/// Looks for as long as it is wanted.
async fn watched(alone: &Alone, mut until: impl AsyncFnMut() -> Result<bool>) -> Result<Duration> {
    let url = format!("{}/v1/partitions", alone.admin);
    let mut pauses = Pauses::default();
    let mut looks = tokio::time::interval(LOOK_EVERY);
    while !until().await? {
        looks.tick().await;
        pauses.look(&alone.get(&url).await?);
    }
    Ok(pauses.longest)
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::print_stdout, reason = "the result of a benchmark")]
async fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let mut number = |default: u32| {
        args.next().map_or(Ok(default), |text| text.parse()).context("SECONDS, RATE and DEVICES are numbers")
    };
    let (seconds, rate, devices) = (number(60)?, number(50_000)?, number(1_000)?);
    let mut alone = Alone::start(&format!("{WINDOWS}{MODEL}")).await?;
    let config = RunConfig {
        rate: f64::from(rate),
        duration: Duration::from_secs(u64::from(seconds)),
        batch: BATCH,
        connections: CONNECTIONS,
        windows: vec![TruthWindow::tumbling("5s", Duration::from_secs(5))],
        end: true,
        ..RunConfig::new(&alone.ingest)
    };
    let load = Load { fleet: Fleet::new(FleetConfig::telemetry(devices, 1))?, config };
    let sending = tokio::spawn(loadgen::run(load, std::future::pending::<()>()));
    // The first seconds are the start's.
    tokio::time::sleep(Duration::from_secs(u64::from(seconds) / 10)).await;
    let begun = Instant::now();
    let quarter = Duration::from_secs(u64::from(seconds) / 4);
    let before = watched(&alone, async || Ok(begun.elapsed() > quarter)).await?;

    let admin = alone.admin.clone();
    let pushed = alone.command(&[&["model", "push", "ewma", "--url", &admin], &TRIAL[..]].concat())?;
    ensure!(pushed.status.success(), "{}", String::from_utf8_lossy(&pushed.stderr));
    let (models, mut last) = (format!("{admin}/v1/models"), Value::Null);
    let pushed = Instant::now();
    let during = watched(&alone, async || {
        ensure!(!sending.is_finished(), "the trial is not over when the load is: {last}");
        let listed = alone.get(&models).await?;
        last = listed["items"][0].clone();
        let alone_again = listed["items"].as_array().is_some_and(|versions| versions.len() == 1);
        Ok(alone_again && last["ended"] != Value::Null)
    })
    .await?;
    let took = pushed.elapsed();
    ensure!(last["settings"]["alpha"] == 0.05 && last["ended"]["outcome"] == "let-in", "{last}");
    let report = sending.await??;
    ensure!(report.uncertain == 0 && report.rejected_unexpected == 0, "{report}");
    alone.settled(SETTLE_MAX).await?;
    let Scored { windows, readings, missing, doubled } = scored(&alone).await?;
    println!("{} readings, {:.0} a second, of {devices} devices", report.acknowledged, report.achieved_rate);
    println!("{windows} windows with {readings} readings: {missing} not scored, {doubled} scored twice");
    println!("the trial, from push to the end of bake: {took:.1?}");
    println!("longest without a commit, any partition: {before:.0?} before it, {during:.0?} in it");
    ensure!(missing == 0 && doubled == 0, "scores are missing or doubled");
    ensure!(readings == i64::try_from(report.acknowledged)?, "not every reading is in a window");
    Ok(())
}

#[derive(Default)]
struct Scored {
    windows: usize,
    readings: i64,
    missing: i64,
    doubled: i64,
}

/// Of every window: how many readings, and how many scores of whichever versions.
async fn scored(alone: &Alone) -> Result<Scored> {
    let (mut found, mut after) = (Scored::default(), String::new());
    loop {
        let page = alone.get(&format!("{}/v1/devices?limit={PAGE}{after}", alone.query)).await?;
        for device in page["items"].as_array().context("no devices")? {
            let id = device["device_id"].as_str().context("no id")?;
            let path = format!("v1/devices/{id}/windows?metric=temperature&window=5s&limit={PAGE}");
            let windows = alone.get(&format!("{}/{path}", alone.query)).await?;
            for window in windows["items"].as_array().context("no windows")? {
                let readings = window["count"].as_i64().context("no count")?;
                let count = |score: &Value| {
                    score["count"].as_i64().unwrap_or(0) + score["failed"].as_i64().unwrap_or(0)
                };
                let scores: i64 = window["scores"].as_array().into_iter().flatten().map(count).sum();
                found.windows += 1;
                found.readings += readings;
                found.missing += (readings - scores).max(0);
                found.doubled += (scores - readings).max(0);
            }
        }
        let Some(next) = page["next"].as_str() else { return Ok(found) };
        after = format!("&cursor={next}");
    }
}

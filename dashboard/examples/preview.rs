//! The page over made-up data, for working on it: `cargo run -p dashboard --example preview [ADDRESS]`.
//!
//! Sixty devices with two days of windows in a store of its own, a new window and now and then an alert every
//! second. Books, backlog and models are samples of the shapes that [`dashboard::LiveView`] describes.

use chassis::admin::Readiness;
use chassis::auth::Keys;
use chassis::clock::{Clock, rfc3339};
use chassis::shutdown::Shutdown;
use chassis::supervise::Supervisor;
use dashboard::live::Unavailable;
use dashboard::{DashboardConfig, DashboardDeps, LiveView, RawDashboard};
use schemas::record::{
    Aggregate, Alert, AlertKind, Channel, Device, DeviceLatest, DeviceSummary, EmissionKind, ScoreSummary,
};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use store::feed::Feed;
use store::port::{Store, Write};
use store::sqlite::{SqliteOptions, SqliteStore};

const MINUTE: i64 = 60_000_000;
const DEVICES: i64 = 60;

type AnyError = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), AnyError> {
    let raw = RawDashboard { listen: std::env::args().nth(1), ..RawDashboard::default() };
    let config: DashboardConfig = raw.resolve("dashboard", &mut chassis::config::Problems::default());
    let folder = tempfile::tempdir()?;
    let store = Arc::new(SqliteStore::open(&folder.path().join("store.db"), SqliteOptions::default())?);
    let clock = Clock::system();
    let feed = Feed::default();
    fill(&*store, clock.now())?;
    let supervisor = Supervisor::new(Shutdown::new());
    tokio::spawn(supervisor.shutdown().clone().watch_signals());
    let deps = DashboardDeps {
        store: Arc::clone(&store) as Arc<dyn Store>,
        live: Arc::new(Sample { received: AtomicI64::new(1_204_233), clock: clock.clone() }),
        feed: Some(feed.clone()),
        keys: Arc::new(Keys::none()),
        supervisor: supervisor.clone(),
        readiness: Readiness::new(),
        clock: clock.clone(),
    };
    let handle = dashboard::start(deps, config).await?;
    println!("http://{}/", handle.address);
    let stop = supervisor.shutdown().clone();
    supervisor.task("news", async move {
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        let mut round = 0;
        while !stop.begun() {
            tick.tick().await;
            round += 1;
            let writes = news(round, clock.now());
            store.write(&writes)?;
            feed.tell(&writes);
        }
        Ok(())
    });
    Ok(supervisor.join(Duration::from_secs(5)).await?)
}

fn id(device: i64) -> String {
    format!(
        "press-{:02}.{}",
        device / 3 + 1,
        ["inlet", "drum", "outlet"][usize::try_from(device % 3).unwrap_or(0)]
    )
}

/// A slow wave, a fast one, and something that looks like noise.
#[expect(clippy::cast_precision_loss, reason = "made-up data")]
fn temperature(device: i64, minute: i64) -> f64 {
    let day = (minute % 1_440) as f64 / 1_440.0 * std::f64::consts::TAU;
    let jitter = ((minute * 7_919 + device * 104_729) % 1_000) as f64 / 1_000.0 - 0.5;
    21.0 + device as f64 * 0.15 + 4.0 * day.sin() + 0.8 * (day * 19.0).sin() + jitter
}

fn window(device: i64, metric: &str, unit: &str, start: i64, mean: f64, clock: i64, odd: bool) -> Aggregate {
    let score = if odd { 0.97 } else { (mean * 7.0).fract().abs() * 0.5 };
    Aggregate {
        device_id: id(device),
        metric: metric.to_owned(),
        window: "1m".to_owned(),
        start,
        end: start + MINUTE,
        revision: 1,
        kind: EmissionKind::OnTime,
        newest: true,
        count: 60,
        nulls: 0,
        sum: Some(mean * 60.0),
        min: Some(mean - 0.7),
        max: Some(mean + if odd { 9.0 } else { 0.9 }),
        first: Some(mean - 0.1),
        last: Some(mean + 0.1),
        mean: Some(mean),
        m2: Some(12.0),
        merged_into: None,
        device: Some(DeviceSummary { unit: Some(unit.to_owned()), ..DeviceSummary::default() }),
        scores: vec![ScoreSummary {
            model: "ewma".to_owned(),
            count: 60,
            mean: score / 2.0,
            max: score,
            alerts: i64::from(odd),
            failed: 0,
        }],
        contributed_at: start + MINUTE,
        generation: 3,
        write_clock: clock,
    }
}

fn alert(device: i64, number: i64, at: i64, kind: AlertKind, clock: i64) -> Alert {
    let (message, scored) = match kind {
        AlertKind::Score => ("temp 30.4 °C scored 0.97, over the threshold of 0.9", true),
        AlertKind::Stalled => ("no reading for 2 min; the last came from the floor gateway", false),
        AlertKind::Clock => ("the clock is 7 min ahead of receipt", false),
    };
    Alert {
        device_id: id(device),
        id: format!("{}-{number}-0", device % 4),
        kind,
        message: message.to_owned(),
        event_time: at,
        metric: scored.then(|| "temp".to_owned()),
        value: scored.then_some(30.4),
        model: scored.then(|| "ewma".to_owned()),
        version: scored.then(|| "5d41402abc4b2a76b9719d911017c592".to_owned()),
        score: scored.then_some(0.97),
        threshold: scored.then_some(0.9),
        feature: None,
        expected_low: None,
        expected_high: None,
        window: None,
        window_end: None,
        received_at: at + 400_000,
        generation: 3,
        write_clock: clock,
    }
}

fn fill(store: &dyn Store, now: i64) -> Result<(), AnyError> {
    let this_minute = now / MINUTE;
    for device in 0..DEVICES {
        let channel = Channel { unit: Some("°C".to_owned()), ..Channel::default() };
        let mut writes = vec![Write::Device(DeviceLatest {
            device: Device {
                device_id: id(device),
                site: Some(format!("Hall {}", device / 15 + 1)),
                model: Some("Heidelberg XL 106".to_owned()),
                tags: [("line".to_owned(), (device % 5).to_string())].into(),
                channels: [("temp".to_owned(), channel)].into(),
                ..Device::default()
            },
            received_at: now,
            write_clock: now,
        })];
        // A few devices have the two days, the others an hour, so that this starts quickly.
        let minutes = if device < 4 { 2_880 } else { 60 };
        for minute in (this_minute - minutes)..this_minute {
            let (start, odd) = (minute * MINUTE, (minute + device * 31) % 397 == 0);
            if device == 1 && (minute / 40) % 9 == 0 {
                continue;
            }
            writes.push(Write::Aggregate(window(
                device,
                "temp",
                "°C",
                start,
                temperature(device, minute),
                start,
                odd,
            )));
            let humidity = 60.0 - temperature(device, minute) * 0.4;
            writes.push(Write::Aggregate(window(device, "humidity", "%", start, humidity, start, false)));
            if odd {
                writes.push(Write::Alert(alert(device, minute, start + 31_000_000, AlertKind::Score, start)));
            }
        }
        if device % 17 == 3 {
            writes.push(Write::Alert(alert(device, 7, now - device * MINUTE, AlertKind::Stalled, now)));
            writes.push(Write::Alert(alert(device, 8, now - device * 2 * MINUTE, AlertKind::Clock, now)));
        }
        store.write(&writes)?;
    }
    Ok(())
}

fn news(round: i64, now: i64) -> Vec<Write> {
    let device = round % DEVICES;
    let start = now / MINUTE * MINUTE;
    let mean = temperature(device, now / MINUTE);
    let mut writes = vec![Write::Aggregate(window(device, "temp", "°C", start, mean, now, false))];
    if round % 7 == 0 {
        writes.push(Write::Alert(alert(device, 1_000_000 + round, now, AlertKind::Score, now)));
    }
    writes
}

struct Sample {
    received: AtomicI64,
    clock: Clock,
}

impl LiveView for Sample {
    fn books(&self) -> Result<Value, Unavailable> {
        let received = self.received.fetch_add(180, Ordering::Relaxed);
        let (rejected, late, duplicate, filtered, flying) = (41, 212, 1_377, 9_001, 46);
        let aggregated = received - rejected - late - duplicate - filtered - flying;
        let partitions: Vec<Value> = (0..4)
            .map(|partition| {
                json!({ "partition": format!("iot.raw/{partition}"), "balanced": true, "received": received / 4, "in_flight": 11,
                "outcomes": { "aggregated": aggregated / 4, "late": late / 4, "duplicate": duplicate / 4 } })
            })
            .collect();
        Ok(json!({ "balanced": true, "stages": [
            { "stage": "ingest", "unit": "readings since start", "balanced": true, "received": received + 77, "in_flight": 3, "difference": 0,
              "outcomes": { "accepted": received, "rejected": 74 } },
            { "stage": "processor", "balanced": true, "received": received, "in_flight": flying, "difference": 0,
              "outcomes": { "aggregated": aggregated, "filtered": filtered, "duplicate": duplicate, "late": late,
                "rejected": rejected }, "besides": { "late-partial": 17 }, "partitions": partitions },
            { "stage": "sink", "unit": "records", "balanced": true, "received": 88_204, "in_flight": 0, "difference": 0,
              "outcomes": { "written": 88_204, "dead-lettered": 0 } },
        ] }))
    }

    fn lag(&self) -> Result<Value, Unavailable> {
        let lines: Vec<Value> = (0..4)
            .map(|partition| {
                let behind = partition == 2;
                json!({ "group": "highwater-processor", "topic": "iot.raw", "partition": partition,
                    "state": if behind { "draining" } else { "ok" }, "lag_records": if behind { 48_210 } else { 12 },
                    "lag_seconds": if behind { 95.2 } else { 0.04 }, "arrival_rate": 251.3,
                    "service_rate": if behind { 1_840.0 } else { 251.3 } })
            })
            .collect();
        Ok(
            json!({ "sentence": "highwater-processor on iot.raw: draining, 48210 records unread, the oldest 95.2 s old.",
            "state": "draining", "groups": [{ "group": "highwater-processor", "lag_records": 48_246 }], "partitions": lines }),
        )
    }

    fn device_state(&self, device_id: &str) -> Result<Option<Value>, Unavailable> {
        let now = self.clock.now();
        let start = now / MINUTE * MINUTE;
        let pane = |back: i64, phase: &str, why: &str| {
            json!({ "start": rfc3339(start - back * MINUTE), "end": rfc3339(start - (back - 1) * MINUTE),
                "readings": 31, "phase": phase, "why": why })
        };
        let panes = [
            pane(0, "live", "the watermark has not reached its end"),
            pane(1, "emitted", "published; it still takes late readings until its lateness is over"),
        ];
        Ok(Some(json!({ "device_id": device_id, "partition": 2, "clock": rfc3339(now - 900_000),
            "last_receipt": rfc3339(now - 500_000), "generation": 3,
            "windows": [{ "window": "1m", "watermark": rfc3339(now - 10_900_000), "panes": panes }] })))
    }

    fn models(&self) -> Result<Value, Unavailable> {
        Ok(json!({ "items": [{ "name": "ewma", "role": "active", "threshold": 0.9, "inputs": { "each": [] },
            "component": "5d41402abc4b2a76b9719d911017c5925d41402abc4b2a76b9719d911017c592" }] }))
    }
}

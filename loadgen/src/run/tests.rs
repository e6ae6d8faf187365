//! Against a door that behaves, one that is busy, and one that dies.

use super::*;
use crate::profile::FleetConfig;
use crate::truth::{Series, TruthWindow};
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

#[derive(Default)]
struct Door {
    lines: Vec<String>,
    requests: u64,
    ends: u64,
    /// Answers 503 to so many requests first.
    busy: u64,
    /// Answers 503 but keeps the readings: the acknowledgement that got lost.
    forgetful: bool,
}

type Shared = Arc<Mutex<Door>>;

async fn readings(State(door): State<Shared>, body: String) -> Response {
    let mut door = door.lock().unwrap();
    door.requests += 1;
    let busy = door.busy > 0;
    if busy {
        door.busy -= 1;
        if !door.forgetful {
            return (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "0")], "busy").into_response();
        }
    }
    let mut rejected = Vec::new();
    for (index, line) in body.lines().enumerate() {
        let reading: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
        let fine = reading["device_id"].as_str().is_some_and(|id| !id.contains(' '))
            && reading["ts"] != "yesterday"
            && reading["temp"].is_number()
            && reading["seq"].is_i64();
        if fine {
            door.lines.push(line.to_owned());
        } else {
            rejected.push(serde_json::json!({"index": index, "reason": "malformed-json", "detail": ""}));
        }
    }
    if busy {
        return (StatusCode::SERVICE_UNAVAILABLE, "gone").into_response();
    }
    let accepted = body.lines().count() - rejected.len();
    axum::Json(serde_json::json!({"accepted": accepted, "rejected": rejected})).into_response()
}

async fn serve(door: Door) -> (String, Shared) {
    let door = Arc::new(Mutex::new(door));
    let app = Router::new()
        .route("/v1/readings", post(readings))
        .route("/v1/ends", post(|State(door): State<Shared>| async move { door.lock().unwrap().ends += 1 }))
        .with_state(Arc::clone(&door));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    (url, door)
}

fn load(url: &str, fleet: FleetConfig, rate: f64, millis: u64) -> Load {
    let config = RunConfig {
        rate,
        duration: Duration::from_millis(millis),
        patience: Duration::from_secs(5),
        windows: vec![TruthWindow::tumbling("1s", Duration::from_secs(1))],
        end: true,
        ..RunConfig::new(url)
    };
    Load { fleet: Fleet::new(fleet).unwrap(), config }
}

fn honest(devices: u32) -> FleetConfig {
    FleetConfig { devices, ..FleetConfig::default() }
}

/// The same windows, from the lines that the door has kept: each identity once.
fn windows_of(lines: &[String]) -> BTreeMap<(String, i64), (u64, f64)> {
    let mut seen = BTreeSet::new();
    let mut windows: BTreeMap<(String, i64), (u64, f64)> = BTreeMap::new();
    for line in lines {
        let reading: serde_json::Value = serde_json::from_str(line).unwrap();
        let device = reading["device_id"].as_str().unwrap().to_owned();
        if !seen.insert((device.clone(), reading["seq"].as_i64().unwrap())) {
            continue;
        }
        let time = match &reading["ts"] {
            serde_json::Value::String(text) => text.parse::<jiff::Timestamp>().unwrap().as_microsecond(),
            number if number.as_i64() < Some(100_000_000_000_000) => number.as_i64().unwrap() * 1_000,
            number => number.as_i64().unwrap(),
        };
        if time > now_micros() + 600_000_000 {
            continue;
        }
        let window = windows.entry((device, time.div_euclid(1_000_000))).or_insert((0, f64::NEG_INFINITY));
        *window = (window.0 + 1, window.1.max(reading["temp"].as_f64().unwrap()));
    }
    windows
}

fn check_truth(report: &Report, lines: &[String]) {
    let kept = windows_of(lines);
    let mut expected = 0;
    for (Series { device_id, metric, .. }, windows) in &report.truth.expected {
        for (start, window) in windows.iter().filter(|_| metric == "temp") {
            expected += 1;
            let (count, max) = kept[&(device_id.clone(), start / 1_000_000)];
            assert_eq!((window.count, window.max), (count, max), "{device_id} {start}");
        }
    }
    assert_eq!(kept.len(), expected);
}

#[tokio::test]
async fn a_faulty_fleet_and_its_truth_agree_with_what_arrived() {
    let (url, door) = serve(Door::default()).await;
    let mut config = FleetConfig::demo(4);
    config.faults.garbled = 0.02;
    config.faults.offline_after = Duration::from_millis(300);
    config.faults.offline_for = Duration::from_millis(500);
    let report = run(load(&url, config, 1_000.0, 1_500), std::future::pending()).await.unwrap();
    let door = door.lock().unwrap();
    assert_eq!(report.problems, Vec::<String>::new());
    assert_eq!(report.acknowledged, door.lines.len() as u64);
    assert_eq!(report.sent, report.acknowledged + report.rejected_expected);
    assert!(report.rejected_expected > 5 && report.truth.duplicates > 3 && report.truth.clock_ahead > 10);
    assert_eq!(
        report.acknowledged,
        report.truth.aggregated + report.truth.duplicates + report.truth.clock_ahead
    );
    assert_eq!((report.retries, report.uncertain, report.rejected_unexpected, door.ends), (0, 0, 0, 1));
    check_truth(&report, &door.lines);
    let broken = report.truth.expected.values().filter(|windows| windows.is_empty()).count();
    assert!(broken >= 2, "the series of the broken clocks must be known as empty");
}

#[tokio::test]
async fn a_busy_door_gets_the_same_readings_again_and_latency_counts_from_the_schedule() {
    let (url, door) = serve(Door { busy: 6, ..Door::default() }).await;
    let report = run(load(&url, honest(10), 500.0, 600), std::future::pending()).await.unwrap();
    let door = door.lock().unwrap();
    assert_eq!((report.acknowledged, door.lines.len()), (300, 300));
    assert_eq!(report.retries, 6);
    assert_eq!(report.latency.count, 300);
    assert!(report.latency.max_ms >= report.latency.p50_ms && report.latency.p50_ms > 0.0);
    check_truth(&report, &door.lines);
}

#[tokio::test]
async fn a_lost_acknowledgement_makes_copies_that_are_told_by_their_numbers() {
    let (url, door) = serve(Door { busy: 3, forgetful: true, ..Door::default() }).await;
    let report = run(load(&url, honest(4), 200.0, 500), std::future::pending()).await.unwrap();
    let door = door.lock().unwrap();
    assert_eq!(report.acknowledged, 100);
    assert!(door.lines.len() > 100, "some readings are there twice");
    check_truth(&report, &door.lines);
}

#[tokio::test]
async fn without_an_answer_readings_are_uncertain() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let mut load = load(&url, honest(2), 100.0, 200);
    load.config.patience = Duration::from_millis(100);
    let report = run(load, std::future::pending()).await.unwrap();
    assert_eq!((report.acknowledged, report.truth.aggregated), (0, 0));
    assert!(report.uncertain > 0 && report.uncertain == report.sent);
    assert_eq!(report.truth.uncertain, report.uncertain);
    assert!(!report.problems.is_empty());
}

#[tokio::test]
async fn shutdown_ends_a_long_load_with_everything_answered() {
    let (url, door) = serve(Door::default()).await;
    let progress = Arc::new(Progress::default());
    let mut load = load(&url, honest(10), 1_000.0, 3_600_000);
    load.config.progress = Some(Arc::clone(&progress));
    let enough = async {
        while progress.acknowledged.load(std::sync::atomic::Ordering::Relaxed) < 100 {
            tokio::task::yield_now().await;
        }
    };
    let report = tokio::time::timeout(Duration::from_secs(20), run(load, enough)).await.unwrap().unwrap();
    assert_eq!(report.sent, report.acknowledged);
    assert_eq!(report.acknowledged, door.lock().unwrap().lines.len() as u64);
    assert_eq!(report.acknowledged, progress.acknowledged.load(std::sync::atomic::Ordering::Relaxed));
}

#[tokio::test]
async fn an_impossible_load_is_refused() {
    let mut zero = load("http://127.0.0.1:9", honest(1), 1.0, 1);
    zero.config.batch = 0;
    assert!(matches!(run(zero, std::future::pending()).await, Err(RunError::Zero("batch"))));
    let rate = load("http://127.0.0.1:9", honest(1), f64::NAN, 1);
    assert!(matches!(run(rate, std::future::pending()).await, Err(RunError::Fleet(FleetError::Rate))));
}

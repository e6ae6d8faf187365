//! The comparison finds what is wrong, and only that.

use super::*;
use axum::extract::{Path, Query, State};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

const SECOND: Micros = 1_000_000;

fn truth() -> Truth {
    let mut truth =
        Truth::new(vec![TruthWindow::tumbling("1s", Duration::from_secs(1))], vec!["temp".into()]);
    for n in 0..25 {
        truth.add("a", "temp", n * SECOND / 10, 20.0 + n as f64 / 8.0);
    }
    truth
}

/// What a server without faults answers about [`truth`], newest first.
fn rows() -> Vec<Value> {
    let row = |start: Micros, from: u32, to: u32| {
        let values: Vec<f64> = (from..to).map(|n| 20.0 + f64::from(n) / 8.0).collect();
        let mean = values.iter().sum::<f64>() / f64::from(to - from);
        json!({"start": rfc3339(start), "end": rfc3339(start + SECOND), "count": values.len(), "revision": 1,
            "min": values.first(), "max": values.last(), "mean": mean})
    };
    vec![row(2 * SECOND, 20, 25), row(SECOND, 10, 20), row(0, 0, 10)]
}

async fn check(truth: &Truth, rows: Vec<Value>) -> Verification {
    async fn windows(
        State(rows): State<Arc<Vec<Value>>>,
        Path(device): Path<String>,
        Query(query): Query<std::collections::HashMap<String, String>>,
    ) -> Json<Value> {
        assert_eq!(
            (device.as_str(), query["metric"].as_str(), query["window"].as_str()),
            ("a", "temp", "1s")
        );
        // Pages of two, however many are asked for.
        let from: usize = query.get("cursor").map_or(0, |cursor| cursor.parse().unwrap());
        let items: Vec<Value> = rows.iter().skip(from).take(2).cloned().collect();
        let next = (from + 2 < rows.len()).then(|| (from + 2).to_string());
        Json(json!({"items": items, "next": next}))
    }
    async fn alerts(Query(query): Query<std::collections::HashMap<String, String>>) -> Json<Value> {
        assert_eq!(query["device"], "a");
        let alert = |kind: &str, at| json!({"kind": kind, "event_time": rfc3339(at)});
        Json(json!({"items": [alert("stalled", 9 * SECOND), alert("score", SECOND)], "next": null}))
    }
    let app = Router::new()
        .route("/v1/devices/{id}/windows", get(windows))
        .route("/v1/alerts", get(alerts))
        .with_state(Arc::new(rows));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    verify(truth, &url, None).await.unwrap()
}

async fn first_difference(truth: &Truth, rows: Vec<Value>) -> String {
    let found = check(truth, rows).await;
    assert!(!found.ok && found.different > 0, "{found:?}");
    found.differences[0].what.clone()
}

#[tokio::test]
async fn the_truth_is_true() {
    let found = check(&truth(), rows()).await;
    assert!(found.ok, "{found:?}");
    assert_eq!((found.series_checked, found.windows_checked), (1, 3));
}

#[tokio::test]
async fn every_kind_of_error_is_found() {
    let truth = truth();
    let mut missing = rows();
    missing.remove(1);
    assert_eq!(first_difference(&truth, missing).await, "missing, with 10 readings");

    let mut doubled = rows();
    doubled.insert(1, doubled[1].clone());
    let found = check(&truth, doubled).await;
    assert!(found.differences.iter().any(|difference| difference.what == "there twice"), "{found:?}");

    let mut extra = rows();
    extra.insert(0, json!({"start": rfc3339(7_200 * SECOND), "end": rfc3339(7_201 * SECOND), "count": 1}));
    assert_eq!(first_difference(&truth, extra).await, "not expected, but there with 1 readings");

    for (field, value, what) in [
        ("count", json!(9), "count 9, expected 10"),
        ("count", json!(11), "count 11, expected 10"),
        ("min", json!(21.250_000_000_000_004), "21.250000000000004 to 22.375, expected 21.25 to 22.375"),
        ("max", json!(22.375_000_000_000_004), "21.25 to 22.375000000000004, expected 21.25 to 22.375"),
        ("mean", json!(21.812_501), "mean 21.812501, expected 21.8125"),
        ("max", json!(null), "no min, max or mean"),
        ("end", json!(rfc3339(3 * SECOND)), "ends at 1970-01-01T00:00:03Z"),
    ] {
        let mut wrong = rows();
        wrong[1][field] = value;
        assert_eq!(first_difference(&truth, wrong).await, what);
    }

    let mut shuffled = rows();
    shuffled.swap(0, 1);
    assert_eq!(first_difference(&truth, shuffled).await, "not newest first");
}

#[tokio::test]
async fn doubts_allow_for_more_but_never_for_less() {
    let mut truth = truth();
    let series = Series { device_id: "a".into(), metric: "temp".into(), window: "1s".into() };
    truth.expected.get_mut(&series).unwrap().get_mut(&SECOND).unwrap().uncertain = 2;
    assert!(check(&truth, rows()).await.ok);
    let mut more = rows();
    more[1]["count"] = json!(12);
    more[1]["max"] = json!(99.0);
    assert!(check(&truth, more.clone()).await.ok);
    more[1]["count"] = json!(13);
    assert_eq!(first_difference(&truth, more.clone()).await, "count 13, expected 10 to 12");
    more[1]["count"] = json!(9);
    assert_eq!(first_difference(&truth, more).await, "count 9, expected 10 to 12");
}

#[tokio::test]
async fn differences_are_counted_all_and_kept_in_bounds() {
    let row = |at: i64| json!({"start": rfc3339(at * SECOND), "end": rfc3339((at + 1) * SECOND), "count": 1});
    let extra = (7_200..7_300).rev().map(row);
    let found = check(&truth(), extra.chain(rows()).collect()).await;
    assert_eq!((found.different, found.differences.len()), (100, DIFFERENCES_MAX));
}

#[tokio::test]
async fn a_series_that_must_be_empty_is_looked_at() {
    let mut truth = truth();
    truth.expected.clear();
    let series = Series { device_id: "a".into(), metric: "temp".into(), window: "1s".into() };
    truth.expected.insert(series, WindowsOf::new());
    let found = check(&truth, rows()).await;
    assert_eq!((found.ok, found.different), (false, 3));
}

#[tokio::test]
async fn spikes_with_an_alert_of_a_model_are_counted() {
    let mut truth = truth();
    for (kind, from) in
        [(AnomalyKind::Spike, SECOND), (AnomalyKind::Spike, 9 * SECOND), (AnomalyKind::Stuck, SECOND)]
    {
        let (device_id, metric) = ("a".into(), "temp".into());
        truth.anomalies.push(Anomaly { device_id, metric, kind, from, to: from + SECOND / 10 });
    }
    let found = check(&truth, rows()).await;
    assert!(found.ok);
    assert_eq!((found.spikes, found.spikes_alerted), (2, 1));
}

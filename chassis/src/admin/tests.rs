//! The admin address over real HTTP.

use super::*;
use crate::auth::{RawAuth, RawKey, hash_of};
use crate::config::Problems;
use crate::metrics;
use axum::routing::post;
use serde_json::Value;
use std::net::SocketAddr;

const IDENTITY: Identity = Identity { name: "ingest", version: "1.2.3", build: "abc", tls: false };

struct Running {
    url: String,
    readiness: Readiness,
    shutdown: Shutdown,
    server: tokio::task::JoinHandle<Result<(), BoxError>>,
}

async fn start() -> Running {
    let raw = RawKey { name: Some("root".to_owned()), roles: vec![Role::Admin], hash: Some(hash_of("open")) };
    let keys = RawAuth { key: vec![raw], insecure: None }.resolve("auth", &mut Problems::default());
    let (readiness, shutdown) = (Readiness::new(), Shutdown::new());
    // One recorder a process: the tests of `metrics` install the same.
    let metrics = metrics::install("ingest", "1.2.3").unwrap();
    let admin = Admin::new(IDENTITY, readiness.clone(), metrics, Arc::new(keys), shutdown.clone())
        .merge(Router::new().route("/v1/models", post(async || "pushed")))
        .merge(Router::new().route("/v1/config", post(async || "applied")));
    let listener = crate::server::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(admin.serve(listener, ServerLimits::default()));
    Running { url, readiness, shutdown, server }
}

fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().unwrap()
}

async fn get_json(url: String) -> (u16, Value) {
    let response = client().get(url).send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

#[tokio::test]
async fn health_readiness_and_metrics_need_no_key_and_the_rest_needs_the_role() {
    let running = start().await;
    let url = &running.url;
    let (code, health) = get_json(format!("{url}/healthz")).await;
    assert_eq!(
        (code, health),
        (200, serde_json::json!({"name": "ingest", "version": "1.2.3", "build": "abc", "tls": false}))
    );
    let metrics = client().get(format!("{url}/metrics")).send().await.unwrap().text().await.unwrap();
    assert!(
        metrics.contains("highwater_http_requests_total{service=\"ingest\",version=\"1.2.3\""),
        "{metrics}"
    );

    let client = client();
    for path in ["/v1/models", "/v1/config"] {
        let refused = client.post(format!("{url}{path}")).send().await.unwrap();
        assert_eq!(refused.status(), 401);
        assert_eq!(refused.headers()["content-type"], "application/problem+json");
        let let_in = client.post(format!("{url}{path}")).bearer_auth("open").send().await.unwrap();
        assert_eq!(let_in.status(), 200);
    }
    let (code, problem) = get_json(format!("{url}/nowhere")).await;
    assert_eq!((code, problem["type"].as_str()), (404, Some("urn:highwater:problem:not-found")));
    let wrong = client.get(format!("{url}/v1/models")).send().await.unwrap();
    assert_eq!(wrong.status(), 405);
}

#[tokio::test]
async fn readiness_says_what_is_missing_and_a_drain_can_be_watched() {
    let running = start().await;
    let url = format!("{}/readyz", running.url);
    running.readiness.missing("journal", "opening the file");
    running.readiness.missing("store", "connecting");
    running.readiness.ready("store");
    let (code, body) = get_json(url.clone()).await;
    assert_eq!(
        (code, body),
        (503, serde_json::json!({"ready": false, "missing": {"journal": "opening the file"}}))
    );
    running.readiness.ready("journal");
    assert_eq!(get_json(url.clone()).await.0, 200);

    let draining = running.shutdown.hold(Phase::Drain, "queue");
    running.shutdown.begin("asked");
    let (code, body) = get_json(url).await;
    assert_eq!((code, body["missing"]["shutdown"].as_str()), (503, Some("shutting down, phase Drain")));
    drop(draining);
    running.server.await.unwrap().unwrap();
    assert_eq!(running.shutdown.phase(), Phase::Closed);
}

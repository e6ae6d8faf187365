//! Component tests: the real router over real HTTP, with a real store in a folder of its own.

mod bench;
mod openapi;
mod page;
mod stream;

use bench::{Answers, Bench, KEY, options};
use serde_json::{Value, json};
use std::time::Duration;
use store::conformance::{aggregate, alert, device, retraction, score};
use store::port::Write;

const MINUTE: i64 = 60_000_000;

fn items(answer: &Value) -> Vec<&Value> {
    answer["items"].as_array().unwrap().iter().collect()
}

#[tokio::test]
async fn a_series_pages_newest_first_within_its_span() {
    let bench = Bench::start(options()).await;
    let rows: Vec<Write> =
        (0..25).map(|i| Write::Aggregate(aggregate("d/ö", i * MINUTE, 1, 100 + i))).collect();
    bench.write(&rows);
    bench.write(&[Write::Aggregate(retraction("d/ö", 24 * MINUTE, 0, 900))]);
    let mut found = Vec::new();
    let mut cursor = String::new();
    loop {
        let path = format!(
            "/v1/devices/d%2F%C3%B6/windows?metric=temp&window=1m&from=1970-01-01T00:02:00Z\
             &to=1970-01-01T00:30:00%2B00:00&limit=4&cursor={cursor}"
        );
        let page = bench.get(&path).await;
        found.extend(items(&page).iter().map(|row| row["start"].as_str().unwrap().to_owned()));
        let Some(next) = page["next"].as_str() else { break };
        assert_eq!(items(&page).len(), 4);
        cursor = next.to_owned();
    }
    let expected: Vec<String> =
        (2..24).rev().map(|minute| format!("1970-01-01T00:{minute:02}:00Z")).collect();
    assert_eq!(found, expected, "24 was retracted; 0 and 1 lie before the span");
}

#[tokio::test]
async fn a_row_has_its_figures_and_times() {
    let bench = Bench::start(options()).await;
    bench.write(&[
        Write::Aggregate(aggregate("d", MINUTE, 2, 1_000_001)),
        Write::Alert(alert("d", "0-1-0", 5, 9)),
    ]);
    let answer = bench.get("/v1/devices/d/windows?metric=temp&window=1m").await;
    let row = &answer["items"][0];
    assert_eq!(row["start"], "1970-01-01T00:01:00Z");
    assert_eq!(row["contributed_at"], "1970-01-01T00:00:01Z");
    assert_eq!((&row["revision"], &row["kind"], &row["unit"]), (&json!(2), &json!("on-time"), &json!("°C")));
    assert_eq!((&row["count"], &row["sum"], &row["last"]), (&json!(3), &json!(2.5), &json!(1e-300)));
    assert_eq!(row["scores"][0]["model"], "zscore");
    let device = bench.get("/v1/devices/d").await;
    assert_eq!(
        (&device["alerts"], &device["latest"][0], &device["metadata"]),
        (&json!(1), row, &Value::Null)
    );
    assert_eq!(
        bench.get("/v1/alerts?device=d").await["items"][0]["event_time"],
        "1970-01-01T00:00:00.000005Z"
    );
}

#[tokio::test]
async fn devices_are_listed_searched_and_paged() {
    let bench = Bench::start(options()).await;
    let rows: Vec<Write> = (0..30)
        .map(|i| {
            let mut latest = device(&format!("press-{i:02}"), false, 100 + i);
            latest.device.site = Some(if i % 3 == 0 { "Halle Süd" } else { "North" }.to_owned());
            Write::Device(latest)
        })
        .collect();
    bench.write(&rows);
    bench.write(&[Write::Aggregate(aggregate("press-03", 0, 1, 500))]);
    let all = bench.get("/v1/devices?limit=7").await;
    assert_eq!((items(&all).len(), &all["total"]), (7, &json!(30)));
    assert!(all["items"][0].get("latest").is_none());
    let mut found = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = bench.get(&format!("/v1/devices?q=s%C3%9Cd&limit=3&latest=true&cursor={cursor}")).await;
        assert!(items(&page).len() <= 3);
        found.extend(items(&page).iter().map(|row| row["device_id"].as_str().unwrap().to_owned()));
        for row in items(&page) {
            assert_eq!(row["latest"].as_array().unwrap().len(), usize::from(row["device_id"] == "press-03"));
        }
        let Some(next) = page["next"].as_str() else { break };
        cursor = next.to_owned();
    }
    let expected: Vec<String> = (0..30).step_by(3).map(|i| format!("press-{i:02}")).collect();
    assert_eq!(found, expected);
    assert_eq!(items(&bench.get("/v1/devices?q=nowhere").await), Vec::<&Value>::new());
}

#[tokio::test]
async fn a_search_looks_at_so_many_devices_and_goes_on_from_there() {
    let bench = Bench::start(options()).await;
    let rows: Vec<Write> =
        (0..20_600).map(|i| Write::Device(device(&format!("d{i:05}"), false, 100 + i))).collect();
    bench.write(&rows);
    let page = bench.get("/v1/devices?q=d20500").await;
    assert_eq!(items(&page), Vec::<&Value>::new(), "not among the first 20,000");
    let cursor = page["next"].as_str().unwrap();
    let page = bench.get(&format!("/v1/devices?q=d20500&cursor={cursor}")).await;
    assert_eq!(items(&page)[0]["device_id"], "d20500");
}

#[tokio::test]
async fn scores_can_be_asked_by_model() {
    let bench = Bench::start(options()).await;
    bench.write(&[Write::Score(score("d", "a", 1, 1, 10)), Write::Score(score("d", "b", 2, 2, 11))]);
    assert_eq!(items(&bench.get("/v1/devices/d/scores").await).len(), 2);
    let only = bench.get("/v1/devices/d/scores?model=a").await;
    assert_eq!((items(&only).len(), &only["items"][0]["model"]), (1, &json!("a")));
}

#[tokio::test]
async fn mistakes_are_answered_with_what_would_be_right() {
    let bench = Bench::start(options()).await;
    bench.write(&[Write::Device(device("d", false, 5)), Write::Device(device("e", false, 6))]);
    let next = bench.get("/v1/devices?limit=1").await["next"].as_str().unwrap().to_owned();
    let elsewhere = format!("/v1/alerts?cursor={next}");
    let cases = [
        ("/v1/devices?limt=5", 400, "known are q, latest, limit, cursor"),
        ("/v1/devices?limit=1&limit=2", 400, "given twice"),
        ("/v1/devices?limit=100000", 400, "from 1 to 1000"),
        ("/v1/devices?latest=yes", 400, "not true or false"),
        ("/v1/alerts?from=monday", 400, "2026-01-31T09:30:00Z"),
        ("/v1/devices/d/windows?metric=temp", 400, "`window` is missing"),
        ("/v1/devices/d/windows?window=1m", 400, "`metric` is missing"),
        (&elsewhere, 400, "not one that this list gave"),
        ("/v1/books?x=1", 400, "no parameter is known"),
        ("/v1/devices/%FF", 400, "UTF-8"),
        ("/v1/devices/nobody", 404, "nothing is known of device `nobody`"),
        ("/v1/devices/nobody/state", 404, "no partition holds state"),
        ("/v2/devices", 404, "nothing at /v2/devices"),
    ];
    for (path, status, part) in cases {
        let (found, problem) = bench.problem(path).await;
        let detail = problem["detail"].as_str().unwrap();
        assert_eq!(
            (found, problem["status"].as_u64()),
            (status, Some(u64::from(status))),
            "{path}: {problem}"
        );
        assert!(detail.contains(part), "{path}: {detail}");
    }
    let answer = bench.client.post(bench.url("/v1/alerts")).send().await.unwrap();
    assert_eq!(answer.status(), 405);
}

#[tokio::test]
async fn live_answers_come_through_or_say_that_nobody_can_say() {
    let bench = Bench::start(options()).await;
    for path in ["/v1/books", "/v1/lag", "/v1/models", "/v1/devices/d/state"] {
        let answer = bench.client.get(bench.url(path)).send().await.unwrap();
        assert_eq!(
            (answer.status().as_u16(), answer.headers()["cache-control"].to_str().unwrap()),
            (200, "no-store")
        );
        assert_eq!(answer.json::<Value>().await.unwrap()["sample"], path.rsplit('/').next().unwrap());
    }
    bench.live.set(Answers::Unavailable);
    for path in ["/v1/books", "/v1/lag", "/v1/models", "/v1/devices/d/state"] {
        let (status, problem) = bench.problem(path).await;
        assert_eq!((status, &problem["detail"]), (503, &json!("the processor does not answer")), "{path}");
    }
    bench.live.set(Answers::Panic);
    assert_eq!(bench.problem("/v1/books").await.0, 500);
    bench.get("/v1/devices").await;
}

#[tokio::test]
async fn queries_wait_their_turn_and_not_for_ever() {
    let mut options = options();
    options.config.queries_max = 1;
    options.config.query_wait_max = Duration::from_millis(50);
    let bench = Bench::start(options).await;
    let gate = bench.live.block();
    let (client, url) = (bench.client.clone(), bench.url("/v1/books"));
    let slow = tokio::spawn(async move { client.get(url).send().await.unwrap().status() });
    bench.live.entered().await;
    let answer = bench.client.get(bench.url("/v1/devices")).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.headers()["retry-after"].to_str().unwrap()), (503, "1"));
    drop(gate);
    assert_eq!(slow.await.unwrap(), 200);
    bench.get("/v1/devices").await;
}

#[tokio::test]
async fn with_keys_only_readers_come_in() {
    let mut options = options();
    options.keys = bench::keys();
    let bench = Bench::start(options).await;
    for path in ["/", "/page/main.js", "/v1/devices", "/v1/stream", "/v1/openapi.json"] {
        let answer = bench.client.get(bench.url(path)).send().await.unwrap();
        assert_eq!(answer.status(), 401, "{path}");
        assert!(
            answer.headers().contains_key("www-authenticate")
                && answer.headers().contains_key("content-security-policy")
        );
        let answer = bench.client.get(bench.url(path)).bearer_auth(KEY).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
    }
    let answer = bench.client.get(bench.url("/v1/devices")).bearer_auth("hw_wrong").send().await.unwrap();
    assert_eq!(answer.status(), 401);
    let answer =
        bench.client.get(bench.url("/v1/devices")).bearer_auth(bench::INGEST_KEY).send().await.unwrap();
    assert_eq!(answer.status(), 403);
}

#[tokio::test]
async fn a_page_of_another_site_is_turned_away() {
    let bench = Bench::start(options()).await;
    let asked = bench.client.get(bench.url("/v1/devices")).header("origin", "http://evil.example");
    assert_eq!(asked.send().await.unwrap().status(), 403);
    let asked = bench.client.get(bench.url("/v1/devices")).header("host", "evil.example");
    assert_eq!(asked.send().await.unwrap().status(), 403, "a name that was pointed at this machine");
}

//! The event stream over HTTP.

use super::bench::{Bench, Options, PATIENCE, options};
use serde_json::{Value, json};
use std::time::Duration;
use store::conformance::{aggregate, alert};
use store::port::Write;

/// A client of the stream.
struct Listener {
    answer: reqwest::Response,
    text: String,
}

#[derive(Debug)]
struct Event {
    id: String,
    name: String,
    value: Value,
}

impl Listener {
    /// Connected when this returns: what is written from now on is told.
    async fn connect(bench: &Bench, after: Option<&str>) -> Self {
        let mut request = bench.client.get(bench.url("/v1/stream"));
        if let Some(id) = after {
            request = request.header("last-event-id", id);
        }
        let answer = request.send().await.unwrap();
        assert_eq!(answer.headers()["content-type"].to_str().unwrap(), "text/event-stream");
        let mut listener = Self { answer, text: String::new() };
        assert!(listener.block().await.unwrap().contains(": connected"));
        listener
    }

    /// The next block of lines; none at the end of the stream.
    async fn block(&mut self) -> Option<String> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.text = rest;
                return Some(block);
            }
            let chunk = tokio::time::timeout(PATIENCE, self.answer.chunk()).await.unwrap().unwrap()?;
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    /// The next event of that name; others are passed over.
    async fn next(&mut self, name: &str) -> Event {
        loop {
            let block = self.block().await.expect("the stream goes on");
            let field = |key: &str| {
                let line = block.lines().find_map(|line| line.strip_prefix(key));
                line.map(|value| value.trim_start_matches(':').trim_start().to_owned()).unwrap_or_default()
            };
            if field("event") == name {
                let value = serde_json::from_str(&field("data")).unwrap();
                return Event { id: field("id"), name: field("event"), value };
            }
        }
    }
}

fn with(change: impl FnOnce(&mut Options)) -> Options {
    let mut options = options();
    change(&mut options);
    options
}

#[tokio::test]
async fn alerts_and_news_arrive_and_a_lost_connection_resumes() {
    let bench = Bench::start(options()).await;
    let mut listener = Listener::connect(&bench, None).await;
    bench.write(&[Write::Aggregate(aggregate("a", 0, 1, 100)), Write::Alert(alert("b", "0-1-0", 5, 101))]);
    let first = listener.next("alert").await;
    assert_eq!((&first.value["device_id"], &first.value["id"]), (&json!("b"), &json!("0-1-0")));
    let stored = listener.next("stored").await;
    assert_eq!(stored.value, json!({ "devices": ["a", "b"], "more": false, "rows": 2 }));
    drop(listener);
    for number in 2..5 {
        bench.write(&[Write::Alert(alert("b", &format!("0-{number}-0"), 5, 100 + number))]);
    }
    let mut listener = Listener::connect(&bench, Some(&first.id)).await;
    for number in 2..5 {
        assert_eq!(listener.next("alert").await.value["id"], format!("0-{number}-0"));
    }
}

#[tokio::test]
async fn who_missed_too_much_or_comes_from_another_start_is_told_of_the_gap() {
    let bench = Bench::start(with(|options| options.config.stream_events_max = 2)).await;
    let mut live = Listener::connect(&bench, None).await;
    bench.write(&[Write::Alert(alert("b", "0-0-0", 5, 100))]);
    let first = live.next("alert").await;
    let many: Vec<Write> =
        (1..9).map(|i| Write::Alert(alert("b", &format!("0-{i}-0"), 5, 100 + i))).collect();
    bench.write(&many);
    // The last of them has been told when a client that follows everything, gaps included, has seen it.
    while live.next("alert").await.value["id"] != "0-8-0" {}
    for id in [first.id.as_str(), "999-1", "nonsense"] {
        let mut back = Listener::connect(&bench, Some(id)).await;
        let gap = back.next("gap").await;
        assert_eq!(gap.name, "gap");
        bench.write(&[Write::Alert(alert("b", &format!("1-{}-0", id.len()), 5, 200))]);
        let resumed = back.next("alert").await;
        assert!(!resumed.id.is_empty());
    }
}

#[tokio::test]
async fn without_a_feed_the_store_is_asked() {
    let bench = Bench::start(with(|options| {
        options.feed = false;
        options.config.poll_every = Duration::from_millis(10);
    }))
    .await;
    let mut listener = Listener::connect(&bench, None).await;
    // Whatever the first poll finds is old; a later one must see the next alert, however they fall together.
    let mut number = 0;
    let told = loop {
        number += 1;
        bench.write(&[Write::Alert(alert("b", &format!("0-{number}-0"), number, 100 + number))]);
        if let Ok(event) = tokio::time::timeout(Duration::from_millis(200), listener.next("alert")).await {
            break event;
        }
        assert!(number < 50, "no alert was told");
    };
    assert_eq!(told.value["device_id"], "b");
    assert_eq!(listener.next("stored").await.value["more"], true);
}

#[tokio::test]
async fn streams_are_bounded_and_a_place_comes_free() {
    let bench = Bench::start(with(|options| options.config.streams_max = 1)).await;
    let listener = Listener::connect(&bench, None).await;
    let (status, problem) = bench.problem("/v1/stream").await;
    assert_eq!((status, &problem["title"]), (503, &json!("Too many streams")));
    drop(listener);
    let mut tries = 0;
    while bench.client.get(bench.url("/v1/stream")).send().await.unwrap().status() != 200 {
        tries += 1;
        assert!(tries < 2_000, "the place does not come free");
        // The server notices the closed connection at its next write.
        bench.write(&[Write::Alert(alert("b", &format!("0-{tries}-0"), 5, 100 + tries))]);
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_silent_stream_beats_and_ends_with_the_shutdown() {
    let bench = Bench::start(with(|options| options.config.heartbeat = Duration::from_millis(20))).await;
    let mut listener = Listener::connect(&bench, None).await;
    assert!(listener.block().await.unwrap().contains(": heartbeat"));
    bench.supervisor.shutdown().begin("the test is over");
    while listener.block().await.is_some() {}
    bench.supervisor.join(PATIENCE).await.unwrap();
}

//! Who may come in, clients that misuse their connection, and stopping without losing what was acknowledged.

use crate::fake::{Mode, PATIENCE, SEED, keys, open, open_with, small};
use chassis::auth::Role;
use chassis::shutdown::Phase;
use ingest::IngestConfig;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[tokio::test]
async fn only_keys_for_ingest_may_send() {
    let door =
        open_with(small(), keys(&[("fleet", Role::Ingest), ("page", Role::Read), ("root", Role::Admin)]))
            .await;
    for (headers, expected) in [
        (vec![("authorization", "Bearer fleet")], 200),
        (vec![("authorization", "Bearer root")], 200),
        (vec![("x-api-key", "fleet")], 200),
        (vec![("authorization", "Bearer page")], 403),
        (vec![("authorization", "Bearer nobody")], 401),
        (vec![], 401),
    ] {
        let answer = door.post_as(&headers, SEED).await;
        assert_eq!(answer.status, expected, "{headers:?}");
        assert!(expected == 200 || answer.body["detail"].is_string());
    }
    assert_eq!(door.ask(reqwest::Method::DELETE, "/v1/devices/a", "").await.status, 401);
    assert_eq!(door.ask(reqwest::Method::POST, "/v1/ends", "{\"device_id\":null}").await.status, 401);
    assert_eq!(door.raw().len(), 3);
    door.check_books();
}

#[tokio::test]
async fn a_page_of_another_site_may_not_send_through_a_visitors_browser() {
    let door = open(small()).await;
    let answer =
        door.post_as(&[("origin", "http://evil.example"), ("content-type", "text/plain")], SEED).await;
    assert_eq!(answer.status, 403);
    assert_eq!(door.post_as(&[("host", "rebound.example")], SEED).await.status, 403);
    assert!(door.journal.written().is_empty());
}

#[tokio::test]
async fn slow_and_silent_connections_do_not_stop_a_good_client() {
    let config = IngestConfig { connections_max: 4, header_timeout: Duration::from_secs(60), ..small() };
    let door = open(config).await;
    let mut slow = Vec::new();
    for _ in 0..32 {
        let mut stream = TcpStream::connect(door.ingest.address()).await.unwrap();
        stream.write_all(b"POST /v1/readings HTTP/1.1\r\nX-Drip: ").await.unwrap();
        slow.push(stream);
    }
    assert_eq!(door.post(SEED).await.status, 200);
    door.check_books();
}

#[tokio::test]
async fn broken_heads_and_bodies_are_answered_or_closed_and_leave_no_trace() {
    let door = open(IngestConfig { header_timeout: Duration::from_millis(200), ..small() }).await;
    for text in [
        "POST /v1/readings HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\n{\"device_id\":\"a\"",
        "POST /v1/readings HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
        "POST /v1/readings HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        "GET /v1/readings HTTP/9.9\r\n\r\n",
        "\u{0}\u{1}\u{2}\r\n\r\n",
    ] {
        let mut stream = TcpStream::connect(door.ingest.address()).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        let closed =
            tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("closed in time");
        let _ = closed;
        assert!(!String::from_utf8_lossy(&answer).contains(" 200 "), "{text:?}");
    }
    assert_eq!(door.ingest.books().received, 0);
    assert_eq!(door.post(SEED).await.status, 200);
}

#[tokio::test]
async fn a_stop_answers_requests_in_progress_and_loses_nothing_acknowledged() {
    let door = open(small()).await;
    door.journal.set(Mode::Hold);
    let requests: Vec<_> = (0..5)
        .map(|_| tokio::spawn(door.client.post(&door.url).body(format!("{SEED}\n{SEED}")).send()))
        .collect();
    door.journal.held(5).await;
    let hung_up = tokio::spawn(door.client.post(&door.url).body(SEED).send());
    door.journal.held(6).await;
    hung_up.abort();

    let shutdown = door.supervisor.shutdown();
    shutdown.begin("asked");
    assert_eq!(shutdown.phase(), Phase::StopIntake);
    door.journal.release();
    for request in requests {
        let answer = request.await.unwrap().unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.json::<serde_json::Value>().await.unwrap()["accepted"], 2);
    }
    door.supervisor.join(PATIENCE).await.unwrap();
    assert_eq!(shutdown.phase(), Phase::Closed);
    assert_eq!(door.raw().len(), 11);
    let books = door.ingest.books();
    assert_eq!((books.received, books.accepted, books.in_flight), (11, 11, 0));
    door.check_books();
    assert!(door.client.post(&door.url).body(SEED).send().await.is_err());
}

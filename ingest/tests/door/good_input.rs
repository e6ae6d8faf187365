//! What is taken, in every shape it may come in.

use crate::fake::{NOW, SEED, open, small};
use flate2::Compression;
use flate2::write::GzEncoder;
use reqwest::Method;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use schemas::record::{Device, End, Measured, Raw};
use std::io::Write;

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn the_seed_message_is_accepted_as_it_stands() {
    let door = open(small()).await;
    let answer = door.post(SEED).await;
    assert_eq!((answer.status, answer.body), (200, serde_json::json!({"accepted": 1, "rejected": []})));
    let raw = door.raw();
    let Raw::Reading(reading) = &raw[0] else { panic!("{raw:?}") };
    assert_eq!((reading.device_id.as_str(), reading.event_time), ("sensor-12", Some(1_627_847_280_000_000)));
    assert_eq!(reading.measurements, [("temp".to_owned(), Measured::Number(23.5))]);
    let headers = &door.journal.written()[0].headers;
    assert_eq!(headers, &[("ingest-at".to_owned(), NOW.to_string().into_bytes())]);
    door.check_books();
}

#[tokio::test]
async fn objects_arrays_and_lines_are_taken_whatever_the_content_type_says_and_compressed() {
    let array = format!("[{SEED}, {SEED}]");
    let lines = format!("{SEED}\n{SEED}\n");
    let pretty = "{\n  \"device_id\": \"a\",\n  \"temp\": 1\n}\n";
    for (body, content_type, accepted) in [
        (SEED, "application/json", 1),
        (SEED, "application/x-www-form-urlencoded", 1),
        (pretty, "application/json", 1),
        (&array, "application/json", 2),
        (&lines, "application/x-ndjson", 2),
        (&lines, "application/x-ndjson; charset=utf-8", 2),
        (&lines, "text/plain", 2),
        ("[]", "application/json", 0),
    ] {
        let door = open(small()).await;
        let zstd = compress_to_vec(body.as_bytes(), CompressionLevel::Fastest);
        for (sent, encoding) in [(body.as_bytes().to_vec(), "identity"), (gzip(body), "gzip"), (zstd, "zstd")]
        {
            let headers = [("content-type", content_type), ("content-encoding", encoding)];
            let answer = door.post_as(&headers, sent).await;
            assert_eq!(
                (answer.status, &answer.body["accepted"]),
                (200, &accepted.into()),
                "{content_type} {encoding}: {:?}",
                answer.body
            );
        }
        assert_eq!(door.raw().len(), accepted * 3);
        door.check_books();
    }
}

#[tokio::test]
async fn good_readings_of_a_mixed_batch_are_taken_and_the_others_are_letters_in_the_same_append() {
    let door = open(small()).await;
    let body = format!("[{SEED},{{\"device_id\":\"\",\"temp\":1}},{SEED},17]");
    let answer = door.post(body).await;
    assert_eq!((answer.status, &answer.body["accepted"]), (200, &2.into()));
    let rejected: Vec<(u64, &str)> = answer.body["rejected"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| (line["index"].as_u64().unwrap(), line["reason"].as_str().unwrap()))
        .collect();
    assert_eq!(rejected[0].0, 1);
    assert_eq!(rejected[1], (3, "not-an-object"));
    let letters = door.letters();
    assert_eq!(letters.len(), 2);
    assert_eq!(
        (letters[1].value.as_slice(), letters[1].reason.as_str()),
        (b"17".as_slice(), "not-an-object")
    );
    door.check_books();
}

#[tokio::test]
async fn a_large_body_is_taken_apart_beside_the_answering_threads() {
    let door = open(ingest::IngestConfig { readings_max: 10_000, ..small() }).await;
    let lines = format!("{SEED}\n").repeat(5_000);
    assert!(lines.len() > 200_000);
    let answer = door.post(lines).await;
    assert_eq!((answer.status, &answer.body["accepted"]), (200, &5_000.into()));
    assert_eq!(door.raw().len(), 5_000);
    door.check_books();
}

#[tokio::test]
async fn metadata_is_a_record_of_its_device_and_not_a_reading() {
    let door = open(small()).await;
    let body = r#"{"site":"hall 3","channels":{"temp":{"unit":"C","offset":-0.4}},"lateness":"1h"}"#;
    let answer = door.ask(Method::PUT, "/v1/devices/sensor-12", body).await;
    assert_eq!(
        (answer.status, answer.body),
        (200, serde_json::json!({"device_id": "sensor-12", "deleted": false}))
    );
    assert_eq!(door.ask(Method::DELETE, "/v1/devices/sensor-12", "").await.status, 200);
    let raw = door.raw();
    let [Raw::Device(put), Raw::Device(gone)] = raw.as_slice() else { panic!("{raw:?}") };
    assert_eq!((put.site.as_deref(), put.lateness), (Some("hall 3"), Some(3_600_000_000)));
    let deleted = Device { device_id: "sensor-12".to_owned(), deleted: true, ..Device::default() };
    assert_eq!(gone, &deleted);
    assert_eq!(door.ingest.books().received, 0);

    for (method, path, body, expected) in [
        (Method::PUT, "/v1/devices/sensor-12", "{\"sight\":\"x\"}", "sight"),
        (Method::PUT, "/v1/devices/sensor-12", "", "expected an object"),
        (Method::PUT, "/v1/devices/a%20b", "{}", "expected 1 to 128 letters"),
        (Method::DELETE, "/v1/devices/a%2Fb", "", "expected 1 to 128 letters"),
    ] {
        let answer = door.ask(method, path, body).await;
        let detail = answer.body["detail"].as_str().unwrap();
        assert_eq!(answer.status, 400, "{path}: {detail}");
        assert!(detail.contains(expected), "{path}: {detail}");
    }
    assert_eq!(door.raw().len(), 2);
}

#[tokio::test]
async fn an_end_goes_to_one_device_or_to_every_partition_and_all_must_be_said() {
    let door = open(small()).await;
    let one = door.ask(Method::POST, "/v1/ends", r#"{"device_id":"a"}"#).await;
    assert_eq!((one.status, &one.body["partitions"]), (200, &1.into()));
    let all = door.ask(Method::POST, "/v1/ends", r#"{"device_id":null}"#).await;
    assert_eq!((all.status, &all.body["partitions"]), (200, &4.into()));
    let raw = door.raw();
    assert_eq!(raw[0], Raw::End(End { device_id: Some("a".to_owned()) }));
    assert_eq!(raw[1..], vec![Raw::End(End { device_id: None }); 4]);
    let mut partitions: Vec<u32> =
        door.journal.written()[1..].iter().map(|record| record.to.partition).collect();
    partitions.sort_unstable();
    assert_eq!(partitions, [0, 1, 2, 3]);
    for body in ["{}", "", "null", r#"{"device_id":""}"#, r#"{"device":"a"}"#] {
        assert_eq!(door.ask(Method::POST, "/v1/ends", body).await.status, 400, "{body}");
    }
    assert_eq!(door.raw().len(), 5);
}

#[tokio::test]
async fn what_is_counted_can_be_scraped() {
    let metrics = chassis::metrics::install("ingest", "1.2.3").unwrap();
    let door = open(small()).await;
    assert_eq!(door.post(format!("[{SEED},17]")).await.status, 200);
    let text = metrics.render();
    for series in [
        "highwater_readings_total{service=\"ingest\",version=\"1.2.3\",stage=\"ingest\",outcome=\"received\"}",
        "highwater_readings_total{service=\"ingest\",version=\"1.2.3\",stage=\"ingest\",outcome=\"accepted\"}",
        "highwater_rejected_total{service=\"ingest\",version=\"1.2.3\",stage=\"ingest\",reason=\"not-an-object\"}",
        "highwater_readings_in_flight{service=\"ingest\",version=\"1.2.3\",stage=\"ingest\"}",
        "highwater_books_difference_readings{service=\"ingest\",version=\"1.2.3\",stage=\"ingest\"}",
        "highwater_http_requests_total{service=\"ingest\",version=\"1.2.3\",listener=\"ingest\",code=\"200\"}",
        "highwater_ingest_append_seconds_count{service=\"ingest\",version=\"1.2.3\"}",
    ] {
        assert!(text.contains(series), "no {series} in\n{text}");
    }
}

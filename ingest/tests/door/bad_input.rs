//! What is not taken: every refusal says what was found and what would be right, and is a dead letter.

use crate::fake::{Door, SEED, open, small};
use flate2::Compression;
use flate2::write::GzEncoder;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use std::io::Write;

fn with_time(ts: &str) -> String {
    format!("{{\"device_id\":\"a\",\"temp\":1,\"ts\":{ts}}}")
}

fn with_device(device_id: &str) -> String {
    format!("{{\"device_id\":{device_id},\"temp\":1}}")
}

#[tokio::test]
async fn each_kind_of_nonsense_is_named_and_kept_as_a_letter() {
    let door = open(small()).await;
    let nested = format!("{{\"device_id\":\"a\",\"x\":{}1{}}}", "{\"x\":".repeat(50), "}".repeat(50));
    let deep = format!("{{\"device_id\":\"a\",\"x\":{}1{}}}", "{\"x\":".repeat(20_000), "}".repeat(20_000));
    let wide: String = (0..65).map(|n| format!(",\"m{n}\":1")).collect();
    let long = format!("{{\"device_id\":\"a\",\"temp\":1,\"note\":\"{}\"}}", "x".repeat(64 << 10));
    let cases: Vec<(String, &str, &str)> = vec![
        ("".into(), "malformed-json", "the body is empty"),
        ("nonsense".into(), "malformed-json", "expected"),
        ("{\"device_id\":\"a\",\"te".into(), "malformed-json", "expected one JSON object"),
        (format!("[{SEED},{{\"device_id\":\"a\""), "malformed-json", "within element 1"),
        (format!("[{SEED}]]"), "malformed-json", "something follows"),
        ("17".into(), "not-an-object", "object"),
        ("\"text\"".into(), "not-an-object", "object"),
        ("null".into(), "not-an-object", "object"),
        ("[[1,2]]".into(), "not-an-object", "object"),
        ("{\"temp\":1}".into(), "missing-device-id", "device_id"),
        (with_device("\"\""), "bad-device-id", "1 to 128"),
        (with_device("17"), "wrong-type", "device_id"),
        (with_device("null"), "", "device_id"),
        (with_device(&format!("\"{}\"", "x".repeat(129))), "bad-device-id", "1 to 128"),
        (with_device("\"a/b\""), "bad-device-id", "letters"),
        (with_device("\"..\""), "bad-device-id", "not . or .."),
        (with_device("\"a\\u0007\""), "bad-device-id", "letters"),
        ("{\"device_id\":\"a\",\"te\\u0001mp\":1}".into(), "bad-name", "control character"),
        ("{\"device_id\":\"a\",\"temp\":1,\"note\":\"\\u0000\"}".into(), "bad-text", "control character"),
        ("{\"device_id\":\"a\",\"temp\":NaN}".into(), "not-finite", "expected a finite number"),
        ("{\"device_id\":\"a\",\"temp\":1e400}".into(), "not-finite", "finite"),
        ("{\"device_id\":\"a\",\"temp\":-1e400}".into(), "not-finite", "finite"),
        ("{\"device_id\":\"a\",\"temp\":[1,2]}".into(), "wrong-type", "temp"),
        ("{\"device_id\":\"a\"}".into(), "no-measurements", "at least one"),
        ("{\"device_id\":\"a\",\"temp\":1,\"temp\":2}".into(), "duplicate-key", "temp"),
        ("{\"device_id\":\"a\",\"temp\":1,\"seq\":-1}".into(), "bad-sequence", "seq"),
        ("{\"device_id\":\"a\",\"temp\":1,\"seq\":1.5}".into(), "bad-sequence", "seq"),
        (with_time("0"), "bad-timestamp", "expected"),
        (with_time("-1"), "bad-timestamp", "expected"),
        (with_time("\"9999-12-31T23:59:59Z\""), "bad-timestamp", "expected"),
        (with_time("253402300799"), "bad-timestamp", "expected"),
        (with_time("\"yesterday\""), "bad-timestamp", "expected"),
        (with_time("1e400"), "bad-timestamp", "expected"),
        (with_time("true"), "", "ts"),
        (format!("{{\"device_id\":\"a\"{wide}}}"), "too-many-measurements", "64"),
        (long, "too-large", "65536"),
        (nested, "too-deep", ""),
        (deep, "", ""),
    ];
    for (count, (body, reason, hint)) in cases.iter().enumerate() {
        let shown = &body[..body.len().min(80)];
        let answer = door.post(body.clone()).await;
        let (found, detail) = answer.first();
        assert_eq!((answer.status, answer.kind()), (400, "nothing-readable"), "{shown}: {:?}", answer.body);
        assert!(reason.is_empty() || found == *reason, "{shown}: {found} instead of {reason}: {detail}");
        assert!(detail.contains(hint), "{shown}: no {hint:?} in {detail:?}");
        assert!(answer.body["detail"].as_str().unwrap().contains(found), "{shown}");
        let letters = door.letters();
        assert_eq!(letters.len(), count + 1, "{shown}");
        let letter = letters.last().unwrap();
        assert_eq!((letter.reason.as_str(), letter.detail.as_str()), (found, detail), "{shown}");
        assert!(letter.value == body.as_bytes() || body.starts_with('['), "{shown}");
    }
    assert!(door.raw().is_empty());
    door.check_books();
    // The door is none the worse for it.
    assert_eq!(door.post(SEED).await.status, 200);
}

#[tokio::test]
async fn bytes_that_are_no_utf8_spoil_their_own_reading_only() {
    let door = open(small()).await;
    let mut body = format!("{SEED}\n").into_bytes();
    body.extend_from_slice(b"{\"device_id\":\"a\",\"note\":\"\xff\xfe\",\"temp\":1}\n");
    let answer = door.post(body).await;
    assert_eq!((answer.status, answer.first().0), (200, "invalid-utf8"));
    assert!(answer.first().1.contains("UTF-8"));
    assert_eq!((door.raw().len(), door.letters().len()), (1, 1));
    door.check_books();
}

async fn check_too_large(door: &Door, headers: &[(&str, &str)], body: Vec<u8>, hint: &str) {
    let answer = door.post_as(headers, body).await;
    assert_eq!((answer.status, answer.kind()), (413, "too-large"), "{:?}", answer.body);
    let detail = answer.body["detail"].as_str().unwrap();
    assert!(detail.contains(hint), "{detail}");
    assert!(door.journal.written().is_empty());
    assert_eq!(door.ingest.books().received, 0);
}

#[tokio::test]
async fn what_is_too_large_for_one_request_is_refused_as_a_whole() {
    let door = open(small()).await;
    check_too_large(&door, &[], vec![b' '; 10 << 20], "expected at most 1048576").await;
    let many = format!("{SEED}\n").repeat(101);
    check_too_large(&door, &[], many.into_bytes(), "more than 100 readings").await;

    let huge = vec![b' '; 64 << 20];
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(&huge).unwrap();
    let bomb = gzip.finish().unwrap();
    assert!(bomb.len() < 100_000);
    check_too_large(&door, &[("content-encoding", "gzip")], bomb, "decompressed").await;
    let bomb = compress_to_vec(huge.as_slice(), CompressionLevel::Fastest);
    assert!(bomb.len() < 100_000);
    check_too_large(&door, &[("content-encoding", "zstd")], bomb, "decompressed").await;
    assert_eq!(door.post(SEED).await.status, 200);
}

#[tokio::test]
async fn a_body_of_unannounced_length_meets_the_same_limit() {
    let door = open(small()).await;
    let chunks = (0..40).map(|_| Ok::<_, std::io::Error>(vec![b' '; 64 << 10]));
    let body = reqwest::Body::wrap_stream(futures_util::stream::iter(chunks));
    let answer = door.post(body).await;
    assert_eq!((answer.status, answer.kind()), (413, "too-large"));
    let body = reqwest::Body::wrap_stream(futures_util::stream::iter([Ok::<_, std::io::Error>(SEED)]));
    assert_eq!(door.post(body).await.status, 200);
    door.check_books();
}

#[tokio::test]
async fn an_unknown_or_wrong_encoding_is_named() {
    let door = open(small()).await;
    let unknown = door.post_as(&[("content-encoding", "br")], SEED).await;
    assert_eq!((unknown.status, unknown.kind()), (415, "unknown-encoding"));
    assert!(unknown.body["detail"].as_str().unwrap().contains("gzip, zstd"));
    assert_eq!(door.ingest.books().received, 0);
    for encoding in ["gzip", "zstd"] {
        let wrong = door.post_as(&[("content-encoding", encoding)], SEED).await;
        assert_eq!((wrong.status, wrong.first().0), (400, "foreign-bytes"), "{encoding}");
        assert!(wrong.first().1.contains("Content-Encoding"));
    }
    assert_eq!(door.letters()[0].value, SEED.as_bytes());
    door.check_books();
}

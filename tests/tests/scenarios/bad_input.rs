//! What cannot be read is refused with its reason, kept as a dead letter, and in the books.

use crate::totals;
use anyhow::{Context, Result, ensure};
use e2e::{Home, highwater};
use reqwest::Method;
use std::collections::BTreeMap;
use std::time::Duration;

/// Bodies of one line, and the reason they must be refused with (none: accepted).
const LINES: [(&str, Option<&str>); 14] = [
    (r#"{"device_id":"sensor-12","temp":23.5,"ts":1627847280}"#, None),
    (r#"{"device_id":"sensor-12","temp":23.5,"ts":1627847281000}"#, None),
    (r#"{"device_id":"sensor-12","temp":null,"ts":"2021-08-01T19:48:02+00:00"}"#, None),
    (r#"{"device_id":"sensor-12","nested":{"temp":23.5},"room":"kitchen"}"#, None),
    (r#"{"device_id":"sensor-12","temp":23."#, Some("malformed-json")),
    (r"[1,2]", Some("not-an-object")),
    (r#"{"temp":23.5}"#, Some("missing-device-id")),
    (r#"{"device_id":"a/b","temp":23.5}"#, Some("bad-device-id")),
    (r#"{"device_id":"sensor-12","temp":23.5,"ts":"yesterday"}"#, Some("bad-timestamp")),
    (r#"{"device_id":"sensor-12","temp":1e999}"#, Some("not-finite")),
    (r#"{"device_id":"sensor-12","temp":[1]}"#, Some("wrong-type")),
    (r#"{"device_id":"sensor-12","temp":1,"temp":2}"#, Some("duplicate-key")),
    (r#"{"device_id":"sensor-12","room":"kitchen"}"#, Some("no-measurements")),
    (r#"{"device_id":"sensor-12","temp":1,"seq":"x"}"#, Some("bad-sequence")),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_refusal_has_its_reason_its_letter_and_its_place_in_the_books() -> Result<()> {
    let home = Home::new()?;
    let instance = home.start().await?;
    let lines: Vec<String> = LINES.iter().map(|(line, _)| (*line).to_owned()).collect();
    let (status, answer) = instance.post_lines(&lines).await?;
    ensure!(status == 200, "{status}: {answer}");
    let rejected: BTreeMap<u64, &str> = answer["rejected"]
        .as_array()
        .context("no list of refusals")?
        .iter()
        .filter_map(|entry| Some((entry["index"].as_u64()?, entry["reason"].as_str()?)))
        .collect();
    for (index, (line, reason)) in (0..).zip(LINES) {
        ensure!(
            rejected.get(&index).copied() == reason,
            "{line}: {:?}, not {reason:?}",
            rejected.get(&index)
        );
    }
    let refused = rejected.len() as u64;
    ensure!(answer["accepted"] == LINES.len() as u64 - refused, "{answer}");

    for (body, content_type, expected) in [
        ("no json at all", "application/json", 400),
        ("", "application/x-ndjson", 400),
        (r#"{"device_id":"sensor-12","temp":1}"#, "application/json", 200),
        (
            r#"[{"device_id":"sensor-12","temp":1},{"device_id":"sensor-13","temp":2}]"#,
            "application/json",
            200,
        ),
    ] {
        let sent = Some((content_type, body.to_owned()));
        let (status, answer) = instance.ask(Method::POST, "/ingest/v1/readings", sent).await?;
        ensure!(status == expected, "{body:?}: {status}: {answer}");
        ensure!(status == 200 || answer["title"].is_string(), "not a problem document: {answer}");
    }
    let large = format!(r#"{{"device_id":"sensor-12","note":"{}"}}"#, "x".repeat(9 << 20));
    let (status, answer) =
        instance.ask(Method::POST, "/ingest/v1/readings", Some(("application/json", large))).await?;
    ensure!(status == 413 && answer["title"].is_string(), "{status}: {answer}");

    let books = instance.settled().await?;
    ensure!(totals(&books, "aggregated") == totals(&books, "received"), "{books}");
    let listed = tokio::task::block_in_place(|| {
        let admin = home.admin_url();
        highwater(
            &["dead-letters", "list", "--limit", "100", "--url", &admin, "--json"],
            Duration::from_secs(30),
        )
    })?;
    let letters = listed.json()?;
    let letters = letters["items"].as_array().context("no list of letters")?.clone();
    for (line, reason) in LINES.iter().filter_map(|(line, reason)| Some((line, (*reason)?))) {
        ensure!(
            letters.iter().any(|letter| letter["reason"] == reason && letter["stage"] == "ingest"),
            "no dead letter for {line}: {letters:?}"
        );
    }
    Ok(())
}

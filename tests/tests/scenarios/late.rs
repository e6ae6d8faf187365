//! One reading, one outcome: aggregated, duplicate, late, rejected.

use crate::{comes_true, end, rfc3339, totals};
use anyhow::{Context, Result, ensure};
use e2e::{Home, Instance, WAIT_MAX, eventually};
use loadgen::{Micros, Truth, TruthWindow};
use std::time::Duration;

const SECOND: Micros = 1_000_000;
/// 2024-01-01T00:00:00Z.
const THEN: Micros = 1_704_067_200 * SECOND;
const CONFIG: &str = r#"
[[window]]
name = "10s"
kind = "tumbling"
size = "10s"

[time]
disorder = "2s"
lateness = "20s"
settle = "100ms"
"#;

fn reading(at: Micros, seq: u32, temp: f64) -> String {
    format!(r#"{{"device_id":"m-1","temp":{temp},"ts":"{}","seq":{seq},"boot":"b"}}"#, rfc3339(at))
}

const WINDOWS: &str = "/query/v1/devices/m-1/windows?metric=temp&window=10s";

async fn accept(instance: &Instance, lines: &[String]) -> Result<()> {
    let (status, answer) = instance.post_lines(lines).await?;
    ensure!(status == 200 && answer["accepted"] == lines.len(), "{status}: {answer}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_reading_has_one_outcome() -> Result<()> {
    let home = Home::new()?.configured(CONFIG)?;
    let instance = home.start().await?;
    let mut truth =
        Truth::new(vec![TruthWindow::tumbling("10s", Duration::from_secs(10))], vec!["temp".into()]);
    let mut reading_at = |after: i64, seq: u32, temp: f64, taken: bool| {
        if taken {
            truth.add("m-1", "temp", THEN + after * SECOND, temp);
        }
        reading(THEN + after * SECOND, seq, temp)
    };
    let first = [
        reading_at(1, 1, 20.0, true),
        reading_at(3, 2, 21.0, true),
        // The same again: a duplicate.
        reading_at(3, 2, 21.0, false),
        // Closes [0, 10), which still takes a straggler.
        reading_at(13, 3, 22.0, true),
        reading_at(9, 4, 19.5, true),
    ];
    let second = [
        // Passes the end of [0, 10) by more than the lateness: complete, published, forgotten. Now it is late.
        reading_at(35, 5, 23.0, true),
        reading_at(8, 6, 99.0, false),
        // A window that was never opened is never late, however old: a buffer uploaded after the fact.
        reading_at(-86_400, 7, 18.0, true),
        // A number that comes again with another time is another reading.
        reading_at(36, 7, 23.5, true),
    ];
    accept(&instance, &first).await?;
    // As long as the straggler waits to be published, its window is not forgotten.
    let path = format!("{WINDOWS}&from={}&to={}", rfc3339(THEN), rfc3339(THEN + 10 * SECOND));
    let row = eventually("the straggler's revision", WAIT_MAX, async || {
        let row = instance.get(&path).await?["items"].get(0).cloned().context("no row")?;
        ensure!(row["count"] == 3, "{row}");
        Ok(row)
    })
    .await?;
    ensure!(row["kind"] == "late" && row["revision"] == 2, "{row}");
    accept(&instance, &second).await?;
    end(&instance).await?;
    comes_true(&truth, &home).await.map_err(|error| error.context(instance.log()))?;
    let books = instance.settled().await?;
    let outcomes = ["received", "aggregated", "duplicate", "late", "rejected", "filtered"];
    let found = outcomes.map(|outcome| totals(&books, outcome));
    ensure!(found == [9, 7, 1, 1, 0, 0], "{outcomes:?} are {found:?}: {books}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_device_closes_its_window_by_itself() -> Result<()> {
    let home = Home::new()?.configured(CONFIG)?.set("time.quiet-after=500ms");
    let instance = home.start().await?;
    let at = crate::now();
    accept(&instance, &[reading(at, 1, 20.0)]).await?;
    let row = eventually("silence closes the window", WAIT_MAX, async || {
        let listed = instance.get(WINDOWS).await?;
        listed["items"].get(0).cloned().with_context(|| listed.to_string())
    })
    .await
    .map_err(|error| error.context(instance.log()))?;
    ensure!(row["kind"] == "on-time" && row["count"] == 1 && row["revision"] == 1, "{row}");
    Ok(())
}

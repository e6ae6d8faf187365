//! One reading, one outcome: aggregated, duplicate, late, rejected.

use crate::{comes_true, end, rfc3339, totals};
use anyhow::{Result, ensure};
use e2e::{Home, WAIT_MAX, eventually};
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

#[tokio::test(flavor = "multi_thread")]
async fn every_reading_has_one_outcome() -> Result<()> {
    let home = Home::new()?.configured(CONFIG)?;
    let instance = home.start().await?;
    let mut truth =
        Truth::new(vec![TruthWindow::tumbling("10s", Duration::from_secs(10))], vec!["temp".into()]);
    let mut lines = Vec::new();
    let mut take = |after: i64, seq: u32, temp: f64, taken: bool| {
        if taken {
            truth.add("m-1", "temp", THEN + after * SECOND, temp);
        }
        lines.push(reading(THEN + after * SECOND, seq, temp));
    };
    take(1, 1, 20.0, true);
    take(3, 2, 21.0, true);
    // The same again: a duplicate.
    take(3, 2, 21.0, false);
    // Closes [0, 10), which still takes a straggler.
    take(13, 3, 22.0, true);
    take(9, 4, 19.5, true);
    // Passes the end of [0, 10) by more than the lateness: complete, published, forgotten. Now it is late.
    take(35, 5, 23.0, true);
    take(8, 6, 99.0, false);
    // A window that was never opened is never late, however old: a buffer uploaded after the fact.
    take(-86_400, 7, 18.0, true);
    // A number that comes again with another time is another reading.
    take(36, 7, 23.5, true);
    let (status, answer) = instance.post_lines(&lines).await?;
    ensure!(status == 200 && answer["accepted"] == lines.len(), "{status}: {answer}");
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
    let (status, answer) = instance.post_lines(&[reading(at, 1, 20.0)]).await?;
    ensure!(status == 200, "{status}: {answer}");
    let path = "/query/v1/devices/m-1/windows?metric=temp&window=10s";
    let row = eventually("silence closes the window", WAIT_MAX, async || {
        let listed = instance.get(path).await?;
        listed["items"].get(0).cloned().ok_or_else(|| anyhow::anyhow!("{listed}"))
    })
    .await
    .map_err(|error| error.context(instance.log()))?;
    ensure!(row["kind"] == "on-time" && row["count"] == 1 && row["revision"] == 1, "{row}");
    Ok(())
}

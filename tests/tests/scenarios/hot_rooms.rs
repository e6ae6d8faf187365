//! `examples/hot-rooms.toml` does what its first line says.

use crate::{comes_true, end, now, rfc3339, totals};
use anyhow::{Result, bail, ensure};
use e2e::{Home, Instance, WAIT_MAX, eventually};
use loadgen::{Micros, Truth, TruthWindow};
use std::time::Duration;

const WINDOW: Micros = 5_000_000;

fn reading(device: &str, at: Micros, temp: f64) -> String {
    format!(r#"{{"device_id":"{device}","temp":{temp},"ts":"{}"}}"#, rfc3339(at))
}

/// The row of the window that starts at `start`, once it has `count` readings.
async fn row(instance: &Instance, start: Micros, count: u64) -> Result<serde_json::Value> {
    let path = format!(
        "/query/v1/devices/room-1/windows?metric=temp&window=5s&from={}&to={}&limit=10",
        rfc3339(start),
        rfc3339(start + WINDOW)
    );
    eventually("the window's next revision", WAIT_MAX, async || {
        let listed = instance.get(&path).await?;
        let Some(item) = listed["items"].get(0).cloned() else {
            bail!("no row yet: {}", instance.get("/query/v1/books").await?)
        };
        ensure!(item["count"] == count, "{item}");
        Ok(item)
    })
    .await
    .map_err(|error| error.context(instance.log()))
}

#[tokio::test(flavor = "multi_thread")]
async fn averages_of_hot_rooms_with_an_early_result_every_thousand_readings() -> Result<()> {
    // Silence must not close the window while this test looks at its early results on a slow machine.
    let home = Home::new()?.configured_by("examples/hot-rooms.toml").set("time.quiet-after=10m");
    let instance = home.start().await?;
    let mut truth =
        Truth::new(vec![TruthWindow::tumbling("5s", Duration::from_secs(5))], vec!["temp".into()]);
    let start = now().div_euclid(WINDOW) * WINDOW;
    let (mut sent, mut cold) = (0_u64, 0_u64);
    let mut lines = |hot: u32| {
        let mut lines = Vec::new();
        for _ in 0..hot {
            let at = start + i64::try_from(sent % 5_000).unwrap_or(0) * 1_000;
            let temp = 25.0 + 0.25 * (1 + sent % 40) as f64;
            truth.add("room-1", "temp", at, temp);
            lines.push(reading("room-1", at, temp));
            sent += 1;
            if sent % 5 == 0 {
                // Exactly 25 is not above 25.
                lines.push(reading("room-1", at, 25.0));
                lines.push(reading("cellar", at, 11.5));
                cold += 2;
            }
        }
        lines
    };
    let first = lines(1_000);
    let second = lines(1_500);
    for (batch, count, revision) in [(first, 1_000, 1), (second, 2_000, 2)] {
        let (status, answer) = instance.post_lines(&batch).await?;
        ensure!(status == 200 && answer["rejected"] == serde_json::json!([]), "{status}: {answer}");
        let early = row(&instance, start, count).await?;
        ensure!(early["kind"] == "early" && early["revision"] == revision, "{early}");
    }
    end(&instance).await?;
    let last = row(&instance, start, 2_500).await?;
    ensure!(last["kind"] == "at-end" && last["revision"] == 3, "{last}");
    comes_true(&truth, &home).await?;

    let books = instance.settled().await?;
    ensure!(totals(&books, "filtered") == cold && totals(&books, "aggregated") == sent, "{books}");
    let (status, _) = instance
        .ask(reqwest::Method::GET, "/query/v1/devices/cellar/windows?metric=temp&window=5s", None)
        .await?;
    let listed = instance.get("/query/v1/devices").await?;
    let cellar = listed["items"]
        .as_array()
        .is_some_and(|items| items.iter().any(|item| item["device_id"] == "cellar"));
    ensure!(!cellar, "{status}: a device without a hot reading has a row: {listed}");
    ensure!(instance.stop().await?.success(), "not a clean end");
    Ok(())
}

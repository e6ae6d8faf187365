//! A dead letter is listed, shown, and sent round again when its time has come.

use crate::{end, now, rfc3339, totals};
use anyhow::{Context, Result, ensure};
use e2e::{Finished, Home, WAIT_MAX, eventually, highwater};
use serde_json::Value;
use std::time::Duration;

const CONFIG: &str = r#"
[[window]]
name = "1m"
kind = "tumbling"
size = "1m"

[time]
max-ahead = "1s"
"#;

fn letters(home: &Home, args: &[&str]) -> Result<Finished> {
    let admin = home.admin_url();
    let args = [&["dead-letters"][..], args, &["--url", &admin, "--json"]].concat();
    tokio::task::block_in_place(|| highwater(&args, Duration::from_secs(30)))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reading_from_the_future_is_redriven_when_its_time_has_come() -> Result<()> {
    let home = Home::new()?.configured(CONFIG)?;
    let instance = home.start().await?;
    let at = now() + 4_000_000;
    let early = format!(r#"{{"device_id":"fast-1","temp":21.5,"ts":"{}","seq":1}}"#, rfc3339(at));
    let (status, answer) = instance.post_lines(&[early]).await?;
    ensure!(status == 200 && answer["accepted"] == 1, "the door has no clock: {status}: {answer}");

    let letter = eventually("the dead letter is listed", WAIT_MAX, async || {
        let listed = letters(&home, &["list", "--reason", "clock-ahead"])?.json()?;
        listed["items"].get(0).cloned().with_context(|| listed.to_string())
    })
    .await
    .map_err(|error| error.context(instance.log()))?;
    ensure!(letter["stage"] == "step" && letter["device_id"] == "fast-1", "{letter}");
    let id = letter["id"].as_str().context("a letter without an id")?;
    let shown = letters(&home, &["show", id])?.json()?;
    ensure!(shown.to_string().contains("fast-1"), "{shown}");
    ensure!(totals(&instance.settled().await?, "rejected") == 1, "not in the books");

    eventually("the reading's time has come", WAIT_MAX, async || {
        ensure!(now() > at, "{} is ahead", rfc3339(at));
        Ok(())
    })
    .await?;
    let redriven = letters(&home, &["redrive", id])?;
    ensure!(redriven.code == Some(0), "{redriven:?}");
    end(&instance).await?;
    let row: Value = eventually("its window is stored", WAIT_MAX, async || {
        let listed = instance.get("/query/v1/devices/fast-1/windows?metric=temp&window=1m").await?;
        listed["items"].get(0).cloned().with_context(|| listed.to_string())
    })
    .await
    .map_err(|error| error.context(instance.log()))?;
    ensure!(row["count"] == 1 && row["min"] == 21.5, "{row}");
    let books = instance.settled().await?;
    ensure!(totals(&books, "aggregated") == 1 && totals(&books, "rejected") == 1, "{books}");
    Ok(())
}

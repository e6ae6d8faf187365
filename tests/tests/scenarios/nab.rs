//! A file of history: eleven weeks of a machine's temperature, every five minutes, one hour of it twice.

use crate::{comes_true, totals};
use anyhow::{Context, Result, ensure};
use e2e::{Home, Instance, WAIT_MAX, eventually, highwater};
use loadgen::{Micros, Truth, TruthWindow};
use std::path::{Path, PathBuf};
use std::time::Duration;

const ROWS: u64 = 22_695;

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data/nab").join(name)
}

fn instant(text: &str) -> Result<Micros> {
    let civil: jiff::civil::DateTime = text.parse().with_context(|| format!("`{text}` is no time"))?;
    Ok(civil.to_zoned(jiff::tz::TimeZone::UTC)?.timestamp().as_microsecond())
}

/// The hourly windows, straight from the rows.
fn truth() -> Result<Truth> {
    let mut truth =
        Truth::new(vec![TruthWindow::tumbling("1h", Duration::from_hours(1))], vec!["value".into()]);
    let text = std::fs::read_to_string(file("machine_temperature_system_failure.csv"))?;
    for row in text.lines().skip(1) {
        let (time, value) = row.split_once(',').context("a row without a comma")?;
        truth.add("machine-1", "value", instant(time)?, value.parse()?);
    }
    Ok(truth)
}

#[tokio::test(flavor = "multi_thread")]
async fn hourly_windows_of_an_imported_file_equal_an_independent_computation() -> Result<()> {
    let home = Home::new()?;
    let instance = home.start().await?;
    let csv = file("machine_temperature_system_failure.csv").display().to_string();
    let ingest = home.ingest_url();
    let args = ["import", &csv, "--device", "machine-1", "--time-column", "timestamp", "--time-zone", "UTC"];
    let args = [&args[..], &["--close", "--json", "--url", &ingest]].concat();
    let imported = tokio::task::block_in_place(|| highwater(&args, Duration::from_mins(2)))?;
    ensure!(imported.code == Some(0), "{imported:?}");
    ensure!(imported.json()?["imported"]["accepted"] == ROWS, "{imported:?}");

    let truth = truth()?;
    let found = comes_true(&truth, &home).await.map_err(|error| error.context(instance.log()))?;
    let windows = truth.expected.values().next().context("no windows")?;
    ensure!(found.windows_checked == windows.len() as u64, "{found:?}");
    ensure!(
        windows.values().map(|window| window.count).sum::<u64>() == ROWS,
        "rows were lost in the test itself"
    );
    let twice = windows[&instant("2014-01-07 02:00:00")?];
    ensure!(twice.count == 24, "an hour that is there twice has 24 values, not {}", twice.count);

    let books = instance.settled().await?;
    ensure!(totals(&books, "aggregated") == ROWS && totals(&books, "late") == 0, "{books}");
    let hit = labelled_windows_with_an_alert(&instance).await?;
    ensure!(hit >= 2, "alerts in only {hit} of the four labelled windows");
    ensure!(instance.stop().await?.success(), "not a clean end");
    Ok(())
}

/// How many of the labelled windows have an alert of a model in them.
async fn labelled_windows_with_an_alert(instance: &Instance) -> Result<usize> {
    let labelled: Vec<(String, String)> =
        serde_json::from_str(&std::fs::read_to_string(file("windows.json"))?)?;
    ensure!(labelled.len() == 4, "four windows are labelled");
    let mut hit = 0;
    for (from, to) in labelled {
        let utc = |text: &str| format!("{}Z", text.replace(' ', "T"));
        let path = format!("/query/v1/alerts?device=machine-1&from={}&to={}&limit=100", utc(&from), utc(&to));
        let alerts = eventually("alerts are listed", WAIT_MAX, async || instance.get(&path).await).await?;
        let items = alerts["items"].as_array().context("no list of alerts")?;
        hit += usize::from(items.iter().any(|alert| alert["kind"] == "score"));
    }
    Ok(hit)
}

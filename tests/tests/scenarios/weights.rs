//! Weights that were trained elsewhere, from the file of a configuration to the scores: those of the library, whatever
//! becomes of the file; and the rows to train with, out of the same home.

use anyhow::{Context, Result, ensure};
use e2e::{Finished, Home, Instance, WAIT_MAX, eventually};
use serde_json::{Value, json};
use std::fs;

/// Trained with scikit-learn on temp, vibration and load; rows, and what the library says of each.
static FOREST: &[u8] = include_bytes!("../../../scoring/tests/data/trees/isolation-forest.weights");
static ROWS: &str = include_str!("../../../scoring/tests/data/trees/isolation-forest.csv");
/// Others on the same columns.
static BOOSTED: &[u8] = include_bytes!("../../../scoring/tests/data/trees/gradient-boosting-value.weights");
static BOOSTED_ROWS: &str = include_str!("../../../scoring/tests/data/trees/gradient-boosting-value.csv");

const NAMES: [&str; 3] = ["temp", "vibration", "load"];

/// Rows of a table, the score last.
fn table(text: &str) -> Vec<Vec<f64>> {
    let row = |line: &str| line.split(',').map(|cell| cell.parse().unwrap_or(f64::NAN)).collect();
    text.lines().skip(1).map(row).collect()
}

fn config(path: &std::path::Path) -> String {
    format!(
        "[[model]]\nname = \"forest\"\ncomponent = \"trees\"\nartifact = {path:?}\n\
         columns = [\"temp\", \"vibration\", \"load\"]\nthreshold = 1e9\nsample-every = 1\n"
    )
}

/// Sends the rows as readings of a device, a second apart; their event times.
async fn send(instance: &Instance, device: &str, rows: &[Vec<f64>]) -> Result<Vec<i64>> {
    let first = crate::now() - 3_600_000_000;
    let times: Vec<i64> = (0..).take(rows.len()).map(|row| first + 1_000_000 * row).collect();
    let line = |(row, at): (&Vec<f64>, &i64)| {
        json!({ "device_id": device, "ts": at, "temp": row[0], "vibration": row[1], "load": row[2] })
            .to_string()
    };
    let lines: Vec<String> = rows.iter().zip(&times).map(line).collect();
    let (status, answer) = instance.post_lines(&lines).await?;
    ensure!(status == 200, "{answer}");
    Ok(times)
}

/// Holds the stored scores of a device against those of a table.
async fn scored(instance: &Instance, device: &str, rows: &[Vec<f64>]) -> Result<()> {
    eventually("the scores are the library's", WAIT_MAX, async || {
        let answer =
            instance.get(&format!("/query/v1/devices/{device}/scores?model=forest&limit=1000")).await?;
        let mut scores = answer["items"].as_array().context("no scores")?.clone();
        scores.sort_by_key(|score| score["event_time"].as_str().unwrap_or_default().to_owned());
        ensure!(scores.len() == rows.len(), "{} scores", scores.len());
        for (score, row) in scores.iter().zip(rows) {
            let found = score["score"].as_f64().context("no number")?;
            ensure!((found - row[NAMES.len()]).abs() <= 1e-6, "{row:?}: {score}");
        }
        Ok(())
    })
    .await
}

/// The model in force, but for what it has done.
async fn model(instance: &Instance) -> Result<Value> {
    let mut model = instance.get("/admin/v1/models").await?["items"][0].clone();
    model["here"].take();
    Ok(model)
}

fn done(finished: Finished) -> Result<Finished> {
    ensure!(finished.code == Some(0), "{finished:?}");
    Ok(finished)
}

#[tokio::test(flavor = "multi_thread")]
async fn weights_of_a_file_score_as_the_library_does_and_stay_when_the_file_goes() -> Result<()> {
    let home = Home::new()?;
    let file = home.path().join("forest.weights");
    fs::write(&file, FOREST).context("writing weights")?;
    let home = home.configured(&config(&file))?;
    let (rows, others) = (table(ROWS), table(BOOSTED_ROWS));
    let instance = home.start().await?;
    let times = send(&instance, "a", &rows).await?;
    instance.settled().await?;
    scored(&instance, "a", &rows).await?;
    let first = model(&instance).await?;
    let told = done(e2e::highwater(&["model", "status", "--json", "--url", &home.admin_url()], WAIT_MAX)?)?;
    let here = told.json()?["items"][0]["here"].clone();
    ensure!(here["scored"] == rows.len() && here["failed"] == 0, "{here}");

    // The file is another one now: what was decided stays decided, also for a process that begins anew.
    fs::write(&file, BOOSTED).context("writing weights")?;
    instance.kill()?;
    let instance = home.start().await?;
    ensure!(model(&instance).await? == first, "the file was not applied, and changed something");
    send(&instance, "b", &rows).await?;
    instance.settled().await?;
    scored(&instance, "b", &rows).await?;

    // Applied, it is another version; the bytes go with the proposal.
    let (config, url) = (home.path().join("highwater.toml").display().to_string(), home.admin_url());
    done(e2e::highwater(&["config", "apply", "--config", &config, "--url", &url], WAIT_MAX)?)?;
    eventually("it is in force everywhere", WAIT_MAX, async || {
        let lines = instance.get("/admin/v1/partitions").await?;
        let all = lines["items"].as_array().context("no partitions")?;
        ensure!(all.iter().all(|line| line["generation"].as_i64() > Some(0)), "{lines}");
        Ok(())
    })
    .await?;
    let second = model(&instance).await?;
    ensure!(second["artifact"] != first["artifact"] && second["version"] != first["version"], "{second}");
    send(&instance, "c", &others).await?;
    instance.settled().await?;
    scored(&instance, "c", &others).await?;

    // And back by a push.
    fs::write(&file, FOREST).context("writing weights")?;
    let path = file.display().to_string();
    done(e2e::highwater(&["model", "push", "forest", "--artifact", &path, "--url", &url], WAIT_MAX)?)?;
    let pushed = instance.get("/admin/v1/models").await?["items"][1].clone();
    ensure!(pushed["version"] == first["version"] && pushed["role"] == "shadow", "{pushed}");

    // In use: only a home at rest gives rows out.
    let busy = home.command(&["model", "export-rows", "forest"], WAIT_MAX)?;
    ensure!(busy.code == Some(1) && busy.stderr.contains("an instance has this home open"), "{busy:?}");
    let kept = home.path().join("rows.csv");
    fs::write(&kept, "of before").context("writing a file")?;
    let out = kept.display().to_string();
    let busy = home.command(&["model", "export-rows", "forest", "--out", &out], WAIT_MAX)?;
    ensure!(busy.code == Some(1) && fs::read_to_string(&kept)? == "of before", "a refusal touches nothing");
    instance.stop().await?;
    let [from, to] = [times[10], times[20]].map(crate::rfc3339);
    let args = ["model", "export-rows", "forest", "--from", &from, "--to", &to];
    let told = done(home.command(&args, WAIT_MAX)?)?;
    let lines: Vec<&str> =
        told.stdout.lines().filter(|line| !line.starts_with('b') && !line.starts_with('c')).collect();
    ensure!(lines[0] == "device_id,event_time,temp,vibration,load", "{}", lines[0]);
    ensure!(lines.len() == 11, "{lines:?}");
    for ((line, row), at) in lines[1..].iter().zip(&rows[10..20]).zip(&times[10..20]) {
        let cells: Vec<&str> = line.split(',').collect();
        ensure!(cells[0] == "a" && cells[1] == crate::rfc3339(*at), "{line}");
        let values = cells[2..].iter().map(|cell| cell.parse()).collect::<Result<Vec<f64>, _>>()?;
        ensure!(values == row[..NAMES.len()], "{line}: {row:?}");
    }
    done(home.command(&["model", "export-rows", "forest", "--out", &out], WAIT_MAX)?)?;
    ensure!(fs::read_to_string(&kept)?.starts_with("device_id,event_time,temp,"), "the rows take its place");
    Ok(())
}

#[test]
fn weights_that_are_none_end_a_start_with_what_is_wrong() -> Result<()> {
    let home = Home::new()?;
    let file = home.path().join("forest.weights");
    fs::write(&file, &FOREST[..FOREST.len() - 1]).context("writing weights")?;
    let home = home.configured(&config(&file))?;
    let ended = home.command(&["process", "--until-end"], WAIT_MAX)?;
    ensure!(ended.code == Some(1) && ended.stderr.contains("bytes are left for them"), "{ended:?}");
    fs::remove_file(&file).context("removing weights")?;
    let ended = home.command(&["process", "--until-end"], WAIT_MAX)?;
    ensure!(ended.code == Some(2) && ended.stderr.contains("model[0].artifact: "), "{ended:?}");
    Ok(())
}

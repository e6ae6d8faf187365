//! The commands beside `run`: what scripts rely on. Every `--json` is one JSON document, every exit code means what
//! `--help` says.

use anyhow::{Context, Result, ensure};
use e2e::{Finished, Home, WAIT_MAX, eventually, highwater};
use std::time::Duration;

const BOUND: Duration = Duration::from_secs(60);

fn run(args: &[&str]) -> Result<Finished> {
    tokio::task::block_in_place(|| highwater(args, BOUND))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_json_output_is_one_document() -> Result<()> {
    let home = Home::new()?;
    let instance = home.start().await?;
    let (ingest, query, admin) = (home.ingest_url(), home.query_url(), home.admin_url());
    let truth = home.path().join("truth").display().to_string();
    let sent = run(&[
        &["loadgen", "--faults", "--devices", "12", "--rate", "400", "--for", "3s", "--close", "--json"][..],
        &["--window", "1m=1m", "--truth", &truth, "--url", &ingest],
    ]
    .concat())?;
    ensure!(sent.code == Some(0), "{sent:?}");
    let acknowledged = sent.json()?["acknowledged"].as_u64();
    ensure!(acknowledged > Some(800), "{sent:?}");
    instance.settled().await?;
    let verified = eventually("the command finds the truth", WAIT_MAX, async || {
        let found = run(&["loadgen", "--verify", &truth, "--query-url", &query, "--json"])?;
        ensure!(found.code == Some(0), "{found:?}");
        Ok(found)
    })
    .await
    .map_err(|error| error.context(instance.log()))?;
    ensure!(verified.json()?["ok"] == true, "{verified:?}");

    let device = instance.get("/query/v1/devices?limit=1").await?["items"][0]["device_id"].clone();
    let device = device.as_str().context("no device is listed")?;
    for command in [
        &["lag"][..],
        &["books"],
        &["devices", "list"],
        &["devices", "show", device],
        &["devices", "explain", device],
        &["partitions", "list"],
        &["partitions", "explain", "0"],
        &["dead-letters", "list"],
        &["health"],
    ] {
        let done = run(&[command, &["--url", &admin, "--json"]].concat())?;
        ensure!(done.code == Some(0), "{command:?}: {done:?}");
        let document = done.json().with_context(|| format!("{command:?}"))?;
        ensure!(document.is_object() || document.is_array(), "{command:?}: {document}");
    }
    for command in [
        &["config", "print", "--json"][..],
        &["schema", "list", "--json"],
        &["model", "list", "--json"],
        &["model", "test", "ewma", "--json"],
    ] {
        let done = run(command)?;
        ensure!(done.code == Some(0), "{command:?}: {done:?}");
        done.json().with_context(|| format!("{command:?}"))?;
    }
    ensure!(instance.stop().await?.success(), "not a clean end");
    Ok(())
}

#[test]
fn used_wrongly_is_two_and_says_what_would_be_right() -> Result<()> {
    for (args, told) in [
        (&["run", "--no-such-flag"][..], "--no-such-flag"),
        (&["config", "print", "--set", "time.disorder=10"], "time.disorder"),
        (&["config", "print", "--set", "nothing.here=1"], "nothing"),
        (&["demo", "--for", "soon"], "soon"),
        (&["model", "test", "no-such-model"], "ewma"),
        (&["model", "new", "--lang", "cobol", "a-model"], "javascript"),
        (&["model", "new", "--lang", "c", "A model"], "small letters"),
    ] {
        let done = highwater(args, BOUND)?;
        ensure!(done.code == Some(2), "{args:?}: {done:?}");
        ensure!(done.stderr.contains(told), "{args:?} does not name {told}: {}", done.stderr);
    }
    Ok(())
}

#[test]
fn a_model_that_is_none_is_one_and_a_model_that_does_not_conform_is_three() -> Result<()> {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let done = highwater(&["model", "test", manifest], BOUND)?;
    ensure!(done.code == Some(1) && done.stderr.contains("not a component"), "{done:?}");
    let placing = concat!(env!("CARGO_MANIFEST_DIR"), "/../scoring/plugins/prebuilt/fixtures.wasm");
    let done = highwater(&["model", "test", placing, "--settings", r#"{"mode": "place"}"#], BOUND)?;
    ensure!(done.code == Some(3) && done.stdout.contains("FAILED  any cut into batches"), "{done:?}");
    Ok(())
}

#[test]
fn nobody_there_is_one() -> Result<()> {
    // Port 9 (discard) answers nowhere.
    let done = highwater(&["health", "--url", "http://127.0.0.1:9", "--json"], BOUND)?;
    ensure!(done.code == Some(1) || done.code == Some(3), "{done:?}");
    ensure!(!done.stderr.is_empty() || !done.stdout.is_empty(), "ended without a word");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_home_is_held_by_one_process() -> Result<()> {
    let home = Home::new()?;
    let instance = home.start().await?;
    let data = home.path().join("data").display().to_string();
    let ports = ["ingest", "dashboard", "admin"].map(|service| format!("{service}.listen=127.0.0.1:0"));
    let mut args = vec!["run", "--data", &data];
    for port in &ports {
        args.extend(["--set", port]);
    }
    let second = run(&args)?;
    ensure!(second.code == Some(1), "{second:?}");
    ensure!(second.stderr.contains("in use"), "{second:?}");
    ensure!(instance.stop().await?.success(), "not a clean end");
    Ok(())
}

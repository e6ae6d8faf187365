//! The pipeline as separate processes on Kafka, a schema registry and Cassandra: two processors, two sinks, a door, a
//! dashboard.

use anyhow::{Result, ensure};
use e2e::{Cluster, Instance, WAIT_MAX, eventually};
use schemas::topic::Topic;
use serde_json::Value;
use std::time::Duration;

const CONFIG: &str = r#"
[[window]]
name = "1m"
kind = "tumbling"
size = "1m"

[[model]]
name = "ewma"
each = ["temperature"]
threshold = 5.0
"#;
/// Bound of the load, its sending included.
const LOAD_MAX: Duration = Duration::from_secs(120);
const ASKING_MAX: Duration = Duration::from_secs(60);

/// A home that is made, or nothing when the test is to be skipped.
macro_rules! cluster {
    () => {
        match Cluster::named() {
            Some(cluster) => tokio::task::block_in_place(|| cluster?.configured(CONFIG)?.made())?,
            None => return Ok(()),
        }
    };
}

/// Sends some seconds of load and keeps its truth in the cluster's directory.
fn load(cluster: &Cluster) -> Result<String> {
    let truth = cluster.path().join("truth").display().to_string();
    let url = cluster.ingest_url();
    let args = ["loadgen", "--url", &url, "--rate", "500", "--for", "5s", "--devices", "40", "--close"];
    let sent = e2e::highwater(&[&args[..], &["--truth", &truth]].concat(), LOAD_MAX)?;
    ensure!(sent.code == Some(0), "{sent:?}");
    Ok(truth)
}

/// Waits until the query API serves exactly the truth.
async fn comes_true(cluster: &Cluster, truth: &str) -> Result<()> {
    let query = cluster.query_url();
    eventually("the query API serves the truth", WAIT_MAX, async || {
        let args = ["loadgen", "--verify", truth, "--query-url", &query];
        let found = tokio::task::block_in_place(|| e2e::highwater(&args, ASKING_MAX))?;
        ensure!(found.code == Some(0), "{found:?}");
        Ok(())
    })
    .await
}

/// States of the partitions that one process holds itself.
async fn held(process: &Instance) -> Result<Vec<u64>> {
    let listed = process.get("/admin/v1/partitions").await?;
    let items = listed["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    ensure!(items.len() == 4, "every process lists every partition: {listed}");
    let own = items.iter().filter(|item| item["state"] != "elsewhere");
    Ok(own.filter_map(|item| item["partition"].as_u64()).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn real_pipeline_of_separate_processes_reaches_the_truth() -> Result<()> {
    let cluster = cluster!();
    let mut door = cluster.spawn("ingest", "door")?;
    let processes = [cluster.start("process", "p-0").await?, cluster.start("process", "p-1").await?];
    let sinks = [cluster.start("sink", "s-0").await?, cluster.start("sink", "s-1").await?];
    let page = cluster.start("dashboard", "page").await?;
    door.ready().await?;

    let truth = tokio::task::block_in_place(|| load(&cluster))?;
    comes_true(&cluster, &truth).await.map_err(|error| error.context(processes[0].log()))?;
    let books = page.settled().await?;
    ensure!(books["stages"].as_array().map(Vec::len) == Some(2), "processor and sink: {books}");

    eventually("the partitions are shared out", WAIT_MAX, async || {
        let (first, second) = (held(&processes[0]).await?, held(&processes[1]).await?);
        ensure!(first.len() == 2 && second.len() == 2, "{first:?} {second:?}");
        Ok(())
    })
    .await?;
    // Only the owner of a state can explain it, and the others say who that is.
    let partition = held(&processes[1]).await?[0];
    let path = format!("/admin/v1/partitions/{partition}");
    processes[1].get(&path).await?;
    for other in [&processes[0], &sinks[0], &page] {
        let (status, problem) = other.ask(reqwest::Method::GET, &path, None).await?;
        let told = problem["detail"].as_str().unwrap_or_default();
        ensure!(status == 404 && told.contains("`p-1`"), "{status}: {problem}");
    }
    // Without an instance the home itself is asked.
    let asked = tokio::task::block_in_place(|| cluster.command(&["books", "--json"], ASKING_MAX))?;
    ensure!(asked.code == Some(0) && asked.json()?["balanced"] == true, "{asked:?}");

    // The log is read beside those that work on it.
    let exported =
        tokio::task::block_in_place(|| cluster.command(&["model", "export-rows", "ewma"], ASKING_MAX))?;
    ensure!(exported.code == Some(0), "{exported:?}");
    let mut lines = exported.stdout.lines();
    ensure!(lines.next() == Some("device_id,event_time,metric,value"), "{}", exported.stdout);
    let (rows, readings) = (lines.count(), &books["stages"][0]["received"]);
    ensure!(rows > 0 && readings.as_u64() == Some(rows as u64), "{rows} rows of {readings} readings");

    for instance in [door].into_iter().chain(processes).chain(sinks).chain([page]) {
        ensure!(instance.stop().await?.success(), "a service did not end cleanly");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn real_pipeline_gives_the_partitions_of_a_killed_process_to_the_other() -> Result<()> {
    let cluster = cluster!();
    let mut door = cluster.spawn("ingest", "door")?;
    let stays = cluster.start("process", "p-0").await?;
    let goes = cluster.start("process", "p-1").await?;
    let _sink = cluster.start("sink", "s-0").await?;
    let page = cluster.start("dashboard", "page").await?;
    door.ready().await?;
    eventually("the partitions are shared out", WAIT_MAX, async || {
        ensure!(held(&goes).await?.len() == 2);
        Ok(())
    })
    .await?;
    goes.kill()?;
    let truth = tokio::task::block_in_place(|| load(&cluster))?;
    comes_true(&cluster, &truth).await.map_err(|error| error.context(stays.log()))?;
    ensure!(held(&stays).await?.len() == 4, "it has all of them");
    page.settled().await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn real_topics_are_made_once_and_what_differs_is_told() -> Result<()> {
    let cluster = cluster!();
    let ask = |args: &[&str]| tokio::task::block_in_place(|| cluster.command(args, ASKING_MAX));
    let again = ask(&["topics", "create", "--json"])?;
    let found = |topics: &Value| -> Vec<String> {
        let topics = topics["topics"].as_array().map(Vec::as_slice).unwrap_or_default();
        topics.iter().map(|topic| topic["found"].as_str().unwrap_or_default().to_owned()).collect()
    };
    ensure!(again.code == Some(0) && found(&again.json()?) == ["right"; Topic::ALL.len()], "{again:?}");

    let other = ask(&["topics", "check", "--set", "journal.retention=2d"])?;
    ensure!(other.code == Some(3) && other.stdout.contains("retention.ms"), "{other:?}");
    // Another count would send devices to other partitions than their state is in.
    let wider = ask(&["topics", "create", "--set", "journal.partitions=8"])?;
    ensure!(wider.code == Some(3) && wider.stdout.contains("UNUSABLE"), "{wider:?}");
    ensure!(wider.stdout.contains("topic-prefix"), "what to do instead: {wider:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn real_pipeline_is_worked_off_by_commands_that_end() -> Result<()> {
    let cluster = cluster!();
    let ask = |args: &[&str]| tokio::task::block_in_place(|| cluster.command(args, ASKING_MAX));
    let until_end = |args: &[&str]| -> Result<()> {
        let done = ask(args)?;
        ensure!(done.code == Some(0), "{args:?}: {done:?}");
        Ok(())
    };
    until_end(&["process", "--until-end"])?;
    let door = cluster.start("ingest", "door").await?;
    let truth = tokio::task::block_in_place(|| load(&cluster))?;
    ensure!(door.stop().await?.success(), "the door did not end cleanly");
    // What is decided at the start is in the log before its end is looked for.
    until_end(&["process", "--until-end", "--apply", "--set", "time.lateness=7m"])?;
    let listed = ask(&["partitions", "list", "--json"])?.json()?;
    let generations: Vec<_> =
        listed["items"].as_array().into_iter().flatten().map(|item| item["generation"].as_i64()).collect();
    ensure!(generations == [Some(1); 4], "{listed}");
    until_end(&["sink", "--until-end"])?;
    let page = cluster.start("dashboard", "page").await?;
    comes_true(&cluster, &truth).await.map_err(|error| error.context(page.log()))?;
    page.settled().await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn real_pipeline_says_what_a_start_waits_for() -> Result<()> {
    let Some(cluster) = Cluster::named() else { return Ok(()) };
    // Nothing is made: no topics, no tables.
    let cluster = cluster?.set("admin.start-patience=3s");
    let started = tokio::task::block_in_place(|| cluster.command(&["process"], ASKING_MAX))?;
    ensure!(started.code == Some(1) && started.stderr.contains("highwater topics create"), "{started:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn real_pipeline_refuses_a_second_process_of_the_same_name_on_a_host() -> Result<()> {
    let cluster = cluster!();
    let first = cluster.start("process", "same").await?;
    let args = ["process", "--set", "process.instance=same", "--set", "admin.listen=127.0.0.1:0"];
    let second = tokio::task::block_in_place(|| cluster.command(&args, ASKING_MAX))?;
    ensure!(second.code == Some(1) && second.stderr.contains("process.instance"), "{second:?}");
    ensure!(held(&first).await?.len() == 4, "the first one is not disturbed");
    Ok(())
}

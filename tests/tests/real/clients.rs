//! Clients that are not ours: kcat, and Confluent's for Python with the registry. They put bare JSON on `iot.raw`, and
//! read what was committed; that is held against the query API.
//!
//! `HIGHWATER_TEST_PYTHON` names a Python that has `confluent-kafka[avro]`.

use anyhow::{Context, Result, bail, ensure};
use e2e::{Cluster, Instance, WAIT_MAX, eventually, skipped};
use schemas::partition::partition_of;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

const CONFIG: &str = r#"
[[window]]
name = "1m"
kind = "tumbling"
size = "1m"
"#;
const PARTITIONS: u32 = 4;
const DEVICES: u32 = 12;

/// A client's output.
fn run(command: &mut Command, input: &str) -> Result<String> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("starting {command:?}"))?;
    // Dropped at the end of the line, so that it has an end.
    child.stdin.take().context("its input")?.write_all(input.as_bytes()).context("writing to it")?;
    let done = child.wait_with_output().context("waiting for it")?;
    ensure!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).context("its output")
}

struct Clients {
    python: String,
    brokers: String,
    registry: String,
    prefix: String,
}

impl Clients {
    /// None: one of them is not here; the test prints that it is skipped.
    fn of(cluster: &Cluster) -> Result<Option<Self>> {
        let Some(python) = std::env::var("HIGHWATER_TEST_PYTHON").ok().filter(|python| !python.is_empty())
        else {
            skipped("HIGHWATER_TEST_PYTHON names no Python with confluent-kafka[avro]");
            return Ok(None);
        };
        if Command::new("kcat").arg("-V").output().is_err() {
            skipped("there is no kcat");
            return Ok(None);
        }
        let setting =
            |key: &str| Ok::<_, anyhow::Error>(cluster.setting(key).context(key.to_owned())?.to_owned());
        Ok(Some(Self {
            python,
            brokers: setting("journal.url")?.trim_start_matches("kafka://").to_owned(),
            registry: setting("registry.url")?,
            prefix: setting("journal.topic-prefix")?,
        }))
    }

    fn topic(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    fn confluent(&self, args: &[&str], input: &str) -> Result<String> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/confluent.py");
        run(Command::new(&self.python).arg(script).args(args), input)
    }

    /// Sends lines with Python; says to which partition each device went.
    fn write(&self, partitioner: &str, lines: &str) -> Result<Vec<(String, u32)>> {
        let told = self.confluent(&["write", &self.brokers, &self.topic("iot.raw"), partitioner], lines)?;
        let place = |line: &str| {
            let (device, partition) = line.split_once(' ').context("a device and a partition")?;
            Ok((device.to_owned(), partition.parse()?))
        };
        told.lines().map(place).collect()
    }

    /// Committed rows as Python reads them.
    fn read(&self, topic: &str) -> Result<Vec<Value>> {
        let told = self.confluent(&["read", &self.brokers, &self.registry, &self.topic(topic)], "")?;
        told.lines().map(|line| serde_json::from_str(line).context("a row")).collect()
    }

    fn kcat(&self, args: &[&str], input: &str) -> Result<String> {
        run(Command::new("kcat").args(["-q", "-b", &self.brokers]).args(args), input)
    }
}

fn reading(device: &str, number: u32) -> String {
    format!(r#"{{"device_id":"{device}","temp":{number}.25,"ts":"2026-01-31T09:00:{:02}Z"}}"#, number % 60)
}

/// Readings of devices that are called after who sends them.
fn lines(prefix: &str) -> Vec<(String, String)> {
    (0..DEVICES)
        .flat_map(|device| (0..3).map(move |nth| (device, nth)))
        .map(|(device, nth)| {
            let device = format!("{prefix}-{device}");
            let line = reading(&device, nth * 7);
            (device, line)
        })
        .collect()
}

fn text(lines: &[(String, String)]) -> String {
    lines.iter().map(|(_, line)| format!("{line}\n")).collect()
}

/// Each series' row as the query API serves it.
async fn served(page: &Instance, devices: &BTreeSet<&str>) -> Result<BTreeMap<String, (i64, f64)>> {
    let mut rows = BTreeMap::new();
    for device in devices {
        let listed = page.get(&format!("/query/v1/devices/{device}/windows?metric=temp&window=1m")).await?;
        for row in listed["items"].as_array().context("a list")? {
            let (count, sum) = (row["count"].as_i64().context("count")?, row["sum"].as_f64().context("sum")?);
            rows.insert(format!("{device} {}", row["start"].as_str().unwrap_or_default()), (count, sum));
        }
    }
    Ok(rows)
}

/// The same from committed rows: the last revision of each counts.
fn committed(rows: &[Value]) -> Result<BTreeMap<String, (i64, f64)>> {
    let mut last: BTreeMap<String, (i64, (i64, f64))> = BTreeMap::new();
    for row in rows.iter().filter(|row| row["metric"] == "temp") {
        ensure!(row["key"] == row["device_id"], "the key is the device: {row}");
        let at = jiff::Timestamp::from_microsecond(row["start"].as_i64().context("start")?)?;
        let key = format!("{} {at}", row["device_id"].as_str().unwrap_or_default());
        let found = (row["count"].as_i64().context("count")?, row["sum"].as_f64().context("sum")?);
        let revision = row["revision"].as_i64().context("revision")?;
        let kept = last.entry(key).or_insert((revision, found));
        if kept.0 <= revision {
            *kept = (revision, found);
        }
    }
    Ok(last.into_iter().map(|(key, (_, found))| (key, found)).collect())
}

/// Sends readings by kcat, by Python, and by Python with another partitioner; how many of those are misplaced.
fn sent(clients: &Clients, [by_kcat, by_python, astray]: [&[(String, String)]; 3]) -> Result<usize> {
    let keyed: String = by_kcat.iter().map(|(device, line)| format!("{device}|{line}\n")).collect();
    let raw = clients.topic("iot.raw");
    clients.kcat(&["-P", "-t", &raw, "-K", "|", "-X", "topic.partitioner=murmur2"], &keyed)?;
    let wrong = |(device, at): &&(String, u32)| *at != partition_of(device.as_bytes(), PARTITIONS);
    let placed = clients.write("murmur2", &text(by_python))?;
    ensure!(
        !placed.iter().any(|place| wrong(&place)),
        "murmur2 is not what the contract calls it: {placed:?}"
    );
    // librdkafka's own default is another.
    Ok(clients.write("consistent_random", &text(astray))?.iter().filter(wrong).count())
}

/// Emits everything that is open, and waits until it is stored.
async fn close(cluster: &Cluster, page: &Instance) -> Result<()> {
    let url = cluster.ingest_url();
    let args = ["loadgen", "--url", &url, "--rate", "50", "--for", "1s", "--devices", "3", "--close"];
    let ended = tokio::task::block_in_place(|| e2e::highwater(&args, WAIT_MAX))?;
    ensure!(ended.code == Some(0), "{ended:?}");
    page.settled().await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn real_clients_of_others_write_readings_and_read_results() -> Result<()> {
    let Some(cluster) = Cluster::named() else { return Ok(()) };
    let cluster = cluster?;
    let Some(clients) = Clients::of(&cluster)? else { return Ok(()) };
    let cluster = tokio::task::block_in_place(|| cluster.configured(CONFIG)?.made())?;
    let mut door = cluster.spawn("ingest", "door")?;
    let process = cluster.start("process", "p-0").await?;
    let _sink = cluster.start("sink", "s-0").await?;
    let page = cluster.start("dashboard", "page").await?;
    // A configuration stands in every partition when the door opens: what comes before it would be a dead letter.
    door.ready().await?;

    let (by_kcat, by_python, astray) = (lines("kcat"), lines("python"), lines("astray"));
    let misplaced = tokio::task::block_in_place(|| sent(&clients, [&by_kcat, &by_python, &astray]))?;
    ensure!(misplaced > 0, "the other partitioner agrees by chance; take more devices");

    close(&cluster, &page).await?;
    let letters = page.get("/admin/v1/dead-letters?reason=misrouted&limit=1000").await?;
    let letters = letters["items"].as_array().map(Vec::len).unwrap_or_default();
    ensure!(letters == misplaced, "{letters} dead letters, {misplaced} misplaced: {}", process.log());

    // Sent round again they go to where their devices live, and are the only ones of them there.
    let redriven = process.post("/admin/v1/dead-letters/redrive", &json!({ "reason": "misrouted" })).await?;
    ensure!(redriven["redriven"].as_array().map(Vec::len) == Some(misplaced), "{redriven}");
    close(&cluster, &page).await?;

    let rows = tokio::task::block_in_place(|| clients.read("iot.aggregates"))?;
    let committed = committed(&rows)?;
    let devices: BTreeSet<&str> = rows.iter().filter_map(|row| row["device_id"].as_str()).collect();
    let expected = by_kcat.len() + by_python.len() + astray.len();
    let taken: i64 = committed
        .iter()
        .filter(|(key, _)| ["kcat-", "python-", "astray-"].iter().any(|sender| key.starts_with(sender)))
        .map(|(_, (count, _))| count)
        .sum();
    ensure!(i64::try_from(expected)? == taken, "{taken} of {expected} readings are in the results");
    eventually("the query API serves what Python reads", WAIT_MAX, async || {
        let served = served(&page, &devices).await?;
        if served != committed {
            bail!("served {served:?}, committed {committed:?}");
        }
        Ok(())
    })
    .await?;

    // kcat of Debian reads no Avro; it sees the same records, and no marker between them.
    let seen = tokio::task::block_in_place(|| {
        let topic = clients.topic("iot.aggregates");
        let committed = "isolation.level=read_committed";
        clients.kcat(&["-C", "-t", &topic, "-o", "beginning", "-e", "-X", committed, "-f", "%k\n"], "")
    })?;
    ensure!(seen.lines().count() == rows.len(), "{} records, {} rows", seen.lines().count(), rows.len());
    Ok(())
}

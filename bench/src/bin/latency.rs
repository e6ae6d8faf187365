//! How long a result takes while readings keep coming, on Kafka and Cassandra, with a processor, a sink, ingest and a
//! dashboard as processes.
//!
//! `latency [SECONDS] [RATE] [DEVICES] [WINDOW_SECONDS]`: so long (120) so many readings a second (10,000) of so many
//! devices (1,000) with tumbling windows of that size (10). The servers are `HIGHWATER_TEST_KAFKA`, `_CQL`, `_REGISTRY`.
//!
//! `disorder` is 0, so that the first reading at or past the end of a device's window closes it and nothing is waited
//! for; which reading that was is read from `iot.raw` afterwards, with the broker's append time and ingest's receipt
//! time. A result is visible when a `read_committed` consumer has it; a row when the query API serves it: asked, of every
//! hundredth device, again and again from the moment its result is visible. Counts only if every closed window had a
//! result.

use anyhow::{Context, Result, ensure};
use bench::home::{Home, PARTITIONS, follow, load_average, now};
use journal::port::{Journal, TopicPartition};
use loadgen::{Fleet, FleetConfig, Load, RunConfig};
use schemas::Micros;
use schemas::codec::Codec;
use schemas::record::{Aggregate, EmissionKind, Raw};
use schemas::topic::Topic;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;

const METRIC: &str = "temperature";
const BATCH: usize = 500;
const CONNECTIONS: u32 = 8;
/// Rows are asked for of one device in so many.
const SAMPLED: u32 = 100;
const ASK_EVERY: Duration = Duration::from_millis(2);
const STORED_MAX: Duration = Duration::from_secs(30);
const REST: Duration = Duration::from_secs(3);
/// The first windows find cold caches, unopened connections and new tables.
const WARM_UP: Micros = 15_000_000;
const READ_MAX: usize = 10_000;
const SECOND: Micros = 1_000_000;

/// A device's window, by its end.
type Closing = (String, Micros);

struct Closed {
    appended: Micros,
    ingest_at: Option<Micros>,
}

/// A result: when the broker appended it, when it was visible.
struct Visible {
    appended: Micros,
    seen: Micros,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::print_stdout, reason = "the result of a benchmark")]
async fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let mut number = |default: u32| args.next().map_or(Ok(default), |text| text.parse());
    let (seconds, rate) = (number(120)?, number(10_000)?);
    let (devices, size) = (number(1_000)?, number(10)?);
    let config = format!(
        "[[window]]\nname = \"w\"\nkind = \"tumbling\"\nsize = \"{size}s\"\n\
         [metrics]\nonly = [\"{METRIC}\"]\n[time]\ndisorder = \"0s\"\nquiet-after = \"1m\"\n"
    );
    let mut home = Home::made(&config)?;
    for (service, name) in [("process", "p"), ("sink", "s"), ("ingest", "i"), ("dashboard", "d")] {
        home.start(service, name)?;
    }
    home.ready()?;
    let (journal, codec) = home.open()?;
    let stop = Arc::new(AtomicBool::new(false));
    let (ask, asked) = mpsc::unbounded_channel();
    let following = {
        let (journal, codec, stop) = (Arc::clone(&journal), codec.clone(), Arc::clone(&stop));
        std::thread::spawn(move || results(journal.as_ref(), &codec, &stop, &ask))
    };
    let asking = tokio::spawn(rows(home.query.clone(), Micros::from(size) * SECOND, asked));

    let before = load_average();
    let duration = Duration::from_secs(u64::from(seconds));
    let run = RunConfig {
        rate: f64::from(rate),
        duration,
        batch: BATCH,
        connections: CONNECTIONS,
        ..RunConfig::new(&home.ingest)
    };
    let load = Load { fleet: Fleet::new(FleetConfig::telemetry(devices, 1))?, config: run };
    let began = now();
    let report = loadgen::run(load, std::future::pending::<()>()).await?;
    ensure!(report.uncertain == 0 && report.rejected_unexpected == 0, "{report}");
    tokio::time::sleep(REST).await;
    stop.store(true, Ordering::Relaxed);
    let visible = tokio::task::block_in_place(|| following.join())
        .map_err(|_| anyhow::anyhow!("the consumer ended early"))??;
    let stored = asking.await??;
    home.alive()?;

    let closed =
        tokio::task::block_in_place(|| closings(journal.as_ref(), &codec, Micros::from(size) * SECOND))?;
    journal.close();
    println!(
        "{rate} readings a second of {devices} devices for {seconds} s, windows of {size} s; load average {before} \
         before, {} after",
        load_average()
    );
    println!("{report}");
    for name in ["p", "s", "i", "d"] {
        let (cpu, peak) = home.used(name)?;
        println!("{name}: {cpu:.1} s of a processor, peak {} MB", peak >> 20);
    }
    tell(&closed, &visible, &stored, began + WARM_UP)
}

#[expect(clippy::print_stdout, reason = "the result of a benchmark")]
fn tell(
    closed: &HashMap<Closing, Closed>,
    visible: &HashMap<Closing, Visible>,
    stored: &HashMap<Closing, Micros>,
    warm: Micros,
) -> Result<()> {
    let missing = closed.keys().filter(|window| !visible.contains_key(*window)).count();
    ensure!(missing == 0, "{missing} of {} closed windows have no result", closed.len());
    let warmed = || closed.iter().filter(|(_, closed)| closed.appended >= warm);
    let took = |of: &dyn Fn(&Closing, &Closed) -> Option<Micros>| -> Vec<Micros> {
        warmed().filter_map(|(window, closed)| of(window, closed)).collect()
    };
    let seen = |window: &Closing| visible.get(window).map(|result| result.seen);
    let appended = |window: &Closing| visible.get(window).map(|result| result.appended);
    print(
        "append of the closing record -> committed result",
        took(&|window, closed| Some(seen(window)? - closed.appended)),
    );
    print(
        "append of the closing record -> stored row",
        took(&|window, closed| Some(stored.get(window)? - closed.appended)),
    );
    print(
        "receipt at ingest -> committed result",
        took(&|window, closed| Some(seen(window)? - closed.ingest_at?)),
    );
    println!("of which");
    print("  receipt at ingest -> append", took(&|_, closed| Some(closed.appended - closed.ingest_at?)));
    print(
        "  append -> append of the result",
        took(&|window, closed| Some(appended(window)? - closed.appended)),
    );
    print("  append of the result -> seen", took(&|window, _| Some(seen(window)? - appended(window)?)));
    println!("{} windows closed in all, each has its result", closed.len());
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the result of a benchmark")]
#[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
fn print(name: &str, mut took: Vec<Micros>) {
    took.sort_unstable();
    let at = |share: usize| took.get(took.len() * share / 1_000).map_or(f64::NAN, |took| *took as f64 / 1e3);
    let most = took.last().map_or(f64::NAN, |took| *took as f64 / 1e3);
    println!(
        "{name}: p50 {:.1} ms, p90 {:.1}, p99 {:.1}, p99.9 {:.1}, max {most:.1} ({} of them)",
        at(500),
        at(900),
        at(990),
        at(999),
        took.len()
    );
}

/// When each window's first result was visible.
fn results(
    journal: &dyn Journal,
    codec: &Codec,
    stop: &AtomicBool,
    ask: &mpsc::UnboundedSender<Closing>,
) -> Result<HashMap<Closing, Visible>> {
    let mut visible = HashMap::new();
    follow(journal, stop, &mut |seen| {
        let Ok(row) = codec.decode::<Aggregate>(seen.value) else { return };
        if row.kind != EmissionKind::OnTime {
            return;
        }
        if sampled(&row.device_id) {
            // Nobody listens once the other side has failed, which is told there.
            let _ = ask.send((row.device_id.clone(), row.end));
        }
        let result = Visible { appended: seen.appended, seen: seen.seen };
        visible.entry((row.device_id, row.end)).or_insert(result);
    })?;
    Ok(visible)
}

fn sampled(device: &str) -> bool {
    schemas::partition::partition_of(device.as_bytes(), SAMPLED) == 0
}

/// Asks the query API for each row until it is there.
async fn rows(
    query: String,
    size: Micros,
    mut asked: mpsc::UnboundedReceiver<Closing>,
) -> Result<HashMap<Closing, Micros>> {
    let http = reqwest::Client::builder().timeout(STORED_MAX).no_proxy().build()?;
    let mut asking = tokio::task::JoinSet::new();
    let mut stored = HashMap::new();
    while let Some((device, end)) = asked.recv().await {
        let (http, url) = (http.clone(), format!("{query}/v1/devices/{device}/windows"));
        asking.spawn(async move {
            let from = jiff::Timestamp::from_microsecond(end - size)?.to_string();
            let to = jiff::Timestamp::from_microsecond(end)?.to_string();
            let which = [("metric", METRIC), ("window", "w"), ("limit", "1"), ("from", &from), ("to", &to)];
            tokio::time::timeout(STORED_MAX, async {
                loop {
                    let answer = http.get(&url).query(&which).send().await;
                    // 404 as long as nothing is stored of a device; 503 while the store is busy.
                    if let Ok(answer) = answer
                        && answer.status().is_success()
                        && answer.text().await.is_ok_and(|text| text.contains("\"revision\""))
                    {
                        return ((device, end), now());
                    }
                    tokio::time::sleep(ASK_EVERY).await;
                }
            })
            .await
            .context("a row was not stored in time")
        });
        while let Some(answered) = asking.try_join_next() {
            stored.extend([answered??]);
        }
    }
    while let Some(answered) = asking.join_next().await {
        stored.extend([answered??]);
    }
    Ok(stored)
}

/// The reading that closed each window, from the log.
fn closings(journal: &dyn Journal, codec: &Codec, size: Micros) -> Result<HashMap<Closing, Closed>> {
    let mut closed = HashMap::new();
    let mut reader = journal.reader()?;
    for partition in 0..PARTITIONS {
        let at = TopicPartition { topic: Topic::Raw, partition };
        let mut open: HashMap<String, Micros> = HashMap::new();
        let (mut next, end) = reader.bounds(at)?;
        while next < end {
            let after = reader.read(at, next, READ_MAX, &mut |record| {
                let Ok(Raw::Reading(reading)) = codec.decode::<Raw>(record.value) else { return };
                let Some(event_time) = reading.event_time else { return };
                let in_window = event_time.div_euclid(size) * size;
                if let Some(before) = open.get(&reading.device_id).copied()
                    && in_window > before
                {
                    let time = |text: &[u8]| std::str::from_utf8(text).ok()?.parse().ok();
                    let ingest_at = record.headers.first("ingest-at", time).flatten();
                    let of = Closed { appended: record.received_at, ingest_at };
                    closed.insert((reading.device_id.clone(), before + size), of);
                }
                let newest = open.entry(reading.device_id).or_insert(in_window);
                *newest = in_window.max(*newest);
            })?;
            ensure!(after > next, "{at:?} ends at {end} and brings nothing from {next} on");
            next = after;
        }
    }
    Ok(closed)
}

//! Draining a backlog from Kafka, exactly once, beside a loop over librdkafka's batch call that drops every record: the
//! same topics, the same broker, the same run, each in a process of its own on one core.
//!
//! `drain_kafka [RECORDS] [ROUNDS] [FORMAT]`: so many records (4,000,000) in each of so many rounds (3), `json` or
//! `avro` (both). Topics stay behind under `bench-*`: use a broker that is thrown away. It is `HIGHWATER_TEST_KAFKA`. Needs `cargo build --release -p journal --example kafka_floor`.

use anyhow::{Context, Result, bail, ensure};
use bench::drain::pipeline;
use bench::workload::{Format, Records, Telemetry};
use journal::kafka::topics::{self, Plan};
use journal::kafka::{KafkaConfig, KafkaJournal};
use journal::port::{Journal, JournalError, NewRecord, TopicPartition};
use processor::step::NoModels;
use processor::{Processor, Start};
use schemas::codec::{Codec, LocalIds};
use schemas::partition::partition_of;
use schemas::pipeline::Pipeline;
use schemas::topic::Topic;
use std::process::Command;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

const PARTITIONS: u32 = 4;
const DEVICES: u32 = 10_000;
/// Readings of the whole fleet a second of event time, as `workload` has them.
const RATE: u32 = 10_000;
/// Appends on their way while topics are filled.
const IN_FLIGHT: usize = 64;
const FILL_BATCH: usize = 2_000;
/// The core that is measured; the broker and everything else have the others.
const CORE: &str = "1";
const DRAIN_MAX: Duration = Duration::from_secs(600);

/// What a leg used.
#[derive(serde::Serialize, serde::Deserialize)]
struct Used {
    cpu_seconds: f64,
    wall_seconds: f64,
    peak_bytes: u64,
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let broker = std::env::var("HIGHWATER_TEST_KAFKA").context("HIGHWATER_TEST_KAFKA names no broker")?;
    if let [leg, prefix, records] = args.as_slice()
        && leg == "process"
    {
        return print_json(&drain(&broker, prefix, records.parse()?)?);
    }
    let number = |index: usize, default: usize| match args.get(index) {
        Some(text) => text.parse::<usize>().with_context(|| format!("`{text}` is not a number")),
        None => Ok(default),
    };
    let (records, rounds) = (number(0, 4_000_000)?, number(1, 3)?);
    let formats = match args.get(2).map(String::as_str) {
        None => vec![Format::Json, Format::Avro],
        Some("json") => vec![Format::Json],
        Some("avro") => vec![Format::Avro],
        Some(other) => bail!("`{other}` is neither json nor avro"),
    };
    for format in formats {
        compare(&broker, format, records, rounds)?;
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the result of a benchmark")]
fn print_json(used: &Used) -> Result<()> {
    println!("{}", serde_json::to_string(used)?);
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the result of a benchmark")]
#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
fn compare(broker: &str, format: Format, records: usize, rounds: usize) -> Result<()> {
    let millions = records as f64 / 1e6;
    println!("{}: {records} records, {DEVICES} devices, {PARTITIONS} partitions, lz4", format.name());
    println!("round   dropped: CPU-s/M   records/s   MB   drained: CPU-s/M   records/s   MB   ratio");
    let mut ratios = Vec::new();
    for round in 1..=rounds {
        let prefix = format!("bench-{}-{}-{round}.", format.name(), std::process::id());
        let begun = Instant::now();
        prepare(broker, &prefix)?;
        fill(broker, &prefix, format, records)?;
        eprintln!("filled in {:?}", begun.elapsed());
        let floor = leg(&beside("examples/kafka_floor")?, &[&prefix, &records.to_string()])?;
        let ours = leg(&std::env::current_exe()?, &["process", &prefix, &records.to_string()])?;
        let ratio = ours.cpu_seconds / floor.cpu_seconds;
        ratios.push(ratio);
        let figures = |used: &Used| {
            let (cpu, rate) = (used.cpu_seconds / millions, records as f64 / used.wall_seconds);
            format!("{cpu:>16.3} {rate:>11.0} {:>4}", used.peak_bytes >> 20)
        };
        println!("{round:>5} {} {}   {ratio:.2}", figures(&floor), figures(&ours));
    }
    ratios.sort_by(f64::total_cmp);
    println!("median ratio {:.2}\n", ratios[ratios.len() / 2]);
    Ok(())
}

fn beside(name: &str) -> Result<std::path::PathBuf> {
    let here = std::env::current_exe()?;
    Ok(here.parent().context("the program lies in no folder")?.join(name))
}

/// Runs a program on the measured core and reads what it says of itself.
fn leg(program: &std::path::Path, args: &[&str]) -> Result<Used> {
    let output = Command::new("taskset")
        .args(["-c", CORE])
        .arg(program)
        .args(args)
        .stderr(std::process::Stdio::inherit())
        .output()
        .context("running taskset")?;
    ensure!(output.status.success(), "{} ended with {}", program.display(), output.status);
    serde_json::from_slice(&output.stdout).context("reading what the leg used")
}

fn config(broker: &str, prefix: &str) -> KafkaConfig {
    KafkaConfig { prefix: prefix.to_owned(), statistics_every: None, ..KafkaConfig::new(broker) }
}

/// One-minute windows of one metric that close at once, as the design states the work.
fn rules() -> Pipeline {
    let mut pipeline = pipeline(0);
    if let Ok(names) = std::env::var("HIGHWATER_BENCH_METRICS") {
        let names = names.split(',').map(str::to_owned).collect();
        pipeline.metrics = schemas::pipeline::Metrics::Named(names);
    }
    pipeline
}

fn open(broker: &str, prefix: &str) -> Result<(Arc<KafkaJournal>, Codec)> {
    let journal = KafkaJournal::open(config(broker, prefix), Arc::new(LocalIds::default()), None)?;
    let codec = journal::ids::codec(Arc::clone(&journal) as Arc<dyn Journal>)?;
    Ok((journal, codec))
}

fn until_end(journal: &Arc<KafkaJournal>, codec: Codec) -> Result<Processor> {
    let mut processor = Processor::start(Start {
        journal: Arc::clone(journal) as Arc<dyn Journal>,
        codec,
        models: Arc::new(NoModels),
        config: processor::config::ProcessorConfig::default(),
        pipeline: rules(),
        apply: false,
        until_end: true,
        build: "bench".to_owned(),
    })?;
    ensure!(processor.wait(DRAIN_MAX)?, "the backlog was not drained in {DRAIN_MAX:?}");
    Ok(processor)
}

/// Topics, and the configuration in front of every record.
fn prepare(broker: &str, prefix: &str) -> Result<()> {
    let plan = Plan { partitions: Some(PARTITIONS), ..Plan::default() };
    topics::create(&config(broker, prefix), &plan)?;
    let (journal, codec) = open(broker, prefix)?;
    until_end(&journal, codec)?;
    journal.close();
    Ok(())
}

fn fill(broker: &str, prefix: &str, format: Format, count: usize) -> Result<()> {
    let (journal, codec) = open(broker, prefix)?;
    let period = 1_000_000 / i64::from(RATE) * i64::from(DEVICES);
    let mut telemetry = Telemetry::new(format, &codec, DEVICES, period);
    let (appender, (tell, told)) = (journal.appender(), channel());
    let (mut sent, mut in_flight, mut records) = (0, 0, Records::default());
    while sent < count {
        records.clear();
        telemetry.round(&mut records);
        let all: Vec<NewRecord> = records
            .iter()
            .take(count - sent)
            .map(|(key, value, _)| NewRecord {
                to: TopicPartition { topic: Topic::Raw, partition: partition_of(key, PARTITIONS) },
                key: Some(key.to_vec()),
                value: value.to_vec(),
                headers: Vec::new(),
            })
            .collect();
        sent += all.len();
        for batch in all.chunks(FILL_BATCH) {
            while in_flight >= IN_FLIGHT {
                told.recv()??;
                in_flight -= 1;
            }
            let tell = tell.clone();
            let done = move |appended: Result<Vec<i64>, JournalError>| {
                // Nobody listens once the benchmark has failed.
                let _ = tell.send(appended);
            };
            appender.append(batch.to_vec(), Box::new(done))?;
            in_flight += 1;
        }
    }
    for _ in 0..in_flight {
        told.recv()??;
    }
    journal.close();
    Ok(())
}

/// The leg that is measured: from nothing to the end of the log, everything committed.
fn drain(broker: &str, prefix: &str, records: usize) -> Result<Used> {
    let begun = Instant::now();
    let (journal, codec) = open(broker, prefix)?;
    let processor = until_end(&journal, codec)?;
    let wall_seconds = begun.elapsed().as_secs_f64();
    let (cpu_seconds, peak_bytes) = bench::measure::used("self")?;
    let aggregated: i64 =
        processor.view().partitions().iter().map(|partition| partition.totals.aggregated).sum();
    let committed = if aggregated == 0 { committed(&journal)? } else { aggregated };
    ensure!(committed == i64::try_from(records)?, "{committed} of {records} readings were aggregated");
    journal.close();
    Ok(Used { cpu_seconds, wall_seconds, peak_bytes })
}

/// What was aggregated, by the last audit record of each partition.
fn committed(journal: &Arc<KafkaJournal>) -> Result<i64> {
    let codec = journal::ids::codec(Arc::clone(journal) as Arc<dyn Journal>)?;
    let mut reader = journal.reader()?;
    let mut sum = 0;
    for partition in 0..PARTITIONS {
        let at = TopicPartition { topic: Topic::Audit, partition };
        let (start, end) = reader.bounds(at)?;
        let (mut next, mut last) = (start, None);
        while next < end {
            let after = reader.read(at, next, 10_000, &mut |record| {
                last = codec.decode::<schemas::record::Audit>(record.value).ok();
            })?;
            ensure!(after > next, "the audit topic's end at {end} cannot be reached from {next}");
            next = after;
        }
        sum += last.map_or(0, |audit| audit.totals.aggregated);
    }
    Ok(sum)
}

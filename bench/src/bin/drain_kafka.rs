//! Draining a backlog from Kafka, exactly once, beside a loop over librdkafka's batch call that drops every record: the
//! same topics, the same broker, the same run, each in a process of its own on one core.
//!
//! `drain_kafka [RECORDS] [ROUNDS] [FORMAT] [WORK] [MODE]`: so many records (4,000,000) in each of so many rounds (3);
//! `json` or `avro`; `tumbling` (a minute, one metric), `scored` (the same, and the metric is scored by the shipped
//! `ewma`), `seven` (a minute, seven metrics of readings that have seven) or `hopping` (five minutes every minute, one
//! metric); `exactly` or `least` (once). `both` for any of the three is all of them, `a,b` these two, in turn. Topics stay behind under `bench-*`: use a broker that is thrown away. It is
//! `HIGHWATER_TEST_KAFKA`; `HIGHWATER_BENCH_LIBRDKAFKA="name=value ..."` passes settings to librdkafka on both sides.
//! Needs `cargo build --release -p journal --example kafka_floor`.

use anyhow::{Context, Result, ensure};
use bench::at_least_once::AtLeastOnce;
use bench::drain::{models, pipeline, scored};
use bench::workload::{Format, Records, Telemetry};
use journal::kafka::topics::{self, Plan};
use journal::kafka::{KafkaConfig, KafkaJournal};
use journal::port::{Journal, JournalError, NewRecord, TopicPartition};
use processor::{Processor, Start};
use schemas::codec::{Codec, LocalIds};
use schemas::partition::partition_of;
use schemas::pipeline::{Metrics, Pipeline, WindowKind};
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

/// What is to be done with a reading.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Work {
    Tumbling,
    Scored,
    Seven,
    Hopping,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Exactly,
    Least,
}

/// One line of the table.
#[derive(Clone, Copy)]
struct Case {
    format: Format,
    work: Work,
    mode: Mode,
}

const FORMATS: [(&str, Format); 2] = [("json", Format::Json), ("avro", Format::Avro)];
const WORKS: [(&str, Work); 4] = [
    ("tumbling", Work::Tumbling),
    ("scored", Work::Scored),
    ("seven", Work::Seven),
    ("hopping", Work::Hopping),
];
const MODES: [(&str, Mode); 2] = [("exactly", Mode::Exactly), ("least", Mode::Least)];

/// What words name; `both`: all of them.
fn named<T: Copy>(word: Option<&String>, all: &[(&str, T)]) -> Result<Vec<T>> {
    let Some(word) = word else { return Ok(vec![all[0].1]) };
    let wanted = |name: &str| word == "both" || word.split(',').any(|one| one == name);
    let found: Vec<T> = all.iter().filter(|(name, _)| wanted(name)).map(|(_, value)| *value).collect();
    let names: Vec<&str> = all.iter().map(|(name, _)| *name).collect();
    ensure!(!found.is_empty(), "`{word}` is none of {names:?}, and not `both`");
    Ok(found)
}

fn name_of<T: Copy + PartialEq>(value: T, all: &[(&'static str, T)]) -> &'static str {
    all.iter().find(|(_, of)| *of == value).map_or("?", |(name, _)| name)
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let broker = std::env::var("HIGHWATER_TEST_KAFKA").context("HIGHWATER_TEST_KAFKA names no broker")?;
    if let [leg, prefix, records, work, mode] = args.as_slice()
        && leg == "process"
    {
        let (work, mode) = (named(Some(work), &WORKS)?[0], named(Some(mode), &MODES)?[0]);
        return print_json(&drain(&broker, prefix, records.parse()?, work, mode)?);
    }
    let number = |index: usize, default: usize| match args.get(index) {
        Some(text) => text.parse::<usize>().with_context(|| format!("`{text}` is not a number")),
        None => Ok(default),
    };
    let (records, rounds) = (number(0, 4_000_000)?, number(1, 3)?);
    let mut cases = Vec::new();
    for format in named(args.get(2), &FORMATS)? {
        for work in named(args.get(3), &WORKS)? {
            for mode in named(args.get(4), &MODES)? {
                cases.push(Case { format, work, mode });
            }
        }
    }
    compare(&broker, &cases, records, rounds)
}

#[expect(clippy::print_stdout, reason = "the result of a benchmark")]
fn print_json(used: &Used) -> Result<()> {
    println!("{}", serde_json::to_string(used)?);
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the result of a benchmark")]
#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
fn compare(broker: &str, cases: &[Case], records: usize, rounds: usize) -> Result<()> {
    let millions = records as f64 / 1e6;
    println!("{records} records, {DEVICES} devices, {PARTITIONS} partitions, lz4");
    println!(
        "case                    dropped: CPU-s/M   records/s   MB   drained: CPU-s/M   records/s   MB   ratio"
    );
    let mut ratios = vec![Vec::new(); cases.len()];
    for round in 1..=rounds {
        for (case, ratios) in cases.iter().zip(&mut ratios) {
            let [format, work, mode] = case.names();
            let prefix = format!("bench-{format}-{work}-{mode}-{}-{round}.", std::process::id());
            prepare(broker, &prefix, case.work)?;
            fill(broker, &prefix, *case, records)?;
            let floor = leg(&beside("examples/kafka_floor")?, &[&prefix, &records.to_string()])?;
            let args = ["process", &prefix, &records.to_string(), work, mode];
            let ours = leg(&std::env::current_exe()?, &args)?;
            let ratio = ours.cpu_seconds / floor.cpu_seconds;
            ratios.push(ratio);
            let figures = |used: &Used| {
                let (cpu, rate) = (used.cpu_seconds / millions, records as f64 / used.wall_seconds);
                format!("{cpu:>16.3} {rate:>11.0} {:>4}", used.peak_bytes >> 20)
            };
            println!("{format} {work:<8} {mode:<7} {} {}   {ratio:.2}", figures(&floor), figures(&ours));
        }
    }
    for (case, ratios) in cases.iter().zip(&mut ratios) {
        ratios.sort_by(f64::total_cmp);
        println!("{}: median ratio {:.2}", case.names().join(" "), ratios[ratios.len() / 2]);
    }
    Ok(())
}

impl Case {
    fn names(self) -> [&'static str; 3] {
        [name_of(self.format, &FORMATS), name_of(self.work, &WORKS), name_of(self.mode, &MODES)]
    }
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
    let settings = std::env::var("HIGHWATER_BENCH_LIBRDKAFKA").unwrap_or_default();
    let pairs = settings.split_whitespace().filter_map(|setting| setting.split_once('='));
    KafkaConfig {
        prefix: prefix.to_owned(),
        statistics_every: None,
        librdkafka: pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        ..KafkaConfig::new(broker)
    }
}

/// Windows that close at once, as the design states the work.
fn rules(work: Work) -> Result<Pipeline> {
    let mut pipeline = pipeline(0);
    match work {
        Work::Tumbling => {}
        Work::Scored => pipeline = scored(0)?,
        Work::Seven => pipeline.metrics = Metrics::Named(Telemetry::names(7)),
        Work::Hopping => {
            let minute = 60_000_000;
            for window in &mut pipeline.windows {
                window.name = "5m".into();
                window.kind = WindowKind::Hopping { size: 5 * minute, advance: minute };
            }
        }
    }
    Ok(pipeline)
}

fn open(broker: &str, prefix: &str) -> Result<(Arc<KafkaJournal>, Codec)> {
    let journal = KafkaJournal::open(config(broker, prefix), Arc::new(LocalIds::default()), None)?;
    let codec = journal::ids::codec(Arc::clone(&journal) as Arc<dyn Journal>)?;
    Ok((journal, codec))
}

fn until_end(journal: Arc<dyn Journal>, codec: Codec, work: Work) -> Result<Processor> {
    let mut processor = Processor::start(Start {
        journal,
        codec,
        models: models()?,
        config: processor::config::ProcessorConfig::default(),
        pipeline: rules(work)?,
        apply: false,
        until_end: true,
        build: "bench".to_owned(),
    })?;
    ensure!(processor.wait(DRAIN_MAX)?, "the backlog was not drained in {DRAIN_MAX:?}");
    Ok(processor)
}

/// Topics, and the configuration in front of every record.
fn prepare(broker: &str, prefix: &str, work: Work) -> Result<()> {
    let plan = Plan { partitions: Some(PARTITIONS), ..Plan::default() };
    topics::create(&config(broker, prefix), &plan)?;
    let (journal, codec) = open(broker, prefix)?;
    until_end(Arc::clone(&journal) as Arc<dyn Journal>, codec, work)?;
    journal.close();
    Ok(())
}

fn fill(broker: &str, prefix: &str, case: Case, count: usize) -> Result<()> {
    let (journal, codec) = open(broker, prefix)?;
    let period = 1_000_000 / i64::from(RATE) * i64::from(DEVICES);
    let measurements = if case.work == Work::Seven { 7 } else { 4 };
    let mut telemetry = Telemetry::new(case.format, &codec, DEVICES, period).measuring(measurements);
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
fn drain(broker: &str, prefix: &str, records: usize, work: Work, mode: Mode) -> Result<Used> {
    let begun = Instant::now();
    let (journal, codec) = open(broker, prefix)?;
    let inner = Arc::clone(&journal) as Arc<dyn Journal>;
    let used: Arc<dyn Journal> = match mode {
        Mode::Exactly => inner,
        Mode::Least => Arc::new(AtLeastOnce::over(inner)),
    };
    let processor = until_end(used, codec, work)?;
    let wall_seconds = begun.elapsed().as_secs_f64();
    let (cpu_seconds, peak_bytes) = bench::measure::used("self")?;
    drop(processor);
    let (aggregated, scored) = committed(&journal)?;
    let records = i64::try_from(records)?;
    ensure!(aggregated == records, "{aggregated} of {records} readings were aggregated");
    let wanted = if work == Work::Scored { records } else { 0 };
    ensure!(scored == wanted, "{scored} instead of {wanted} readings were scored");
    journal.close();
    Ok(Used { cpu_seconds, wall_seconds, peak_bytes })
}

/// What was aggregated and what was scored, by the last audit record of each partition.
fn committed(journal: &Arc<KafkaJournal>) -> Result<(i64, i64)> {
    let codec = journal::ids::codec(Arc::clone(journal) as Arc<dyn Journal>)?;
    let mut reader = journal.reader()?;
    let mut sums = (0, 0);
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
        if let Some(audit) = last {
            sums.0 += audit.totals.aggregated;
            sums.1 += audit.totals.scored;
        }
    }
    Ok(sums)
}

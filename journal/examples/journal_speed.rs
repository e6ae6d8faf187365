//! How fast the SQLite home is on this machine: appends in batches of 500, reads, commit latency.
//!
//! `cargo run --release -p journal --example journal_speed [DIRECTORY] [RECORDS] [CHECKPOINT_PAGES]`

#![allow(clippy::unwrap_used, reason = "a measurement: a failure ends it")]

use journal::port::{Committed, ConsumerEvent, Journal, NewRecord, TopicPartition, Transaction};
use journal::sqlite::{SqliteConfig, SqliteJournal};
use schemas::topic::Topic;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

const BATCH: u64 = 500;
const IN_FLIGHT: usize = 16;
const COMMITS: usize = 2_000;

fn raw(partition: u32) -> TopicPartition {
    TopicPartition { topic: Topic::Raw, partition }
}

fn reading(index: u64, to: TopicPartition) -> NewRecord {
    let device = index % 10_000;
    NewRecord {
        to,
        key: Some(format!("sensor-{device}").into_bytes()),
        value: vec![b'v'; 80],
        headers: vec![("ingest-at".to_owned(), b"1627847280000000".to_vec())],
    }
}

fn batch(number: u64) -> Vec<NewRecord> {
    (0..BATCH).map(|index| reading(number * BATCH + index, raw((index % 4) as u32))).collect()
}

fn append(journal: &SqliteJournal, records: u64) -> Duration {
    let batches: Vec<Vec<NewRecord>> = (0..records / BATCH).map(batch).collect();
    let appender = journal.appender();
    let (sender, receiver) = channel();
    let mut in_flight = 0;
    let begun = Instant::now();
    for batch in batches {
        if in_flight == IN_FLIGHT {
            receiver.recv().unwrap();
            in_flight -= 1;
        }
        let sender = sender.clone();
        appender
            .append(
                batch,
                Box::new(move |done| {
                    done.unwrap();
                    sender.send(()).unwrap();
                }),
            )
            .unwrap();
        in_flight += 1;
    }
    (0..in_flight).for_each(|_| receiver.recv().unwrap());
    begun.elapsed()
}

fn consume(journal: &SqliteJournal, records: u64) -> (Duration, u64) {
    let mut consumer = journal.consumer("speed", "one", &[Topic::Raw]).unwrap();
    let mut assigned = Vec::new();
    consumer
        .poll(Duration::from_secs(1), 0, &mut |event| {
            if let ConsumerEvent::Assigned(partitions) = event {
                assigned.extend(partitions.iter().map(|assignment| assignment.partition));
            }
        })
        .unwrap();
    for partition in assigned {
        consumer.seek(partition, 0).unwrap();
    }
    let (mut read, mut bytes) = (0, 0);
    let begun = Instant::now();
    while read < records as usize {
        read += consumer
            .poll(Duration::from_secs(1), 2000, &mut |event| {
                if let ConsumerEvent::Batch { records, .. } = event {
                    bytes += records
                        .iter()
                        .map(|record| {
                            let header = record.headers.first("ingest-at", <[u8]>::len).unwrap();
                            record.value.len() + header + record.key.unwrap().len()
                        })
                        .sum::<usize>();
                }
            })
            .unwrap();
    }
    (begun.elapsed(), bytes as u64)
}

fn commits(journal: &SqliteJournal) -> Vec<Duration> {
    let mut consumer = journal.consumer("latency", "one", &[Topic::Raw]).unwrap();
    consumer.poll(Duration::from_secs(1), 0, &mut |_| {}).unwrap();
    let token = consumer.token().unwrap();
    let mut committer = journal.committer("latency").unwrap();
    let mut took: Vec<Duration> = (0..COMMITS as u64)
        .map(|number| {
            let records = (0..200)
                .map(|index| {
                    let to = TopicPartition { topic: Topic::Aggregates, partition: (index % 4) as u32 };
                    reading(number * 200 + index, to)
                })
                .collect();
            let offset = i64::try_from(number).unwrap();
            let at = |partition| (raw(partition), Committed { offset, metadata: "m".repeat(700) });
            let transaction = Transaction { records, offsets: (0..4).map(at).collect() };
            let begun = Instant::now();
            committer.commit(&transaction, &token).unwrap();
            begun.elapsed()
        })
        .collect();
    took.sort_unstable();
    took
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let directory = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let records: u64 = arguments.next().map_or(1_000_000, |text| text.parse().unwrap());
    let directory = tempfile::TempDir::new_in(directory).unwrap();
    let path = directory.path().join("journal.db");
    let mut config = SqliteConfig::new(&path);
    if let Some(pages) = arguments.next() {
        config.checkpoint_pages = pages.parse().unwrap();
    }
    let journal: Arc<SqliteJournal> = SqliteJournal::open(config).unwrap();

    let seconds = append(&journal, records).as_secs_f64();
    let stats = journal.stats();
    println!(
        "append    {:>10.0} records/s in batches of {BATCH}, {} syncs",
        records as f64 / seconds,
        stats.groups
    );
    let bytes = std::fs::metadata(&path).unwrap().len();
    println!("file      {:>10.1} bytes a record", bytes as f64 / records as f64);
    for pass in 1..=2 {
        let (took, bytes) = consume(&journal, records);
        let seconds = took.as_secs_f64();
        let (rate, volume) = (records as f64 / seconds, bytes as f64 / seconds / 1e6);
        println!("read {pass}    {rate:>10.0} records/s, {volume:.0} MB/s");
    }
    let took = commits(&journal);
    let quantile = |of_hundred: usize| took[took.len() * of_hundred / 100].as_secs_f64() * 1e3;
    println!(
        "commit    {:>10.2} ms median, {:.2} ms p99, {:.2} ms worst: 200 records, 4 positions of 700 bytes",
        quantile(50),
        quantile(99),
        took[COMMITS - 1].as_secs_f64() * 1e3
    );
}

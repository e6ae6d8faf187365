//! Books of a home nobody runs: from what was committed, and only when it adds up.

use super::*;
use crate::cli::ConfigArgs;
use crate::config::Base;
use journal::port::{Journal, NewRecord, TopicPartition};
use journal::sqlite::{SqliteConfig, SqliteJournal};
use schemas::record::{Audit, Totals};
use schemas::topic::Topic;
use std::path::Path;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

fn home(directory: &Path, audits: &[(u32, Totals)]) -> Arc<SqliteJournal> {
    let config = SqliteConfig { partitions: 2, ..SqliteConfig::new(directory.join("journal.db")) };
    let journal = SqliteJournal::open(config).expect("a new file");
    let codec = journal::ids::codec(Arc::clone(&journal) as Arc<dyn Journal>).expect("codec");
    let records: Vec<NewRecord> = audits
        .iter()
        .map(|(partition, totals)| {
            let audit = Audit {
                partition: i32::try_from(*partition).expect("small"),
                from: 0,
                to: totals.received,
                totals: totals.clone(),
                digest: vec![0; 16],
                write_clock: 1,
                generation: 0,
                snapshot: None,
                build: "test".to_owned(),
                trials: Vec::new(),
            };
            let to = TopicPartition { topic: Topic::Audit, partition: *partition };
            NewRecord { to, key: None, value: codec.to_bytes(&audit), headers: Vec::new() }
        })
        .collect();
    let (tell, told) = sync_channel(1);
    let done = Box::new(move |written| tell.send(written).expect("somebody waits"));
    journal.appender().append(records, done).expect("room");
    told.recv_timeout(Duration::from_secs(10)).expect("an answer").expect("written");
    journal
}

fn totals(received: i64, aggregated: i64, late: i64) -> Totals {
    Totals { received, aggregated, late, ..Totals::default() }
}

fn settings(directory: &Path, sets: &[&str]) -> Settings {
    let args = ConfigArgs {
        data: Some(directory.to_owned()),
        set: sets.iter().map(|&set| set.to_owned()).collect(),
        ..ConfigArgs::default()
    };
    Settings::load(&args, Base::Job).expect("right")
}

async fn answer(directory: &Path, path: &str) -> (u16, Value) {
    let offline = Offline::open(settings(directory, &[])).await.expect("readable").expect("free");
    let (status, answer) = offline.ask(Method::GET, path, String::new()).await.expect("an answer");
    (status.as_u16(), answer)
}

async fn books(directory: &Path, audits: &[(u32, Totals)]) -> Value {
    let journal = home(directory, audits);
    journal.close();
    drop(journal);
    answer(directory, "/v1/books").await.1
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_audit_of_each_partition_counts() {
    let directory = tempfile::tempdir().expect("a directory");
    let audits = [(0, totals(5, 5, 0)), (0, totals(9, 8, 1)), (1, totals(2, 2, 0))];
    let books = books(directory.path(), &audits).await;
    assert_eq!(books["balanced"], true, "{books}");
    let stage = &books["stages"][0];
    assert_eq!((&stage["received"], &stage["outcomes"]["aggregated"]), (&11.into(), &10.into()));
    assert_eq!(books["stages"][1]["stage"], "sink");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reading_without_an_outcome_is_seen() {
    let directory = tempfile::tempdir().expect("a directory");
    let books = books(directory.path(), &[(0, totals(9, 8, 1)), (1, totals(2, 1, 0))]).await;
    assert_eq!((&books["balanced"], &books["stages"][0]["difference"]), (&false.into(), &1.into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_home_that_nobody_runs_answers_every_path() {
    let directory = tempfile::tempdir().expect("a directory");
    let journal = home(directory.path(), &[(0, totals(5, 5, 0))]);
    journal.close();
    drop(journal);
    for (path, status) in [
        ("/v1/lag", 200),
        ("/v1/partitions", 200),
        ("/v1/partitions/1", 404),
        ("/v1/devices", 200),
        ("/v1/devices/a/state", 404),
        ("/v1/dead-letters", 200),
        ("/v1/config", 404),
        ("/v1/nothing", 404),
    ] {
        let (found, body) = answer(directory.path(), path).await;
        assert_eq!(found, status, "{path}: {body}");
    }
    let (_, listed) = answer(directory.path(), "/v1/partitions").await;
    assert_eq!(listed["items"].as_array().map(Vec::len), Some(2), "{listed}");
    assert_eq!(listed["items"][0]["state"], "elsewhere", "{listed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_home_that_is_not_there_is_not_made() {
    let directory = tempfile::tempdir().expect("a directory");
    let nothing =
        Offline::open(settings(directory.path(), &[])).await.err().expect("no such home").to_string();
    assert!(nothing.contains("--data"), "{nothing}");
    home(directory.path(), &[]).close();
    // A count that nobody configured is the file's own; one that is configured and differs is a mistake.
    let told = Offline::open(settings(directory.path(), &["journal.partitions=4"])).await;
    let told = told.err().expect("2 partitions").to_string();
    assert!(told.contains("has 2 partitions, 4 are configured"), "{told}");
}

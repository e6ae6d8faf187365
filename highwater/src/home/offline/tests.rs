//! Books of a home nobody runs: from what was committed, and only when it adds up.

use super::*;
use journal::port::{NewRecord, TopicPartition};
use journal::sqlite::SqliteConfig;
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

#[test]
fn the_last_audit_of_each_partition_counts() {
    let directory = tempfile::tempdir().expect("a directory");
    let journal = home(directory.path(), &[(0, totals(5, 5, 0)), (0, totals(9, 8, 1)), (1, totals(2, 2, 0))]);
    let books = books(&(journal as Arc<dyn Journal>)).expect("readable");
    assert!(books.balanced, "{books}");
    let stage = &books.stages[0];
    assert_eq!((stage.total.received, stage.total.outcomes["aggregated"]), (11, 10));
    assert_eq!(books.stages[1].stage, "sink");
}

#[test]
fn a_reading_without_an_outcome_is_seen() {
    let directory = tempfile::tempdir().expect("a directory");
    let journal = home(directory.path(), &[(0, totals(9, 8, 1)), (1, totals(2, 1, 0))]);
    let books = books(&(journal as Arc<dyn Journal>)).expect("readable");
    assert!(!books.balanced);
    assert_eq!(books.stages[0].total.difference, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_home_in_use_is_somebody_else_s_to_ask() {
    let directory = tempfile::tempdir().expect("a directory");
    let args = ConfigArgs { data: Some(directory.path().to_owned()), ..ConfigArgs::default() };
    let nothing = answer(&args, "/v1/books").await.expect_err("no such home").to_string();
    assert!(nothing.contains("--data"), "{nothing}");
    let held = home(directory.path(), &[]);
    // The lock is a process's: this one may open its own file again, so only the figures are looked at.
    held.close();
    drop(held);
    let books = answer(&args, "/v1/books").await.expect("readable").expect("free");
    assert_eq!(books["balanced"], true, "{books}");
    // A count that nobody configured is the file's own; one that is configured and differs is a mistake.
    let args = ConfigArgs { set: vec!["journal.partitions=4".to_owned()], ..args };
    let told = answer(&args, "/v1/books").await.expect_err("2 partitions").to_string();
    assert!(told.contains("has 2 partitions, 4 are configured"), "{told}");
}

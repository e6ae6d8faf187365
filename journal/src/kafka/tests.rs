//! The adapter on a real broker (`HIGHWATER_TEST_KAFKA`): the conformance suite, and what only this home can do.

mod topics;

use super::{KafkaConfig, KafkaJournal};
use crate::conformance::{self, APPEND_QUEUE_BYTES_MAX, Harness, PARTITIONS};
use crate::port::{Committed, Journal, NewRecord, TopicPartition, Transaction};
use schemas::codec::LocalIds;
use schemas::topic::Topic;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use topics::Topics;

/// The address that a variable names, or a line that the test is skipped; where servers are required, a failure.
fn named(variable: &str, test: &str) -> Option<String> {
    let found = std::env::var(variable).ok().filter(|address| !address.is_empty());
    if found.is_none() {
        let required = std::env::var("HIGHWATER_TEST_REQUIRED").is_ok_and(|value| value == "1");
        assert!(!required, "{test}: {variable} is not set");
        // Not `println!`, which the test harness keeps to itself when a test passes.
        let line = format!("skipped: {test}: {variable} is not set\n");
        let _ = std::io::Write::write_all(&mut std::io::stderr().lock(), line.as_bytes());
    }
    found
}

fn config(broker: &str, prefix: &str) -> KafkaConfig {
    KafkaConfig {
        prefix: prefix.to_owned(),
        append_queue_bytes_max: APPEND_QUEUE_BYTES_MAX,
        // The least that a broker takes by default.
        session_timeout: Duration::from_secs(6),
        ..KafkaConfig::new(broker)
    }
}

/// Topics of its own on a shared broker, removed at the end.
struct OnBroker {
    topics: Topics,
    config: KafkaConfig,
    ids: Arc<LocalIds>,
    journal: Arc<KafkaJournal>,
}

impl OnBroker {
    fn new(broker: &str) -> Self {
        let topics = Topics::create(broker, PARTITIONS);
        let config = config(broker, topics.prefix());
        let ids = Arc::new(LocalIds::default());
        let journal = KafkaJournal::open(config.clone(), Arc::clone(&ids) as _, None).unwrap();
        Self { topics, config, ids, journal }
    }

    /// The broker's process, where this machine started it.
    fn signal(&self, action: &str) {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/stack/kafka");
        let done = Command::new(script).arg(action).status().unwrap();
        assert!(done.success(), "{script} {action}");
    }
}

impl Harness for OnBroker {
    fn journal(&self) -> Arc<dyn Journal> {
        Arc::clone(&self.journal) as Arc<dyn Journal>
    }

    fn reopen(&mut self) {
        self.journal.close();
        self.journal = KafkaJournal::open(self.config.clone(), Arc::clone(&self.ids) as _, None).unwrap();
    }

    fn expire(&mut self, partition: TopicPartition) {
        self.topics.delete_records(partition);
    }

    fn stall_appends(&mut self) {
        self.signal("pause");
    }

    fn release_appends(&mut self) {
        self.signal("resume");
    }

    fn lose_next_answer(&mut self, _: bool) -> bool {
        false
    }
}

/// Checks run beside each other: each has topics of its own, and most of their time is waiting for the group.
const AT_ONCE: usize = 6;
/// It stops the broker, so it has it alone.
const ALONE: &str = "a full queue refuses at once";

#[test]
fn real_kafka_conforms() {
    let Some(broker) = named("HIGHWATER_TEST_KAFKA", "real_kafka_conforms") else { return };
    let (alone, together): (Vec<_>, Vec<_>) =
        conformance::CHECKS.iter().partition(|(name, _)| *name == ALONE);
    let queue = std::sync::Mutex::new(together);
    let failed = std::sync::Mutex::new(Vec::new());
    let run = |(name, check): &(&'static str, conformance::Check)| {
        let mut harness = OnBroker::new(&broker);
        println!("{name} ...");
        let started = std::time::Instant::now();
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| check(&mut harness)));
        println!("{name}: {:?}", started.elapsed());
        if result.is_err() {
            failed.lock().unwrap().push(*name);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let Some(next) = queue.lock().unwrap().pop() else { return };
                    run(next);
                }
            });
        }
    });
    alone.into_iter().for_each(run);
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "the adapter does not conform: {failed:?}");
}

/// Requests of the committer that librdkafka has sent again by itself, as its statistics say.
fn sent_again(json: &str) -> u64 {
    let numbers = json.split("\"txretries\":").skip(1);
    numbers.filter_map(|rest| rest.split([',', '}']).next()?.trim().parse::<u64>().ok()).sum()
}

/// What is sent again waits for `retry.backoff.ms` first, which is longer than a whole commit.
#[test]
fn real_kafka_a_commit_right_behind_another_is_not_sent_again() {
    const COMMITS: u32 = 60;
    let test = "real_kafka_a_commit_right_behind_another_is_not_sent_again";
    let Some(broker) = named("HIGHWATER_TEST_KAFKA", test) else { return };
    let home = OnBroker::new(&broker);
    let (again, told) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let sink = {
        let (again, told) = (Arc::clone(&again), Arc::clone(&told));
        move |role: &str, json: &str| {
            if role.starts_with("committer") {
                told.fetch_add(1, Ordering::SeqCst);
                again.fetch_max(sent_again(json), Ordering::SeqCst);
            }
        }
    };
    let config = KafkaConfig { statistics_every: Some(Duration::from_millis(10)), ..home.config.clone() };
    let journal = KafkaJournal::open(config, Arc::clone(&home.ids) as _, Some(Arc::new(sink))).unwrap();
    let mut consumer = journal.consumer("group", "member", &[Topic::Raw]).unwrap();
    let end = Instant::now() + Duration::from_secs(60);
    while consumer.token().is_none() {
        assert!(Instant::now() < end, "no assignment");
        consumer.poll(Duration::from_millis(20), 1, &mut |_| {}).unwrap();
    }
    let token = consumer.token().unwrap();
    let mut committer = journal.committer("producer").unwrap();
    for commit in 1..=COMMITS {
        let topics = [Topic::Aggregates, Topic::Alerts, Topic::Audit];
        let places =
            (0..PARTITIONS).flat_map(|partition| topics.map(|topic| TopicPartition { topic, partition }));
        let record = |to| NewRecord { to, key: None, value: b"value".to_vec(), headers: Vec::new() };
        let committed = Committed { offset: i64::from(commit), metadata: String::new() };
        let of = |partition| (TopicPartition { topic: Topic::Raw, partition }, committed.clone());
        let transaction =
            Transaction { records: places.map(record).collect(), offsets: (0..PARTITIONS).map(of).collect() };
        committer.commit(&transaction, &token).unwrap();
    }
    journal.close();
    assert!(told.load(Ordering::SeqCst) > 0, "the committer told no statistics");
    assert_eq!(again.load(Ordering::SeqCst), 0, "requests were sent again");
}

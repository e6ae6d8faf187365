//! The processor as it is started for real: threads, the SQLite journal, the controller, the operations.

use super::world::{TURNS_MAX, resolved};
use crate::config::ProcessorConfig;
use crate::controller::Controller;
use crate::ops::{self, Letters, OpsError, Reach};
use crate::run::{Processor, Start};
use crate::step::NoModels;
use crate::view::PartitionPhase;
use journal::memory::faults::{self, Call, Fault};
use journal::memory::{MemoryConfig, MemoryJournal};
use journal::port::{Journal, JournalError, NewRecord, TopicPartition};
use journal::sqlite::{SqliteConfig, SqliteJournal};
use schemas::codec::Codec;
use schemas::partition::partition_of;
use schemas::pipeline::Pipeline;
use schemas::record::{Aggregate, Control, Raw};
use schemas::topic::Topic;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

/// How long anything may take before it is called stuck.
const PATIENCE: Duration = Duration::from_secs(30);

struct Running {
    journal: Arc<dyn Journal>,
    codec: Codec,
    _directory: tempfile::TempDir,
}

impl Running {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let config = SqliteConfig { partitions: 2, ..SqliteConfig::new(directory.path().join("journal.db")) };
        let journal: Arc<dyn Journal> = SqliteJournal::open(config).expect("a journal");
        let codec = journal::ids::codec(Arc::clone(&journal)).expect("ids");
        Self { journal, codec, _directory: directory }
    }

    fn start(&self, workers: usize, until_end: bool) -> Processor {
        let config = ProcessorConfig { workers, ..ProcessorConfig::default() };
        Processor::start(Start {
            journal: Arc::clone(&self.journal),
            codec: self.codec.clone(),
            models: Arc::new(NoModels),
            config,
            pipeline: second_windows(),
            apply: false,
            until_end,
            build: "trial".to_owned(),
        })
        .expect("threads")
    }

    fn send(&self, device: &str, text: &str) {
        let partition = partition_of(device.as_bytes(), self.journal.partitions());
        append(&*self.journal, Topic::Raw, partition, Some(device.as_bytes()), text.as_bytes().to_vec())
            .expect("durable");
    }

    fn rows(&self) -> Vec<Aggregate> {
        let mut rows = Vec::new();
        let mut reader = self.journal.reader().expect("a reader");
        for partition in 0..self.journal.partitions() {
            let at = TopicPartition { topic: Topic::Aggregates, partition };
            let (mut from, end) = reader.bounds(at).expect("bounds");
            while from < end {
                from = reader
                    .read(at, from, 1_000, &mut |record| {
                        rows.push(self.codec.decode(record.value).expect("a row"));
                    })
                    .expect("rows");
            }
        }
        rows
    }
}

fn append(
    journal: &dyn Journal,
    topic: Topic,
    partition: u32,
    key: Option<&[u8]>,
    value: Vec<u8>,
) -> Result<Vec<i64>, JournalError> {
    let to = TopicPartition { topic, partition };
    let record = NewRecord { to, key: key.map(<[u8]>::to_vec), value, headers: Vec::new() };
    let (done, answer) = channel();
    let told = Box::new(move |offsets| {
        let _ = done.send(offsets);
    });
    journal.appender().append(vec![record], told)?;
    answer.recv_timeout(PATIENCE).expect("an answer")
}

fn second_windows() -> Pipeline {
    resolved(serde_json::json!({
        "window": [{"name": "1s", "size": "1s", "disorder": "100ms", "quiet-after": "100ms"}],
    }))
}

/// Waits until something holds; the processor's own progress wakes us through `wait`.
fn until(processor: &mut Processor, what: &str, mut holds: impl FnMut(&Processor) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds(processor) {
        assert!(Instant::now() < deadline, "{what}: {:#?}", processor.view().partitions());
        assert!(!processor.wait(Duration::from_millis(5)).expect("no worker fails"), "still running");
    }
}

#[test]
fn readings_become_rows_and_silence_closes_windows_by_ticks() {
    let running = Running::new();
    let mut processor = running.start(2, false);
    until(&mut processor, "live everywhere", |processor| {
        let seen = processor.view().partitions();
        seen.len() == 2 && seen.iter().all(|one| one.generation >= 0)
    });
    for device in ["a", "b", "c", "d"] {
        running.send(device, &format!(r#"{{"device_id":"{device}","temp":21.5}}"#));
    }
    running.send("a", "not a reading");
    until(&mut processor, "four rows", |_| running.rows().len() == 4);
    assert!(running.rows().iter().all(|row| row.count == 1 && row.sum == Some(21.5)));
    let explained = ops::explain_device(processor.view(), "a").expect("it is known");
    assert_eq!(explained.windows[0].panes[0].phase, "emitted");
    assert_eq!(ops::devices(processor.view(), "a", 10).expect("ids"), ["b", "c", "d"]);
    assert!(matches!(ops::explain_device(processor.view(), "nobody"), Err(OpsError::NotFound(_))));
    let lines = ops::books(processor.view(), &*running.journal).expect("books");
    assert!(lines.iter().all(|line| line.balanced), "{lines:?}");
    assert!(matches!(ops::release(processor.view(), 0), Err(OpsError::Refused(_))));
    let explained = ops::explain_partition(processor.view(), 0).expect("it is owned");
    assert_eq!(explained.view.phase, PartitionPhase::Ok);
    serde_json::to_value(explained).expect("plain data");

    processor.stop();
    assert!(processor.wait(PATIENCE).expect("it ends well"));
    // Stopped gracefully: everything is committed, and the next one folds nothing again.
    let mut reader = running.journal.reader().expect("a reader");
    for partition in 0..2 {
        let raw = TopicPartition { topic: Topic::Raw, partition };
        let committed = reader.committed(crate::GROUP, raw).expect("an answer").expect("committed");
        assert_eq!(committed.offset, reader.bounds(raw).expect("bounds").1);
        let metadata = crate::recovery::read_metadata(&running.codec, &committed).expect("metadata");
        assert_eq!(metadata.snapshot.expect("a snapshot").covers_to, committed.offset);
    }
    let again = running.start(1, true);
    finish(again);
    assert_eq!(running.rows().len(), 4);
}

fn finish(mut processor: Processor) {
    assert!(processor.wait(PATIENCE).expect("it ends well"), "{:#?}", processor.view().partitions());
}

#[test]
fn until_end_stops_by_itself_with_everything_committed() {
    let running = Running::new();
    for number in 0..500 {
        let device = format!("d{}", number % 20);
        running.send(&device, &format!(r#"{{"device_id":"{device}","temp":{number},"seq":{number}}}"#));
    }
    finish(running.start(1, true));
    let letters = Letters::new(Arc::clone(&running.journal), running.codec.clone());
    let found = letters.list(None, 1_000).expect("letters");
    assert_eq!(found.len(), 500, "there was no configuration before them");
    assert!(found.iter().all(|letter| letter.reason == "no-configuration"));

    // Now there is one: all of them go round, and three times round is enough.
    let sent = letters.redrive(&[], Some("no-configuration")).expect("an answer");
    assert_eq!((sent.redriven.len(), sent.refused.len()), (500, 0));
    finish(running.start(1, true));
    assert_eq!(letters.list(None, 1_000).expect("letters").len(), 500, "no new ones");
    let lines: i64 = audits(&running).into_iter().map(|audit| audit.totals.aggregated).sum();
    assert_eq!(lines, 500);
}

fn audits(running: &Running) -> Vec<schemas::record::Audit> {
    let mut last = std::collections::BTreeMap::new();
    let mut reader = running.journal.reader().expect("a reader");
    for partition in 0..running.journal.partitions() {
        let at = TopicPartition { topic: Topic::Audit, partition };
        let (mut from, end) = reader.bounds(at).expect("bounds");
        while from < end {
            from = reader
                .read(at, from, 1_000, &mut |record| {
                    last.insert(partition, running.codec.decode(record.value).expect("an audit record"));
                })
                .expect("records");
        }
    }
    last.into_values().collect()
}

#[test]
fn a_letter_that_comes_back_three_times_is_refused() {
    let running = Running::new();
    finish(running.start(1, true));
    running.send("a", "[]");
    let letters = Letters::new(Arc::clone(&running.journal), running.codec.clone());
    for round in 0..=3 {
        finish(running.start(1, true));
        let youngest = letters.list(Some("foreign-bytes"), 1).expect("letters").remove(0);
        assert_eq!((youngest.redriven, youngest.value.as_str()), (round, "[]"));
        assert_eq!(letters.show(&youngest.id).expect("it is there"), youngest);
        let outcome = letters.redrive(std::slice::from_ref(&youngest.id), None).expect("an answer");
        if round < 3 {
            assert_eq!(outcome.redriven, [youngest.id]);
        } else {
            assert_eq!(outcome.refused[0].reason, "redrive-limit");
        }
    }
    for id in ["", "7", "0-99", "9-0", "x-y", "0--1"] {
        assert!(matches!(letters.show(id), Err(OpsError::NotFound(_))), "{id}");
    }
    assert!(matches!(letters.redrive(&[], None), Err(OpsError::Refused(_))));
}

fn memory() -> (MemoryJournal, Codec) {
    let journal =
        MemoryJournal::new(MemoryConfig { partitions: 3, ..MemoryConfig::default() }).expect("a journal");
    let codec = journal::ids::codec(Arc::new(journal.clone())).expect("ids");
    (journal, codec)
}

fn controller(
    journal: &MemoryJournal,
    codec: &Codec,
    name: &str,
    pipeline: &Pipeline,
    apply: bool,
) -> Controller {
    Controller::new(Arc::new(journal.clone()), codec.clone(), name, pipeline, apply)
}

fn settle(controller: &mut Controller) {
    for _ in 0..TURNS_MAX {
        controller.turn(Duration::from_micros(100)).expect("it runs");
        if controller.settled() {
            return;
        }
    }
    panic!("the controller has not come to rest: {:?}", controller.view().lock().expect("view"));
}

fn generations(journal: &MemoryJournal, codec: &Codec) -> Vec<Vec<i64>> {
    let control = |value: &[u8]| match codec.decode::<Raw>(value) {
        Ok(Raw::Control(Control { generation, .. })) => generation,
        other => panic!("{other:?} where a decision was expected"),
    };
    let of = |partition| journal.records(TopicPartition { topic: Topic::Raw, partition });
    (0..3).map(|partition| of(partition).iter().map(|record| control(&record.value)).collect()).collect()
}

#[test]
fn the_first_pipeline_is_proposed_and_copied_everywhere() {
    let (journal, codec) = memory();
    settle(&mut controller(&journal, &codec, "one", &second_windows(), false));
    assert_eq!(generations(&journal, &codec), [[0], [0], [0]]);
    let in_force = ops::in_force(&journal, &codec).expect("an answer").expect("decided");
    assert_eq!((in_force.generation, in_force.pipeline), (0, second_windows()));
}

#[test]
fn another_file_changes_nothing_unless_it_may() {
    let (journal, codec) = memory();
    settle(&mut controller(&journal, &codec, "one", &second_windows(), false));
    let other = resolved(serde_json::json!({"window": [{"name": "5s", "size": "5s"}]}));
    let mut asked = controller(&journal, &codec, "two", &other, false);
    settle(&mut asked);
    assert!(asked.view().lock().expect("view").differs);
    assert_eq!(ops::in_force(&journal, &codec).expect("an answer").expect("decided").generation, 0);
    drop(asked);
    let mut allowed = controller(&journal, &codec, "three", &other, true);
    journal.advance(Duration::from_secs(120));
    settle(&mut allowed);
    assert_eq!(allowed.view().lock().expect("view").generation, Some(1), "its own proposal is waited for");
    let latest: Vec<Option<i64>> =
        generations(&journal, &codec).iter().map(|list| list.iter().max().copied()).collect();
    assert_eq!(latest, [Some(1); 3]);
    assert!(matches!(ops::propose(&journal, &codec, &other), Err(OpsError::Refused(_))));
    assert_eq!(ops::propose(&journal, &codec, &second_windows()), Ok(2));
    settle(&mut allowed);
    assert_eq!(allowed.view().lock().expect("view").generation, Some(2), "a later decision stands");
}

#[test]
fn how_far_a_configuration_has_come_is_told_by_the_log_alone() {
    let (journal, codec) = memory();
    let mut reach = Reach::new(Arc::new(journal.clone()), codec.clone());
    assert_eq!(reach.look(), Ok(vec![0, 1, 2]));
    for partition in [0, 1] {
        append(&journal, Topic::Raw, partition, None, b"{\"no\": \"decision\"}".to_vec()).expect("durable");
    }
    let decision = crate::controller::pipeline_decision(crate::state::canonical(&second_windows()));
    let copy = Raw::Control(Control { generation: 0, ..decision });
    append(&journal, Topic::Raw, 1, None, codec.to_bytes(&copy)).expect("durable");
    assert_eq!(reach.look(), Ok(vec![0, 2]));
    settle(&mut controller(&journal, &codec, "one", &second_windows(), false));
    assert_eq!(reach.look(), Ok(Vec::new()));
    assert_eq!(reach.look(), Ok(Vec::new()));
}

#[test]
fn a_half_written_decision_is_completed_by_the_next_leader() {
    let (journal, codec) = memory();
    let decision = crate::controller::pipeline_decision(crate::state::canonical(&second_windows()));
    append(&journal, Topic::Control, 0, None, codec.to_bytes(&decision)).expect("durable");
    let copy = Raw::Control(Control { generation: 0, ..decision });
    append(&journal, Topic::Raw, 1, None, codec.to_bytes(&copy)).expect("durable");
    settle(&mut controller(&journal, &codec, "one", &second_windows(), false));
    let latest: Vec<usize> = generations(&journal, &codec).iter().map(Vec::len).collect();
    assert!(latest.iter().all(|copies| *copies >= 1), "{latest:?}");
    assert_eq!(journal.topic(Topic::Control).len(), 1, "nothing was proposed twice");
}

#[test]
fn a_decision_that_found_no_room_is_made_again() {
    let (journal, codec) = memory();
    let mut controller = controller(&journal, &codec, "one", &second_windows(), false);
    journal.inject(Some(faults::next(Call::Append, 2, Fault::Refuse)));
    settle(&mut controller);
    assert_eq!(journal.topic(Topic::Control).len(), 1);
    assert_eq!(generations(&journal, &codec), [[0], [0], [0]]);
}

#[test]
fn a_decision_whose_answer_is_lost_is_not_made_twice() {
    let (journal, codec) = memory();
    let mut controller = controller(&journal, &codec, "one", &second_windows(), false);
    journal.inject(Some(faults::next(Call::Append, 1, Fault::LoseAnswer { happened: true })));
    settle(&mut controller);
    assert_eq!(journal.topic(Topic::Control).len(), 1);
}

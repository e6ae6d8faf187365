//! Snapshots that are gone, logs that are gone, builds that disagree.

use super::world::{World, brisk, history, pipeline, prepared};
use crate::config::ProcessorConfig;
use crate::mutation::{Mutation, seed};
use crate::ops;
use crate::view::PartitionPhase;
use crate::worker::WorkerError;
use journal::port::{Committed, Journal, JournalError, Reader, RecordRef, TopicPartition};
use schemas::topic::Topic;
use std::time::Duration;

pub(super) fn config() -> ProcessorConfig {
    ProcessorConfig { poll_records_max: 16, ..brisk() }
}

pub(super) fn at(topic: Topic) -> TopicPartition {
    TopicPartition { topic, partition: 0 }
}

pub(super) fn single(seed: u64, readings: u64) -> World {
    let world = World::new(1);
    world.configure(0, &pipeline());
    history(&world, seed, readings);
    world
}

fn trim(world: &World, topic: Topic, below: i64) {
    world.journal.trim(at(topic), below).expect("there is such a partition");
}

fn end_of(world: &World, topic: Topic) -> i64 {
    world.journal.reader().expect("a reader").bounds(at(topic)).expect("bounds").1
}

#[test]
fn without_any_snapshot_the_whole_log_is_folded_again() {
    let world = single(31, 80);
    world.run_to_end(world.worker("one", &config(), true)).expect("it runs");
    trim(&world, Topic::Snapshots, end_of(&world, Topic::Snapshots));
    history(&world, 32, 40);
    world.end();
    world.run_to_end(world.worker("one", &config(), true)).expect("it runs");
    world.check().expect("exact all the same");
    let told = world.view.incidents();
    assert!(told.iter().any(|incident| incident.what.contains("retention has taken it")), "{told:?}");
}

#[test]
fn a_damaged_snapshot_gives_way_to_the_one_before() {
    let world = single(33, 120);
    let mut worker = world.worker("one", &config(), true);
    world.run(&mut worker).expect("it runs");
    let snapshots = world.journal.records(at(Topic::Snapshots));
    let last = snapshots
        .iter()
        .rev()
        .find(|record| world.codec.decode::<schemas::record::SnapshotHeader>(&record.value).is_ok());
    let last = last.expect("a header").offset;
    assert!(last > 0, "more than one snapshot was taken");
    // The last one is cut off; the one before lies below it and would be, too: take the current one's place instead.
    let mut reader = world.journal.reader().expect("a reader");
    let committed = reader.committed(crate::GROUP, at(Topic::Raw)).expect("an answer").expect("committed");
    let metadata = crate::recovery::read_metadata(&world.codec, &committed).expect("metadata");
    let (current, previous) =
        (metadata.snapshot.expect("a snapshot"), metadata.previous.expect("one before"));
    let mut damaged = current.clone();
    damaged.sha256[0] ^= 1;
    assert!(crate::snapshot::read(&damaged, 0, &mut *reader, &world.codec).is_err(), "the hash is compared");
    assert!(crate::snapshot::read(&current, 0, &mut *reader, &world.codec).is_ok());
    let mut plan_of = |current: &schemas::record::SnapshotLocator| {
        let metadata = schemas::record::CommitMetadata {
            snapshot: Some(current.clone()),
            previous: Some(previous.clone()),
            ..crate::recovery::read_metadata(&world.codec, &committed).expect("metadata")
        };
        let committed =
            journal::port::Committed { offset: committed.offset, metadata: world.codec.to_text(&metadata) };
        let tools = crate::step::Tools::new(world.codec.clone(), std::sync::Arc::clone(&world.models));
        let mut recovery =
            crate::recovery::Recovery { partition: 0, partitions: 1, reader: &mut *reader, tools: &tools };
        recovery.plan(Some(&committed), None).expect("a plan")
    };
    assert_eq!(plan_of(&current).state.position(), current.covers_to);
    let fallen_back = plan_of(&damaged);
    assert_eq!(fallen_back.state.position(), previous.covers_to);
    assert_eq!((fallen_back.notes.len(), fallen_back.degraded), (1, None));
}

/// A log whose file is damaged from an offset of the snapshots on.
struct Torn {
    log: Box<dyn Reader>,
    from: i64,
}

impl Reader for Torn {
    fn read(
        &mut self,
        partition: TopicPartition,
        from: i64,
        records_max: usize,
        visit: &mut dyn FnMut(RecordRef<'_>),
    ) -> Result<i64, JournalError> {
        if partition.topic == Topic::Snapshots && from >= self.from {
            return Err(JournalError::Fatal(format!("the segment at offset {from} is damaged")));
        }
        self.log.read(partition, from, records_max, visit)
    }

    fn bounds(&mut self, partition: TopicPartition) -> Result<(i64, i64), JournalError> {
        self.log.bounds(partition)
    }

    fn committed(
        &mut self,
        group: &str,
        partition: TopicPartition,
    ) -> Result<Option<Committed>, JournalError> {
        self.log.committed(group, partition)
    }
}

#[test]
fn a_snapshot_in_a_damaged_segment_gives_way_to_the_one_before() {
    let world = single(33, 120);
    world.run_to_end(world.worker("one", &config(), true)).expect("it runs");
    let mut reader = world.journal.reader().expect("a reader");
    let committed = reader.committed(crate::GROUP, at(Topic::Raw)).expect("an answer").expect("committed");
    let metadata = crate::recovery::read_metadata(&world.codec, &committed).expect("metadata");
    let (current, previous) =
        (metadata.snapshot.expect("a snapshot"), metadata.previous.expect("one before"));
    let tools = crate::step::Tools::new(world.codec.clone(), std::sync::Arc::clone(&world.models));
    let mut torn = Torn { log: reader, from: current.offset };
    let mut recovery =
        crate::recovery::Recovery { partition: 0, partitions: 1, reader: &mut torn, tools: &tools };
    let plan = recovery.plan(Some(&committed), None).expect("a plan");
    assert_eq!(plan.state.position(), previous.covers_to);
    assert!(plan.notes.len() == 1 && plan.notes[0].contains("damaged"), "{:?}", plan.notes);
    // A journal that answers nothing any more says nothing about its snapshots.
    world.journal.crash();
    let gone = crate::recovery::Recovery { partition: 0, partitions: 1, reader: &mut torn, tools: &tools }
        .plan(Some(&committed), None);
    assert!(matches!(gone, Err(crate::recovery::NoPlan::Later(_))), "{gone:?}");
}

#[test]
fn retention_over_folded_records_does_no_harm_with_a_snapshot() {
    let twin = single(34, 80);
    history(&twin, 35, 40);
    twin.end();
    twin.run_to_end(twin.worker("one", &config(), true)).expect("it runs");

    let world = single(34, 80);
    world.run_to_end(world.worker("one", &config(), true)).expect("it runs");
    trim(&world, Topic::Raw, end_of(&world, Topic::Raw));
    history(&world, 35, 40);
    world.end();
    world.run_to_end(world.worker("one", &config(), true)).expect("it runs");
    assert_eq!(world.written(), twin.written());
    assert_eq!(world.view.incidents(), []);
}

#[test]
fn records_that_retention_takes_unread_are_told_to_the_offset() {
    let world = single(36, 40);
    world.run_to_end(world.worker("one", &config(), true)).expect("it runs");
    let committed = end_of(&world, Topic::Raw);
    history(&world, 37, 40);
    trim(&world, Topic::Raw, committed + 10);
    let mut worker = world.worker("one", &config(), true);
    for _ in 0..60 {
        if worker.turn().expect("it runs") {
            break;
        }
        world.pass(Duration::from_millis(30));
    }
    let seen = world.view.partition(0).expect("it is owned");
    assert_eq!(seen.lost, 10);
    let line = &ops::books(&world.view, &world.journal).expect("books")[0];
    assert!(line.balanced && line.lost == 10, "{line:?}");
    let told = format!("offsets {committed} to {}", committed + 9);
    let incidents = world.view.incidents();
    assert!(incidents.iter().any(|incident| incident.what.contains(&told)), "{incidents:?}");
}

#[test]
fn without_snapshot_and_without_the_logs_beginning_it_is_degraded_and_says_so() {
    let world = single(38, 60);
    world.run_to_end(world.worker("one", &config(), true)).expect("it runs");
    trim(&world, Topic::Snapshots, end_of(&world, Topic::Snapshots));
    trim(&world, Topic::Raw, 20);
    history(&world, 39, 20);
    let mut worker = world.worker("one", &config(), true);
    for _ in 0..60 {
        if worker.turn().expect("it runs") {
            break;
        }
        world.pass(Duration::from_millis(30));
    }
    let seen = world.view.partition(0).expect("it is owned");
    assert!(matches!(seen.phase, PartitionPhase::Degraded { .. }), "{:?}", seen.phase);
    worker.finish().expect("it leaves");
    world.check_books().expect("the books go on from the last audit");
}

/// Stops without a last snapshot, so that something must be folded again.
fn crashed(seed_of_history: u64) -> World {
    let world = prepared(seed_of_history, 120);
    let lazy = ProcessorConfig { refold_budget: Duration::from_secs(3_600), ..config() };
    let mut worker = world.worker("one", &lazy, true);
    for _ in 0..4 {
        worker.turn().expect("it runs");
        world.pass(Duration::from_millis(60));
    }
    drop(worker);
    let world = world.reopened();
    assert!(!world.audits().is_empty(), "something was committed");
    world
}

#[test]
fn a_re_fold_that_differs_on_the_same_build_is_quarantined_until_released() {
    let world = crashed(40);
    let mut worker = world.worker("one", &config(), true);
    let ended = {
        let _guard = seed(Mutation::WallClock);
        world.run(&mut worker)
    };
    assert!(
        matches!(&ended, Err(WorkerError::Incomplete { why, .. }) if why.contains("digest")),
        "{ended:?}"
    );
    let seen = world.view.partitions();
    assert!(seen.iter().any(|seen| matches!(seen.phase, PartitionPhase::Quarantined { .. })), "{seen:?}");
    let before = world.written();
    let number = seen
        .iter()
        .find(|seen| matches!(seen.phase, PartitionPhase::Quarantined { .. }))
        .map(|seen| seen.partition)
        .expect("one is quarantined");
    let explained = ops::explain_partition(&world.view, number).expect("it is owned");
    assert!(explained.advice.contains("release") && !explained.incidents.is_empty());
    assert_eq!(world.written(), before, "nothing is published from it");
    // The worker is driven by hand: the question must wait for its next turn.
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| ops::release(&world.view, number));
        let mut turns = 0;
        while !asked.is_finished() && turns < 100_000 {
            let _ = worker.turn();
            turns += 1;
        }
        asked.join().expect("no panic").expect("released");
    });
    let seen = world.view.partition(number).expect("it is owned");
    assert!(matches!(seen.phase, PartitionPhase::Degraded { .. }), "{:?}", seen.phase);
}

#[test]
fn a_re_fold_that_differs_on_another_build_goes_on_with_a_warning() {
    let world = crashed(41);
    let worker = world.worker_of_build("one", &config(), true, "another build");
    let _guard = seed(Mutation::WallClock);
    world.run_to_end(worker).expect("it goes on");
    let told = world.view.incidents();
    assert!(told.iter().any(|incident| incident.what.contains("another build")), "{told:?}");
}

/// What another build left behind, and this one has gone on from without being able to compute it, must not stop the
/// next start: no re-fold from before that place can agree with what was committed after it.
#[test]
fn a_crash_soon_after_going_on_from_another_builds_work_stops_nothing() {
    let world = crashed(43);
    let lazy = ProcessorConfig { refold_budget: Duration::from_secs(3_600), ..config() };
    let mut worker = world.worker_of_build("one", &lazy, true, "another build");
    let degraded = |world: &World| {
        let phase = world.view.partition(0).map(|seen| seen.phase);
        matches!(phase, Some(PartitionPhase::Degraded { .. }))
    };
    let guard = seed(Mutation::WallClock);
    let mut turns = 0;
    while !degraded(&world) {
        assert!(!worker.turn().expect("it runs") && turns < 100, "it goes on");
        turns += 1;
    }
    drop(guard);
    let audits = world.audits()[&0].to;
    while world.audits()[&0].to == audits {
        assert!(turns < 200, "it commits");
        worker.turn().expect("it runs");
        world.pass(Duration::from_millis(30));
        turns += 1;
    }
    drop(worker);
    let world = world.reopened();
    world.run_to_end(world.worker_of_build("one", &lazy, true, "another build")).expect("it goes on");
    // Its snapshot is exact again: from then on a difference would be one.
    let before = world.view.incidents().len();
    history(&world, 44, 20);
    world.run_to_end(world.worker_of_build("one", &lazy, true, "another build")).expect("it goes on");
    assert_eq!(world.view.incidents().len(), before);
}

/// A partition with readings, whose configuration the controller has decided, and which then lost all it had.
fn forgotten(seed_of_history: u64) -> World {
    let world = single(seed_of_history, 60);
    let decision = crate::controller::pipeline_decision(crate::state::canonical(&pipeline()));
    let (done, _answer) = std::sync::mpsc::channel();
    let record = journal::port::NewRecord {
        to: crate::controller::DECISIONS,
        key: None,
        value: world.codec.to_bytes(&decision),
        headers: Vec::new(),
    };
    let told = Box::new(move |offsets| done.send(offsets).expect("somebody listens"));
    world.journal.appender().append(vec![record], told).expect("room");
    world.run_to_end(world.worker("one", &config(), true)).expect("it runs");
    trim(&world, Topic::Snapshots, end_of(&world, Topic::Snapshots));
    trim(&world, Topic::Raw, end_of(&world, Topic::Raw));
    world
}

fn five_readings(world: &World) {
    for reading in 0..5 {
        world.json("new", &format!(r#"{{"device_id":"new","temp":{reading}}}"#));
    }
}

#[test]
fn a_partition_rebuilt_without_its_configuration_gets_the_one_that_was_in_force() {
    let world = forgotten(45);
    let rejected = world.audits()[&0].totals.rejected;
    five_readings(&world);
    world.end();
    world.run_to_end(world.worker("one", &config(), true)).expect("it runs");
    let audit = &world.audits()[&0];
    assert_eq!((audit.totals.rejected, audit.generation), (rejected, 0), "{:?}", audit.totals);
    assert!(world.aggregates().iter().any(|row| row.device_id == "new"));
}

/// Its readings since then are in the log, and in no snapshot yet: who folds them again must have the configuration
/// that they were taken with, or they are in no window, and nobody is told.
#[test]
fn a_rebuilt_partition_that_changes_hands_before_its_snapshot_keeps_its_readings() {
    let world = forgotten(46);
    five_readings(&world);
    let lazy = ProcessorConfig { refold_budget: Duration::from_secs(3_600), ..config() };
    let mut worker = world.worker("one", &lazy, true);
    let (before, mut turns) = (world.audits()[&0].to, 0);
    while world.audits()[&0].to < before + 5 {
        assert!(turns < 200, "it commits");
        worker.turn().expect("it runs");
        world.pass(Duration::from_millis(10));
        turns += 1;
    }
    drop(worker);
    let world = world.reopened();
    five_readings(&world);
    world.end();
    world.run_to_end(world.worker("two", &lazy, true)).expect("it runs");
    let mut counted = std::collections::BTreeMap::new();
    for row in world.aggregates().iter().filter(|row| row.device_id == "new" && row.window == "10s") {
        counted.insert(row.start, row.count);
    }
    assert_eq!(counted.values().sum::<i64>(), 10, "{counted:?}");
}

#[test]
fn metadata_of_two_snapshots_is_far_below_its_limit() {
    let world = single(42, 120);
    world.run_to_end(world.worker("one", &config(), true)).expect("it runs");
    let mut reader = world.journal.reader().expect("a reader");
    let committed = reader.committed(crate::GROUP, at(Topic::Raw)).expect("an answer").expect("committed");
    assert!(committed.metadata.len() <= 700, "{} bytes", committed.metadata.len());
}

//! The power goes, answers are lost, calls are refused: at every call there is.

use super::world::{World, brisk, history, pipeline, prepared};
use crate::config::ProcessorConfig;
use crate::worker::WorkerError;
use journal::memory::faults::{self, Fault, Rates};
use journal::port::{Committed, Journal, TopicPartition};
use schemas::topic::Topic;
use std::time::Duration;

fn config() -> ProcessorConfig {
    ProcessorConfig { poll_records_max: 16, ..brisk() }
}

/// One run with a fault at one call; afterwards everything is started again. False: the run was over before.
fn with_fault(call: u64, fault: Fault) -> bool {
    let world = prepared(7, 70);
    let at = world.journal.calls() + call;
    let mut worker = world.worker("one", &config(), true);
    world.journal.inject(Some(faults::at(at, fault)));
    let ran = world.run(&mut worker);
    let reached = world.journal.calls() > at;
    let again = match ran {
        Ok(()) => world,
        Err(_) => {
            drop(worker);
            let again = world.reopened();
            again.run_to_end(again.worker("one", &config(), true)).expect("it runs after the fault");
            again
        }
    };
    again.check().unwrap_or_else(|why| panic!("{fault:?} at call {call}: {why}"));
    assert_eq!(again.view.incidents(), [], "{fault:?} at call {call}");
    reached
}

fn at_every_call(fault: Fault) {
    let mut call = 0;
    while with_fault(call, fault) {
        call += 1;
    }
    assert!(call > 20, "only {call} calls were met");
}

#[test]
fn the_power_goes_before_any_call() {
    at_every_call(Fault::CrashBefore);
}

#[test]
fn the_power_goes_after_any_write() {
    at_every_call(Fault::CrashAfter);
}

#[test]
fn any_call_is_refused() {
    at_every_call(Fault::Refuse);
}

#[test]
fn any_answer_is_lost_though_it_happened() {
    at_every_call(Fault::LoseAnswer { happened: true });
}

#[test]
fn any_answer_is_lost_and_it_did_not_happen() {
    at_every_call(Fault::LoseAnswer { happened: false });
}

#[test]
fn many_faults_in_one_life() {
    for seed in 0..12 {
        let mut world = prepared(8, 150);
        for life in 0..40_u64 {
            let rates = Rates { refuse: 30, lose: 100, crash: 25 };
            world.journal.inject(Some(faults::seeded(seed * 1_000 + life, rates)));
            let mut worker = world.worker("one", &config(), true);
            let ran = world.run(&mut worker);
            drop(worker);
            if ran.is_ok() {
                break;
            }
            world = world.reopened();
        }
        let world = world.reopened();
        world.run_to_end(world.worker("one", &config(), true)).expect("it runs when all is well");
        world.check().unwrap_or_else(|why| panic!("seed {seed}: {why}"));
    }
}

#[test]
fn a_zombie_publishes_nothing() {
    let world = prepared(9, 200);
    let mut zombie = world.worker("zombie", &config(), true);
    for _ in 0..4 {
        zombie.turn().expect("it runs");
        world.pass(Duration::from_millis(5));
    }
    // It stops polling; after the wait its partitions go to the other.
    let mut other = world.worker("other", &config(), true);
    other.turn().expect("it asks for partitions");
    world.journal.advance(Duration::from_secs(120));
    for _ in 0..6 {
        other.turn().expect("it runs");
        world.pass(Duration::from_millis(30));
    }
    // The zombie wakes up with outputs and an old token.
    for _ in 0..3 {
        zombie.turn().expect("being fenced is no failure");
        world.pass(Duration::from_millis(30));
        other.turn().expect("it runs");
    }
    zombie.finish().expect("it leaves");
    drop(zombie);
    world.run_to_end(other).expect("it runs");
    world.check().expect("the same bytes");
}

#[test]
fn a_commit_that_is_refused_for_long_is_sent_again_until_it_happens() {
    let world = prepared(10, 80);
    world.journal.inject(Some(faults::next(faults::Call::Commit, 30, Fault::Refuse)));
    world.run_to_end(world.worker("one", &config(), true)).expect("it runs");
    world.check().expect("the same bytes");
}

#[test]
fn a_journal_that_breaks_for_good_stops_the_worker() {
    let world = prepared(11, 20);
    let mut worker = world.worker("one", &config(), true);
    worker.turn().expect("it runs");
    world.journal.crash();
    let ended = world.run(&mut worker);
    assert!(matches!(ended, Err(WorkerError::Journal { .. })), "{ended:?}");
}

fn raw(partition: u32) -> TopicPartition {
    TopicPartition { topic: Topic::Raw, partition }
}

#[test]
fn a_restart_begins_at_the_committed_offset_and_commits_from_there() {
    let world = World::new(1);
    world.configure(0, &pipeline());
    history(&world, 12, 40);
    world.run_to_end(world.worker("one", &config(), true)).expect("it runs");
    let end = world.journal.records(raw(0)).len();
    history(&world, 13, 40);
    world.run_to_end(world.worker("one", &config(), true)).expect("it runs");
    let mut expected = 0;
    for record in world.journal.topic(Topic::Audit) {
        let audit: schemas::record::Audit = world.codec.decode(&record.value).expect("an audit record");
        assert_eq!(audit.from, expected, "commits follow each other without gap or overlap");
        expected = audit.to;
    }
    assert!(usize::try_from(expected).expect("positive") > end);
    let committed =
        world.journal.reader().expect("a reader").committed(crate::GROUP, raw(0)).expect("an answer");
    assert!(matches!(committed, Some(Committed { offset, .. }) if offset == expected));
}

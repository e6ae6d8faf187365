//! Batches, commits, snapshots and workers must not change a byte.

use super::world::{TURNS_MAX, World, brisk, prepared};
use crate::config::ProcessorConfig;
use crate::worker::Worker;
use std::time::Duration;

#[test]
fn what_is_committed_is_the_straight_line_fold() {
    let world = prepared(1, 600);
    world.run_to_end(world.worker("one", &brisk(), true)).expect("it runs");
    world.check().expect("the same bytes");
    let (expected, ends) = world.oracle();
    assert!(expected.len() >= 8, "a history with a bit of everything: {:?}", expected.keys());
    let totals = &ends[&0].0;
    assert!(totals.aggregated > 100 && totals.duplicate > 0 && totals.rejected > 0 && totals.filtered > 0);
    assert!(totals.late > 0, "{totals:?}");
}

#[test]
fn batch_size_commit_interval_and_snapshots_change_nothing() {
    let mut first = None;
    for (records, interval_ms, refold, bytes_max) in [
        (1, 20, Duration::ZERO, 1 << 20),
        (7, 40, Duration::from_secs(60), 1 << 20),
        (64, 1_000, Duration::ZERO, 500),
        (5_000, 60, Duration::from_millis(1), 1 << 20),
    ] {
        let world = prepared(2, 250);
        let config = ProcessorConfig {
            poll_records_max: records,
            commit_interval: Duration::from_millis(interval_ms),
            refold_budget: refold,
            commit_bytes_max: bytes_max,
            ..brisk()
        };
        world.run_to_end(world.worker("one", &config, true)).expect("it runs");
        world.check().expect("the same bytes as the straight line");
        let written = world.written();
        assert_eq!(first.get_or_insert(written.clone()), &written, "{records} records a poll");
    }
}

/// Turns several workers in turn until all have reached the end.
pub(super) fn run_together(world: &World, mut workers: Vec<Worker>) {
    for _ in 0..TURNS_MAX {
        let mut index = 0;
        while index < workers.len() {
            if workers[index].turn().expect("it runs") {
                workers.remove(index).finish().expect("it leaves");
            } else {
                index += 1;
            }
        }
        if workers.is_empty() {
            return;
        }
        world.pass(Duration::from_millis(15));
    }
    panic!("not at rest: {:#?}", world.view.partitions());
}

#[test]
fn the_number_of_workers_changes_nothing() {
    for workers in [1, 2, 3] {
        let world = prepared(3, 250);
        let config = ProcessorConfig { poll_records_max: 20, ..brisk() };
        let all = (0..workers).map(|number| world.worker(&format!("w{number}"), &config, true)).collect();
        run_together(&world, all);
        world.check().unwrap_or_else(|why| panic!("{workers} workers: {why}"));
    }
}

#[test]
fn killed_in_the_middle_and_restored_at_another_worker_count() {
    for (seed, turns) in [(71, 1), (72, 3), (73, 6), (74, 9)] {
        let world = prepared(seed, 200);
        let config = ProcessorConfig { poll_records_max: 12, ..brisk() };
        let mut worker = world.worker("w0", &config, true);
        for _ in 0..turns {
            worker.turn().expect("it runs");
            world.pass(Duration::from_millis(30));
        }
        drop(worker);
        let world = world.reopened();
        let all = (0..3).map(|number| world.worker(&format!("w{number}"), &config, true)).collect();
        run_together(&world, all);
        world.check().unwrap_or_else(|why| panic!("killed after {turns} turns: {why}"));
        world.check_books().expect("balanced");
    }
}

#[test]
fn another_configuration_file_between_runs_changes_nothing_that_was_folded() {
    let world = prepared(75, 150);
    let config = ProcessorConfig { poll_records_max: 12, ..brisk() };
    let lazy = ProcessorConfig { refold_budget: Duration::from_secs(3_600), ..config.clone() };
    let mut worker = world.worker("one", &lazy, true);
    for _ in 0..4 {
        worker.turn().expect("it runs");
        world.pass(Duration::from_millis(60));
    }
    drop(worker);
    let world = world.reopened();
    // The edited file is a decision like any other: it is in force from its own place in the log on.
    let edited = super::world::resolved(
        serde_json::json!({"window": [{"name": "10s", "size": "10s"}, {"name": "3s", "size": "3s"}]}),
    );
    world.configure(1, &edited);
    super::world::history(&world, 76, 100);
    world.end();
    world.run_to_end(world.worker("one", &config, true)).expect("it runs");
    world.check().expect("the same bytes");
    assert_eq!(world.view.incidents(), [], "the re-fold found what was committed");
    assert!(world.aggregates().iter().any(|row| row.window == "3s" && row.generation == 1));
    assert!(world.aggregates().iter().any(|row| row.window == "trip" && row.generation == 0));
}

#[test]
fn a_worker_that_joins_and_leaves_in_between_changes_nothing() {
    let world = prepared(4, 300);
    let config = ProcessorConfig { poll_records_max: 10, ..brisk() };
    let mut first = world.worker("first", &config, true);
    let turn = |worker: &mut Worker, turns: usize| {
        for _ in 0..turns {
            worker.turn().expect("it runs");
            world.pass(Duration::from_millis(15));
        }
    };
    turn(&mut first, 5);
    let mut second = world.worker("second", &config, false);
    for _ in 0..6 {
        turn(&mut second, 1);
        turn(&mut first, 1);
    }
    second.finish().expect("it leaves");
    drop(second);
    world.run_to_end(first).expect("it runs");
    world.check().expect("the same bytes");
}

#[test]
fn what_was_folded_twice_from_a_snapshot_is_the_same() {
    // Two runs, one after the other, the second from the first one's snapshot.
    let world = prepared(5, 200);
    world.run_to_end(world.worker("one", &brisk(), true)).expect("it runs");
    let covered = world.view.partitions();
    assert!(covered.is_empty(), "a worker that has left shows nothing");
    super::world::history(&world, 6, 200);
    world.end();
    world.run_to_end(world.worker("one", &brisk(), true)).expect("it runs");
    world.check().expect("the same bytes");
    assert_eq!(world.view.incidents(), [], "nothing happened worth telling");
}

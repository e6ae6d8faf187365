//! Guests that misbehave on one row: that row fails with the right name, every other row of the batch is scored, and
//! the state shows neither a lost nor a doubled nor a half-done row. The fixture scores how many rows its series had.

use crate::rig::{
    FUEL, POISON, braking_loader, each, ewma, fixture, load, put_in_force, run, saved, scores, trial, try_run,
};
use schemas::pipeline::Model;
use scoring::{FAILED_MAX, Failure, Flushed, Lane, PAUSE_ROWS, Verdict};

/// Ten rows of two series; the fifth is the poison.
fn poisoned() -> Vec<crate::rig::Trial> {
    let value = |row: u32| if row == 4 { POISON } else { f64::from(row) };
    (0..10).map(|row| trial(row % 2, value(row))).collect()
}

fn score(score: f64) -> Verdict {
    Verdict::Score { score, warm_up: false, over_threshold: false, sampled: false }
}

/// What the rows of `poisoned` get: the poison row has left no trace in its series.
fn expected(poison: Verdict) -> Vec<Verdict> {
    let counts = [0, 0, 1, 1, 0, 2, 2, 3, 3, 4];
    let verdict = |(row, count): (usize, &i32)| if row == 4 { poison } else { score(f64::from(*count)) };
    counts.iter().enumerate().map(verdict).collect()
}

fn assert_contained(mode: &str, failure: Failure, words: &str) {
    assert_contained_with(FUEL, mode, failure, words);
}

fn assert_contained_with(fuel_per_row: u64, mode: &str, failure: Failure, words: &str) {
    let set = load(&[Model { fuel_per_row, ..fixture(mode, each(&["a"])) }]);
    for batch in [10, 3, 1] {
        let mut lane = Lane::new(&set);
        let found: Vec<Verdict> =
            run(&mut lane, &poisoned(), batch, 0).into_iter().map(|by_model| by_model[0]).collect();
        assert_eq!(found, expected(Verdict::Failed(failure)), "{mode} in batches of {batch}");
        let counters = &lane.counters()[0];
        assert_eq!((counters.rows, counters.scored), (10, 9), "{mode}");
        assert_eq!(counters.failed.iter().sum::<u64>(), 1, "{mode}");
        assert_eq!(counters.failed[failure as usize], 1, "{mode}");
        assert!(counters.host.starts > 1, "{mode}: an instance that failed is never entered again");
    }
    let mut lane = Lane::new(&set);
    let mut flushed = Flushed::default();
    try_run(&mut lane, &poisoned(), 0, &mut flushed).unwrap();
    let [failed] = flushed.failures() else { panic!("{mode}: {:?}", flushed.failures()) };
    assert_eq!((failed.value, failed.model, failed.failure), (0, 0, failure), "{mode}");
    assert_eq!(flushed.verdicts(failed.row, 0), [Verdict::Failed(failure)], "{mode}");
    assert!(failed.detail.contains(words), "{mode}: {}", failed.detail);
}

#[test]
fn spinning_runs_out_of_fuel() {
    assert_contained("spin", Failure::OutOfFuel, "fuel");
}

#[test]
fn a_slow_row_runs_out_of_fuel() {
    assert_contained("slow", Failure::OutOfFuel, "fuel");
}

#[test]
fn allocating_without_end_hits_the_memory_limit() {
    assert_contained("grow", Failure::Trap, "unreachable");
}

#[test]
fn a_panic_travels_with_its_message() {
    assert_contained("panic", Failure::Trap, "poisoned on purpose");
}

#[test]
fn a_trap_is_named() {
    assert_contained("trap", Failure::Trap, "unreachable");
}

#[test]
fn endless_recursion_is_contained() {
    assert_contained("recurse", Failure::Trap, "stack");
}

#[test]
fn a_fault_says_why() {
    assert_contained("fault", Failure::Fault, "bad input: poisoned on purpose");
}

#[test]
fn lengths_that_lie_are_found() {
    assert_contained("short-scores", Failure::InvalidOutput, "0 values, not 1");
    assert_contained("long-scores", Failure::InvalidOutput, "2 values, not 1");
    assert_contained("short-state", Failure::InvalidOutput, "7 bytes of state, not 8");
    assert_contained("long-state", Failure::InvalidOutput, "9 bytes of state, not 8");
    assert_contained("short-flags", Failure::InvalidOutput, "2 row flags, not 1");
    assert_contained("endless-list", Failure::InvalidOutput, "");
    // Filling so much memory is paid for; the host refuses to take it over.
    assert_contained_with(100 * FUEL, "huge-result", Failure::InvalidOutput, "");
}

#[test]
fn scores_that_are_no_scores_are_found() {
    assert_contained("nan", Failure::InvalidOutput, "output 0 is NaN");
    assert_contained("infinite", Failure::InvalidOutput, "output 0 is inf");
    assert_contained("out-of-range", Failure::InvalidOutput, "output 0 is -1");
}

#[test]
fn a_flood_of_words_is_contained() {
    assert_contained("flood", Failure::Trap, "beyond what one call may say");
}

#[test]
fn a_declined_row_is_not_a_failure() {
    let mut lane = Lane::new(&load(&[fixture("skip", each(&["a"]))]));
    let found = run(&mut lane, &poisoned(), 10, 0);
    assert_eq!(found[4], [Verdict::NotScored]);
    assert_eq!(scores(&found[5..]), [2.0, 3.0, 3.0, 4.0, 4.0], "it was folded all the same");
    let counters = &lane.counters()[0];
    assert_eq!((counters.scored, counters.skipped, counters.host.starts), (9, 1, 1));
}

#[test]
fn another_model_does_not_notice() {
    let models = [fixture("panic", each(&["a"])), ewma("{}", each(&["a"]))];
    let mut both = Lane::new(&load(&models));
    let mut alone = Lane::new(&load(&models[1..]));
    let beside: Vec<Verdict> =
        run(&mut both, &poisoned(), 10, 0).into_iter().map(|by_model| by_model[1]).collect();
    let without: Vec<Verdict> =
        run(&mut alone, &poisoned(), 10, 0).into_iter().map(|by_model| by_model[0]).collect();
    assert_eq!(beside, without);
}

#[test]
fn the_brake_gives_no_verdict_and_changes_nothing() {
    let loader = braking_loader();
    let mut model = fixture("spin", each(&["a"]));
    model.fuel_per_row = u64::MAX;
    let set = loader.load(&[ewma("{}", each(&["a"])), model.clone()]).unwrap();
    let mut lane = Lane::new(&set);
    run(&mut lane, &[trial(0, 1.0), trial(1, 2.0)], 2, 0);
    let before = saved(&lane);

    let mut flushed = Flushed::default();
    let braked = try_run(&mut lane, &poisoned(), 2, &mut flushed).unwrap_err();
    assert_eq!(braked.model, "spin");
    assert_eq!(flushed, Flushed::default());
    assert_eq!(lane.pending(), 10);
    let brakes = |lane: &Lane| lane.counters()[1].host.brakes;
    assert_eq!((brakes(&lane), lane.counters()[1].failed), (3, [0; 4]));
    assert!(lane.flush(&mut flushed).is_err(), "the rows are still there");
    assert_eq!(brakes(&lane), 6);

    // The same rows after a restart from the saved state, under a budget that decides before the brake does.
    model.fuel_per_row = FUEL;
    let mut lane = Lane::load(&loader.load(&[ewma("{}", each(&["a"])), model]).unwrap(), &before).unwrap();
    let found = run(&mut lane, &poisoned(), 10, 2);
    assert_eq!(found[4][1], Verdict::Failed(Failure::OutOfFuel));
    assert_eq!(found[5][1], score(3.0), "one row before, two in this run");
}

#[test]
fn a_guest_that_leaks_is_replaced_and_goes_on() {
    let mut lane = Lane::new(&load(&[fixture("leak", each(&["a"]))]));
    let trials: Vec<_> = (0..400).map(|row| trial(0, f64::from(row))).collect();
    let found = scores(&run(&mut lane, &trials, 1, 0));
    assert_eq!(found, (0..400).map(f64::from).collect::<Vec<_>>());
    let host = lane.counters()[0].host;
    assert!(host.starts > 3 && host.memory_bytes_peak < 32 << 20, "{host:?}");
}

#[test]
fn ten_thousand_batches_leave_memory_as_it_was() {
    let mut lane = Lane::new(&load(&[ewma("{}", each(&["a"]))]));
    let trials: Vec<_> = (0..64).map(|row| trial(row % 16, f64::from(row))).collect();
    let mut flushed = Flushed::default();
    for batch in 0..100 {
        try_run(&mut lane, &trials, batch, &mut flushed).unwrap();
    }
    let early = lane.counters()[0].host;
    for batch in 100..10_000 {
        try_run(&mut lane, &trials, batch, &mut flushed).unwrap();
    }
    let late = lane.counters()[0].host;
    assert_eq!((late.calls, late.starts), (10_000, 1));
    assert_eq!(late.memory_bytes_peak, early.memory_bytes);
}

/// A model that always fails may not slow the stream down for ever: it is called for one row in a hundred, and its
/// neighbour is not touched. Neither batches nor a restart in the middle change which rows these are.
#[test]
fn a_model_that_always_fails_is_left_alone_for_most_rows() {
    let models = [fixture("panic", each(&["a"])), ewma("{}", each(&["a"]))];
    let set = load(&models);
    let rows = 2 * (FAILED_MAX + PAUSE_ROWS) as usize;
    let trials: Vec<_> = (0..rows).map(|row| trial((row % 5) as u32, POISON)).collect();
    let mut straight = Lane::new(&set);
    let found = run(&mut straight, &trials, 1000, 0);
    for (row, verdicts) in found.iter().enumerate() {
        let expected = if row % (rows / 2) < FAILED_MAX as usize {
            Verdict::Failed(Failure::Trap)
        } else {
            Verdict::LeftOut
        };
        assert_eq!(verdicts[0], expected, "row {row}");
        assert!(matches!(verdicts[1], Verdict::Score { .. }), "row {row}");
    }
    let counters = &straight.counters()[0];
    assert_eq!((counters.rows, counters.left_out), (rows as u64, 2 * u64::from(PAUSE_ROWS)));
    assert!(counters.host.calls < 10 * u64::from(FAILED_MAX), "{counters:?}");

    let (before, after) = trials.split_at(5_077);
    let mut restarted = Lane::new(&set);
    let mut again = run(&mut restarted, before, 77, 0);
    let mut restarted = Lane::load(&set, &saved(&restarted)).unwrap();
    put_in_force(&mut restarted, &load(&[models[1].clone(), models[0].clone()]));
    put_in_force(&mut restarted, &set);
    again.extend(run(&mut restarted, after, 313, before.len() as i64));
    assert_eq!(again, found);
    assert_eq!(saved(&restarted), saved(&straight));
}

#[test]
fn what_opened_the_breaker_is_told_with_the_row_that_did() {
    let mut lane = Lane::new(&load(&[fixture("fault", each(&["a"]))]));
    let trials: Vec<_> = (0..FAILED_MAX + 5).map(|_| trial(0, POISON)).collect();
    let mut flushed = Flushed::default();
    try_run(&mut lane, &trials, 0, &mut flushed).unwrap();
    assert_eq!(flushed.failures().len(), FAILED_MAX as usize);
    let told = |detail: &str| detail.contains("the next 10000 are kept from the model");
    let (last, others) = flushed.failures().split_last().unwrap();
    assert!(told(&last.detail) && !others.iter().any(|failed| told(&failed.detail)), "{}", last.detail);
}

//! How the log is cut into batches changes nothing: verdicts, state, failures in words.

use crate::rig::{FUEL, POISON, Trial, each, ewma, fixture, load, run, saved, trial, try_run};
use proptest::prelude::*;
use schemas::pipeline::{Inputs, Model};
use scoring::{Flushed, Input, Lane, ModelSet, Verdict};

fn value() -> impl Strategy<Value = Option<f64>> {
    prop_oneof![
        8 => (-50.0..50.0_f64).prop_map(Some),
        1 => Just(None),
        1 => Just(Some(POISON)),
    ]
}

fn trials(rows_max: usize) -> impl Strategy<Value = Vec<Trial>> {
    let values = proptest::collection::btree_map(0_u16..4, value(), 0..4);
    let trial = (0_u32..4, values).prop_map(|(slot, values)| Trial {
        slot,
        values: values.into_iter().map(|(metric, value)| Input { metric, value }).collect(),
    });
    proptest::collection::vec(trial, 1..rows_max)
}

fn models() -> Vec<Model> {
    let mut sampled = ewma(r#"{"warm-up-rows": 3, "refractory-rows": 2, "trigger": 2}"#, each(&["a", "b"]));
    (sampled.threshold, sampled.sample_every) = (2.0, 3);
    let columns = Inputs::Columns(vec!["b".to_owned(), "c".to_owned()]);
    let mut cheap = fixture("slow", each(&["d"]));
    cheap.fuel_per_row = FUEL / 10;
    vec![sampled, fixture("panic", each(&["c"])), cheap, fixture("two-features", columns)]
}

/// Runs in batches of the given sizes, repeated.
fn in_batches(
    set: &ModelSet,
    trials: &[Trial],
    sizes: &[usize],
) -> (Vec<Vec<Verdict>>, Vec<String>, Vec<u8>) {
    let mut lane = Lane::new(set);
    let mut flushed = Flushed::default();
    let (mut verdicts, mut details) = (Vec::new(), Vec::new());
    let (mut at, mut sizes) = (0, sizes.iter().cycle());
    while at < trials.len() {
        let end = trials.len().min(at + sizes.next().copied().unwrap_or(1));
        verdicts.extend(try_run(&mut lane, &trials[at..end], at as i64, &mut flushed).unwrap());
        let failures = flushed.failures().iter();
        details.extend(
            failures.map(|failed| format!("{} {} {}", failed.model, failed.failure.as_str(), failed.detail)),
        );
        at = end;
    }
    details.sort();
    (verdicts, details, saved(&lane))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_cut_gives_the_same(trials in trials(60), sizes in proptest::collection::vec(1_usize..20, 1..5)) {
        let set = load(&models());
        let whole = in_batches(&set, &trials, &[trials.len()]);
        let single = in_batches(&set, &trials, &[1]);
        prop_assert_eq!(&whole, &single);
        prop_assert_eq!(&whole, &in_batches(&set, &trials, &sizes));
    }

    #[test]
    fn a_restart_in_between_gives_the_same(trials in trials(40), cut in 0_usize..40) {
        let set = load(&models());
        let cut = cut.min(trials.len());
        let (verdicts, _, state) = in_batches(&set, &trials, &[7]);
        let mut lane = Lane::new(&set);
        let mut found = run(&mut lane, &trials[..cut], 7, 0);
        let mut lane = Lane::load(&set, &saved(&lane)).unwrap();
        found.extend(run(&mut lane, &trials[cut..], 5, cut as i64));
        prop_assert_eq!(found, verdicts);
        prop_assert_eq!(saved(&lane), state);
    }
}

#[test]
fn an_expensive_model_runs_in_smaller_batches_with_the_same_result() {
    let trials: Vec<Trial> = (0..1000)
        .map(|row| Trial {
            slot: row % 7,
            values: vec![Input { metric: 0, value: Some(f64::from(row % 11)) }],
        })
        .collect();
    let rich = load(&[ewma("{}", each(&["a"]))]);
    // Enough for a few rows a batch.
    let poor = load(&[Model { fuel_per_row: 6_000, ..ewma("{}", each(&["a"])) }]);
    let (mut rich, mut poor) = (Lane::new(&rich), Lane::new(&poor));
    assert_eq!(run(&mut rich, &trials, 1000, 0), run(&mut poor, &trials, 1000, 0));
    assert_eq!(saved(&rich), saved(&poor));
    assert_eq!(rich.counters()[0].host.calls, 1);
    let counters = &poor.counters()[0];
    assert!(counters.halved > 0 && counters.host.calls > 10, "{counters:?}");
    assert_eq!(counters.failed, [0; 4]);
}

#[test]
fn columns_are_scored_together_at_the_first_the_reading_carries() {
    let columns = Inputs::Columns(vec!["c".to_owned(), "a".to_owned()]);
    let mut lane = Lane::new(&load(&[fixture("two-features", columns)]));
    let reading = |values: &[(u16, Option<f64>)]| Trial {
        slot: 0,
        values: values.iter().map(|(metric, value)| Input { metric: *metric, value: *value }).collect(),
    };
    let trials = [
        reading(&[(1, Some(9.0)), (0, Some(1.0)), (2, Some(10.0))]),
        reading(&[(2, Some(20.0)), (0, None)]),
        reading(&[(0, Some(1.0)), (1, Some(2.0))]),
        reading(&[(2, Some(f64::NAN)), (0, Some(1.0))]),
        reading(&[(2, Some(30.0))]),
    ];
    for batch in [5, 1] {
        let score = |score| Verdict::Score { score, warm_up: false, over_threshold: false, sampled: false };
        let not = Verdict::NotScored;
        let found: Vec<Verdict> =
            run(&mut lane, &trials, batch, 0).into_iter().map(|by_model| by_model[0]).collect();
        assert_eq!(found, [not, score(11.0), not, score(20.0), not, not, not, not, not, score(30.0)]);
    }
}

/// Fuel of the fixture's expensive row, alone.
fn cost_of_a_slow_row() -> u64 {
    let mut lane = Lane::new(&load(&[Model { fuel_per_row: u64::MAX, ..fixture("slow", each(&["a"])) }]));
    run(&mut lane, &[trial(0, POISON)], 1, 0);
    lane.counters()[0].host.fuel_used
}

#[test]
fn a_row_may_use_its_own_fuel_and_not_its_neighbors() {
    let cost = cost_of_a_slow_row();
    let trials: Vec<Trial> =
        (0..64).map(|row| trial(row % 5, if row == 30 { POISON } else { 1.0 })).collect();
    for (fuel_per_row, fails) in [(cost / 10 * 11, false), (cost / 10 * 9, true)] {
        let set = load(&[Model { fuel_per_row, ..fixture("slow", each(&["a"])) }]);
        for batch in [64, 7, 1] {
            let verdicts = run(&mut Lane::new(&set), &trials, batch, 0);
            for (row, verdict) in verdicts.iter().enumerate() {
                let failed = matches!(verdict[0], Verdict::Failed(_));
                assert_eq!(failed, fails && row == 30, "row {row}, fuel {fuel_per_row}, batches of {batch}");
            }
        }
    }
}

//! What every shipped model must keep: the promises of the contract that a guest could break.

use crate::rig::{FUEL, METRICS, Trial, each, ewma, loader, run, saved, scores};
use schemas::pipeline::{Inputs, Model};
use scoring::shipped::{self, Component};
use scoring::{Input, Lane, LoadError, ModelSet, Verdict};

/// Loads it for one metric, or for as many columns as it wants.
fn load(component: &Component) -> (ModelSet, usize) {
    let model = |inputs| Model { component: component.digest.clone(), ..ewma("{}", inputs) };
    let columns =
        |count: usize| Inputs::Columns(METRICS[..count].iter().map(|name| (*name).to_owned()).collect());
    let candidates =
        std::iter::once((1, each(&METRICS[..1]))).chain((2..=METRICS.len()).map(|n| (n, columns(n))));
    for (count, inputs) in candidates {
        match loader().load(&[model(inputs)]) {
            Ok(set) => return (set, count),
            Err(LoadError::Unfit { .. }) => {}
            Err(error) => panic!("{}: {error}", component.name),
        }
    }
    panic!("{} wants more columns than these tests have", component.name)
}

#[test]
fn the_version_of_a_definition_is_the_one_its_scores_carry() {
    let model = ewma("{}", each(&["a"]));
    let set = loader().load(std::slice::from_ref(&model)).unwrap();
    let loaded = set.models().next().unwrap().version.clone();
    assert_eq!(scoring::version_of(&model), Some(loaded));
    assert_eq!(scoring::version_of(&Model { component: "ewma".to_owned(), ..model }), None);
}

/// Plain and odd values of three series, in a fixed order.
fn trials(columns: usize) -> Vec<Trial> {
    let odd = [0.0, -0.0, 1e300, -1e300, 5e-324, f64::MAX, f64::MIN, 1.0];
    let value = |row: usize| {
        if row % 50 == 49 { odd[row / 50 % odd.len()] } else { 20.0 + (row * 7919 % 101) as f64 / 50.0 }
    };
    let values =
        |row: usize| (0..columns).map(|n| Input { metric: n as u16, value: Some(value(row + n)) }).collect();
    (0..900).map(|row| Trial { slot: row as u32 % 3, values: values(row) }).collect()
}

#[test]
fn batches_snapshots_and_odd_values_change_nothing() {
    for component in shipped::all() {
        let (set, columns) = load(component);
        let trials = trials(columns);
        let mut lane = Lane::new(&set);
        let whole = run(&mut lane, &trials, 900, 0);
        assert!(
            whole.iter().flatten().all(|verdict| !matches!(verdict, Verdict::Failed(_))),
            "{}",
            component.name
        );
        let counters = &lane.counters()[0];
        assert!(counters.host.fuel_used / counters.rows < FUEL / 2000, "{}: {counters:?}", component.name);

        for batch in [1, 7, 256] {
            let mut other = Lane::new(&set);
            assert_eq!(run(&mut other, &trials, batch, 0), whole, "{} in batches of {batch}", component.name);
            assert_eq!(saved(&other), saved(&lane), "{} in batches of {batch}", component.name);
        }
        let mut first = Lane::new(&set);
        let mut parts = run(&mut first, &trials[..431], 100, 0);
        let mut second = Lane::load(&set, &saved(&first)).unwrap();
        parts.extend(run(&mut second, &trials[431..], 100, 431));
        assert_eq!(parts, whole, "{} after a restart", component.name);
    }
}

#[test]
fn series_do_not_touch_each_other() {
    for component in shipped::all() {
        let (set, columns) = load(component);
        let trials = trials(columns);
        let of_slot =
            |slot: u32| -> Vec<Trial> { trials.iter().filter(|trial| trial.slot == slot).cloned().collect() };
        let together = run(&mut Lane::new(&set), &trials, 64, 0);
        let first = |verdicts: &[Vec<Verdict>]| {
            scores(&verdicts.iter().step_by(columns).cloned().collect::<Vec<_>>())
        };
        let together = first(&together);
        for slot in 0..3 {
            let alone = first(&run(&mut Lane::new(&set), &of_slot(slot), 64, 0));
            let beside: Vec<f64> = together.iter().skip(slot as usize).step_by(3).copied().collect();
            assert_eq!(alone, beside, "{} series {slot}", component.name);
        }
    }
}

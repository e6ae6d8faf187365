//! What every shipped model must keep: the promises of the contract that a guest could break.

use crate::forest;
use crate::rig::{
    EWMA_IN_C, FIXTURES, FUEL, METRICS, Trial, each, ewma, kept, limits, loader, run, saved, scores,
};
use schemas::pipeline::{Inputs, Model};
use scoring::conformance::{Candidate, Report, conform};
use scoring::shipped::{self, Component};
use scoring::{Input, Lane, LoadError, ModelSet, Refused, Verdict};
use scoring_host::{Host, Plugin};

/// What a shipped model needs besides settings.
fn weights_of(name: &str) -> Option<Vec<u8>> {
    (name == "trees").then(|| forest::small().weights())
}

/// Loads it for one metric, or for as many columns as it wants.
fn load(component: &Component) -> (ModelSet, usize) {
    let artifact = weights_of(component.name).map(|weights| kept(&weights));
    let model = |inputs| Model {
        component: component.digest.clone(),
        artifact: artifact.clone(),
        ..ewma("{}", inputs)
    };
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
        assert!(counters.host.fuel_used / counters.rows < FUEL / 200, "{}: {counters:?}", component.name);

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

fn tried(bytes: &[u8], settings: &str) -> Report {
    tried_with(bytes, settings, None)
}

fn tried_with(bytes: &[u8], settings: &str, artifact: Option<&[u8]>) -> Report {
    let candidate = Candidate { bytes, settings, artifact, seed: 0, fuel_per_row: FUEL };
    conform(&candidate, limits()).unwrap()
}

#[test]
fn every_shipped_model_conforms() {
    for component in shipped::all() {
        let report = tried_with(component.bytes, "{}", weights_of(component.name).as_deref());
        assert!(report.passed(), "{}: {:?}", component.name, report.verdicts);
        assert!(report.verdicts.len() >= 10);
    }
}

#[test]
fn the_shipped_model_in_c_conforms_and_refuses_what_it_refuses() {
    let report = tried(EWMA_IN_C, "{}");
    assert!(report.passed(), "{:?}", report.verdicts);
    let host = Host::new(limits()).unwrap();
    let [in_c, in_rust] =
        [EWMA_IN_C, shipped::ewma().bytes].map(|bytes| host.component(bytes, None).unwrap());
    let all = r#" { "alpha" : 1, "warm-up-rows":0, "trigger":1e0,"refractory-rows": 4294967295, "sigma-min":0.5, "sigma-min-ratio":0 } "#;
    for settings in [
        "",
        " ",
        "{}",
        all,
        r#"{"alpha": 0}"#,
        r#"{"alpha": 1.5}"#,
        r#"{"alpha": "1"}"#,
        r#"{"alhpa": 1}"#,
        "[]",
        r#"{"trigger": -1}"#,
        r#"{"trigger": 1e999}"#,
        r#"{"warm-up-rows": 1.5}"#,
        r#"{"warm-up-rows": -1}"#,
        r#"{"refractory-rows": 4294967296}"#,
        r#"{"alpha": 1"#,
        r#"{"alpha": 1,}"#,
        r#"{"alpha" 1}"#,
        "{} {}",
    ] {
        let starts = |component| match Plugin::new(&host, component, settings, None, 0) {
            Ok(_) => true,
            Err(Refused::Settings(_)) => false,
            Err(other) => panic!("{settings}: {other}"),
        };
        assert_eq!(starts(&in_c), starts(&in_rust), "{settings}");
    }
}

#[test]
fn what_a_model_must_not_do_is_named() {
    for (mode, expected) in [
        ("remember", "nothing kept in the instance"),
        ("place", "any cut into batches"),
        ("bound-place", "any cut into batches"),
        ("neighbour", "series do not touch each other"),
        ("leak", "flat memory, or instances that last"),
    ] {
        let report = tried(FIXTURES, &format!(r#"{{"mode": "{mode}"}}"#));
        let failed: Vec<&str> = report
            .verdicts
            .iter()
            .filter(|verdict| verdict.outcome.is_err())
            .map(|verdict| verdict.trial)
            .collect();
        assert!(failed.contains(&expected), "{mode}: {:?}", report.verdicts);
    }
    assert!(tried(FIXTURES, r#"{"mode": "none"}"#).passed());
}

//! What a model fails on leaves as one document, and fails again in the same way, on a machine that has only that.

use crate::rig::{
    FIXTURES, FUEL, METRICS, POISON, TrialSource, each, fixture, kept, limits, run, saved, trial,
};
use schemas::pipeline::{Inputs, Model};
use scoring::shipped;
use scoring::{
    Configured, FailedBatch, Failure, Input, Lane, Loader, LoaderConfig, Replayed, Witness, profile,
    profile_batch,
};
use std::sync::{Arc, Mutex};

/// Takes everything.
#[derive(Debug, Default)]
struct Memory(Mutex<Vec<FailedBatch>>);

impl Witness for Memory {
    fn wants(&self, _version: &str, _failure: Failure) -> bool {
        true
    }

    fn saw(&self, batch: FailedBatch) {
        self.0.lock().unwrap().push(batch);
    }
}

fn witnessed() -> (Loader, Arc<Memory>) {
    let memory = Arc::new(Memory::default());
    let witness: Arc<dyn Witness> = memory.clone();
    let config = LoaderConfig { limits: limits(), witness: Some(witness), ..LoaderConfig::default() };
    (Loader::new(Arc::new(TrialSource), config).unwrap(), memory)
}

#[test]
fn every_failure_fails_again_from_its_document_alone() {
    let (loader, memory) = witnessed();
    let values = [1.0, 2.0, POISON, 3.0];
    let trials: Vec<_> = values.iter().map(|value| trial(7, *value)).collect();
    for mode in ["spin", "panic", "trap", "recurse", "fault", "short-scores", "nan", "flood", "grow"] {
        let set = loader.load(&[fixture(mode, each(&["a"]))]).unwrap();
        run(&mut Lane::new(&set).of_partition(3), &trials, 4, 40);
        let [batch] = std::mem::take(&mut *memory.0.lock().unwrap()).try_into().expect(mode);
        let text = batch.to_json();
        let read = FailedBatch::from_json(text.as_bytes()).unwrap();
        assert_eq!(read, batch, "{mode}: {text}");
        assert_eq!((read.partition, read.rows[0].offset), (Some(3), 42), "{mode}");
        assert_eq!(read.component, shipped::digest_of(FIXTURES), "{mode}");
        let found = read.replay(FIXTURES, None, limits()).unwrap();
        assert_eq!(found, [Replayed::Failed(batch.failure)], "{mode}");
    }
}

#[test]
fn a_failure_says_where_the_guest_was() {
    let (loader, memory) = witnessed();
    let set = loader.load(&[fixture("panic", each(&["a"]))]).unwrap();
    run(&mut Lane::new(&set), &[trial(0, POISON)], 1, 0);
    let batch = memory.0.lock().unwrap().remove(0);
    assert!(batch.failure.trace.iter().any(|function| function == "fixtures::misbehave"), "{batch:?}");
    let [line] = batch.failure.log.as_slice() else { panic!("{batch:?}") };
    assert!(line.starts_with("error: ") && line.ends_with("poisoned on purpose"), "{line}");
    assert!(batch.failure.detail.contains("; in "), "{}", batch.failure.detail);
}

#[test]
fn a_witness_changes_nothing() {
    let models = [fixture("panic", each(&["a"]))];
    let trials: Vec<_> = (0..50).map(|row| trial(row % 3, if row % 7 == 6 { POISON } else { 1.0 })).collect();
    let (loader, memory) = witnessed();
    let (mut with, mut without) =
        (Lane::new(&loader.load(&models).unwrap()), Lane::new(&crate::rig::load(&models)));
    assert_eq!(run(&mut with, &trials, 20, 0), run(&mut without, &trials, 20, 0));
    assert_eq!(saved(&with), saved(&without));
    assert_eq!(memory.0.lock().unwrap().len(), 7);
}

/// Columns with a hole, and the state of the series in the middle of its life.
#[test]
fn what_is_missing_is_missing_again() {
    let (loader, memory) = witnessed();
    let columns = Inputs::Columns(METRICS[..2].iter().map(|name| (*name).to_owned()).collect());
    // The first feature misbehaves, the second is missing: too little fuel for any row.
    let model = Model { fuel_per_row: 10, ..fixture("two-features", columns) };
    let set = loader.load(&[model]).unwrap();
    let values = vec![Input { metric: 0, value: Some(1.5) }, Input { metric: 1, value: None }];
    run(&mut Lane::new(&set), &[crate::rig::Trial { slot: 0, values }], 1, 0);
    let mut batch = memory.0.lock().unwrap().remove(0);
    assert_eq!(batch.rows[0].values, [Some(1.5), None]);
    assert!(matches!(batch.replay(FIXTURES, None, limits()).unwrap()[..], [Replayed::Failed(_)]));
    batch.fuel_per_row = FUEL;
    let found = batch.replay(FIXTURES, None, limits()).unwrap();
    assert!(matches!(found[..], [Replayed::Score { score: 1.5, .. }]), "{found:?}");
}

#[test]
fn a_document_that_does_not_hold_together_is_refused() {
    let (loader, memory) = witnessed();
    let set = loader.load(&[fixture("panic", each(&["a"]))]).unwrap();
    run(&mut Lane::new(&set), &[trial(0, POISON)], 1, 0);
    let batch = memory.0.lock().unwrap().remove(0);
    let text = batch.to_json();
    for (from, to) in
        [("\"format\": 1", "\"format\": 2"), ("\"slot\": 0", "\"slot\": 9"), ("\"seed\"", "\"weed\"")]
    {
        assert!(text.contains(from), "{text}");
        assert!(FailedBatch::from_json(text.replace(from, to).as_bytes()).is_err(), "{to}");
    }
    assert!(batch.replay(shipped::ewma().bytes, None, limits()).is_err(), "another component's state");
}

#[test]
fn a_failed_row_names_the_weights_it_failed_with() {
    let (loader, memory) = witnessed();
    let artifact = Some(kept(b"numbers"));
    let model = Model { artifact: artifact.clone(), ..fixture("panic", each(&["a"])) };
    let set = loader.load(std::slice::from_ref(&model)).unwrap();
    run(&mut Lane::new(&set), &[trial(0, POISON)], 1, 0);
    let batch = memory.0.lock().unwrap().remove(0);
    assert_eq!((&batch.artifact, Some(batch.version)), (&artifact, scoring::version_of(&model)));
}

#[test]
fn a_profile_says_which_functions_use_the_fuel() {
    let given = Configured { component: FIXTURES, settings: r#"{"mode": "none"}"#, artifact: None, seed: 0 };
    let plain = profile(given, 200, limits()).unwrap();
    assert_eq!((plain.rows, plain.fuel_by_row.len()), (200, 200));
    assert!(plain.fuel_by_row.is_sorted() && plain.fuel_by_row[0] > 0);
    assert!(plain.fuel > 0 && plain.memory_bytes_peak > 0);
    let own: f64 = plain.functions.iter().map(|function| function.own).sum();
    assert!((own - 1.0).abs() < 1e-9, "{own}");
    assert_eq!(
        plain.functions,
        profile(given, 200, limits()).unwrap().functions,
        "fuel is the same every time"
    );

    let (loader, memory) = witnessed();
    let set = loader.load(&[fixture("slow", each(&["a"]))]).unwrap();
    run(&mut Lane::new(&set), &[trial(0, POISON)], 1, 0);
    let batch = memory.0.lock().unwrap().remove(0);
    let given = Configured { settings: &batch.settings, ..given };
    let slow = profile_batch(given, &batch, limits()).unwrap();
    let first = &slow.functions[0];
    assert!(first.name.contains("misbehave") && first.own > 0.9, "{:?}", slow.functions);
}

//! Bounds of the queue, the sample, and what a loader refuses.

use crate::rig::{METRICS, TrialSource, each, ewma, fixture, limits, load, loader, run, saved, trial};
use schemas::pipeline::{Inputs, Model};
use scoring::shipped::{self, Shipped};
use scoring::{
    ComponentSource, Flushed, Full, Input, Lane, LoadError, Loader, LoaderConfig, ROWS_MAX, Reading, Refused,
    SourceError, Verdict,
};
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

#[test]
fn a_full_lane_says_so_and_keeps_what_it_has() {
    let mut lane = Lane::new(&load(&[ewma("{}", each(&["a", "b", "c"]))]));
    let values: Vec<Input> = (0..3).map(|metric| Input { metric, value: Some(1.0) }).collect();
    let reading = Reading { slot: 0, event_time: 0, offset: 0, values: &values };
    let mut pushed = 0;
    while lane.fits(values.len()) {
        lane.push(&reading, |metric| METRICS[metric as usize]).unwrap();
        pushed += 1;
    }
    assert_eq!(pushed, ROWS_MAX / 3);
    assert_eq!(lane.push(&reading, |metric| METRICS[metric as usize]), Err(Full));
    let mut flushed = Flushed::default();
    lane.flush(&mut flushed).unwrap();
    assert_eq!((flushed.rows(), lane.counters()[0].rows), (pushed, 3 * pushed as u64));
    assert!(lane.push(&reading, |metric| METRICS[metric as usize]).is_ok());
}

#[test]
fn readings_without_rows_are_bounded_too() {
    let mut lane = Lane::new(&load(&[ewma("{}", each(&["a"]))]));
    let reading = Reading { slot: 0, event_time: 0, offset: 0, values: &[] };
    for _ in 0..ROWS_MAX {
        lane.push(&reading, |_| "x").unwrap();
    }
    assert_eq!(lane.push(&reading, |_| "x"), Err(Full));
}

#[test]
fn a_metric_nobody_scores_is_not_scored_and_its_name_is_asked_for_once() {
    let mut lane = Lane::new(&load(&[ewma("{}", each(&["a"]))]));
    let asked = std::cell::Cell::new(0);
    let name_of = |_| {
        asked.set(asked.get() + 1);
        "unheard-of"
    };
    let values = [Input { metric: 9, value: Some(1.0) }];
    let reading = Reading { slot: 0, event_time: 0, offset: 0, values: &values };
    let rows = [lane.push(&reading, name_of).unwrap(), lane.push(&reading, name_of).unwrap()];
    let mut flushed = Flushed::default();
    lane.flush(&mut flushed).unwrap();
    assert_eq!(rows.map(|row| flushed.verdicts(row, 0)), [[Verdict::NotScored]; 2]);
    assert_eq!((asked.get(), lane.counters()[0].host.calls), (1, 0));
}

#[test]
fn the_sample_depends_on_offsets_alone() {
    let model = |sample_every| Model { sample_every, ..ewma("{}", each(&["a"])) };
    let trials: Vec<_> = (0..5000).map(|row| trial(row % 100, 1.0)).collect();
    let sample = |sample_every, batch| -> BTreeSet<usize> {
        let mut lane = Lane::new(&load(&[model(sample_every)]));
        let found = run(&mut lane, &trials, batch, 40_000);
        let sampled = |verdict: &Vec<Verdict>| matches!(verdict[0], Verdict::Score { sampled: true, .. });
        (0..found.len()).filter(|row| sampled(&found[*row])).collect()
    };
    let of_hundred = sample(100, 1000);
    assert_eq!(of_hundred, sample(100, 77));
    assert!((25..100).contains(&of_hundred.len()), "{}", of_hundred.len());
    let devices: BTreeSet<usize> = of_hundred.iter().map(|row| row % 100).collect();
    assert!(devices.len() > 15, "every 100th reading would be one device: {devices:?}");
    assert_eq!(sample(1, 1000).len(), 5000);
    assert_eq!(sample(0, 1000).len(), 0);
}

#[test]
fn models_that_do_not_fit_are_refused() {
    let columns = |names: &[&str]| Inputs::Columns(names.iter().map(|name| (*name).to_owned()).collect());
    let unfit = [
        ewma("{}", columns(&["a", "b"])),
        ewma("{}", each(&["a", "a"])),
        ewma("{}", each(&[])),
        fixture("two-features", each(&["a"])),
        Model { threshold: f64::NAN, ..ewma("{}", each(&["a"])) },
        Model { fuel_per_row: 0, ..ewma("{}", each(&["a"])) },
    ];
    for model in unfit {
        assert!(
            matches!(loader().load(std::slice::from_ref(&model)), Err(LoadError::Unfit { .. })),
            "{model:?}"
        );
    }
    let unknown = Model { component: "0".repeat(64), ..ewma("{}", each(&["a"])) };
    assert!(matches!(loader().load(&[unknown]), Err(LoadError::UnknownComponent { .. })));
}

struct Lying;

impl ComponentSource for Lying {
    fn fetch(&self, digest: &str) -> Result<Option<Cow<'static, [u8]>>, SourceError> {
        match digest {
            "unreachable" => Err(SourceError("the shelf is closed".to_owned())),
            _ => Ok(Some(Cow::Borrowed(b"something else"))),
        }
    }
}

#[test]
fn a_source_is_not_believed() {
    let loader =
        Loader::new(Arc::new(Lying), LoaderConfig { limits: limits(), ..LoaderConfig::default() }).unwrap();
    let model = ewma("{}", each(&["a"]));
    assert!(matches!(loader.load(std::slice::from_ref(&model)), Err(LoadError::Damaged { .. })));
    let model = Model { component: "unreachable".to_owned(), ..model };
    assert!(matches!(loader.load(&[model]), Err(LoadError::Source { .. })));
}

#[test]
fn guests_that_fail_at_the_start_are_refused_with_the_reason() {
    let cases = [
        ("panic-early", "poisoned on purpose"),
        ("spin-early", "fuel"),
        ("refuse", "bad configuration: refused on purpose"),
        ("no-score", "not exactly one output has the role `score`"),
        ("variant", "batch-invariant"),
        ("wide-state", "bytes of state"),
    ];
    let limits = scoring::HostLimits { start_fuel: 10_000_000, ..limits() };
    let loader =
        Loader::new(Arc::new(TrialSource), LoaderConfig { limits, ..LoaderConfig::default() }).unwrap();
    for (mode, words) in cases {
        let error = loader.load(&[fixture(mode, each(&["a"]))]).expect_err(mode);
        assert!(matches!(error, LoadError::Refused { .. }), "{mode}: {error:?}");
        assert!(error.to_string().contains(words), "{mode}: {error}");
    }
}

#[test]
fn machine_code_is_cached_and_a_damaged_cache_only_costs_time() {
    let dir = tempfile::tempdir().unwrap();
    let fresh = || {
        let config = LoaderConfig {
            cache_dir: Some(dir.path().join("code")),
            limits: limits(),
            ..LoaderConfig::default()
        };
        Loader::new(Arc::new(Shipped), config).unwrap()
    };
    let files = || -> Vec<_> {
        std::fs::read_dir(dir.path().join("code")).unwrap().map(|entry| entry.unwrap().path()).collect()
    };
    let trials: Vec<_> = (0..200).map(|row| trial(0, f64::from(row * row % 17))).collect();
    let verdicts = |loader: &Loader| {
        run(&mut Lane::new(&loader.load(&[ewma("{}", each(&["a"]))]).unwrap()), &trials, 50, 0)
    };

    let compiled = verdicts(&fresh());
    let [file] = files().try_into().expect("one file");
    assert!(file.file_name().unwrap().to_str().unwrap().starts_with(&shipped::ewma().digest));
    let written = std::fs::read(&file).unwrap();
    assert_eq!(verdicts(&fresh()), compiled);

    std::fs::write(&file, &written[..written.len() / 2]).unwrap();
    assert_eq!(verdicts(&fresh()), compiled);
    assert_eq!(std::fs::read(&file).unwrap(), written, "it was compiled again, to the same bytes");
}

#[test]
fn shipped_models_are_found_by_name_and_digest() {
    let ewma = shipped::find("ewma").unwrap();
    assert_eq!(ewma, shipped::ewma());
    assert_eq!(Shipped.fetch(&ewma.digest).unwrap().as_deref(), Some(ewma.bytes));
    assert_eq!(shipped::find("none"), None);
    let refused = Refused::Import("wasi:clocks/wall-clock@0.2.0".to_owned());
    assert!(refused.to_string().contains("wasi:clocks/wall-clock@0.2.0"));
}

#[test]
fn a_lane_may_move_to_another_thread() {
    let set = load(&[ewma("{}", each(&["a"]))]);
    let trials = [trial(0, 1.0), trial(0, 2.0)];
    let mut lane = Lane::new(&set);
    let mut found = run(&mut lane, &trials[..1], 1, 0);
    let rest = std::thread::spawn({
        let trials = trials.clone();
        move || run(&mut lane, &trials[1..], 1, 1)
    });
    found.extend(rest.join().unwrap());
    assert_eq!(found, run(&mut Lane::new(&set), &trials, 2, 0));
}

#[test]
fn a_model_without_state_and_with_several_outputs_works() {
    let set = load(&[Model { threshold: 3.0, ..fixture("stateless", each(&["a"])) }]);
    for batch in [4, 1] {
        let mut lane = Lane::new(&set);
        let found = run(&mut lane, &[1.0, 4.0, 2.0, 3.0].map(|value| trial(0, value)), batch, 0);
        let score = |score, over_threshold| {
            vec![Verdict::Score { score, warm_up: false, over_threshold, sampled: false }]
        };
        assert_eq!(found, [score(1.0, false), score(4.0, true), score(2.0, false), score(3.0, true)]);
        let again = Lane::load(&set, &saved(&lane)).unwrap();
        assert_eq!(saved(&again), saved(&lane));
    }
}

//! What the tests share: a loader that knows the shipped models and the misbehaving fixture, and short ways to push
//! rows and read verdicts.

use schemas::pipeline::{Inputs, Model};
use scoring::shipped::{self, Shipped};
use scoring::{
    Braked, ComponentSource, Flushed, HostLimits, Input, Lane, Loader, LoaderConfig, ModelSet, Reading,
    SourceError, Verdict,
};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

/// What makes the fixture misbehave.
pub(crate) const POISON: f64 = 666.0;
/// A thousand times what a row of the shipped model uses.
pub(crate) const FUEL: u64 = 1_000_000;

pub(crate) static FIXTURES: &[u8] = include_bytes!("../../plugins/prebuilt/fixtures.wasm");

/// The shipped `ewma` written in C: what `highwater model new --lang c` gives, built by `scoring/guests/build`.
pub(crate) static EWMA_IN_C: &[u8] = include_bytes!("../data/ewma-c.wasm");

pub(crate) struct TrialSource;

impl ComponentSource for TrialSource {
    fn fetch(&self, digest: &str) -> Result<Option<Cow<'static, [u8]>>, SourceError> {
        if digest == shipped::digest_of(FIXTURES) {
            return Ok(Some(Cow::Borrowed(FIXTURES)));
        }
        if digest == shipped::digest_of(EWMA_IN_C) {
            return Ok(Some(Cow::Borrowed(EWMA_IN_C)));
        }
        if let Some(bytes) = KEPT.lock().unwrap().get(digest) {
            return Ok(Some(Cow::Owned(bytes.clone())));
        }
        Shipped.fetch(digest)
    }
}

/// Weights of the tests, by digest.
static KEPT: Mutex<BTreeMap<String, Vec<u8>>> = Mutex::new(BTreeMap::new());

/// Makes weights known to the loaders of the tests; their digest.
pub(crate) fn kept(weights: &[u8]) -> String {
    let digest = shipped::digest_of(weights);
    KEPT.lock().unwrap().insert(digest.clone(), weights.to_vec());
    digest
}

/// Limits small enough to be reached quickly, and a brake that never comes into play.
pub(crate) fn limits() -> HostLimits {
    HostLimits { brake_ticks: u64::MAX / 2, memory_bytes_max: 64 << 20, ..HostLimits::default() }
}

pub(crate) fn loader() -> &'static Loader {
    static LOADER: OnceLock<Loader> = OnceLock::new();
    LOADER.get_or_init(|| {
        Loader::new(Arc::new(TrialSource), LoaderConfig { limits: limits(), ..LoaderConfig::default() })
            .unwrap()
    })
}

/// A loader whose brake bites after some milliseconds.
pub(crate) fn braking_loader() -> Loader {
    let limits = HostLimits { tick: Duration::from_millis(1), brake_ticks: 20, ..limits() };
    Loader::new(Arc::new(TrialSource), LoaderConfig { limits, ..LoaderConfig::default() }).unwrap()
}

pub(crate) fn each(metrics: &[&str]) -> Inputs {
    Inputs::Each(metrics.iter().map(|metric| (*metric).to_owned()).collect())
}

pub(crate) fn ewma(settings: &str, inputs: Inputs) -> Model {
    Model {
        name: "ewma".to_owned(),
        component: shipped::ewma().digest.clone(),
        artifact: None,
        settings: settings.to_owned(),
        seed: 0,
        inputs,
        route: schemas::pipeline::Route::default(),
        threshold: 5.0,
        sample_every: 0,
        fuel_per_row: FUEL,
        trial: None,
    }
}

/// A shipped model by name, for metric `a`.
pub(crate) fn shipped(name: &str, settings: &str) -> Model {
    let component = shipped::find(name).unwrap().digest.clone();
    Model { name: name.to_owned(), component, ..ewma(settings, each(&METRICS[..1])) }
}

/// Verdicts on values of one series that come every so many minutes.
pub(crate) fn timed(model: &Model, values: &[f64], minutes: i64) -> Vec<Vec<Verdict>> {
    let judged = expecting(model, values, minutes);
    judged.into_iter().map(|(verdict, _)| vec![verdict]).collect()
}

/// Verdicts on them, and what was expected of those over the threshold.
pub(crate) fn expecting(model: &Model, values: &[f64], minutes: i64) -> Vec<(Verdict, [Option<f64>; 2])> {
    let mut lane = Lane::new(&load(std::slice::from_ref(model)));
    let mut flushed = Flushed::default();
    let mut judged = Vec::new();
    for (row, value) in (0..).zip(values) {
        let values = [Input { metric: 0, value: Some(*value) }];
        let reading =
            Reading { slot: 0, event_time: row * minutes * 60_000_000, offset: row, values: &values };
        let pushed = lane.push(&reading, |_| METRICS[0]).unwrap();
        lane.flush(&mut flushed).unwrap();
        judged.push((flushed.verdicts(pushed, 0)[0], flushed.expected(pushed, 0, 0)));
    }
    judged
}

pub(crate) fn fixture(mode: &str, inputs: Inputs) -> Model {
    Model {
        name: mode.to_owned(),
        component: shipped::digest_of(FIXTURES),
        settings: format!(r#"{{"mode": "{mode}"}}"#),
        threshold: f64::INFINITY,
        ..ewma("", inputs)
    }
}

/// As a partition does it.
pub(crate) fn put_in_force(lane: &mut Lane, set: &ModelSet) {
    let translated = lane.translate(set).unwrap();
    lane.configure(set, translated);
}

pub(crate) fn load(models: &[Model]) -> ModelSet {
    loader().load(models).unwrap()
}

/// The metrics of these tests.
pub(crate) const METRICS: [&str; 4] = ["a", "b", "c", "d"];

/// One reading of the tests.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Trial {
    pub(crate) slot: u32,
    pub(crate) values: Vec<Input>,
}

/// A reading of metric `a` only.
pub(crate) fn trial(slot: u32, value: f64) -> Trial {
    Trial { slot, values: vec![Input { metric: 0, value: Some(value) }] }
}

/// Pushes and flushes so many readings at a time; the verdicts on every value of every reading, by model.
pub(crate) fn run(lane: &mut Lane, trials: &[Trial], batch: usize, first_offset: i64) -> Vec<Vec<Verdict>> {
    let mut verdicts = Vec::new();
    let mut flushed = Flushed::default();
    for (number, chunk) in trials.chunks(batch).enumerate() {
        let at = first_offset + (number * batch) as i64;
        verdicts.extend(try_run(lane, chunk, at, &mut flushed).unwrap());
    }
    verdicts
}

pub(crate) fn try_run(
    lane: &mut Lane,
    trials: &[Trial],
    first_offset: i64,
    flushed: &mut Flushed,
) -> Result<Vec<Vec<Verdict>>, Braked> {
    let mut rows = Vec::new();
    for (offset, trial) in (first_offset..).zip(trials) {
        let reading =
            Reading { slot: trial.slot, event_time: offset * 1_000_000, offset, values: &trial.values };
        rows.push(lane.push(&reading, |metric| METRICS[metric as usize]).unwrap());
    }
    lane.flush(flushed)?;
    let values = |(row, trial): (&_, &Trial)| {
        (0..trial.values.len()).map(|value| flushed.verdicts(*row, value).to_vec()).collect::<Vec<_>>()
    };
    Ok(rows.iter().zip(trials).flat_map(values).collect())
}

/// Scores, which every value is expected to have got from the first model.
pub(crate) fn scores(verdicts: &[Vec<Verdict>]) -> Vec<f64> {
    let score = |verdicts: &Vec<Verdict>| match verdicts[0] {
        Verdict::Score { score, .. } => score,
        other => panic!("{other:?} where a score was expected"),
    };
    verdicts.iter().map(score).collect()
}

pub(crate) fn saved(lane: &Lane) -> Vec<u8> {
    let mut bytes = Vec::new();
    lane.save(&mut bytes);
    bytes
}

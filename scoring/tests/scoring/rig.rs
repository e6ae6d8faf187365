//! What the tests share: a loader that knows the shipped models and the misbehaving fixture, and short ways to push
//! rows and read verdicts.

use schemas::pipeline::{Inputs, Model};
use scoring::shipped::{self, Shipped};
use scoring::{
    Braked, ComponentSource, Flushed, HostLimits, Input, Lane, Loader, LoaderConfig, ModelSet, Reading,
    SourceError, Verdict,
};
use std::borrow::Cow;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// What makes the fixture misbehave.
pub(crate) const POISON: f64 = 666.0;
/// A thousand times what a row of the shipped model uses.
pub(crate) const FUEL: u64 = 1_000_000;

static FIXTURES: &[u8] = include_bytes!("../../plugins/prebuilt/fixtures.wasm");

pub(crate) struct TrialSource;

impl ComponentSource for TrialSource {
    fn fetch(&self, digest: &str) -> Result<Option<Cow<'static, [u8]>>, SourceError> {
        if digest == shipped::digest_of(FIXTURES) {
            return Ok(Some(Cow::Borrowed(FIXTURES)));
        }
        Shipped.fetch(digest)
    }
}

/// Limits small enough to be reached quickly, and a brake that never comes into play.
pub(crate) fn limits() -> HostLimits {
    HostLimits { brake_ticks: u64::MAX / 2, memory_bytes_max: 64 << 20, ..HostLimits::default() }
}

pub(crate) fn loader() -> &'static Loader {
    static LOADER: OnceLock<Loader> = OnceLock::new();
    LOADER.get_or_init(|| {
        Loader::new(Arc::new(TrialSource), LoaderConfig { limits: limits(), cache_dir: None }).unwrap()
    })
}

/// A loader whose brake bites after some milliseconds.
pub(crate) fn braking_loader() -> Loader {
    let limits = HostLimits { tick: Duration::from_millis(1), brake_ticks: 20, ..limits() };
    Loader::new(Arc::new(TrialSource), LoaderConfig { limits, cache_dir: None }).unwrap()
}

pub(crate) fn each(metrics: &[&str]) -> Inputs {
    Inputs::Each(metrics.iter().map(|metric| (*metric).to_owned()).collect())
}

pub(crate) fn ewma(settings: &str, inputs: Inputs) -> Model {
    Model {
        name: "ewma".to_owned(),
        component: shipped::ewma().digest.clone(),
        settings: settings.to_owned(),
        seed: 0,
        inputs,
        threshold: 5.0,
        sample_every: 0,
        fuel_per_row: FUEL,
    }
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

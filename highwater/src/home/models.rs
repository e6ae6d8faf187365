//! Versions of models for the admin address: trying one, putting it on trial, and what is shown of all.
//!
//! Invariant: nothing is put on trial that does not load here and keep what the contract asks.

use crate::config::scoring::ScoringConfig;
use crate::config::weights::NO_WEIGHTS;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chassis::config::parse_duration;
use journal::port::Journal;
use processor::components::{COMPONENT_BYTES_MAX, Components};
use processor::ops::{ModelStatus, OpsError, Rollouts};
use processor::view::PartitionView;
use schemas::Micros;
use schemas::codec::Codec;
use schemas::pipeline::{Model, Version};
use schemas::roles::Gates;
use scoring::conformance::{Candidate, conform_compiled};
use scoring::{Compiling, ComponentSource, Counters, HostLimits, Loader, shipped};
use serde::Deserialize;
use serde_json::{Value, json};
use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

/// Bytes of a request that brings a component, in base64.
pub(crate) const PUSH_BYTES_MAX: usize = COMPONENT_BYTES_MAX / 3 * 4 + (1 << 20);
/// Shares of a canary, at most.
const SHARES_MAX: usize = 8;

/// A version to be put on trial; what is absent is as in the version in force.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Push {
    /// Public name of a model of the configuration.
    name: String,
    /// Name of a shipped component, or the digest of one that is known.
    component: Option<String>,
    /// A component, in base64.
    bytes: Option<String>,
    /// Text of its minisign signature.
    signature: Option<String>,
    /// SHA-256 of trained weights that are known, or `none`.
    artifact: Option<String>,
    /// Trained weights, in base64.
    weights: Option<String>,
    settings: Option<Value>,
    seed: Option<u64>,
    threshold: Option<f64>,
    fuel_per_row: Option<u64>,
    #[serde(default)]
    gates: RawGates,
}

/// Gates as they are said; spans as text.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawGates {
    canary: Option<Vec<u8>>,
    rows: Option<u64>,
    shadow: Option<String>,
    canary_each: Option<String>,
    bake: Option<String>,
    failed_max: Option<u64>,
    alert_ratio_max: Option<f64>,
    alerts_free: Option<u64>,
    fuel_ratio_max: Option<f64>,
    rank_correlation_min: Option<f64>,
}

/// Models of a home.
pub(crate) struct Models {
    rollouts: Rollouts,
    components: Arc<Components>,
    loader: OnceLock<Loader>,
    scoring: ScoringConfig,
}

fn decoded(what: &str, text: &str) -> Result<Vec<u8>, OpsError> {
    STANDARD.decode(text).map_err(|why| refused(format!("{what}: {why}")))
}

fn refused(why: impl std::fmt::Display) -> OpsError {
    OpsError::Refused(why.to_string())
}

impl Models {
    /// Of this journal.
    pub(crate) fn new(journal: &Arc<dyn Journal>, codec: &Codec, scoring: ScoringConfig) -> Self {
        Self {
            rollouts: Rollouts::new(Arc::clone(journal), codec.clone()),
            components: Arc::new(Components::new(Arc::clone(journal), codec.clone())),
            loader: OnceLock::new(),
            scoring,
        }
    }

    /// Decisions.
    pub(crate) const fn rollouts(&self) -> &Rollouts {
        &self.rollouts
    }

    /// Tries a version and puts it on trial.
    ///
    /// # Errors
    /// [`OpsError::Refused`] with what is wrong with it; else as [`Rollouts::push`].
    pub(crate) fn push(&self, push: &Push) -> Result<Value, OpsError> {
        let gates = push.gates.resolve().map_err(|problems| refused(problems.join("; ")))?;
        let mut candidate = self.rollouts.model(&push.name)?;
        let (mut version, bytes) = self.version(candidate.version(), push)?;
        let weights = self.weights(&mut version, push)?;
        self.check(&push.name, &version, &bytes, weights.as_deref())?;
        if push.bytes.is_some() {
            self.components.put(&bytes, push.signature.as_deref())?;
        }
        if let (Some(_), Some(weights)) = (&push.weights, &weights) {
            self.components.put_weights(weights)?;
        }
        candidate.set_version(version.clone());
        let loaded = self.loader()?.load(std::slice::from_ref(&candidate)).map_err(refused)?;
        let digest = loaded.models().next().map(|model| model.version.clone());
        let generation = self.rollouts.push(&push.name, &version, &gates)?;
        tracing::info!(model = push.name, version = digest, generation, "a version was put on trial");
        Ok(json!({ "name": push.name, "version": digest, "component": version.component,
                    "artifact": version.artifact, "generation": generation }))
    }

    /// What is pushed, and its bytes; the rest is as in the version in force.
    fn version(&self, mut version: Version, push: &Push) -> Result<(Version, Cow<'static, [u8]>), OpsError> {
        let sent = push.bytes.as_ref().map(|text| decoded("bytes", text));
        let bytes = match (sent.transpose()?, &push.component) {
            (Some(_), Some(_)) => return Err(refused("either `bytes` or `component`, not both")),
            (Some(bytes), None) => {
                version.component = shipped::digest_of(&bytes);
                Cow::Owned(bytes)
            }
            (None, named) => {
                if let Some(name) = named {
                    version.component =
                        shipped::find(name).map_or_else(|| name.clone(), |found| found.digest.clone());
                }
                self.known(&version.component)?.ok_or_else(|| {
                    refused(format!(
                        "`{}` is neither a shipped model nor the SHA-256 of a component that is known here",
                        version.component
                    ))
                })?
            }
        };
        if let Some(settings) = &push.settings {
            version.settings = settings.to_string();
        }
        version.seed = push.seed.unwrap_or(version.seed);
        version.fuel_per_row = push.fuel_per_row.unwrap_or(version.fuel_per_row);
        version.threshold = push.threshold.unwrap_or(version.threshold);
        if !version.threshold.is_finite() || version.fuel_per_row == 0 {
            return Err(refused("a threshold is a number, and a row needs fuel"));
        }
        Ok((version, bytes))
    }

    /// The weights of what is pushed: those that are sent or named, else those of the version in force.
    fn weights(&self, version: &mut Version, push: &Push) -> Result<Option<Cow<'static, [u8]>>, OpsError> {
        match (&push.weights, &push.artifact) {
            (Some(_), Some(_)) => return Err(refused("either `weights` or `artifact`, not both")),
            (Some(text), None) => {
                let bytes = decoded("weights", text)?;
                version.artifact = Some(shipped::digest_of(&bytes));
                return Ok(Some(Cow::Owned(bytes)));
            }
            (None, Some(none)) if none == NO_WEIGHTS => version.artifact = None,
            (None, Some(digest)) => version.artifact = Some(digest.to_ascii_lowercase()),
            (None, None) => {}
        }
        let Some(digest) = &version.artifact else { return Ok(None) };
        let known = self.known(digest)?;
        let unknown = || refused(format!("`{digest}` is not the SHA-256 of weights that are known here"));
        known.ok_or_else(unknown).map(Some)
    }

    /// Puts weights on the journal before something is decided that names them.
    ///
    /// # Errors
    /// [`OpsError::Refused`] when they are not base64, or too many.
    pub(crate) fn keep_weights(&self, weights: &[String]) -> Result<(), OpsError> {
        for text in weights {
            self.components.put_weights(&decoded("weights", text)?)?;
        }
        Ok(())
    }

    /// The component or the weights with this digest.
    fn known(&self, digest: &str) -> Result<Option<Cow<'static, [u8]>>, OpsError> {
        self.components.fetch(digest).map_err(|why| OpsError::Unavailable(why.to_string()))
    }

    /// The trials of the contract.
    fn check(
        &self,
        name: &str,
        version: &Version,
        bytes: &[u8],
        artifact: Option<&[u8]>,
    ) -> Result<(), OpsError> {
        let candidate = Candidate {
            bytes,
            settings: &version.settings,
            artifact,
            seed: version.seed,
            fuel_per_row: version.fuel_per_row,
        };
        let cache = self.scoring.cache_dir.as_deref();
        let report = conform_compiled(&candidate, HostLimits::default(), self.compiling()?, cache);
        let report = report.map_err(|why| refused(format!("`{name}`: {why}")))?;
        let failed: Vec<String> = report
            .verdicts
            .iter()
            .filter_map(|verdict| Some(format!("{}: {}", verdict.trial, verdict.outcome.as_ref().err()?)))
            .collect();
        if failed.is_empty() {
            return Ok(());
        }
        Err(refused(format!("it does not keep what the contract asks: {}", failed.join("; "))))
    }

    fn compiling(&self) -> Result<Compiling, OpsError> {
        self.scoring.compiling().map_err(|why| OpsError::Unavailable(format!("{why:#}")))
    }

    fn loader(&self) -> Result<&Loader, OpsError> {
        if let Some(loader) = self.loader.get() {
            return Ok(loader);
        }
        let source = Arc::clone(&self.components) as Arc<dyn ComponentSource>;
        let made = self.scoring.loader(vec![source]);
        let made = made.map_err(|why| OpsError::Unavailable(format!("the model host: {why:#}")))?;
        Ok(self.loader.get_or_init(|| made))
    }
}

impl RawGates {
    /// Fills defaults; all mistakes together.
    fn resolve(&self) -> Result<Gates, Vec<String>> {
        let mut problems = Vec::new();
        let usual = Gates::default();
        let mut span =
            |name: &str, text: &Option<String>, or: Micros| match text.as_deref().map(parse_duration) {
                None => or,
                Some(Ok(span)) => Micros::try_from(span.as_micros()).unwrap_or(Micros::MAX),
                Some(Err(why)) => {
                    problems.push(format!("{name}: {why}"));
                    or
                }
            };
        let (shadow, canary_each, bake) = (
            span("shadow", &self.shadow, usual.shadow),
            span("canary_each", &self.canary_each, usual.canary_each),
            span("bake", &self.bake, usual.bake),
        );
        let canary = self.canary.clone().unwrap_or(usual.canary);
        if canary.len() > SHARES_MAX
            || canary.iter().any(|share| !(1..100).contains(share))
            || !canary.is_sorted_by(|one, other| one < other)
        {
            problems.push(format!(
                "canary: {canary:?} is not up to {SHARES_MAX} rising shares of 1 to 99 percent"
            ));
        }
        let ratios = [("alert_ratio_max", self.alert_ratio_max), ("fuel_ratio_max", self.fuel_ratio_max)];
        for (name, ratio) in ratios {
            if ratio.is_some_and(|ratio| !ratio.is_finite() || ratio < 0.0) {
                problems.push(format!("{name}: is a number from 0 on"));
            }
        }
        if self.rank_correlation_min.is_some_and(|least| !(-1.0..=1.0).contains(&least)) {
            problems.push("rank_correlation_min: is a number from -1 to 1".to_owned());
        }
        let gates = Gates {
            canary,
            rows: self.rows.unwrap_or(usual.rows),
            shadow,
            canary_each,
            bake,
            failed_max: self.failed_max.unwrap_or(usual.failed_max),
            alert_ratio_max: self.alert_ratio_max.unwrap_or(usual.alert_ratio_max),
            alerts_free: self.alerts_free.unwrap_or(usual.alerts_free),
            fuel_ratio_max: self.fuel_ratio_max.unwrap_or(usual.fuel_ratio_max),
            rank_correlation_min: self.rank_correlation_min,
        };
        if problems.is_empty() { Ok(gates) } else { Err(problems) }
    }
}

/// What is known of trials, by the model's name: for rows that say the rest.
pub(crate) fn trials(statuses: &[ModelStatus], name: &str) -> (Value, Value) {
    let of = statuses.iter().find(|status| status.name == name);
    let value = |found: Option<Value>| found.unwrap_or(Value::Null);
    (
        value(of.and_then(|status| serde_json::to_value(status.trial.as_ref()?).ok())),
        value(of.and_then(|status| serde_json::to_value(status.ended.as_ref()?).ok())),
    )
}

/// What a version has done in the partitions of this process since it was put in force there.
pub(crate) fn done_here(partitions: &[PartitionView], model: &Model) -> Value {
    let Some(version) = scoring::version_of(model) else { return Value::Null };
    let is_it = |counters: &&Counters| counters.model == model.name && counters.version == version;
    let mut all = partitions.iter().flat_map(|seen| &seen.models).filter(is_it).peekable();
    if all.peek().is_none() {
        return Value::Null;
    }
    let (mut rows, mut scored, mut alerts, mut failed) = (0, 0, 0, 0);
    for counters in all {
        rows += counters.rows;
        scored += counters.scored;
        alerts += counters.over_threshold;
        failed += counters.failed.iter().sum::<u64>() + counters.left_out;
    }
    json!({ "rows": rows, "scored": scored, "alerts": alerts, "failed": failed })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_mistakes_in_gates_are_told_together() {
        let raw = RawGates {
            canary: Some(vec![10, 5]),
            shadow: Some("soon".to_owned()),
            alert_ratio_max: Some(-1.0),
            rank_correlation_min: Some(2.0),
            ..RawGates::default()
        };
        let problems = raw.resolve().expect_err("four");
        assert_eq!(problems.len(), 4, "{problems:?}");
        assert_eq!(RawGates::default().resolve(), Ok(Gates::default()));
        let said =
            RawGates { shadow: Some("2m".to_owned()), canary: Some(Vec::new()), ..RawGates::default() };
        let gates = said.resolve().expect("right");
        assert_eq!((gates.shadow, gates.canary.len()), (120_000_000, 0));
    }
}

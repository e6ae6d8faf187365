//! The configuration in force, compiled for a partition: measurement names are numbers, every time rule is resolved.

use super::models::Numbers;
use super::names::Names;
use super::plan::Plans;
use schemas::pipeline::{Filter, Metrics, Pipeline, Window, WindowKind};
use std::sync::Arc;
use windowing::api::{Assigner, Metric, Settings, WindowRule};

/// The configuration in force; without a pipeline nothing can be computed.
#[derive(Debug)]
pub(crate) struct Rules {
    /// Offset of the decision in `iot.control`; -1 before the first.
    pub(crate) generation: i64,
    pub(crate) pipeline: Option<Arc<Pipeline>>,
    pub(crate) checks: Vec<Check>,
    /// By metric: what is wanted of it beyond "every number".
    wanted: Vec<u8>,
    /// Every number is aggregated, of at most so many names a device.
    pub(crate) per_device_max: Option<usize>,
    pub(super) plans: Plans,
}

/// Aggregated by name: booleans count as 0 and 1.
const NAMED: u8 = 1;
/// Needed by a filter or a model.
const WATCHED: u8 = 2;

/// A compiled filter.
#[derive(Debug)]
pub(crate) enum Check {
    Range { metric: Metric, above: f64, at_least: f64, below: f64, at_most: f64, pass_missing: bool },
    Tag { tag: String, any_of: Vec<String>, not: bool, pass_missing: bool },
}

/// The partition has no number left for a name of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the partition has as many measurement names as it can have, {}", super::names::NAMES_MAX)]
pub struct TooManyNames;

impl Rules {
    /// Before the first configuration.
    pub(crate) fn none() -> Self {
        Self {
            generation: -1,
            pipeline: None,
            checks: Vec::new(),
            wanted: Vec::new(),
            per_device_max: None,
            plans: Plans::default(),
        }
    }

    pub(crate) fn compile(
        generation: i64,
        pipeline: Arc<Pipeline>,
        names: &mut Names,
    ) -> Result<Self, TooManyNames> {
        let mut rules = Self::none();
        rules.generation = generation;
        match &pipeline.metrics {
            Metrics::All { per_device_max } => rules.per_device_max = usize::try_from(*per_device_max).ok(),
            Metrics::Named(list) => rules.want(list, NAMED, names)?,
        }
        for window in &pipeline.windows {
            rules.want(window.metrics.as_deref().unwrap_or_default(), NAMED, names)?;
        }
        for model in pipeline.models.iter().filter(|model| !model.inputs.is_of_windows()) {
            rules.want(model.inputs.names(), WATCHED, names)?;
        }
        for filter in &pipeline.filters {
            let check = rules.check(filter, names)?;
            rules.checks.push(check);
        }
        rules.pipeline = Some(pipeline);
        Ok(rules)
    }

    fn want(&mut self, list: &[String], how: u8, names: &mut Names) -> Result<(), TooManyNames> {
        for name in list {
            let metric = names.intern(name).ok_or(TooManyNames)?;
            self.mark(metric, how);
        }
        Ok(())
    }

    fn mark(&mut self, metric: Metric, how: u8) {
        let place = usize::from(metric.0);
        if place >= self.wanted.len() {
            self.wanted.resize(place + 1, 0);
        }
        self.wanted[place] |= how;
    }

    fn check(&mut self, filter: &Filter, names: &mut Names) -> Result<Check, TooManyNames> {
        Ok(match filter {
            Filter::Range { metric, above, at_least, below, at_most, pass_missing } => {
                let metric = names.intern(metric).ok_or(TooManyNames)?;
                self.mark(metric, WATCHED);
                Check::Range {
                    metric,
                    above: above.unwrap_or(f64::NEG_INFINITY),
                    at_least: at_least.unwrap_or(f64::NEG_INFINITY),
                    below: below.unwrap_or(f64::INFINITY),
                    at_most: at_most.unwrap_or(f64::INFINITY),
                    pass_missing: *pass_missing,
                }
            }
            Filter::Tag { tag, any_of, not, pass_missing } => Check::Tag {
                tag: tag.clone(),
                any_of: any_of.clone(),
                not: *not,
                pass_missing: *pass_missing,
            },
        })
    }

    /// Whether a window or the configuration names it.
    #[inline]
    pub(crate) fn is_named(&self, metric: Metric) -> bool {
        self.wanted.get(usize::from(metric.0)).is_some_and(|how| how & NAMED != 0)
    }

    /// Whether a filter or a model needs it.
    #[inline]
    pub(crate) fn is_watched(&self, metric: Metric) -> bool {
        self.wanted.get(usize::from(metric.0)).is_some_and(|how| how & WATCHED != 0)
    }

    /// Public name of a window definition.
    pub(crate) fn window_name(&self, index: u16) -> &str {
        let window = self.pipeline.as_ref().and_then(|pipeline| pipeline.windows.get(usize::from(index)));
        window.map_or("", |window| &window.name)
    }
}

impl Check {
    /// The verdict on a value; none: missing or null.
    pub(crate) fn passes(&self, value: Option<f64>) -> bool {
        match (self, value) {
            (Self::Range { above, at_least, below, at_most, .. }, Some(value)) => {
                // Infinity is "no bound", and no value is greater than it.
                (value > *above || *above == f64::NEG_INFINITY)
                    && value >= *at_least
                    && (value < *below || *below == f64::INFINITY)
                    && value <= *at_most
            }
            (Self::Range { pass_missing, .. } | Self::Tag { pass_missing, .. }, _) => *pass_missing,
        }
    }
}

/// The windows of a pipeline, every rule resolved; the names in it are known to `names` already.
pub(crate) fn settings(pipeline: &Pipeline, names: &mut Names, models: &Numbers) -> Settings {
    let shared = match &pipeline.metrics {
        Metrics::All { .. } => None,
        Metrics::Named(list) => Some(list),
    };
    let mut rule = |window: &Window| {
        let time = &pipeline.time;
        let disorder = window.disorder.unwrap_or(time.disorder);
        let metrics = window.metrics.as_ref().or(shared);
        WindowRule {
            name: window.name.clone(),
            assigner: match window.kind {
                WindowKind::Tumbling { size, offset } => Assigner::Tumbling { size, offset },
                WindowKind::Hopping { size, advance } => Assigner::Hopping { size, advance },
                WindowKind::Session { gap } => Assigner::Session { gap },
            },
            early_every: window.early_every,
            early_count: window.early_count,
            metrics: metrics.map(|list| list.iter().filter_map(|name| names.intern(name)).collect()),
            disorder,
            quiet_after: window.quiet_after.or(time.quiet_after).unwrap_or(disorder),
            lateness: window.lateness.unwrap_or(time.lateness),
            settle: window.settle.or(time.settle).unwrap_or(disorder),
        }
    };
    Settings {
        windows: pipeline.windows.iter().map(&mut rule).collect(),
        idle_retention: pipeline.time.idle_retention,
        device_retention: pipeline.time.device_retention,
        devices_max: pipeline.limits.devices_max,
        panes_max: pipeline.limits.panes_max,
        backfill_panes_max: pipeline.limits.backfill_panes_max,
        models: u16::try_from(models.width()).unwrap_or(u16::MAX),
    }
}

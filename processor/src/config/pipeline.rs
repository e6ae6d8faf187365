//! The pipeline as written in the file, and its checks. The resolved form is `schemas::pipeline::Pipeline`, whose
//! canonical JSON travels in control records.

use super::model::RawModel;
use super::window::RawWindow;
use super::{micros, optional_micros};
use chassis::config::Problems;
use schemas::pipeline::{ClockAhead, Filter, Limits, Metrics, Model, Pipeline, TimeRules, Window};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// What changes results, as written: the sections `[[window]]`, `[[filter]]`, `[[model]]`, `[time]`, `[metrics]`,
/// `[limits]` and `[input]`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct RawPipelineConfig {
    /// Window definitions; none: one tumbling window of a minute named `1m`.
    pub window: Option<Vec<RawWindow>>,
    /// Filters.
    pub filter: Vec<RawFilter>,
    /// Models.
    pub model: Vec<RawModel>,
    /// Clock and lateness rules.
    pub time: RawTime,
    /// Which measurements are aggregated.
    pub metrics: RawMetrics,
    /// Bounds of a partition's state.
    pub limits: RawLimits,
    /// How readings are taken.
    pub input: RawInput,
}

/// `[time]`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct RawTime {
    /// How far out of order a device's readings may come; `10s`.
    pub disorder: Option<String>,
    /// Silence after which a device's clock closes windows; as `disorder`.
    pub quiet_after: Option<String>,
    /// How long an emitted window still takes readings; `5m`.
    pub lateness: Option<String>,
    /// Pause before a late revision is emitted; as `disorder`.
    pub settle: Option<String>,
    /// Greatest lead of a device's clock; `5m`.
    pub max_ahead: Option<String>,
    /// `reject` or `restamp`.
    pub clock_ahead: Option<ClockAhead>,
    /// How long the windows of a silent device stay open to revision; `24h`.
    pub idle_retention: Option<String>,
    /// When a device that sends nothing is forgotten; `30d`.
    pub device_retention: Option<String>,
    /// Alert when a device has been quiet this long; never when absent.
    pub stalled_after: Option<String>,
}

/// `[metrics]`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct RawMetrics {
    /// Aggregate these only; booleans count as 0 and 1.
    pub only: Option<Vec<String>>,
    /// Without `only`: every numeric one, at most so many names a device; 64.
    pub per_device_max: Option<u32>,
}

/// `[limits]`, each per partition.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct RawLimits {
    /// Devices; 200000.
    pub devices_max: Option<u32>,
    /// Panes; 4000000.
    pub panes_max: Option<u32>,
    /// Back-fill panes of one device; 1000.
    pub backfill_panes_max: Option<u32>,
}

/// `[input]`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct RawInput {
    /// Whether bare JSON on `iot.raw` is accepted; true.
    pub bare_json: Option<bool>,
    /// Whether a reading without `seq` that repeats the one before it is dropped; false.
    pub drop_repeats: Option<bool>,
}

/// `[[filter]]`: names a metric or a tag.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct RawFilter {
    /// Metric whose calibrated value decides.
    pub metric: Option<String>,
    /// Passes when greater.
    pub above: Option<f64>,
    /// Passes when greater or equal.
    pub at_least: Option<f64>,
    /// Passes when less.
    pub below: Option<f64>,
    /// Passes when less or equal.
    pub at_most: Option<f64>,
    /// Tag that decides, of the reading or else of the device.
    pub tag: Option<String>,
    /// Passes when the tag is one of these.
    pub any_of: Option<Vec<String>>,
    /// Passes when the tag is none of these.
    pub none_of: Option<Vec<String>>,
    /// Whether a reading without the metric or tag passes; true.
    pub pass_missing: Option<bool>,
}

impl RawPipelineConfig {
    /// Fills defaults and checks names, signs and relations. `component` finds a component's digest by its name.
    #[must_use]
    pub fn resolve(self, component: &dyn Fn(&str) -> Option<String>, problems: &mut Problems) -> Pipeline {
        let time = self.time.resolve(problems);
        let windows: Vec<Window> = match self.window {
            None => vec![RawWindow::minute().resolve("window[0]", problems)],
            Some(list) => list
                .into_iter()
                .enumerate()
                .map(|(index, raw)| raw.resolve(&format!("window[{index}]"), problems))
                .collect(),
        };
        let models: Vec<Model> = self
            .model
            .into_iter()
            .enumerate()
            .map(|(index, raw)| raw.resolve(&format!("model[{index}]"), component, problems))
            .collect();
        unique("window", windows.iter().map(|window| window.name.as_str()), problems);
        unique("model", models.iter().map(|model| model.name.as_str()), problems);
        let metrics = self.metrics.resolve(problems);
        super::model::check_windows(&models, &windows, &metrics, problems);
        let filters = self
            .filter
            .into_iter()
            .enumerate()
            .filter_map(|(index, raw)| raw.resolve(&format!("filter[{index}]"), problems))
            .collect();
        for (index, window) in windows.iter().enumerate() {
            let lateness = window.lateness.unwrap_or(time.lateness);
            if lateness >= time.idle_retention {
                problems.add(
                    format!("window[{index}].lateness"),
                    format!(
                        "{} s is not less than time.idle-retention, {} s: a window would be forgotten before it is complete",
                        lateness / 1_000_000,
                        time.idle_retention / 1_000_000
                    ),
                );
            }
        }
        Pipeline {
            windows,
            metrics,
            stalled_after: time.stalled_after,
            time: time.rules(),
            filters,
            models,
            limits: self.limits.resolve(problems),
            bare_json: self.input.bare_json.unwrap_or(true),
            drop_repeats: self.input.drop_repeats.unwrap_or(false),
        }
    }
}

pub(super) fn unique<'a>(section: &str, names: impl Iterator<Item = &'a str>, problems: &mut Problems) {
    let mut seen = BTreeSet::new();
    for (index, name) in names.enumerate() {
        if !seen.insert(name) {
            problems.add(
                format!("{section}[{index}].name"),
                format!("`{name}` is the name of another {section}"),
            );
        }
    }
}

struct Times {
    disorder: i64,
    quiet_after: Option<i64>,
    lateness: i64,
    settle: Option<i64>,
    max_ahead: i64,
    clock_ahead: ClockAhead,
    idle_retention: i64,
    device_retention: i64,
    stalled_after: Option<i64>,
}

impl Times {
    fn rules(&self) -> TimeRules {
        TimeRules {
            disorder: self.disorder,
            quiet_after: self.quiet_after,
            lateness: self.lateness,
            settle: self.settle,
            max_ahead: self.max_ahead,
            clock_ahead: self.clock_ahead,
            idle_retention: self.idle_retention,
            device_retention: self.device_retention,
        }
    }
}

impl RawTime {
    fn resolve(self, problems: &mut Problems) -> Times {
        const SECOND: i64 = 1_000_000;
        let times = Times {
            disorder: micros(problems, "time.disorder", self.disorder.as_deref(), 10 * SECOND),
            quiet_after: optional_micros(problems, "time.quiet-after", self.quiet_after.as_deref()),
            lateness: micros(problems, "time.lateness", self.lateness.as_deref(), 300 * SECOND),
            settle: optional_micros(problems, "time.settle", self.settle.as_deref()),
            max_ahead: micros(problems, "time.max-ahead", self.max_ahead.as_deref(), 300 * SECOND),
            clock_ahead: self.clock_ahead.unwrap_or(ClockAhead::Reject),
            idle_retention: micros(
                problems,
                "time.idle-retention",
                self.idle_retention.as_deref(),
                86_400 * SECOND,
            ),
            device_retention: micros(
                problems,
                "time.device-retention",
                self.device_retention.as_deref(),
                30 * 86_400 * SECOND,
            ),
            stalled_after: optional_micros(problems, "time.stalled-after", self.stalled_after.as_deref()),
        };
        if times.device_retention < times.idle_retention {
            problems.add(
                "time.device-retention",
                "is less than time.idle-retention: a device would be forgotten with windows still open",
            );
        }
        if times.stalled_after == Some(0) {
            problems.add("time.stalled-after", "is 0: every device would always be stalled; leave it out");
        }
        times
    }
}

impl RawMetrics {
    fn resolve(self, problems: &mut Problems) -> Metrics {
        match (self.only, self.per_device_max) {
            (Some(_), Some(_)) => {
                problems.add("metrics", "`only` and `per-device-max` exclude each other");
                Metrics::Named(Vec::new())
            }
            (Some(names), None) => {
                unique("metrics.only", names.iter().map(String::as_str), problems);
                Metrics::Named(names)
            }
            (None, most) => {
                let per_device_max = most.unwrap_or(64);
                if !(1..=1_024).contains(&per_device_max) {
                    problems.add("metrics.per-device-max", format!("{per_device_max} is not 1 to 1024"));
                }
                Metrics::All { per_device_max }
            }
        }
    }
}

impl RawLimits {
    fn resolve(self, problems: &mut Problems) -> Limits {
        let mut positive = |name: &str, value: Option<u32>, default: u32| {
            let value = value.unwrap_or(default);
            if value == 0 {
                problems.add(format!("limits.{name}"), "0 would refuse every reading");
            }
            value
        };
        Limits {
            devices_max: positive("devices-max", self.devices_max, 200_000),
            panes_max: positive("panes-max", self.panes_max, 4_000_000),
            backfill_panes_max: positive("backfill-panes-max", self.backfill_panes_max, 1_000),
        }
    }
}

impl RawFilter {
    fn resolve(self, at: &str, problems: &mut Problems) -> Option<Filter> {
        let bounds = [self.above, self.at_least, self.below, self.at_most];
        let bounded = bounds.iter().any(Option::is_some);
        let listed = self.any_of.is_some() || self.none_of.is_some();
        let pass_missing = self.pass_missing.unwrap_or(true);
        match (self.metric, self.tag) {
            (Some(metric), None) if bounded && !listed => {
                if bounds.iter().flatten().any(|bound| !bound.is_finite()) {
                    problems.add(at, "a bound is not a finite number");
                }
                let low = self.above.into_iter().chain(self.at_least).fold(f64::NEG_INFINITY, f64::max);
                let high = self.below.into_iter().chain(self.at_most).fold(f64::INFINITY, f64::min);
                if low > high {
                    problems.add(at, format!("no value lies above {low} and below {high}"));
                }
                let Self { above, at_least, below, at_most, .. } = self;
                Some(Filter::Range { metric, above, at_least, below, at_most, pass_missing })
            }
            (None, Some(tag)) if !bounded => match (self.any_of, self.none_of) {
                (Some(any_of), None) => Some(Filter::Tag { tag, any_of, not: false, pass_missing }),
                (None, Some(any_of)) => Some(Filter::Tag { tag, any_of, not: true, pass_missing }),
                _ => {
                    problems.add(at, "a tag filter needs either `any-of` or `none-of`");
                    None
                }
            },
            _ => {
                problems.add(
                    at,
                    "needs either `metric` with `above`, `at-least`, `below` or `at-most`, or `tag` with `any-of` or `none-of`",
                );
                None
            }
        }
    }
}

//! The configuration that changes results: windows, filters, time rules, models, limits. It is an input like any
//! other: it enters through the log as `control` records whose body is the canonical JSON of [`Pipeline`], so that
//! a re-fold under an edited file gives the same bytes.
//!
//! Does not live here: reading it from a file (`processor::config`), or acting on it.

use crate::Micros;
use serde::{Deserialize, Serialize};

/// Everything that changes what is computed from the same readings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pipeline {
    /// Window definitions; names are unique.
    pub windows: Vec<Window>,
    /// Which measurements are aggregated.
    pub metrics: Metrics,
    /// Clock and lateness rules.
    pub time: TimeRules,
    /// A reading passes when every filter lets it pass.
    pub filters: Vec<Filter>,
    /// Models that score readings or closed windows; names are unique. All whose route takes a reading score it.
    pub models: Vec<Model>,
    /// Bounds of a partition's state.
    pub limits: Limits,
    /// Whether bare JSON on `iot.raw` is accepted.
    pub bare_json: bool,
    /// Drop a reading without `seq` that repeats the event time and values of one within the last second.
    pub drop_repeats: bool,
    /// Alert when a device has been quiet this long.
    pub stalled_after: Option<Micros>,
}

/// A window definition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// Public name, part of every key in the store: 1 to 32 letters, digits, `-`, `_`.
    pub name: String,
    /// Assigner.
    pub kind: WindowKind,
    /// Early emission every so much device-clock time.
    pub early_every: Option<Micros>,
    /// Early emission every so many readings of a pane.
    pub early_count: Option<u64>,
    /// Overrides [`Pipeline::metrics`].
    pub metrics: Option<Vec<String>>,
    /// Overrides [`TimeRules::disorder`].
    pub disorder: Option<Micros>,
    /// Overrides [`TimeRules::quiet_after`].
    pub quiet_after: Option<Micros>,
    /// Overrides [`TimeRules::lateness`].
    pub lateness: Option<Micros>,
    /// Overrides [`TimeRules::settle`].
    pub settle: Option<Micros>,
}

/// How event times map to windows; all aligned to the epoch, all `[start, end)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum WindowKind {
    /// Back to back.
    Tumbling {
        /// Length.
        size: Micros,
        /// Shift of the alignment.
        offset: Micros,
    },
    /// Overlapping; slices of width gcd(size, advance) are shared.
    Hopping {
        /// Length.
        size: Micros,
        /// Distance between starts, at most `size`.
        advance: Micros,
    },
    /// From the first reading to `gap` after the last.
    Session {
        /// Silence that ends it.
        gap: Micros,
    },
}

/// Which measurements are aggregated. Numbers always can be; booleans count as 0 and 1 when named.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Metrics {
    /// Every numeric one, at most so many names a device (further ones are counted, not aggregated).
    All {
        /// Names per device.
        per_device_max: u32,
    },
    /// These.
    Named(Vec<String>),
}

/// What to do with a reading whose event time is too far ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClockAhead {
    /// Dead letter.
    Reject,
    /// Take the receipt time as event time, marked by an alert of kind `clock`.
    Restamp,
}

/// Clock and lateness rules; `design: windowing`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimeRules {
    /// How far out of order a device's readings may come.
    pub disorder: Micros,
    /// Silence after which a device's clock runs on by receipt time; absent: `disorder`.
    pub quiet_after: Option<Micros>,
    /// How long an emitted pane still takes readings.
    pub lateness: Micros,
    /// Receipt time without contribution before a late pane is emitted; absent: `disorder`.
    pub settle: Option<Micros>,
    /// Greatest lead of event time over receipt time.
    pub max_ahead: Micros,
    /// What happens beyond it.
    pub clock_ahead: ClockAhead,
    /// Panes of a silent device are dropped so long after their end.
    pub idle_retention: Micros,
    /// Devices without readings are forgotten after so much receipt time.
    pub device_retention: Micros,
}

/// A rule that lets a reading pass or not. Values are compared after calibration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "on", rename_all = "lowercase", deny_unknown_fields)]
pub enum Filter {
    /// The metric lies within the bounds given.
    Range {
        /// Measurement name.
        metric: String,
        /// Passes when greater.
        above: Option<f64>,
        /// Passes when greater or equal.
        at_least: Option<f64>,
        /// Passes when less.
        below: Option<f64>,
        /// Passes when less or equal.
        at_most: Option<f64>,
        /// Whether a reading without this metric, or with null in it, passes.
        pass_missing: bool,
    },
    /// The tag (of the reading, else of the device) is one of the values, or, with `not`, is none of them.
    Tag {
        /// Tag name.
        tag: String,
        /// Values.
        any_of: Vec<String>,
        /// Turns the condition round.
        not: bool,
        /// Whether a reading without the tag passes.
        pass_missing: bool,
    },
}

/// What a model's rows are made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Inputs {
    /// One row for each of these metrics in a reading, with its own state; for models of one feature.
    Each(Vec<String>),
    /// One row a reading; the columns in the model's feature order.
    Columns(Vec<String>),
    /// One row for each closed window of a definition and each of these metrics in it, with its own state.
    Windows {
        /// Window definition's name.
        window: String,
        /// Metrics.
        each: Vec<String>,
        /// What is taken of a window's row, in the model's feature order.
        features: Vec<WindowFeature>,
    },
}

impl Inputs {
    /// The metrics named.
    #[must_use]
    pub fn names(&self) -> &[String] {
        match self {
            Self::Each(names) | Self::Columns(names) | Self::Windows { each: names, .. } => names,
        }
    }

    /// Whether closed windows are scored, and not readings.
    #[must_use]
    pub const fn is_of_windows(&self) -> bool {
        matches!(self, Self::Windows { .. })
    }
}

/// A number of a window's row that a model can be given; of a window without a value all but the counts are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WindowFeature {
    /// Values.
    Count,
    /// Nulls.
    Nulls,
    /// Sum of the values.
    Sum,
    /// Least.
    Min,
    /// Greatest.
    Max,
    /// By event time.
    First,
    /// By event time.
    Last,
    /// Arithmetic mean.
    Mean,
    /// Standard deviation of all values: the root of their mean squared distance from the mean.
    Stddev,
}

impl WindowFeature {
    /// Every one.
    pub const ALL: [Self; 9] = [
        Self::Count,
        Self::Nulls,
        Self::Sum,
        Self::Min,
        Self::Max,
        Self::First,
        Self::Last,
        Self::Mean,
        Self::Stddev,
    ];

    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::Nulls => "nulls",
            Self::Sum => "sum",
            Self::Min => "min",
            Self::Max => "max",
            Self::First => "first",
            Self::Last => "last",
            Self::Mean => "mean",
            Self::Stddev => "stddev",
        }
    }
}

/// Which devices and readings a model is for, besides its metrics. Every condition must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// Ids of devices, or with `*` at the end what ids begin with; one must fit. None: every device.
    pub devices: Vec<String>,
    /// Conditions on tags.
    pub tags: Vec<TagRule>,
}

/// A condition on a tag of the reading, or else of the device's metadata in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TagRule {
    /// Tag name.
    pub tag: String,
    /// Values.
    pub any_of: Vec<String>,
    /// Turns the condition round: none of them.
    pub not: bool,
    /// Whether it holds when there is no such tag.
    pub pass_missing: bool,
}

impl Route {
    /// Whether it is for everything.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.devices.is_empty() && self.tags.is_empty()
    }

    /// Whether it is for a device.
    #[must_use]
    pub fn takes_device(&self, device_id: &str) -> bool {
        let fits = |pattern: &String| match pattern.strip_suffix('*') {
            Some(prefix) => device_id.starts_with(prefix),
            None => device_id == pattern,
        };
        self.devices.is_empty() || self.devices.iter().any(fits)
    }

    /// Whether every condition on tags holds.
    #[must_use]
    pub fn takes_tags<'t>(&self, value_of: impl Fn(&str) -> Option<&'t str>) -> bool {
        self.tags.iter().all(|rule| match value_of(&rule.tag) {
            None => rule.pass_missing,
            Some(value) => rule.any_of.iter().any(|other| other == value) != rule.not,
        })
    }
}

/// A model in force.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// Public name.
    pub name: String,
    /// SHA-256 of the component, hexadecimal; the bytes are found by it.
    pub component: String,
    /// SHA-256 of trained weights, hexadecimal; the bytes are found by it and handed to the guest's `configure`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact: Option<String>,
    /// Handed to the guest's `configure`, as JSON text.
    pub settings: String,
    /// Handed to the guest's `configure`.
    pub seed: u64,
    /// What is scored.
    pub inputs: Inputs,
    /// For which devices and readings.
    #[serde(default, skip_serializing_if = "Route::is_open")]
    pub route: Route,
    /// Scores at or above it are alerts.
    pub threshold: f64,
    /// One score in so many goes to `iot.scores`, besides those over the threshold; 1: all, 0: none but those.
    pub sample_every: u32,
    /// Fuel a row may use; it alone decides a failure.
    pub fuel_per_row: u64,
    /// Another version that scores the same rows beside it; decided as a role ([`crate::roles`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trial: Option<Trial>,
}

/// What one version of a model is, whatever it is used for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Version {
    /// See [`Model::component`].
    pub component: String,
    /// See [`Model::artifact`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact: Option<String>,
    /// See [`Model::settings`].
    pub settings: String,
    /// See [`Model::seed`].
    pub seed: u64,
    /// See [`Model::threshold`].
    pub threshold: f64,
    /// See [`Model::fuel_per_row`].
    pub fuel_per_row: u64,
}

/// A second version of a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trial {
    /// Which.
    pub version: Version,
    /// What it is used for.
    pub stage: Stage,
}

/// What a second version is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// It looks on: its scores go to `iot.shadow` only.
    Shadow,
    /// It serves so many percent of the devices, and looks on for the others.
    Canary(u8),
    /// It is the version before, which looks on, ready to come back.
    Bake,
}

impl std::fmt::Display for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Shadow => f.write_str("shadow"),
            Self::Canary(percent) => write!(f, "canary {percent} %"),
            Self::Bake => f.write_str("bake"),
        }
    }
}

impl Model {
    /// The version in force.
    #[must_use]
    pub fn version(&self) -> Version {
        Version {
            component: self.component.clone(),
            artifact: self.artifact.clone(),
            settings: self.settings.clone(),
            seed: self.seed,
            threshold: self.threshold,
            fuel_per_row: self.fuel_per_row,
        }
    }

    /// Puts another version in force.
    pub fn set_version(&mut self, version: Version) {
        let Version { component, artifact, settings, seed, threshold, fuel_per_row } = version;
        (self.component, self.artifact, self.settings) = (component, artifact, settings);
        (self.seed, self.threshold, self.fuel_per_row) = (seed, threshold, fuel_per_row);
    }
}

/// Bounds of a partition's state; beyond them readings are refused with a reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Devices of a partition.
    pub devices_max: u32,
    /// Panes of a partition.
    pub panes_max: u32,
    /// Back-fill panes of a device.
    pub backfill_panes_max: u32,
}

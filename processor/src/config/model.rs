//! `[[model]]`: one model as written, and its checks.

use super::pipeline::unique;
use super::window::is_name;
use chassis::config::Problems;
use schemas::grammar::is_device_id;
use schemas::pipeline::{Inputs, Metrics, Model, Route, TagRule, Window, WindowFeature};
use serde::{Deserialize, Serialize};

/// `[[model]]`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct RawModel {
    /// Public name.
    pub name: Option<String>,
    /// SHA-256 of the component in hexadecimal, or its name: a shipped one's, or a file's; absent: `name`.
    pub component: Option<String>,
    /// SHA-256 of trained weights in hexadecimal; whoever reads the file has put it in the place of a path.
    pub artifact: Option<String>,
    /// Handed to the component.
    pub settings: Option<serde_json::Value>,
    /// Handed to the component; 0.
    pub seed: Option<u64>,
    /// One row for each of these metrics.
    pub each: Option<Vec<String>>,
    /// One row a reading, with these columns.
    pub columns: Option<Vec<String>>,
    /// Rows are the closed windows of this definition, and not readings.
    pub window: Option<String>,
    /// What a row of a window holds: `count`, `nulls`, `sum`, `min`, `max`, `first`, `last`, `mean`, `stddev`.
    pub features: Option<Vec<WindowFeature>>,
    /// For these devices only: ids, or with `*` at the end what ids begin with.
    pub devices: Option<Vec<String>>,
    /// For readings that meet all of these only.
    pub tags: Option<Vec<RawTagRule>>,
    /// Scores at or above it are alerts.
    pub threshold: Option<f64>,
    /// One score in so many is published besides those over the threshold; 100.
    pub sample_every: Option<u32>,
    /// Fuel a row may use; 1000000.
    pub fuel_per_row: Option<u64>,
}

/// One condition of `tags`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct RawTagRule {
    /// Tag of the reading, or else of the device; of a window always of the device.
    pub tag: Option<String>,
    /// Holds when the tag is one of these.
    pub any_of: Option<Vec<String>>,
    /// Holds when the tag is none of these.
    pub none_of: Option<Vec<String>>,
    /// Whether it holds without the tag; as if the tag had a value of its own.
    pub pass_missing: Option<bool>,
}

/// Whether it is a SHA-256 in hexadecimal.
#[must_use]
pub fn is_digest(written: &str) -> bool {
    written.len() == 64 && written.bytes().all(|byte| byte.is_ascii_hexdigit())
}

impl RawModel {
    pub(super) fn resolve(
        self,
        at: &str,
        shipped: &dyn Fn(&str) -> Option<String>,
        problems: &mut Problems,
    ) -> Model {
        let name = self.name.unwrap_or_default();
        if !is_name(&name) {
            problems
                .add(format!("{at}.name"), format!("`{name}` is not 1 to 32 letters, digits, `-` or `_`"));
        }
        let written = self.component.unwrap_or_else(|| name.clone());
        let component =
            if is_digest(&written) { Some(written.to_ascii_lowercase()) } else { shipped(&written) };
        if component.is_none() {
            problems.add(
                format!("{at}.component"),
                format!(
                    "`{written}` is neither a SHA-256 in hexadecimal, nor the name of a shipped component or of one \
                     in `scoring.component-dir`"
                ),
            );
        }
        let artifact = self.artifact.map(|written| written.to_ascii_lowercase());
        if let Some(written) = artifact.as_ref().filter(|written| !is_digest(written)) {
            problems.add(format!("{at}.artifact"), format!("`{written}` is not a SHA-256 in hexadecimal"));
        }
        let inputs = inputs(self.each, self.columns, self.window, self.features, at, problems);
        let route =
            Route { devices: devices(self.devices, at, problems), tags: tags(self.tags, at, problems) };
        unique(&format!("{at}.inputs"), inputs.names().iter().map(String::as_str), problems);
        let threshold = self.threshold.unwrap_or(f64::NAN);
        if !threshold.is_finite() {
            problems.add(format!("{at}.threshold"), "is needed: scores at or above it are alerts");
        }
        let fuel_per_row = self.fuel_per_row.unwrap_or(1_000_000);
        if fuel_per_row == 0 {
            problems.add(format!("{at}.fuel-per-row"), "0 lets no row be scored");
        }
        let settings = match self.settings {
            None => "{}".to_owned(),
            Some(value) => value.to_string(),
        };
        Model {
            name,
            component: component.unwrap_or_default(),
            artifact,
            settings,
            seed: self.seed.unwrap_or(0),
            inputs,
            route,
            threshold,
            sample_every: self.sample_every.unwrap_or(100),
            fuel_per_row,
            trial: None,
        }
    }
}

/// What rows are made of.
fn inputs(
    each: Option<Vec<String>>,
    columns: Option<Vec<String>>,
    window: Option<String>,
    features: Option<Vec<WindowFeature>>,
    at: &str,
    problems: &mut Problems,
) -> Inputs {
    if window.is_some() || features.is_some() {
        let features = features.unwrap_or_default();
        let named = features.iter().map(|feature| feature.as_str());
        unique(&format!("{at}.features"), named, problems);
        if let (Some(window), Some(each), None) = (&window, &each, &columns)
            && !each.is_empty()
            && !features.is_empty()
        {
            return Inputs::Windows { window: window.clone(), each: each.clone(), features };
        }
        problems.add(
            at,
            "needs `window`, the name of one, `each`, a list of metrics, and `features`, what it is given of a window",
        );
        return Inputs::Windows {
            window: window.unwrap_or_default(),
            each: each.unwrap_or_default(),
            features,
        };
    }
    match (each, columns) {
        (Some(names), None) if !names.is_empty() => Inputs::Each(names),
        (None, Some(names)) if !names.is_empty() => Inputs::Columns(names),
        _ => {
            problems.add(at, "needs either `each` or `columns`, a list of metrics");
            Inputs::Each(Vec::new())
        }
    }
}

fn devices(devices: Option<Vec<String>>, at: &str, problems: &mut Problems) -> Vec<String> {
    let Some(devices) = devices else { return Vec::new() };
    let at = format!("{at}.devices");
    if devices.is_empty() {
        problems.add(at.clone(), "is empty: the model would never be asked; leave it out for every device");
    }
    for pattern in &devices {
        if !is_device_id(pattern.strip_suffix('*').unwrap_or(pattern)) {
            problems.add(
                at.clone(),
                format!("`{pattern}` is neither a device id nor the beginning of one with `*` after it"),
            );
        }
    }
    unique(&at, devices.iter().map(String::as_str), problems);
    devices
}

fn tags(tags: Option<Vec<RawTagRule>>, at: &str, problems: &mut Problems) -> Vec<TagRule> {
    let Some(tags) = tags else { return Vec::new() };
    if tags.is_empty() {
        problems.add(format!("{at}.tags"), "is empty; leave it out for every reading");
    }
    let rule = |(index, raw): (usize, RawTagRule)| {
        let RawTagRule { tag, any_of, none_of, pass_missing } = raw;
        match (tag, any_of, none_of) {
            (Some(tag), Some(any_of), None) if !any_of.is_empty() => {
                let pass_missing = pass_missing.unwrap_or(false);
                Some(TagRule { tag, any_of, not: false, pass_missing })
            }
            (Some(tag), None, Some(any_of)) if !any_of.is_empty() => {
                let pass_missing = pass_missing.unwrap_or(true);
                Some(TagRule { tag, any_of, not: true, pass_missing })
            }
            _ => {
                problems.add(
                    format!("{at}.tags[{index}]"),
                    "needs `tag` and either `any-of` or `none-of`, a list of values",
                );
                None
            }
        }
    };
    tags.into_iter().enumerate().filter_map(rule).collect()
}

/// Whether models of windows are given windows that there are, with metrics that these take.
pub(super) fn check_windows(
    models: &[Model],
    windows: &[Window],
    metrics: &Metrics,
    problems: &mut Problems,
) {
    for (index, model) in models.iter().enumerate() {
        let Inputs::Windows { window: name, each, .. } = &model.inputs else { continue };
        let at = format!("model[{index}]");
        // Without a name the model has been complained of.
        if name.is_empty() {
            continue;
        }
        let Some(window) = windows.iter().find(|window| window.name == *name) else {
            problems.add(format!("{at}.window"), format!("`{name}` is the name of no window"));
            continue;
        };
        let taken = match (&window.metrics, metrics) {
            (Some(taken), _) | (None, Metrics::Named(taken)) => taken,
            (None, Metrics::All { .. }) => continue,
        };
        for metric in each.iter().filter(|metric| !taken.contains(metric)) {
            problems.add(format!("{at}.each"), format!("window `{name}` does not take `{metric}`"));
        }
    }
}

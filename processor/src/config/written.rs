//! A resolved pipeline back in the words of the file, every default spelled out: what `config print` shows.
//!
//! Invariant: reading it again gives the same pipeline.

use super::model::{RawModel, RawTagRule};
use super::pipeline::{RawFilter, RawInput, RawLimits, RawMetrics, RawPipelineConfig, RawTime};
use super::window::RawWindow;
use chassis::config::format_duration;
use schemas::Micros;
use schemas::pipeline::{Filter, Inputs, Metrics, Model, Pipeline, Route, TagRule, Window, WindowKind};
use std::time::Duration;

fn text(span: Micros) -> String {
    format_duration(Duration::from_micros(span.unsigned_abs()))
}

fn some(span: Micros) -> Option<String> {
    Some(text(span))
}

impl From<&Pipeline> for RawPipelineConfig {
    fn from(pipeline: &Pipeline) -> Self {
        let time = &pipeline.time;
        Self {
            window: Some(pipeline.windows.iter().map(window).collect()),
            filter: pipeline.filters.iter().map(filter).collect(),
            model: pipeline.models.iter().map(model).collect(),
            time: RawTime {
                disorder: some(time.disorder),
                quiet_after: time.quiet_after.map(text),
                lateness: some(time.lateness),
                settle: time.settle.map(text),
                max_ahead: some(time.max_ahead),
                clock_ahead: Some(time.clock_ahead),
                idle_retention: some(time.idle_retention),
                device_retention: some(time.device_retention),
                stalled_after: pipeline.stalled_after.map(text),
            },
            metrics: match &pipeline.metrics {
                Metrics::All { per_device_max } => {
                    RawMetrics { only: None, per_device_max: Some(*per_device_max) }
                }
                Metrics::Named(names) => RawMetrics { only: Some(names.clone()), per_device_max: None },
            },
            limits: RawLimits {
                devices_max: Some(pipeline.limits.devices_max),
                panes_max: Some(pipeline.limits.panes_max),
                backfill_panes_max: Some(pipeline.limits.backfill_panes_max),
            },
            input: RawInput {
                bare_json: Some(pipeline.bare_json),
                drop_repeats: Some(pipeline.drop_repeats),
            },
        }
    }
}

fn window(window: &Window) -> RawWindow {
    let raw = RawWindow {
        name: Some(window.name.clone()),
        early_every: window.early_every.map(text),
        early_count: window.early_count,
        metrics: window.metrics.clone(),
        disorder: window.disorder.map(text),
        quiet_after: window.quiet_after.map(text),
        lateness: window.lateness.map(text),
        settle: window.settle.map(text),
        ..RawWindow::default()
    };
    match window.kind {
        WindowKind::Tumbling { size, offset } => RawWindow {
            kind: Some("tumbling".to_owned()),
            size: some(size),
            offset: (offset != 0).then(|| text(offset)),
            ..raw
        },
        WindowKind::Hopping { size, advance } => {
            RawWindow { kind: Some("hopping".to_owned()), size: some(size), advance: some(advance), ..raw }
        }
        WindowKind::Session { gap } => RawWindow { kind: Some("session".to_owned()), gap: some(gap), ..raw },
    }
}

fn filter(filter: &Filter) -> RawFilter {
    match filter.clone() {
        Filter::Range { metric, above, at_least, below, at_most, pass_missing } => RawFilter {
            metric: Some(metric),
            above,
            at_least,
            below,
            at_most,
            pass_missing: Some(pass_missing),
            ..RawFilter::default()
        },
        Filter::Tag { tag, any_of, not, pass_missing } => {
            let (any_of, none_of) = if not { (None, Some(any_of)) } else { (Some(any_of), None) };
            RawFilter {
                tag: Some(tag),
                any_of,
                none_of,
                pass_missing: Some(pass_missing),
                ..RawFilter::default()
            }
        }
    }
}

fn model(model: &Model) -> RawModel {
    let raw = match model.inputs.clone() {
        Inputs::Each(names) => RawModel { each: Some(names), ..RawModel::default() },
        Inputs::Columns(names) => RawModel { columns: Some(names), ..RawModel::default() },
        Inputs::Windows { window, each, features } => RawModel {
            window: Some(window),
            each: Some(each),
            features: Some(features),
            ..RawModel::default()
        },
    };
    let Route { devices, tags } = &model.route;
    RawModel {
        name: Some(model.name.clone()),
        component: Some(model.component.clone()),
        artifact: model.artifact.clone(),
        settings: serde_json::from_str(&model.settings).ok(),
        seed: Some(model.seed),
        devices: (!devices.is_empty()).then(|| devices.clone()),
        tags: (!tags.is_empty()).then(|| tags.iter().map(tag_rule).collect()),
        threshold: Some(model.threshold),
        sample_every: Some(model.sample_every),
        fuel_per_row: Some(model.fuel_per_row),
        ..raw
    }
}

fn tag_rule(rule: &TagRule) -> RawTagRule {
    let TagRule { tag, any_of, not, pass_missing } = rule.clone();
    let (any_of, none_of) = if not { (None, Some(any_of)) } else { (Some(any_of), None) };
    RawTagRule { tag: Some(tag), any_of, none_of, pass_missing: Some(pass_missing) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chassis::config::{Layers, Problems};

    const FILE: &str = r#"
        [[window]]
        name = "a"
        kind = "tumbling"
        size = "90s"
        offset = "30s"
        early-count = 1000
        [[window]]
        name = "b"
        kind = "hopping"
        size = "5m"
        advance = "1m"
        metrics = ["temp"]
        lateness = "1h"
        [[window]]
        name = "c"
        kind = "session"
        gap = "250ms"
        [[filter]]
        metric = "temp"
        above = 25.0
        pass-missing = false
        [[filter]]
        tag = "site"
        none-of = ["lab"]
        [[model]]
        name = "m"
        each = ["temp"]
        threshold = 4.5
        settings = { alpha = 0.5 }
        artifact = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789ABCDEF"
        [[model]]
        name = "w"
        component = "m"
        window = "a"
        each = ["temp", "on"]
        features = ["mean", "stddev"]
        threshold = 3.0
        devices = ["pump-*", "fan-7"]
        tags = [{ tag = "line", any-of = ["a"] }, { tag = "state", none-of = ["idle"], pass-missing = false }]
        [time]
        stalled-after = "2h"
        clock-ahead = "restamp"
        [metrics]
        only = ["temp", "on"]
    "#;

    #[test]
    fn what_is_printed_reads_back_as_the_same_pipeline() {
        let mut problems = Problems::default();
        let layers = Layers::load(Some(("file", FILE)), [], &[], &mut problems);
        let raw = RawPipelineConfig {
            window: Some(layers.section("window", &mut problems)),
            filter: layers.section("filter", &mut problems),
            model: layers.section("model", &mut problems),
            time: layers.section("time", &mut problems),
            metrics: layers.section("metrics", &mut problems),
            ..RawPipelineConfig::default()
        };
        let shipped = |_: &str| Some("ab".repeat(32));
        let pipeline = raw.resolve(&shipped, &mut problems);
        assert!(problems.is_empty(), "{problems:?}");
        let again = RawPipelineConfig::from(&pipeline).resolve(&shipped, &mut problems);
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!(again, pipeline);
        assert_eq!(pipeline.models[0].artifact.as_deref(), Some("0123456789abcdef".repeat(4).as_str()));
        assert_eq!(pipeline.windows.len() + pipeline.filters.len() + pipeline.models.len(), 7);
    }
}

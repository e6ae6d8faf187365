//! What is written in the file, what it comes to, and every mistake by name.

use super::*;
use schemas::pipeline::{Filter, Inputs, Metrics, Pipeline, WindowFeature, WindowKind};

fn resolve(raw: serde_json::Value) -> (Pipeline, Vec<String>) {
    let raw: RawPipelineConfig = serde_json::from_value(raw).expect("the shape is accepted");
    let mut problems = Problems::default();
    let shipped = |name: &str| (name == "ewma").then(|| "ab".repeat(32));
    let pipeline = raw.resolve(&shipped, &mut problems);
    (pipeline, problems.list().iter().map(|p| format!("{}: {}", p.key, p.message)).collect())
}

#[test]
fn an_empty_file_is_a_minute_window_over_everything() {
    let (pipeline, problems) = resolve(serde_json::json!({}));
    assert_eq!(problems, Vec::<String>::new());
    assert_eq!(pipeline.windows.len(), 1);
    assert_eq!(pipeline.windows[0].kind, WindowKind::Tumbling { size: 60_000_000, offset: 0 });
    assert_eq!(pipeline.metrics, Metrics::All { per_device_max: 64 });
    assert!(pipeline.bare_json && !pipeline.drop_repeats);
}

#[test]
fn every_section_arrives() {
    let (pipeline, problems) = resolve(serde_json::json!({
        "window": [
            {"name": "5s", "kind": "tumbling", "size": "5s", "lateness": "0s"},
            {"name": "hop", "kind": "hopping", "size": "1m", "advance": "10s", "early-every": "5s"},
            {"name": "trip", "kind": "session", "gap": "30s", "metrics": ["speed"]},
        ],
        "filter": [
            {"metric": "temp", "at-least": -40.0, "at-most": 125.0},
            {"tag": "site", "none-of": ["lab"], "pass-missing": false},
        ],
        "model": [{"name": "ewma", "each": ["temp"], "threshold": 4.0, "settings": {"alpha": 0.1}}],
        "time": {"disorder": "2s", "stalled-after": "10m", "clock-ahead": "restamp"},
        "metrics": {"only": ["temp", "speed"]},
        "limits": {"devices-max": 10},
        "input": {"bare-json": false, "drop-repeats": true},
    }));
    assert_eq!(problems, Vec::<String>::new());
    assert_eq!(pipeline.windows[1].early_every, Some(5_000_000));
    assert_eq!(pipeline.windows[2].kind, WindowKind::Session { gap: 30_000_000 });
    assert!(matches!(&pipeline.filters[1], Filter::Tag { not: true, pass_missing: false, .. }));
    assert_eq!(pipeline.models[0].component, "ab".repeat(32));
    assert_eq!(pipeline.models[0].settings, r#"{"alpha":0.1}"#);
    assert_eq!(pipeline.models[0].inputs, Inputs::Each(vec!["temp".to_owned()]));
    assert_eq!(pipeline.stalled_after, Some(600_000_000));
    assert_eq!(pipeline.limits.devices_max, 10);
    assert!(!pipeline.bare_json && pipeline.drop_repeats);
}

#[test]
fn all_mistakes_are_named_at_once() {
    let (_, problems) = resolve(serde_json::json!({
        "window": [
            {"name": "a b", "size": "1m"},
            {"name": "x", "kind": "hopping", "size": "10s", "advance": "20s"},
            {"name": "x", "kind": "session", "size": "10s"},
            {"name": "zero", "size": "0s"},
            {"name": "late", "size": "1s", "lateness": "25h"},
            {"name": "fine", "kind": "hopping", "size": "1h", "advance": "7ms"},
            {"name": "odd", "kind": "sliding", "size": "1h"},
        ],
        "filter": [{"metric": "t"}, {"tag": "s", "any-of": [], "none-of": []}, {"metric": "t", "above": 5.0, "below": 1.0}],
        "model": [{"name": "nope", "threshold": 1.0, "artifact": "x.weights"}],
        "metrics": {"only": ["a", "a"]},
        "limits": {"panes-max": 0},
    }));
    let expected = [
        "window[0].name",
        "window[1].advance",
        "window[2].size",
        "window[2].gap",
        "window[3].size",
        "window[5].advance",
        "window[6].kind",
        "model[0].component",
        "model[0].artifact: `x.weights`",
        "model[0]: needs",
        "window[2].name",
        "filter[0]",
        "filter[1]",
        "filter[2]",
        "window[4].lateness",
        "metrics.only[1].name",
        "limits.panes-max",
    ];
    for key in expected {
        assert!(problems.iter().any(|problem| problem.starts_with(key)), "{key} in {problems:#?}");
    }
    assert_eq!(problems.len(), expected.len(), "{problems:#?}");
}

#[test]
fn a_field_nobody_knows_is_refused() {
    let raw = serde_json::from_value::<RawPipelineConfig>(serde_json::json!({"windows": []}));
    assert!(raw.expect_err("misspelt").to_string().contains("unknown field `windows`"));
}

#[test]
fn the_engine_has_the_documented_defaults_and_checks_relations() {
    let config = ProcessorConfig::default();
    assert_eq!(config.commit_interval.as_millis(), 100);
    assert_eq!(config.commit_gap_min.as_millis(), 20);
    assert_eq!(config.commit_bytes_max, 1 << 20);
    assert_eq!(config.drain_timeout.as_secs(), 5);
    let mut problems = Problems::default();
    let raw = RawProcessorConfig {
        workers: Some(0),
        commit_gap_min: Some("1s".to_owned()),
        waiting_bytes_max: Some("1KiB".to_owned()),
        instance: Some("a/b".to_owned()),
        ..RawProcessorConfig::default()
    };
    let _ = raw.resolve("process", &mut problems);
    let keys: Vec<&str> = problems.list().iter().map(|problem| problem.key.as_str()).collect();
    assert_eq!(
        keys,
        ["process.instance", "process.workers", "process.commit-gap-min", "process.waiting-bytes-max"]
    );
}

#[test]
fn an_hour_of_lateness_on_minute_windows_is_sixty_panes() {
    let (mut pipeline, _) = resolve(serde_json::json!({"time": {"lateness": "1h"}}));
    assert_eq!(estimate(&pipeline).panes_per_metric, 62);
    pipeline.time.lateness = 0;
    pipeline.time.disorder = 0;
    assert_eq!(estimate(&pipeline).panes_per_metric, 1);
}

#[test]
fn a_model_is_routed_and_may_be_given_windows() {
    let (pipeline, problems) = resolve(serde_json::json!({
        "window": [{"name": "5s", "size": "5s", "metrics": ["temp"]}],
        "model": [
            {"name": "ewma", "each": ["temp"], "threshold": 4.0, "devices": ["pump-*", "fan-7"],
             "tags": [{"tag": "line", "any-of": ["a"]}, {"tag": "state", "none-of": ["idle"]}]},
            {"name": "w", "component": "ewma", "window": "5s", "each": ["temp"], "features": ["mean", "stddev"],
             "threshold": 4.0},
        ],
    }));
    assert_eq!(problems, Vec::<String>::new());
    let route = &pipeline.models[0].route;
    assert_eq!(route.devices, ["pump-*", "fan-7"]);
    // What must be one of some values is not met by none; what must not be, is.
    let rules: Vec<_> =
        route.tags.iter().map(|rule| (rule.tag.as_str(), rule.not, rule.pass_missing)).collect();
    assert_eq!(rules, [("line", false, false), ("state", true, true)]);
    assert!(pipeline.models[1].route.is_open());
    let features = vec![WindowFeature::Mean, WindowFeature::Stddev];
    let each = vec!["temp".to_owned()];
    assert_eq!(pipeline.models[1].inputs, Inputs::Windows { window: "5s".to_owned(), each, features });
    let text = serde_json::to_string(&pipeline).expect("plain data");
    assert_eq!(serde_json::from_str::<Pipeline>(&text).expect("its own text"), pipeline);
    assert_eq!(text.matches("route").count(), 1, "a model for everything is written as before");
}

#[test]
fn mistakes_about_routes_and_windows_are_named_at_once() {
    let (_, problems) = resolve(serde_json::json!({
        "window": [{"name": "5s", "size": "5s", "metrics": ["temp"]}],
        "model": [
            {"name": "a", "component": "ewma", "each": ["t"], "threshold": 1.0, "devices": [], "tags": []},
            {"name": "b", "component": "ewma", "each": ["t"], "threshold": 1.0, "devices": ["*", "a*b", "x", "x"]},
            {"name": "c", "component": "ewma", "each": ["t"], "threshold": 1.0, "tags": [
                {"tag": "s"}, {"tag": "s", "any-of": []}, {"any-of": ["a"]}, {"tag": "s", "any-of": ["a"], "none-of": ["b"]},
            ]},
            {"name": "d", "component": "ewma", "window": "6s", "each": ["temp"], "features": ["mean"], "threshold": 1.0},
            {"name": "e", "component": "ewma", "window": "5s", "each": ["temp", "hum"], "features": ["mean", "mean"],
             "threshold": 1.0},
            {"name": "f", "component": "ewma", "window": "5s", "columns": ["temp"], "features": ["mean"], "threshold": 1.0},
            {"name": "g", "component": "ewma", "window": "5s", "each": ["temp"], "threshold": 1.0},
        ],
    }));
    let expected = [
        "model[0].devices: is empty",
        "model[0].tags: is empty",
        "model[1].devices: `*`",
        "model[1].devices: `a*b`",
        "model[1].devices[3].name: `x`",
        "model[2].tags[0]",
        "model[2].tags[1]",
        "model[2].tags[2]",
        "model[2].tags[3]",
        "model[3].window: `6s` is the name of no window",
        "model[4].features[1].name",
        "model[4].each: window `5s` does not take `hum`",
        "model[5]: needs `window`",
        "model[6]: needs `window`",
    ];
    for key in expected {
        assert!(problems.iter().any(|problem| problem.starts_with(key)), "{key} in {problems:#?}");
    }
    assert_eq!(problems.len(), expected.len(), "{problems:#?}");
}

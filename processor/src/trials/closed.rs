//! Models of closed windows: every window is scored once, and neither batches nor crashes change what is said of it.

use super::scores::{FIXTURES, decoded, loader};
use super::world::{World, brisk, history, resolved};
use crate::config::ProcessorConfig;
use schemas::pipeline::Pipeline;
use schemas::record::{
    Aggregate, Alert, AlertKind, DeadLetter, Device, EmissionKind, Raw, Score, Shadow, Stage,
};
use schemas::roles::{Deployment, Gates, Roles};
use schemas::topic::Topic;
use scoring::{HostLimits, Loader, LoaderConfig, shipped};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// Says how many rows of a series it has seen, and fails on the first feature 666 as `mode` says.
fn counting(name: &str, window: &str, feature: &str, mode: &str) -> serde_json::Value {
    serde_json::json!({
        "name": name, "component": shipped::digest_of(FIXTURES), "settings": {"mode": mode}, "window": window,
        "each": ["temp", "hum"], "features": [feature], "threshold": 1e9, "sample-every": 1,
    })
}

fn pipeline() -> Pipeline {
    let mut pumps = counting("some", "10s", "max", "none");
    pumps["devices"] = serde_json::json!(["d1*"]);
    pumps["tags"] = serde_json::json!([{"tag": "hall", "none-of": ["3"]}]);
    resolved(serde_json::json!({
        "window": [
            {"name": "10s", "size": "10s"},
            {"name": "trip", "kind": "session", "gap": "8s", "early-count": 3},
            {"name": "hop", "kind": "hopping", "size": "20s", "advance": "5s"},
        ],
        "model": [
            {"name": "ewma", "each": ["temp"], "threshold": 3.0, "sample-every": 7,
             "settings": {"alpha": 0.1, "warm-up-rows": 5, "refractory-rows": 3, "trigger": 3.0}},
            counting("all", "10s", "mean", "none"),
            pumps,
            counting("fragile", "trip", "max", "panic"),
            {"name": "level", "component": shipped::find("ewma").expect("it is shipped").digest, "window": "hop",
             "each": ["temp"], "features": ["stddev"], "threshold": 2.0, "sample-every": 3,
             "settings": {"alpha": 0.2, "warm-up-rows": 3, "refractory-rows": 0, "trigger": 2.0}},
        ],
        "time": {"disorder": "2s", "lateness": "20s", "settle": "1s", "stalled-after": "45s"},
    }))
}

fn closed_world(seed: u64, readings: u64) -> World {
    let mut world = World::new(2);
    world.models = Arc::new(loader());
    world.configure(0, &pipeline());
    history(&world, seed, readings);
    world.json("d1", r#"{"device_id":"d1","temp":666,"hum":1,"seq":9000}"#);
    world.end();
    world
}

/// The first row of each window that is not an early one.
fn first_rows(world: &World, window: &str) -> Vec<Aggregate> {
    let rows = world.aggregates().into_iter();
    let is_first = |row: &Aggregate| row.revision == 1 && row.kind != EmissionKind::Retracted;
    rows.filter(|row| row.window == window && is_first(row)).collect()
}

#[test]
fn every_window_is_scored_once_with_its_row() {
    let world = closed_world(91, 400);
    world.run_to_end(world.worker("one", &brisk(), true)).expect("it runs");
    world.check().expect("the same bytes");
    world.check_books().expect("balanced");
    let scores: Vec<Score> = decoded(&world, Topic::Scores);
    let rows = first_rows(&world, "10s");
    let known = |row: &Aggregate| row.mean.is_some() && ["temp", "hum"].contains(&row.metric.as_str());
    let rows: BTreeMap<_, _> = rows
        .iter()
        .filter(|row| known(row))
        .map(|row| ((row.device_id.clone(), row.metric.clone(), row.start), (row.mean, row.end)))
        .collect();
    let scored: BTreeMap<_, _> = scores
        .iter()
        .filter(|score| score.model == "all")
        .map(|score| {
            assert_eq!(score.window.as_deref(), Some("10s"));
            let at = (score.device_id.clone(), score.metric.clone(), score.event_time);
            (at, (score.value, score.window_end.expect("it is of a window")))
        })
        .collect();
    assert!(rows.len() > 100, "{} windows", rows.len());
    assert_eq!(scored, rows, "each window and no other, with the numbers of its row");
    let of = |model: &str| scores.iter().filter(|score| score.model == model).count();
    assert_eq!(of("all"), scored.len(), "none twice");
    let late = world.aggregates().iter().filter(|row| row.window == "10s" && row.revision > 1).count();
    assert!(late > 0, "revisions there were, and no model was asked of them");
    let mut seen: BTreeMap<(&str, &str), f64> = BTreeMap::new();
    for score in scores.iter().filter(|score| score.model == "all") {
        let next = seen.entry((&score.device_id, &score.metric)).or_default();
        assert_eq!(score.score, *next, "its series have a state each");
        *next += 1.0;
    }
    assert!(of("some") > 10 && of("some") < of("all") / 2);
    let devices: BTreeSet<&str> =
        scores.iter().filter(|score| score.model == "some").map(|score| score.device_id.as_str()).collect();
    assert_eq!(devices, BTreeSet::from(["d1", "d10", "d11"]));
    let readings = scores.iter().filter(|score| score.model == "ewma");
    assert!(readings.clone().count() > 10 && readings.clone().all(|score| score.window.is_none()));
}

#[test]
fn a_window_on_which_a_model_fails_is_published_all_the_same_and_told() {
    let world = closed_world(92, 150);
    world.run_to_end(world.worker("one", &brisk(), true)).expect("it runs");
    world.check().expect("the same bytes");
    let letters: Vec<DeadLetter> = decoded(&world, Topic::DeadLetters);
    let failures: Vec<_> = letters.iter().filter(|letter| letter.stage == Stage::Scoring).collect();
    assert_eq!(failures.len(), 1, "{failures:?}");
    assert!(failures[0].detail.starts_with("window `trip` of `temp`: model `fragile`: "), "{failures:?}");
    let row: serde_json::Value = serde_json::from_slice(&failures[0].value).expect("the row");
    assert_eq!((&row["max"], &row["device_id"]), (&serde_json::json!(666.0), &serde_json::json!("d1")));
    let start = row["start"].as_i64().expect("a time");
    assert!(has_row(&world, "trip", start));
    let totals: i64 = world.audits().values().map(|audit| audit.totals.scoring_failed).sum();
    assert_eq!(totals, 1);
}

fn has_row(world: &World, window: &str, start: i64) -> bool {
    world.aggregates().iter().any(|row| row.window == window && row.start == start && row.max == Some(666.0))
}

#[test]
fn batches_do_not_change_what_is_said_of_windows() {
    World::batches_everywhere(|| closed_world(93, 250));
}

#[test]
fn crashes_do_not_change_what_is_said_of_windows() {
    World::crash_everywhere(|| closed_world(94, 60), 20, 2, |_, _| {});
}

/// Only windows are scored: readings do not wait for anything, and more windows close at once than a batch holds.
#[test]
fn an_end_closes_more_windows_than_one_batch_takes() {
    let mut first = None;
    for records in [1, 5_000] {
        let mut world = World::new(1);
        world.models = Arc::new(loader());
        world.configure(
            0,
            &resolved(serde_json::json!({
                "window": [{"name": "10s", "size": "10s"}],
                "model": [counting("all", "10s", "count", "none")],
            })),
        );
        for device in 0..1_500 {
            world.json(
                &format!("d{device}"),
                &format!(r#"{{"device_id":"d{device}","temp":{device},"hum":1}}"#),
            );
        }
        world.end();
        let config = ProcessorConfig { poll_records_max: records, ..brisk() };
        world.run_to_end(world.worker("one", &config, true)).expect("it runs");
        world.check().expect("the same bytes");
        let scores: Vec<Score> = decoded(&world, Topic::Scores);
        assert_eq!(scores.len(), 3_000);
        let rows = world.aggregates();
        let told = |row: &Aggregate| (row.device_id.clone(), row.metric.clone());
        let said = scores.iter().map(|score| (score.device_id.clone(), score.metric.clone()));
        assert!(said.eq(rows.iter().map(told)), "in the order in which the windows were closed");
        assert_eq!(first.get_or_insert(world.written()), &world.written(), "{records} records a poll");
    }
}

/// The record that forgets a device closes its last windows: they are scored with what was known of it, and the next
/// device in its place begins anew.
#[test]
fn a_device_is_forgotten_after_its_last_windows_were_scored() {
    let mut world = World::new(1);
    world.models = Arc::new(loader());
    world.configure(
        0,
        &resolved(serde_json::json!({
            "window": [{"name": "10s", "size": "10s"}],
            "model": [counting("all", "10s", "mean", "none"), {"name": "ewma", "each": ["temp"], "threshold": 3.0}],
            "time": {"device-retention": "24h"},
        })),
    );
    for round in 0..3 {
        for device in ["a", "b"] {
            world.json(device, &format!(r#"{{"device_id":"{device}","temp":{round}}}"#));
        }
        world.journal.advance(Duration::from_secs(60));
    }
    world.json("a", r#"{"device_id":"a","temp":3}"#);
    world.json("b", r#"{"device_id":"b","temp":3}"#);
    world.journal.advance(Duration::from_secs(25 * 3_600));
    world.json("c", r#"{"device_id":"c","temp":9}"#);
    world.json("d", r#"{"device_id":"d","temp":9}"#);
    world.end();
    world.run_to_end(world.worker("one", &brisk(), true)).expect("it runs");
    world.check().expect("the same bytes");
    let scores: Vec<Score> = decoded(&world, Topic::Scores);
    let of = |device: &str| -> Vec<f64> {
        let mine = scores.iter().filter(|score| score.model == "all" && score.device_id == device);
        mine.map(|score| score.score).collect()
    };
    assert_eq!([of("a"), of("b")], [[0.0, 1.0, 2.0, 3.0], [0.0, 1.0, 2.0, 3.0]]);
    assert_eq!([of("c"), of("d")], [[0.0], [0.0]], "their places were others' before");
}

/// What a device's metadata says at the last reading of a window decides, as in the window's row.
#[test]
fn a_window_is_routed_by_the_metadata_that_its_row_has() {
    let mut world = World::new(1);
    world.models = Arc::new(loader());
    let mut model = counting("halls", "10s", "mean", "none");
    model["tags"] = serde_json::json!([{"tag": "hall", "any-of": ["1"]}]);
    world.configure(
        0,
        &resolved(serde_json::json!({"window": [{"name": "10s", "size": "10s"}], "model": [model]})),
    );
    let mut told = Vec::new();
    for (round, hall) in ["1", "2", "1", "3", "1"].into_iter().enumerate() {
        let tags = BTreeMap::from([("hall".to_owned(), hall.to_owned())]);
        let device = Device { device_id: "d".to_owned(), tags, ..Device::default() };
        world.record("d", &Raw::Device(device));
        world.json("d", &format!(r#"{{"device_id":"d","temp":{round}}}"#));
        if hall == "1" {
            told.push(Some(f64::from(u32::try_from(round).unwrap())));
        }
        world.journal.advance(Duration::from_secs(60));
        world.tick();
    }
    world.end();
    world.run_to_end(world.worker("one", &brisk(), true)).expect("it runs");
    world.check().expect("the same bytes");
    let scores: Vec<Score> = decoded(&world, Topic::Scores);
    assert_eq!(scores.iter().map(|score| score.value).collect::<Vec<_>>(), told);
}

#[test]
fn an_alert_says_which_number_of_which_window_and_by_which_version() {
    let mut world = World::new(1);
    world.models = Arc::new(loader());
    let mut model = counting("third", "10s", "stddev", "none");
    model["threshold"] = serde_json::json!(2.0);
    world.configure(
        0,
        &resolved(serde_json::json!({"window": [{"name": "10s", "size": "10s"}], "model": [model]})),
    );
    for _ in 0..3 {
        for temp in [1, 3] {
            world.json("d", &format!(r#"{{"device_id":"d","temp":{temp}}}"#));
        }
        world.journal.advance(Duration::from_secs(60));
        world.tick();
    }
    world.end();
    world.run_to_end(world.worker("one", &brisk(), true)).expect("it runs");
    let alerts: Vec<Alert> = decoded(&world, Topic::Alerts);
    let [alert] = &alerts[..] else { panic!("{alerts:?}") };
    let row = world.aggregates().pop().expect("a row");
    assert_eq!(
        (alert.kind, alert.event_time, alert.window_end),
        (AlertKind::Score, row.start, Some(row.end))
    );
    assert_eq!((alert.window.as_deref(), alert.feature.as_deref()), (Some("10s"), Some("stddev")));
    assert_eq!((alert.metric.as_deref(), alert.value), (Some("temp"), Some(1.0)));
    let version = alert.version.as_deref().expect("a version");
    let told = format!(
        "stddev of `temp` of `d` in `10s` is 1: score 2.000 by `third` {}, threshold 2",
        &version[..12]
    );
    assert_eq!(alert.message, told);
}

/// Generations that change and remove windows and their models while windows are open, and a version on trial.
fn changing_world() -> World {
    let mut world = World::new(2);
    world.models = Arc::new(loader());
    let windows = serde_json::json!([{"name": "10s", "size": "10s"}, {"name": "1m", "size": "1m"}]);
    let with = |models: serde_json::Value, windows: &serde_json::Value| {
        resolved(serde_json::json!({"window": windows, "model": models, "time": {"lateness": "20s"}}))
    };
    let all = counting("all", "10s", "mean", "none");
    let both = with(serde_json::json!([all, counting("minute", "1m", "max", "none")]), &windows);
    let generations = [
        both.clone(),
        with(serde_json::json!([all]), &serde_json::json!([{"name": "10s", "size": "10s"}])),
        both.clone(),
        with(serde_json::json!([]), &windows),
        both.clone(),
    ];
    let mut generation = 0;
    for pipeline in &generations {
        world.configure(generation, pipeline);
        history(&world, 95 + u64::try_from(generation).unwrap(), 30);
        generation += 1;
    }
    let mut other = both.models[0].version();
    other.seed = 7;
    let mut deployment: Deployment =
        crate::rollout::begun(&Deployment::default(), other, Gates::default(), 0);
    while deployment.trial.is_some() {
        let roles = Roles { base: None, roles: [("all".to_owned(), deployment.clone())].into() };
        world.configure_roles(generation, &both, Some(&roles));
        history(&world, 95 + u64::try_from(generation).unwrap(), 30);
        generation += 1;
        deployment = crate::rollout::forward(&both.models[0], &deployment, 0);
    }
    world.end();
    world
}

#[test]
fn neither_crashes_nor_changes_of_models_let_a_window_be_scored_twice() {
    let mut written = None;
    World::crash_everywhere(changing_world, 9, 5, |world, call| {
        let scores: Vec<Score> = decoded(world, Topic::Scores);
        let at = |score: &Score| {
            (score.model.clone(), score.device_id.clone(), score.metric.clone(), score.event_time)
        };
        let distinct: BTreeSet<_> = scores.iter().map(at).collect();
        assert_eq!(distinct.len(), scores.len());
        let shadows: Vec<Shadow> = decoded(world, Topic::Shadow);
        assert!(!shadows.is_empty() && shadows.iter().all(|shadow| shadow.window.as_deref() == Some("10s")));
        assert_eq!(written.get_or_insert(world.written()), &world.written(), "crash at call {call}");
    });
}

#[test]
fn after_three_brakes_the_windows_of_a_range_are_kept_from_the_models() {
    let limits = HostLimits { tick: Duration::from_millis(1), brake_ticks: 20, ..HostLimits::default() };
    let config = LoaderConfig { limits, ..LoaderConfig::default() };
    let mut world = World::new(1);
    world.models = Arc::new(Loader::new(Arc::new(super::scores::Source), config).expect("a host"));
    let mut model = counting("endless", "10s", "max", "spin");
    model["fuel-per-row"] = serde_json::json!(u64::MAX / 4);
    world.configure(
        0,
        &resolved(serde_json::json!({"window": [{"name": "10s", "size": "10s"}], "model": [model]})),
    );
    world.json("d", r#"{"device_id":"d","temp":666}"#);
    world.end();
    let mut worker = world.worker("one", &brisk(), true);
    world.run(&mut worker).expect("it goes on in the end");
    assert_eq!(world.journal.topic(Topic::Control).len(), 1, "the decision");
    let letters: Vec<DeadLetter> = decoded(&world, Topic::DeadLetters);
    assert_eq!(letters.len(), 1);
    assert!(letters[0].detail.contains("a decision keeps this range"), "{letters:?}");
    let totals = &world.audits()[&0].totals;
    assert_eq!((totals.aggregated, totals.scored, totals.scoring_failed), (1, 0, 1));
    world.check_books().expect("balanced");
}

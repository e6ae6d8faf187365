//! Models in the stream: neither batches nor crashes change what they say, and their failures cost nobody a reading.

use super::world::{World, brisk, history, resolved};
use crate::config::ProcessorConfig;
use crate::ops::Letters;
use journal::port::Journal;
use schemas::pipeline::Pipeline;
use schemas::record::{Alert, AlertKind, DeadLetter, EmissionKind, Score, Stage};
use schemas::topic::Topic;
use scoring::shipped::{self, Shipped};
use scoring::{ComponentSource, HostLimits, Loader, LoaderConfig, SourceError};
use std::borrow::Cow;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// A guest that fails on the value 666 in the way its settings say.
pub(super) static FIXTURES: &[u8] = include_bytes!("../../../scoring/plugins/prebuilt/fixtures.wasm");

pub(super) struct Source;

impl ComponentSource for Source {
    fn fetch(&self, digest: &str) -> Result<Option<Cow<'static, [u8]>>, SourceError> {
        if digest == shipped::digest_of(FIXTURES) {
            return Ok(Some(Cow::Borrowed(FIXTURES)));
        }
        Shipped.fetch(digest)
    }
}

pub(super) fn loader() -> Loader {
    static LOADER: OnceLock<Loader> = OnceLock::new();
    let make = || {
        let limits = HostLimits { brake_ticks: u64::MAX / 2, ..HostLimits::default() };
        Loader::new(Arc::new(Source), LoaderConfig { limits, ..LoaderConfig::default() }).expect("a host")
    };
    LOADER.get_or_init(make).clone()
}

fn scored_pipeline() -> Pipeline {
    resolved(serde_json::json!({
        "window": [{"name": "10s", "size": "10s"}, {"name": "trip", "kind": "session", "gap": "8s"}],
        "model": [
            {"name": "ewma", "each": ["temp"], "threshold": 3.0, "sample-every": 7,
             "settings": {"alpha": 0.1, "warm-up-rows": 5, "refractory-rows": 3, "trigger": 3.0}},
            {"name": "fragile", "component": shipped::digest_of(FIXTURES), "each": ["hum"], "threshold": 1e9,
             "settings": {"mode": "panic"}},
        ],
        "filter": [{"metric": "temp", "at-most": 1000.0}],
        "time": {"disorder": "2s", "lateness": "20s", "stalled-after": "45s", "device-retention": "24h"},
    }))
}

fn scoring_world(seed: u64, readings: u64) -> World {
    let mut world = World::new(2);
    world.models = Arc::new(loader());
    world.configure(0, &scored_pipeline());
    history(&world, seed, readings);
    let device = "d1";
    world.json(device, r#"{"device_id":"d1","temp":900,"hum":666,"seq":9000}"#);
    world.json(device, r#"{"device_id":"d1","temp":20,"hum":1,"seq":9001}"#);
    world.json(device, r#"{"device_id":"d1","temp":20,"hum":1,"seq":9001}"#);
    world.end();
    world
}

#[test]
fn batches_of_readings_do_not_change_what_models_say() {
    World::batches_everywhere(|| scoring_world(51, 250));
}

#[test]
fn crashes_do_not_change_what_models_say() {
    World::crash_everywhere(|| scoring_world(52, 60), 20, 2, |_, _| {});
}

#[test]
fn scores_are_summarised_sampled_and_alarmed_and_a_failing_model_costs_no_reading() {
    let world = scoring_world(53, 300);
    world.run_to_end(world.worker("one", &brisk(), true)).expect("it runs");
    world.check().expect("the same bytes");
    let rows = world.aggregates();
    let summaries: Vec<_> =
        rows.iter().flat_map(|row| row.scores.iter().map(move |one| (row, one))).collect();
    assert!(summaries.iter().any(|(row, one)| row.metric == "temp" && one.model == "ewma" && one.count > 0));
    assert!(summaries.iter().all(|(row, one)| (row.metric == "temp") == (one.model == "ewma")));
    let failed: i64 =
        summaries.iter().filter(|(row, _)| row.window == "10s").map(|(_, one)| one.failed).sum();
    assert!(failed >= 1, "the window knows that a row failed");
    let scores: Vec<Score> = decoded(&world, Topic::Scores);
    assert!(!scores.is_empty() && scores.iter().all(|score| score.version.len() == 64));
    let alerts: Vec<Alert> = decoded(&world, Topic::Alerts);
    let over = alerts.iter().find(|alert| alert.kind == AlertKind::Score).expect("an alert");
    assert_eq!(over.model.as_deref(), Some("ewma"));
    assert!(over.score >= over.threshold);
    let letters: Vec<DeadLetter> = decoded(&world, Topic::DeadLetters);
    let failures: Vec<_> = letters.iter().filter(|letter| letter.stage == Stage::Scoring).collect();
    assert_eq!(failures.len(), 1, "{letters:?}");
    assert!(failures[0].detail.contains("fragile"));
    let totals: Vec<_> = world.audits().into_values().map(|audit| audit.totals).collect();
    let all = totals
        .iter()
        .fold((0, 0, 0), |sum, one| (sum.0 + one.scored, sum.1 + one.scoring_failed, sum.2 + one.duplicate));
    assert!(all.0 > 100 && all.1 == 1 && all.2 >= 1, "{all:?}");
    assert!(totals.iter().all(|one| {
        one.received == one.aggregated + one.filtered + one.duplicate + one.late + one.rejected
    }));
    let shown = Letters::new(Arc::new(world.journal.clone()), world.codec.clone());
    let letter = shown.list(Some("scoring"), 10).expect("letters").remove(0);
    let refused = shown.redrive(&[letter.id], None).expect("an answer");
    assert_eq!((refused.redriven.len(), refused.refused[0].reason.as_str()), (0, "scoring"));
}

#[test]
fn an_alert_says_what_was_expected_and_by_which_version() {
    let mut world = World::new(1);
    world.models = Arc::new(loader());
    let model = |name: &str, mode: &str, threshold: f64| {
        serde_json::json!({
            "name": name, "component": shipped::digest_of(FIXTURES), "settings": {"mode": mode}, "each": ["temp"],
            "threshold": threshold,
        })
    };
    let models = [model("bounded", "bounded", 50.0), model("plain", "stateless", 100.0)];
    world.configure(0, &resolved(serde_json::json!({ "model": models })));
    for temp in [10, 60, 20, 100] {
        world.json("d", &format!(r#"{{"device_id":"d","temp":{temp}}}"#));
    }
    world.end();
    world.run_to_end(world.worker("one", &brisk(), true)).expect("it runs");
    world.check().expect("the same bytes");
    let alerts: Vec<Alert> = decoded(&world, Topic::Alerts);
    let told: Vec<_> = alerts
        .iter()
        .map(|alert| (alert.model.as_deref(), alert.value, alert.expected_low, alert.expected_high))
        .collect();
    let expected = [
        (Some("bounded"), Some(60.0), Some(6.0), Some(12.0)),
        (Some("bounded"), Some(100.0), Some(10.0), Some(20.0)),
        (Some("plain"), Some(100.0), None, None),
    ];
    assert_eq!(told, expected);
    let version = alerts[0].version.as_deref().expect("a version");
    let words = format!(
        "`temp` of `d` is 60, expected 6 to 12: score 60.000 by `bounded` {}, threshold 50",
        &version[..12]
    );
    assert_eq!(alerts[0].message, words);
    assert!(
        alerts[2].message.starts_with("`temp` of `d` is 100: score 100.000 by `plain` "),
        "{}",
        alerts[2].message
    );
    assert!(alerts.iter().all(|alert| alert.window.is_none() && alert.feature.is_none()));
}

#[test]
fn an_alert_of_the_shipped_model_says_between_which_values_it_would_have_been_silent() {
    let mut world = World::new(1);
    world.models = Arc::new(loader());
    let settings = serde_json::json!({"warm-up-rows": 20, "trigger": 6.0});
    let model =
        serde_json::json!({ "name": "ewma", "settings": settings, "each": ["temp"], "threshold": 6.0 });
    world.configure(0, &resolved(serde_json::json!({ "model": [model] })));
    for row in 0..40 {
        let temp = if row == 39 { 40.0 } else { 20.0 + f64::from(row % 3) / 7.0 };
        world.json("d", &format!(r#"{{"device_id":"d","temp":{temp}}}"#));
    }
    world.end();
    world.run_to_end(world.worker("one", &brisk(), true)).expect("it runs");
    let alerts: Vec<Alert> = decoded(&world, Topic::Alerts);
    let [alert] = alerts.as_slice() else { panic!("{alerts:?}") };
    let (low, high) = (alert.expected_low.expect("a bound"), alert.expected_high.expect("a bound"));
    assert!((18.0..20.0).contains(&low) && (20.3..22.0).contains(&high), "{low} to {high}");
    let told: Vec<f64> =
        alert.message.split(' ').filter_map(|word| word.trim_end_matches([':', ',']).parse().ok()).collect();
    assert!(told.len() >= 3 && told[0] == 40.0, "{}", alert.message);
    assert!((told[1] - low).abs() < 1e-4 && (told[2] - high).abs() < 1e-4, "{}", alert.message);
    assert!(told[1..3].iter().all(|bound| bound.to_string().len() <= 7), "for people: {}", alert.message);
}

pub(super) fn decoded<T: schemas::contract::Contract>(world: &World, topic: Topic) -> Vec<T> {
    let records = world.journal.topic(topic);
    records.iter().map(|record| world.codec.decode(&record.value).expect("a record of the topic")).collect()
}

#[test]
fn a_partition_waits_for_a_model_that_cannot_be_had() {
    let mut world = World::new(1);
    world.configure(0, &scored_pipeline());
    world.json("d", r#"{"device_id":"d","temp":1}"#);
    let mut worker = world.worker("one", &brisk(), true);
    for _ in 0..20 {
        assert!(!worker.turn().expect("it runs"), "the end cannot be reached");
        world.pass(Duration::from_millis(100));
    }
    let seen = world.view.partition(0).expect("it is owned");
    assert!(
        matches!(&seen.phase, crate::view::PartitionPhase::Blocked { why } if why.contains("ewma")),
        "{:?}",
        seen.phase
    );
    drop(worker);
    world = world.reopened();
    world.models = Arc::new(loader());
    world.run_to_end(world.worker("one", &brisk(), true)).expect("it runs");
    world.check().expect("the same bytes");
}

fn braking_world() -> World {
    let limits = HostLimits { tick: Duration::from_millis(1), brake_ticks: 20, ..HostLimits::default() };
    let mut world = World::new(1);
    let config = LoaderConfig { limits, ..LoaderConfig::default() };
    world.models = Arc::new(Loader::new(Arc::new(Source), config).expect("a host"));
    world.configure(
        0,
        &resolved(serde_json::json!({"model": [
            {"name": "endless", "component": shipped::digest_of(FIXTURES), "each": ["t"], "threshold": 1e9,
             "settings": {"mode": "spin"}, "fuel-per-row": u64::MAX / 4},
        ]})),
    );
    world.json("d", r#"{"device_id":"d","t":1}"#);
    world.json("d", r#"{"device_id":"d","t":666}"#);
    world.end();
    world
}

/// A decision that is not durable yet would be in force for the next owner and not for this one.
#[test]
fn nothing_is_folded_on_before_the_decision_to_skip_is_durable() {
    let world = braking_world();
    let lazy = ProcessorConfig { refold_budget: Duration::from_secs(3_600), ..brisk() };
    let mut worker = world.worker("one", &lazy, true);
    world.journal.hold();
    for _ in 0..60 {
        assert!(!worker.turn().expect("it runs"), "the end cannot be reached");
        world.pass(Duration::from_millis(100));
    }
    let seen = world.view.partition(0).expect("it is owned");
    assert_eq!(seen.brakes, 3, "{:?}", seen.phase);
    world.journal.release();
    world.run(&mut worker).expect("it goes on in the end");
    assert_eq!(world.journal.topic(Topic::Control).len(), 1, "one decision");
    assert_eq!(world.audits()[&0].totals.scoring_failed, 2);
}

#[test]
fn after_three_brakes_the_range_is_kept_from_the_models_by_decision() {
    let world = braking_world();
    let mut worker = world.worker("one", &brisk(), true);
    world.run(&mut worker).expect("it goes on in the end");
    assert_eq!(world.journal.topic(Topic::Control).len(), 1, "the decision");
    let totals = &world.audits()[&0].totals;
    assert_eq!((totals.aggregated, totals.scoring_failed), (2, 2));
    let letters: Vec<DeadLetter> = decoded(&world, Topic::DeadLetters);
    assert_eq!(letters.len(), 2);
    assert!(letters.iter().all(|letter| letter.stage == Stage::Scoring));
    world.check_books().expect("balanced");
    // Whoever folds it again skips the same range.
    let before = world.written();
    let world = World { models: Arc::clone(&world.models), ..world.reopened() };
    let snapshots = journal::port::TopicPartition { topic: Topic::Snapshots, partition: 0 };
    let end = world.journal.reader().expect("a reader").bounds(snapshots).expect("bounds").1;
    world.journal.trim(snapshots, end).expect("there is such a partition");
    world.tick();
    world.run_to_end(world.worker("one", &brisk(), true)).expect("it runs");
    assert_eq!(world.written(), before);
}

#[test]
fn what_a_waiting_record_brings_due_is_committed_with_it_and_not_before() {
    let mut world = World::new(1);
    world.configure(
        0,
        &resolved(
            serde_json::json!({"window": [{"name": "10s", "size": "10s"}], "time": {"stalled-after": "5s"}}),
        ),
    );
    world.json("d", r#"{"device_id":"d","temp":1}"#);
    world.journal.advance(Duration::from_secs(60));
    world.configure(1, &scored_pipeline());
    world.json("d", r#"{"device_id":"d","temp":1}"#);
    world.end();
    let lazy = ProcessorConfig { refold_budget: Duration::from_secs(3_600), ..brisk() };
    let mut worker = world.worker("one", &lazy, true);
    for _ in 0..20 {
        assert!(!worker.turn().expect("it runs"), "the end cannot be reached");
        world.pass(Duration::from_millis(100));
    }
    drop(worker);
    assert!(world.written().is_empty(), "the record that closes the window waits for its model");
    world = world.reopened();
    world.models = Arc::new(loader());
    world.run_to_end(world.worker("one", &lazy, true)).expect("it runs");
    world.check().expect("the same bytes");
    assert_eq!(world.view.incidents(), []);
}

/// A record that evicts a device lets time pass at once, and its own reading waits for its scores all the same.
#[test]
fn batches_do_not_change_the_order_of_what_an_eviction_and_its_record_bring_forth() {
    let mut first = None;
    for records in [1, 2_000] {
        let mut world = World::new(1);
        world.models = Arc::new(loader());
        let raw = serde_json::json!({
            "window": [{"name": "10s", "size": "10s", "early-count": 1}],
            "model": [{"name": "ewma", "each": ["temp"], "threshold": 3.0}],
            "time": {"stalled-after": "45s", "device-retention": "24h", "clock-ahead": "restamp"},
        });
        world.configure(0, &resolved(raw));
        for device in ["a", "b", "c"] {
            world.json(device, &format!(r#"{{"device_id":"{device}","temp":1,"hum":2}}"#));
        }
        world.journal.advance(Duration::from_secs(25 * 3_600));
        let ahead = world.journal.now() + 3_600_000_000;
        world.json("d", &format!(r#"{{"device_id":"d","temp":1,"hum":2,"ts":{ahead}}}"#));
        world.append(0, None, b"nonsense".to_vec());
        world.json("d", r#"{"device_id":"d","temp":1,"hum":2}"#);
        world.end();
        let config = ProcessorConfig { poll_records_max: records, ..brisk() };
        world.run_to_end(world.worker("one", &config, true)).expect("it runs");
        let alerts: Vec<Alert> = decoded(&world, Topic::Alerts);
        let ids: std::collections::BTreeSet<&str> = alerts.iter().map(|alert| alert.id.as_str()).collect();
        assert_eq!(ids.len(), alerts.len(), "{alerts:?}");
        assert_eq!(first.get_or_insert(world.written()), &world.written(), "{records} records a poll");
    }
}

/// What is loaded from a snapshot goes on with its first record as if nothing had been.
#[test]
fn a_snapshot_does_not_change_the_order_of_what_its_first_record_brings_forth() {
    let mut first = None;
    for restarted in [false, true] {
        let mut world = World::new(1);
        world.models = Arc::new(loader());
        let raw = serde_json::json!({
            "window": [{"name": "10s", "size": "10s", "early-count": 1}],
            "model": [{"name": "ewma", "each": ["temp"], "threshold": 3.0}],
        });
        world.configure(0, &resolved(raw));
        for device in ["a", "b", "c"] {
            world.json(device, &format!(r#"{{"device_id":"{device}","temp":1,"hum":2}}"#));
        }
        if restarted {
            world.run_to_end(world.worker("one", &brisk(), true)).expect("it runs");
        }
        world.journal.advance(Duration::from_secs(3_600));
        world.json("d", r#"{"device_id":"d","temp":1,"hum":2}"#);
        world.append(0, None, b"nonsense".to_vec());
        world.json("d", r#"{"device_id":"d","temp":1,"hum":2}"#);
        world.end();
        world.run_to_end(world.worker("one", &brisk(), true)).expect("it runs");
        assert_eq!(first.get_or_insert(world.written()), &world.written(), "restarted: {restarted}");
    }
}

/// Models by name, and by the setting that makes each a version of its own.
fn ewmas(models: &[(&str, f64)]) -> Pipeline {
    let model = |(name, alpha): &(&str, f64)| {
        serde_json::json!({
            "name": name, "component": shipped::find("ewma").expect("it is shipped").digest, "each": ["temp"],
            "threshold": 1e9, "settings": {"alpha": alpha, "warm-up-rows": 0},
        })
    };
    resolved(serde_json::json!({
        "window": [
            {"name": "1h", "size": "1h"},
            {"name": "hop", "kind": "hopping", "size": "1h", "advance": "30m"},
        ],
        "model": models.iter().map(model).collect::<Vec<_>>(),
    }))
}

/// Generations that remove, prepend, reorder and change models while panes are open.
fn changing_world() -> World {
    let mut world = World::new(1);
    world.models = Arc::new(loader());
    let generations: [(&[(&str, f64)], u32); 6] = [
        (&[("x", 0.1), ("y", 0.2)], 3),
        (&[("z", 0.3), ("y", 0.2)], 2),
        (&[("y", 0.2), ("z", 0.3)], 1),
        (&[], 1),
        (&[("y", 0.4)], 5),
        (&[("w", 0.5), ("x", 0.1)], 7),
    ];
    for ((models, readings), generation) in generations.into_iter().zip(0..) {
        world.configure(generation, &ewmas(models));
        for reading in 0..readings {
            world.journal.advance(Duration::from_millis(100));
            world.json("d", &format!(r#"{{"device_id":"d","temp":{reading}}}"#));
        }
    }
    world.end();
    world
}

#[test]
fn open_panes_know_whose_scores_they_hold_whatever_becomes_of_the_configuration() {
    let world = changing_world();
    world.run_to_end(world.worker("one", &brisk(), true)).expect("it runs");
    world.check().expect("the same bytes");
    let rows = world.aggregates();
    let rows: Vec<_> = rows.iter().filter(|row| row.kind == EmissionKind::AtEnd).collect();
    assert!(rows.iter().any(|row| row.window == "1h") && rows.iter().any(|row| row.window == "hop"));
    for row in rows {
        let said: Vec<_> = row.scores.iter().map(|one| (one.model.as_str(), one.count)).collect();
        assert_eq!(row.count, 19);
        assert_eq!(said, [("x", 10), ("y", 6), ("z", 3), ("y", 5), ("w", 7)], "{}", row.window);
    }
}

#[test]
fn neither_crashes_nor_cuts_change_whose_scores_they_are() {
    let mut written = None;
    World::crash_everywhere(changing_world, 2, 3, |world, call| {
        assert_eq!(written.get_or_insert(world.written()), &world.written(), "crash at call {call}");
    });
}

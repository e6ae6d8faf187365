//! Routes: which models score a reading follows from the record and from what is known of its device at that offset,
//! and from nothing else.

use super::scores::{FIXTURES, decoded, loader};
use super::world::{Dice, World, brisk, resolved};
use crate::config::ProcessorConfig;
use schemas::pipeline::Pipeline;
use schemas::record::{Device, EmissionKind, Raw, Score};
use schemas::topic::Topic;
use scoring::shipped;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

const DEVICES: [&str; 4] = ["pump-1", "pump-2", "fan-1", "fan"];

/// Four models of one version, so that their states would be the same but for their routes.
fn pipeline() -> Pipeline {
    let model = |name: &str| {
        serde_json::json!({
            "name": name, "component": shipped::digest_of(FIXTURES), "settings": {"mode": "none"}, "each": ["temp"],
            "threshold": 1e9, "sample-every": 1,
        })
    };
    let with = |mut model: serde_json::Value, key: &str, value: serde_json::Value| {
        model[key] = value;
        model
    };
    let idle = serde_json::json!([{"tag": "state", "none-of": ["idle"]}]);
    let lines = serde_json::json!([{"tag": "line", "any-of": ["a", "b"]}]);
    let strict = serde_json::json!([
        {"tag": "line", "none-of": ["a"], "pass-missing": false}, {"tag": "state", "any-of": ["idle"], "pass-missing": true},
    ]);
    resolved(serde_json::json!({
        "window": [{"name": "10s", "size": "10s"}],
        "model": [
            model("all"),
            with(model("pumps"), "devices", serde_json::json!(["pump-*", "fan"])),
            with(with(model("lines"), "tags", lines), "devices", serde_json::json!(["pump-1", "fan-*"])),
            with(model("awake"), "tags", idle),
            with(model("strict"), "tags", strict),
        ],
    }))
}

/// Which models are to score, by the words of the configuration above.
fn expected(device: &str, tags: &BTreeMap<&str, &str>) -> Vec<&'static str> {
    let (line, state) = (tags.get("line").copied(), tags.get("state").copied());
    let mut models = vec!["all"];
    if device != "fan-1" {
        models.push("pumps");
    }
    if ["pump-1", "fan-1"].contains(&device) && matches!(line, Some("a" | "b")) {
        models.push("lines");
    }
    if state != Some("idle") {
        models.push("awake");
    }
    if line.is_some_and(|line| line != "a") && matches!(state, None | Some("idle")) {
        models.push("strict");
    }
    models
}

/// A history in which readings bring tags and devices change theirs; and how often each model is to have scored each
/// device, with how many readings that device has sent.
fn routed_world(seed: u64, rounds: u64) -> (World, BTreeMap<(String, &'static str), i64>) {
    let mut world = World::new(2);
    world.models = Arc::new(loader());
    world.configure(0, &pipeline());
    let mut dice = Dice(seed);
    let mut known: BTreeMap<&str, BTreeMap<&str, &str>> = BTreeMap::new();
    let mut rows = BTreeMap::new();
    for round in 0..rounds {
        world.journal.advance(Duration::from_millis(dice.roll(900)));
        let device = DEVICES[usize::try_from(dice.roll(4)).unwrap()];
        let pick = |dice: &mut Dice, of: [&'static str; 3]| of[usize::try_from(dice.roll(3)).unwrap()];
        let mut tags = BTreeMap::new();
        match pick(&mut dice, ["", "a", "c"]) {
            "" => {}
            line => drop(tags.insert("line", line)),
        }
        match pick(&mut dice, ["", "idle", "busy"]) {
            "" => {}
            state => drop(tags.insert("state", state)),
        }
        if dice.roll(5) == 0 {
            let deleted = dice.roll(4) == 0;
            known.insert(device, if deleted { BTreeMap::new() } else { tags.clone() });
            let tags = tags.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            let record = Device { device_id: device.to_owned(), deleted, tags, ..Device::default() };
            world.record(device, &Raw::Device(record));
            continue;
        }
        if dice.roll(2) == 0 {
            tags.clear();
        }
        let own: String = tags.iter().map(|(name, value)| format!(r#","{name}":"{value}""#)).collect();
        world.json(device, &format!(r#"{{"device_id":"{device}","temp":{round},"seq":{round}{own}}}"#));
        let mut counted = known.get(device).cloned().unwrap_or_default();
        counted.extend(tags);
        for model in expected(device, &counted) {
            *rows.entry((device.to_owned(), model)).or_default() += 1;
        }
        if dice.roll(30) == 0 {
            world.tick();
        }
    }
    world.end();
    (world, rows)
}

#[test]
fn every_model_scores_exactly_the_readings_that_its_route_takes() {
    let (world, rows) = routed_world(81, 400);
    world.run_to_end(world.worker("one", &brisk(), true)).expect("it runs");
    world.check().expect("the same bytes");
    world.check_books().expect("balanced");
    let mut seen: BTreeMap<(String, String), Vec<(i64, f64)>> = BTreeMap::new();
    for score in decoded::<Score>(&world, Topic::Scores) {
        seen.entry((score.device_id, score.model)).or_default().push((score.source_offset, score.score));
    }
    assert!(rows.values().all(|count| *count > 5), "{rows:?}");
    assert_eq!(seen.len(), rows.len());
    for ((device, model), count) in &rows {
        let scores = &seen[&(device.clone(), (*model).to_owned())];
        // The fixture says how many rows of a series it has seen: what is not for it does not touch its state.
        let counted: Vec<f64> = scores.iter().map(|(_, score)| *score).collect();
        let steps: Vec<f64> = (0..u32::try_from(*count).unwrap()).map(f64::from).collect();
        assert_eq!(counted, steps, "{model} of {device}");
    }
    let mut summed: BTreeMap<(String, String), i64> = BTreeMap::new();
    for row in world.aggregates().iter().filter(|row| row.kind != EmissionKind::Late) {
        for said in &row.scores {
            *summed.entry((row.device_id.clone(), said.model.clone())).or_default() += said.count;
        }
    }
    let told: BTreeMap<(String, String), i64> =
        rows.into_iter().map(|((device, model), count)| ((device, model.to_owned()), count)).collect();
    assert_eq!(summed, told, "window rows speak of the models that scored");
}

#[test]
fn batches_do_not_change_who_scores_what() {
    let mut first = None;
    for records in [1, 7, 2_000] {
        let (world, _) = routed_world(82, 200);
        let config = ProcessorConfig { poll_records_max: records, ..brisk() };
        world.run_to_end(world.worker("one", &config, true)).expect("it runs");
        world.check().unwrap_or_else(|why| panic!("{records} records a poll: {why}"));
        assert_eq!(first.get_or_insert(world.written()), &world.written(), "{records} records a poll");
    }
}

/// A snapshot keeps the states of models apart that are of one version and see different devices.
#[test]
fn crashes_do_not_change_who_scores_what() {
    World::crash_everywhere(|| routed_world(83, 60).0, 20, 2, |_, _| {});
}

/// Routes that change under way: a model goes on with what it knows of the devices that it still sees.
#[test]
fn a_route_changes_at_an_offset_and_keeps_what_the_model_has_learnt() {
    let routed = |devices: Option<serde_json::Value>| {
        let mut model = serde_json::json!({
            "name": "m", "component": shipped::digest_of(FIXTURES), "settings": {"mode": "none"}, "each": ["temp"],
            "threshold": 1e9, "sample-every": 1,
        });
        if let Some(devices) = devices {
            model["devices"] = devices;
        }
        resolved(serde_json::json!({"model": [model]}))
    };
    let mut world = World::new(1);
    world.models = Arc::new(loader());
    let some = |devices: &[&str]| routed(Some(serde_json::json!(devices)));
    let generations = [some(&["a*"]), some(&["a*", "b"]), routed(None), some(&["b"])];
    for (pipeline, generation) in generations.iter().zip(0..) {
        world.configure(generation, pipeline);
        for device in ["a1", "b", "c"] {
            world.json(device, &format!(r#"{{"device_id":"{device}","temp":{generation}}}"#));
        }
    }
    world.end();
    world.run_to_end(world.worker("one", &brisk(), true)).expect("it runs");
    world.check().expect("the same bytes");
    let scores: Vec<(String, f64, Option<f64>)> = decoded::<Score>(&world, Topic::Scores)
        .into_iter()
        .map(|score| (score.device_id, score.score, score.value))
        .collect();
    let told = [
        ("a1", 0.0, 0.0),
        ("a1", 1.0, 1.0),
        ("b", 0.0, 1.0),
        ("a1", 2.0, 2.0),
        ("b", 1.0, 2.0),
        ("c", 0.0, 2.0),
        ("b", 2.0, 3.0),
    ];
    let told: Vec<_> = told.map(|(device, score, value)| (device.to_owned(), score, Some(value))).into();
    assert_eq!(scores, told);
    let devices: BTreeSet<String> = scores.into_iter().map(|(device, ..)| device).collect();
    assert_eq!(devices.len(), 3);
}

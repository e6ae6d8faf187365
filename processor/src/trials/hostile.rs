//! A model that misbehaves costs nobody an aggregate: whatever it does, every row of every window is what it is without
//! the model, but for the model's own summary in it.

use super::scores::{FIXTURES, loader};
use super::world::{World, brisk, history, resolved};
use schemas::record::{Aggregate, DeadLetter, Stage};
use schemas::topic::Topic;
use scoring::shipped;
use std::sync::Arc;

/// What the fixture does when a reading says 666, or always; those that answer badly and those that do not answer.
const MODES: [&str; 20] = [
    "spin",
    "slow",
    "grow",
    "panic",
    "trap",
    "recurse",
    "fault",
    "short-scores",
    "long-scores",
    "short-state",
    "long-state",
    "short-flags",
    "huge-result",
    "endless-list",
    "nan",
    "infinite",
    "out-of-range",
    "flood",
    "leak",
    "skip",
];
/// Readings that make it misbehave, among the others.
const POISONED: usize = 3;

/// The same history, scored by these models.
fn world(models: &serde_json::Value) -> World {
    let mut world = World::new(2);
    world.models = Arc::new(loader());
    world.configure(
        0,
        &resolved(serde_json::json!({
            "window": [{"name": "10s", "size": "10s"}, {"name": "trip", "kind": "session", "gap": "8s"}],
            "model": models,
            "time": {"disorder": "2s", "lateness": "20s", "device-retention": "24h"},
        })),
    );
    for (seed, number) in (70..).zip(0..POISONED) {
        history(&world, seed, 40);
        let device = format!("p{number}");
        for value in [1, 666, 2] {
            world.json(&device, &format!(r#"{{"device_id":"{device}","hum":{value}}}"#));
        }
    }
    world.end();
    world.run_to_end(world.worker("one", &brisk(), true)).expect("it runs");
    world.check_books().expect("balanced");
    world
}

/// All rows, partition by partition in their order, without what models say in them. The write clock counts all
/// outputs of a partition, dead letters too.
fn rows(world: &World) -> Vec<Aggregate> {
    let mut rows = world.aggregates();
    rows.sort_by_key(|row| (world.home(&row.device_id), row.write_clock));
    rows.into_iter().map(|row| Aggregate { scores: Vec::new(), write_clock: 0, ..row }).collect()
}

#[test]
fn aggregates_are_the_same_bytes_whatever_a_model_does() {
    let undisturbed = rows(&world(&serde_json::json!([])));
    assert!(undisturbed.iter().filter(|row| row.window == "10s" && row.metric == "hum").count() > 10);
    for mode in MODES {
        let world = world(&serde_json::json!([
            {"name": "hostile", "component": shipped::digest_of(FIXTURES), "each": ["hum"], "threshold": 1e9,
             "settings": {"mode": mode}, "fuel-per-row": 1_000_000},
        ]));
        let found = rows(&world);
        let different = found.iter().zip(&undisturbed).find(|(found, undisturbed)| found != undisturbed);
        assert_eq!((different, found.len()), (None, undisturbed.len()), "{mode}");
        let letters = world.journal.topic(Topic::DeadLetters);
        let letters: Vec<DeadLetter> =
            letters.iter().map(|record| world.codec.decode(&record.value).expect("a letter")).collect();
        let failures: Vec<_> = letters.iter().filter(|letter| letter.stage == Stage::Scoring).collect();
        let harmless = matches!(mode, "leak" | "skip");
        let expected = if harmless { 0 } else { POISONED };
        assert_eq!(failures.len(), expected, "{mode}: {:?}", failures.first());
        assert!(failures.iter().all(|letter| letter.detail.contains("model `hostile`: ")), "{mode}");
    }
}

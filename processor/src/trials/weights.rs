//! Trained weights beside their component: part of the version, found on the journal by their digest, waited for.

use super::rollouts::{Home, gates};
use super::scores::decoded;
use super::world::{World, brisk, history, resolved};
use crate::components::Components;
use crate::view::PartitionPhase;
use schemas::pipeline::{Pipeline, Version};
use schemas::record::Score;
use schemas::roles::{Deployment, Outcome, Roles};
use schemas::topic::Topic;
use scoring::shipped::{self, Shipped};
use scoring::{ComponentSource, HostLimits, Loader, LoaderConfig, Places, SourceError};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A tree of one question: up to 25 it says one thing, above another.
fn stump(low: f64, high: f64) -> Vec<u8> {
    let node = |feature: u16, right: u32, value: f64| {
        [&feature.to_le_bytes()[..], &[0; 2], &right.to_le_bytes(), &value.to_le_bytes()].concat()
    };
    [
        b"HWTREES1\x00\x00\x01\x00\x01\x00\x00\x00\x03\x00\x00\x00\x00\x00\x00\x00".to_vec(),
        [0.0_f64.to_le_bytes(), 1.0_f64.to_le_bytes()].concat(),
        b"\x04temp\x03\x00\x00\x00".to_vec(),
        [node(0, 2, 25.0), node(u16::MAX, 0, low), node(u16::MAX, 0, high)].concat(),
    ]
    .concat()
}

/// Counts what it is asked for.
struct Counting {
    inner: Box<dyn ComponentSource>,
    asked: Arc<Mutex<BTreeMap<String, u32>>>,
}

impl ComponentSource for Counting {
    fn fetch(&self, digest: &str) -> Result<Option<Cow<'static, [u8]>>, SourceError> {
        *self.asked.lock().expect("nobody panicked").entry(digest.to_owned()).or_default() += 1;
        self.inner.fetch(digest)
    }
}

type Asked = Arc<Mutex<BTreeMap<String, u32>>>;

fn loader(inner: Box<dyn ComponentSource>) -> (Loader, Asked) {
    let asked = Asked::default();
    let source = Counting { inner, asked: Arc::clone(&asked) };
    let limits = HostLimits { brake_ticks: u64::MAX / 2, ..HostLimits::default() };
    let config = LoaderConfig { limits, ..LoaderConfig::default() };
    (Loader::new(Arc::new(source), config).expect("a host"), asked)
}

fn components(world: &World) -> Components {
    Components::new(Arc::new(world.journal.clone()), world.codec.clone())
}

fn pipeline(weights: &[u8]) -> Pipeline {
    resolved(serde_json::json!({
        "window": [{"name": "10s", "size": "10s"}],
        "model": [{"name": "m", "component": "trees", "artifact": shipped::digest_of(weights), "each": ["temp"],
                   "threshold": 1e9, "sample-every": 1}],
        "time": {"disorder": "0s", "lateness": "0s"},
    }))
}

fn version(weights: &[u8]) -> Version {
    pipeline(weights).models.remove(0).version()
}

#[test]
fn new_weights_are_a_version_on_a_component_that_is_there_already() {
    let (before, after) = (stump(1.0, 2.0), stump(3.0, 4.0));
    let mut world = World::new(2);
    let on_journal = components(&world);
    on_journal.put_weights(&before).expect("room");
    let (loader, asked) = loader(Box::new(components(&world)));
    world.models = Arc::new(loader);
    let mut home = Home::of(world, &pipeline(&before));
    home.round(20.0);
    let digest = on_journal.put_weights(&after).expect("room");
    home.rollouts.push("m", &version(&after), &gates()).expect("put on trial");
    for round in 0..60 {
        home.round(20.0 + f64::from(round % 10));
    }
    let status = home.status();
    assert_eq!(status.ended.map(|ended| ended.outcome), Some(Outcome::LetIn));
    assert_eq!(status.active.artifact, Some(digest.clone()));
    let asked = asked.lock().expect("nobody panicked").clone();
    let component = version(&before).component;
    assert_eq!((asked[&component], asked[&digest]), (1, 1), "compiled once, and read once: {asked:?}");
    let world = home.end();
    let scores: Vec<Score> = decoded(&world, Topic::Scores);
    let versions: BTreeSet<&str> = scores.iter().map(|score| score.version.as_str()).collect();
    assert_eq!(versions.len(), 2);
    let said = |score: &Score| {
        let (low, high) = if score.version == status.active.version { (3.0, 4.0) } else { (1.0, 2.0) };
        if score.value <= Some(25.0) { low } else { high }
    };
    assert!(scores.iter().all(|score| score.score == said(score)));
    assert!([1.0, 3.0, 4.0].iter().all(|one| scores.iter().any(|score| score.score == *one)));
}

#[test]
fn a_partition_waits_for_weights_and_goes_on_once_they_are_there() {
    let weights = stump(1.0, 2.0);
    let mut world = World::new(1);
    world.models = Arc::new(loader(Box::new(components(&world))).0);
    world.configure(0, &pipeline(&weights));
    history(&world, 71, 40);
    world.end();
    let mut worker = world.worker("one", &brisk(), true);
    for _ in 0..20 {
        assert!(!worker.turn().expect("it runs"), "the end cannot be reached");
        world.pass(Duration::from_millis(100));
    }
    let seen = world.view.partitions().remove(0);
    let waits = format!("no weights with SHA-256 {}", shipped::digest_of(&weights));
    assert!(matches!(&seen.phase, PartitionPhase::Blocked { why } if why.contains(&waits)), "{seen:?}");
    assert!(world.written().is_empty());
    components(&world).put_weights(&weights).expect("room");
    world.run(&mut worker).expect("it runs");
    world.check().expect("the same bytes");
    assert!(!decoded::<Score>(&world, Topic::Scores).is_empty());
}

/// Weights that changed in the middle of the log.
struct Both([Vec<u8>; 2]);

impl ComponentSource for Both {
    fn fetch(&self, digest: &str) -> Result<Option<Cow<'static, [u8]>>, SourceError> {
        Ok(self
            .0
            .iter()
            .find(|weights| shipped::digest_of(weights) == digest)
            .map(|found| Cow::Owned(found.clone())))
    }
}

#[test]
fn crashes_do_not_change_which_weights_score_a_row() {
    let both = [stump(1.0, 2.0), stump(3.0, 4.0)];
    let (loader, _) = loader(Box::new(Places(vec![Arc::new(Shipped), Arc::new(Both(both.clone()))])));
    let make = || {
        let mut world = World::new(2);
        world.models = Arc::new(loader.clone());
        world.configure(0, &pipeline(&both[0]));
        history(&world, 72, 40);
        let deployment = Deployment { active: Some(version(&both[1])), ..Deployment::default() };
        let roles = Roles { base: None, roles: [("m".to_owned(), deployment)].into() };
        world.configure_roles(1, &pipeline(&both[0]), Some(&roles));
        history(&world, 73, 40);
        world.end();
        world
    };
    World::crash_everywhere(make, 9, 5, |world, call| {
        let scores: Vec<Score> = decoded(world, Topic::Scores);
        let by = |low: f64| scores.iter().filter(|score| score.score == low).count();
        assert!(by(1.0) > 0 && by(3.0) > 0, "crash at call {call}");
    });
}

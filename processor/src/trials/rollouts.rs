//! Versions of models exchanged under running readings: no row is scored twice or by nobody, a bad version goes by
//! itself, and neither crashes nor cuts change a byte.

use super::scores::{FIXTURES, decoded, loader};
use super::world::{World, brisk, history, resolved};
use crate::controller::Controller;
use crate::ops::{ModelStatus, OpsError, Rollouts};
use crate::rollout;
use crate::worker::Worker;
use schemas::pipeline::{Model, Pipeline, Version};
use schemas::record::Shadow;
use schemas::roles::{Deployment, Gates, Outcome, Roles};
use schemas::topic::Topic;
use scoring::shipped;
use std::sync::Arc;
use std::time::Duration;

const DEVICES: usize = 40;

fn pipeline() -> Pipeline {
    resolved(serde_json::json!({
        "window": [{"name": "10s", "size": "10s"}],
        "model": [{"name": "m", "component": shipped::ewma().digest, "each": ["temp"], "threshold": 1e9,
                   "sample-every": 3, "settings": {"alpha": 0.1, "warm-up-rows": 0}}],
        "time": {"disorder": "0s", "lateness": "0s"},
    }))
}

fn base() -> Model {
    pipeline().models.remove(0)
}

fn version(settings: &str) -> Version {
    Version { settings: settings.to_owned(), ..base().version() }
}

fn good() -> Version {
    version(r#"{"alpha": 0.2, "warm-up-rows": 0}"#)
}

/// Fails on the value 666.
fn bad() -> Version {
    Version { component: shipped::digest_of(FIXTURES), ..version(r#"{"mode": "panic"}"#) }
}

pub(super) fn gates() -> Gates {
    Gates {
        canary: vec![10, 50],
        rows: 30,
        shadow: 1_000_000,
        canary_each: 1_000_000,
        bake: 1_000_000,
        alerts_free: 0,
        ..Gates::default()
    }
}

/// A home: a worker and a controller driven by hand, devices that send once a second.
pub(super) struct Home {
    pub(super) world: World,
    controller: Controller,
    worker: Worker,
    pub(super) rollouts: Rollouts,
    rounds: usize,
}

impl Home {
    fn new() -> Self {
        let mut world = World::new(2);
        world.models = Arc::new(loader());
        Self::of(world, &pipeline())
    }

    /// With this pipeline.
    pub(super) fn of(world: World, pipeline: &Pipeline) -> Self {
        let journal = Arc::new(world.journal.clone());
        let controller =
            Controller::new(Arc::clone(&journal) as _, world.codec.clone(), "c", pipeline, false);
        let worker = world.worker("one", &brisk(), false);
        let rollouts = Rollouts::new(journal, world.codec.clone());
        let mut home = Self { world, controller, worker, rollouts, rounds: 0 };
        home.settle();
        home
    }

    fn settle(&mut self) {
        for _ in 0..20 {
            self.controller.turn(Duration::from_micros(100)).expect("it runs");
            self.worker.turn().expect("it runs");
            self.world.pass(Duration::from_millis(30));
        }
    }

    /// A second in which every device sends `temp`.
    pub(super) fn round(&mut self, temp: f64) {
        self.world.journal.advance(Duration::from_secs(1));
        for device in 0..DEVICES {
            let text = format!(r#"{{"device_id":"d{device}","temp":{temp},"seq":{}}}"#, self.rounds);
            self.world.json(&format!("d{device}"), &text);
        }
        self.rounds += 1;
        self.settle();
    }

    pub(super) fn status(&self) -> ModelStatus {
        let in_force = crate::ops::in_force(&self.world.journal, &self.world.codec);
        let in_force = in_force.expect("an answer").expect("decided");
        self.rollouts.status(&in_force).expect("an answer").remove(0)
    }

    fn stage(&self) -> Option<String> {
        self.status().trial.map(|trial| trial.stage)
    }

    /// Stops, and holds everything against the straight fold.
    pub(super) fn end(mut self) -> World {
        self.world.end();
        self.settle();
        self.worker.finish().expect("it ends well");
        self.world.check().expect("the same bytes");
        self.world.check_books().expect("balanced");
        let rows = self.world.aggregates();
        let rows: Vec<_> = rows.iter().filter(|row| row.metric == "temp").collect();
        assert_eq!(
            rows.iter().map(|row| row.count).sum::<i64>(),
            i64::try_from(DEVICES * self.rounds).unwrap()
        );
        for row in rows {
            let scored: i64 = row.scores.iter().map(|one| one.count + one.failed).sum();
            assert_eq!(scored, row.count, "{row:?}");
        }
        self.world
    }
}

#[test]
fn a_good_version_comes_in_by_degrees_and_every_row_is_scored_once() {
    let mut home = Home::new();
    home.round(20.0);
    home.rollouts.push("m", &good(), &gates()).expect("put on trial");
    let mut stages = Vec::new();
    for round in 0..60 {
        home.round(20.0 + f64::from(round % 7));
        let stage = home.stage();
        if stages.last() != Some(&stage) {
            stages.push(stage);
        }
    }
    let named: Vec<&str> = stages.iter().flatten().map(String::as_str).collect();
    assert_eq!(named, ["shadow", "canary 10 %", "canary 50 %", "bake"]);
    assert_eq!(stages.last(), Some(&None));
    let status = home.status();
    assert_eq!(status.active.settings, good().settings);
    assert_eq!(status.ended.as_ref().map(|ended| ended.outcome), Some(Outcome::LetIn));
    assert!(
        matches!(home.rollouts.push("m", &good(), &gates()), Err(OpsError::Refused(_))),
        "it is in force"
    );
    let world = home.end();
    let shadows: Vec<Shadow> = decoded(&world, Topic::Shadow);
    assert!(shadows.len() > 100 && shadows.iter().all(|shadow| shadow.served_score.is_some()));
    assert_eq!(world.audits().values().map(|audit| audit.totals.scoring_failed).sum::<i64>(), 0);
}

#[test]
fn a_bad_version_is_taken_back_by_itself_and_has_cost_nothing() {
    let mut home = Home::new();
    home.round(20.0);
    home.rollouts.push("m", &bad(), &gates()).expect("put on trial");
    home.round(20.0);
    assert_eq!(home.stage().as_deref(), Some("shadow"));
    home.round(666.0);
    home.round(21.0);
    let status = home.status();
    assert_eq!((status.trial.is_none(), status.active.settings), (true, base().settings));
    let ended = status.ended.expect("it has ended");
    assert_eq!(ended.outcome, Outcome::RolledBack);
    assert!(
        ended.why.starts_with("gate failed-max: it failed on 40 rows, the other version on 0"),
        "{}",
        ended.why
    );
    // The same version again is counted anew.
    home.rollouts.push("m", &bad(), &gates()).expect("put on trial");
    home.round(20.0);
    assert_eq!(home.stage().as_deref(), Some("shadow"));
    let world = home.end();
    assert_eq!(world.audits().values().map(|audit| audit.totals.scoring_failed).sum::<i64>(), 0);
}

#[test]
fn by_hand_a_version_is_let_in_and_taken_back() {
    let mut home = Home::new();
    let patient = Gates { shadow: 1 << 50, bake: 1 << 50, ..gates() };
    assert!(matches!(home.rollouts.roll_back("m", "why"), Err(OpsError::NotFound(_))));
    assert!(
        matches!(home.rollouts.push("n", &good(), &patient), Err(OpsError::NotFound(why)) if why.contains("`n`"))
    );
    home.rollouts.push("m", &good(), &patient).expect("put on trial");
    assert!(matches!(home.rollouts.push("m", &bad(), &patient), Err(OpsError::Refused(_))), "one at a time");
    home.settle();
    let refused = home.rollouts.activate("m", false).expect_err("nothing is known yet");
    assert!(
        refused.to_string().contains("30 rows that both versions have scored past their warm-up, 0 so far"),
        "{refused}"
    );
    home.round(20.0);
    home.rollouts.activate("m", false).expect("its gates are kept, whatever the time");
    home.settle();
    assert_eq!((home.stage().as_deref(), home.status().active.settings), (Some("bake"), good().settings));
    home.round(20.0);
    home.rollouts.roll_back("m", "it smells").expect("taken back");
    home.settle();
    let status = home.status();
    assert_eq!((status.active.settings, status.trial), (base().settings, None));
    assert_eq!(status.ended.expect("it has ended").why, "it smells");
    home.rollouts.push("m", &bad(), &patient).expect("put on trial");
    home.rollouts.activate("m", true).expect("by force");
    home.round(20.0);
    assert_eq!(home.status().active.component, bad().component);
    home.end();
}

#[test]
fn a_file_that_says_the_same_of_a_model_leaves_its_trial_alone() {
    let mut home = Home::new();
    home.rollouts.push("m", &good(), &gates()).expect("put on trial");
    home.settle();
    let mut other = pipeline();
    other.windows[0].name = "ten".to_owned();
    crate::ops::propose(&home.world.journal, &home.world.codec, &other).expect("proposed");
    home.settle();
    assert_eq!(home.stage().as_deref(), Some("shadow"));
    other.models[0].threshold = 3.0;
    crate::ops::propose(&home.world.journal, &home.world.codec, &other).expect("proposed");
    home.settle();
    assert_eq!(home.stage(), None, "the file has the last word");
}

/// Readings with a decision about the roles between them at every stage.
fn changing_world() -> World {
    let mut world = World::new(2);
    world.models = Arc::new(loader());
    let begun = rollout::begun(&Deployment::default(), good(), gates(), 0);
    let (mut deployment, mut generation) = (begun, 0);
    world.configure(0, &pipeline());
    history(&world, 61, 40);
    while deployment.trial.is_some() {
        generation += 1;
        let roles = Roles { base: None, roles: [("m".to_owned(), deployment.clone())].into() };
        world.configure_roles(generation, &pipeline(), Some(&roles));
        history(&world, 61 + u64::try_from(generation).unwrap(), 40);
        deployment = rollout::forward(&base(), &deployment, 0);
    }
    world.end();
    world
}

#[test]
fn neither_crashes_nor_cuts_change_a_byte_of_a_rollout() {
    let mut written = None;
    World::crash_everywhere(changing_world, 9, 5, |world, call| {
        assert!(!world.journal.topic(Topic::Shadow).is_empty());
        assert_eq!(written.get_or_insert(world.written()), &world.written(), "crash at call {call}");
    });
}

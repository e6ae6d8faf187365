//! Which version of a model is in force, which is on trial beside it, and how far it has come.
//!
//! Roles are decided on `iot.control` beside the configuration (`models` of a control record, with the whole
//! configuration), and laid over it before it is put in force. So a change of roles happens at an offset of every
//! partition, and a re-fold makes it there again.
//!
//! Does not live here: when the next step is taken (`processor::rollout`), and what a step does to a partition.

use crate::Micros;
use crate::pipeline::{Model, Pipeline, Stage, Trial, Version};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// All roles, as they stand in `models` of a decision.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Roles {
    /// The generation this was decided upon. If another decision came in between, this one is void: whoever decided
    /// looks again. Absent: it holds whatever came before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<i64>,
    /// By the model's public name; models that are not named have the version of the configuration.
    pub roles: BTreeMap<String, Deployment>,
}

/// The versions of one model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deployment {
    /// The version in force; absent: the configuration's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active: Option<Version>,
    /// A version beside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trial: Option<OnTrial>,
    /// How the last trial ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Ended>,
}

/// A version beside the one in force.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OnTrial {
    /// Which.
    pub version: Version,
    /// How far it has come.
    pub stage: Stage,
    /// When it came there: microseconds since the epoch by the journal's clock.
    pub since: Micros,
    /// What it must keep to go on.
    pub gates: Gates,
}

/// What a version on trial must keep. Counts are of the stage it is in, over all partitions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Gates {
    /// Stages with a share of the devices, in percent, ascending.
    pub canary: Vec<u8>,
    /// Least rows that both versions have scored, in each stage.
    pub rows: u64,
    /// Least time in the shadow, microseconds.
    pub shadow: Micros,
    /// Least time with each share of the devices, microseconds.
    pub canary_each: Micros,
    /// How long the version before stays at hand after the change, microseconds.
    pub bake: Micros,
    /// Most rows the version may fail on.
    pub failed_max: u64,
    /// Most alerts for each one that the other version raises.
    pub alert_ratio_max: f64,
    /// Alerts that are no matter, whatever the ratio: a few rows say nothing.
    pub alerts_free: u64,
    /// Most fuel for each unit that the other version uses.
    pub fuel_ratio_max: f64,
    /// Least rank correlation of both versions' scores in the shadow, -1 to 1; absent: they need not agree.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rank_correlation_min: Option<f64>,
}

impl Default for Gates {
    fn default() -> Self {
        Self {
            canary: vec![1, 10, 50],
            rows: 10_000,
            shadow: 600_000_000,
            canary_each: 600_000_000,
            bake: 3_600_000_000,
            failed_max: 0,
            alert_ratio_max: 2.0,
            alerts_free: 20,
            fuel_ratio_max: 10.0,
            rank_correlation_min: None,
        }
    }
}

/// How a trial ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ended {
    /// The version that was on trial.
    pub version: Version,
    /// What became of it.
    pub outcome: Outcome,
    /// Why, in words: the gate and by how much, or who asked.
    pub why: String,
    /// Where it stood.
    pub stage: Stage,
    /// When: microseconds since the epoch by the journal's clock.
    pub at: Micros,
}

/// What became of a version on trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It is in force, and the one before is gone.
    LetIn,
    /// It was taken back.
    RolledBack,
}

impl Roles {
    /// The configuration with these roles laid over it. Names that it does not have are left out.
    #[must_use]
    pub fn over(&self, mut pipeline: Pipeline) -> Pipeline {
        for model in &mut pipeline.models {
            if let Some(deployment) = self.roles.get(&model.name) {
                deployment.lay_over(model);
            }
        }
        pipeline
    }

    /// What is left of the roles when the configuration changes: those of models that it says the same of.
    #[must_use]
    pub fn kept(&self, before: &Pipeline, after: &Pipeline) -> Self {
        let same = |name: &String| {
            let find =
                |pipeline: &Pipeline| pipeline.models.iter().find(|model| model.name == *name).cloned();
            let (old, new) = (find(before), find(after));
            matches!((old, new), (Some(old), Some(new)) if old.version() == new.version()
                && old.inputs == new.inputs && old.route == new.route)
        };
        let roles = self.roles.iter().filter(|(name, _)| same(name));
        Self {
            base: None,
            roles: roles.map(|(name, deployment)| (name.clone(), deployment.clone())).collect(),
        }
    }
}

impl Deployment {
    fn lay_over(&self, model: &mut Model) {
        if let Some(active) = &self.active {
            model.set_version(active.clone());
        }
        model.trial =
            self.trial.as_ref().map(|trial| Trial { version: trial.version.clone(), stage: trial.stage });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::{ClockAhead, Inputs, Limits, Metrics, Route, TimeRules};

    fn version(component: &str) -> Version {
        Version {
            component: component.to_owned(),
            artifact: None,
            settings: "{}".to_owned(),
            seed: 0,
            threshold: 5.0,
            fuel_per_row: 1,
        }
    }

    fn model(name: &str) -> Model {
        let Version { component, artifact, settings, seed, threshold, fuel_per_row } = version("a");
        Model {
            name: name.to_owned(),
            component,
            artifact,
            settings,
            seed,
            inputs: Inputs::Each(vec!["t".to_owned()]),
            route: Route::default(),
            threshold,
            sample_every: 100,
            fuel_per_row,
            trial: None,
        }
    }

    fn pipeline(models: Vec<Model>) -> Pipeline {
        let time = TimeRules {
            disorder: 0,
            quiet_after: None,
            lateness: 0,
            settle: None,
            max_ahead: 1,
            clock_ahead: ClockAhead::Reject,
            idle_retention: 1,
            device_retention: 1,
        };
        let limits = Limits { devices_max: 1, panes_max: 1, backfill_panes_max: 1 };
        Pipeline {
            windows: Vec::new(),
            metrics: Metrics::Named(vec!["t".to_owned()]),
            time,
            filters: Vec::new(),
            models,
            limits,
            bare_json: true,
            drop_repeats: false,
            stalled_after: None,
        }
    }

    fn roles() -> Roles {
        let trial =
            OnTrial { version: version("c"), stage: Stage::Canary(10), since: 5, gates: Gates::default() };
        let deployment = Deployment { active: Some(version("b")), trial: Some(trial), ended: None };
        Roles { base: Some(3), roles: [("m".to_owned(), deployment)].into() }
    }

    #[test]
    fn roles_are_laid_over_the_configuration() {
        let over = roles().over(pipeline(vec![model("other"), model("m")]));
        assert_eq!(over.models[0], model("other"));
        assert_eq!(over.models[1].version(), version("b"));
        assert_eq!(over.models[1].trial, Some(Trial { version: version("c"), stage: Stage::Canary(10) }));
        let text = serde_json::to_string(&over).unwrap();
        assert_eq!(serde_json::from_str::<Pipeline>(&text).unwrap(), over);
        assert!(!text.contains("artifact"), "what has no weights reads as it always did");
        assert_eq!(Roles::default().over(pipeline(vec![model("m")])).models[0], model("m"));
    }

    #[test]
    fn weights_go_with_the_version() {
        let with = Version { artifact: Some("w".to_owned()), ..version("b") };
        let mut roles = roles();
        roles
            .roles
            .insert("m".to_owned(), Deployment { active: Some(with.clone()), ..Deployment::default() });
        let over = roles.over(pipeline(vec![model("m")]));
        assert_eq!((over.models[0].artifact.as_deref(), over.models[0].version()), (Some("w"), with));
        let text = serde_json::to_string(&over).unwrap();
        assert_eq!(serde_json::from_str::<Pipeline>(&text).unwrap(), over);
        let before = pipeline(vec![model("m")]);
        assert_eq!(roles.kept(&before, &over), Roles::default(), "other weights are another model");
    }

    #[test]
    fn a_file_that_says_something_else_of_a_model_has_the_last_word() {
        let before = pipeline(vec![model("m"), model("n")]);
        let mut after = before.clone();
        after.windows.clear();
        assert_eq!(roles().kept(&before, &after).roles, roles().roles);
        after.models[0].threshold = 6.0;
        assert_eq!(roles().kept(&before, &after), Roles::default());
        assert_eq!(roles().kept(&before, &pipeline(Vec::new())), Roles::default());
        let mut rerouted = before.clone();
        rerouted.models[0].route.devices = vec!["pump-*".to_owned()];
        assert_eq!(roles().kept(&before, &rerouted), Roles::default());
    }

    #[test]
    fn their_text_is_read_again_and_unknown_words_are_refused() {
        let text = serde_json::to_string(&roles()).unwrap();
        assert_eq!(serde_json::from_str::<Roles>(&text).unwrap(), roles());
        assert!(serde_json::from_str::<Roles>(r#"{"roles": {}, "more": 1}"#).is_err());
        assert!(serde_json::from_str::<Roles>(r#"{"partition": 3}"#).is_err());
    }
}

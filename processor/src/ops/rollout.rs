//! Versions of models: putting one on trial, letting it in by hand, taking it back, and how far trials have come.
//!
//! Everything is a decision about roles upon the one in force; who was quicker wins, the other one looks again.

use super::{InForce, OpsError, decisions};
use crate::controller::{self, Latest, Watching};
use crate::rollout::{self, Judgement, Sums};
use journal::port::Journal;
use schemas::Micros;
use schemas::codec::Codec;
use schemas::pipeline::{Model, Stage, Version};
use schemas::roles::{Deployment, Ended, Gates, OnTrial, Roles};
use serde::Serialize;
use std::sync::Arc;

/// A model and its versions.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ModelStatus {
    /// Public name.
    pub name: String,
    /// The version in force.
    pub active: VersionStatus,
    /// The version beside it.
    pub trial: Option<TrialStatus>,
    /// How the last trial ended.
    pub ended: Option<EndedStatus>,
}

/// A version as people name it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct VersionStatus {
    /// Its digest, hexadecimal: component, weights, settings and seed.
    pub version: String,
    /// Digest of its component.
    pub component: String,
    /// Digest of its trained weights.
    pub artifact: Option<String>,
    /// Its settings, JSON as text.
    pub settings: String,
    /// Scores at or above it are alerts.
    pub threshold: f64,
}

/// A trial and how far it has come.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TrialStatus {
    /// The version on trial; in the stage `bake` it is the one before.
    #[serde(flatten)]
    pub version: VersionStatus,
    /// Stage, as text.
    pub stage: String,
    /// When it came there.
    #[serde(serialize_with = "super::rfc3339")]
    pub since: Micros,
    /// Rows that both have scored in this stage.
    pub compared: i64,
    /// Alerts of the version in force among them.
    pub alerts_active: i64,
    /// Alerts of the version on trial among them.
    pub alerts_trial: i64,
    /// Rows that the version in force failed on.
    pub failed_active: i64,
    /// Rows that the version on trial failed on.
    pub failed_trial: i64,
    /// Fuel of the version on trial for each unit of the one in force.
    pub fuel_ratio: Option<f64>,
    /// What the next step waits for; empty: it is due.
    pub waits_for: Vec<String>,
    /// The gate that is broken.
    pub broken: Option<String>,
}

/// A trial that is over.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EndedStatus {
    /// The version that went.
    #[serde(flatten)]
    pub version: VersionStatus,
    /// `let-in` or `rolled-back`.
    pub outcome: schemas::roles::Outcome,
    /// Why.
    pub why: String,
    /// Where it stood.
    pub stage: String,
    /// When.
    #[serde(serialize_with = "super::rfc3339")]
    pub at: Micros,
}

/// Trials over one journal.
pub struct Rollouts {
    journal: Arc<dyn Journal>,
    codec: Codec,
}

impl std::fmt::Debug for Rollouts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rollouts").finish_non_exhaustive()
    }
}

/// The roles of a model after a change: upon the latest decision, of the model as the configuration says it, from its
/// roles before, now.
type Change<'c> = dyn Fn(&Latest, &Model, &Deployment, Micros) -> Result<Deployment, OpsError> + 'c;

impl Rollouts {
    /// Of this journal.
    #[must_use]
    pub const fn new(journal: Arc<dyn Journal>, codec: Codec) -> Self {
        Self { journal, codec }
    }

    /// A model with the version that is in force.
    ///
    /// # Errors
    /// [`OpsError::NotFound`] when no model is called so.
    pub fn model(&self, name: &str) -> Result<Model, OpsError> {
        let latest = controller::latest(&mut *self.journal.reader()?, &self.codec)?;
        let latest = latest.ok_or_else(undecided)?;
        let mut model = base(&latest, name)?;
        let deployment = latest.roles().roles.remove(name).unwrap_or_default();
        model.set_version(rollout::active(&model, &deployment));
        Ok(model)
    }

    /// Puts a version on trial; returns the generation.
    ///
    /// # Errors
    /// [`OpsError::NotFound`] when no model is called so; [`OpsError::Refused`] when the version is in force already, or
    /// another one is on trial.
    pub fn push(&self, name: &str, version: &Version, gates: &Gates) -> Result<i64, OpsError> {
        self.change(name, &|_, model, deployment, now| {
            if let Some(trial) = &deployment.trial {
                let (trial, stage) = (digest(model, &trial.version), trial.stage);
                return Err(OpsError::Refused(format!(
                    "`{name}` has a version on trial already ({trial}, {stage}): take it back (`model rollback`) or let it in (`model activate`) first"
                )));
            }
            if digest(model, version) == digest(model, &rollout::active(model, deployment)) {
                return Err(OpsError::Refused(format!(
                    "`{name}` has that version already: component, weights, settings and seed are the same"
                )));
            }
            Ok(rollout::begun(deployment, version.clone(), gates.clone(), now))
        })
    }

    /// Lets the version on trial in at once; without `force` only if its gates are kept so far, whatever the time.
    ///
    /// # Errors
    /// [`OpsError::NotFound`] when nothing is on trial; [`OpsError::Refused`] when it is in already, or a gate speaks
    /// against it.
    pub fn activate(&self, name: &str, force: bool) -> Result<i64, OpsError> {
        self.change(name, &|latest, model, deployment, now| {
            let trial = deployment.trial.as_ref().ok_or_else(|| nothing(name))?;
            if trial.stage == Stage::Bake {
                return Err(OpsError::Refused(format!("`{name}`: the newer version is in force already")));
            }
            if !force {
                let watching = self.watched(&latest.roles())?;
                let sums = sums(latest.generation, model, deployment, &watching);
                let objection = match rollout::judge(trial.stage, &trial.gates, &sums, Micros::MAX / 2) {
                    Judgement::Broken(gate) => Some(gate),
                    Judgement::Wait(missing) => Some(format!("it still needs {}", missing.join(", "))),
                    Judgement::Kept => None,
                };
                if let Some(why) = objection {
                    return Err(OpsError::Refused(format!(
                        "`{name}`: {why} (--force lets it in all the same)"
                    )));
                }
            }
            Ok(rollout::activated(model, deployment, now))
        })
    }

    /// Takes the newer version back, on trial or just let in.
    ///
    /// # Errors
    /// [`OpsError::NotFound`] when there is nothing to take back.
    pub fn roll_back(&self, name: &str, why: &str) -> Result<i64, OpsError> {
        self.change(name, &|_, model, deployment, now| {
            deployment.trial.as_ref().ok_or_else(|| nothing(name))?;
            Ok(rollout::taken_back(model, deployment, why, now))
        })
    }

    /// Every model of a configuration in force.
    ///
    /// # Errors
    /// When the journal does not answer.
    pub fn status(&self, in_force: &InForce) -> Result<Vec<ModelStatus>, OpsError> {
        let (watching, now) = (self.watched(&in_force.roles)?, self.journal.now());
        let statuses = in_force.pipeline.models.iter().map(|model| {
            let deployment = in_force.roles.roles.get(&model.name).cloned().unwrap_or_default();
            let sums = sums(in_force.generation, model, &deployment, &watching);
            ModelStatus {
                name: model.name.clone(),
                active: shown(model, &rollout::active(model, &deployment)),
                trial: deployment.trial.as_ref().map(|trial| trial_status(model, trial, &sums, now)),
                ended: deployment.ended.as_ref().map(|ended| ended_status(model, ended)),
            }
        });
        Ok(statuses.collect())
    }

    /// What versions on trial have done.
    fn watched(&self, roles: &Roles) -> Result<Watching, OpsError> {
        let mut watching = Watching::new(Arc::clone(&self.journal), self.codec.clone());
        watching.look(roles)?;
        Ok(watching)
    }

    /// Decides on the roles of one model; again, if another decision came in between.
    fn change(&self, name: &str, with: &Change<'_>) -> Result<i64, OpsError> {
        decisions::decided(&*self.journal, &self.codec, &|latest| {
            let latest = latest.ok_or_else(undecided)?;
            let model = base(latest, name)?;
            let mut roles: Roles = latest.roles();
            let before = roles.roles.remove(name).unwrap_or_default();
            let after = with(latest, &model, &before, self.journal.now())?;
            roles.roles.insert(name.to_owned(), after);
            Ok(controller::roles_decision(latest, None, roles))
        })
    }
}

fn undecided() -> OpsError {
    OpsError::Unavailable("no configuration is in force yet".to_owned())
}

fn nothing(name: &str) -> OpsError {
    OpsError::NotFound(format!("no version of `{name}` is on trial"))
}

fn base(latest: &Latest, name: &str) -> Result<Model, OpsError> {
    let models = latest.pipeline().map(|pipeline| pipeline.models).unwrap_or_default();
    let names: Vec<&str> = models.iter().map(|model| model.name.as_str()).collect();
    models.iter().find(|model| model.name == name).cloned().ok_or_else(|| {
        OpsError::NotFound(format!(
            "no model of the configuration is called `{name}`; there are: {}",
            if names.is_empty() { "none".to_owned() } else { names.join(", ") }
        ))
    })
}

fn digest(model: &Model, version: &Version) -> String {
    let mut model = model.clone();
    model.set_version(version.clone());
    scoring::version_of(&model).unwrap_or_default()
}

fn sums(generation: i64, model: &Model, deployment: &Deployment, watching: &Watching) -> Sums {
    let trial = controller::trial_of(model, deployment);
    trial.map_or_else(Sums::default, |trial| watching.sums(&trial, generation))
}

fn shown(model: &Model, version: &Version) -> VersionStatus {
    VersionStatus {
        version: digest(model, version),
        component: version.component.clone(),
        artifact: version.artifact.clone(),
        settings: version.settings.clone(),
        threshold: version.threshold,
    }
}

#[expect(clippy::cast_precision_loss, reason = "a ratio for people")]
fn trial_status(model: &Model, trial: &OnTrial, sums: &Sums, now: Micros) -> TrialStatus {
    let elapsed = now.saturating_sub(trial.since);
    let (waits_for, broken) = match rollout::judge(trial.stage, &trial.gates, sums, elapsed) {
        Judgement::Broken(gate) => (Vec::new(), Some(gate)),
        Judgement::Wait(missing) => (missing, None),
        Judgement::Kept => (Vec::new(), None),
    };
    TrialStatus {
        version: shown(model, &trial.version),
        stage: trial.stage.to_string(),
        since: trial.since,
        compared: sums.compared,
        alerts_active: sums.active.alerts,
        alerts_trial: sums.trial.alerts,
        failed_active: sums.active.failed,
        failed_trial: sums.trial.failed,
        fuel_ratio: (sums.active.fuel > 0).then(|| sums.trial.fuel as f64 / sums.active.fuel as f64),
        waits_for,
        broken,
    }
}

fn ended_status(model: &Model, ended: &Ended) -> EndedStatus {
    EndedStatus {
        version: shown(model, &ended.version),
        outcome: ended.outcome,
        why: ended.why.clone(),
        stage: ended.stage.to_string(),
        at: ended.at,
    }
}

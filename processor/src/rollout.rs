//! When a version on trial goes on, and when it is taken back.
//!
//! Lives here: the decision, as a pure function of roles, counts and time. Who makes it is `controller`, who else may
//! is `ops::rollout`; what a role does to a partition is in `step`.
//!
//! Invariants:
//! * Every step is a decision about roles, in force from its offset on.
//! * A gate that is broken ends the trial: a version that has misbehaved is not tried again by itself.
//! * Counts are of the stage the trial is in; a partition that has not reached it yet adds nothing.

mod gates;
mod ranks;

pub use gates::{Judgement, Side, Sums, judge};
pub use ranks::{Pairs, rank_correlation};

use schemas::Micros;
use schemas::pipeline::{Model, Stage, Version};
use schemas::roles::{Deployment, Ended, Gates, OnTrial, Outcome};

/// What comes next.
#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    /// There is no trial.
    Nothing,
    /// Nothing changes yet: what is waited for, in words.
    Wait(Vec<String>),
    /// The roles change, for this reason.
    Step(Box<Deployment>, String),
}

/// The next step of a model's trial. `base` is the model as the configuration says it.
#[must_use]
pub fn next(base: &Model, deployment: &Deployment, sums: &Sums, now: Micros) -> Next {
    let Some(trial) = &deployment.trial else { return Next::Nothing };
    match judge(trial.stage, &trial.gates, sums, now.saturating_sub(trial.since)) {
        Judgement::Wait(missing) => Next::Wait(missing),
        Judgement::Broken(gate) => Next::Step(Box::new(taken_back(base, deployment, &gate, now)), gate),
        Judgement::Kept => {
            let why = format!("its gates were kept in {}", trial.stage);
            Next::Step(Box::new(forward(base, deployment, now)), why)
        }
    }
}

/// A version put on trial beside the one in force.
#[must_use]
pub fn begun(deployment: &Deployment, version: Version, gates: Gates, now: Micros) -> Deployment {
    let trial = OnTrial { version, stage: Stage::Shadow, since: now, gates };
    Deployment { trial: Some(trial), ..deployment.clone() }
}

/// The stage after the one the trial is in; the last one ends it.
#[must_use]
pub fn forward(base: &Model, deployment: &Deployment, now: Micros) -> Deployment {
    let Some(trial) = &deployment.trial else { return deployment.clone() };
    let moved = |stage| Deployment {
        trial: Some(OnTrial { stage, since: now, ..trial.clone() }),
        ..deployment.clone()
    };
    match trial.stage {
        Stage::Bake => {
            let why = "nothing spoke against it".to_owned();
            let version = active(base, deployment);
            Deployment {
                active: deployment.active.clone(),
                trial: None,
                ended: Some(Ended { version, outcome: Outcome::LetIn, why, stage: trial.stage, at: now }),
            }
        }
        Stage::Shadow | Stage::Canary(_) => {
            let share = |stage| if let Stage::Canary(percent) = stage { percent } else { 0 };
            match trial.gates.canary.iter().find(|percent| **percent > share(trial.stage)) {
                Some(percent) => moved(Stage::Canary(*percent)),
                None => activated(base, deployment, now),
            }
        }
    }
}

/// The version on trial in force, the one before beside it.
#[must_use]
pub fn activated(base: &Model, deployment: &Deployment, now: Micros) -> Deployment {
    let Some(trial) = &deployment.trial else { return deployment.clone() };
    let before = OnTrial {
        version: active(base, deployment),
        stage: Stage::Bake,
        since: now,
        gates: trial.gates.clone(),
    };
    Deployment { active: Some(trial.version.clone()), trial: Some(before), ended: deployment.ended.clone() }
}

/// The newer version gone; what was in force before the trial is.
#[must_use]
pub fn taken_back(base: &Model, deployment: &Deployment, why: &str, now: Micros) -> Deployment {
    let Some(trial) = &deployment.trial else { return deployment.clone() };
    let (goes, stays) = match trial.stage {
        Stage::Bake => (active(base, deployment), Some(trial.version.clone())),
        Stage::Shadow | Stage::Canary(_) => (trial.version.clone(), deployment.active.clone()),
    };
    let ended = Ended {
        version: goes,
        outcome: Outcome::RolledBack,
        why: why.to_owned(),
        stage: trial.stage,
        at: now,
    };
    // What the configuration says needs no role.
    let stays = stays.filter(|version| *version != base.version());
    Deployment { active: stays, trial: None, ended: Some(ended) }
}

/// The version in force.
#[must_use]
pub fn active(base: &Model, deployment: &Deployment) -> Version {
    deployment.active.clone().unwrap_or_else(|| base.version())
}

#[cfg(test)]
mod tests;

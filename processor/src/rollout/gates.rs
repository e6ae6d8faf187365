//! Gates: what a version on trial must keep, held against what was counted.

use super::ranks::PAIRS_MIN;
use schemas::Micros;
use schemas::pipeline::Stage;
use schemas::record::TrialCounts;
use schemas::roles::Gates;

/// Counts of one trial over all partitions.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sums {
    /// Rows given to both versions.
    pub rows: i64,
    /// Rows that both have scored, neither while warming up.
    pub compared: i64,
    /// By the version in force.
    pub active: Side,
    /// By the version on trial.
    pub trial: Side,
    /// Rank correlation of their scores in the sample, and how many pairs it is of; none: too few.
    pub correlation: Option<(f64, usize)>,
}

/// What one version has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Side {
    /// Rows it failed on.
    pub failed: i64,
    /// Scores over its threshold.
    pub alerts: i64,
    /// Fuel.
    pub fuel: i64,
}

impl Sums {
    /// Adds a partition's.
    pub fn add(&mut self, counts: &TrialCounts) {
        self.rows += counts.rows;
        self.compared += counts.compared;
        self.active.failed += counts.failed_active;
        self.active.alerts += counts.alerts_active;
        self.active.fuel += counts.fuel_active;
        self.trial.failed += counts.failed_trial;
        self.trial.alerts += counts.alerts_trial;
        self.trial.fuel += counts.fuel_trial;
    }
}

/// Whether a trial may go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// A gate is broken: which, and by how much.
    Broken(String),
    /// Not yet: what is missing.
    Wait(Vec<String>),
    /// Every gate was kept long enough.
    Kept,
}

/// Holds the counts of a stage, `elapsed` microseconds long, against the gates.
#[must_use]
pub fn judge(stage: Stage, gates: &Gates, sums: &Sums, elapsed: Micros) -> Judgement {
    // After the change the newer version is the one in force.
    let (new, old) = match stage {
        Stage::Bake => (sums.active, sums.trial),
        Stage::Shadow | Stage::Canary(_) => (sums.trial, sums.active),
    };
    let enough = sums.compared >= i64::try_from(gates.rows).unwrap_or(i64::MAX);
    if let Some(gate) = broken(stage, gates, sums, new, old, enough) {
        return Judgement::Broken(gate);
    }
    let mut missing = Vec::new();
    if !enough {
        missing.push(format!(
            "{} rows that both versions have scored past their warm-up, {} so far",
            gates.rows, sums.compared
        ));
    }
    if stage == Stage::Shadow && gates.rank_correlation_min.is_some() && sums.correlation.is_none() {
        missing.push(format!("{PAIRS_MIN} sampled rows with the scores of both"));
    }
    let needed = match stage {
        Stage::Shadow => gates.shadow,
        Stage::Canary(_) => gates.canary_each,
        Stage::Bake => gates.bake,
    };
    if elapsed < needed {
        missing.push(format!("{} s more", (needed - elapsed).div_euclid(1_000_000) + 1));
    }
    if missing.is_empty() { Judgement::Kept } else { Judgement::Wait(missing) }
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53, and this is a ratio")]
fn broken(stage: Stage, gates: &Gates, sums: &Sums, new: Side, old: Side, enough: bool) -> Option<String> {
    let failed_max = old.failed.saturating_add(i64::try_from(gates.failed_max).unwrap_or(i64::MAX));
    if new.failed > failed_max {
        return Some(format!(
            "gate failed-max: it failed on {} rows, the other version on {}; {} more are allowed",
            new.failed, old.failed, gates.failed_max
        ));
    }
    let alerts_max = gates.alerts_free as f64 + gates.alert_ratio_max * old.alerts as f64;
    if new.alerts as f64 > alerts_max {
        return Some(format!(
            "gate alert-ratio-max: {} alerts in {} rows, the other version raised {}; {} times that and {} are allowed",
            new.alerts, sums.compared, old.alerts, gates.alert_ratio_max, gates.alerts_free
        ));
    }
    if enough && old.fuel > 0 && new.fuel as f64 > gates.fuel_ratio_max * old.fuel as f64 {
        return Some(format!(
            "gate fuel-ratio-max: it uses {:.1} times the fuel of the other version; {} are allowed",
            new.fuel as f64 / old.fuel as f64,
            gates.fuel_ratio_max
        ));
    }
    if let (Stage::Shadow, Some(least), Some((found, pairs))) =
        (stage, gates.rank_correlation_min, sums.correlation)
        && enough
        && found < least
    {
        return Some(format!(
            "gate rank-correlation-min: {found:.3} in {pairs} sampled rows, {least} is needed"
        ));
    }
    None
}

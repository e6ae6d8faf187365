//! What the two versions of each model on trial have said of the same rows, counted from when the trial came to the
//! stage it is in. Whether it may go on is decided from these sums, over all partitions.
//!
//! Invariant: a function of the log, like everything else in the state; only the fuel is measured, and not kept.

use super::bytes::{Bytes, Damaged, put_bytes, put_i64, put_len};
use schemas::record::TrialCounts;
use scoring::{Counters, ModelSet, Role, Verdict};

/// One trial.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Contest {
    /// Index of the version in force; the one on trial comes next.
    champion: usize,
    counts: TrialCounts,
}

/// All trials of a partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Contests(Vec<Contest>);

impl Contests {
    /// No trial is on.
    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Other models are in force: a trial that is where it was goes on being counted.
    pub(crate) fn configure(&mut self, set: &ModelSet) {
        let before = std::mem::take(&mut self.0);
        for (champion, pair) in set.models().collect::<Vec<_>>().windows(2).enumerate() {
            let Role::Champion(stage) = pair[0].role else { continue };
            let fresh = TrialCounts {
                model: pair[1].name.clone(),
                version: pair[1].version.clone(),
                stage: stage.to_string(),
                ..TrialCounts::default()
            };
            let same = |known: &&Contest| key(&known.counts) == key(&fresh);
            let counts = before.iter().find(same).map_or(fresh.clone(), |known| known.counts.clone());
            self.0.push(Contest { champion, counts });
        }
    }

    /// Counts what was said of one value, by model index.
    pub(crate) fn count(&mut self, verdicts: &[Verdict]) {
        for Contest { champion, counts } in &mut self.0 {
            let (active, trial) = (&verdicts[*champion], &verdicts[*champion + 1]);
            if matches!((active, trial), (Verdict::NotScored, Verdict::NotScored)) {
                continue;
            }
            counts.rows += 1;
            counts.failed_active += i64::from(failed(active));
            counts.failed_trial += i64::from(failed(trial));
            if let (
                Verdict::Score { warm_up: false, over_threshold: active, .. },
                Verdict::Score { warm_up: false, over_threshold: trial, .. },
            ) = (active, trial)
            {
                counts.compared += 1;
                counts.alerts_active += i64::from(*active);
                counts.alerts_trial += i64::from(*trial);
                counts.alerts_both += i64::from(*active && *trial);
            }
        }
    }

    /// As they are published; `counters` are the models' of this process.
    pub(crate) fn published(&self, counters: &[Counters]) -> Vec<TrialCounts> {
        let fuel = |model: usize| {
            let used = counters.get(model).map_or(0, |counters| counters.host.fuel_used);
            i64::try_from(used).unwrap_or(i64::MAX)
        };
        let with_fuel = |contest: &Contest| TrialCounts {
            fuel_active: fuel(contest.champion),
            fuel_trial: fuel(contest.champion + 1),
            ..contest.counts.clone()
        };
        self.0.iter().map(with_fuel).collect()
    }

    pub(crate) fn save(&self, out: &mut Vec<u8>) {
        put_len(out, self.0.len());
        for Contest { counts, .. } in &self.0 {
            for text in [&counts.model, &counts.version, &counts.stage] {
                put_bytes(out, text.as_bytes());
            }
            numbers(&mut counts.clone()).into_iter().for_each(|number| put_i64(out, *number));
        }
    }

    /// Reads what [`Contests::save`] wrote, for the models that are in force.
    pub(crate) fn load(bytes: &mut Bytes<'_>, set: &ModelSet) -> Result<Self, Damaged> {
        let mut saved = Vec::new();
        for _ in 0..bytes.u32("number of trials")? {
            let mut text = || bytes.str("a trial's name").map(str::to_owned);
            let (model, version, stage) = (text()?, text()?, text()?);
            let mut counts = TrialCounts { model, version, stage, ..TrialCounts::default() };
            for number in numbers(&mut counts) {
                *number = bytes.i64("a trial's counts")?;
            }
            saved.push(Contest { champion: 0, counts });
        }
        let mut contests = Self(saved);
        contests.configure(set);
        Ok(contests)
    }
}

/// A row that a model is kept from because it has failed on too many is one more.
const fn failed(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Failed(_) | Verdict::LeftOut)
}

fn key(counts: &TrialCounts) -> [&str; 3] {
    [&counts.model, &counts.version, &counts.stage]
}

const fn numbers(counts: &mut TrialCounts) -> [&mut i64; 7] {
    [
        &mut counts.rows,
        &mut counts.compared,
        &mut counts.failed_active,
        &mut counts.failed_trial,
        &mut counts.alerts_active,
        &mut counts.alerts_trial,
        &mut counts.alerts_both,
    ]
}

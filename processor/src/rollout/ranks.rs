//! Spearman's rank correlation of pairs of scores: whether two versions find the same rows strange, whatever their
//! scales.

use std::collections::VecDeque;

/// Pairs below which nothing is said.
pub(crate) const PAIRS_MIN: usize = 200;
/// The latest so many pairs count.
const PAIRS_MAX: usize = 4_096;

/// The latest pairs of one trial.
#[derive(Clone, Debug, Default)]
pub struct Pairs(VecDeque<(f64, f64)>);

impl Pairs {
    /// Adds a pair; the oldest one gives way.
    pub fn push(&mut self, one: f64, other: f64) {
        if self.0.len() == PAIRS_MAX {
            self.0.pop_front();
        }
        self.0.push_back((one, other));
    }

    /// Their correlation and how many they are; none: too few.
    #[must_use]
    pub fn correlation(&self) -> Option<(f64, usize)> {
        if self.0.len() < PAIRS_MIN {
            return None;
        }
        let pairs: Vec<(f64, f64)> = self.0.iter().copied().collect();
        Some((rank_correlation(&pairs), pairs.len()))
    }
}

/// Spearman's coefficient with mean ranks for ties (C. Spearman, "The proof and measurement of association between two
/// things", 1904): Pearson's coefficient of the ranks. 0 when one side says the same of every row.
#[must_use]
pub fn rank_correlation(pairs: &[(f64, f64)]) -> f64 {
    let ranks_one = ranks(pairs.iter().map(|pair| pair.0));
    let ranks_other = ranks(pairs.iter().map(|pair| pair.1));
    let mean = (ranks_one.len() as f64 + 1.0) / 2.0;
    let (mut both, mut one, mut other) = (0.0, 0.0, 0.0);
    for (a, b) in ranks_one.iter().zip(&ranks_other) {
        both += (a - mean) * (b - mean);
        one += (a - mean) * (a - mean);
        other += (b - mean) * (b - mean);
    }
    if one == 0.0 || other == 0.0 { 0.0 } else { both / (one.sqrt() * other.sqrt()) }
}

/// Ranks from 1; equal values share the mean of theirs.
fn ranks(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let values: Vec<f64> = values.collect();
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|one, other| values[*one].total_cmp(&values[*other]));
    let mut ranks = vec![0.0; values.len()];
    let mut begin = 0;
    while begin < order.len() {
        let value = values[order[begin]];
        let equal = order[begin..].iter().take_while(|at| values[**at] == value).count().max(1);
        let rank = begin as f64 + (equal as f64 + 1.0) / 2.0;
        order[begin..begin + equal].iter().for_each(|at| ranks[*at] = rank);
        begin += equal;
    }
    ranks
}

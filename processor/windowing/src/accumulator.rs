//! What is aggregated of one metric in one pane or slice. The formulas are Welford's for single values and
//! Chan's for two halves, in the evaluation order that `docs/windowing.md` fixes: results are compared bit by bit.
//!
//! Invariant: with `count` 0 every number but `nulls` is 0. Offsets are not kept: values arrive in log order, so
//! of equal event times the one that came first has the least offset, and parts that are merged never share one.

use crate::api::{Micros, ScoreStats, Scored, Stats, Value};
use crate::mutation::{Mutant, Mutation};

/// Accumulated values, and scores where models look at the metric.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Acc {
    /// The low half: see [`Acc::count`].
    count: u32,
    /// The low half: see [`Acc::nulls`].
    nulls: u32,
    pub(crate) sum: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
    pub(crate) first: f64,
    pub(crate) first_at: Micros,
    pub(crate) last: f64,
    pub(crate) last_at: Micros,
    pub(crate) mean: f64,
    pub(crate) m2: f64,
    /// Boxed twice over: one word where nothing scores.
    extra: Option<Box<Extra>>,
}

/// What only some accumulators need.
#[derive(Clone, Debug, Default, PartialEq)]
struct Extra {
    /// By model number.
    by_model: Box<[ScoreStats]>,
    /// High halves of the counts.
    count_high: u32,
    nulls_high: u32,
}

impl Extra {
    /// Room for so many models: a configuration may have added some since this pane opened.
    fn widen(&mut self, models: usize) {
        if self.by_model.len() < models {
            let mut wider = std::mem::take(&mut self.by_model).into_vec();
            wider.resize(models, ScoreStats::default());
            self.by_model = wider.into_boxed_slice();
        }
    }
}

impl Acc {
    /// Adds one value measured at `at`.
    #[inline]
    pub(crate) fn add(&mut self, value: &Value<'_>, at: Micros, mutant: Mutant) {
        match value.value {
            Some(x) => self.add_value(x, at, mutant),
            None => self.set_counts(self.count(), self.nulls() + 1),
        }
        if !value.scores.is_empty() {
            self.add_scores(value.scores);
        }
    }

    #[inline]
    fn add_value(&mut self, x: f64, at: Micros, mutant: Mutant) {
        let count = self.count() + 1;
        self.set_counts(count, self.nulls());
        if count == 1 {
            *self = Self {
                count: 1,
                nulls: self.nulls,
                sum: x,
                min: x,
                max: x,
                first: x,
                first_at: at,
                last: x,
                last_at: at,
                mean: x,
                m2: 0.0,
                extra: self.extra.take(),
            };
            return;
        }
        self.sum += x;
        if x < self.min {
            self.min = x;
        }
        if x > self.max {
            self.max = x;
        }
        let reversed = mutant.is(Mutation::TieOrderReversed);
        if at < self.first_at || (reversed && at == self.first_at) {
            (self.first, self.first_at) = (x, at);
        }
        if at > self.last_at || (!reversed && at == self.last_at) {
            (self.last, self.last_at) = (x, at);
        }
        let delta = x - self.mean;
        self.mean += delta / count as f64;
        self.m2 += delta * (x - self.mean);
    }

    fn add_scores(&mut self, scores: &[Scored]) {
        if scores.iter().all(|scored| *scored == Scored::Not) {
            return;
        }
        let mine = self.extra.get_or_insert_default();
        mine.widen(scores.len());
        for (stats, scored) in mine.by_model.iter_mut().zip(scores) {
            match *scored {
                Scored::Not => {}
                Scored::Failed => stats.failed += 1,
                Scored::Score(score, alert) => {
                    stats.count += 1;
                    stats.mean = if stats.count == 1 {
                        score
                    } else {
                        stats.mean + (score - stats.mean) / stats.count as f64
                    };
                    if stats.count == 1 || score > stats.max {
                        stats.max = score;
                    }
                    stats.alerts += u64::from(alert);
                }
            }
        }
    }

    /// Adds what `later` holds; `self` is the part with the lesser start.
    pub(crate) fn merge(&mut self, later: &Self) {
        let (before, added) = (self.count(), later.count());
        let nulls = self.nulls() + later.nulls();
        if !later.scores().is_empty() {
            let mine = self.extra.get_or_insert_default();
            mine.widen(later.scores().len());
            for (mine, theirs) in mine.by_model.iter_mut().zip(later.scores()) {
                merge_scores(mine, theirs);
            }
        }
        if added > 0 && before == 0 {
            let extra = self.extra.take();
            *self = Self { extra, ..Self { extra: None, ..*later } };
        }
        self.set_counts(before + added, nulls);
        if added == 0 || before == 0 {
            return;
        }
        let (mine, theirs) = (before as f64, added as f64);
        let all = (before + added) as f64;
        let delta = later.mean - self.mean;
        self.sum += later.sum;
        self.mean += delta * (theirs / all);
        self.m2 = self.m2 + later.m2 + delta * delta * (mine * theirs / all);
        if later.min < self.min {
            self.min = later.min;
        }
        if later.max > self.max {
            self.max = later.max;
        }
        if later.first_at < self.first_at {
            (self.first, self.first_at) = (later.first, later.first_at);
        }
        if later.last_at >= self.last_at {
            (self.last, self.last_at) = (later.last, later.last_at);
        }
    }

    /// Values.
    #[inline]
    pub(crate) fn count(&self) -> u64 {
        whole(self.count, self.extra.as_deref().map_or(0, |extra| extra.count_high))
    }

    /// Nulls.
    #[inline]
    pub(crate) fn nulls(&self) -> u64 {
        whole(self.nulls, self.extra.as_deref().map_or(0, |extra| extra.nulls_high))
    }

    #[inline]
    pub(crate) fn set_counts(&mut self, count: u64, nulls: u64) {
        (self.count, self.nulls) = (count as u32, nulls as u32);
        if self.extra.is_some() || (count | nulls) > u64::from(u32::MAX) {
            let extra = self.extra.get_or_insert_default();
            (extra.count_high, extra.nulls_high) = ((count >> 32) as u32, (nulls >> 32) as u32);
        }
    }

    /// As saved.
    pub(crate) fn set_scores(&mut self, by_model: Vec<ScoreStats>) {
        if !by_model.is_empty() {
            self.extra.get_or_insert_default().by_model = by_model.into_boxed_slice();
        }
    }

    /// As it is emitted.
    pub(crate) fn stats(&self) -> Stats {
        Stats {
            count: self.count(),
            nulls: self.nulls(),
            sum: self.sum,
            min: self.min,
            max: self.max,
            first: self.first,
            last: self.last,
            mean: self.mean,
            m2: self.m2,
        }
    }

    /// By model index; empty when nothing scored.
    pub(crate) fn scores(&self) -> &[ScoreStats] {
        self.extra.as_deref().map_or(&[], |extra| &extra.by_model)
    }

    /// Bytes beyond its own size.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.extra.as_deref().map_or(0, |extra| size_of::<Extra>() + size_of_val(&*extra.by_model))
    }
}

#[inline]
fn whole(low: u32, high: u32) -> u64 {
    u64::from(high) << 32 | u64::from(low)
}

fn merge_scores(mine: &mut ScoreStats, later: &ScoreStats) {
    mine.alerts += later.alerts;
    mine.failed += later.failed;
    if later.count == 0 {
        return;
    }
    if mine.count == 0 {
        (mine.count, mine.mean, mine.max) = (later.count, later.mean, later.max);
        return;
    }
    let all = (mine.count + later.count) as f64;
    mine.mean += (later.mean - mine.mean) * (later.count as f64 / all);
    mine.count += later.count;
    if later.max > mine.max {
        mine.max = later.max;
    }
}

#[cfg(test)]
mod tests;

//! Accumulators, recomputed from the list of what was contributed whenever somebody asks.

use windowing::api::{Micros, ScoreStats, Scored, Stats};

/// One value of one reading.
#[derive(Clone, Debug)]
pub(crate) struct Contribution {
    pub(crate) metric: u16,
    pub(crate) event_time: Micros,
    pub(crate) offset: i64,
    pub(crate) value: Option<f64>,
    pub(crate) scores: Vec<Scored>,
}

/// What a pane was given: parts that were merged once, ascending by start, and what came afterwards, in log order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Content {
    pub(crate) merged: Vec<Content>,
    pub(crate) then: Vec<Contribution>,
}

impl Content {
    pub(crate) fn accumulate(&self, metric: u16) -> Accumulated {
        let mut sum = merge_all(self.merged.iter().map(|part| part.accumulate(metric)));
        for contribution in self.then.iter().filter(|contribution| contribution.metric == metric) {
            sum.add(contribution);
        }
        sum
    }
}

/// From the left.
pub(crate) fn merge_all(parts: impl Iterator<Item = Accumulated>) -> Accumulated {
    parts.reduce(|a, b| a.merge(&b)).unwrap_or_default()
}

/// Values of one metric.
#[derive(Clone, Debug, Default)]
pub(crate) struct Accumulated {
    pub(crate) stats: Stats,
    first_at: (Micros, i64),
    last_at: (Micros, i64),
    pub(crate) scores: Vec<ScoreStats>,
}

impl Accumulated {
    fn add(&mut self, contribution: &Contribution) {
        self.add_scores(&contribution.scores);
        let stats = &mut self.stats;
        let Some(x) = contribution.value else {
            stats.nulls += 1;
            return;
        };
        let at = (contribution.event_time, contribution.offset);
        let only = stats.count == 0;
        stats.count += 1;
        stats.sum = if only { x } else { stats.sum + x };
        if only || x < stats.min {
            stats.min = x;
        }
        if only || x > stats.max {
            stats.max = x;
        }
        if only || at < self.first_at {
            (stats.first, self.first_at) = (x, at);
        }
        if only || at >= self.last_at {
            (stats.last, self.last_at) = (x, at);
        }
        if only {
            (stats.mean, stats.m2) = (x, 0.0);
        } else {
            let delta = x - stats.mean;
            stats.mean += delta / stats.count as f64;
            stats.m2 += delta * (x - stats.mean);
        }
    }

    fn add_scores(&mut self, scores: &[Scored]) {
        if scores.iter().all(|scored| *scored == Scored::Not) {
            return;
        }
        self.scores.resize(self.scores.len().max(scores.len()), ScoreStats::default());
        for (stats, scored) in self.scores.iter_mut().zip(scores) {
            match *scored {
                Scored::Not => {}
                Scored::Failed => stats.failed += 1,
                Scored::Score(score, alert) => {
                    stats.count += 1;
                    stats.alerts += u64::from(alert);
                    if stats.count == 1 {
                        (stats.mean, stats.max) = (score, score);
                    } else {
                        stats.mean += (score - stats.mean) / stats.count as f64;
                        if score > stats.max {
                            stats.max = score;
                        }
                    }
                }
            }
        }
    }

    /// `self` has the lesser start.
    fn merge(&self, b: &Self) -> Self {
        let a = self;
        let models = a.scores.len().max(b.scores.len());
        let of = |list: &[ScoreStats], model| list.get(model).copied().unwrap_or_default();
        let both = |model| merge_scores(&of(&a.scores, model), &of(&b.scores, model));
        let scores = (0..models).map(both).collect();
        let nulls = a.stats.nulls + b.stats.nulls;
        if b.stats.count == 0 {
            return Self { stats: Stats { nulls, ..a.stats }, scores, ..*a };
        }
        if a.stats.count == 0 {
            return Self { stats: Stats { nulls, ..b.stats }, scores, ..*b };
        }
        let (first_at, first) =
            if b.first_at < a.first_at { (b.first_at, b.stats.first) } else { (a.first_at, a.stats.first) };
        let (last_at, last) =
            if b.last_at > a.last_at { (b.last_at, b.stats.last) } else { (a.last_at, a.stats.last) };
        let count = a.stats.count + b.stats.count;
        let [of_a, of_b, of_both] = [a.stats.count, b.stats.count, count].map(|count| count as f64);
        let delta = b.stats.mean - a.stats.mean;
        let stats = Stats {
            count,
            nulls,
            sum: a.stats.sum + b.stats.sum,
            min: if b.stats.min < a.stats.min { b.stats.min } else { a.stats.min },
            max: if b.stats.max > a.stats.max { b.stats.max } else { a.stats.max },
            first,
            last,
            mean: a.stats.mean + delta * (of_b / of_both),
            m2: a.stats.m2 + b.stats.m2 + delta * delta * (of_a * of_b / of_both),
        };
        Self { stats, first_at, last_at, scores }
    }
}

fn merge_scores(a: &ScoreStats, b: &ScoreStats) -> ScoreStats {
    let failed = a.failed + b.failed;
    if b.count == 0 {
        return ScoreStats { failed, ..*a };
    }
    if a.count == 0 {
        return ScoreStats { failed, ..*b };
    }
    let count = a.count + b.count;
    ScoreStats {
        count,
        mean: a.mean + (b.mean - a.mean) * (b.count as f64 / count as f64),
        max: if b.max > a.max { b.max } else { a.max },
        alerts: a.alerts + b.alerts,
        failed,
    }
}

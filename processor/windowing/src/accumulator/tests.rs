//! The accumulator against sums taken another way, and its merges.

use proptest::prelude::*;

use super::*;
use crate::api::Metric;

fn value(value: Option<f64>, scores: &[Scored]) -> Value<'_> {
    Value { metric: Metric(0), value, scores }
}

fn of(values: &[(f64, Micros)]) -> Acc {
    let mut acc = Acc::default();
    for (x, at) in values {
        acc.add(&value(Some(*x), &[]), *at, Mutant::default());
    }
    acc
}

#[test]
fn statistics_of_a_few_values() {
    let acc = of(&[(2.0, 10), (4.0, 5), (9.0, 20), (1.0, 15)]);
    let stats = acc.stats();
    assert_eq!((stats.count, stats.nulls, stats.sum), (4, 0, 16.0));
    assert_eq!((stats.min, stats.max, stats.first, stats.last), (1.0, 9.0, 4.0, 9.0));
    assert_eq!(stats.mean, 4.0);
    assert_eq!(stats.m2, 38.0);
}

#[test]
fn of_equal_event_times_the_log_decides() {
    let acc = of(&[(1.0, 7), (2.0, 7), (3.0, 7)]);
    assert_eq!((acc.first, acc.last), (1.0, 3.0));
}

#[test]
fn nulls_count_and_leave_the_rest_zero() {
    let mut acc = Acc::default();
    acc.add(&value(None, &[]), -5, Mutant::default());
    assert_eq!(acc.stats(), Stats { nulls: 1, ..Stats::default() });
    acc.add(&value(Some(-3.0), &[]), -5, Mutant::default());
    assert_eq!((acc.nulls, acc.min, acc.max, acc.first_at), (1, -3.0, -3.0, -5));
    let mut other = Acc::default();
    other.add(&value(None, &[]), 0, Mutant::default());
    other.merge(&acc);
    assert_eq!((other.count, other.nulls, other.last), (1, 2, -3.0));
    acc.merge(&Acc { nulls: 3, ..Acc::default() });
    assert_eq!((acc.count, acc.nulls, acc.last), (1, 4, -3.0));
}

#[test]
fn scores_are_kept_by_model_and_only_when_something_scored() {
    let mut acc = Acc::default();
    acc.add(&value(Some(1.0), &[Scored::Not, Scored::Not]), 0, Mutant::default());
    assert!(acc.scores().is_empty());
    acc.add(&value(Some(1.0), &[Scored::Not, Scored::Score(-0.5, false)]), 0, Mutant::default());
    acc.add(&value(None, &[Scored::Failed, Scored::Score(0.5, true)]), 0, Mutant::default());
    let mut later = Acc::default();
    // A configuration added a model meanwhile.
    later.add(
        &value(Some(1.0), &[Scored::Not, Scored::Score(3.0, true), Scored::Failed]),
        0,
        Mutant::default(),
    );
    acc.merge(&later);
    let none = ScoreStats::default();
    assert_eq!(
        acc.scores(),
        [
            ScoreStats { failed: 1, ..none },
            ScoreStats { count: 3, mean: 1.0, max: 3.0, alerts: 2, failed: 0 },
            ScoreStats { failed: 1, ..none },
        ]
    );
}

#[test]
fn the_greatest_score_may_be_negative() {
    let mut acc = Acc::default();
    acc.add(&value(Some(1.0), &[Scored::Score(-2.0, false)]), 0, Mutant::default());
    let mut later = Acc::default();
    later.add(&value(Some(1.0), &[Scored::Score(-1.0, false)]), 0, Mutant::default());
    acc.merge(&later);
    assert_eq!(acc.scores()[0].max, -1.0);
}

proptest! {
    #[test]
    fn parts_make_the_whole(values in prop::collection::vec((-1e6..1e6_f64, 0..50_i64), 0..40), cut in 0..40_usize) {
        // As slices and sessions have it: the parts hold different event times.
        let mut values = values;
        values.sort_by_key(|(_, at)| *at);
        let cut = values.iter().position(|(_, at)| *at >= cut as i64).unwrap_or(values.len());
        let whole = of(&values);
        let mut parts = of(&values[..cut]);
        parts.merge(&of(&values[cut..]));
        prop_assert_eq!((parts.count, parts.min, parts.max), (whole.count, whole.min, whole.max));
        prop_assert_eq!((parts.first, parts.last), (whole.first, whole.last));
        prop_assert_eq!((parts.first_at, parts.last_at), (whole.first_at, whole.last_at));
        let near = |a: f64, b: f64, scale: f64| (a - b).abs() <= 1e-9 * scale.max(1.0);
        prop_assert!(near(parts.sum, whole.sum, 1e8));
        prop_assert!(near(parts.mean, whole.mean, 1e6));
        prop_assert!(near(parts.m2, whole.m2, 1e14));
    }
}

#[test]
fn counts_beyond_their_short_form() {
    let most = u64::from(u32::MAX);
    let mut acc = of(&[(2.0, 10)]);
    acc.set_counts(most, most);
    acc.add(&value(Some(2.0), &[]), 11, Mutant::default());
    acc.add(&value(None, &[]), 12, Mutant::default());
    assert_eq!((acc.count(), acc.nulls()), (most + 1, most + 1));
    assert_eq!(
        (acc.stats().mean, acc.stats().first, acc.last_at),
        (2.0, 2.0, 11),
        "it is not the first value"
    );
    let mut all = acc.clone();
    all.merge(&acc);
    assert_eq!((all.count(), all.nulls()), (2 * most + 2, 2 * most + 2));
    assert!(all.scores().is_empty());
    let mut late = Acc::default();
    late.merge(&acc);
    assert_eq!(late.stats(), acc.stats());
}

//! The shipped models `hampel`, `cusum` and `seasonal` against their definitions in another form, and against what they
//! are for.

use crate::record::z;
use crate::rig::{expecting, scores, shipped, timed};
use proptest::prelude::*;
use schemas::pipeline::Model;
use scoring::Verdict;

fn near(found: f64, defined: f64) -> bool {
    (found - defined).abs() <= 1e-6 * (1.0 + defined.abs())
}

/// Values with repetitions, as sensors have them.
fn values() -> impl Strategy<Value = Vec<f64>> {
    prop::collection::vec(prop_oneof![-50.0..50.0_f64, (0..4_i32).prop_map(f64::from)], 3..200)
}

fn hampel(values: &[f64], window: usize) -> Vec<f64> {
    let score = |row: usize| {
        let mut before = values[row.saturating_sub(window)..row].to_vec();
        before.sort_by(f64::total_cmp);
        let Some(median) = before.get(before.len().saturating_sub(1) / 2).copied() else { return 0.0 };
        let mut distances: Vec<f64> = before.iter().map(|value| (value - median).abs()).collect();
        distances.sort_by(f64::total_cmp);
        let spread = 1.4826 * distances[(distances.len() - 1) / 2] + 0.25;
        ((values[row] - median).abs() / spread).min(1000.0)
    };
    (0..values.len()).map(score).collect()
}

/// Every learned value of the level, with its weight; summed up anew for each row.
fn cusum(values: &[f64]) -> Vec<f64> {
    let (mut learned, mut rows, mut up, mut down) = (Vec::<(f64, f64)>::new(), 0.0_f64, 0.0_f64, 0.0_f64);
    let mut found = Vec::new();
    for value in values {
        let share = |at: usize| {
            learned[at].1 * learned[at + 1..].iter().map(|(_, later)| 1.0 - later).product::<f64>()
        };
        let mean: f64 = (0..learned.len()).map(|at| share(at) * learned[at].0).sum();
        let variance: f64 = (0..learned.len()).map(|at| share(at) * (learned[at].0 - mean).powi(2)).sum();
        (up, down) = if rows >= 20.0 {
            let distance = z(*value, (mean, variance)).min(4.0).copysign(value - mean);
            ((up + distance - 0.5).max(0.0), (down - distance - 0.5).max(0.0))
        } else {
            (0.0, 0.0)
        };
        let score = up.max(down);
        found.push(score);
        if score >= 8.0 {
            (learned, rows, up, down) = (vec![(*value, 1.0)], 1.0, 0.0, 0.0);
            continue;
        }
        if score < 4.0 {
            learned.push((*value, (1.0 / (rows + 1.0)).max(0.05)));
        }
        rows += 1.0;
    }
    found
}

/// Winters' own recursions, which smooth instead of correcting an error.
fn seasonal(values: &[f64], minutes: i64) -> Vec<f64> {
    let (alpha, beta, gamma) = (0.2_f64, 0.1, 0.3);
    let (mut level, mut trend, mut seasons) = (values[0], 0.0, [0.0; 24]);
    let (mut mean, mut variance, mut found) = (0.0_f64, 0.0_f64, Vec::new());
    for (row, value) in values.iter().enumerate() {
        let season = &mut seasons[(row as i64 * minutes / 60 % 24) as usize];
        let miss = if row == 0 { 0.0 } else { value - (level + trend + *season) };
        found.push(if row < 10 || miss == 0.0 { 0.0 } else { z(miss, (0.0, variance)).min(1000.0) });
        let alpha = if row < 10 { alpha.max(1.0 / (row as f64 + 1.0)) } else { alpha };
        let before = level;
        level = alpha * (value - *season) + (1.0 - alpha) * (level + trend);
        trend = beta * (level - before) + (1.0 - beta) * trend;
        *season = gamma * (value - level) + (1.0 - gamma) * *season;
        let weight = (1.0 / (row as f64 + 1.0)).max(0.02);
        (mean, variance) = (
            (1.0 - weight) * mean + weight * miss,
            (1.0 - weight) * (variance + weight * (miss - mean).powi(2)),
        );
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn hampel_equals_its_definition(values in values(), window in 3..40_usize) {
        let settings = format!(r#"{{"window": {window}, "sigma-min": 0.25, "refractory-rows": 0}}"#);
        let found = scores(&timed(&shipped("hampel", &settings), &values, 1));
        for (row, (found, defined)) in found.into_iter().zip(hampel(&values, window)).enumerate() {
            prop_assert!(near(found, defined), "row {row}: {found} and {defined}");
        }
    }

    #[test]
    fn cusum_equals_its_definition(values in values()) {
        let settings = r#"{"alpha": 0.05, "trigger": 8, "warm-up-rows": 20}"#;
        let found = scores(&timed(&shipped("cusum", settings), &values, 1));
        for (row, (found, defined)) in found.into_iter().zip(cusum(&values)).enumerate() {
            prop_assert!(near(found, defined), "row {row}: {found} and {defined}");
        }
    }

    #[test]
    fn seasonal_equals_the_textbook(values in values(), minutes in prop::sample::select(vec![10_i64, 60, 150])) {
        let settings = r#"{"alpha": 0.2, "beta": 0.1, "gamma": 0.3, "spread": 0.02, "miss-max": 1000, "refractory-rows": 0}"#;
        let found = scores(&timed(&shipped("seasonal", settings), &values, minutes));
        for (row, (found, defined)) in found.into_iter().zip(seasonal(&values, minutes)).enumerate() {
            prop_assert!(near(found, defined), "row {row}: {found} and {defined}");
        }
    }
}

/// The interval a model gives must be where its own score reaches the trigger: on either side of a bound, unless rounding
/// decides.
fn interval_is_where_the_score_triggers(
    name: &str,
    settings: &str,
    values: &[f64],
) -> Result<(), TestCaseError> {
    let model = Model { threshold: 0.0, ..shipped(name, settings) };
    let judged = expecting(&model, values, 10);
    prop_assert!(judged.iter().any(|(_, expected)| *expected != [None; 2]), "{name}: no row past warm-up");
    for (value, (verdict, expected)) in values.iter().zip(judged) {
        let Verdict::Score { score, warm_up: false, .. } = verdict else { continue };
        let [Some(low), Some(high)] = expected else {
            return Err(TestCaseError::fail(format!("{name}: {value} scored {score} without an interval")));
        };
        prop_assert!(low <= high, "{name}: {low} to {high}");
        let outside = *value < low || *value > high;
        let on_a_bound = near(*value, low) || near(*value, high);
        prop_assert!(
            on_a_bound || outside == (score >= TRIGGER),
            "{name}: {value} scored {score}, expected {low} to {high}"
        );
    }
    Ok(())
}

const TRIGGER: f64 = 2.0;

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn what_is_expected_is_what_would_not_trigger(values in prop::collection::vec(-50.0..50.0_f64, 40..200)) {
        for (name, settings) in [
            ("ewma", r#"{"alpha": 0.05, "warm-up-rows": 20, "trigger": 2, "refractory-rows": 0, "sigma-min": 0.1}"#),
            ("hampel", r#"{"window": 15, "sigma-min": 0.25, "trigger": 2, "refractory-rows": 0}"#),
            ("seasonal", r#"{"spread": 0.02, "warm-up-rows": 20, "trigger": 2, "refractory-rows": 0}"#),
        ] {
            interval_is_where_the_score_triggers(name, settings, &values)?;
        }
    }
}

#[test]
fn an_interval_of_a_sum_or_of_two_distances_is_not_made_up() {
    let values: Vec<f64> = (0..400).map(unrest).collect();
    for name in ["cusum", "record"] {
        let model = Model { threshold: 0.0, ..shipped(name, "{}") };
        let judged = expecting(&model, &values, 10);
        assert!(
            judged.iter().any(|(verdict, _)| matches!(verdict, Verdict::Score { over_threshold: true, .. }))
        );
        assert!(judged.iter().all(|(_, expected)| *expected == [None; 2]), "{name}");
    }
}

fn unrest(row: usize) -> f64 {
    (row * 7919 % 101) as f64 / 100.0
}

fn alerts(model: &Model, values: &[f64], minutes: i64) -> Vec<usize> {
    let over = |verdict: &Vec<Verdict>| matches!(verdict[0], Verdict::Score { over_threshold: true, .. });
    let verdicts = timed(model, values, minutes);
    (0..verdicts.len()).filter(|row| over(&verdicts[*row])).collect()
}

#[test]
fn a_shift_that_no_single_value_shows_adds_up_and_is_found_once() {
    let model = Model { threshold: 20.0, ..shipped("cusum", "{}") };
    let values: Vec<f64> = (0..600).map(|row| unrest(row) + if row < 300 { 20.0 } else { 20.4 }).collect();
    let found = alerts(&model, &values, 1);
    assert!(matches!(found.as_slice(), [row] if (301..340).contains(row)), "{found:?}");
}

#[test]
fn an_outlier_among_many_is_found_where_mean_and_variance_would_hide_it() {
    let model = Model { threshold: 8.0, ..shipped("hampel", r#"{"trigger": 8, "refractory-rows": 0}"#) };
    // A third of the values are far off, and they would make the deviation of any other look small.
    let values: Vec<f64> =
        (0..200).map(|row| unrest(row) + if row >= 100 && row % 3 == 0 { 1_000.0 } else { 20.0 }).collect();
    let expected: Vec<usize> = (100..200).filter(|row| row % 3 == 0).collect();
    assert_eq!(alerts(&model, &values, 1), expected);
}

#[test]
fn a_value_that_is_usual_at_another_hour_is_found() {
    let model = Model { threshold: 6.0, ..shipped("seasonal", "{}") };
    let usual = |row: usize| if (16..40).contains(&(row % 48)) { 50.0 } else { 20.0 };
    let mut values: Vec<f64> = (0..48 * 40).map(|row| usual(row) + unrest(row)).collect();
    values[48 * 30] += 30.0;
    let found = alerts(&model, &values, 30);
    assert!(found.contains(&(48 * 30)) && found.len() < 4, "{found:?}");
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let loader = crate::rig::loader();
    for (name, settings) in [
        ("hampel", r#"{"window": 2}"#),
        ("hampel", r#"{"window": 129}"#),
        ("hampel", r#"{"sigma-min": -1}"#),
        ("cusum", r#"{"alpha": 0}"#),
        ("cusum", r#"{"slack": 5, "z-max": 4}"#),
        ("cusum", r#"{"trigger": 0}"#),
        ("seasonal", r#"{"period-seconds": 5}"#),
        ("seasonal", r#"{"gamma": 2}"#),
        ("seasonal", r#"{"miss-max": 0}"#),
        ("seasonal", r#"{"weekly": true}"#),
    ] {
        let error = loader.load(&[shipped(name, settings)]).expect_err(settings).to_string();
        assert!(error.starts_with(&format!("model `{name}`: refuses its settings: ")), "{settings}: {error}");
    }
    for (name, known) in [("ewma", "alpha, warm-up-rows, trigger, "), ("seasonal", "period-seconds, alpha, ")]
    {
        let error = loader.load(&[shipped(name, r#"{"alfa": 0.5}"#)]).expect_err("misspelt").to_string();
        assert!(error.contains(&format!("What can be set: {known}")), "{error}");
    }
}

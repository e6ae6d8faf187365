//! The shipped model `record` against its definition: weighted means and variances summed up over the whole history of
//! a series for every row, instead of carried along.

use crate::rig::{scores, shipped, timed};
use proptest::prelude::*;
use schemas::pipeline::Model;
use scoring::Verdict;

fn model(settings: &str) -> Model {
    Model { threshold: 0.5, ..shipped("record", settings) }
}

/// Verdicts on values that come every so many minutes.
fn run(settings: &str, values: &[f64], minutes: i64) -> Vec<Vec<Verdict>> {
    timed(&model(settings), values, minutes)
}

/// Mean and variance of some values of which each came with this least weight; later ones count more.
pub(crate) fn habit(values: &[f64], least: f64) -> (f64, f64) {
    let weights: Vec<f64> = (0..values.len()).map(|row| least.max(1.0 / (row as f64 + 1.0))).collect();
    let share =
        |row: usize| weights[row] * weights[row + 1..].iter().map(|later| 1.0 - later).product::<f64>();
    let shares: Vec<f64> = (0..values.len()).map(share).collect();
    let mean = shares.iter().zip(values).map(|(share, value)| share * value).sum::<f64>();
    let variance = shares.iter().zip(values).map(|(share, value)| share * (value - mean).powi(2)).sum();
    (mean, variance)
}

pub(crate) fn z(value: f64, (mean, variance): (f64, f64)) -> f64 {
    (value - mean).abs() / (variance.sqrt() + 1e-9 * mean.abs() + 1e-12)
}

/// Scores with the default settings and no refractory period.
fn defined(values: &[f64], minutes: i64) -> Vec<f64> {
    let (mut drifts, mut record, mut found) = (Vec::new(), 0.0_f64, Vec::new());
    for row in 0..values.len() {
        let before = &values[..row];
        let fast = values[1..=row].iter().fold(values[0], |fast, value| fast + 0.1 * (value - fast));
        let slow = if row == 0 { 0.0 } else { habit(before, 0.001).0 };
        let drift = fast - slow;
        let hour = |row: usize| row as i64 * minutes / 60 % 24;
        let same: Vec<f64> =
            (0..row).filter(|other| hour(*other) == hour(row)).map(|other| values[other]).collect();
        let mut deviation = 0.0;
        if row >= 2 {
            deviation = z(drift, habit(&drifts, 0.001));
            if same.len() >= 10 {
                deviation += 0.75 * z(values[row], habit(&same, 0.02));
            }
        }
        let bar = record.max(4.0);
        found.push(deviation / (deviation + bar));
        record = (record * 0.9999).max(deviation.min(1.1 * bar));
        drifts.push(drift);
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn equals_its_definition(
        values in prop::collection::vec(-50.0..50.0_f64, 3..220),
        minutes in prop::sample::select(vec![5_i64, 30, 90]),
    ) {
        let found = scores(&run(r#"{"refractory-rows": 0}"#, &values, minutes));
        for (row, (found, defined)) in found.iter().zip(defined(&values, minutes)).enumerate() {
            prop_assert!((found - defined).abs() < 1e-6, "row {row}: {found} and {defined}");
        }
    }
}

/// A day that repeats, in steps of half an hour, with some unrest.
fn days(count: usize) -> Vec<f64> {
    let unrest = |row: usize| (row * 7919 % 101) as f64 / 100.0;
    (0..48 * count)
        .map(|row| if (16..40).contains(&(row % 48)) { 50.0 } else { 20.0 } + unrest(row))
        .collect()
}

fn alerts(verdicts: &[Vec<Verdict>]) -> Vec<usize> {
    let over = |verdict: &Vec<Verdict>| matches!(verdict[0], Verdict::Score { over_threshold: true, .. });
    (0..verdicts.len()).filter(|row| over(&verdicts[*row])).collect()
}

#[test]
fn a_day_at_the_hours_of_night_alarms_once_and_days_as_usual_do_not() {
    let mut values = days(40);
    assert_eq!(alerts(&run("{}", &values, 30)), Vec::<usize>::new());
    let night = 48 * 30;
    for value in &mut values[night..night + 12] {
        *value += 30.0;
    }
    let found = alerts(&run("{}", &values, 30));
    assert!(matches!(found.as_slice(), [row] if (night..night + 12).contains(row)), "{found:?}");
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let loader = crate::rig::loader();
    for settings in [
        r#"{"slow": 0}"#,
        r#"{"decay": 1}"#,
        r#"{"growth": 0.5}"#,
        r#"{"trigger": 2}"#,
        r#"{"hours": 1}"#,
        "[",
    ] {
        let error = loader.load(&[model(settings)]).expect_err(settings).to_string();
        assert!(error.starts_with("model `record`: refuses its settings: "), "{settings}: {error}");
    }
}

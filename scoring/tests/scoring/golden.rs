//! The shipped model, and the same in C, against its second implementation, to the bit, and against numbers worked out by hand.

use crate::native::{Series, Settings};
use crate::rig::{EWMA_IN_C, each, ewma, load, run, scores, trial};
use schemas::pipeline::Model;
use scoring::shipped::digest_of;
use scoring::{Lane, Verdict};

/// A repeatable sequence of numbers in [-1, 1), without libm.
fn noise(seed: u64) -> impl Iterator<Item = f64> {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
    })
}

/// Noise with everything in it that might round differently somewhere.
fn wild_values() -> Vec<f64> {
    let odd =
        [0.0, -0.0, 1e300, -1e300, f64::MIN_POSITIVE, 5e-324, 1e-200, f64::MAX, f64::MIN, 0.1, 1.0 / 3.0];
    let mut values: Vec<f64> = noise(1).take(1500).map(|noise| 80.0 + noise).collect();
    for (place, value) in odd.iter().enumerate() {
        values[300 + 110 * place] = *value;
    }
    values.extend(noise(2).take(500).map(|noise| 1e-3 * noise));
    values.extend(std::iter::repeat_n(7.25, 300));
    values
}

/// The shipped model, and the same one in C.
fn assert_same_as_native(settings: &Settings, text: &str) {
    let shipped = ewma(text, each(&["a"]));
    let in_c = Model { component: digest_of(EWMA_IN_C), ..shipped.clone() };
    for model in [shipped, in_c] {
        assert_one_same_as_native(settings, &model);
    }
}

fn assert_one_same_as_native(settings: &Settings, model: &Model) {
    let set = load(std::slice::from_ref(model));
    let mut lane = Lane::new(&set);
    let mut series = [Series::default(); 3];
    let trials: Vec<_> =
        wild_values().into_iter().zip((0..3).cycle()).map(|(value, slot)| trial(slot, value)).collect();
    let verdicts = run(&mut lane, &trials, 97, 0);
    let mut alerts = 0;
    for (row, (trial, verdict)) in trials.iter().zip(&verdicts).enumerate() {
        let value = trial.values[0].value.unwrap();
        let (expected, warming) = series[trial.slot as usize].observe(value, settings);
        let Verdict::Score { score, warm_up, over_threshold, sampled } = verdict[0] else {
            panic!("row {row}: {verdict:?}")
        };
        assert_eq!(score.to_bits(), expected.to_bits(), "row {row}, value {value}: {score} and {expected}");
        assert_eq!((warm_up, sampled), (warming, false), "row {row}");
        assert_eq!(over_threshold, !warming && expected >= 5.0, "row {row}");
        alerts += u32::from(over_threshold);
    }
    assert!(alerts > 0, "the sequence is meant to alarm");
}

#[test]
fn equals_the_native_implementation_to_the_bit() {
    assert_same_as_native(&Settings::DEFAULT, "{}");
    assert_same_as_native(&Settings::DEFAULT, "");
    let other = Settings {
        alpha: 0.3,
        warm_up_rows: 7,
        trigger: 4.0,
        refractory_rows: 3,
        sigma_min: 0.02,
        sigma_min_ratio: 0.0,
    };
    assert_same_as_native(&other, &other.json());
}

#[test]
fn equals_numbers_worked_out_by_hand() {
    // alpha 0.5, no floors, no warm-up. After 2, 4: mean 3, variance 0.5 * (0 + 2 * 1) = 1, so 6 scores 3.
    // Then mean 4.5, variance 0.5 * (1 + 3 * 1.5) = 2.75, and 4.5 scores 0; variance 1.375, so 3.5 scores 1 / 1.1726.
    let settings = r#"{"alpha": 0.5, "warm-up-rows": 0, "sigma-min-ratio": 0, "trigger": 100}"#;
    let mut lane = Lane::new(&load(&[ewma(settings, each(&["a"]))]));
    let trials = [2.0, 4.0, 6.0, 4.5, 3.5].map(|value| trial(0, value));
    let found = scores(&run(&mut lane, &trials, 5, 0));
    assert_eq!(found[..4], [0.0, 1000.0, 3.0, 0.0]);
    assert_eq!(found[4], 1.0 / 1.375_f64.sqrt());
}

#[test]
fn one_event_alarms_once() {
    let settings = r#"{"warm-up-rows": 20, "refractory-rows": 30}"#;
    let mut lane = Lane::new(&load(&[ewma(settings, each(&["a"]))]));
    let level = noise(3).take(200).map(|noise| 20.0 + noise);
    let event = noise(4).take(30).map(|noise| 60.0 + noise);
    let trials: Vec<_> = level.chain(event).map(|value| trial(0, value)).collect();
    let verdicts = run(&mut lane, &trials, 50, 0);
    let over = |verdict: &Vec<Verdict>| matches!(verdict[0], Verdict::Score { over_threshold: true, .. });
    let alerts: Vec<usize> = (0..verdicts.len()).filter(|row| over(&verdicts[*row])).collect();
    assert_eq!(alerts, [200]);
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let loader = crate::rig::loader();
    for settings in
        [r#"{"alpha": 0}"#, r#"{"alpha": 1.5}"#, r#"{"sigma-min": -1}"#, r#"{"alhpa": 0.1}"#, "[]", "{"]
    {
        let error = loader.load(&[ewma(settings, each(&["a"]))]).expect_err(settings).to_string();
        assert!(error.starts_with("model `ewma`: refuses its settings: "), "{settings}: {error}");
    }
}

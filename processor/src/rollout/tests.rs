//! Trials from their beginning to their end, gate by gate; rank correlation against its definition in another form.

use super::*;
use proptest::prelude::*;
use schemas::pipeline::Inputs;

fn version(component: &str) -> Version {
    Version {
        component: component.to_owned(),
        artifact: None,
        settings: "{}".to_owned(),
        seed: 0,
        threshold: 5.0,
        fuel_per_row: 1,
    }
}

fn base() -> Model {
    let Version { component, artifact, settings, seed, threshold, fuel_per_row } = version("a");
    Model {
        name: "m".to_owned(),
        component,
        artifact,
        settings,
        seed,
        inputs: Inputs::Each(vec!["t".to_owned()]),
        route: schemas::pipeline::Route::default(),
        threshold,
        sample_every: 100,
        fuel_per_row,
        trial: None,
    }
}

fn gates() -> Gates {
    Gates { canary: vec![10, 50], rows: 100, shadow: 10, canary_each: 20, bake: 30, ..Gates::default() }
}

fn sums(compared: i64) -> Sums {
    let side = Side { failed: 0, alerts: 3, fuel: 1_000 };
    Sums { rows: compared, compared, active: side, trial: side, correlation: None }
}

fn stage(deployment: &Deployment) -> Option<Stage> {
    deployment.trial.as_ref().map(|trial| trial.stage)
}

fn step(next: Next) -> (Deployment, String) {
    match next {
        Next::Step(deployment, why) => (*deployment, why),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_good_version_goes_all_the_way_and_the_one_before_retires() {
    let mut deployment = begun(&Deployment::default(), version("b"), gates(), 0);
    let mut now = 0;
    let mut seen = Vec::new();
    while let Some(at) = stage(&deployment) {
        seen.push(at);
        assert!(matches!(next(&base(), &deployment, &sums(99), now + 1_000), Next::Wait(_)), "too few rows");
        let short = next(&base(), &deployment, &sums(100), now + 9);
        assert!(matches!(short, Next::Wait(_)), "too soon: {short:?}");
        now += 1_000;
        deployment = step(next(&base(), &deployment, &sums(100), now)).0;
    }
    assert_eq!(seen, [Stage::Shadow, Stage::Canary(10), Stage::Canary(50), Stage::Bake]);
    assert_eq!(active(&base(), &deployment), version("b"));
    let ended = deployment.ended.clone().expect("it has ended");
    assert_eq!((ended.outcome, ended.version), (Outcome::LetIn, version("b")));
    assert_eq!(next(&base(), &deployment, &sums(100), now), Next::Nothing);
}

#[test]
fn a_broken_gate_ends_the_trial_in_every_stage_and_is_named() {
    let failing = Side { failed: 1, ..sums(1).trial };
    let mut deployment = begun(&Deployment::default(), version("b"), gates(), 0);
    while let Some(at) = stage(&deployment) {
        let bad = match at {
            Stage::Bake => Sums { active: failing, ..sums(1) },
            _ => Sums { trial: failing, ..sums(1) },
        };
        let (back, why) = step(next(&base(), &deployment, &bad, 1));
        assert!(why.contains("failed-max"), "{why}");
        assert_eq!((active(&base(), &back), back.active.clone(), stage(&back)), (version("a"), None, None));
        let ended = back.ended.expect("it has ended");
        assert_eq!((ended.outcome, ended.version, ended.stage), (Outcome::RolledBack, version("b"), at));
        deployment = forward(&base(), &deployment, 0);
    }
}

#[test]
fn each_gate_says_by_how_much() {
    let at = |sums: Sums, gates: Gates| judge(Stage::Shadow, &gates, &sums, 1_000);
    let named = |judgement: Judgement| match judgement {
        Judgement::Broken(why) => why,
        other => panic!("{other:?}"),
    };
    let alerts = |alerts| Sums { trial: Side { alerts, ..sums(100).trial }, ..sums(100) };
    assert_eq!(at(alerts(26), gates()), Judgement::Kept, "20 are free, and twice the others' 3");
    assert!(named(at(alerts(27), gates())).starts_with("gate alert-ratio-max: 27 alerts in 100 rows"));
    let fuel = |fuel| Sums { trial: Side { fuel, ..sums(100).trial }, ..sums(100) };
    assert_eq!(at(fuel(10_000), gates()), Judgement::Kept);
    assert!(named(at(fuel(10_001), gates())).starts_with("gate fuel-ratio-max: it uses 10.0 times"));
    let agreeing = Gates { rank_correlation_min: Some(0.5), ..gates() };
    let correlated = |found| Sums { correlation: Some((found, 300)), ..sums(100) };
    assert_eq!(at(correlated(0.5), agreeing.clone()), Judgement::Kept);
    assert!(
        named(at(correlated(0.4), agreeing.clone())).starts_with("gate rank-correlation-min: 0.400 in 300")
    );
    assert!(matches!(at(sums(100), agreeing), Judgement::Wait(_)), "nothing is known yet");
    let both = Side { failed: 7, ..sums(100).active };
    assert_eq!(at(Sums { active: both, trial: both, ..sums(100) }, gates()), Judgement::Kept, "bad readings");
}

#[test]
fn what_was_activated_before_comes_back_not_what_the_file_says() {
    let before = Deployment { active: Some(version("b")), ..Deployment::default() };
    let trial = begun(&before, version("c"), gates(), 0);
    assert_eq!(active(&base(), &taken_back(&base(), &trial, "asked for", 5)), version("b"));
    let baking = activated(&base(), &trial, 5);
    assert_eq!((active(&base(), &baking), stage(&baking)), (version("c"), Some(Stage::Bake)));
    assert_eq!(active(&base(), &taken_back(&base(), &baking, "asked for", 6)), version("b"));
}

/// The definition in another form: the share of pairs of rows that both sides order alike is not it, but for
/// distinct values 1 - 6 sum(d^2) / (n (n^2 - 1)) is.
fn by_differences(one: &[u32], other: &[u32]) -> f64 {
    let rank = |values: &[u32], value: u32| values.iter().filter(|v| **v < value).count() as f64;
    let n = one.len() as f64;
    let squares: f64 = one.iter().zip(other).map(|(a, b)| (rank(one, *a) - rank(other, *b)).powi(2)).sum();
    1.0 - 6.0 * squares / (n * (n * n - 1.0))
}

proptest! {
    #[test]
    fn rank_correlation_is_spearmans(
        (one, other) in (3_usize..40).prop_flat_map(|n| {
            let shuffled = || Just((0..u32::try_from(n).unwrap()).collect::<Vec<_>>()).prop_shuffle();
            (shuffled(), shuffled())
        })
    ) {
        let pairs: Vec<_> = one.iter().zip(&other).map(|(a, b)| (f64::from(*a).exp(), f64::from(*b))).collect();
        prop_assert!((rank_correlation(&pairs) - by_differences(&one, &other)).abs() < 1e-9);
    }
}

#[test]
fn ties_share_their_rank() {
    let pairs = [(1.0, 1.0), (2.0, 2.0), (2.0, 2.0), (3.0, 3.0)];
    assert!((rank_correlation(&pairs) - 1.0).abs() < 1e-12);
    assert_eq!(rank_correlation(&[(1.0, 5.0), (2.0, 5.0), (3.0, 5.0)]), 0.0);
}

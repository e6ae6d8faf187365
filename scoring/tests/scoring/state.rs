//! What keeps state and what loses it: eviction, other models, snapshots, damaged snapshots.

use crate::rig::{Trial, each, ewma, fixture, load, put_in_force, run, saved, scores, trial};
use schemas::pipeline::{Inputs, Model, Route, Stage, Trial as OnTrial, Version, WindowFeature};
use scoring::ClosedRow;
use scoring::{Flushed, Input, Lane, Reading, Verdict};

fn count(lane: &mut Lane, slot: u32) -> f64 {
    scores(&run(lane, &[trial(slot, 1.0)], 1, 0))[0]
}

#[test]
fn an_evicted_slot_starts_anew() {
    let mut lane = Lane::new(&load(&[fixture("none", each(&["a"]))]));
    assert_eq!([count(&mut lane, 3), count(&mut lane, 3), count(&mut lane, 5)], [0.0, 1.0, 0.0]);
    lane.evict(3);
    lane.evict(1_000_000);
    assert_eq!([count(&mut lane, 3), count(&mut lane, 5)], [0.0, 1.0]);
}

#[test]
fn the_same_version_keeps_its_state_under_any_name() {
    let model = fixture("none", each(&["a"]));
    let mut lane = Lane::new(&load(std::slice::from_ref(&model)));
    assert_eq!([count(&mut lane, 0), count(&mut lane, 0)], [0.0, 1.0]);
    let renamed = Model {
        name: "other".to_owned(),
        inputs: each(&["b", "a"]),
        threshold: 1.0,
        sample_every: 1,
        ..model.clone()
    };
    put_in_force(&mut lane, &load(&[ewma("{}", each(&["b"])), renamed]));
    let reading = Trial { slot: 0, values: vec![Input { metric: 0, value: Some(1.0) }] };
    assert_eq!(scores(&[run(&mut lane, &[reading], 1, 0)[0][1..].to_vec()]), [2.0]);
    put_in_force(&mut lane, &load(std::slice::from_ref(&model)));
    assert_eq!(count(&mut lane, 0), 3.0);
}

#[test]
fn another_version_starts_anew() {
    let model = fixture("none", each(&["a"]));
    let mut lane = Lane::new(&load(std::slice::from_ref(&model)));
    assert_eq!([count(&mut lane, 0), count(&mut lane, 0)], [0.0, 1.0]);
    put_in_force(&mut lane, &load(&[Model { seed: 1, ..model.clone() }]));
    assert_eq!(count(&mut lane, 0), 0.0);
    put_in_force(&mut lane, &load(&[]));
    assert!(lane.is_idle());
    put_in_force(&mut lane, &load(&[model]));
    assert_eq!(count(&mut lane, 0), 0.0);
}

#[test]
fn equal_state_is_saved_as_equal_bytes() {
    let set = load(&[fixture("none", each(&["a", "b"]))]);
    let (mut straight, mut detour) = (Lane::new(&set), Lane::new(&set));
    count(&mut straight, 2);
    count(&mut detour, 900);
    detour.evict(900);
    count(&mut detour, 2);
    assert_eq!(saved(&straight), saved(&detour));
    let again = Lane::load(&set, &saved(&straight)).unwrap();
    assert_eq!(saved(&again), saved(&straight));
}

#[test]
fn state_of_versions_no_longer_in_force_is_dropped() {
    let set = load(&[fixture("none", each(&["a"])), fixture("skip", each(&["a"]))]);
    let mut lane = Lane::new(&set);
    count(&mut lane, 0);
    let mut lane = Lane::load(&load(&[fixture("skip", each(&["a"]))]), &saved(&lane)).unwrap();
    assert_eq!(count(&mut lane, 0), 1.0);
}

#[test]
fn damaged_bytes_are_refused() {
    let set = load(&[fixture("none", each(&["a"]))]);
    let mut lane = Lane::new(&set);
    count(&mut lane, 4);
    let bytes = saved(&lane);
    for length in 0..bytes.len() {
        assert!(Lane::load(&set, &bytes[..length]).is_err(), "{length} of {} bytes", bytes.len());
    }
    let mut longer = bytes.clone();
    longer.push(0);
    assert!(Lane::load(&set, &longer).is_err());
    let mut newer = bytes;
    newer[0] = 2;
    assert!(Lane::load(&set, &newer).is_err());
}

fn pair(stage: Stage) -> Model {
    let model = ewma("{}", each(&["a"]));
    let version = Version { settings: r#"{"alpha": 0.5}"#.to_owned(), ..model.version() };
    Model { trial: Some(OnTrial { version, stage }), ..model }
}

#[test]
fn of_two_versions_one_serves_each_device_and_a_canary_keeps_its_devices() {
    let mut before: Vec<bool> = Vec::new();
    for percent in [1, 10, 50, 99] {
        let set = load(&[pair(Stage::Canary(percent))]);
        let models: Vec<_> = set.models().collect();
        let served = |device: usize| {
            let id = format!("sensor-{device:05}");
            assert_ne!(models[0].serves(id.as_bytes()), models[1].serves(id.as_bytes()), "exactly one");
            models[1].serves(id.as_bytes())
        };
        let now: Vec<bool> = (0..10_000).map(served).collect();
        let share = now.iter().filter(|served| **served).count() / 100;
        assert!(share.abs_diff(usize::from(percent)) <= 2, "{share} % instead of {percent} %");
        assert!(before.iter().zip(&now).all(|(before, now)| *now || !before), "who was served stays so");
        before = now;
    }
    for stage in [Stage::Shadow, Stage::Bake] {
        let set = load(&[pair(stage)]);
        let serving: Vec<bool> = set.models().map(|model| model.serves(b"d")).collect();
        assert_eq!(serving, [true, false]);
    }
}

#[test]
fn a_new_version_takes_over_what_the_other_has_learnt() {
    let alone = Model { trial: None, ..pair(Stage::Shadow) };
    let mut lane = Lane::new(&load(std::slice::from_ref(&alone)));
    let learnt = |lane: &mut Lane, rows: std::ops::Range<i64>| -> Vec<Vec<Verdict>> {
        let mut flushed = Flushed::default();
        rows.map(|row| {
            let values = [Input { metric: 0, value: Some(f64::from(u8::try_from(row % 7).unwrap())) }];
            let reading = Reading { slot: 0, event_time: row, offset: row, values: &values };
            let pushed = lane.push(&reading, |_| "a").unwrap();
            lane.flush(&mut flushed).unwrap();
            flushed.verdicts(pushed, 0).to_vec()
        })
        .collect()
    };
    learnt(&mut lane, 0..200);
    put_in_force(&mut lane, &load(&[pair(Stage::Shadow)]));
    for verdicts in learnt(&mut lane, 200..210) {
        let warm = |verdict: &Verdict| matches!(verdict, Verdict::Score { warm_up: false, .. });
        assert!(verdicts.len() == 2 && verdicts.iter().all(warm), "{verdicts:?}");
    }
    // The other way round: what is let in is the one that was beside it, with its own state.
    let mut let_in = alone.clone();
    let_in.set_version(pair(Stage::Shadow).trial.unwrap().version);
    let before = {
        let mut bytes = Vec::new();
        lane.save(&mut bytes);
        bytes
    };
    let_in.trial = Some(OnTrial { version: alone.version(), stage: Stage::Bake });
    put_in_force(&mut lane, &load(&[let_in]));
    let mut bytes = Vec::new();
    lane.save(&mut bytes);
    assert_eq!(bytes.len(), before.len(), "both states are still there");
    assert_ne!(bytes, before, "in the other order");
}

/// The fixture, with another mode of it beside it.
fn beside(mode: &str) -> Model {
    let version =
        Version { settings: format!(r#"{{"mode": "{mode}"}}"#), ..fixture("none", each(&["a"])).version() };
    Model { trial: Some(OnTrial { version, stage: Stage::Shadow }), ..fixture("none", each(&["a"])) }
}

/// The score of the version on trial.
fn challenger(lane: &mut Lane, slot: u32) -> f64 {
    let verdicts = run(lane, &[trial(slot, 1.0)], 1, 0);
    scores(&[vec![verdicts[0][1]]])[0]
}

#[test]
fn a_later_revision_translates_what_the_one_before_has_learnt() {
    let mut lane = Lane::new(&load(&[fixture("none", each(&["a"]))]));
    for (slot, rows) in [(0, 3), (2, 2), (1_500, 1)] {
        for _ in 0..rows {
            count(&mut lane, slot);
        }
    }
    let set = load(&[beside("later")]);
    let translated = lane.translate(&set).unwrap();
    // Forgotten between the translation and its use: nothing is left of it.
    lane.evict(2);
    lane.configure(&set, translated);
    let found = [0, 1, 2, 1_500].map(|slot| challenger(&mut lane, slot));
    assert_eq!(found, [1_003.0, 0.0, 0.0, 1_001.0]);
    assert_eq!(challenger(&mut lane, 0), 1_004.0);
}

#[test]
fn a_version_that_cannot_translate_starts_anew() {
    for mode in ["later-fault", "later-short"] {
        let mut lane = Lane::new(&load(&[fixture("none", each(&["a"]))]));
        assert_eq!([count(&mut lane, 0), count(&mut lane, 0)], [0.0, 1.0]);
        put_in_force(&mut lane, &load(&[beside(mode)]));
        assert_eq!([challenger(&mut lane, 0), challenger(&mut lane, 0)], [0.0, 1.0], "{mode}");
    }
}

fn for_devices(name: &str, devices: &[&str]) -> Model {
    let devices = devices.iter().map(|device| (*device).to_owned()).collect();
    let route = Route { devices, tags: Vec::new() };
    Model { name: name.to_owned(), route, ..fixture("none", each(&["a"])) }
}

/// Pushes one row for the models that `without` does not leave out; what they said.
fn routed(lane: &mut Lane, slot: u32, without: &[bool]) -> Vec<Option<f64>> {
    let (values, mut flushed) = ([Input { metric: 0, value: Some(1.0) }], Flushed::default());
    let reading = Reading { slot, event_time: 0, offset: 0, values: &values };
    let row = lane.push_routed(&reading, without, |_| "a").unwrap();
    lane.flush(&mut flushed).unwrap();
    let score = |verdict: &Verdict| match verdict {
        Verdict::Score { score, .. } => Some(*score),
        _ => None,
    };
    flushed.verdicts(row, 0).iter().map(score).collect()
}

#[test]
fn models_of_one_version_that_see_different_devices_have_states_of_their_own() {
    let set = load(&[for_devices("x", &["x*"]), for_devices("y", &["y*"]), fixture("none", each(&["a"]))]);
    let mut lane = Lane::new(&set);
    assert_eq!(routed(&mut lane, 0, &[false, true, false]), [Some(0.0), None, Some(0.0)]);
    assert_eq!(routed(&mut lane, 0, &[false, true, true]), [Some(1.0), None, None]);
    assert_eq!(routed(&mut lane, 1, &[true, false, false]), [None, Some(0.0), Some(0.0)]);
    let mut lane = Lane::load(&set, &saved(&lane)).unwrap();
    assert_eq!(routed(&mut lane, 0, &[]), [Some(2.0), Some(0.0), Some(1.0)]);
    assert_eq!(routed(&mut lane, 1, &[]), [Some(0.0), Some(1.0), Some(1.0)]);
}

#[test]
fn a_model_keeps_its_state_when_its_route_changes() {
    let mut lane = Lane::new(&load(&[for_devices("x", &["x*"])]));
    assert_eq!(routed(&mut lane, 0, &[]), [Some(0.0)]);
    put_in_force(&mut lane, &load(&[for_devices("x", &["x*", "y"])]));
    assert_eq!(routed(&mut lane, 0, &[]), [Some(1.0)]);
    // Two that see every device must come out of a snapshot as they went in: they get one state.
    let two = load(&[for_devices("z", &[]), for_devices("x", &[])]);
    put_in_force(&mut lane, &two);
    assert_eq!(routed(&mut lane, 0, &[]), [Some(2.0), Some(2.0)]);
    let mut again = Lane::load(&two, &saved(&lane)).unwrap();
    assert_eq!(routed(&mut again, 0, &[]), routed(&mut lane, 0, &[]));
    put_in_force(&mut lane, &load(&[for_devices("x", &["x"])]));
    assert_eq!(routed(&mut lane, 0, &[]), [Some(4.0)]);
    put_in_force(&mut lane, &load(&[for_devices("other", &["y"])]));
    assert_eq!(routed(&mut lane, 0, &[]), [Some(0.0)], "it knows nothing of the devices it sees now");
}

fn of_windows(name: &str, features: &[WindowFeature]) -> Model {
    let inputs = Inputs::Windows {
        window: "w".to_owned(),
        each: vec!["a".to_owned(), "b".to_owned()],
        features: features.to_vec(),
    };
    Model { name: name.to_owned(), ..fixture("none", inputs) }
}

#[test]
fn rows_of_windows_and_of_readings_do_not_touch_each_other() {
    let set = load(&[fixture("none", each(&["a"])), of_windows("w", &[WindowFeature::Mean])]);
    let mut lane = Lane::new(&set);
    let mut flushed = Flushed::default();
    let closed = |stream, value: &'static [f64]| ClosedRow {
        slot: 0,
        stream,
        event_time: 0,
        offset: 0,
        values: value,
    };
    let rows: Vec<_> = [(0, &[1.0]), (1, &[1.0]), (0, &[f64::NAN]), (0, &[1.0])]
        .map(|(stream, value)| lane.push_closed(1, &closed(stream, value)).unwrap())
        .into();
    lane.flush(&mut flushed).unwrap();
    let said: Vec<_> = rows.iter().map(|row| flushed.verdicts(*row, 0)[1]).collect();
    let score = |verdict: &Verdict| match verdict {
        Verdict::Score { score, .. } => Some(*score),
        _ => None,
    };
    assert_eq!(said.iter().map(score).collect::<Vec<_>>(), [Some(0.0), Some(0.0), None, Some(1.0)]);
    assert!(rows.iter().all(|row| flushed.verdicts(*row, 0)[0] == Verdict::NotScored));
    assert_eq!(routed(&mut lane, 0, &[]), [Some(0.0), None], "a model of windows is asked of no reading");
    let mut lane = Lane::load(&set, &saved(&lane)).unwrap();
    let row = lane.push_closed(1, &closed(0, &[1.0])).unwrap();
    lane.flush(&mut flushed).unwrap();
    assert_eq!(score(&flushed.verdicts(row, 0)[1]), Some(2.0));
    assert!(Lane::new(&load(&[of_windows("w", &[WindowFeature::Mean])])).is_idle());
}

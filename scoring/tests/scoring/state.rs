//! What keeps state and what loses it: eviction, other models, snapshots, damaged snapshots.

use crate::rig::{Trial, each, ewma, fixture, load, run, saved, scores, trial};
use schemas::pipeline::Model;
use scoring::{Input, Lane};

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
    lane.configure(&load(&[ewma("{}", each(&["b"])), renamed]));
    let reading = Trial { slot: 0, values: vec![Input { metric: 0, value: Some(1.0) }] };
    assert_eq!(scores(&[run(&mut lane, &[reading], 1, 0)[0][1..].to_vec()]), [2.0]);
    lane.configure(&load(std::slice::from_ref(&model)));
    assert_eq!(count(&mut lane, 0), 3.0);
}

#[test]
fn another_version_starts_anew() {
    let model = fixture("none", each(&["a"]));
    let mut lane = Lane::new(&load(std::slice::from_ref(&model)));
    assert_eq!([count(&mut lane, 0), count(&mut lane, 0)], [0.0, 1.0]);
    lane.configure(&load(&[Model { seed: 1, ..model.clone() }]));
    assert_eq!(count(&mut lane, 0), 0.0);
    lane.configure(&load(&[]));
    assert!(lane.is_idle());
    lane.configure(&load(&[model]));
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

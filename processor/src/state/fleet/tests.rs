//! Devices: silence, slots that change hands, metadata of the right time, snapshots.

use super::*;
use crate::state::bytes::Bytes;
use schemas::codec::Codec;

fn fleet_of(ids: &[&str], stalled_after: Option<Micros>) -> Fleet {
    let mut fleet = Fleet::default();
    fleet.watch(stalled_after);
    for (slot, id) in (0..).map(Slot).zip(ids) {
        assert_eq!(fleet.admit(slot, id), None);
    }
    fleet
}

fn stalled(fleet: &mut Fleet, now: Micros) -> Vec<u32> {
    std::iter::from_fn(|| fleet.next_stalled(now)).map(|slot| slot.0).collect()
}

#[test]
fn silence_fires_in_the_order_of_deadlines_and_once() {
    let mut fleet = fleet_of(&["a", "b", "c"], Some(10));
    fleet.touch(Slot(0), 5);
    fleet.touch(Slot(1), 3);
    fleet.touch(Slot(2), 3);
    fleet.touch(Slot(1), 4);
    assert_eq!(fleet.stall_deadline(), Some(13));
    assert_eq!(stalled(&mut fleet, 12), [] as [u32; 0]);
    assert_eq!(stalled(&mut fleet, 100), [2, 1, 0]);
    assert_eq!(stalled(&mut fleet, 200), [] as [u32; 0], "once for each silence");
    fleet.touch(Slot(2), 200);
    assert_eq!(fleet.stall_deadline(), Some(210));
    assert_eq!(stalled(&mut fleet, 210), [2]);
}

#[test]
fn a_slot_that_changes_hands_keeps_no_silence_of_its_last_owner() {
    let mut fleet = fleet_of(&["a"], Some(10));
    fleet.touch(Slot(0), 0);
    fleet.evict(Slot(0));
    assert_eq!(fleet.len(), 0);
    fleet.admit(Slot(0), "b");
    fleet.touch(Slot(0), 8);
    assert_eq!(stalled(&mut fleet, 12), [] as [u32; 0]);
    assert_eq!(stalled(&mut fleet, 18), [0]);
}

#[test]
fn the_metadata_of_a_row_is_that_of_its_last_contribution() {
    let mut fleet = fleet_of(&["a"], None);
    let mut names = Names::default();
    let mut describe = |since, site: &str, deleted| {
        let record =
            Record { device_id: "a".to_owned(), site: Some(site.to_owned()), deleted, ..Record::default() };
        fleet.describe(Slot(0), Version::new(record, since, &mut names).expect("room"));
    };
    describe(10, "first", false);
    describe(20, "second", false);
    describe(30, "gone", true);
    let site_at = |receipt| {
        let mut summary = DeviceSummary::default();
        fleet.summarize(Slot(0), "t", receipt, &mut summary).then_some(summary.site).flatten()
    };
    assert_eq!(site_at(9), None);
    assert_eq!(site_at(10).as_deref(), Some("first"));
    assert_eq!(site_at(29).as_deref(), Some("second"));
    assert_eq!(site_at(30), None);
    assert!(fleet.entry(Slot(0)).current().is_none());
}

#[test]
fn a_snapshot_restores_devices_parked_metadata_and_timers() {
    let codec = Codec::local();
    let mut names = Names::default();
    let mut fleet = fleet_of(&["a", "b"], Some(10));
    let record = Record { device_id: "b".to_owned(), disorder: Some(7), ..Record::default() };
    fleet.describe(Slot(1), Version::new(record, 3, &mut names).expect("room"));
    fleet.touch(Slot(0), 5);
    fleet.evict(Slot(1));
    let mut bytes = Vec::new();
    fleet.save(&codec, &mut bytes);
    let mut read = Bytes::new(&bytes);
    let mut loaded = Fleet::load(Some(10), &mut names, &codec, &mut read).expect("its own bytes");
    read.finish().expect("all of them");
    assert_eq!(loaded.ids().collect::<Vec<_>>(), [(Slot(0), "a")]);
    assert_eq!(loaded.stall_deadline(), Some(15));
    let overrides = loaded.admit(Slot(1), "b").expect("its metadata was kept");
    assert_eq!(overrides.disorder, Some(7));
    let mut again = Vec::new();
    loaded.evict(Slot(1));
    loaded.save(&codec, &mut again);
    assert_eq!(bytes, again);
    for length in 0..bytes.len() {
        let cut = Fleet::load(None, &mut names, &codec, &mut Bytes::new(&bytes[..length]));
        assert!(cut.is_err(), "{length} bytes were taken for all of them");
    }
}

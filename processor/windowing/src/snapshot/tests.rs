//! That what was saved returns, and that nothing else is accepted. That a restored partition goes on to the byte is
//! shown on random histories in `tests/`.

use proptest::prelude::*;

use crate::api::*;
use crate::partition::Partition;

#[derive(Default)]
struct Rows(Vec<String>);

impl Sink for Rows {
    fn emit(&mut self, emission: Emission<'_>) {
        self.0.push(format!("{emission:?}"));
    }

    fn evict(&mut self, slot: Slot, device: &str) {
        self.0.push(format!("evict {slot:?} {device}"));
    }
}

fn rule(name: &str, assigner: Assigner) -> WindowRule {
    WindowRule {
        name: name.into(),
        assigner,
        early_every: None,
        early_count: None,
        metrics: None,
        disorder: 10,
        quiet_after: 10,
        lateness: 100,
        settle: 10,
    }
}

fn settings() -> Settings {
    let mut early = rule("early", Assigner::Tumbling { size: 50, offset: 5 });
    early.early_every = Some(7);
    early.early_count = Some(3);
    early.metrics = Some(vec![Metric(0), Metric(2)]);
    Settings {
        windows: vec![
            rule("tumbling", Assigner::Tumbling { size: 20, offset: 0 }),
            rule("hopping", Assigner::Hopping { size: 30, advance: 20 }),
            rule("session", Assigner::Session { gap: 15 }),
            early,
        ],
        idle_retention: 1_000,
        device_retention: 100_000,
        devices_max: 10,
        panes_max: 10_000,
        backfill_panes_max: 3,
        models: 1,
    }
}

/// A partition with something of everything.
fn lived_in() -> Partition {
    let mut rows = Rows::default();
    let mut partition = Partition::new();
    partition.configure(settings(), 0, &mut rows);
    let times = [3, 8, 25, 40, 41, 20, 90, 200, 5, 10, 300, 2_000, 1_500, 1_600, 1_100, 1_050, 2_015];
    for (k, at) in times.into_iter().enumerate() {
        let receipt = 1_000 + 4 * k as Micros;
        partition.advance(receipt, &mut rows);
        let slot = partition.locate(["a", "b"][k % 2], receipt).expect("there is room");
        if k == 5 {
            partition.set_overrides(slot, Overrides { lateness: Some(50), ..Overrides::default() });
        }
        partition.mark(slot, (k % 3 == 0).then_some("boot"), k as i64, at);
        let scores = [Scored::Score(k as f64, k > 3)];
        let values = [
            Value { metric: Metric(k as u16 % 3), value: Some(k as f64), scores: &scores },
            Value { metric: Metric(1), value: None, scores: &[] },
        ];
        let reading = Observation { event_time: at, offset: k as i64, values: &values };
        partition.observe(slot, &reading, &mut rows).expect("there is room");
    }
    assert!(!rows.0.is_empty());
    partition
}

fn saved(partition: &Partition) -> Vec<u8> {
    let mut bytes = Vec::new();
    partition.save(&mut bytes);
    bytes
}

#[test]
fn what_was_saved_returns() {
    let mut partition = lived_in();
    let bytes = saved(&partition);
    let mut restored = Partition::load(&bytes).expect("it was just saved");
    assert_eq!(saved(&restored), bytes);
    assert_eq!(restored.panes(), partition.panes());
    assert_eq!(restored.next_deadline(), partition.next_deadline());
    assert_eq!(restored.next_eviction(), partition.next_eviction());
    for slot in [Slot(0), Slot(1)] {
        assert_eq!(restored.explain(slot), partition.explain(slot));
    }
    let (mut rows, mut again) = (Rows::default(), Rows::default());
    partition.advance(1_000_000, &mut rows);
    restored.advance(1_000_000, &mut again);
    assert!(rows.0.len() > 2, "what waited, and two evictions");
    assert_eq!(rows.0, again.0);
    assert_eq!(saved(&restored), saved(&partition));
    assert_eq!((partition.panes(), partition.devices()), (0, 0));
}

#[test]
fn free_slots_return() {
    let mut partition = Partition::new();
    let mut rows = Rows::default();
    let mut short = settings();
    short.device_retention = 10;
    partition.configure(short, 0, &mut rows);
    for (k, id) in ["a", "b", "c"].into_iter().enumerate() {
        partition.locate(id, if k == 2 { 100 } else { 0 }).expect("there is room");
    }
    partition.advance(50, &mut rows);
    assert_eq!(rows.0, ["evict Slot(0) a", "evict Slot(1) b"]);
    let mut restored = Partition::load(&saved(&partition)).expect("it was just saved");
    assert_eq!(restored.find("c"), Some(Slot(2)));
    assert_eq!(restored.locate("d", 50), Ok(Slot(0)), "lowest first");
    assert_eq!(restored.locate("e", 50), Ok(Slot(1)));
}

#[test]
fn other_versions_and_loose_ends_are_refused() {
    let mut bytes = saved(&lived_in());
    bytes.push(0);
    assert_eq!(Partition::load(&bytes).err(), Some(LoadError::Damaged("it goes on too long")));
    bytes[0] = 9;
    assert!(matches!(Partition::load(&bytes), Err(LoadError::Version(9, 1))));
    assert!(Partition::load(&[]).is_err());
}

#[test]
fn every_cut_is_refused() {
    let bytes = saved(&lived_in());
    for len in 0..bytes.len() {
        assert!(Partition::load(&bytes[..len]).is_err(), "cut at {len}");
    }
}

proptest! {
    #[test]
    fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Partition::load(&bytes);
    }

    /// A changed byte is refused, or gives another state that can be saved and read; it may be wrong but not broken.
    #[test]
    fn changed_bytes_never_panic(at in any::<prop::sample::Index>(), to in any::<u8>()) {
        let mut bytes = saved(&lived_in());
        let at = at.index(bytes.len());
        bytes[at] = to;
        if let Ok(mut partition) = Partition::load(&bytes) {
            partition.next_deadline();
            let again = saved(&partition);
            prop_assert!(Partition::load(&again).is_ok());
            partition.advance(Micros::MAX, &mut Rows::default());
        }
    }
}

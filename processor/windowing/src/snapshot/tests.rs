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
    assert!(matches!(Partition::load(&bytes), Err(LoadError::Version(9, 2))));
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

/// One call of a history.
#[derive(Clone, Debug)]
enum Call {
    /// Receipt time passes.
    Advance(Micros),
    /// A device, its event time, a metric, and how many values.
    Observe(usize, Micros, u16, usize),
    Override(usize, Overrides),
    End(Option<usize>),
    Configure(usize),
}

fn calls() -> impl Strategy<Value = Call> {
    let spans = prop_oneof![0..40_i64, 0..400_i64, Just(5_000_i64)];
    let maybe = || prop::option::of(0..60_i64);
    prop_oneof![
        8 => prop_oneof![4 => 0..12_i64, 2 => 0..90_i64, 1 => 0..3_000_i64].prop_map(Call::Advance),
        // Around now, behind, far behind, a little ahead.
        20 => (0..4_usize, spans, any::<bool>(), 0..3_u16, 1..3_usize).prop_map(|(device, back, ahead, metric, n)| {
            Call::Observe(device, if ahead { back % 60 } else { -back }, metric, n)
        }),
        1 => (0..4_usize, maybe(), maybe(), maybe(), maybe()).prop_map(|(device, disorder, quiet_after, lateness, settle)| {
            Call::Override(device, Overrides { disorder, quiet_after, lateness, settle })
        }),
        1 => prop::option::of(0..4_usize).prop_map(Call::End),
        1 => (0..4_usize).prop_map(Call::Configure),
    ]
}

/// Variants that share some definitions.
fn variant(k: usize) -> Settings {
    let mut settings = settings();
    settings.panes_max = 60;
    settings.device_retention = 6_000;
    match k {
        1 => {
            settings.windows.remove(1);
            settings.windows[0].disorder = 40;
        }
        2 => settings.windows.rotate_left(2),
        3 => {
            settings.windows[3].early_every = None;
            settings.windows[2].early_every = Some(11);
            settings.windows[2].disorder = 0;
            settings.windows[1].lateness = 0;
            settings.windows[0].quiet_after = 0;
            settings.idle_retention = 30;
        }
        _ => {}
    }
    settings
}

fn apply(partition: &mut Partition, call: &Call, now: &mut Micros, rows: &mut Rows) {
    const IDS: [&str; 4] = ["d", "b", "a", "c"];
    match call {
        Call::Advance(span) => *now += span,
        Call::Observe(device, relative, metric, n) => {
            partition.advance(*now, rows);
            let slot = partition.locate(IDS[*device], *now).expect("there is room");
            let scores = [Scored::Score(*relative as f64, false)];
            let values: Vec<Value<'_>> = (0..*n)
                .map(|k| Value {
                    metric: Metric((metric + k as u16) % 3),
                    value: Some(*relative as f64 / 7.0),
                    scores: &scores,
                })
                .collect();
            let reading = Observation { event_time: *now + relative, offset: 0, values: &values };
            let taken = partition.observe(slot, &reading, rows);
            rows.0.push(format!("{taken:?}"));
        }
        Call::Override(device, overrides) => {
            partition.advance(*now, rows);
            if let Some(slot) = partition.find(IDS[*device]) {
                partition.set_overrides(slot, *overrides);
            }
        }
        Call::End(device) => {
            partition.advance(*now, rows);
            match device {
                None => partition.end(None, rows),
                Some(device) => {
                    if let Some(slot) = partition.find(IDS[*device]) {
                        partition.end(Some(slot), rows);
                    }
                }
            }
        }
        Call::Configure(k) => {
            partition.advance(*now, rows);
            partition.configure(variant(*k), *now, rows);
        }
    }
}

proptest! {
    /// What is derived (timers, bounds, counts) and kept up to date by every call is what loading derives anew.
    #[test]
    fn a_restored_partition_goes_on_the_same(history in prop::collection::vec(calls(), 1..120), every in 1..7_usize) {
        let (mut plain, mut restored) = (Partition::new(), Partition::new());
        let (mut rows, mut again) = (Rows::default(), Rows::default());
        let mut now = 100_000;
        for partition in [&mut plain, &mut restored] {
            partition.configure(variant(0), now, &mut Rows::default());
        }
        for (k, call) in history.iter().enumerate() {
            let mut then = now;
            apply(&mut plain, call, &mut now, &mut rows);
            apply(&mut restored, call, &mut then, &mut again);
            prop_assert_eq!(&rows.0, &again.0, "after call {} {:?}", k, call);
            rows.0.clear();
            again.0.clear();
            prop_assert_eq!(saved(&plain), saved(&restored), "after call {}", k);
            prop_assert_eq!(plain.next_deadline(), restored.next_deadline(), "after call {}", k);
            prop_assert_eq!(plain.next_eviction(), restored.next_eviction(), "after call {}", k);
            prop_assert!(plain.shelf_is_tidy() && restored.shelf_is_tidy(), "after call {}", k);
            if k % every == 0 {
                restored = Partition::load(&saved(&restored)).expect("it was just saved");
                prop_assert_eq!(plain.panes(), restored.panes());
            }
        }
    }
}

fn hostile() -> impl Strategy<Value = Micros> {
    prop_oneof![
        Just(Micros::MIN),
        Just(Micros::MAX),
        (0..100_i64).prop_map(|k| Micros::MIN + k),
        (0..100_i64).prop_map(|k| Micros::MAX - k),
        -200..200_i64,
        any::<Micros>(),
    ]
}

proptest! {
    /// Times at the ends of the range saturate: no panic, no endless firing, and the state can still be saved.
    #[test]
    fn the_ends_of_time_do_not_panic(
        steps in prop::collection::vec((hostile(), hostile(), 0..2_usize), 1..30),
        times in (hostile(), hostile(), hostile(), hostile()),
        k in 0..4_usize,
    ) {
        let mut rows = Rows::default();
        let mut partition = Partition::new();
        partition.configure(variant(k), Micros::MIN, &mut rows);
        for (n, (receipt, event_time, device)) in steps.iter().enumerate() {
            partition.advance(*receipt, &mut rows);
            let Ok(slot) = partition.locate(["a", "b"][*device], *receipt) else { continue };
            if n == 3 {
                let (disorder, quiet_after, lateness, settle) = times;
                partition.set_overrides(slot, Overrides {
                    disorder: Some(disorder),
                    quiet_after: Some(quiet_after),
                    lateness: Some(lateness),
                    settle: Some(settle),
                });
            }
            partition.mark(slot, None, *event_time, *event_time);
            let values = [Value { metric: Metric(0), value: Some(1.0), scores: &[] }];
            let reading = Observation { event_time: *event_time, offset: n as i64, values: &values };
            let _ = partition.observe(slot, &reading, &mut rows);
            partition.explain(slot);
            let loaded = Partition::load(&saved(&partition));
            prop_assert!(loaded.is_ok(), "{:?}", loaded.err());
        }
        partition.end(None, &mut rows);
        partition.configure(variant((k + 1) % 4), Micros::MAX, &mut rows);
        partition.advance(Micros::MAX, &mut rows);
    }
}

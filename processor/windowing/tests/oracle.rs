//! Random histories: the engine does what the slow model of `docs/windowing.md` does, record by record, bit by bit.

#[path = "oracle/naive.rs"]
mod naive;

use std::collections::BTreeMap;

use naive::compare::{difference, expected};
use naive::moves::histories;
use naive::rows::Event;
use naive::seeded::seeded;
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use windowing::api::{Kind, Sequence};

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 700,
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        max_shrink_iters: 20_000,
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_engine_does_what_the_rules_say(history in histories(60)) {
        if let Some(difference) = difference(&history) {
            prop_assert!(false, "{}", difference);
        }
    }
}

/// How often each thing that can happen happens in the histories above.
#[test]
fn the_histories_have_something_of_everything() {
    let mut times: BTreeMap<&str, u32> = BTreeMap::new();
    for history in seeded(1, 150, 60) {
        for event in expected(&history).into_iter().flatten() {
            let what = match event {
                Event::Row(row) => match row.kind {
                    Kind::Early => "early",
                    Kind::OnTime => "on time",
                    Kind::Late if row.revision == 1 => "back-fill",
                    Kind::Late => "revision",
                    Kind::AtEnd => "at end",
                    Kind::Retracted { .. } => "retracted",
                },
                Event::Evicted(..) => "evicted",
                Event::Seen(Sequence::Fresh) => "fresh",
                Event::Seen(Sequence::Duplicate) => "duplicate",
                Event::Seen(Sequence::BeyondHorizon) => "beyond the horizon",
                Event::Taken(taken) => match (taken.panes, taken.refused.len()) {
                    (0, 0) => "no window's",
                    (_, 0) => "taken",
                    (0, _) => "late",
                    _ => "late in part",
                },
                Event::PaneLimit(_) => "pane limit",
                Event::DeviceLimit(_) => "device limit",
            };
            *times.entry(what).or_default() += 1;
        }
    }
    assert_eq!(times.len(), 16, "{times:?}");
    assert!(times.values().all(|times| *times >= 5), "{times:?}");
}

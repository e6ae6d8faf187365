//! Random histories: the engine does what the slow model of `docs/windowing.md` does, record by record, bit by bit.

#[path = "oracle/naive.rs"]
mod naive;

use naive::compare::difference;
use naive::moves::histories;
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 300,
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

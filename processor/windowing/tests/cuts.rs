//! Saved and restored anywhere, a partition goes on as if nothing had happened: the same rows and answers, and the
//! same bytes when it is saved again.

#[path = "oracle/naive.rs"]
mod naive;

use naive::history::{History, Windows, apply};
use naive::moves::histories;
use proptest::prelude::*;
use proptest::test_runner::{FileFailurePersistence, TestCaseError};
use windowing::partition::Partition;

fn saved(partition: &Partition) -> Vec<u8> {
    let mut bytes = Vec::new();
    partition.save(&mut bytes);
    bytes
}

/// Restores after each record of `cuts` (taken in turn, again and again), and compares with a partition that is left
/// alone.
fn check(history: &History, cuts: &[bool]) -> Result<(), TestCaseError> {
    let (mut through, mut cut) = (Partition::new(), Partition::new());
    for (offset, step) in history.0.iter().enumerate() {
        let expected = apply(&mut through, offset as i64, step);
        let actual = apply(&mut cut, offset as i64, step);
        prop_assert_eq!(expected, actual, "what came of record {}", offset);
        if !cuts[offset % cuts.len()] {
            continue;
        }
        let bytes = saved(&cut);
        prop_assert_eq!(&saved(&through), &bytes, "bytes after record {}", offset);
        cut = Partition::load(&bytes).map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!(&saved(&cut), &bytes, "bytes after a restart at record {}", offset);
        prop_assert_eq!(Windows::panes(&cut), Windows::panes(&through));
        prop_assert_eq!(Windows::next_deadline(&cut), Windows::next_deadline(&through));
        prop_assert_eq!(Windows::next_eviction(&cut), Windows::next_eviction(&through));
    }
    prop_assert_eq!(saved(&cut), saved(&through), "bytes at the end");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 300,
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_partition_that_was_saved_and_restored_goes_on_the_same(
        history in histories(80),
        cuts in prop::collection::vec(prop::bool::weighted(0.4), 1..20),
    ) {
        check(&history, &cuts)?;
    }

    #[test]
    fn a_partition_that_is_restored_after_every_record_goes_on_the_same(history in histories(40)) {
        check(&history, &[true])?;
    }
}

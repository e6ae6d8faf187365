//! One look at one partition, and what follows from it alone.

use schemas::Micros;

/// One look at one partition, its committed offset taken before its bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// The journal's clock at the look.
    pub at: Micros,
    /// Next offset the group will read after a restart; none: it never committed.
    pub committed: Option<i64>,
    /// First offset kept.
    pub start: i64,
    /// The offset after the last committed record.
    pub end: i64,
    /// Receipt time of the first record at or after the position; none: there is no such record, or it could not
    /// be looked up.
    pub oldest_unread_at: Option<Micros>,
}

/// What is unread.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backlog {
    /// Where reading goes on: the committed offset, or the log's start where that is later or nothing was
    /// committed.
    pub position: i64,
    /// Records from there to the end.
    pub records: u64,
    /// Age of the oldest of them; 0 when there are none, absent when it could not be looked up.
    pub seconds: Option<f64>,
    /// Records that were never read and are no longer there.
    pub lost: u64,
}

/// What is unread, from one sample.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "ages stay far below 2^52 microseconds")]
pub fn backlog(sample: &Sample) -> Backlog {
    let committed = sample.committed.unwrap_or(sample.start);
    let position = committed.max(sample.start);
    let records = u64::try_from(sample.end.saturating_sub(position)).unwrap_or(0);
    let lost = u64::try_from(sample.start.saturating_sub(committed)).unwrap_or(0);
    let seconds = if records == 0 {
        Some(0.0)
    } else {
        // A journal's clock may be a little behind the stamp of a record appended this instant.
        sample.oldest_unread_at.map(|oldest| sample.at.saturating_sub(oldest).max(0) as f64 / 1e6)
    };
    Backlog { position, records, seconds, lost }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample(committed: Option<i64>, start: i64, end: i64, age: Option<Micros>) -> Sample {
        Sample { at: 10_000_000, committed, start, end, oldest_unread_at: age.map(|age| 10_000_000 - age) }
    }

    #[test]
    fn the_usual_cases() {
        let behind = backlog(&sample(Some(40), 0, 100, Some(2_500_000)));
        assert_eq!(behind, Backlog { position: 40, records: 60, seconds: Some(2.5), lost: 0 });
        let fresh = backlog(&sample(Some(100), 0, 100, None));
        assert_eq!(fresh, Backlog { position: 100, records: 0, seconds: Some(0.0), lost: 0 });
    }

    #[test]
    fn a_group_that_never_committed_is_behind_by_everything_kept() {
        let never = backlog(&sample(None, 30, 100, Some(1)));
        assert_eq!((never.position, never.records, never.lost), (30, 70, 0));
    }

    #[test]
    fn what_retention_took_is_lost_and_is_no_lag() {
        let lost = backlog(&sample(Some(10), 30, 30, None));
        assert_eq!(lost, Backlog { position: 30, records: 0, seconds: Some(0.0), lost: 20 });
    }

    #[test]
    fn what_is_not_known_is_absent_and_a_stamp_ahead_of_the_clock_is_no_age() {
        assert_eq!(backlog(&sample(Some(1), 0, 2, None)).seconds, None);
        assert_eq!(backlog(&sample(Some(1), 0, 2, Some(-5))).seconds, Some(0.0));
    }

    proptest! {
        #[test]
        fn nothing_is_ever_negative_or_no_number(
            at: i64, committed: Option<i64>, start: i64, end: i64, oldest_unread_at: Option<i64>,
        ) {
            let found = backlog(&Sample { at, committed, start, end, oldest_unread_at });
            prop_assert!(found.seconds.is_none_or(|seconds| seconds >= 0.0 && seconds.is_finite()));
            prop_assert!(found.position >= start);
            prop_assert!(found.records == 0 || found.lost == 0 || committed.is_some_and(|at| at < start));
        }
    }
}

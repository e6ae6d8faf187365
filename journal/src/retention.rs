//! How long records are kept, in both embedded homes.

use schemas::Micros;
use std::time::Duration;

/// How long a topic's records are kept; the first bound that is passed counts. Whole segments go, first ones first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// Since their receipt; none: for ever.
    pub age: Option<Duration>,
    /// Bytes kept of each partition; none: all.
    pub partition_bytes_max: Option<u64>,
}

impl Retention {
    /// Whether the first segment of a partition goes.
    pub(crate) fn over(self, now: Micros, received_at: Micros, partition_bytes: i64) -> bool {
        let age_us = self.age.map(|age| i64::try_from(age.as_micros()).unwrap_or(i64::MAX));
        age_us.is_some_and(|age_us| now.saturating_sub(received_at) > age_us)
            || self.partition_bytes_max.is_some_and(|max| partition_bytes.unsigned_abs() > max)
    }
}

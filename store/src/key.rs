//! How rows are keyed in every adapter: the time buckets that bound a partition of a wide-row store.
//!
//! Does not live here: tables themselves (each adapter) or cursors (`cursor`).

use schemas::Micros;

/// Microseconds of a day.
pub(crate) const DAY: Micros = 86_400_000_000;

/// Bucket of a window that starts at `start`: days since the epoch, so that one second windows give at most
/// 86,400 rows to a bucket.
#[must_use]
pub(crate) const fn bucket_of(start: Micros) -> i64 {
    start.div_euclid(DAY)
}

/// Day of an alert: days since the epoch.
#[must_use]
pub(crate) const fn day_of(event_time: Micros) -> i64 {
    event_time.div_euclid(DAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_before_the_epoch_round_down() {
        assert_eq!((bucket_of(-1), bucket_of(0), bucket_of(DAY - 1), bucket_of(DAY)), (-1, 0, 0, 1));
        assert_eq!(day_of(-DAY - 1), -2);
    }
}

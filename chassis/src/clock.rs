//! The only `now()`. Everything that needs the time takes a [`Clock`], so that tests and simulations run on a
//! clock they turn by hand.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// A clock: the machine's, or one turned by hand. Clones show the same time.
#[derive(Clone, Debug)]
pub struct Clock(Face);

#[derive(Clone, Debug)]
enum Face {
    System(Instant),
    Manual(Arc<AtomicI64>),
}

impl Default for Clock {
    fn default() -> Self {
        Self::system()
    }
}

impl Clock {
    /// The machine's clock.
    #[must_use]
    pub fn system() -> Self {
        Self(Face::System(Instant::now()))
    }

    /// A clock that stands at `micros` since the epoch until it is moved.
    #[must_use]
    pub fn manual(micros: i64) -> Self {
        Self(Face::Manual(Arc::new(AtomicI64::new(micros))))
    }

    /// Microseconds since the Unix epoch. May go backwards when the machine's clock is set.
    #[must_use]
    pub fn now(&self) -> i64 {
        match &self.0 {
            Face::System(_) => {
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
            }
            Face::Manual(micros) => micros.load(Ordering::Acquire),
        }
    }

    /// Microseconds on a scale that never goes backwards; its zero means nothing. For durations.
    #[must_use]
    pub fn steady(&self) -> i64 {
        match &self.0 {
            Face::System(start) => i64::try_from(start.elapsed().as_micros()).unwrap_or(i64::MAX),
            Face::Manual(micros) => micros.load(Ordering::Acquire),
        }
    }

    /// Moves a clock turned by hand; the machine's clock stays as it is.
    pub fn advance(&self, by_micros: i64) {
        if let Face::Manual(micros) = &self.0 {
            micros.fetch_add(by_micros, Ordering::AcqRel);
        }
    }
}

/// A time in RFC 3339, UTC, with six digits after the second when it is not whole: what our JSON carries.
#[must_use]
pub fn rfc3339(micros: i64) -> String {
    match jiff::Timestamp::from_microsecond(micros) {
        Ok(time) => time.to_string(),
        // Outside the years -9999 to 9999, which only a corrupt value reaches.
        Err(_) => format!("{micros}us"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_stands_until_it_is_moved_and_clones_move_with_it() {
        let clock = Clock::manual(5);
        let clone = clock.clone();
        clock.advance(7);
        assert_eq!((clone.now(), clone.steady()), (12, 12));
    }

    #[test]
    fn the_machines_clock_is_past_the_day_this_was_written_and_never_runs_back() {
        let clock = Clock::system();
        assert!(clock.now() > 1_750_000_000_000_000);
        let before = clock.steady();
        assert!(clock.steady() >= before);
    }

    #[test]
    fn times_print_in_utc() {
        assert_eq!(rfc3339(1_627_847_280_000_000), "2021-08-01T19:48:00Z");
        assert_eq!(rfc3339(1_627_847_280_000_001), "2021-08-01T19:48:00.000001Z");
        assert_eq!(rfc3339(i64::MAX), format!("{}us", i64::MAX));
    }
}

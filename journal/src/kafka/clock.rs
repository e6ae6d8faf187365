//! What time the brokers have: receipt times are theirs, and ticks are due by them. A host's clock that is wrong by
//! an hour must not make windows close an hour late.
//!
//! The estimate only decides *when* a tick is written; no byte of a result depends on it. Before anything is known it
//! is the host's clock. A record that was just appended tells better: it was stamped before the answer came, so
//! stamp minus arrival is at most the true difference, and the greatest of a while is the closest. A record that is
//! read may be old: it tells only that the brokers are at least so far.

use schemas::Micros;
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long the closest answer counts; after two of them clocks may have drifted apart.
const WINDOW: Duration = Duration::from_secs(300);

/// The brokers' clock, as seen from here.
#[derive(Debug)]
pub(super) struct BrokerClock {
    started: Instant,
    seen: Mutex<Seen>,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    /// Brokers' time minus monotonic time, by the host's clock at the start.
    by_host: Micros,
    /// At least, by records that were read.
    at_least: Option<Micros>,
    /// By answers to appends: of this window, and of the one before.
    current: Option<Micros>,
    previous: Option<Micros>,
    window_started: Micros,
}

impl BrokerClock {
    /// Begins with the host's clock.
    pub(super) fn new() -> Self {
        let host = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let seen =
            Seen { by_host: micros(host), at_least: None, current: None, previous: None, window_started: 0 };
        Self { started: Instant::now(), seen: Mutex::new(seen) }
    }

    /// Now, by the brokers.
    pub(super) fn now(&self) -> Micros {
        let elapsed = micros(self.started.elapsed());
        crate::wake::locked(&self.seen).offset().saturating_add(elapsed)
    }

    /// A record was stamped so when it was appended, and the answer has just come.
    pub(super) fn appended(&self, stamped: Micros) {
        let elapsed = micros(self.started.elapsed());
        crate::wake::locked(&self.seen).appended(stamped, elapsed);
    }

    /// A record that was stamped so has just been read.
    pub(super) fn read(&self, stamped: Micros) {
        let offset = stamped.saturating_sub(micros(self.started.elapsed()));
        let mut seen = crate::wake::locked(&self.seen);
        seen.at_least = seen.at_least.max(Some(offset));
    }
}

impl Seen {
    fn offset(&self) -> Micros {
        self.current
            .max(self.previous)
            .unwrap_or_else(|| self.at_least.map_or(self.by_host, |least| least.max(self.by_host)))
    }

    fn appended(&mut self, stamped: Micros, elapsed: Micros) {
        if elapsed - self.window_started > micros(WINDOW) {
            self.previous = self.current.take();
            self.window_started = elapsed;
        }
        self.current = self.current.max(Some(stamped.saturating_sub(elapsed)));
    }
}

fn micros(of: Duration) -> Micros {
    Micros::try_from(of.as_micros()).unwrap_or(Micros::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Micros = 3_600_000_000;

    fn seen(by_host: Micros) -> Seen {
        Seen { by_host, at_least: None, current: None, previous: None, window_started: 0 }
    }

    #[test]
    fn a_host_an_hour_ahead_is_put_right_by_the_first_append() {
        let mut seen = seen(HOUR);
        assert_eq!(seen.offset(), HOUR);
        seen.appended(1_000, 1_500);
        assert_eq!(seen.offset(), -500);
        seen.appended(2_400, 2_500);
        assert_eq!(seen.offset(), -100, "the quicker answer is closer");
        seen.appended(3_000, 9_000);
        assert_eq!(seen.offset(), -100);
    }

    #[test]
    fn a_host_an_hour_behind_is_put_right_by_what_it_reads() {
        let clock = BrokerClock::new();
        let before = clock.now();
        clock.read(before - HOUR);
        assert!(clock.now() < before + HOUR / 2, "an old record says nothing");
        clock.read(before + HOUR);
        assert!(clock.now() >= before + HOUR);
    }

    #[test]
    fn the_closest_answer_is_forgotten_after_two_windows() {
        let mut seen = seen(0);
        seen.appended(100, 0);
        let window = micros(WINDOW);
        seen.appended(window + 1 + 50, window + 1);
        assert_eq!(seen.offset(), 100);
        seen.appended(2 * window + 2 + 60, 2 * window + 2);
        assert_eq!(seen.offset(), 60);
    }
}

//! How many requests may be on the way: half as many after an overload, one more after each round that went well.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Failures within this time of a halving were on the way when it happened, and count as one with it.
const ROUND: Duration = Duration::from_millis(200);

/// A number of requests between 1 and its greatest.
#[derive(Debug)]
pub(super) struct Limit {
    max: f64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    allowed: f64,
    halved: Option<Instant>,
}

impl Limit {
    /// Begins at the greatest number.
    pub(super) fn new(max: usize) -> Self {
        let max = f64::from(u32::try_from(max.max(1)).unwrap_or(u32::MAX));
        Self { max, state: Mutex::new(State { allowed: max, halved: None }) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Two numbers: whole at every step.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Requests that may be on the way now.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 1 to `max`")]
    pub(super) fn allowed(&self) -> usize {
        self.lock().allowed as usize
    }

    /// A request was answered.
    pub(super) fn went_well(&self) {
        let mut state = self.lock();
        state.allowed = (state.allowed + 1.0 / state.allowed).min(self.max);
    }

    /// A request was refused for overload, or was not answered in time.
    pub(super) fn overloaded(&self, now: Instant) {
        let mut state = self.lock();
        if state.halved.is_none_or(|halved| now.saturating_duration_since(halved) >= ROUND) {
            state.allowed = (state.allowed / 2.0).max(1.0);
            state.halved = Some(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_halves_once_a_round_and_grows_by_one_a_round() {
        let (limit, start) = (Limit::new(64), Instant::now());
        assert_eq!(limit.allowed(), 64);
        for _ in 0..50 {
            limit.overloaded(start);
        }
        assert_eq!(limit.allowed(), 32, "one overload is many failures at once");
        limit.overloaded(start + ROUND);
        assert_eq!(limit.allowed(), 16);
        for _ in 0..17 {
            limit.went_well();
        }
        assert_eq!(limit.allowed(), 17);
        for _ in 0..100_000 {
            limit.went_well();
        }
        assert_eq!(limit.allowed(), 64, "never above the greatest");
        for round in 2..40 {
            limit.overloaded(start + ROUND * round);
        }
        assert_eq!(limit.allowed(), 1, "never below one");
        assert_eq!(Limit::new(0).allowed(), 1);
    }
}

//! Waking the pollers: a counter under a condvar, rung when something they may wait for has happened.
//!
//! Invariant: whoever reads the count, looks, finds nothing and then waits on that count misses no ring between.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// The guard of a mutex, also after another holder's panic: every section under these locks leaves whole values.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A counter that can be waited on.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    rings: Mutex<u64>,
    rung: Condvar,
}

impl Bell {
    /// Rings so far.
    pub(crate) fn count(&self) -> u64 {
        *locked(&self.rings)
    }

    /// Wakes everybody.
    pub(crate) fn ring(&self) {
        *locked(&self.rings) += 1;
        self.rung.notify_all();
    }

    /// Waits until the count differs from `seen`, at most until `deadline` (none: for ever).
    pub(crate) fn wait(&self, seen: u64, deadline: Option<Instant>) {
        let mut rings = locked(&self.rings);
        while *rings == seen {
            rings = match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
                None => self.rung.wait(rings).unwrap_or_else(PoisonError::into_inner),
                Some(left) if left.is_zero() => return,
                Some(left) => self.rung.wait_timeout(rings, left).unwrap_or_else(PoisonError::into_inner).0,
            };
        }
    }
}

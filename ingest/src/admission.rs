//! How much memory requests may take together. A request reserves what it is about to hold before it holds it; when
//! there is no room it is turned away while it is still small.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The bytes that all requests share.
#[derive(Clone, Debug)]
pub(crate) struct Budget(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    used: AtomicUsize,
    bytes_max: usize,
}

/// There is no room now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{used} of {bytes_max} bytes for requests are in use, and {wanted} are needed")]
pub(crate) struct NoRoom {
    used: usize,
    bytes_max: usize,
    /// By the whole request.
    wanted: usize,
}

impl NoRoom {
    /// Whether there would be room if this were the only request.
    pub(crate) const fn ever(&self) -> bool {
        self.wanted <= self.bytes_max
    }
}

impl Budget {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self(Arc::new(Shared { used: AtomicUsize::new(0), bytes_max }))
    }

    /// Reserves `bytes` until the reservation is dropped.
    pub(crate) fn reserve(&self, bytes: usize) -> Result<Reservation, NoRoom> {
        let mut reservation = Reservation { budget: self.clone(), bytes: 0 };
        reservation.grow(bytes)?;
        Ok(reservation)
    }

    /// Bytes reserved now.
    pub(crate) fn used(&self) -> usize {
        self.0.used.load(Ordering::Acquire)
    }
}

/// Bytes held for one request.
#[derive(Debug)]
pub(crate) struct Reservation {
    budget: Budget,
    bytes: usize,
}

impl Reservation {
    /// Reserves more.
    pub(crate) fn grow(&mut self, by: usize) -> Result<(), NoRoom> {
        let Shared { used, bytes_max } = &*self.budget.0;
        let room = |now: usize| now.checked_add(by).filter(|sum| sum <= bytes_max);
        match used.fetch_update(Ordering::AcqRel, Ordering::Acquire, room) {
            Ok(_) => {
                self.bytes += by;
                Ok(())
            }
            Err(now) => {
                Err(NoRoom { used: now, bytes_max: *bytes_max, wanted: self.bytes.saturating_add(by) })
            }
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.0.used.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_reserved_is_given_back_and_no_more_is_given_than_there_is() {
        let budget = Budget::new(10);
        let mut first = budget.reserve(4).unwrap();
        let second = budget.reserve(5).unwrap();
        assert_eq!(budget.reserve(2).unwrap_err(), NoRoom { used: 9, bytes_max: 10, wanted: 2 });
        assert!(first.grow(2).is_err_and(|full| full.ever()));
        assert!(first.grow(7).is_err_and(|full| !full.ever()) && first.grow(usize::MAX).is_err());
        assert_eq!(budget.used(), 9);
        drop(second);
        first.grow(6).unwrap();
        assert_eq!(budget.used(), 10);
        drop(first);
        assert_eq!(budget.used(), 0);
    }
}

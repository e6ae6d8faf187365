//! What became of every reading that came through the door: `received = accepted + rejected + returned + in flight`.
//!
//! Each term is measured by itself: received where bodies are taken apart, accepted and rejected from the offsets
//! that the journal gave, in flight from the list of requests being worked on. None is the difference of others.

use chassis::metrics as names;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The books of this process since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct IngestBooks {
    /// Readings found in bodies; a body that cannot be taken apart counts as one.
    pub received: u64,
    /// Durable in `iot.raw`.
    pub accepted: u64,
    /// Durable as dead letters.
    pub rejected: u64,
    /// Given back with their whole request (413, 429, 503): not acknowledged, to be sent again.
    pub returned: u64,
    /// Being worked on now.
    pub in_flight: u64,
}

impl IngestBooks {
    /// Received minus every outcome and what is in flight; anything but 0 is a fault.
    #[must_use]
    pub fn difference(&self) -> i64 {
        let outcomes = self.accepted + self.rejected + self.returned + self.in_flight;
        self.received.cast_signed().wrapping_sub(outcomes.cast_signed())
    }
}

/// The books being kept.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger(Arc<Mutex<Lines>>);

#[derive(Debug, Default)]
struct Lines {
    totals: IngestBooks,
    requests_ever: u64,
    requests: BTreeMap<u64, u64>,
}

impl Lines {
    fn in_flight(&self) -> u64 {
        self.requests.values().sum()
    }
}

impl Ledger {
    /// The books as they stand, all terms of one moment.
    pub(crate) fn books(&self) -> IngestBooks {
        let lines = self.lock();
        IngestBooks { in_flight: lines.in_flight(), ..lines.totals }
    }

    /// Notes that `readings` were found in a body.
    pub(crate) fn receive(&self, readings: usize) -> Ticket {
        let mut lines = self.lock();
        lines.requests_ever += 1;
        let request = lines.requests_ever;
        lines.requests.insert(request, readings as u64);
        lines.totals.received += readings as u64;
        self.show(&lines, &[("received", readings)]);
        drop(lines);
        Ticket { ledger: self.clone(), request }
    }

    fn lock(&self) -> MutexGuard<'_, Lines> {
        // Nothing that can panic runs under the lock, and its lines are whole at every step.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn show(&self, lines: &Lines, outcomes: &[(&'static str, usize)]) {
        for (outcome, count) in outcomes.iter().filter(|(_, count)| *count > 0) {
            metrics::counter!(names::READINGS_TOTAL, "stage" => "ingest", "outcome" => *outcome)
                .increment(*count as u64);
        }
        let books = IngestBooks { in_flight: lines.in_flight(), ..lines.totals };
        metrics::gauge!(names::READINGS_IN_FLIGHT, "stage" => "ingest").set(books.in_flight as f64);
        metrics::gauge!(names::BOOKS_DIFFERENCE, "stage" => "ingest").set(books.difference() as f64);
    }
}

/// The readings of one request on their way. Dropped without an outcome (a bug), it leaves the books unbalanced.
#[derive(Debug)]
pub(crate) struct Ticket {
    ledger: Ledger,
    request: u64,
}

impl Ticket {
    /// The journal has them.
    pub(crate) fn written(self, accepted: usize, rejected: usize) {
        let mut lines = self.ledger.lock();
        lines.totals.accepted += accepted as u64;
        lines.totals.rejected += rejected as u64;
        lines.requests.remove(&self.request);
        self.ledger.show(&lines, &[("accepted", accepted), ("rejected", rejected)]);
    }

    /// They went back to the sender.
    pub(crate) fn returned(self, readings: usize) {
        let mut lines = self.ledger.lock();
        lines.totals.returned += readings as u64;
        lines.requests.remove(&self.request);
        self.ledger.show(&lines, &[("returned", readings)]);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.ledger.lock().requests.remove(&self.request);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_out_balances_and_a_lost_request_does_not() {
        let ledger = Ledger::default();
        let written = ledger.receive(5);
        let returned = ledger.receive(3);
        assert_eq!(ledger.books(), IngestBooks { received: 8, in_flight: 8, ..IngestBooks::default() });
        written.written(4, 1);
        returned.returned(3);
        let books = ledger.books();
        assert_eq!(books, IngestBooks { received: 8, accepted: 4, rejected: 1, returned: 3, in_flight: 0 });
        assert_eq!(books.difference(), 0);
        drop(ledger.receive(2));
        assert_eq!(ledger.books().difference(), 2);
    }
}

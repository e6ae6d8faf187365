//! When something is due if nothing arrives: one entry per device in each of two heaps, one for panes and one for
//! eviction.
//!
//! Invariant: an entry's deadline is at most the true one. What is popped is compared with the true deadline and
//! pushed again if it was early, so readings that only put deadlines off never touch the heap.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::api::Micros;

/// Lower bounds of deadlines, by device slot.
#[derive(Clone, Debug, Default)]
pub(crate) struct Timers {
    heap: BinaryHeap<Reverse<(Micros, u32)>>,
}

impl Timers {
    /// Due at `deadline` or later; `Micros::MAX` is never.
    pub(crate) fn push(&mut self, deadline: Micros, slot: u32) {
        if deadline < Micros::MAX {
            if self.heap.len() == self.heap.capacity() {
                // Doubling would waste as much again as a large fleet takes.
                self.heap.reserve_exact(64 + self.heap.len() / 8);
            }
            self.heap.push(Reverse((deadline, slot)));
        }
    }

    /// Least entry.
    #[inline]
    pub(crate) fn peek(&self) -> Option<(Micros, u32)> {
        self.heap.peek().map(|&Reverse(entry)| entry)
    }

    /// Takes the least entry.
    pub(crate) fn pop(&mut self) -> Option<(Micros, u32)> {
        self.heap.pop().map(|Reverse(entry)| entry)
    }

    /// Entries, outdated ones among them.
    pub(crate) fn len(&self) -> usize {
        self.heap.len()
    }

    /// Forgets all.
    pub(crate) fn clear(&mut self) {
        self.heap.clear();
    }

    /// Bytes beyond its own size.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.heap.capacity() * size_of::<Reverse<(Micros, u32)>>()
    }

    /// Least of the true deadlines, found by looking only at entries that could be it. `exact` gives a slot's
    /// (none: the entry is outdated). Looks at no more than `looks_max` entries; then it is a lower bound.
    pub(crate) fn least(
        &self,
        looks_max: usize,
        exact: impl Fn(Micros, u32) -> Option<Micros>,
    ) -> Option<Micros> {
        // The children of k in the heap's array are 2k + 1 and 2k + 2, and never less than k.
        let array = self.heap.as_slice();
        let mut candidates = BinaryHeap::new();
        let add = |candidates: &mut BinaryHeap<_>, k: usize| {
            if let Some(Reverse((deadline, _))) = array.get(k) {
                candidates.push(Reverse((*deadline, k)));
            }
        };
        add(&mut candidates, 0);
        let mut least: Option<Micros> = None;
        let mut looks = 0;
        while let Some(Reverse((bound, k))) = candidates.pop() {
            if least.is_some_and(|least| least <= bound) {
                break;
            }
            if looks == looks_max {
                return Some(bound);
            }
            looks += 1;
            let Reverse((deadline, slot)) = array[k];
            if let Some(exact) = exact(deadline, slot).filter(|exact| *exact < Micros::MAX) {
                least = Some(least.map_or(exact, |least| least.min(exact)));
            }
            add(&mut candidates, 2 * k + 1);
            add(&mut candidates, 2 * k + 2);
        }
        least
    }
}

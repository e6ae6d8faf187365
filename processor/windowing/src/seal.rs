//! What is complete, published and forgotten. The only place that calls a reading late for a window.
//!
//! Invariant: intervals are half-open, ascending, apart from each other, and at most [`SEALS_MAX`].

use smallvec::SmallVec;

use crate::api::Micros;

/// Most intervals kept per device and window definition.
pub(crate) const SEALS_MAX: usize = 16;

/// Sealed starts (sessions: sealed event times).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seals {
    list: SmallVec<[(Micros, Micros); 1]>,
}

impl Seals {
    /// Whether a window that starts at `at` (a session: a reading at `at`) comes too late.
    #[inline]
    pub(crate) fn is_late(&self, at: Micros) -> bool {
        match self.list.last() {
            Some(&(start, end)) if at < end => at >= start || self.is_behind(at),
            _ => false,
        }
    }

    #[cold]
    fn is_behind(&self, at: Micros) -> bool {
        let after = self.list.partition_point(|&(start, _)| start <= at);
        after > 0 && at < self.list[after - 1].1
    }

    /// Seals `[start, end)`.
    pub(crate) fn add(&mut self, start: Micros, end: Micros) {
        if start >= end {
            return;
        }
        // Everything from the first that reaches `start` up to the last that `end` reaches becomes one.
        let from = self.list.partition_point(|&(_, e)| e < start);
        let to = self.list.partition_point(|&(s, _)| s <= end);
        if from == to {
            if self.list.len() == self.list.capacity() {
                self.list.reserve_exact(1);
            }
            self.list.insert(from, (start, end));
        } else {
            let joined = (start.min(self.list[from].0), end.max(self.list[to - 1].1));
            self.list[from] = joined;
            self.list.drain(from + 1..to);
        }
        if self.list.len() > SEALS_MAX {
            self.join_nearest();
        }
    }

    /// What lies between the two is sealed although it may never have been opened: the less of it the better. A long
    /// gap may be a buffer that is still coming.
    #[cold]
    fn join_nearest(&mut self) {
        let gap = |at: &usize| self.list[*at].0.saturating_sub(self.list[*at - 1].1);
        if let Some(at) = (1..self.list.len()).min_by_key(gap) {
            self.list[at - 1].1 = self.list[at].1;
            self.list.remove(at);
        }
    }

    /// Ascending.
    pub(crate) fn list(&self) -> &[(Micros, Micros)] {
        &self.list
    }

    /// As saved; none when the invariant does not hold.
    pub(crate) fn restore(list: Vec<(Micros, Micros)>) -> Option<Self> {
        let whole = list.len() <= SEALS_MAX && list.iter().all(|(start, end)| start < end);
        let apart = list.windows(2).all(|pair| pair[0].1 < pair[1].0);
        (whole && apart).then(|| Self { list: list.into_iter().collect() })
    }

    /// Bytes beyond its own size.
    pub(crate) fn heap_bytes(&self) -> usize {
        if self.list.spilled() { self.list.capacity() * size_of::<(Micros, Micros)>() } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_open_and_joined_when_they_touch() {
        let mut seals = Seals::default();
        assert!(!seals.is_late(0));
        seals.add(0, 10);
        seals.add(20, 30);
        assert!(seals.is_late(0) && seals.is_late(9) && !seals.is_late(10) && !seals.is_late(-1));
        assert!(seals.is_late(20) && !seals.is_late(19) && !seals.is_late(30));
        seals.add(10, 15);
        assert_eq!(seals.list(), [(0, 15), (20, 30)]);
        seals.add(15, 20);
        assert_eq!(seals.list(), [(0, 30)]);
        seals.add(-5, 40);
        assert_eq!(seals.list(), [(-5, 40)]);
        seals.add(3, 3);
        assert_eq!(seals.list(), [(-5, 40)]);
    }

    #[test]
    fn of_more_than_sixteen_the_two_nearest_are_joined() {
        let mut seals = Seals::default();
        for k in 0..17 {
            seals.add(k * 10, k * 10 + 1);
        }
        assert_eq!(seals.list().len(), 16);
        assert_eq!(seals.list()[0], (0, 11));
        assert!(seals.is_late(5), "between the two that were joined");
        assert!(!seals.is_late(15));
        seals.add(-100, -99);
        assert_eq!(
            seals.list()[..2],
            [(-100, -99), (0, 21)],
            "not across the long gap; of equal ones the oldest"
        );
        seals.add(-97, -90);
        assert_eq!(seals.list()[0], (-100, -90), "the new one may be among the two");
    }

    #[test]
    fn restores_only_what_it_could_have_saved() {
        assert!(Seals::restore(vec![(0, 1), (2, 3)]).is_some());
        assert!(Seals::restore(vec![(0, 1), (1, 3)]).is_none());
        assert!(Seals::restore(vec![(0, 0)]).is_none());
        assert!(Seals::restore((0..17).map(|k| (k * 10, k * 10 + 1)).collect()).is_none());
    }
}

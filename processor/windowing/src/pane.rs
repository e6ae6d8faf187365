//! One pane: its place in time, where it is in its life, and one accumulator per metric.
//!
//! Sizes matter here: there are millions. The first metric is inline; further metrics and what only some panes
//! need are in one box. Nothing here decides when something happens: [`crate::track`] and [`crate::effects`] do.
//!
//! Invariants: `live` excludes `waiting`; `deep` implies `waiting` and excludes a hold, as `live` does; of equal metrics there is one series.

use crate::accumulator::Acc;
use crate::api::{Metric, Micros};

/// One metric of a pane.
#[derive(Clone, Debug, Default, PartialEq)]
#[repr(C)]
pub(crate) struct Series {
    pub(crate) metric: u16,
    /// Contributed to since its last emission.
    pub(crate) changed: bool,
    /// The pane's flags, in its first series: the byte would be empty otherwise.
    flags: u8,
    /// Last revision emitted.
    pub(crate) revision: u32,
    /// Unused in hopping panes: their values live in slices.
    pub(crate) acc: Acc,
}

impl Series {
    /// Nothing of a metric.
    pub(crate) fn of(metric: Metric) -> Self {
        Self { metric: metric.0, ..Self::default() }
    }
}

/// What only some panes need.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rare {
    /// Metrics after the first, in order of first appearance.
    pub(crate) more: Vec<Series>,
    /// Device clock at which the next early emission is due.
    pub(crate) next_early: Micros,
    /// Receipt time of the first contribution that waits.
    pub(crate) first_waiting: Micros,
    /// End of a pane whose length has no short form.
    end: Micros,
    /// High half of the number of readings.
    readings_high: u32,
    /// Receipt time of the reading that jumped over it; [`NEVER`] unless it is held.
    pub(crate) held_at: Micros,
}

impl Rare {
    const NONE: Self = Self {
        more: Vec::new(),
        next_early: NEVER,
        first_waiting: 0,
        end: 0,
        readings_high: 0,
        held_at: NEVER,
    };
}

/// Never completed since it became live.
const LIVE: u8 = 1;
/// Completed before.
const COMPLETED: u8 = 2;
/// Contributions since the last emission, behind the watermark.
const WAITING: u8 = 4;
/// Dropped with its emission.
const DEEP: u8 = 8;
/// The reading being applied reached the early count.
const COUNT_REACHED: u8 = 16;

/// One window of one device. In this order: what is looked at without the values lies together, and a pane is two
/// lines of a cache.
#[derive(Clone, Debug, PartialEq)]
#[repr(C, align(64))]
pub(crate) struct Pane {
    pub(crate) start: Micros,
    /// Receipt time of the last contribution.
    pub(crate) contributed_at: Micros,
    pub(crate) rare: Option<Box<Rare>>,
    /// Length: microseconds, or seconds with the highest bit, or [`LONG`].
    length: u32,
    /// Readings, the low half.
    readings: u32,
    first: Series,
}

/// A length in seconds.
const SECONDS: u32 = 1 << 31;
/// The end stands in [`Rare`].
const LONG: u32 = u32::MAX;
const SECOND: u64 = 1_000_000;

/// `next_early` of a pane without early emissions by clock.
pub(crate) const NEVER: Micros = Micros::MAX;

impl Pane {
    /// An empty pane whose first metric this is.
    pub(crate) fn open(start: Micros, end: Micros, metric: Metric) -> Self {
        let mut pane =
            Self { start, contributed_at: 0, length: 0, readings: 0, rare: None, first: Series::of(metric) };
        pane.set_end(end);
        pane
    }

    #[inline]
    pub(crate) fn end(&self) -> Micros {
        let length = match self.length {
            LONG => return self.rare.as_deref().map_or(self.start, |rare| rare.end),
            seconds if seconds & SECONDS != 0 => u64::from(seconds & !SECONDS) * SECOND,
            micros => u64::from(micros),
        };
        self.start.wrapping_add(length as i64)
    }

    /// To be called again when `start` has changed.
    pub(crate) fn set_end(&mut self, end: Micros) {
        let length = end.wrapping_sub(self.start) as u64;
        self.length = match length / SECOND {
            _ if length < u64::from(SECONDS) => length as u32,
            seconds if length.is_multiple_of(SECOND) && seconds < u64::from(LONG & !SECONDS) => {
                seconds as u32 | SECONDS
            }
            _ => {
                self.rare_mut().end = end;
                LONG
            }
        };
    }

    /// As saved: the first series and those after it.
    pub(crate) fn set_series(&mut self, mut series: Vec<Series>) {
        if !series.is_empty() {
            self.first = Series { flags: self.first.flags, ..series.remove(0) };
        }
        if !series.is_empty() {
            self.rare_mut().more = series;
        }
    }

    #[inline]
    fn is(&self, flag: u8) -> bool {
        self.first.flags & flag != 0
    }

    #[inline]
    fn set(&mut self, flag: u8, to: bool) {
        self.first.flags = self.first.flags & !flag | if to { flag } else { 0 };
    }

    /// Never completed since it became live.
    #[inline]
    pub(crate) fn live(&self) -> bool {
        self.is(LIVE)
    }

    pub(crate) fn set_live(&mut self, live: bool) {
        self.set(LIVE, live);
    }

    /// Completed before.
    pub(crate) fn completed(&self) -> bool {
        self.is(COMPLETED)
    }

    pub(crate) fn set_completed(&mut self, completed: bool) {
        self.set(COMPLETED, completed);
    }

    /// Contributions since the last emission, behind the watermark.
    #[inline]
    pub(crate) fn waiting(&self) -> bool {
        self.is(WAITING)
    }

    /// Dropped with its emission.
    #[inline]
    pub(crate) fn deep(&self) -> bool {
        self.is(DEEP)
    }

    pub(crate) fn set_deep(&mut self, deep: bool) {
        self.set(DEEP, deep);
    }

    /// Whether the reading being applied reached the early count.
    pub(crate) fn set_count_reached(&mut self, reached: bool) {
        self.set(COUNT_REACHED, reached);
    }

    /// Whether it did; asked once.
    pub(crate) fn take_count_reached(&mut self) -> bool {
        let reached = self.is(COUNT_REACHED);
        self.set(COUNT_REACHED, false);
        reached
    }

    /// Readings it took.
    #[inline]
    pub(crate) fn readings(&self) -> u64 {
        u64::from(self.rare.as_deref().map_or(0, |rare| rare.readings_high)) << 32 | u64::from(self.readings)
    }

    #[inline]
    pub(crate) fn set_readings(&mut self, readings: u64) {
        self.readings = readings as u32;
        if self.rare.is_some() || readings > u64::from(u32::MAX) {
            self.rare_mut().readings_high = (readings >> 32) as u32;
        }
    }

    pub(crate) fn rare_mut(&mut self) -> &mut Rare {
        self.rare.get_or_insert_with(|| Box::new(Rare::NONE))
    }

    /// In order of first appearance.
    pub(crate) fn series(&self) -> impl Iterator<Item = &Series> {
        std::iter::once(&self.first).chain(self.rare.as_deref().into_iter().flat_map(|rare| rare.more.iter()))
    }

    /// In order of first appearance.
    pub(crate) fn series_all_mut(&mut self) -> impl Iterator<Item = &mut Series> {
        std::iter::once(&mut self.first)
            .chain(self.rare.as_deref_mut().into_iter().flat_map(|rare| rare.more.iter_mut()))
    }

    /// The series of `metric`, and whether it had to be made.
    #[inline]
    pub(crate) fn series_mut(&mut self, metric: Metric) -> (&mut Series, bool) {
        if self.first.metric == metric.0 {
            return (&mut self.first, false);
        }
        let more = &mut self.rare_mut().more;
        match more.iter().position(|series| series.metric == metric.0) {
            Some(at) => (&mut more[at], false),
            None => {
                more.reserve_exact(usize::from(more.len() == more.capacity()));
                more.push(Series::of(metric));
                let last = more.len() - 1;
                (&mut more[last], true)
            }
        }
    }

    /// Whether it has a series of `metric`.
    pub(crate) fn has(&self, metric: Metric) -> bool {
        self.series().any(|series| series.metric == metric.0)
    }

    /// Accumulators, as `panes_max` counts them.
    pub(crate) fn accumulators(&self) -> u32 {
        1 + self.rare.as_deref().map_or(0, |rare| rare.more.len() as u32)
    }

    /// Whether an emission would emit anything.
    #[inline]
    pub(crate) fn changed(&self) -> bool {
        self.first.changed
            || self.rare.as_deref().is_some_and(|rare| rare.more.iter().any(|series| series.changed))
    }

    /// Device clock of the next early emission; [`NEVER`] without one.
    pub(crate) fn next_early(&self) -> Micros {
        self.rare.as_deref().map_or(NEVER, |rare| rare.next_early)
    }

    /// Sets it.
    pub(crate) fn set_next_early(&mut self, at: Micros) {
        if at != self.next_early() {
            self.rare_mut().next_early = at;
        }
    }

    /// Moves it on to the first `start + k * every` beyond `clock`, and beyond itself.
    pub(crate) fn move_early(&mut self, every: Micros, clock: Micros) {
        let clock = i128::from(clock.max(self.next_early()));
        let (start, every) = (i128::from(self.start), i128::from(every.max(1)));
        let steps = (clock - start).div_euclid(every) + 1;
        self.set_next_early(Micros::try_from(start + steps * every).unwrap_or(NEVER));
    }

    /// Receipt time of the first contribution that waits.
    pub(crate) fn first_waiting(&self) -> Micros {
        self.rare.as_deref().map_or(0, |rare| rare.first_waiting)
    }

    /// Waits since `first`, unless it waits already.
    pub(crate) fn wait(&mut self, first: Micros) {
        if !self.waiting() {
            self.wait_since(first);
        }
    }

    /// Waits since `first`.
    pub(crate) fn wait_since(&mut self, first: Micros) {
        self.set(WAITING, true);
        self.rare_mut().first_waiting = first;
    }

    /// Nothing waits any more.
    pub(crate) fn settle(&mut self) {
        self.set(WAITING | DEEP, false);
    }

    /// Receipt time of the reading that jumped over it and keeps the watermark from dropping it.
    pub(crate) fn held_at(&self) -> Option<Micros> {
        self.rare.as_deref().map(|rare| rare.held_at).filter(|at| *at != NEVER)
    }

    /// Held because of a reading received at `at`.
    pub(crate) fn hold(&mut self, at: Micros) {
        self.rare_mut().held_at = at;
    }

    /// Not held any more.
    pub(crate) fn release(&mut self) {
        if let Some(rare) = self.rare.as_deref_mut() {
            rare.held_at = NEVER;
        }
    }

    /// Bytes beyond its own size.
    pub(crate) fn heap_bytes(&self) -> usize {
        let rare = self
            .rare
            .as_deref()
            .map_or(0, |rare| size_of::<Rare>() + rare.more.capacity() * size_of::<Series>());
        rare + self.series().map(|series| series.acc.heap_bytes()).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_end_returns_and_usual_ones_take_no_room() {
        let second = SECOND as Micros;
        for (start, length) in
            [(-7, 0), (3, 1), (3, 60 * second), (-5, Micros::from(SECONDS) - 1), (0, 366 * 86_400 * second)]
        {
            let pane = Pane::open(start, start + length, Metric(0));
            assert_eq!((pane.end(), pane.heap_bytes()), (start + length, 0));
        }
        for (start, end) in [
            (0, Micros::from(SECONDS) + 1),
            (0, Micros::from(LONG)),
            (0, Micros::from(LONG & !SECONDS) * second),
            (Micros::MIN, Micros::MAX),
            (Micros::MAX, Micros::MIN),
            (5, 4),
        ] {
            let mut pane = Pane::open(start, end, Metric(0));
            assert_eq!(pane.end(), end);
            pane.set_end(start);
            assert_eq!(pane.end(), start);
        }
        assert!(size_of::<Pane>() <= 128);
    }

    #[test]
    fn readings_beyond_their_short_form() {
        let mut pane = Pane::open(0, 1, Metric(0));
        for readings in [1, u64::from(u32::MAX), u64::from(u32::MAX) + 1, 7] {
            pane.set_readings(readings);
            assert_eq!(pane.readings(), readings);
        }
    }
}

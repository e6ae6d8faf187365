//! The shared slices of hopping windows: each value is added once, however many windows overlap it.
//!
//! Invariant: slices ascend by start, lie on the grid of `width`, and each is covered by at least one pane of the
//! track after every drop.

use crate::accumulator::Acc;
use crate::api::{Metric, Micros, Value};
use crate::assigner;
use crate::mutation::{Mutant, Mutation};

/// The values of one stretch of time.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Slice {
    pub(crate) start: Micros,
    pub(crate) metrics: Vec<(Metric, Acc)>,
}

/// The slices of one device and definition.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Slices {
    pub(crate) list: Vec<Slice>,
}

impl Slices {
    fn find(&self, start: Micros) -> Result<usize, usize> {
        match self.list.last() {
            Some(last) if last.start == start => Ok(self.list.len() - 1),
            Some(last) if last.start < start => Err(self.list.len()),
            _ => self.list.binary_search_by_key(&start, |slice| slice.start),
        }
    }

    /// Adds one value; true when an accumulator had to be made.
    pub(crate) fn add(&mut self, width: Micros, value: &Value<'_>, at: Micros, mutant: Mutant) -> bool {
        let start = assigner::floor(at, width, 0);
        let index = match self.find(start) {
            Ok(index) => index,
            Err(index) => {
                self.list.insert(index, Slice { start, metrics: Vec::with_capacity(1) });
                index
            }
        };
        let metrics = &mut self.list[index].metrics;
        let known = metrics.iter().position(|(metric, _)| *metric == value.metric);
        let place = known.unwrap_or_else(|| {
            metrics.push((value.metric, Acc::default()));
            metrics.len() - 1
        });
        metrics[place].1.add(value, at, mutant);
        known.is_none()
    }

    /// Whether the slice that `at` falls into holds `metric`.
    pub(crate) fn has(&self, width: Micros, metric: Metric, at: Micros) -> bool {
        self.find(assigner::floor(at, width, 0))
            .is_ok_and(|index| self.list[index].metrics.iter().any(|(known, _)| *known == metric))
    }

    /// `metric` over `[start, end)`, merged in ascending start.
    pub(crate) fn over(&self, metric: Metric, start: Micros, end: Micros, mutant: Mutant) -> Acc {
        let from = self.list.partition_point(|slice| slice.start < start);
        let to = self.list.partition_point(|slice| slice.start < end).max(from);
        let mut all = Acc::default();
        let parts =
            self.list[from..to].iter().flat_map(|slice| &slice.metrics).filter(|(known, _)| *known == metric);
        if mutant.is(Mutation::SlicesMergedBackwards) {
            parts.rev().for_each(|(_, acc)| all.merge(acc));
        } else {
            parts.for_each(|(_, acc)| all.merge(acc));
        }
        all
    }

    /// Lets go of slices within `[start, end)`, a window that is gone, that no remaining window covers; returns how
    /// many accumulators that were. `covered` says whether one covers the slice that starts there.
    pub(crate) fn release(&mut self, start: Micros, end: Micros, covered: impl Fn(Micros) -> bool) -> u32 {
        let mut gone = 0;
        self.list.retain(|slice| {
            let keep = slice.start < start || slice.start >= end || covered(slice.start);
            if !keep {
                gone += slice.metrics.len() as u32;
            }
            keep
        });
        gone
    }

    /// Accumulators.
    pub(crate) fn accumulators(&self) -> u32 {
        self.list.iter().map(|slice| slice.metrics.len() as u32).sum()
    }

    /// Bytes beyond its own size.
    pub(crate) fn heap_bytes(&self) -> usize {
        let slices = self.list.iter().map(|slice| {
            let scores: usize = slice.metrics.iter().map(|(_, acc)| acc.heap_bytes()).sum();
            slice.metrics.capacity() * size_of::<(Metric, Acc)>() + scores
        });
        self.list.capacity() * size_of::<Slice>() + slices.sum::<usize>()
    }
}

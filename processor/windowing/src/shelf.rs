//! All panes of a partition in one piece of memory: tracks hold numbers of places, not panes. Memory is that of the
//! panes there are, whatever each device's share of them was before, and opening a pane allocates nothing.
//!
//! Invariant: every place is free or held by exactly one track. Which place a pane has is seen nowhere else, not even
//! in what is saved.

use std::ops::{Index, IndexMut};

use crate::api::{Metric, Micros};
use crate::pages::Pages;
use crate::pane::Pane;

/// A pane's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spot(u32);

/// Ends the chain of free places.
const NONE: u32 = u32::MAX;

/// The panes of a partition.
#[derive(Clone, Debug)]
pub(crate) struct Shelf {
    panes: Pages<Pane>,
    /// The place that was freed last; each free one names the one before as its start.
    free: u32,
}

impl Default for Shelf {
    fn default() -> Self {
        Self { panes: Pages::default(), free: NONE }
    }
}

impl Shelf {
    /// Keeps a pane.
    #[inline]
    pub(crate) fn put(&mut self, pane: Pane) -> Spot {
        let spot = self.free;
        if let Some(place) = self.panes.get_mut(spot as usize) {
            self.free = place.start as u32;
            *place = pane;
            return Spot(spot);
        }
        self.panes.push(pane);
        // 2^32 panes would be half a terabyte.
        Spot((self.panes.len() - 1) as u32)
    }

    /// Gives a pane away; its place is free.
    #[inline]
    pub(crate) fn take(&mut self, spot: Spot) -> Pane {
        let before = Micros::from(self.free);
        self.free = spot.0;
        std::mem::replace(&mut self[spot], Pane::open(before, before, Metric(0)))
    }

    /// Panes.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        let mut free = 0;
        let mut next = self.free;
        while let Some(place) = self.panes.get(next as usize) {
            next = place.start as u32;
            free += 1;
        }
        self.panes.len() - free
    }

    /// Bytes of its places, what hangs on the panes not included.
    pub(crate) fn bytes(&self) -> usize {
        self.panes.bytes()
    }
}

impl Index<Spot> for Shelf {
    type Output = Pane;

    #[inline]
    fn index(&self, spot: Spot) -> &Pane {
        &self.panes[spot.0 as usize]
    }
}

impl IndexMut<Spot> for Shelf {
    #[inline]
    fn index_mut(&mut self, spot: Spot) -> &mut Pane {
        &mut self.panes[spot.0 as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn freed_places_are_used_again_before_new_ones() {
        let mut shelf = Shelf::default();
        let pane = |start| Pane::open(start, start + 1, Metric(0));
        let spots: Vec<Spot> = (0..4).map(|start| shelf.put(pane(start))).collect();
        assert_eq!(shelf.take(spots[1]).start, 1);
        assert_eq!(shelf.take(spots[3]).start, 3);
        assert_eq!(shelf.len(), 2);
        let again: Vec<Spot> = (10..13).map(|start| shelf.put(pane(start))).collect();
        assert_eq!(again, [spots[3], spots[1], Spot(4)]);
        let starts = [spots[0], spots[2], again[0], again[1], again[2]].map(|spot| shelf[spot].start);
        assert_eq!((starts, shelf.len()), ([0, 2, 10, 11, 12], 5));
    }
}

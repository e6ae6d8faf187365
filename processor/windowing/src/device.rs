//! One device: its clocks and one [`Track`] per window definition.
//!
//! Invariant: `deep` is the number of deep panes over all tracks; `armed` is at most every deadline of a pane.

use crate::api::{Micros, Overrides, Settings, WindowRule};
use crate::id::Id;
use crate::mutation::{Mutant, Mutation};
use crate::sequence::Boots;
use crate::shelf::Shelf;
use crate::track::Track;
use smallvec::SmallVec;

/// Deadlines farther ahead than this are armed early.
const MARGIN_FROM: Micros = 1_000_000;

/// What readings said of a device's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Clocks {
    /// False: no reading was taken yet, and `max_event` and `seen_at` mean nothing.
    pub(crate) started: bool,
    pub(crate) max_event: Micros,
    pub(crate) seen_at: Micros,
    /// `created_at` until there is one.
    pub(crate) last_receipt: Micros,
    pub(crate) created_at: Micros,
}

impl Clocks {
    /// Device clock at a receipt time; without a reading the beginning of time.
    #[inline]
    pub(crate) fn clock(&self, receipt: Micros, mutant: Mutant) -> Micros {
        if !self.started {
            return Micros::MIN;
        }
        if mutant.is(Mutation::ClockJumpsToReceipt) {
            return receipt;
        }
        self.max_event.saturating_add(receipt.saturating_sub(self.seen_at))
    }

    /// Receipt time at which the device clock shows `at`.
    #[inline]
    pub(crate) fn shows(&self, at: Micros) -> Micros {
        self.seen_at.saturating_add(at).saturating_sub(self.max_event)
    }

    /// Receipt time less device clock.
    #[inline]
    pub(crate) fn shift(&self) -> Micros {
        self.seen_at.saturating_sub(self.max_event)
    }
}

/// Time rules of one definition for one device.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    pub(crate) disorder: Micros,
    pub(crate) quiet_after: Micros,
    pub(crate) lateness: Micros,
    pub(crate) settle: Micros,
}

impl Times {
    /// The device's override if there is one, else the window's.
    #[inline]
    pub(crate) fn of(rule: &WindowRule, overrides: Option<&Overrides>) -> Self {
        let of_rule = Self {
            disorder: rule.disorder,
            quiet_after: rule.quiet_after,
            lateness: rule.lateness,
            settle: rule.settle,
        };
        overrides.map_or(of_rule, |own| Self {
            disorder: own.disorder.unwrap_or(of_rule.disorder),
            quiet_after: own.quiet_after.unwrap_or(of_rule.quiet_after),
            lateness: own.lateness.unwrap_or(of_rule.lateness),
            settle: own.settle.unwrap_or(of_rule.settle),
        })
    }
}

/// One track a window definition.
pub(crate) type Tracks = SmallVec<[Track; 1]>;

/// One device of the partition.
#[derive(Clone, Debug)]
pub(crate) struct Device {
    pub(crate) id: Id,
    pub(crate) clocks: Clocks,
    /// Receipt time of the entry in the timers; `Micros::MAX` without one. Not saved: derived.
    pub(crate) armed: Micros,
    /// Least [`Clocks::shift`] at which deadlines by the device clock are still at or after `armed`.
    pub(crate) armed_shift: Micros,
    /// By window definition; with one definition in place.
    pub(crate) tracks: Tracks,
    pub(crate) overrides: Option<Box<Overrides>>,
    pub(crate) boots: Boots,
    pub(crate) deep: u32,
}

impl Device {
    pub(crate) fn new(id: &str, receipt: Micros, windows: usize) -> Self {
        Self {
            id: Id::new(id),
            clocks: Clocks {
                started: false,
                max_event: 0,
                seen_at: 0,
                last_receipt: receipt,
                created_at: receipt,
            },
            armed: Micros::MAX,
            armed_shift: Micros::MAX,
            tracks: tracks(windows, |_| Track::default()),
            overrides: None,
            boots: Boots::default(),
            deep: 0,
        }
    }

    #[inline]
    pub(crate) fn times(&self, rule: &WindowRule) -> Times {
        Times::of(rule, self.overrides.as_deref())
    }

    /// Watermark of a definition; `Micros::MIN` without a reading: everything is ahead of it.
    #[inline]
    pub(crate) fn watermark(&self, window: usize, times: &Times) -> Micros {
        watermark(&self.clocks, self.tracks[window].floor, times)
    }

    /// Remembers the watermarks before times change.
    pub(crate) fn raise_floors(&mut self, windows: &[WindowRule], mutant: Mutant) {
        if !self.clocks.started || mutant.is(Mutation::FloorForgotten) {
            return;
        }
        for (window, rule) in windows.iter().enumerate() {
            let times = self.times(rule);
            self.tracks[window].floor = self.watermark(window, &times);
        }
    }

    /// Looks again at every pane after times changed.
    pub(crate) fn recompute_due(&mut self, shelf: &Shelf, windows: &[WindowRule]) {
        let (clocks, overrides) = (self.clocks, self.overrides.as_deref());
        for (track, rule) in self.tracks.iter_mut().zip(windows) {
            let times = Times::of(rule, overrides);
            track.recompute_due(shelf, watermark(&clocks, track.floor, &times), &times);
        }
    }

    /// Arms for `deadline`, the true one at receipt time `now`; true when a new entry is needed. A distant deadline is
    /// armed early by a part of the distance: readings of a regular device shift its clock a little back and forth,
    /// and must not need an entry each.
    pub(crate) fn arm(&mut self, deadline: Micros, now: Micros) -> bool {
        let earlier = deadline < self.armed;
        if earlier {
            let ahead = deadline.saturating_sub(now);
            let margin = if deadline < Micros::MAX && ahead > MARGIN_FROM { ahead / 4 } else { 0 };
            self.armed = deadline - margin;
        }
        self.armed_shift = self.clocks.shift().saturating_sub(deadline.saturating_sub(self.armed));
        earlier
    }

    /// Receipt time at which it is forgotten.
    pub(crate) fn evicted_at(&self, settings: &Settings) -> Micros {
        self.clocks.created_at.max(self.clocks.last_receipt).saturating_add(settings.device_retention)
    }

    /// Accumulators, as `panes_max` counts them.
    pub(crate) fn accumulators(&self, shelf: &Shelf) -> u32 {
        self.tracks.iter().map(|track| track.accumulators(shelf)).sum()
    }
}

/// Tracks without room for more.
pub(crate) fn tracks(count: usize, make: impl FnMut(usize) -> Track) -> Tracks {
    let mut tracks = Tracks::with_capacity(count);
    tracks.extend((0..count).map(make));
    tracks
}

/// `max(floor, max_event - disorder)`; `Micros::MIN` without a reading.
#[inline]
pub(crate) fn watermark(clocks: &Clocks, floor: Micros, times: &Times) -> Micros {
    if clocks.started { floor.max(clocks.max_event.saturating_sub(times.disorder)) } else { Micros::MIN }
}

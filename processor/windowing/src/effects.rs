//! What follows from a reading after it was added, from a timer, and from an end record: completions, early
//! emissions, revisions, drops, in the order of `docs/windowing.md`.
//!
//! Invariants: everything concerns one device; a timer acts as of its own deadline and always changes something, so
//! firing what is due comes to an end.

use crate::api::{Kind, Micros, Sink, Slot, WindowRule};
use crate::device::{Clocks, Device, Times, watermark};
use crate::mutation::{Mutant, Mutation};
use crate::pane::Pane;
use crate::shelf::Shelf;
use crate::track::{Place, Rows};

/// Longest a waiting pane waits, and how long a deep one must be left alone.
pub(crate) const WAIT_MAX: Micros = 60_000_000;

/// How far beyond a pane's end the watermark must jump to hold it, and how long it is then held at least.
fn hold(times: &Times) -> Micros {
    times.lateness.max(WAIT_MAX)
}

/// What the effects on one device may see and count.
pub(crate) struct Scope<'a> {
    pub(crate) slot: Slot,
    /// Receipt time of the record being applied, or the deadline of the timer.
    pub(crate) now: Micros,
    pub(crate) windows: &'a [WindowRule],
    pub(crate) idle_retention: Micros,
    pub(crate) backfill_panes_max: u32,
    pub(crate) mutant: Mutant,
    pub(crate) shelf: &'a mut Shelf,
    /// Accumulators of the partition.
    pub(crate) panes: &'a mut u32,
    /// (end, window, start), kept to spare the allocation.
    pub(crate) order: &'a mut Vec<(Micros, u16, Micros)>,
    pub(crate) rearm: Rearm,
}

/// What has to be looked at before the device's timer can be trusted again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rearm {
    /// Deadlines only moved as [`Device::deadline_bound`] allows, and no new one is there.
    No,
    /// A new one may be there, no earlier than the bound.
    Bounded,
    /// Anything may be there.
    Full,
}

impl<'a> Scope<'a> {
    pub(crate) fn place(&self, window: u16) -> Place<'a> {
        let name = &self.windows[usize::from(window)].name;
        Place { slot: self.slot, window, name, mutant: self.mutant }
    }
}

/// When a pane's next timer is due, and what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    Complete,
    Early,
    Revise,
    Drop,
}

impl Device {
    /// A pane's next timer: receipt time (`Micros::MAX`: never) and what happens then.
    pub(crate) fn pane_due(
        &self,
        pane: &Pane,
        times: &Times,
        idle_retention: Micros,
        mutant: Mutant,
    ) -> (Micros, Due) {
        let clocks = &self.clocks;
        if pane.live() {
            let by_clock = clocks
                .seen_at
                .saturating_add(pane.end())
                .saturating_add(times.disorder)
                .saturating_sub(clocks.max_event);
            let quiet = if mutant.is(Mutation::QuietIgnored) { 0 } else { times.quiet_after };
            let silence = by_clock.max(clocks.last_receipt.saturating_add(quiet));
            let next_early = pane.next_early();
            if next_early < Micros::MAX && pane.changed() {
                let early = clocks.shows(next_early);
                if early < silence {
                    return (early, Due::Early);
                }
            }
            return (silence, Due::Complete);
        }
        if pane.waiting() {
            let last = pane.contributed_at;
            let settled =
                last.saturating_add(if mutant.is(Mutation::SettleIgnored) { 0 } else { times.settle });
            let at = if pane.deep() && !mutant.is(Mutation::DeepSettlesEarly) {
                last.saturating_add(WAIT_MAX)
            } else if mutant.is(Mutation::WaitUnbounded) {
                settled
            } else {
                settled.min(pane.first_waiting().saturating_add(WAIT_MAX))
            };
            return (at, Due::Revise);
        }
        if let Some(since) = pane.held_at() {
            let least = since.saturating_add(hold(times));
            return (least.max(pane.contributed_at.saturating_add(WAIT_MAX)), Due::Drop);
        }
        let end = clocks.seen_at.saturating_add(pane.end());
        (end.saturating_add(idle_retention).saturating_sub(clocks.max_event), Due::Drop)
    }

    /// Least receipt time at which a timer of a pane is due; `Micros::MAX`: never.
    pub(crate) fn deadline(
        &self,
        shelf: &Shelf,
        windows: &[WindowRule],
        idle_retention: Micros,
        mutant: Mutant,
    ) -> Micros {
        let mut least = Micros::MAX;
        for (track, rule) in self.tracks.iter().zip(windows) {
            let times = self.times(rule);
            for pane in track.all(shelf) {
                least = least.min(self.pane_due(pane, &times, idle_retention, mutant).0);
            }
        }
        least
    }

    /// A bound that deadlines keep when they move because of a reading at `now`: what they are at least.
    pub(crate) fn deadline_bound(
        &self,
        now: Micros,
        windows: &[WindowRule],
        idle_retention: Micros,
    ) -> Micros {
        let mut span = WAIT_MAX;
        for rule in windows {
            if rule.early_every.is_some() {
                return now;
            }
            let times = self.times(rule);
            let dropped = idle_retention.saturating_sub(times.lateness).saturating_sub(times.disorder);
            span = span.min(times.quiet_after).min(times.settle).min(dropped);
        }
        now.saturating_add(span.max(0))
    }

    /// Fires this device's timers due at or before `deadline`, each as of its own.
    pub(crate) fn fire(&mut self, deadline: Micros, scope: &mut Scope<'_>, sink: &mut impl Sink) {
        let mut list = std::mem::take(scope.order);
        loop {
            let least = self.deadline(scope.shelf, scope.windows, scope.idle_retention, scope.mutant);
            if least > deadline || least == Micros::MAX {
                break;
            }
            scope.now = least;
            list.clear();
            for (window, rule) in scope.windows.iter().enumerate() {
                let times = self.times(rule);
                let due =
                    |pane: &&Pane| self.pane_due(pane, &times, scope.idle_retention, scope.mutant).0 == least;
                list.extend(
                    self.tracks[window]
                        .all(scope.shelf)
                        .filter(due)
                        .map(|pane| (0, window as u16, pane.start)),
                );
            }
            for &(_, window, start) in &list {
                if self.fire_pane(window, start, scope, sink) <= least {
                    // It has become due again, perhaps before the others.
                    break;
                }
            }
        }
        *scope.order = list;
    }

    /// Fires one pane's timer; returns when its next one is due.
    fn fire_pane(
        &mut self,
        window: u16,
        start: Micros,
        scope: &mut Scope<'_>,
        sink: &mut impl Sink,
    ) -> Micros {
        let index = usize::from(window);
        let Some(rule) = scope.windows.get(index) else { return Micros::MAX };
        let Ok(at) = self.tracks[index].find(scope.shelf, start) else { return Micros::MAX };
        let times = self.times(rule);
        let spot = self.tracks[index].panes[at];
        let (_, due) = self.pane_due(&scope.shelf[spot], &times, scope.idle_retention, scope.mutant);
        match due {
            Due::Complete => {
                let pane = &mut scope.shelf[spot];
                let before = self.clocks.clock(scope.now, scope.mutant).saturating_sub(1);
                if let Some(every) = rule.early_every
                    && pane.next_early() <= before
                {
                    // Its early timers before this one had nothing to emit, and were spared; a session may go on.
                    pane.move_early(every, before);
                }
                self.complete(window, at, scope, sink);
            }
            Due::Early => {
                let clock = self.clocks.clock(scope.now, scope.mutant);
                let place = scope.place(window);
                self.tracks[index].emit(scope.shelf, at, Rows::Changed, place, Kind::Early, sink);
                scope.shelf[spot].move_early(rule.early_every.unwrap_or(Micros::MAX), clock);
            }
            Due::Revise => {
                let deep = scope.shelf[spot].deep();
                self.revise(window, at, Kind::Late, scope, sink);
                if deep {
                    if !scope.mutant.is(Mutation::DeepKept) {
                        self.discard(window, at, scope);
                    }
                    return Micros::MAX;
                }
            }
            Due::Drop => {
                self.discard(window, at, scope);
                return Micros::MAX;
            }
        }
        let watermark = self.watermark(index, &times);
        if self.tracks[index].is_over(scope.shelf, at, watermark, &times, scope.mutant) {
            self.discard(window, at, scope);
            return Micros::MAX;
        }
        self.tracks[index].recompute_due(scope.shelf, watermark, &times);
        self.pane_due(&scope.shelf[spot], &times, scope.idle_retention, scope.mutant).0
    }

    fn complete(&mut self, window: u16, at: usize, scope: &mut Scope<'_>, sink: &mut impl Sink) {
        let track = &mut self.tracks[usize::from(window)];
        let (spot, place) = (track.panes[at], scope.place(window));
        let kind = if scope.shelf[spot].completed() { Kind::Late } else { Kind::OnTime };
        track.emit(scope.shelf, at, Rows::All, place, kind, sink);
        let pane = &mut scope.shelf[spot];
        pane.set_live(false);
        pane.set_completed(true);
    }

    fn revise(&mut self, window: u16, at: usize, kind: Kind, scope: &mut Scope<'_>, sink: &mut impl Sink) {
        let track = &mut self.tracks[usize::from(window)];
        let place = scope.place(window);
        track.emit(scope.shelf, at, Rows::Changed, place, kind, sink);
        let pane = &mut scope.shelf[track.panes[at]];
        self.deep -= u32::from(pane.deep());
        pane.settle();
    }

    fn discard(&mut self, window: u16, at: usize, scope: &mut Scope<'_>) {
        let rule = &scope.windows[usize::from(window)];
        let track = &mut self.tracks[usize::from(window)];
        self.deep -= u32::from(scope.shelf[track.panes[at]].deep());
        let gone = track.discard(scope.shelf, at, rule.assigner, scope.mutant);
        *scope.panes = scope.panes.saturating_sub(gone);
    }

    /// Steps 1 to 3 and the bound on deep panes; true when anything happened. `before` are the clocks before the
    /// reading.
    #[inline]
    pub(crate) fn after_reading(
        &mut self,
        before: &Clocks,
        scope: &mut Scope<'_>,
        sink: &mut impl Sink,
    ) -> bool {
        let mut due = self.deep > scope.backfill_panes_max;
        for (window, rule) in scope.windows.iter().enumerate() {
            let times = self.times(rule);
            due |= self.watermark(window, &times) >= self.tracks[window].due
                || rule.early_every.is_some()
                || rule.early_count.is_some();
        }
        due && self.after_reading_due(before, scope, sink)
    }

    fn after_reading_due(&mut self, before: &Clocks, scope: &mut Scope<'_>, sink: &mut impl Sink) -> bool {
        let completed = self.complete_passed(scope, sink);
        let early = self.emit_early(scope, sink);
        let dropped = self.drop_passed(before, scope, sink);
        let bounded = self.bound_deep(scope, sink);
        completed || early || dropped || bounded
    }

    /// Step 1.
    fn complete_passed(&mut self, scope: &mut Scope<'_>, sink: &mut impl Sink) -> bool {
        let mut list = std::mem::take(scope.order);
        list.clear();
        for (window, rule) in scope.windows.iter().enumerate() {
            let times = self.times(rule);
            let watermark = self.watermark(window, &times);
            let track = &self.tracks[window];
            if watermark >= track.due {
                let inclusive = scope.mutant.is(Mutation::InclusiveWatermark);
                let passed = |pane: &&Pane| {
                    pane.live() && watermark >= pane.end() && !(inclusive && watermark == pane.end())
                };
                let passed = track.all(scope.shelf).filter(passed);
                list.extend(passed.map(|pane| (pane.end(), window as u16, pane.start)));
            }
        }
        list.sort_unstable();
        for &(_, window, start) in &list {
            if let Ok(at) = self.tracks[usize::from(window)].find(scope.shelf, start) {
                self.complete(window, at, scope, sink);
            }
        }
        let any = !list.is_empty();
        *scope.order = list;
        any
    }

    /// Step 2.
    fn emit_early(&mut self, scope: &mut Scope<'_>, sink: &mut impl Sink) -> bool {
        let clock = self.clocks.clock(scope.now, scope.mutant);
        let mut any = false;
        for (window, rule) in scope.windows.iter().enumerate() {
            if rule.early_every.is_none() && rule.early_count.is_none() {
                continue;
            }
            let track = &mut self.tracks[window];
            for at in 0..track.panes.len() {
                let spot = track.panes[at];
                let pane = &mut scope.shelf[spot];
                let by_count = pane.take_count_reached();
                if !pane.live() {
                    continue;
                }
                let by_clock = rule.early_every.filter(|_| clock >= pane.next_early());
                if (by_count || by_clock.is_some()) && pane.changed() {
                    let place = scope.place(window as u16);
                    track.emit(scope.shelf, at, Rows::Changed, place, Kind::Early, sink);
                    any = true;
                }
                if let Some(every) = by_clock {
                    scope.shelf[spot].move_early(every, clock);
                }
            }
        }
        any
    }

    /// Early emissions by clock move on while nothing has changed, as the timers they were spared would have done by
    /// `now`. Asked before anything that could make a difference: a reading, an end, other times.
    pub(crate) fn move_early_clocks(
        &self,
        shelf: &mut Shelf,
        now: Micros,
        windows: &[WindowRule],
        mutant: Mutant,
    ) {
        if !self.clocks.started || mutant.is(Mutation::EarlyClockStands) {
            return;
        }
        let clock = self.clocks.clock(now, mutant);
        for (track, rule) in self.tracks.iter().zip(windows) {
            let Some(every) = rule.early_every else { continue };
            for spot in &track.panes {
                let pane = &mut shelf[*spot];
                if pane.live() && clock >= pane.next_early() && !pane.changed() {
                    pane.move_early(every, clock);
                }
            }
        }
    }

    /// Step 3.
    fn drop_passed(&mut self, before: &Clocks, scope: &mut Scope<'_>, sink: &mut impl Sink) -> bool {
        let mut any = false;
        for (window, rule) in scope.windows.iter().enumerate() {
            let times = self.times(rule);
            let watermark = self.watermark(window, &times);
            if watermark < self.tracks[window].due {
                continue;
            }
            any |= self.hold_jumped(window as u16, before, scope, sink);
            let mut at = 0;
            while at < self.tracks[window].panes.len() {
                if self.tracks[window].is_over(scope.shelf, at, watermark, &times, scope.mutant) {
                    self.discard(window as u16, at, scope);
                    any = true;
                } else {
                    at += 1;
                }
            }
            self.tracks[window].recompute_due(scope.shelf, watermark, &times);
        }
        any
    }

    /// Holds the panes that the reading jumped over, in place of those that an earlier one did; true when there are any.
    fn hold_jumped(
        &mut self,
        window: u16,
        before: &Clocks,
        scope: &mut Scope<'_>,
        sink: &mut impl Sink,
    ) -> bool {
        let index = usize::from(window);
        let times = self.times(&scope.windows[index]);
        let from = watermark(before, self.tracks[index].floor, &times);
        let to = self.watermark(index, &times);
        let jumped =
            |pane: &Pane| !pane.live() && from < pane.end() && to >= pane.end().saturating_add(hold(&times));
        if from == to
            || scope.mutant.is(Mutation::HeldDropped)
            || !self.tracks[index].all(scope.shelf).any(jumped)
        {
            return false;
        }
        for at in 0..self.tracks[index].panes.len() {
            let pane = &mut scope.shelf[self.tracks[index].panes[at]];
            if jumped(pane) {
                pane.hold(scope.now);
            } else if pane.held_at().is_some() {
                pane.release();
                if pane.waiting() {
                    self.revise(window, at, Kind::Late, scope, sink);
                }
            }
        }
        true
    }

    /// Emits and drops the deep panes beyond the bound, those left alone longest first.
    fn bound_deep(&mut self, scope: &mut Scope<'_>, sink: &mut impl Sink) -> bool {
        let mut any = false;
        while self.deep > scope.backfill_panes_max && !scope.mutant.is(Mutation::BackfillUnbounded) {
            let least = self
                .tracks
                .iter()
                .enumerate()
                .flat_map(|(window, track)| {
                    track
                        .all(scope.shelf)
                        .enumerate()
                        .filter(|(_, pane)| pane.deep())
                        .map(move |(at, pane)| (pane.contributed_at, window, pane.start, at))
                })
                .min();
            let Some((_, window, _, at)) = least else { break };
            self.revise(window as u16, at, Kind::Late, scope, sink);
            self.discard(window as u16, at, scope);
            any = true;
        }
        any
    }

    /// Emits what changed in every pane of one definition, ascending start.
    pub(crate) fn emit_rest(&mut self, shelf: &mut Shelf, place: Place<'_>, sink: &mut impl Sink) {
        let track = &mut self.tracks[usize::from(place.window)];
        for at in 0..track.panes.len() {
            track.emit(shelf, at, Rows::Changed, place, Kind::AtEnd, sink);
        }
    }

    /// An end record: everything comes out, nothing waits any more.
    pub(crate) fn end(&mut self, scope: &mut Scope<'_>, sink: &mut impl Sink) {
        self.move_early_clocks(scope.shelf, scope.now, scope.windows, scope.mutant);
        for window in 0..scope.windows.len() as u16 {
            let track = &mut self.tracks[usize::from(window)];
            for at in 0..track.panes.len() {
                let live = scope.shelf[track.panes[at]].live();
                let what = if live { Rows::All } else { Rows::Changed };
                let place = scope.place(window);
                track.emit(scope.shelf, at, what, place, Kind::AtEnd, sink);
            }
        }
        for (window, rule) in scope.windows.iter().enumerate() {
            let times = self.times(rule);
            let watermark = self.watermark(window, &times);
            let mut at = 0;
            while at < self.tracks[window].panes.len() {
                let pane = &mut scope.shelf[self.tracks[window].panes[at]];
                let deep = pane.deep();
                self.deep -= u32::from(deep);
                pane.set_completed(pane.completed() || pane.live());
                pane.set_live(false);
                pane.settle();
                pane.release();
                if deep || self.tracks[window].is_over(scope.shelf, at, watermark, &times, scope.mutant) {
                    self.discard(window as u16, at, scope);
                } else {
                    at += 1;
                }
            }
            self.tracks[window].recompute_due(scope.shelf, watermark, &times);
        }
    }
}

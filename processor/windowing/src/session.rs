//! Sessions: windows that grow, join, and withdraw the rows of what they swallowed.
//!
//! Invariant: the sessions of a track do not overlap (they may touch), so their ends ascend with their starts.

use std::ops::Range;

use crate::api::{Metric, Micros, Observation, Sink};
use crate::contribute::{Standing, Verdict, add_values, ask, open, touch};
use crate::device::Device;
use crate::effects::{Rearm, Scope};
use crate::mutation::{Mutant, Mutation};
use crate::pane::Pane;
use crate::shelf::{Shelf, Spot};
use crate::track::Track;

impl Track {
    /// The sessions that a reading's own window `[at, at + gap)` overlaps.
    fn overlapped(&self, shelf: &Shelf, at: Micros, gap: Micros, mutant: Mutant) -> Range<usize> {
        let end = at.saturating_add(gap);
        let touching = mutant.is(Mutation::TouchingSessionsJoin);
        // At the end of time windows are cut short to nothing: a session that starts there is the reading's own.
        let behind =
            |pane: &Pane| pane.start < at && if touching { pane.end() < at } else { pane.end() <= at };
        let reached = |pane: &Pane| pane.start <= at || pane.start < end || (touching && pane.start == end);
        self.panes.partition_point(|spot| behind(&shelf[*spot]))
            ..self.panes.partition_point(|spot| reached(&shelf[*spot]))
    }

    /// How many accumulators more there would be after a reading with these metrics.
    pub(crate) fn joined_accumulators(
        &self,
        shelf: &Shelf,
        at: Micros,
        gap: Micros,
        metrics: impl Iterator<Item = Metric>,
        mutant: Mutant,
    ) -> i64 {
        let parts = || self.panes[self.overlapped(shelf, at, gap, mutant)].iter().map(|spot| &shelf[*spot]);
        let before: i64 = parts().map(|part| i64::from(part.accumulators())).sum();
        let mut union: Vec<Metric> = parts()
            .flat_map(|part| part.series().map(|series| Metric(series.metric)))
            .chain(metrics)
            .collect();
        union.sort_unstable();
        union.dedup();
        union.len() as i64 - before
    }
}

impl Device {
    /// Adds a reading to the session it makes with all those it overlaps.
    pub(crate) fn add_session(
        &mut self,
        window: u16,
        gap: Micros,
        reading: &Observation<'_>,
        standing: &Standing,
        scope: &mut Scope<'_>,
        sink: &mut impl Sink,
    ) -> Verdict {
        let at = reading.event_time;
        let own_end = at.saturating_add(gap);
        let rule = &scope.windows[usize::from(window)];
        let track = &mut self.tracks[usize::from(window)];
        if let Some(verdict) = ask(track, at, scope.mutant) {
            return verdict;
        }
        let parts = track.overlapped(scope.shelf, at, gap, scope.mutant);
        let index = parts.start;
        match (track.panes[parts.clone()].first(), track.panes[parts.clone()].last()) {
            (Some(first), Some(last)) => {
                let (first, last) = (&scope.shelf[*first], &scope.shelf[*last]);
                let (start, end) = (at.min(first.start), own_end.max(last.end()));
                let deep = |spot: &&Spot| scope.shelf[**spot].deep();
                let deep_before = track.panes[parts.clone()].iter().filter(deep).count() as u32;
                let all_deep = deep_before as usize == parts.len();
                if parts.len() > 1 || first.start != start {
                    let merged = self.join(window, parts, start, scope, sink);
                    self.tracks[usize::from(window)].insert(scope.shelf, index, merged);
                }
                let spot = self.tracks[usize::from(window)].panes[index];
                scope.shelf[spot].set_end(end);
                self.deep -= deep_before;
                resume(spot, all_deep, standing, scope);
                if deep_before > 0 && !scope.shelf[spot].deep() {
                    scope.rearm = Rearm::Full;
                }
            }
            _ => {
                let Some(pane) = open(at, own_end, reading, rule, standing, scope) else {
                    return Verdict::Early;
                };
                track.insert(scope.shelf, index, pane);
            }
        }
        let track = &mut self.tracks[usize::from(window)];
        let spot = track.panes[index];
        let pane = &scope.shelf[spot];
        self.deep += u32::from(pane.deep());
        track.due = track.due.min(if pane.live() { pane.end() } else { Micros::MAX });
        add_values(spot, reading, rule, scope);
        touch(spot, rule, scope);
        Verdict::Taken
    }

    /// Takes the parts out, withdraws the rows of those whose start is not the new one, and merges the rest of them
    /// in ascending start. End and phase are the caller's.
    fn join(
        &mut self,
        window: u16,
        parts: Range<usize>,
        start: Micros,
        scope: &mut Scope<'_>,
        sink: &mut impl Sink,
    ) -> Pane {
        let track = &mut self.tracks[usize::from(window)];
        let mut parts: Vec<Pane> = track.panes.drain(parts).map(|spot| scope.shelf.take(spot)).collect();
        for part in parts.iter_mut().filter(|part| part.start != start) {
            if !scope.mutant.is(Mutation::RetractionForgotten) {
                track.retract(part, start, scope.place(window), sink);
            }
            // Its rows are withdrawn: the merged session owes all of it.
            part.series_all_mut().for_each(|series| series.changed = true);
        }
        let before: u32 = parts.iter().map(Pane::accumulators).sum();
        let mut parts = parts.into_iter();
        // `parts` is never empty: the caller saw a first and a last.
        let mut merged = parts.next().unwrap_or_else(|| Pane::open(start, start, Metric(0)));
        if merged.start != start {
            merged.start = start;
            let every = scope.windows[usize::from(window)].early_every;
            merged.set_next_early(every.map_or(Micros::MAX, |every| start.saturating_add(every)));
        }
        for part in parts {
            absorb(&mut merged, &part);
        }
        if scope.mutant.is(Mutation::MergedRevisionReset) {
            merged.series_all_mut().for_each(|series| series.revision = 0);
        }
        *scope.panes = (*scope.panes + merged.accumulators()).saturating_sub(before);
        merged
    }
}

/// Merges a part with a later start.
fn absorb(merged: &mut Pane, part: &Pane) {
    for series in part.series() {
        let (mine, _) = merged.series_mut(Metric(series.metric));
        mine.acc.merge(&series.acc);
        mine.revision = mine.revision.max(series.revision);
        mine.changed |= series.changed;
    }
    merged.set_readings(merged.readings() + part.readings());
    merged.contributed_at = merged.contributed_at.max(part.contributed_at);
    merged.set_completed(merged.completed() || part.completed());
    merged.set_live(merged.live() || part.live());
    if let Some(at) = part.held_at() {
        merged.hold(at);
    }
    if part.waiting() {
        let first = if merged.waiting() {
            merged.first_waiting().min(part.first_waiting())
        } else {
            part.first_waiting()
        };
        merged.wait_since(first);
    }
}

/// Where a session that just took a reading is in its life.
fn resume(spot: Spot, all_deep: bool, standing: &Standing, scope: &mut Scope<'_>) {
    let pane = &mut scope.shelf[spot];
    if pane.end() > standing.watermark {
        if !pane.live() {
            scope.rearm = scope.rearm.max(Rearm::Bounded);
        }
        pane.set_live(true);
        pane.settle();
        pane.release();
        return;
    }
    if pane.live() || !pane.waiting() {
        scope.rearm = scope.rearm.max(Rearm::Bounded);
    }
    pane.set_live(false);
    pane.wait(scope.now);
    pane.set_deep(all_deep && standing.is_deep(pane.end(), scope.idle_retention));
}

//! Adding one reading to the windows it falls into, of every definition that takes one of its metrics.
//!
//! Invariant: clocks and watermarks are those from before the reading until everything is added.

use crate::api::{Assigner, Micros, Observation, Sink, Taken, WindowRule};
use crate::assigner;
use crate::device::{Device, Times};
use crate::effects::{Rearm, Scope};
use crate::mutation::{Mutant, Mutation};
use crate::pane::Pane;
use crate::shelf::{Shelf, Spot};
use crate::slices::Slices;
use crate::track::{Track, takes};

/// What one window said to a reading.
pub(crate) enum Verdict {
    Taken,
    Refused,
    /// It starts before the definition came into force for this device.
    Early,
}

/// What a device's time says while a reading is added to one definition.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Standing {
    pub(crate) times: Times,
    pub(crate) watermark: Micros,
    pub(crate) clock: Micros,
}

impl Standing {
    /// The watermark that a reading leaves behind when it is taken.
    fn watermark_after(&self, reading: &Observation<'_>) -> Micros {
        self.watermark.max(reading.event_time.saturating_sub(self.times.disorder))
    }

    /// Whether a pane that ends there was over before it began.
    pub(crate) fn is_deep(&self, end: Micros, idle_retention: Micros) -> bool {
        self.watermark >= end.saturating_add(self.times.lateness)
            || self.clock >= end.saturating_add(idle_retention)
    }
}

impl Device {
    /// Adds a reading to every window that takes it.
    #[inline]
    pub(crate) fn contribute(
        &mut self,
        reading: &Observation<'_>,
        scope: &mut Scope<'_>,
        taken: &mut Taken,
        sink: &mut impl Sink,
    ) {
        for (index, rule) in scope.windows.iter().enumerate() {
            if !reading.values.iter().any(|value| takes(rule, value.metric)) {
                continue;
            }
            let window = index as u16;
            let times = self.times(rule);
            let standing = Standing {
                times,
                watermark: self.watermark(index, &times),
                clock: self.clocks.clock(scope.now, scope.mutant),
            };
            let at = reading.event_time;
            let mut hint = usize::MAX;
            match rule.assigner {
                Assigner::Tumbling { size, offset } => {
                    let (start, end) = match self.tracks[index].last_around(scope.shelf, at) {
                        Some((last, start, end)) => {
                            hint = last;
                            (start, end)
                        }
                        None => {
                            let start = assigner::floor(at, size, offset);
                            (start, start.saturating_add(size.max(1)))
                        }
                    };
                    let verdict = self.add_fixed(index, (start, end), &mut hint, reading, &standing, scope);
                    note(taken, window, start, end, &verdict);
                }
                Assigner::Hopping { size, advance } => {
                    let before = taken.panes;
                    for start in assigner::hops(at, size, advance) {
                        let end = start.saturating_add(size.max(1));
                        let verdict =
                            self.add_fixed(index, (start, end), &mut hint, reading, &standing, scope);
                        note(taken, window, start, end, &verdict);
                    }
                    if taken.panes > before {
                        self.add_to_slice(index, assigner::slice_width(size, advance), reading, scope);
                    }
                }
                Assigner::Session { gap } => {
                    let verdict = self.add_session(window, gap.max(1), reading, &standing, scope, sink);
                    note(taken, window, at, at.saturating_add(gap.max(1)), &verdict);
                }
            }
        }
    }

    fn add_fixed(
        &mut self,
        index: usize,
        (start, end): (Micros, Micros),
        hint: &mut usize,
        reading: &Observation<'_>,
        standing: &Standing,
        scope: &mut Scope<'_>,
    ) -> Verdict {
        let rule = &scope.windows[index];
        let track = &mut self.tracks[index];
        if let Some(verdict) = ask(track, start, scope.mutant) {
            return verdict;
        }
        let at = match track.find_near(scope.shelf, start, *hint) {
            Ok(at) => {
                let pane = &mut scope.shelf[track.panes[at]];
                if !pane.live() && !pane.waiting() {
                    pane.wait(scope.now);
                    scope.rearm = scope.rearm.max(Rearm::Bounded);
                }
                at
            }
            Err(mut at) => {
                if matches!(rule.assigner, Assigner::Tumbling { .. })
                    && at > 0
                    && track.panes.len() == track.panes.capacity()
                    && scope.shelf[track.panes[0]].end() <= standing.watermark
                    && track.is_over(
                        scope.shelf,
                        0,
                        standing.watermark_after(reading),
                        &standing.times,
                        scope.mutant,
                    )
                {
                    // The reading drops it anyway (what it jumps over may be held): sooner, its place is free for the
                    // new one.
                    let gone = track.discard(scope.shelf, 0, rule.assigner, scope.mutant);
                    *scope.panes = scope.panes.saturating_sub(gone);
                    scope.rearm = Rearm::Full;
                    at -= 1;
                }
                let Some(pane) = open(start, end, reading, rule, standing, scope) else {
                    return Verdict::Early;
                };
                self.deep += u32::from(pane.deep());
                track.due = track.due.min(if pane.live() { end } else { Micros::MAX });
                track.insert(scope.shelf, at, pane);
                at
            }
        };
        *hint = at + 1;
        let spot = track.panes[at];
        if matches!(rule.assigner, Assigner::Hopping { .. }) {
            let pane = &mut scope.shelf[spot];
            for value in reading.values.iter().filter(|value| takes(rule, value.metric)) {
                let (series, made) = pane.series_mut(value.metric);
                series.changed = true;
                *scope.panes += u32::from(made);
            }
        } else {
            add_values(spot, reading, rule, scope);
        }
        touch(spot, rule, scope);
        Verdict::Taken
    }

    fn add_to_slice(
        &mut self,
        index: usize,
        width: Micros,
        reading: &Observation<'_>,
        scope: &mut Scope<'_>,
    ) {
        let rule = &scope.windows[index];
        let slices = self.tracks[index].slices.get_or_insert_with(|| Box::new(Slices::default()));
        for value in reading.values.iter().filter(|value| takes(rule, value.metric)) {
            let made = slices.add(width, value, reading.event_time, scope.mutant);
            *scope.panes += u32::from(made);
        }
    }

    /// How many accumulators more there would be after a reading was added: what [`Device::contribute`] does to the
    /// count, without doing it.
    pub(crate) fn accumulators_added(
        &self,
        shelf: &Shelf,
        reading: &Observation<'_>,
        windows: &[WindowRule],
        mutant: Mutant,
    ) -> i64 {
        let at = reading.event_time;
        let mut more = 0_i64;
        for (track, rule) in self.tracks.iter().zip(windows) {
            // Each metric once, however often the reading names it.
            let metrics = || {
                reading.values.iter().enumerate().filter_map(|(k, value)| {
                    let again = reading.values[..k].iter().any(|other| other.metric == value.metric);
                    (takes(rule, value.metric) && !again).then_some(value.metric)
                })
            };
            let new_in = |start: Micros| {
                let pane = track.find(shelf, start).ok().map(|at| &shelf[track.panes[at]]);
                metrics().filter(|metric| !pane.is_some_and(|pane| pane.has(*metric))).count() as i64
            };
            match rule.assigner {
                Assigner::Tumbling { size, offset } => {
                    let start = assigner::floor(at, size, offset);
                    if ask(track, start, mutant).is_none() {
                        more += new_in(start);
                    }
                }
                Assigner::Hopping { size, advance } => {
                    let mut any = false;
                    for start in
                        assigner::hops(at, size, advance).filter(|start| ask(track, *start, mutant).is_none())
                    {
                        more += new_in(start);
                        any = true;
                    }
                    if any {
                        let width = assigner::slice_width(size, advance);
                        let slices = track.slices.as_deref();
                        let known = |metric| slices.is_some_and(|slices| slices.has(width, metric, at));
                        more += metrics().filter(|metric| !known(*metric)).count() as i64;
                    }
                }
                Assigner::Session { gap } => {
                    if ask(track, at, mutant).is_none() && metrics().next().is_some() {
                        more += track.joined_accumulators(shelf, at, gap.max(1), metrics(), mutant);
                    }
                }
            }
        }
        more
    }
}

/// Whether a window that starts there (a session: a reading at that time) is open to readings; none: it is.
#[inline]
pub(crate) fn ask(track: &Track, at: Micros, mutant: Mutant) -> Option<Verdict> {
    if at < track.not_before && !mutant.is(Mutation::BoundaryIgnored) {
        return Some(Verdict::Early);
    }
    if track.seals.is_late(at) && !mutant.is(Mutation::SealIgnored) {
        return Some(Verdict::Refused);
    }
    None
}

/// A new pane for a reading, live or back-fill; its values are not added yet. None when the definition takes none.
pub(crate) fn open(
    start: Micros,
    end: Micros,
    reading: &Observation<'_>,
    rule: &WindowRule,
    standing: &Standing,
    scope: &mut Scope<'_>,
) -> Option<Pane> {
    let first = reading.values.iter().find(|value| takes(rule, value.metric))?;
    let mut pane = Pane::open(start, end, first.metric);
    *scope.panes += 1;
    if let Some(every) = rule.early_every {
        pane.set_next_early(start.saturating_add(every));
    }
    if end > standing.watermark {
        pane.set_live(true);
    } else {
        pane.wait(scope.now);
        pane.set_deep(standing.is_deep(end, scope.idle_retention));
    }
    scope.rearm = scope.rearm.max(Rearm::Bounded);
    Some(pane)
}

/// Adds the values that the definition takes, in the order given.
#[inline]
pub(crate) fn add_values(spot: Spot, reading: &Observation<'_>, rule: &WindowRule, scope: &mut Scope<'_>) {
    let pane = &mut scope.shelf[spot];
    for value in reading.values.iter().filter(|value| takes(rule, value.metric)) {
        let (series, made) = pane.series_mut(value.metric);
        series.changed = true;
        series.acc.add(value, reading.event_time, scope.mutant);
        *scope.panes += u32::from(made);
    }
}

/// Counts the reading.
#[inline]
pub(crate) fn touch(spot: Spot, rule: &WindowRule, scope: &mut Scope<'_>) {
    let pane = &mut scope.shelf[spot];
    pane.contributed_at = scope.now;
    let readings = pane.readings() + 1;
    pane.set_readings(readings);
    if let Some(count) = rule.early_count {
        let reached = readings.is_multiple_of(count.max(1));
        pane.set_count_reached(
            reached || (scope.mutant.is(Mutation::EarlyCounterNotReset) && readings >= count),
        );
    }
    if rule.early_every.is_some() {
        scope.rearm = scope.rearm.max(Rearm::Bounded);
    }
}

#[inline]
fn note(taken: &mut Taken, window: u16, start: Micros, end: Micros, verdict: &Verdict) {
    match verdict {
        Verdict::Taken => taken.panes += 1,
        Verdict::Refused => taken.refused.push((window, start, end)),
        Verdict::Early => {}
    }
}

//! The panes of one device and one window definition: finding, emitting, dropping.
//!
//! The panes themselves are on the partition's [`Shelf`]; here is where.
//!
//! Invariants: panes ascend strictly by start; `due` is at most every watermark at which a pane of the track
//! completes or is dropped; what is emitted or dropped here is counted by whoever asked for it.

use smallvec::SmallVec;

use crate::api::{Assigner, Emission, Kind, Metric, Micros, ScoreStats, Sink, Slot, Stats, WindowRule};
use crate::device::Times;
use crate::mutation::{Mutant, Mutation};
use crate::pane::Pane;
use crate::seal::Seals;
use crate::shelf::{Shelf, Spot};
use crate::slices::Slices;

/// Greatest start emitted, by metric: most devices have one metric.
pub(crate) type Newest = SmallVec<[(Metric, Micros); 1]>;

/// Places of panes: those that a device keeps with five windows of lateness need no allocation.
pub(crate) type Spots = SmallVec<[Spot; 6]>;

/// One device's side of one window definition.
#[derive(Clone, Debug)]
pub(crate) struct Track {
    /// Keeps the watermark from going back.
    pub(crate) floor: Micros,
    /// Windows that start earlier are not taken: the definition came later.
    pub(crate) not_before: Micros,
    /// Watermark at which to look at the panes again; not saved: derived.
    pub(crate) due: Micros,
    /// Ascending by the pane's start.
    pub(crate) panes: Spots,
    pub(crate) seals: Seals,
    /// Greatest start emitted, by metric.
    pub(crate) newest: Newest,
    /// Hopping windows only.
    pub(crate) slices: Option<Box<Slices>>,
}

impl Default for Track {
    fn default() -> Self {
        Self {
            floor: Micros::MIN,
            not_before: Micros::MIN,
            due: Micros::MAX,
            panes: Spots::new(),
            seals: Seals::default(),
            newest: Newest::new(),
            slices: None,
        }
    }
}

/// Whose emission it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    pub(crate) slot: Slot,
    pub(crate) window: u16,
    pub(crate) name: &'a str,
    pub(crate) mutant: Mutant,
}

/// Which metrics of a pane are emitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rows {
    /// Contributed to since their last emission.
    Changed,
    /// Every one: after an early row a reader must be told that the window is complete.
    All,
}

impl Track {
    /// Its panes, ascending by start.
    pub(crate) fn all<'a>(&'a self, shelf: &'a Shelf) -> impl DoubleEndedIterator<Item = &'a Pane> {
        self.panes.iter().map(|spot| &shelf[*spot])
    }

    /// Where the pane with that start is, or would be. The last one is what readings ask for.
    #[inline]
    pub(crate) fn find(&self, shelf: &Shelf, start: Micros) -> Result<usize, usize> {
        let Some(last) = self.panes.last() else { return Err(0) };
        match shelf[*last].start {
            last if last == start => Ok(self.panes.len() - 1),
            last if last < start => Err(self.panes.len()),
            _ => self.panes.binary_search_by_key(&start, |spot| shelf[*spot].start),
        }
    }

    /// The last pane if that time falls into it: its place, start and end. To be asked of tumbling windows: then it is
    /// the pane of the window that the time falls into.
    #[inline]
    pub(crate) fn last_around(&self, shelf: &Shelf, at: Micros) -> Option<(usize, Micros, Micros)> {
        let pane = &shelf[*self.panes.last()?];
        let (start, end) = (pane.start, pane.end());
        // At the beginning of time windows are cut short, and keep their length all the same.
        (start <= at && at < end && start > Micros::MIN).then(|| (self.panes.len() - 1, start, end))
    }

    /// [`Track::find`] for the next of several ascending starts: it is expected at `hint`.
    #[inline]
    pub(crate) fn find_near(&self, shelf: &Shelf, start: Micros, hint: usize) -> Result<usize, usize> {
        match self.panes.get(hint) {
            Some(spot) if shelf[*spot].start == start => Ok(hint),
            _ => self.find(shelf, start),
        }
    }

    /// Puts a new pane where [`Track::find`] said.
    #[inline]
    pub(crate) fn insert(&mut self, shelf: &mut Shelf, index: usize, pane: Pane) {
        self.panes.insert(index, shelf.put(pane));
    }

    /// Forgets every pane.
    pub(crate) fn clear(&mut self, shelf: &mut Shelf) {
        for spot in self.panes.drain(..) {
            shelf.take(spot);
        }
    }

    /// Emits the changed metrics of a pane, or all of them.
    pub(crate) fn emit(
        &mut self,
        shelf: &mut Shelf,
        index: usize,
        what: Rows,
        place: Place<'_>,
        kind: Kind,
        sink: &mut impl Sink,
    ) {
        let Self { panes, newest, slices, .. } = self;
        let pane = &mut shelf[panes[index]];
        let (start, end, contributed_at) = (pane.start, pane.end(), pane.contributed_at);
        let completes = pane.live() && !pane.completed();
        for series in pane.series_all_mut().filter(|series| series.changed || what == Rows::All) {
            series.changed = false;
            series.revision = series.revision.saturating_add(1);
            let metric = Metric(series.metric);
            let first = kind != Kind::Early && (completes || series.revision == 1);
            let row =
                Row { place, metric, start, end, revision: series.revision, kind, first, contributed_at };
            let newest = note_newest(newest, metric, start) || place.mutant.is(Mutation::NewestAlways);
            match slices {
                Some(slices) => {
                    let acc = slices.over(metric, start, end, place.mutant);
                    row.emit(newest, acc.stats(), acc.scores(), sink);
                }
                None => row.emit(newest, series.acc.stats(), series.acc.scores(), sink),
            }
        }
    }

    /// Withdraws what was emitted of a pane that was swallowed by the session that starts at `into`.
    pub(crate) fn retract(&mut self, pane: &mut Pane, into: Micros, place: Place<'_>, sink: &mut impl Sink) {
        let (start, end, contributed_at) = (pane.start, pane.end(), pane.contributed_at);
        for series in pane.series_all_mut().filter(|series| series.revision > 0) {
            series.revision = series.revision.saturating_add(1);
            let metric = Metric(series.metric);
            let kind = Kind::Retracted { into };
            let (revision, first) = (series.revision, false);
            let row = Row { place, metric, start, end, revision, kind, first, contributed_at };
            let mut newest = false;
            for (_, greatest) in self.newest.iter_mut().filter(|(known, _)| *known == metric) {
                if *greatest == start {
                    newest = true;
                    *greatest = into;
                }
            }
            newest |= place.mutant.is(Mutation::NewestAlways);
            row.emit(newest, series.acc.stats(), series.acc.scores(), sink);
        }
    }

    /// Forgets a pane and seals its interval; returns how many accumulators went with it.
    pub(crate) fn discard(
        &mut self,
        shelf: &mut Shelf,
        index: usize,
        assigner: Assigner,
        mutant: Mutant,
    ) -> u32 {
        let pane = shelf.take(self.panes.remove(index));
        let end = match assigner {
            Assigner::Tumbling { .. } | Assigner::Session { .. } => pane.end(),
            Assigner::Hopping { advance, .. } => pane.start.saturating_add(advance.max(1)),
        };
        if !mutant.is(Mutation::SealForgotten) {
            self.seals.add(pane.start, end);
        }
        let mut gone = pane.accumulators();
        if let Some(slices) = &mut self.slices {
            let panes = &self.panes;
            gone += slices.release(pane.start, pane.end(), |at| {
                // Ends ascend with starts: the last pane that starts at or before the slice reaches farthest.
                let after = panes.partition_point(|spot| shelf[*spot].start <= at);
                after > 0 && at < shelf[panes[after - 1]].end()
            });
        }
        gone
    }

    /// Whether the watermark drops that pane.
    pub(crate) fn is_over(
        &self,
        shelf: &Shelf,
        index: usize,
        watermark: Micros,
        times: &Times,
        mutant: Mutant,
    ) -> bool {
        let pane = &shelf[self.panes[index]];
        let waits = pane.waiting() && !mutant.is(Mutation::DropWhileWaiting);
        !pane.live()
            && !waits
            && watermark >= pane.end().saturating_add(times.lateness)
            && pane.held_at().is_none()
    }

    /// Looks at every pane for the least watermark that matters. One that waits matters if a reading may still jump
    /// over it; one that is held waits for its deadline alone.
    pub(crate) fn recompute_due(&mut self, shelf: &Shelf, watermark: Micros, times: &Times) {
        self.due = self
            .all(shelf)
            .filter(|pane| (!pane.waiting() || watermark < pane.end()) && pane.held_at().is_none())
            .map(|pane| if pane.live() { pane.end() } else { pane.end().saturating_add(times.lateness) })
            .min()
            .unwrap_or(Micros::MAX);
    }

    /// Accumulators, as `panes_max` counts them.
    pub(crate) fn accumulators(&self, shelf: &Shelf) -> u32 {
        let panes: u32 = self.all(shelf).map(Pane::accumulators).sum();
        panes + self.slices.as_deref().map_or(0, Slices::accumulators)
    }
}

/// Whether a definition takes a metric.
#[inline]
pub(crate) fn takes(rule: &WindowRule, metric: Metric) -> bool {
    rule.metrics.as_ref().is_none_or(|metrics| metrics.contains(&metric))
}

/// Remembers an emission's start; false when a later window of the series was emitted.
fn note_newest(newest: &mut Newest, metric: Metric, start: Micros) -> bool {
    match newest.iter_mut().find(|(known, _)| *known == metric) {
        Some((_, greatest)) => {
            let is_newest = start >= *greatest;
            *greatest = start.max(*greatest);
            is_newest
        }
        None => {
            newest.reserve_exact(usize::from(newest.len() == newest.capacity()));
            newest.push((metric, start));
            true
        }
    }
}

struct Row<'a> {
    place: Place<'a>,
    metric: Metric,
    start: Micros,
    end: Micros,
    revision: u32,
    kind: Kind,
    first: bool,
    contributed_at: Micros,
}

impl Row<'_> {
    fn emit(self, newest: bool, stats: Stats, scores: &[ScoreStats], sink: &mut impl Sink) {
        sink.emit(Emission {
            slot: self.place.slot,
            metric: self.metric,
            window: self.place.window,
            window_name: self.place.name,
            start: self.start,
            end: self.end,
            revision: self.revision,
            kind: self.kind,
            newest,
            first: self.first,
            stats,
            scores,
            contributed_at: self.contributed_at,
        });
    }
}

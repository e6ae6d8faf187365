//! What the slow model keeps of a device, and the questions that can be asked of it as it stands.

use std::collections::BTreeMap;

use windowing::api::{
    Assigner, Metric, Micros, Overrides, PaneState, Phase, Settings, WindowRule, WindowState,
};

use super::numbers::{Accumulated, Content, Contribution, merge_all};
use super::sequence::Boots;

pub(crate) const SECOND: Micros = 1_000_000;
pub(crate) const WAIT_MAX: Micros = 60 * SECOND;
const SEALS_MAX: usize = 16;

/// A metric within a pane.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Series {
    pub(crate) metric: u16,
    pub(crate) revision: u32,
    pub(crate) changed: bool,
}

/// (device, window rule, start).
#[derive(Clone, Debug)]
pub(crate) struct Pane {
    pub(crate) start: Micros,
    pub(crate) end: Micros,
    /// Empty for hopping: see `Track::slices`.
    pub(crate) content: Content,
    pub(crate) readings: u64,
    /// In order of first appearance.
    pub(crate) series: Vec<Series>,
    /// Live, and not completed since it became so.
    pub(crate) open: bool,
    pub(crate) completed_before: bool,
    /// First and last contribution of those that wait.
    pub(crate) waiting: Option<(Micros, Micros)>,
    pub(crate) deep: bool,
    /// When a reading jumped over it.
    pub(crate) held: Option<Micros>,
    pub(crate) next_early: Option<Micros>,
    pub(crate) contributed_at: Micros,
}

impl Pane {
    pub(crate) fn touch(&mut self, metric: u16) {
        match self.series.iter_mut().find(|series| series.metric == metric) {
            Some(series) => series.changed = true,
            None => self.series.push(Series { metric, revision: 0, changed: true }),
        }
    }

    pub(crate) fn changed(&self) -> bool {
        self.series.iter().any(|series| series.changed)
    }

    /// Neither open nor waiting: kept for revisions only.
    pub(crate) fn at_rest(&self) -> bool {
        !self.open && self.waiting.is_none()
    }

    fn phase(&self) -> Phase {
        match (self.open, self.waiting.is_some(), self.deep) {
            (true, ..) => Phase::Live,
            (_, true, true) => Phase::Deep,
            (_, true, false) => Phase::Waiting,
            _ if self.held.is_some() => Phase::Held,
            _ => Phase::Emitted,
        }
    }
}

/// What a timer does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    Early,
    Silence,
    Settled,
    Drop,
}

/// One window rule of one device.
#[derive(Clone, Debug, Default)]
pub(crate) struct Track {
    pub(crate) floor: Option<Micros>,
    pub(crate) not_before: Option<Micros>,
    pub(crate) seals: Vec<(Micros, Micros)>,
    pub(crate) panes: BTreeMap<Micros, Pane>,
    /// Hopping: readings by the start of their slice.
    pub(crate) slices: BTreeMap<Micros, Vec<Contribution>>,
    /// By metric, the greatest start emitted.
    pub(crate) newest: BTreeMap<u16, Micros>,
}

impl Track {
    pub(crate) fn sealed(&self, at: Micros) -> bool {
        self.seals.iter().any(|(start, end)| *start <= at && at < *end)
    }

    pub(crate) fn drop_pane(&mut self, start: Micros, assigner: Assigner) {
        let pane = self.panes.remove(&start).expect("it is there");
        let end = match assigner {
            Assigner::Tumbling { size, .. } => start + size,
            Assigner::Hopping { advance, .. } => start + advance,
            Assigner::Session { .. } => pane.end,
        };
        self.seals.push((start, end));
        self.seals.sort_unstable();
        let mut joined: Vec<(Micros, Micros)> = Vec::new();
        for (start, end) in self.seals.drain(..) {
            match joined.last_mut().filter(|last| start <= last.1) {
                Some(last) => last.1 = last.1.max(end),
                None => joined.push((start, end)),
            }
        }
        while joined.len() > SEALS_MAX {
            let gaps = joined.windows(2).map(|pair| pair[1].0 - pair[0].1).enumerate();
            let (nearest, _) = gaps.min_by_key(|(at, gap)| (*gap, *at)).expect("there are many");
            joined[nearest].1 = joined.remove(nearest + 1).1;
        }
        self.seals = joined;
        if let Assigner::Hopping { size, advance } = assigner {
            let width = gcd(size, advance);
            let panes = &self.panes;
            let covered =
                |slice: Micros| panes.values().any(|pane| pane.start <= slice && slice + width <= pane.end);
            self.slices.retain(|slice, _| covered(*slice));
        }
    }

    pub(crate) fn accumulate(&self, pane: &Pane, metric: u16) -> Accumulated {
        if self.slices.is_empty() {
            return pane.content.accumulate(metric);
        }
        let slices = self.slices.range(pane.start..pane.end);
        merge_all(
            slices.map(|(_, list)| Content { merged: Vec::new(), then: list.clone() }.accumulate(metric)),
        )
    }

    pub(crate) fn accumulators(&self) -> usize {
        let panes: usize = self.panes.values().map(|pane| pane.series.len()).sum();
        let metrics = |list: &Vec<Contribution>| {
            let mut metrics: Vec<u16> = list.iter().map(|contribution| contribution.metric).collect();
            metrics.sort_unstable();
            metrics.dedup();
            metrics.len()
        };
        panes + self.slices.values().map(metrics).sum::<usize>()
    }
}

/// The times of a rule for one device.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    pub(crate) disorder: Micros,
    pub(crate) quiet_after: Micros,
    pub(crate) lateness: Micros,
    pub(crate) settle: Micros,
}

/// One device.
#[derive(Clone, Debug)]
pub(crate) struct Device {
    pub(crate) slot: u32,
    pub(crate) created_at: Micros,
    /// Greatest event time, and the receipt time of the reading that set it.
    pub(crate) clock: Option<(Micros, Micros)>,
    pub(crate) last_receipt: Option<Micros>,
    pub(crate) overrides: Overrides,
    pub(crate) tracks: Vec<Track>,
    pub(crate) boots: Boots,
}

impl Device {
    pub(crate) fn times(&self, rule: &WindowRule) -> Times {
        Times {
            disorder: self.overrides.disorder.unwrap_or(rule.disorder),
            quiet_after: self.overrides.quiet_after.unwrap_or(rule.quiet_after),
            lateness: self.overrides.lateness.unwrap_or(rule.lateness),
            settle: self.overrides.settle.unwrap_or(rule.settle),
        }
    }

    pub(crate) fn watermark(&self, window: usize, rule: &WindowRule) -> Option<Micros> {
        let (max_event, _) = self.clock?;
        let watermark = max_event - self.times(rule).disorder;
        Some(self.tracks[window].floor.map_or(watermark, |floor| floor.max(watermark)))
    }

    /// Whether the watermark has reached a time.
    pub(crate) fn passed(&self, window: usize, rule: &WindowRule, at: Micros) -> bool {
        self.watermark(window, rule).is_some_and(|watermark| watermark >= at)
    }

    pub(crate) fn clock_at(&self, receipt: Micros) -> Option<Micros> {
        self.clock.map(|(max_event, seen_at)| max_event + (receipt - seen_at))
    }

    pub(crate) fn raise_floors(&mut self, rules: &[WindowRule]) {
        for (window, rule) in rules.iter().enumerate() {
            self.tracks[window].floor = self.watermark(window, rule);
        }
    }

    pub(crate) fn due(&self, rule: &WindowRule, pane: &Pane, settings: &Settings) -> (Micros, Due) {
        let (max_event, seen_at) = self.clock.expect("a reading opened the pane");
        let times = self.times(rule);
        if let Some((first, last)) = pane.waiting {
            let at = if pane.deep { last + WAIT_MAX } else { (last + times.settle).min(first + WAIT_MAX) };
            return (at, Due::Settled);
        }
        if let Some(jumped) = pane.held {
            let until = jumped + times.lateness.max(WAIT_MAX);
            return (until.max(pane.contributed_at + WAIT_MAX), Due::Drop);
        }
        if !pane.open {
            return (seen_at + pane.end + settings.idle_retention - max_event, Due::Drop);
        }
        let clock = seen_at + pane.end + times.disorder - max_event;
        let quiet = self.last_receipt.expect("a reading opened the pane") + times.quiet_after;
        let silence = (clock.max(quiet), Due::Silence);
        match pane.next_early.map(|at| seen_at + at - max_event) {
            Some(early) if early < silence.0 => (early, Due::Early),
            _ => silence,
        }
    }

    pub(crate) fn evicted_at(&self, settings: &Settings) -> Micros {
        let alive = self.last_receipt.map_or(self.created_at, |last| last.max(self.created_at));
        alive.saturating_add(settings.device_retention)
    }

    /// When the pane's timer does something, if nothing arrives: early ones without anything new do nothing.
    pub(crate) fn acts_at(&self, rule: &WindowRule, pane: &Pane, settings: &Settings) -> Micros {
        match self.due(rule, pane, settings) {
            (_, Due::Early) if !pane.changed() => {
                self.due(rule, &Pane { next_early: None, ..pane.clone() }, settings).0
            }
            (at, _) => at,
        }
    }

    pub(crate) fn track_state(&self, window: usize, settings: &Settings) -> WindowState {
        let (rule, track) = (&settings.windows[window], &self.tracks[window]);
        let pane = |pane: &Pane| PaneState {
            start: pane.start,
            end: pane.end,
            readings: pane.readings,
            phase: pane.phase(),
            due_at: Some(self.acts_at(rule, pane, settings)),
            contributed_at: pane.contributed_at,
            metrics: pane
                .series
                .iter()
                .map(|series| (Metric(series.metric), series.revision, series.changed))
                .collect(),
        };
        WindowState {
            name: rule.name.clone(),
            watermark: self.watermark(window, rule),
            not_before: track.not_before,
            seals: track.seals.clone(),
            panes: track.panes.values().map(pane).collect(),
        }
    }
}

pub(crate) fn gcd(a: Micros, b: Micros) -> Micros {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Every window that contains `t`, ascending by start.
pub(crate) fn windows_of(assigner: Assigner, t: Micros) -> Vec<(Micros, Micros)> {
    let (size, advance, offset) = match assigner {
        Assigner::Tumbling { size, offset } => (size, size, offset),
        Assigner::Hopping { size, advance } => (size, advance, 0),
        Assigner::Session { gap } => return vec![(t, t + gap)],
    };
    let mut start = (t - offset).div_euclid(advance) * advance + offset;
    let mut windows = Vec::new();
    while start + size > t {
        windows.insert(0, (start, start + size));
        start -= advance;
    }
    windows
}

/// The least window start that is not before `at`.
pub(crate) fn boundary(assigner: Assigner, at: Micros) -> Micros {
    let (every, offset) = match assigner {
        Assigner::Tumbling { size, offset } => (size, offset),
        Assigner::Hopping { advance, .. } => (advance, 0),
        Assigner::Session { .. } => return at + 1,
    };
    let down = (at - offset).div_euclid(every) * every + offset;
    if down < at { down + every } else { down }
}

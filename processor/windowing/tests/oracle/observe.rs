//! One reading, sentence by sentence.

use windowing::api::{Assigner, Kind, Micros, Observation, PaneLimit, Taken, WindowRule};

use super::history::Windows;
use super::model::{Model, Which};
use super::numbers::{Content, Contribution};
use super::pane::{Pane, Series, WAIT_MAX, gcd, windows_of};
use super::rows::Events;

impl Pane {
    /// The first `start + k * early_every` beyond the clock.
    pub(crate) fn move_early(&mut self, rule: &WindowRule, clock: Micros) {
        while let Some((next, every)) =
            self.next_early.zip(rule.early_every).filter(|(next, _)| *next <= clock)
        {
            self.next_early = Some(next + every * ((clock - next) / every + 1));
        }
    }
}

impl Model {
    pub(crate) fn observe_device(
        &mut self,
        id: &str,
        reading: &Observation<'_>,
        to: &mut Events,
    ) -> Result<Taken, PaneLimit> {
        let (before, had, said) = (self.clone(), self.panes(), to.0.len());
        let mut taken = Taken::default();
        let mut touched = Vec::new();
        for (window, rule) in self.rules().iter().enumerate() {
            let values = contributions(rule, reading);
            if values.is_empty() {
                continue;
            }
            match rule.assigner {
                Assigner::Session { gap } => {
                    self.join_session(id, (window, gap), &values, &mut taken, &mut touched, to);
                }
                _ => self.assign(id, (window, rule), &values, &mut taken, &mut touched),
            }
        }
        let has = self.panes();
        if has > had && has > self.settings.as_ref().map_or(u32::MAX, |settings| settings.panes_max) {
            *self = before;
            to.0.truncate(said);
            return Err(PaneLimit(had));
        }
        if taken.panes == 0 && !taken.refused.is_empty() {
            return Ok(taken);
        }
        let now = self.now;
        let ahead = self.ahead_of_watermark(id);
        let device = self.devices.get_mut(id).expect("it is known");
        device.last_receipt = Some(now);
        if device.clock.is_none_or(|(max_event, _)| reading.event_time > max_event) {
            device.clock = Some((reading.event_time, now));
        }
        self.complete_passed(id, to);
        self.emit_early(id, &touched, to);
        for window in 0..self.rules().len() {
            self.hold_jumped(id, window, &ahead, to);
            for (_, start) in self.panes_of(id).into_iter().filter(|pane| pane.0 == window) {
                self.drop_if_passed(id, window, start);
            }
        }
        self.bound_backfill(id, to);
        Ok(taken)
    }

    fn assign(
        &mut self,
        id: &str,
        (window, rule): (usize, &WindowRule),
        values: &[Contribution],
        taken: &mut Taken,
        touched: &mut Vec<(usize, Micros)>,
    ) {
        let t = values[0].event_time;
        let took = taken.panes;
        for (start, end) in windows_of(rule.assigner, t) {
            let track = &self.devices[id].tracks[window];
            if track.not_before.is_some_and(|not_before| start < not_before) {
                continue;
            }
            if track.sealed(start) {
                taken.refused.push((window as u16, start, end));
                continue;
            }
            taken.panes += 1;
            touched.push((window, start));
            let exists = track.panes.contains_key(&start);
            let now = self.now;
            let opened = if exists { None } else { Some(self.open(id, (window, rule), start, end)) };
            let track = &mut self.devices.get_mut(id).expect("it is known").tracks[window];
            let pane = track.panes.entry(start).or_insert_with(|| opened.expect("it does not exist"));
            if !pane.open {
                pane.waiting = Some((pane.waiting.map_or(now, |(first, _)| first), now));
            }
            pane.take(values, now);
            if !matches!(rule.assigner, Assigner::Hopping { .. }) {
                pane.content.then.extend_from_slice(values);
            }
        }
        if let Assigner::Hopping { size, advance } = rule.assigner
            && taken.panes > took
        {
            let width = gcd(size, advance);
            let track = &mut self.devices.get_mut(id).expect("it is known").tracks[window];
            let slice = track.slices.entry(t.div_euclid(width) * width).or_default();
            slice.extend_from_slice(values);
        }
    }

    /// A pane that does not exist yet, without its first reading.
    fn open(&self, id: &str, (window, rule): (usize, &WindowRule), start: Micros, end: Micros) -> Pane {
        let open = !self.devices[id].passed(window, rule, end);
        Pane {
            start,
            end,
            content: Content::default(),
            readings: 0,
            series: Vec::new(),
            open,
            completed_before: false,
            waiting: (!open).then_some((self.now, self.now)),
            deep: !open && self.is_deep(id, (window, rule), end),
            held: None,
            next_early: rule.early_every.map(|every| start + every),
            contributed_at: self.now,
        }
    }

    fn is_deep(&self, id: &str, (window, rule): (usize, &WindowRule), end: Micros) -> bool {
        let device = &self.devices[id];
        let idle_retention = self.settings.as_ref().expect("there are rules").idle_retention;
        device.passed(window, rule, end + device.times(rule).lateness)
            || device.clock_at(self.now).is_some_and(|clock| clock >= end + idle_retention)
    }

    fn join_session(
        &mut self,
        id: &str,
        (window, gap): (usize, Micros),
        values: &[Contribution],
        taken: &mut Taken,
        touched: &mut Vec<(usize, Micros)>,
        to: &mut Events,
    ) {
        let (t, now) = (values[0].event_time, self.now);
        let rule = self.rules()[window].clone();
        let track = &self.devices[id].tracks[window];
        if track.not_before.is_some_and(|not_before| t < not_before) {
            return;
        }
        if track.sealed(t) {
            return taken.refused.push((window as u16, t, t + gap));
        }
        taken.panes += 1;
        let overlaps = |pane: &&Pane| pane.start < t + gap && t < pane.end;
        let parts: Vec<Pane> = track.panes.values().filter(overlaps).cloned().collect();
        let start = parts.iter().map(|part| part.start).fold(t, Micros::min);
        let end = parts.iter().map(|part| part.end).fold(t + gap, Micros::max);
        touched.push((window, start));
        let mut joined = self.open(id, (window, &rule), start, end);
        for part in &parts {
            self.withdraw(id, window, part.start, start, to);
        }
        let tracks = &mut self.devices.get_mut(id).expect("it is known").tracks;
        for part in &parts {
            // Revisions have counted the retractions.
            let part = tracks[window].panes.remove(&part.start).expect("it was found");
            joined.absorb(part);
        }
        joined.held = parts.iter().find_map(|part| part.held).filter(|_| !joined.open);
        if joined.open {
            joined.waiting = None;
        } else {
            let first = parts.iter().filter_map(|part| part.waiting).map(|(first, _)| first).min();
            joined.waiting = Some((first.unwrap_or(now), now));
            joined.deep &= parts.iter().all(|part| part.deep);
        }
        joined.take(values, now);
        joined.content.then.extend_from_slice(values);
        tracks[window].panes.insert(start, joined);
    }

    /// Takes back what a part had said, if it does not go on under its start.
    fn withdraw(&mut self, id: &str, window: usize, start: Micros, into: Micros, to: &mut Events) {
        if start == into {
            return;
        }
        let greatest = self.devices[id].tracks[window].newest.clone();
        // Only what was said is taken back.
        let said: Vec<Series> = self.pane(id, window, start).series.clone();
        self.pane(id, window, start).series.retain(|series| series.revision > 0);
        self.emit(id, window, start, Kind::Retracted { into }, Which::All, to);
        let revised = std::mem::take(&mut self.pane(id, window, start).series);
        let newest = &mut self.devices.get_mut(id).expect("it is known").tracks[window].newest;
        for series in &revised {
            if greatest[&series.metric] == start {
                newest.insert(series.metric, into);
            }
        }
        self.pane(id, window, start).series = said
            .iter()
            .map(|series| Series { revision: series.revision + u32::from(series.revision > 0), ..*series })
            .collect();
    }

    /// Steps after the clocks: 1.
    fn complete_passed(&mut self, id: &str, to: &mut Events) {
        let rules = self.rules();
        let mut passed = Vec::new();
        for (window, start) in self.panes_of(id) {
            let pane = &self.devices[id].tracks[window].panes[&start];
            if pane.open && self.devices[id].passed(window, &rules[window], pane.end) {
                passed.push((pane.end, window, start));
            }
        }
        passed.sort_unstable();
        for (_, window, start) in passed {
            self.complete(id, window, start, to);
        }
    }

    /// 2.
    fn emit_early(&mut self, id: &str, touched: &[(usize, Micros)], to: &mut Events) {
        let (rules, now) = (self.rules(), self.now);
        for (window, start) in self.panes_of(id) {
            let rule = &rules[window];
            let clock = self.devices[id].clock_at(now);
            let pane = self.pane(id, window, start);
            if !pane.open {
                continue;
            }
            let by_count = touched.contains(&(window, start))
                && rule.early_count.is_some_and(|count| pane.readings.is_multiple_of(count));
            let by_clock = pane.next_early.is_some_and(|next| clock.is_some_and(|clock| clock >= next));
            if by_clock && let Some(clock) = clock {
                pane.move_early(rule, clock);
            }
            if by_count || by_clock && pane.changed() {
                self.emit(id, window, start, Kind::Early, Which::Changed, to);
            }
        }
    }

    /// (window, start) of the panes whose end the watermark has not reached.
    fn ahead_of_watermark(&self, id: &str) -> Vec<(usize, Micros)> {
        let (rules, device) = (self.rules(), &self.devices[id]);
        let end = |window: usize, start: &Micros| device.tracks[window].panes[start].end;
        let ahead =
            |(window, start): &(usize, Micros)| !device.passed(*window, &rules[*window], end(*window, start));
        self.panes_of(id).into_iter().filter(ahead).collect()
    }

    /// 3, at first: those that this reading jumped over are held, and no others any more.
    fn hold_jumped(&mut self, id: &str, window: usize, ahead: &[(usize, Micros)], to: &mut Events) {
        let (rule, now) = (self.rules()[window].clone(), self.now);
        let device = &self.devices[id];
        let beyond = device.times(&rule).lateness.max(WAIT_MAX);
        let panes = &device.tracks[window].panes;
        let jumped = |start: &Micros| {
            ahead.contains(&(window, *start)) && device.passed(window, &rule, panes[start].end + beyond)
        };
        let jumped: Vec<Micros> = panes.keys().copied().filter(jumped).collect();
        let held = |start: &Micros| panes[start].held.is_some();
        let earlier: Vec<Micros> = panes.keys().copied().filter(held).collect();
        if jumped.is_empty() {
            return;
        }
        for start in earlier {
            if self.pane(id, window, start).waiting.is_some() {
                self.emit(id, window, start, Kind::Late, Which::Changed, to);
            }
            let pane = self.pane(id, window, start);
            (pane.waiting, pane.held) = (None, None);
        }
        for start in jumped {
            self.pane(id, window, start).held = Some(now);
        }
    }

    /// After 3.
    fn bound_backfill(&mut self, id: &str, to: &mut Events) {
        let Some(max) = self.settings.as_ref().map(|settings| settings.backfill_panes_max as usize) else {
            return;
        };
        loop {
            let mut deep = Vec::new();
            for (window, start) in self.panes_of(id) {
                let pane = self.pane(id, window, start);
                if let Some((_, last)) = pane.waiting.filter(|_| pane.deep) {
                    deep.push((last, window, start));
                }
            }
            if deep.len() <= max {
                return;
            }
            let (_, window, start) = *deep.iter().min().expect("there are more than none");
            self.settle(id, window, start, to);
        }
    }
}

impl Pane {
    fn take(&mut self, values: &[Contribution], now: Micros) {
        self.readings += 1;
        self.contributed_at = now;
        for value in values {
            self.touch(value.metric);
        }
    }

    /// Another session becomes a part of this one; ascending by start.
    fn absorb(&mut self, part: Pane) {
        self.readings += part.readings;
        self.completed_before |= part.completed_before;
        self.content.merged.push(part.content);
        let goes_on = part.start == self.start;
        if goes_on {
            self.next_early = part.next_early;
        }
        for series in part.series {
            match self.series.iter_mut().find(|known| known.metric == series.metric) {
                Some(known) => {
                    known.revision = known.revision.max(series.revision);
                    known.changed = true;
                }
                None => self.series.push(Series { changed: series.changed || !goes_on, ..series }),
            }
        }
    }
}

/// What a rule takes of a reading.
fn contributions(rule: &WindowRule, reading: &Observation<'_>) -> Vec<Contribution> {
    let takes = |metric| rule.metrics.as_ref().is_none_or(|metrics| metrics.contains(&metric));
    let values = reading.values.iter().filter(|value| takes(value.metric));
    values
        .map(|value| Contribution {
            metric: value.metric.0,
            event_time: reading.event_time,
            offset: reading.offset,
            value: value.value,
            scores: value.scores.to_vec(),
        })
        .collect()
}

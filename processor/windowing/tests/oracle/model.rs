//! The partition, slowly: every question is answered by looking at everything.

use std::collections::{BTreeMap, BTreeSet};

use windowing::api::{
    DeviceLimit, DeviceState, Emission, Kind, Metric, Micros, Observation, Overrides, PaneLimit, Sequence,
    Settings, Slot, Taken, WindowRule,
};

use super::history::Windows;
use super::pane::{Device, Due, Pane, Track, boundary};
use super::rows::{Event, Events, Row};
use super::sequence::Boots;

/// All of it.
#[derive(Clone, Debug)]
pub(crate) struct Model {
    pub(crate) now: Micros,
    pub(crate) settings: Option<Settings>,
    pub(crate) devices: BTreeMap<String, Device>,
}

/// Which metrics of a pane come out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    All,
    Changed,
}

impl Model {
    pub(crate) fn new() -> Self {
        Self { now: Micros::MIN, settings: None, devices: BTreeMap::new() }
    }

    pub(crate) fn rules(&self) -> Vec<WindowRule> {
        self.settings.as_ref().map_or_else(Vec::new, |settings| settings.windows.clone())
    }

    pub(crate) fn id_of(&self, slot: Slot) -> String {
        let device = self.devices.iter().find(|(_, device)| device.slot == slot.0);
        device.expect("the slot is occupied").0.clone()
    }

    /// One row for each metric asked for.
    pub(crate) fn emit(
        &mut self,
        id: &str,
        window: usize,
        start: Micros,
        kind: Kind,
        which: Which,
        to: &mut Events,
    ) {
        let rules = self.rules();
        let device = self.devices.get_mut(id).expect("it is known");
        let slot = device.slot;
        let track = &mut device.tracks[window];
        for k in 0..track.panes[&start].series.len() {
            let pane = &track.panes[&start];
            let series = pane.series[k];
            if which == Which::Changed && !series.changed {
                continue;
            }
            let accumulated = track.accumulate(pane, series.metric);
            let greatest = track.newest.get(&series.metric).copied();
            let revises = matches!(kind, Kind::Early | Kind::Retracted { .. });
            let completes = pane.open && !pane.completed_before;
            to.0.push(Event::Row(Row::of(&Emission {
                slot: Slot(slot),
                metric: Metric(series.metric),
                window: window as u16,
                window_name: &rules[window].name,
                start,
                end: pane.end,
                revision: series.revision + 1,
                kind,
                newest: greatest.is_none_or(|greatest| start >= greatest),
                first: !revises && (completes || series.revision == 0),
                stats: accumulated.stats,
                scores: &accumulated.scores,
                contributed_at: pane.contributed_at,
            })));
            track.newest.insert(series.metric, greatest.map_or(start, |greatest| greatest.max(start)));
            let series = &mut track.panes.get_mut(&start).expect("it is there").series[k];
            series.revision += 1;
            series.changed = false;
        }
    }

    /// The pane is complete.
    pub(crate) fn complete(&mut self, id: &str, window: usize, start: Micros, to: &mut Events) {
        let before = self.pane(id, window, start).completed_before;
        self.emit(id, window, start, if before { Kind::Late } else { Kind::OnTime }, Which::All, to);
        let pane = self.pane(id, window, start);
        pane.open = false;
        pane.completed_before = true;
    }

    pub(crate) fn pane(&mut self, id: &str, window: usize, start: Micros) -> &mut Pane {
        let device = self.devices.get_mut(id).expect("it is known");
        device.tracks[window].panes.get_mut(&start).expect("it is there")
    }

    /// Drops the pane if the watermark allows it.
    pub(crate) fn drop_if_passed(&mut self, id: &str, window: usize, start: Micros) {
        let rule = self.rules()[window].clone();
        let device = self.devices.get_mut(id).expect("it is known");
        let pane = &device.tracks[window].panes[&start];
        let until = pane.end + device.times(&rule).lateness;
        if pane.at_rest() && pane.held.is_none() && device.passed(window, &rule, until) {
            device.tracks[window].drop_pane(start, rule.assigner);
        }
    }

    pub(crate) fn panes_of(&self, id: &str) -> Vec<(usize, Micros)> {
        let tracks = self.devices[id].tracks.iter().enumerate();
        tracks.flat_map(|(window, track)| track.panes.keys().map(move |start| (window, *start))).collect()
    }

    /// The next timer: (deadline, device, window, start, what), by looking at all of them.
    fn next_timer(&self) -> Option<(Micros, String, usize, Micros, Option<Due>)> {
        let settings = self.settings.as_ref()?;
        let mut all = Vec::new();
        for (id, device) in &self.devices {
            for (window, track) in device.tracks.iter().enumerate() {
                for pane in track.panes.values() {
                    let (at, due) = device.due(&settings.windows[window], pane, settings);
                    all.push((at, id, window, pane.start, Some(due)));
                }
            }
            all.push((device.evicted_at(settings), id, usize::MAX, 0, None));
        }
        let least = all.into_iter().min_by_key(|(at, id, window, start, _)| (*at, *id, *window, *start))?;
        Some((least.0, least.1.clone(), least.2, least.3, least.4))
    }

    fn fire(&mut self, at: Micros, id: &str, window: usize, start: Micros, due: Due, to: &mut Events) {
        let rule = self.rules()[window].clone();
        match due {
            Due::Early => {
                if self.pane(id, window, start).changed() {
                    self.emit(id, window, start, Kind::Early, Which::Changed, to);
                }
                let clock = self.devices[id].clock_at(at).expect("it has panes");
                self.pane(id, window, start).move_early(&rule, clock);
            }
            Due::Silence => {
                self.complete(id, window, start, to);
                self.drop_if_passed(id, window, start);
            }
            Due::Settled => self.settle(id, window, start, to),
            Due::Drop => {
                let device = self.devices.get_mut(id).expect("it is known");
                device.tracks[window].drop_pane(start, rule.assigner);
            }
        }
    }

    /// A waiting pane comes out; a deep one goes.
    pub(crate) fn settle(&mut self, id: &str, window: usize, start: Micros, to: &mut Events) {
        let rule = self.rules()[window].clone();
        self.emit(id, window, start, Kind::Late, Which::Changed, to);
        let pane = self.pane(id, window, start);
        pane.waiting = None;
        if pane.deep {
            let device = self.devices.get_mut(id).expect("it is known");
            device.tracks[window].drop_pane(start, rule.assigner);
        } else {
            self.drop_if_passed(id, window, start);
        }
    }

    fn evict(&mut self, id: &str, to: &mut Events) {
        for (window, start) in self.panes_of(id) {
            self.emit(id, window, start, Kind::AtEnd, Which::Changed, to);
        }
        let device = self.devices.remove(id).expect("it is known");
        to.0.push(Event::Evicted(device.slot, id.to_owned()));
    }

    fn end_device(&mut self, id: &str, to: &mut Events) {
        for (window, start) in self.panes_of(id) {
            let open = self.pane(id, window, start).open;
            let which = if open { Which::All } else { Which::Changed };
            self.emit(id, window, start, Kind::AtEnd, which, to);
            let pane = self.pane(id, window, start);
            pane.completed_before |= open;
            pane.open = false;
            pane.waiting = None;
            pane.held = None;
        }
        let rules = self.rules();
        for (window, start) in self.panes_of(id) {
            if self.pane(id, window, start).deep {
                let device = self.devices.get_mut(id).expect("it is known");
                device.tracks[window].drop_pane(start, rules[window].assigner);
            }
        }
        for (window, start) in self.panes_of(id) {
            self.drop_if_passed(id, window, start);
        }
    }

    fn remove_rule(&mut self, window: usize, to: &mut Events) {
        let ids: Vec<String> = self.devices.keys().cloned().collect();
        for id in ids {
            for (_, start) in self.panes_of(&id).into_iter().filter(|pane| pane.0 == window) {
                self.emit(&id, window, start, Kind::AtEnd, Which::Changed, to);
            }
        }
    }
}

/// Which definition of `old` goes on as `rule`.
fn same(old: &[WindowRule], rule: &WindowRule) -> Option<usize> {
    old.iter().position(|known| known.name == rule.name && known.assigner == rule.assigner)
}

/// The device's tracks under a new configuration.
fn carry_over(device: &Device, old: Option<&[WindowRule]>, new: &[WindowRule]) -> Vec<Track> {
    let carried = |rule: &WindowRule| {
        let known = old.unwrap_or_default();
        let Some(k) = same(known, rule) else {
            let max_event = device.clock.map(|(max_event, _)| max_event).filter(|_| old.is_some());
            let not_before = max_event.map(|max_event| boundary(rule.assigner, max_event));
            return Track { not_before, ..Track::default() };
        };
        let mut track = device.tracks[k].clone();
        if known[k].early_every != rule.early_every {
            for pane in track.panes.values_mut() {
                pane.next_early = rule.early_every.map(|every| pane.start + every);
            }
        }
        track
    };
    new.iter().map(carried).collect()
}

impl Windows for Model {
    fn advance(&mut self, receipt: Micros, to: &mut Events) {
        self.now = self.now.max(receipt);
        while let Some((at, id, window, start, due)) = self.next_timer().filter(|timer| timer.0 <= self.now) {
            match due {
                Some(due) => self.fire(at, &id, window, start, due, to),
                None => self.evict(&id, to),
            }
        }
    }

    fn locate(&mut self, id: &str, receipt: Micros) -> Result<Slot, DeviceLimit> {
        self.now = self.now.max(receipt);
        if let Some(slot) = self.find(id) {
            return Ok(slot);
        }
        let count = self.devices.len() as u32;
        if self.settings.as_ref().is_some_and(|settings| count >= settings.devices_max) {
            return Err(DeviceLimit(count));
        }
        let used: BTreeSet<u32> = self.devices.values().map(|device| device.slot).collect();
        let slot = (0..).find(|slot| !used.contains(slot)).expect("there are more numbers than devices");
        let device = Device {
            slot,
            created_at: self.now,
            clock: None,
            last_receipt: None,
            overrides: Overrides::default(),
            tracks: self.rules().iter().map(|_| Track::default()).collect(),
            boots: Boots::default(),
        };
        self.devices.insert(id.to_owned(), device);
        Ok(Slot(slot))
    }

    fn find(&self, id: &str) -> Option<Slot> {
        self.devices.get(id).map(|device| Slot(device.slot))
    }

    fn sequence(&self, slot: Slot, boot: Option<&str>, seq: i64, event_time: Micros) -> Sequence {
        self.devices[&self.id_of(slot)].boots.ask(boot, seq, event_time)
    }

    fn mark(&mut self, slot: Slot, boot: Option<&str>, seq: i64, event_time: Micros) {
        let id = self.id_of(slot);
        self.devices.get_mut(&id).expect("it is known").boots.mark(boot, seq, event_time);
    }

    fn observe(
        &mut self,
        slot: Slot,
        reading: &Observation<'_>,
        to: &mut Events,
    ) -> Result<Taken, PaneLimit> {
        let id = self.id_of(slot);
        self.observe_device(&id, reading, to)
    }

    fn end(&mut self, slot: Option<Slot>, to: &mut Events) {
        let ids = slot.map_or_else(|| self.devices.keys().cloned().collect(), |slot| vec![self.id_of(slot)]);
        for id in ids {
            self.end_device(&id, to);
        }
    }

    fn set_overrides(&mut self, slot: Slot, overrides: Overrides) {
        let (id, rules) = (self.id_of(slot), self.rules());
        let device = self.devices.get_mut(&id).expect("it is known");
        device.raise_floors(&rules);
        device.overrides = overrides;
    }

    fn configure(&mut self, settings: Settings, receipt: Micros, to: &mut Events) {
        self.now = self.now.max(receipt);
        let old = self.rules();
        let stays = |rule: &WindowRule| same(&settings.windows, rule).is_some();
        for window in (0..old.len()).filter(|window| !stays(&old[*window])) {
            self.remove_rule(window, to);
        }
        let known = self.settings.is_some().then_some(&old[..]);
        for device in self.devices.values_mut() {
            device.raise_floors(&old);
            device.tracks = carry_over(device, known, &settings.windows);
        }
        self.settings = Some(settings);
    }

    fn panes(&self) -> u32 {
        let tracks = self.devices.values().flat_map(|device| &device.tracks);
        tracks.map(Track::accumulators).sum::<usize>() as u32
    }

    fn next_deadline(&self) -> Option<Micros> {
        let settings = self.settings.as_ref()?;
        let of_track = |device: &Device, (track, rule): (&Track, &WindowRule)| {
            track.panes.values().map(|pane| device.acts_at(rule, pane, settings)).min()
        };
        let of = |device: &Device| {
            device.tracks.iter().zip(&settings.windows).filter_map(|track| of_track(device, track)).min()
        };
        self.devices.values().filter_map(of).min()
    }

    fn next_eviction(&self) -> Option<Micros> {
        let settings = self.settings.as_ref()?;
        self.devices.values().map(|device| device.evicted_at(settings)).min()
    }

    fn explain(&self, slot: Slot) -> DeviceState {
        let id = self.id_of(slot);
        let (device, settings) = (&self.devices[&id], self.settings.as_ref().expect("it was configured"));
        DeviceState {
            max_event: device.clock.map(|clock| clock.0),
            seen_at: device.clock.map(|clock| clock.1),
            last_receipt: device.last_receipt,
            created_at: device.created_at,
            clock: device.clock_at(self.now),
            evicted_at: device.evicted_at(settings),
            overrides: device.overrides,
            windows: (0..settings.windows.len()).map(|window| device.track_state(window, settings)).collect(),
            boots: device.boots.states(),
            device: id,
        }
    }
}

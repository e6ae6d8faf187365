//! Which device's timers fire when: arming, bringing entries to their true deadlines, firing in order, evicting.
//!
//! Invariant: what is due fires in the order of (deadline, device id), panes before eviction; a device that has become
//! due again by what it fired goes on before the others.

use std::cmp::Reverse;

use super::{Partition, hash};
use crate::api::{Micros, Sink, Slot};
use crate::device::Device;
use crate::effects::{Rearm, Scope};
use crate::mutation::Mutation;

/// Entries per slot, outdated ones among them, before those are looked for and forgotten.
const ENTRIES_PER_SLOT_MAX: usize = 2;
/// More of them, so that small fleets do not look too often.
const ENTRIES_SPARE: usize = 64;

impl Partition {
    pub(super) fn scope(&mut self, slot: u32, now: Micros) -> Option<(&mut Device, Scope<'_>)> {
        let Self { settings, slots, shelf, panes, order, mutant, .. } = self;
        let device = slots.get_mut(slot as usize)?.as_mut()?;
        let scope = Scope {
            slot: Slot(slot),
            now,
            windows: &settings.windows,
            idle_retention: settings.idle_retention,
            backfill_panes_max: settings.backfill_panes_max,
            mutant: *mutant,
            shelf,
            panes,
            order,
            rearm: Rearm::No,
        };
        Some((device, scope))
    }

    pub(super) fn slots_by_id(&self) -> Vec<u32> {
        let mut list: Vec<(&[u8], u32)> = (0..)
            .zip(self.slots.iter())
            .filter_map(|(k, device)| Some((device.as_ref()?.id.as_bytes(), k)))
            .collect();
        list.sort_unstable();
        list.into_iter().map(|(_, slot)| slot).collect()
    }

    /// Arms a device's timer, unless its entry is early enough.
    pub(super) fn rearm(&mut self, slot: u32) {
        let Self { settings, slots, shelf, timers, mutant, now, .. } = self;
        let Some(device) = &mut slots[slot as usize] else { return };
        let deadline = device.deadline(shelf, &settings.windows, settings.idle_retention, *mutant);
        if device.arm(deadline, *now) {
            timers.push(device.armed, slot);
            if timers.len() > ENTRIES_SPARE + ENTRIES_PER_SLOT_MAX * slots.len() {
                self.forget_outdated();
            }
        }
    }

    pub(super) fn rearm_after_reading(&mut self, slot: u32, rearm: Rearm) {
        if rearm == Rearm::Bounded
            && let Some(device) = &self.slots[slot as usize]
            && device.armed
                <= device.deadline_bound(self.now, &self.settings.windows, self.settings.idle_retention)
        {
            return;
        }
        self.rearm(slot);
    }

    /// Keeps the one entry of each device that counts.
    fn forget_outdated(&mut self) {
        self.timers.clear();
        for (slot, device) in (0..).zip(self.slots.iter()) {
            if let Some(device) = device {
                self.timers.push(device.armed, slot);
            }
        }
    }

    pub(super) fn rearm_all(&mut self) {
        self.timers.clear();
        self.evictions.clear();
        for slot in 0..self.slots.len() as u32 {
            if let Some(device) = &mut self.slots[slot as usize] {
                device.armed = Micros::MAX;
                self.evictions.push(device.evicted_at(&self.settings), slot);
                self.rearm(slot);
            }
        }
    }

    /// Brings the least entry of the pane timers to its true deadline; that deadline, if it is due.
    fn least_timer(&mut self) -> Option<Micros> {
        self.least_timer_by(self.now)
    }

    /// Brings entries that seem due by `by` to their true deadlines; the least of these, if it is due by then.
    pub(super) fn least_timer_by(&mut self, by: Micros) -> Option<Micros> {
        while let Some((deadline, slot)) = self.timers.peek().filter(|(deadline, _)| *deadline <= by) {
            let Self { settings, slots, shelf, timers, mutant, .. } = self;
            let device = slots[slot as usize].as_mut().filter(|device| device.armed == deadline);
            let Some(device) = device else {
                timers.pop();
                continue;
            };
            let exact = device.deadline(shelf, &settings.windows, settings.idle_retention, *mutant);
            if exact <= deadline {
                return Some(deadline);
            }
            timers.pop();
            device.armed = Micros::MAX;
            device.arm(exact, deadline);
            timers.push(device.armed, slot);
        }
        None
    }

    /// Brings the least entry of the evictions to its true deadline; that deadline, if it is due.
    fn least_eviction(&mut self) -> Option<Micros> {
        while let Some((deadline, slot)) = self.evictions.peek().filter(|(deadline, _)| *deadline <= self.now)
        {
            let exact = self.slots[slot as usize].as_ref().map(|device| device.evicted_at(&self.settings));
            if exact.is_some_and(|exact| exact <= deadline) {
                return Some(deadline);
            }
            self.evictions.pop();
            if let Some(exact) = exact {
                self.evictions.push(exact, slot);
            }
        }
        None
    }

    #[cold]
    pub(super) fn fire_due(&mut self, sink: &mut impl Sink) {
        let mut due: Vec<(u32, bool)> = Vec::new();
        loop {
            let (panes, evictions) = (self.least_timer(), self.least_eviction());
            let Some(deadline) = panes.into_iter().chain(evictions).min() else { return };
            due.clear();
            while self.least_timer() == Some(deadline) {
                due.extend(self.timers.pop().map(|(_, slot)| (slot, false)));
                if let Some((slot, _)) = due.last()
                    && let Some(device) = &mut self.slots[*slot as usize]
                {
                    device.armed = Micros::MAX;
                }
            }
            while self.least_eviction() == Some(deadline) {
                due.extend(self.evictions.pop().map(|(_, slot)| (slot, true)));
            }
            let id =
                |slot: u32| self.slots[slot as usize].as_ref().map_or(&[][..], |device| device.id.as_bytes());
            if self.mutant.is(Mutation::TiesBySlot) {
                due.sort_unstable();
            } else {
                due.sort_unstable_by(|a, b| (id(a.0), a.1).cmp(&(id(b.0), b.1)));
            }
            for &(slot, evict) in &due {
                if evict {
                    self.evict(slot, sink);
                    continue;
                }
                if let Some((device, mut scope)) = self.scope(slot, deadline) {
                    device.fire(deadline, &mut scope, sink);
                }
                self.rearm(slot);
            }
        }
    }

    /// Emits what changed, then forgets the device.
    fn evict(&mut self, slot: u32, sink: &mut impl Sink) {
        if self.mutant.is(Mutation::EvictionForgotten) {
            return;
        }
        if let Some((device, scope)) = self.scope(slot, self.now) {
            for window in 0..scope.windows.len() as u16 {
                let place = scope.place(window);
                device.emit_rest(scope.shelf, place, sink);
            }
        }
        let Some(mut device) = self.slots[slot as usize].take() else { return };
        sink.evict(Slot(slot), device.id.as_str());
        self.panes = self.panes.saturating_sub(device.accumulators(&self.shelf));
        device.tracks.iter_mut().for_each(|track| track.clear(&mut self.shelf));
        if let Ok(entry) = self.index.find_entry(hash(device.id.as_bytes()), |known| *known == slot) {
            entry.remove();
        }
        self.free.push(Reverse(slot));
    }
}

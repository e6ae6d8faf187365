//! All devices of one partition: finding them, applying readings, firing what is due.
//!
//! Invariants: `index` holds exactly the occupied slots; `panes` is the number of accumulators over all devices;
//! every pane deadline of a device has an entry in `timers` that is not later; every device has one in `evictions`.
//! A slot that a caller passes was handed out by [`Partition::locate`] and not evicted since: anything else is a
//! fault of ours and panics.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::hash::BuildHasher;

use hashbrown::HashTable;

use crate::api::{
    DeviceLimit, Micros, Observation, Overrides, PaneLimit, Sequence, Settings, Sink, Slot, Taken,
};
use crate::assigner;
use crate::configure;
use crate::device::Device;
use crate::effects::{Rearm, Scope};
use crate::id::is_same;
use crate::mutation::{Mutant, Mutation};
use crate::pages::Pages;
use crate::shelf::Shelf;
use crate::timers::Timers;

mod firing;

/// Most heap entries that one question for the next deadline looks at; beyond it the answer is a lower bound.
const LOOKS_MAX: usize = 4_096;
/// Seed of the index: any number, the same in every process.
const SEED: u64 = 0x6869_6768_7761_7465;

/// The event-time state of one partition.
#[derive(Clone, Debug)]
pub struct Partition {
    now: Micros,
    settings: Settings,
    configured: bool,
    /// Of the settings: most accumulators that one value may add, and whether a window emits early by the clock.
    accumulators_max: u64,
    early: bool,
    slots: Pages<Option<Device>>,
    shelf: Shelf,
    free: BinaryHeap<Reverse<u32>>,
    index: HashTable<u32>,
    panes: u32,
    timers: Timers,
    evictions: Timers,
    order: Vec<(Micros, u16, Micros)>,
    mutant: Mutant,
}

impl Default for Partition {
    fn default() -> Self {
        Self::new()
    }
}

impl Partition {
    /// Empty, without configuration: readings are taken by no window.
    pub fn new() -> Self {
        Self {
            now: Micros::MIN,
            settings: Settings {
                windows: Vec::new(),
                idle_retention: Micros::MAX,
                device_retention: Micros::MAX,
                devices_max: u32::MAX,
                panes_max: u32::MAX,
                backfill_panes_max: u32::MAX,
                models: 0,
            },
            configured: false,
            accumulators_max: 0,
            early: false,
            slots: Pages::default(),
            shelf: Shelf::default(),
            free: BinaryHeap::new(),
            index: HashTable::new(),
            panes: 0,
            timers: Timers::default(),
            evictions: Timers::default(),
            order: Vec::new(),
            mutant: Mutant::default(),
        }
    }

    /// Broken in one rule, for tests of the tests.
    #[cfg(feature = "mutations")]
    #[doc(hidden)]
    #[must_use]
    pub fn with_mutation(mut self, mutation: Option<Mutation>) -> Self {
        self.mutant = Mutant::new(mutation);
        self
    }

    /// Brings a configuration into force. What a removed definition still held comes out; new definitions start at
    /// each device's next boundary; time rules that changed count from the device's next reading or timer.
    pub fn configure(&mut self, settings: Settings, receipt_now: Micros, sink: &mut impl Sink) {
        self.now = self.now.max(receipt_now);
        let old = std::mem::replace(&mut self.settings, settings);
        self.read_settings();
        let first = !std::mem::replace(&mut self.configured, true);
        let mapping = configure::mapping(&old.windows, &self.settings.windows);
        let removed = (0..old.windows.len()).filter(|k| !mapping.contains(&Some(*k)));
        let by_id = self.slots_by_id();
        for window in removed {
            for &slot in &by_id {
                if let Some(device) = &mut self.slots[slot as usize] {
                    configure::close(
                        device,
                        &mut self.shelf,
                        window,
                        &old.windows[window],
                        Slot(slot),
                        self.mutant,
                        sink,
                    );
                }
            }
        }
        self.panes = 0;
        for device in self.slots.iter_mut().flatten() {
            let before = (!first).then_some(&old);
            if let Some(old) = before {
                device.move_early_clocks(&mut self.shelf, self.now, &old.windows, self.mutant);
            }
            configure::remap(device, &mut self.shelf, &mapping, before, &self.settings.windows, self.mutant);
            self.panes += device.accumulators(&self.shelf);
        }
        self.rearm_all();
    }

    /// Finds a device or makes room for it. `receipt` counts as its first sign of life.
    ///
    /// # Errors
    /// When it is new and the partition is full; nothing changed.
    #[inline]
    pub fn locate(&mut self, device: &str, receipt: Micros) -> Result<Slot, DeviceLimit> {
        match self.find(device) {
            Some(slot) => Ok(slot),
            None => self.create(device, receipt),
        }
    }

    fn create(&mut self, id: &str, receipt: Micros) -> Result<Slot, DeviceLimit> {
        if self.devices() >= self.settings.devices_max {
            return Err(DeviceLimit(self.devices()));
        }
        let device = Device::new(id, self.now.max(receipt), self.settings.windows.len());
        let evicted_at = device.evicted_at(&self.settings);
        let slot = match self.free.pop() {
            Some(Reverse(slot)) => slot,
            None => {
                let slot = u32::try_from(self.slots.len()).map_err(|_| DeviceLimit(self.devices()))?;
                self.slots.push(None);
                slot
            }
        };
        self.slots[slot as usize] = Some(device);
        self.enter(slot);
        self.evictions.push(evicted_at, slot);
        Ok(Slot(slot))
    }

    /// Puts an occupied slot into the index.
    fn enter(&mut self, slot: u32) {
        let Self { index, slots, .. } = self;
        let id = |slot: u32| slots[slot as usize].as_ref().map_or(&[][..], |device| device.id.as_bytes());
        index.insert_unique(hash(id(slot)), slot, |&slot| hash(id(slot)));
    }

    /// Slot of a device that is known.
    #[inline]
    pub fn find(&self, device: &str) -> Option<Slot> {
        self.find_bytes(device.as_bytes())
    }

    /// [`Partition::find`] by the bytes of the id.
    #[inline]
    pub fn find_bytes(&self, device: &[u8]) -> Option<Slot> {
        let is_it = |slot: &u32| {
            self.slots[*slot as usize].as_ref().is_some_and(|known| is_same(known.id.as_bytes(), device))
        };
        self.index.find(hash(device), is_it).map(|slot| Slot(*slot))
    }

    /// Id of a device.
    pub fn device_id(&self, slot: Slot) -> &str {
        self.device(slot).id.as_str()
    }

    /// Gives a device its own time rules; watermarks do not go back. Counts from its next reading or timer.
    pub fn set_overrides(&mut self, slot: Slot, overrides: Overrides) {
        let mutant = self.mutant;
        let Self { settings, slots, shelf, now, .. } = self;
        let device = slots[slot.0 as usize].as_mut().expect("the slot is occupied");
        if device.overrides.as_deref().copied().unwrap_or_default() == overrides {
            return;
        }
        device.move_early_clocks(shelf, *now, &settings.windows, mutant);
        device.raise_floors(&settings.windows, mutant);
        device.overrides = (overrides != Overrides::default()).then(|| Box::new(overrides));
        device.recompute_due(shelf, &settings.windows);
        self.rearm(slot.0);
    }

    /// What a sequence number is to a device; remembers nothing.
    #[inline]
    pub fn sequence(&self, slot: Slot, boot: Option<&str>, seq: i64, event_time: Micros) -> Sequence {
        self.device(slot).boots.ask(boot, seq, event_time)
    }

    /// Remembers the sequence number of an accepted reading.
    #[inline]
    pub fn mark(&mut self, slot: Slot, boot: Option<&str>, seq: i64, event_time: Micros) {
        let mutant = self.mutant;
        self.device_mut(slot).boots.mark(boot, seq, event_time, mutant);
    }

    /// Fires everything due at or before `receipt`, each timer as of its own deadline, and evicts.
    #[inline]
    pub fn advance(&mut self, receipt: Micros, sink: &mut impl Sink) {
        self.now = self.now.max(receipt);
        let due = |timers: &Timers| timers.peek().is_some_and(|(deadline, _)| deadline <= self.now);
        if due(&self.timers) || due(&self.evictions) {
            self.fire_due(sink);
        }
    }

    /// Applies one reading: adds it to its windows and does what follows for its device.
    ///
    /// # Errors
    /// When it would need more accumulators than `panes_max`; nothing changed.
    #[inline]
    pub fn observe(
        &mut self,
        slot: Slot,
        reading: &Observation<'_>,
        sink: &mut impl Sink,
    ) -> Result<Taken, PaneLimit> {
        let may_add = self.panes_of_reading_max(reading.values.len());
        let Self { settings, early, slots, shelf, panes, order, mutant, now, .. } = self;
        let device = slots[slot.0 as usize].as_mut().expect("the slot is occupied");
        if panes.saturating_add(may_add) > settings.panes_max {
            let added = device.accumulators_added(shelf, reading, &settings.windows, *mutant);
            if added > 0 && i64::from(*panes) + added > i64::from(settings.panes_max) {
                return Err(PaneLimit(*panes));
            }
        }
        let mut scope = Scope {
            slot,
            now: *now,
            windows: &settings.windows,
            idle_retention: settings.idle_retention,
            backfill_panes_max: settings.backfill_panes_max,
            mutant: *mutant,
            shelf,
            panes,
            order,
            rearm: Rearm::No,
        };
        let mut taken = Taken::default();
        if *early {
            device.move_early_clocks(scope.shelf, scope.now, scope.windows, scope.mutant);
        }
        device.contribute(reading, &mut scope, &mut taken, sink);
        let late = taken.panes == 0 && !taken.refused.is_empty();
        let before = device.clocks;
        let clocks = &mut device.clocks;
        if late {
            if mutant.is(Mutation::LateCountsAsReceipt) {
                clocks.last_receipt = scope.now;
            }
            return Ok(taken);
        }
        clocks.last_receipt = scope.now;
        if !clocks.started || reading.event_time > clocks.max_event {
            clocks.started = true;
            clocks.max_event = reading.event_time;
            clocks.seen_at = scope.now;
            if clocks.shift() < device.armed_shift {
                scope.rearm = scope.rearm.max(Rearm::Bounded);
            }
        }
        if device.after_reading(&before, &mut scope, sink) {
            scope.rearm = Rearm::Full;
        }
        if scope.rearm > Rearm::No {
            let rearm = scope.rearm;
            self.rearm_after_reading(slot.0, rearm);
        }
        Ok(taken)
    }

    /// An end record, of one device or of all in ascending id: everything comes out, later readings are revisions.
    pub fn end(&mut self, slot: Option<Slot>, sink: &mut impl Sink) {
        let slots = slot.map_or_else(|| self.slots_by_id(), |slot| vec![slot.0]);
        for slot in slots {
            let Some((device, mut scope)) = self.scope(slot, self.now) else { continue };
            device.end(&mut scope, sink);
            self.rearm(slot);
        }
    }

    /// Accumulators, as `panes_max` counts them.
    pub fn panes(&self) -> u32 {
        self.panes
    }

    /// How many accumulators one reading with so many values may add at most. A caller that queues readings flushes
    /// first when those queued could reach `panes_max`, so that refusals do not depend on where its batches end.
    #[inline]
    pub fn panes_of_reading_max(&self, values: usize) -> u32 {
        u32::try_from(self.accumulators_max.saturating_mul(values as u64)).unwrap_or(u32::MAX)
    }

    /// Keeps what every reading asks of the settings.
    fn read_settings(&mut self) {
        let windows = &self.settings.windows;
        let each = windows.iter().map(|rule| match rule.assigner {
            crate::api::Assigner::Hopping { .. } => assigner::windows_max(rule.assigner).saturating_add(1),
            _ => 1,
        });
        self.accumulators_max = each.fold(0, u64::saturating_add);
        self.early = windows.iter().any(|rule| rule.early_every.is_some());
    }

    /// Devices.
    pub fn devices(&self) -> u32 {
        self.index.len() as u32
    }

    /// Receipt time at which a timer of a pane is due if nothing arrives. Never later than the true one; earlier only
    /// when thousands of devices' entries are out of date.
    pub fn next_deadline(&self) -> Option<Micros> {
        self.timers.least(LOOKS_MAX, |deadline, slot| {
            let device = self.slots[slot as usize].as_ref().filter(|device| device.armed == deadline)?;
            Some(device.deadline(
                &self.shelf,
                &self.settings.windows,
                self.settings.idle_retention,
                self.mutant,
            ))
        })
    }

    /// When to look again whether a timer of a pane is due: at or before `by` exactly if one is due by then and nothing
    /// arrives, else some time after `by` and never later than the first deadline. Unlike [`Self::next_deadline`] it
    /// costs what has come near since the last look, not what there is: for callers that ask all the time.
    pub fn wake_at(&mut self, by: Micros) -> Option<Micros> {
        self.least_timer_by(by).or_else(|| self.timers.peek().map(|(bound, _)| bound))
    }

    /// Receipt time at which a device is evicted if nothing arrives; a lower bound like [`Self::next_deadline`].
    pub fn next_eviction(&self) -> Option<Micros> {
        self.evictions
            .least(LOOKS_MAX, |_, slot| Some(self.slots[slot as usize].as_ref()?.evicted_at(&self.settings)))
    }
}

/// What the crate's other modules need of it.
impl Partition {
    pub(crate) fn now(&self) -> Micros {
        self.now
    }

    pub(crate) fn mutant(&self) -> Mutant {
        self.mutant
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(crate) fn configured(&self) -> bool {
        self.configured
    }

    pub(crate) fn slots(&self) -> &Pages<Option<Device>> {
        &self.slots
    }

    pub(crate) fn shelf(&self) -> &Shelf {
        &self.shelf
    }

    pub(crate) fn occupied(&self) -> impl Iterator<Item = &Device> {
        self.slots.iter().flatten()
    }

    #[inline]
    pub(crate) fn device(&self, slot: Slot) -> &Device {
        self.slots[slot.0 as usize].as_ref().expect("the slot is occupied")
    }

    /// Whether the shelf holds as many panes as the tracks do.
    #[cfg(test)]
    pub(crate) fn shelf_is_tidy(&self) -> bool {
        let tracks = self.occupied().flat_map(|device| &device.tracks);
        self.shelf.len() == tracks.map(|track| track.panes.len()).sum::<usize>()
    }

    #[inline]
    fn device_mut(&mut self, slot: Slot) -> &mut Device {
        self.slots[slot.0 as usize].as_mut().expect("the slot is occupied")
    }

    pub(crate) fn index_bytes(&self) -> usize {
        let free_slots = self.slots.bytes() - self.index.len() * size_of::<Option<Device>>();
        let index = self.index.capacity() * (size_of::<u32>() + 1);
        free_slots + index + self.timers.heap_bytes() + self.evictions.heap_bytes()
    }

    /// From what was saved: index, timers and counts are derived. None when two devices have one id.
    pub(crate) fn restore(
        now: Micros,
        settings: Settings,
        configured: bool,
        slots: Pages<Option<Device>>,
        shelf: Shelf,
    ) -> Option<Self> {
        let mut partition = Self { now, settings, configured, slots, shelf, ..Self::new() };
        partition.read_settings();
        for slot in 0..partition.slots.len() as u32 {
            let Some(device) = &partition.slots[slot as usize] else {
                partition.free.push(Reverse(slot));
                continue;
            };
            if partition.find(device.id.as_str()).is_some() {
                return None;
            }
            partition.panes = partition.panes.checked_add(device.accumulators(&partition.shelf))?;
            partition.enter(slot);
        }
        partition.rearm_all();
        Some(partition)
    }
}

#[inline]
fn hash(id: &[u8]) -> u64 {
    foldhash::fast::FixedState::with_seed(SEED).hash_one(id)
}

#[cfg(test)]
mod tests;

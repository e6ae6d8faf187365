//! What the processor keeps of each device besides its windows: metadata with its recent past, calibration, known
//! measurements, and the timer that notices silence.
//!
//! Slots are those of `windowing`. Metadata outlives an evicted device: one that comes back after its retention is
//! read with its calibration.

mod saving;
mod stall;
#[cfg(test)]
mod tests;

use super::names::Names;
use schemas::Micros;
use schemas::record::{Device as Record, DeviceSummary};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use windowing::api::{Metric, Overrides, Slot};
use windowing::id::Id;
use windowing::pages::Pages;

/// Metadata versions kept of a device, so that a pane is published with those in force at its last reading.
const VERSIONS_MAX: usize = 4;
/// Metadata kept of devices that were evicted or have no room.
const PARKED_MAX: usize = 1_000_000;

/// Metadata from one device record on.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Version {
    /// Partition's receipt time at which it came into force.
    pub(crate) since: Micros,
    pub(crate) record: Record,
    /// (metric, scale, offset) of the channels that have either.
    pub(crate) calibration: Vec<(Metric, f64, f64)>,
}

impl Version {
    /// Compiles the calibration; none when the partition has no number left for a channel's name.
    pub(crate) fn new(record: Record, since: Micros, names: &mut Names) -> Option<Self> {
        let mut calibration = Vec::new();
        for (name, channel) in &record.channels {
            if channel.scale.is_some() || channel.offset.is_some() {
                let metric = names.intern(name)?;
                calibration.push((metric, channel.scale.unwrap_or(1.0), channel.offset.unwrap_or(0.0)));
            }
        }
        Some(Self { since, record, calibration })
    }

    pub(crate) fn overrides(&self) -> Overrides {
        if self.record.deleted {
            return Overrides::default();
        }
        Overrides {
            disorder: self.record.disorder,
            quiet_after: self.record.quiet_after,
            lateness: self.record.lateness,
            settle: self.record.settle,
        }
    }
}

/// What a reading without `seq` is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Repeat {
    pub(crate) event_time: Micros,
    pub(crate) fingerprint: u64,
    pub(crate) receipt: Micros,
}

/// One device.
#[derive(Debug, Default)]
pub(crate) struct Entry {
    /// Empty: the slot is free.
    pub(crate) id: Id,
    /// Oldest first; most devices have none.
    #[expect(clippy::box_collection, reason = "one word in the many entries that have none")]
    versions: Option<Box<Vec<Version>>>,
    /// Measurements that count towards the limit of a device.
    pub(crate) metrics: Box<[Metric]>,
    /// Means nothing until `heard`.
    last_receipt: Micros,
    heard: bool,
    pub(crate) stalled: bool,
    armed: bool,
    pub(crate) repeat: Option<Box<Repeat>>,
}

impl Entry {
    /// Partition's receipt time of the last reading that was neither rejected nor a duplicate.
    #[inline]
    pub(crate) fn last_receipt(&self) -> Option<Micros> {
        self.heard.then_some(self.last_receipt)
    }

    #[inline]
    fn hear(&mut self, receipt: Micros) {
        (self.last_receipt, self.heard) = (receipt, true);
    }

    /// Counts one more measurement towards the limit of a device.
    #[cold]
    pub(crate) fn learn(&mut self, metric: Metric) {
        let mut metrics = std::mem::take(&mut self.metrics).into_vec();
        metrics.reserve_exact(1);
        metrics.push(metric);
        self.metrics = metrics.into_boxed_slice();
    }

    /// Oldest first.
    #[inline]
    fn versions(&self) -> &[Version] {
        self.versions.as_deref().map_or(&[], Vec::as_slice)
    }

    /// Metadata in force now.
    pub(crate) fn current(&self) -> Option<&Version> {
        self.versions().last().filter(|version| !version.record.deleted)
    }

    /// Metadata that was in force at a receipt time.
    fn at(&self, receipt: Micros) -> Option<&Version> {
        self.versions()
            .iter()
            .rev()
            .find(|version| version.since <= receipt)
            .filter(|version| !version.record.deleted)
    }
}

/// The devices of a partition.
#[derive(Debug, Default)]
pub(crate) struct Fleet {
    entries: Pages<Entry>,
    parked: BTreeMap<Box<str>, Vec<Version>>,
    timers: BinaryHeap<Reverse<(Micros, u32)>>,
    stalled_after: Option<Micros>,
    devices: usize,
}

impl Fleet {
    pub(crate) fn entry(&self, slot: Slot) -> &Entry {
        &self.entries[slot.0 as usize]
    }

    pub(crate) fn entry_mut(&mut self, slot: Slot) -> &mut Entry {
        &mut self.entries[slot.0 as usize]
    }

    /// Devices known.
    pub(crate) fn len(&self) -> usize {
        self.devices
    }

    /// Whether the slot is some device's.
    #[inline]
    pub(crate) fn has(&self, slot: Slot) -> bool {
        self.entries.get(slot.0 as usize).is_some_and(|entry| !entry.id.is_empty())
    }

    /// Makes the slot this device's, if it is not yet; returns the time rules that its metadata asks for when it is
    /// new here.
    pub(crate) fn admit(&mut self, slot: Slot, id: &str) -> Option<Overrides> {
        if self.has(slot) { None } else { self.admit_new(slot, id) }
    }

    #[cold]
    fn admit_new(&mut self, slot: Slot, id: &str) -> Option<Overrides> {
        let place = slot.0 as usize;
        while place >= self.entries.len() {
            self.entries.push(Entry::default());
        }
        let entry = &mut self.entries[place];
        // A timer of the slot's last owner may still stand in the heap; it comes due earlier than one of this device.
        let armed = entry.armed;
        *entry = Entry { id: Id::new(id), armed, ..Entry::default() };
        self.devices += 1;
        entry.versions = Some(Box::new(self.parked.remove(id)?));
        entry.versions().last().map(Version::overrides)
    }

    /// Puts metadata in force.
    pub(crate) fn describe(&mut self, slot: Slot, version: Version) {
        let versions = self.entries[slot.0 as usize].versions.get_or_insert_default();
        versions.push(version);
        if versions.len() > VERSIONS_MAX {
            versions.remove(0);
            versions[0].since = Micros::MIN;
        }
    }

    /// Forgets a device, but not its metadata.
    pub(crate) fn evict(&mut self, slot: Slot) {
        let entry = &mut self.entries[slot.0 as usize];
        let armed = entry.armed;
        let gone = std::mem::replace(entry, Entry { armed, ..Entry::default() });
        self.devices -= 1;
        if gone.current().is_some() && self.parked.len() < PARKED_MAX {
            self.parked.insert(gone.id.as_str().into(), gone.versions.map_or_else(Vec::new, |list| *list));
        }
    }

    /// Fills in the metadata that was in force at a receipt time; false: there was none.
    pub(crate) fn summarize(
        &self,
        slot: Slot,
        metric: &str,
        receipt: Micros,
        summary: &mut DeviceSummary,
    ) -> bool {
        let Some(version) = self.entry(slot).at(receipt) else { return false };
        let record = &version.record;
        summary.site.clone_from(&record.site);
        summary.model.clone_from(&record.model);
        summary.unit = record.channels.get(metric).and_then(|channel| channel.unit.clone());
        summary.tags.clone_from(&record.tags);
        true
    }

    /// Identifiers in slot order, for listings.
    pub(crate) fn ids(&self) -> impl Iterator<Item = (Slot, &str)> {
        let slots = (0..).map(Slot).zip(self.entries.iter());
        slots.filter(|(_, entry)| !entry.id.is_empty()).map(|(slot, entry)| (slot, &*entry.id))
    }
}

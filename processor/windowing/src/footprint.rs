//! What a partition holds, looked at as a whole: memory, by the sizes of what it has reserved (allocators round up a
//! little), and models with scores in open panes.

use crate::api::{Footprint, Metric, Micros};
use crate::device::Device;
use crate::pane::Pane;
use crate::partition::Partition;
use crate::shelf::{Shelf, Spot};
use crate::slices::Slices;
use crate::track::Track;

impl Partition {
    /// How much it holds. Looks at everything: for reports, not for every record.
    pub fn footprint(&self) -> Footprint {
        let mut sum = Footprint {
            devices: self.devices(),
            panes: self.panes(),
            index_bytes: (self.index_bytes()) as u64,
            ..Footprint::default()
        };
        for device in self.occupied() {
            sum.device_bytes += device_bytes(device) as u64;
            let panes = device.tracks.iter().map(|track| pane_bytes(track, self.shelf()));
            sum.pane_bytes += panes.sum::<usize>() as u64;
        }
        sum.pane_bytes += self.shelf().bytes() as u64;
        sum
    }

    /// By model number: whether an accumulator holds scores under it; beyond its end none does. Looks at everything.
    pub fn scored(&self) -> Vec<bool> {
        let mut scored = Vec::new();
        for track in self.occupied().flat_map(|device| &device.tracks) {
            let panes = track.all(self.shelf()).flat_map(|pane| pane.series().map(|series| &series.acc));
            let slices = track.slices.iter().flat_map(|slices| &slices.list);
            let slices = slices.flat_map(|slice| slice.metrics.iter().map(|(_, acc)| acc));
            for (model, stats) in panes.chain(slices).flat_map(|acc| acc.scores().iter().enumerate()) {
                if scored.len() <= model {
                    scored.resize(model + 1, false);
                }
                scored[model] |= stats.count + stats.failed > 0;
            }
        }
        scored
    }
}

fn device_bytes(device: &Device) -> usize {
    let tracks = device.tracks.iter().map(|track| {
        track.seals.heap_bytes()
            + if track.newest.spilled() { track.newest.capacity() * size_of::<(Metric, Micros)>() } else { 0 }
    });
    let spilled = if device.tracks.spilled() { device.tracks.capacity() * size_of::<Track>() } else { 0 };
    let boots = device.boots.heap_bytes();
    let overrides = device.overrides.as_deref().map_or(0, size_of_val);
    size_of::<Device>() + device.id.heap_bytes() + spilled + tracks.sum::<usize>() + boots + overrides
}

fn pane_bytes(track: &Track, shelf: &Shelf) -> usize {
    let spots = if track.panes.spilled() { track.panes.capacity() * size_of::<Spot>() } else { 0 };
    let boxes: usize = track.all(shelf).map(Pane::heap_bytes).sum();
    let slices = track.slices.as_deref().map_or(0, |slices| size_of::<Slices>() + slices.heap_bytes());
    spots + boxes + slices
}

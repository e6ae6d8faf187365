//! How much memory a partition holds, by the sizes of what it has reserved (allocators round up a little).

use crate::api::{Footprint, Metric, Micros};
use crate::device::Device;
use crate::pane::Pane;
use crate::partition::Partition;
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
            sum.pane_bytes += device.tracks.iter().map(pane_bytes).sum::<usize>() as u64;
        }
        sum
    }
}

fn device_bytes(device: &Device) -> usize {
    let tracks = device.tracks.iter().map(|track| {
        size_of::<Track>()
            + track.seals.heap_bytes()
            + if track.newest.spilled() { track.newest.capacity() * size_of::<(Metric, Micros)>() } else { 0 }
    });
    let boots = device.boots.heap_bytes();
    let overrides = device.overrides.as_deref().map_or(0, size_of_val);
    size_of::<Device>() + device.id.heap_bytes() + tracks.sum::<usize>() + boots + overrides
}

fn pane_bytes(track: &Track) -> usize {
    let panes = track.panes.capacity() * size_of::<Pane>();
    let boxes: usize = track.panes.iter().map(Pane::heap_bytes).sum();
    let slices = track.slices.as_deref().map_or(0, |slices| size_of::<Slices>() + slices.heap_bytes());
    panes + boxes + slices
}

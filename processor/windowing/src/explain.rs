//! A device's time, spelled out for people. Nothing here is computed differently from how it is applied.

use crate::api::{BootState, DeviceState, Metric, Micros, PaneState, Phase, Slot, WindowRule, WindowState};
use crate::device::Device;
use crate::pane::Pane;
use crate::partition::Partition;

impl Partition {
    /// Where a device's clocks stand and why each of its panes is open.
    pub fn explain(&self, slot: Slot) -> DeviceState {
        let device = self.device(slot);
        let clocks = device.clocks;
        let started = |at: Micros| clocks.started.then_some(at);
        DeviceState {
            device: device.id.as_str().to_owned(),
            max_event: started(clocks.max_event),
            seen_at: started(clocks.seen_at),
            last_receipt: started(clocks.last_receipt),
            created_at: clocks.created_at,
            clock: started(clocks.clock(self.now(), self.mutant())),
            evicted_at: device.evicted_at(self.settings()),
            overrides: device.overrides.as_deref().copied().unwrap_or_default(),
            windows: self
                .settings()
                .windows
                .iter()
                .enumerate()
                .map(|(k, rule)| self.window(device, k, rule))
                .collect(),
            boots: device
                .boots
                .list()
                .iter()
                .map(|boot| BootState {
                    boot: boot.id().map(str::to_owned),
                    greatest: boot.greatest(),
                    newest: boot.newest(),
                })
                .collect(),
        }
    }

    fn window(&self, device: &Device, index: usize, rule: &WindowRule) -> WindowState {
        let times = device.times(rule);
        let track = &device.tracks[index];
        WindowState {
            name: rule.name.clone(),
            watermark: device.clocks.started.then(|| device.watermark(index, &times)),
            not_before: (track.not_before > Micros::MIN).then_some(track.not_before),
            seals: track.seals.list().to_vec(),
            panes: track
                .all(self.shelf())
                .map(|pane| {
                    let (due_at, _) =
                        device.pane_due(pane, &times, self.settings().idle_retention, self.mutant());
                    state(pane, due_at)
                })
                .collect(),
        }
    }
}

fn state(pane: &Pane, due_at: Micros) -> PaneState {
    PaneState {
        start: pane.start,
        end: pane.end(),
        readings: pane.readings(),
        phase: if pane.live() {
            Phase::Live
        } else if pane.deep() {
            Phase::Deep
        } else if pane.waiting() {
            Phase::Waiting
        } else if pane.held_at().is_some() {
            Phase::Held
        } else {
            Phase::Emitted
        },
        due_at: (due_at < Micros::MAX).then_some(due_at),
        contributed_at: pane.contributed_at,
        metrics: pane
            .series()
            .map(|series| (Metric(series.metric), series.revision, series.changed))
            .collect(),
    }
}

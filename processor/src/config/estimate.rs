//! How much state a pipeline keeps: printed by `config print`, so that an hour of lateness on one-second windows is
//! a choice and not a surprise.

use super::window::gcd;
use schemas::pipeline::{Pipeline, WindowKind};
use serde::Serialize;

/// Panes and bytes a device of steady readings keeps.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StateEstimate {
    /// By window definition: name and panes per device and metric.
    pub windows: Vec<WindowEstimate>,
    /// Panes per device and metric, over all windows.
    pub panes_per_metric: u64,
    /// Bytes per device with one metric.
    pub bytes_per_device: u64,
    /// Bytes of a partition with `limits.devices-max` such devices.
    pub bytes_max: u64,
}

/// One window definition's part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WindowEstimate {
    /// Its name.
    pub window: String,
    /// Panes (slices, sessions) kept per device and metric.
    pub panes: u64,
}

/// A pane's accumulator with its place in the lists, and a device's entry: orientation, measured in `bench/`.
const PANE_BYTES: u64 = 132;
const DEVICE_BYTES: u64 = 480;

/// Estimates the state of a device whose readings come steadily: a pane lives from its first reading until the
/// watermark passes its end by the lateness.
#[must_use]
pub fn estimate(pipeline: &Pipeline) -> StateEstimate {
    let windows: Vec<WindowEstimate> = pipeline
        .windows
        .iter()
        .map(|window| {
            let disorder = window.disorder.unwrap_or(pipeline.time.disorder);
            let lateness = window.lateness.unwrap_or(pipeline.time.lateness);
            let (width, life) = match window.kind {
                WindowKind::Tumbling { size, .. } => (size, disorder + lateness),
                WindowKind::Hopping { size, advance } => (gcd(size, advance), size + disorder + lateness),
                // A session that goes on is one pane; those that ended wait for their lateness.
                WindowKind::Session { gap } => (gap, disorder + lateness),
            };
            let panes =
                u64::try_from(life).unwrap_or(0).div_ceil(u64::try_from(width).unwrap_or(1).max(1)) + 1;
            WindowEstimate { window: window.name.clone(), panes }
        })
        .collect();
    let panes_per_metric: u64 = windows.iter().map(|window| window.panes).sum();
    let bytes_per_device = DEVICE_BYTES + panes_per_metric * PANE_BYTES;
    let bytes_max = bytes_per_device.saturating_mul(u64::from(pipeline.limits.devices_max));
    StateEstimate { windows, panes_per_metric, bytes_per_device, bytes_max }
}

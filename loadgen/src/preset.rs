//! Fleets that ship: what `highwater demo` shows, and the plain telemetry that benchmarks send.

use crate::profile::{FaultProfile, FleetConfig, MetricProfile};
use std::time::Duration;

impl FleetConfig {
    /// The demo's fleet: 30 devices, two metrics, one of every fault, anomalies from the tenth second on so that a
    /// short demo raises alerts. Meant for about 300 readings/s, that is 10 a second and device.
    #[must_use]
    pub fn demo(seed: u64) -> Self {
        let minute = Duration::from_secs(60);
        Self {
            devices: 30,
            seed,
            prefix: "sensor-".into(),
            metrics: vec![
                MetricProfile { cycle: minute, ..MetricProfile::new("temp", 22.0, 1.5, 0.2) },
                MetricProfile { cycle: minute * 2, ..MetricProfile::new("humidity", 55.0, 3.0, 0.4) },
            ],
            faults: FaultProfile {
                jitter: 0.3,
                duplicate: 0.01,
                out_of_order: 0.05,
                out_of_order_max: Duration::from_secs(3),
                garbled: 0.002,
                glitch: 0.001,
                fast_clocks: 0.07,
                slow_clocks: 0.07,
                clock_error: Duration::from_secs(90),
                broken_clocks: 0.034,
                offline: 0.1,
                offline_after: Duration::from_secs(4),
                offline_for: Duration::from_secs(6),
                anomalous: 0.3,
                anomaly_after: Duration::from_secs(10),
                anomaly_every: Duration::from_secs(12),
                anomaly_height: 40.0,
            },
        }
    }

    /// Honest telemetry with four channels, as benchmarks send it: about 130 bytes of JSON a reading.
    #[must_use]
    pub fn telemetry(devices: u32, seed: u64) -> Self {
        Self {
            devices,
            seed,
            prefix: "dev-".into(),
            metrics: vec![
                MetricProfile::new("temperature", 21.0, 4.0, 0.15),
                MetricProfile::new("humidity", 55.0, 10.0, 0.5),
                MetricProfile::new("pressure", 1_013.0, 6.0, 0.2),
                MetricProfile { decimals: 3, ..MetricProfile::new("battery", 3.6, 0.05, 0.002) },
            ],
            faults: FaultProfile::default(),
        }
    }
}

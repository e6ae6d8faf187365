//! What a fleet is made of: how its metrics behave and which faults are injected how often.

use std::time::Duration;

/// A fleet. [`FleetConfig::default`] is honest: no fault at all.
#[derive(Clone, Debug, PartialEq)]
pub struct FleetConfig {
    /// Devices, at least 1.
    pub devices: u32,
    /// Everything random follows from it.
    pub seed: u64,
    /// Device ids are this and a five-digit number.
    pub prefix: String,
    /// What every device measures, at least one.
    pub metrics: Vec<MetricProfile>,
    /// What goes wrong.
    pub faults: FaultProfile,
}

impl Default for FleetConfig {
    fn default() -> Self {
        Self {
            devices: 10,
            seed: 1,
            prefix: "sensor-".into(),
            metrics: vec![MetricProfile::new("temp", 21.0, 4.0, 0.15)],
            faults: FaultProfile::default(),
        }
    }
}

/// One metric's behavior: `base + swing * cycle(t) + noise`.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricProfile {
    /// Name in the readings.
    pub name: String,
    /// Middle of the cycle.
    pub base: f64,
    /// Half the height of the cycle.
    pub swing: f64,
    /// Length of the cycle; a day by default.
    pub cycle: Duration,
    /// Standard deviation of the noise.
    pub noise: f64,
    /// Decimals that the sensor reports.
    pub decimals: u8,
}

impl MetricProfile {
    /// A metric with a daily cycle and two decimals.
    #[must_use]
    pub fn new(name: &str, base: f64, swing: f64, noise: f64) -> Self {
        Self { name: name.into(), base, swing, cycle: Duration::from_secs(86_400), noise, decimals: 2 }
    }
}

/// Injected faults. Shares are of devices, chances are per reading; 0 turns a fault off.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FaultProfile {
    /// Greatest shift of a sampling time, as a share of the period (0 to 1).
    pub jitter: f64,
    /// Chance that a reading is sent twice.
    pub duplicate: f64,
    /// Chance that a reading leaves late.
    pub out_of_order: f64,
    /// How much later at most. Keep it within the pipeline's `disorder` plus `lateness`.
    pub out_of_order_max: Duration,
    /// Chance that something unreadable is sent beside a reading: refused at the door.
    pub garbled: f64,
    /// Chance that an otherwise honest reading carries a time one hour ahead: refused by the clock guard.
    pub glitch: f64,
    /// Share of devices whose clock is `clock_error` ahead.
    pub fast_clocks: f64,
    /// Share of devices whose clock is `clock_error` behind.
    pub slow_clocks: f64,
    /// How wrong those clocks are. Keep it below the pipeline's `max-ahead`.
    pub clock_error: Duration,
    /// Share of devices whose clock is an hour ahead: every reading is refused by the clock guard.
    pub broken_clocks: f64,
    /// Share of devices that are offline once: they go on sampling and upload their buffer at the end of it,
    /// half of them oldest first, half newest first.
    pub offline: f64,
    /// When, since the start of the load.
    pub offline_after: Duration,
    /// For how long.
    pub offline_for: Duration,
    /// Share of devices with anomalies in their first metric: spikes, stuck values, drifts, drop-outs.
    pub anomalous: f64,
    /// First anomaly, since the start of the load.
    pub anomaly_after: Duration,
    /// Time between two anomalies of a device; 0: only one.
    pub anomaly_every: Duration,
    /// Height of a spike and of a drift's end, in standard deviations of the noise.
    pub anomaly_height: f64,
}

/// Why there can be no such fleet.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FleetError {
    /// No devices or no metrics.
    #[error("a fleet needs at least one device and one metric")]
    Empty,
    /// A chance or share outside 0 to 1, or a parameter that is no number.
    #[error("`{0}` must be a number from 0 to 1")]
    Share(&'static str),
    /// A metric that cannot be simulated.
    #[error(
        "metric `{0}`: base, swing and noise must be finite, the cycle longer than 0, decimals at most 9"
    )]
    Metric(String),
    /// A rate that cannot be scheduled.
    #[error("the rate must be a finite number of readings per second above 0")]
    Rate,
}

impl FleetConfig {
    pub(crate) fn check(&self) -> Result<(), FleetError> {
        if self.devices == 0 || self.metrics.is_empty() {
            return Err(FleetError::Empty);
        }
        let faults = &self.faults;
        let shares = [
            ("jitter", faults.jitter),
            ("duplicate", faults.duplicate),
            ("out_of_order", faults.out_of_order),
            ("garbled", faults.garbled),
            ("glitch", faults.glitch),
            ("fast_clocks", faults.fast_clocks),
            ("slow_clocks", faults.slow_clocks),
            ("broken_clocks", faults.broken_clocks),
            ("offline", faults.offline),
            ("anomalous", faults.anomalous),
        ];
        if let Some((name, _)) = shares.iter().find(|(_, share)| !(0.0..=1.0).contains(share)) {
            return Err(FleetError::Share(name));
        }
        let unusable = |metric: &&MetricProfile| {
            ![metric.base, metric.swing, metric.noise].iter().all(|number| number.is_finite())
                || metric.cycle.is_zero()
                || metric.decimals > 9
        };
        match self.metrics.iter().find(unusable) {
            Some(metric) => Err(FleetError::Metric(metric.name.clone())),
            None => Ok(()),
        }
    }
}

//! The fleet and its plan: which reading is due when, and what must become of it.

use crate::Micros;
use crate::device::{Device, Surroundings, Temper, TimeStyle};
use crate::profile::{FleetConfig, FleetError};
use crate::random::Random;
use crate::truth::{Anomaly, Value};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::Duration;

/// What must become of something that is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// It ends in its windows.
    Aggregated,
    /// A copy of a reading that was sent before: accepted at the door, dropped by the processor.
    Duplicate,
    /// Accepted at the door, refused by the clock guard.
    ClockAhead,
    /// Refused at the door.
    Refused,
}

/// One line to be sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Planned {
    /// When it is due: microseconds after the plan's zero.
    pub at: Micros,
    /// Orders what is due at the same time.
    pub(crate) rank: Micros,
    /// Number of the device in the fleet.
    pub device: u32,
    /// Its id.
    pub device_id: Arc<str>,
    /// Event time as the device writes it.
    pub event_time: Micros,
    /// The device's counter.
    pub seq: i64,
    /// What must become of it.
    pub expect: Expect,
    /// Values by metric index.
    pub values: Vec<Value>,
    /// The JSON text, one line.
    pub line: String,
}

impl Planned {
    fn key(&self) -> (Micros, Micros, u32, i64) {
        (self.at, self.rank, self.device, self.seq)
    }
}

/// A fleet. Cheap to clone; [`Fleet::plan`] makes what is sent.
#[derive(Clone, Debug)]
pub struct Fleet {
    config: Arc<FleetConfig>,
    tempers: Arc<Vec<Temper>>,
}

impl Fleet {
    /// The fleet that follows from the configuration.
    ///
    /// # Errors
    /// [`FleetError`] when there can be no such fleet.
    pub fn new(config: FleetConfig) -> Result<Self, FleetError> {
        config.check()?;
        let tempers = tempers(&config);
        Ok(Self { config: Arc::new(config), tempers: Arc::new(tempers) })
    }

    /// Its configuration.
    #[must_use]
    pub fn config(&self) -> &FleetConfig {
        &self.config
    }

    /// Names of the metrics, by index.
    #[must_use]
    pub fn metrics(&self) -> Vec<String> {
        self.config.metrics.iter().map(|metric| metric.name.clone()).collect()
    }

    /// Id of a device by number.
    #[must_use]
    pub fn device_id(&self, index: u32) -> String {
        let width =
            self.config.devices.saturating_sub(1).checked_ilog10().map_or(1, |digits| digits + 1).max(2);
        format!("{}{index:0width$}", self.config.prefix, width = width as usize)
    }

    /// What the devices behind gateway `gateway` of `gateways` send when the whole fleet makes `rate` readings per
    /// second from `start` (epoch microseconds) on, for `span`.
    ///
    /// # Errors
    /// [`FleetError::Rate`].
    pub fn plan(
        &self,
        rate: f64,
        start: Micros,
        span: Duration,
        gateway: u32,
        gateways: u32,
    ) -> Result<Plan, FleetError> {
        if !(rate.is_finite() && rate > 0.0) {
            return Err(FleetError::Rate);
        }
        let around = Surroundings {
            metrics: self.config.metrics.clone(),
            faults: self.config.faults.clone(),
            start,
            span: Micros::try_from(span.as_micros()).unwrap_or(Micros::MAX),
            period: f64::from(self.config.devices) * 1e6 / rate,
            boot: format!("{:x}", start / 1_000),
        };
        let seeds = Random::new(self.config.seed);
        let devices: Vec<Device> = (gateway..self.config.devices)
            .step_by(gateways.max(1) as usize)
            .map(|index| {
                let style = match index % 3 {
                    0 => TimeStyle::Milliseconds,
                    1 => TimeStyle::Text,
                    _ => TimeStyle::Microseconds,
                };
                let id = self.device_id(index).into();
                let temper = self.tempers[index as usize];
                Device::new(index, id, temper, style, seeds.fork(u64::from(index) + 1), &around)
            })
            .collect();
        let due = devices
            .iter()
            .enumerate()
            .map(|(slot, device)| Due::Sample { at: device.next_sample(&around), slot })
            .map(Reverse)
            .collect();
        Ok(Plan { around, devices, due, anomalies: Vec::new() })
    }
}

/// Which devices have which fault: shares are met exactly (rounded up, so that a small fleet has one of each), and
/// no device has two.
fn tempers(config: &FleetConfig) -> Vec<Temper> {
    let n = config.devices as usize;
    let mut order: Vec<usize> = (0..n).collect();
    let mut random = Random::new(config.seed).fork(0);
    for i in (1..n).rev() {
        let j = random.below(i as u64 + 1);
        order.swap(i, usize::try_from(j).unwrap_or(0));
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of a u32, rounded up"
    )]
    let count = |share: f64| (share * f64::from(config.devices)).ceil() as usize;
    let faults = &config.faults;
    let mut tempers = vec![Temper::Honest; n];
    let mut rest = order.into_iter();
    let mut assign = |share: f64, temper: &dyn Fn(usize) -> Temper| {
        for (nth, device) in rest.by_ref().take(count(share)).enumerate() {
            tempers[device] = temper(nth);
        }
    };
    assign(faults.broken_clocks, &|_| Temper::BrokenClock);
    assign(faults.fast_clocks, &|_| Temper::FastClock);
    assign(faults.slow_clocks, &|_| Temper::SlowClock);
    assign(faults.offline, &|nth| Temper::Offline { newest_first: nth % 2 == 1 });
    assign(faults.anomalous, &|_| Temper::Anomalous);
    tempers
}

#[derive(Debug)]
enum Due {
    Sample { at: Micros, slot: usize },
    Send(Box<Planned>),
}

impl Due {
    fn key(&self) -> (Micros, Micros, u32, i64) {
        match self {
            // Samples go first: what they yield may be due at the same instant.
            Self::Sample { at, slot } => (*at, Micros::MIN, u32::try_from(*slot).unwrap_or(u32::MAX), 0),
            Self::Send(planned) => planned.key(),
        }
    }
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

/// An iterator over what is due, in order of time; it ends with the span.
#[derive(Debug)]
pub struct Plan {
    around: Surroundings,
    devices: Vec<Device>,
    due: BinaryHeap<Reverse<Due>>,
    anomalies: Vec<Anomaly>,
}

impl Plan {
    /// The anomalies injected so far; taken out.
    pub fn take_anomalies(&mut self) -> Vec<Anomaly> {
        std::mem::take(&mut self.anomalies)
    }
}

impl Iterator for Plan {
    type Item = Planned;

    fn next(&mut self) -> Option<Planned> {
        loop {
            match self.due.pop()?.0 {
                Due::Send(planned) => return Some(*planned),
                Due::Sample { at, slot } => {
                    if at >= self.around.span {
                        continue;
                    }
                    let device = &mut self.devices[slot];
                    let sampled = device.sample(at, &self.around);
                    self.anomalies.extend(sampled.anomaly);
                    self.due.push(Reverse(Due::Sample { at: device.next_sample(&self.around), slot }));
                    self.due.extend(sampled.sends.into_iter().map(|send| Reverse(Due::Send(Box::new(send)))));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;

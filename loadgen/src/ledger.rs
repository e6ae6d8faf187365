//! The truth of one gateway while it is running: by number, not by name, because it is kept at the rate of the
//! load.

use crate::fleet::{Expect, Planned};
use crate::truth::{Series, Truth, TruthWindow, WindowsOf};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Series of one device: by metric and window index.
#[derive(Debug)]
struct DeviceRows {
    id: Arc<str>,
    series: BTreeMap<(u16, usize), WindowsOf>,
}

#[derive(Debug)]
pub(crate) struct Ledger {
    truth: Truth,
    devices: BTreeMap<u32, DeviceRows>,
}

impl Ledger {
    pub(crate) fn new(windows: Vec<TruthWindow>, metrics: Vec<String>) -> Self {
        Self { truth: Truth::new(windows, metrics), devices: BTreeMap::new() }
    }

    /// Notes that a line was answered as it had to be.
    pub(crate) fn acknowledge(&mut self, planned: &Planned) {
        match planned.expect {
            Expect::Aggregated => {
                self.truth.aggregated += 1;
                self.post(planned, Some(true));
            }
            Expect::Duplicate => self.truth.duplicates += 1,
            Expect::ClockAhead => {
                self.truth.clock_ahead += 1;
                // Its series are compared too: they must not hold it.
                self.post(planned, None);
            }
            Expect::Refused => self.truth.refused += 1,
        }
    }

    /// Notes that a line was sent and never answered.
    pub(crate) fn doubt(&mut self, planned: &Planned) {
        self.truth.uncertain += 1;
        if planned.expect == Expect::Aggregated {
            self.post(planned, Some(false));
        }
    }

    /// `sure`: certainly in its windows, perhaps, or (none) certainly not.
    fn post(&mut self, planned: &Planned, sure: Option<bool>) {
        let rows = self
            .devices
            .entry(planned.device)
            .or_insert_with(|| DeviceRows { id: Arc::clone(&planned.device_id), series: BTreeMap::new() });
        for (index, window) in self.truth.windows.iter().enumerate() {
            for value in &planned.values {
                let windows = rows.series.entry((value.metric, index)).or_default();
                let Some(sure) = sure else { continue };
                for start in window.starts(planned.event_time) {
                    let expected = windows.entry(start).or_default();
                    if sure {
                        expected.add(value.value);
                    } else {
                        expected.uncertain += 1;
                    }
                }
            }
        }
    }

    /// The truth by name.
    pub(crate) fn close(self) -> Truth {
        let mut truth = self.truth;
        for rows in self.devices.into_values() {
            for ((metric, window), windows) in rows.series {
                let series = Series {
                    device_id: rows.id.to_string(),
                    metric: truth.metrics[usize::from(metric)].clone(),
                    window: truth.windows[window].name.clone(),
                };
                truth.expected.insert(series, windows);
            }
        }
        truth
    }
}

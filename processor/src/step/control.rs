//! Records that change how readings are read: configuration and device metadata.

use super::emit::Emit;
use super::{Halt, Models};
use crate::outputs::Outputs;
use crate::state::{Core, PartitionState, Rules, Version, settings};
use journal::port::RecordRef;
use schemas::Micros;
use schemas::pipeline::Pipeline;
use schemas::reason::{Reject, RejectReason};
use schemas::record::{Control, Device, DeviceLatest};
use schemas::topic::Topic;
use std::sync::Arc;

impl PartitionState {
    /// Puts a generation in force, unless it is in force or behind already. The inner error is a refusal.
    pub(super) fn configure(
        &mut self,
        record: &RecordRef<'_>,
        receipt: Micros,
        control: &Control,
        models: &dyn Models,
        out: &mut Outputs,
    ) -> Result<Result<(), Reject>, Halt> {
        let generation = control.generation;
        if generation <= self.core.rules.generation {
            return Ok(Ok(()));
        }
        let Some(text) = &control.pipeline else {
            self.core.skip(control);
            self.core.rules.generation = generation;
            return Ok(Ok(()));
        };
        let pipeline: Pipeline = match serde_json::from_str(text) {
            Ok(pipeline) => pipeline,
            Err(why) => return Ok(Err(unreadable(generation, &why.to_string()))),
        };
        let set = models.load(&pipeline.models).map_err(|why| Halt::Model { generation, why })?;
        out.at(record.offset, receipt);
        let core = &mut self.core;
        let pipeline = Arc::new(pipeline);
        let rules = match Rules::compile(generation, Arc::clone(&pipeline), &mut core.names) {
            Ok(rules) => rules,
            Err(why) => return Ok(Err(unreadable(generation, &why.to_string()))),
        };
        let settings = settings(&pipeline, &mut core.names);
        // Rows of definitions that go are still rows of the configuration they were collected under.
        let mut emit = Emit {
            out,
            fleet: &mut core.fleet,
            names: &core.names,
            rules: &core.rules,
            scratch: &mut core.scratch.aggregate,
            evicted: &mut core.scratch.evicted,
        };
        core.windows.configure(settings, receipt, &mut emit);
        core.rules = rules;
        core.evictions_from = Micros::MIN;
        core.fleet.watch(pipeline.stalled_after);
        core.skip(control);
        self.lane.configure(&set);
        core.forget_evicted(&mut self.lane);
        Ok(Ok(()))
    }
}

impl Core {
    fn skip(&mut self, control: &Control) {
        if let (Some(from), Some(to)) = (control.skip_from, control.skip_to)
            && !self.skips.contains(&(from, to))
        {
            self.skips.push((from, to));
        }
    }

    /// Puts a device's metadata in force and publishes it.
    pub(super) fn describe(
        &mut self,
        record: &RecordRef<'_>,
        receipt: Micros,
        device: Device,
        out: &mut Outputs,
    ) -> Result<(), Reject> {
        if self.rules.pipeline.is_none() {
            return Err(Reject::new(
                RejectReason::NoConfiguration,
                "no configuration has reached this partition yet; redrive it once there is one",
            ));
        }
        let slot = self
            .windows
            .locate(&device.device_id, receipt)
            .map_err(|limit| Reject::new(RejectReason::DeviceLimit, limit.to_string()))?;
        self.fleet.admit(slot, &device.device_id);
        let latest = DeviceLatest { device, received_at: record.received_at, write_clock: 0 };
        let Some(version) = Version::new(latest.device.clone(), receipt, &mut self.names) else {
            return Err(Reject::new(
                RejectReason::BadDevice,
                "the partition has no number left for the name of a calibrated channel",
            ));
        };
        out.push(Topic::Devices, record.key, &latest);
        self.windows.set_overrides(slot, version.overrides());
        self.fleet.describe(slot, version);
        Ok(())
    }
}

#[cold]
fn unreadable(generation: i64, why: &str) -> Reject {
    Reject::new(RejectReason::WrongType, format!("the configuration of generation {generation}: {why}"))
}

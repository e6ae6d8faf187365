//! Records that change how readings are read: configuration and device metadata.

use super::{Halt, Models, Tools};
use crate::outputs::Outputs;
use crate::state::{Core, PartitionState, Rules, Version, settings};
use journal::port::RecordRef;
use schemas::Micros;
use schemas::pipeline::Pipeline;
use schemas::reason::{Reject, RejectReason};
use schemas::record::{Control, Device, DeviceLatest};
use schemas::roles::Roles;
use schemas::topic::Topic;
use scoring::{ModelSet, Translated};
use std::sync::Arc;

/// What a control record asks for.
pub(super) enum Decision {
    /// Nothing that is not in force or behind already.
    Old,
    /// No pipeline: only the generation moves.
    Bare,
    /// A pipeline, its models, and what these made of the state of those before.
    Pipeline(Arc<Pipeline>, ModelSet, Translated),
}

impl PartitionState {
    /// Gets ready what a control record needs, before anything happens. The inner error is a refusal.
    pub(super) fn decision(
        &self,
        control: &Control,
        models: &dyn Models,
    ) -> Result<Result<Decision, Reject>, Halt> {
        let generation = control.generation;
        if generation <= self.core.rules.generation {
            return Ok(Ok(Decision::Old));
        }
        let Some(text) = &control.pipeline else { return Ok(Ok(Decision::Bare)) };
        let pipeline = match effective(text, control.models.as_deref()) {
            Ok(pipeline) => pipeline,
            Err(why) => return Ok(Err(unreadable(generation, &why))),
        };
        let set = models.load(&pipeline.models).map_err(|why| Halt::Model { generation, why })?;
        Ok(Ok(Decision::Pipeline(Arc::new(pipeline), set, Translated::default())))
    }

    /// Lets models that come into force translate the state of those before, once no reading waits for its scores.
    pub(super) fn translated(
        &self,
        decision: Result<Decision, Reject>,
    ) -> Result<Result<Decision, Reject>, Halt> {
        let Ok(Decision::Pipeline(pipeline, set, _)) = decision else { return Ok(decision) };
        let translated = self.lane.translate(&set).map_err(|braked| Halt::Braked(braked.to_string()))?;
        Ok(Ok(Decision::Pipeline(pipeline, set, translated)))
    }

    /// Puts a generation in force.
    pub(super) fn configure(
        &mut self,
        offset: i64,
        receipt: Micros,
        control: &Control,
        decision: Decision,
        out: &mut Outputs,
    ) -> Result<(), Reject> {
        let generation = control.generation;
        let (pipeline, set, translated) = match decision {
            Decision::Old => return Ok(()),
            Decision::Bare => {
                self.core.skip(control);
                self.core.rules.generation = generation;
                return Ok(());
            }
            Decision::Pipeline(pipeline, set, translated) => (pipeline, set, translated),
        };
        out.at(offset, receipt);
        let core = &mut self.core;
        let rules = Rules::compile(generation, Arc::clone(&pipeline), &mut core.names)
            .map_err(|why| unreadable(generation, &why.to_string()))?;
        core.models
            .put_in_force(&set, &core.windows.scored())
            .map_err(|why| unreadable(generation, &why.to_string()))?;
        let settings = settings(&pipeline, &mut core.names, &core.models);
        // Rows of definitions that go are still rows of the configuration they were collected under.
        // No model scores them: the one that would have goes with its definition.
        core.closed.configure(&ModelSet::none());
        let (windows, mut emit) = core.emitting(out);
        windows.configure(settings, receipt, &mut emit);
        core.rules = rules;
        core.evictions_from = Micros::MIN;
        core.fleet.watch(pipeline.stalled_after);
        core.skip(control);
        self.lane.configure(&set, translated);
        core.contests.configure(&set);
        core.closed.configure(&set);
        core.forget_evicted(&mut self.lane);
        Ok(())
    }
}

impl PartitionState {
    /// Puts a decision in force whose control record cannot be folded again. What it brings forth was published when
    /// it was.
    pub(crate) fn restore(&mut self, control: &Control, tools: &Tools) -> Result<(), String> {
        let (offset, receipt) = (self.core.position, self.core.receipt_now);
        let decision = self.decision(control, &*tools.models).and_then(|decision| self.translated(decision));
        let decision = decision.map_err(|halt| halt.to_string())?;
        let mut out = Outputs::new(tools.codec.clone());
        let done = decision.and_then(|decision| self.configure(offset, receipt, control, decision, &mut out));
        done.map_err(|reject| reject.detail)
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

/// What is in force: the configuration, with the roles of models laid over it.
fn effective(pipeline: &str, roles: Option<&str>) -> Result<Pipeline, String> {
    let pipeline = serde_json::from_str(pipeline).map_err(|why| why.to_string())?;
    match roles {
        None => Ok(pipeline),
        Some(text) => {
            let roles: Roles = serde_json::from_str(text).map_err(|why| format!("its roles: {why}"))?;
            Ok(roles.over(pipeline))
        }
    }
}

#[cold]
fn unreadable(generation: i64, why: &str) -> Reject {
    Reject::new(RejectReason::WrongType, format!("the configuration of generation {generation}: {why}"))
}

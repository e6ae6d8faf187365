//! What the windows bring forth becomes records.

use super::Closed;
use crate::outputs::Outputs;
use crate::state::{Fleet, Names, Numbers, Rules};
use schemas::record::{Aggregate, DeviceSummary, EmissionKind, ScoreSummary};
use schemas::topic::Topic;
use windowing::api::{Emission, Kind, Sink, Slot};

/// Takes emissions and evictions.
pub(super) struct Emit<'a> {
    pub(super) out: &'a mut Outputs,
    pub(super) fleet: &'a mut Fleet,
    pub(super) names: &'a Names,
    pub(super) models: &'a Numbers,
    pub(super) rules: &'a Rules,
    pub(super) closed: &'a mut Closed,
    pub(super) scratch: &'a mut Aggregate,
    pub(super) evicted: &'a mut Vec<Slot>,
}

impl Sink for Emit<'_> {
    fn emit(&mut self, emission: Emission<'_>) {
        let row = &mut *self.scratch;
        let id = &self.fleet.entry(emission.slot).id;
        let metric = self.names.name(emission.metric);
        replace(&mut row.device_id, id);
        replace(&mut row.metric, metric);
        replace(&mut row.window, emission.window_name);
        row.start = emission.start;
        row.end = emission.end;
        row.revision = i32::try_from(emission.revision).unwrap_or(i32::MAX);
        (row.kind, row.merged_into) = match emission.kind {
            Kind::Early => (EmissionKind::Early, None),
            Kind::OnTime => (EmissionKind::OnTime, None),
            Kind::Late => (EmissionKind::Late, None),
            Kind::AtEnd => (EmissionKind::AtEnd, None),
            Kind::Retracted { into } => (EmissionKind::Retracted, Some(into)),
        };
        row.newest = emission.newest;
        let stats = &emission.stats;
        row.count = i64::try_from(stats.count).unwrap_or(i64::MAX);
        row.nulls = i64::try_from(stats.nulls).unwrap_or(i64::MAX);
        let some = |value: f64| (stats.count > 0).then_some(value);
        row.sum = some(stats.sum);
        row.min = some(stats.min);
        row.max = some(stats.max);
        row.first = some(stats.first);
        row.last = some(stats.last);
        row.mean = some(stats.mean);
        row.m2 = some(stats.m2);
        let summary = row.device.get_or_insert_with(DeviceSummary::default);
        if !self.fleet.summarize(emission.slot, metric, emission.contributed_at, summary) {
            row.device = None;
        }
        row.scores.clear();
        // A model that has not looked at this metric says nothing.
        let scores = emission.scores.iter().enumerate();
        let spoken = scores.filter(|(_, stats)| stats.count + stats.failed > 0);
        row.scores.extend(spoken.map(|(number, stats)| ScoreSummary {
            model: self.models.name(number).to_owned(),
            count: i64::try_from(stats.count).unwrap_or(i64::MAX),
            mean: stats.mean,
            max: stats.max,
            alerts: i64::try_from(stats.alerts).unwrap_or(i64::MAX),
            failed: i64::try_from(stats.failed).unwrap_or(i64::MAX),
        }));
        row.contributed_at = emission.contributed_at;
        row.generation = self.rules.generation;
        self.out.push(Topic::Aggregates, Some(id.as_bytes()), row);
        self.closed.take(&emission, row, self.out);
    }

    fn evict(&mut self, slot: Slot, _device: &str) {
        self.fleet.evict(slot);
        self.evicted.push(slot);
    }
}

/// Keeps the memory of what was there.
fn replace(text: &mut String, by: &str) {
    text.clear();
    text.push_str(by);
}

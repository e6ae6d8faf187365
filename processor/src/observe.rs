//! Metrics of the processor, from the books that were committed.

use crate::commit::Cycle;
use crate::view::View;
use chassis::metrics as names;
use schemas::record::Totals;
use scoring::{Counters, Failure};

/// Readings by outcome, in the order of [`OUTCOMES`].
pub(crate) type Outcomes = [i64; 5];

const OUTCOMES: [&str; 5] = ["aggregated", "filtered", "duplicate", "late", "rejected"];

pub(crate) fn outcomes(totals: &Totals) -> Outcomes {
    [totals.aggregated, totals.filtered, totals.duplicate, totals.late, totals.rejected]
}

/// A partition's cut is durable. Counters rise by what this process has added since `before`, so that the sum over
/// processes is right wherever partitions go; without a beginning nothing of its own was in the cut.
pub(crate) fn counted(partition: u32, before: Option<Outcomes>, now: Outcomes) {
    let before = before.unwrap_or(now);
    for ((outcome, before), now) in OUTCOMES.into_iter().zip(before).zip(now) {
        let labels = [
            ("stage", "processor".to_owned()),
            ("outcome", outcome.to_owned()),
            ("partition", partition.to_string()),
        ];
        metrics::counter!(names::READINGS_TOTAL, &labels)
            .increment(now.saturating_sub(before).max(0).unsigned_abs());
    }
}

/// A cut is durable: its books are what is reported.
pub(crate) fn committed(view: &View, cycle: &Cycle) {
    metrics::counter!(names::COMMITS_TOTAL).increment(1);
    metrics::counter!(names::COMMIT_RECORDS_TOTAL).increment(cycle.transaction.records.len() as u64);
    for part in &cycle.parts {
        let Some(seen) = view.partition(part.partition.partition) else { continue };
        let partition = part.partition.partition.to_string();
        let totals = &seen.totals;
        let gauge = |name: &'static str, value: f64| {
            metrics::gauge!(name, "partition" => partition.clone()).set(value)
        };
        gauge(names::DEVICES, seen.devices as f64);
        gauge(names::PANES, f64::from(seen.panes));
        gauge(names::LATE_PARTIAL_READINGS, totals.late_partial as f64);
        gauge(names::UNNAMED_VALUES, seen.unnamed_values as f64);
        gauge(names::BEYOND_HORIZON_READINGS, totals.beyond_horizon as f64);
        gauge(names::LOST_OFFSETS, seen.lost as f64);
        gauge(names::SINCE_SNAPSHOT_RECORDS, seen.since_snapshot as f64);
    }
}

/// Hexadecimal digits of a version that a label has.
const VERSION_DIGITS: usize = 12;

/// What a partition's models have done since `before`, which becomes what they have done now. A re-fold is counted too:
/// it is work. A model whose counters are lower than before was put in force anew, and counts from nothing.
pub(crate) fn models(partition: u32, before: &mut Vec<Counters>, now: Vec<Counters>) {
    for counters in &now {
        let same = |old: &&Counters| old.model == counters.model && old.version == counters.version;
        let fresh = Counters::default();
        let old =
            before.iter().find(same).filter(|old| old.host.calls <= counters.host.calls).unwrap_or(&fresh);
        model(partition, old, counters);
    }
    *before = now;
}

fn model(partition: u32, old: &Counters, now: &Counters) {
    let version: String = now.version.chars().take(VERSION_DIGITS).collect();
    let labels = [("model", now.model.clone()), ("model_version", version)];
    let rise = |name: &'static str, old: u64, now: u64| {
        metrics::counter!(name, &labels).increment(now.saturating_sub(old));
    };
    rise(names::MODEL_CALLS_TOTAL, old.host.calls, now.host.calls);
    rise(names::MODEL_ALERTS_TOTAL, old.over_threshold, now.over_threshold);
    rise(names::MODEL_BUSY_TOTAL, old.host.busy_nanos, now.host.busy_nanos);
    rise(names::MODEL_FUEL_TOTAL, old.host.fuel_used, now.host.fuel_used);
    rise(names::MODEL_INSTANCES_TOTAL, old.host.starts, now.host.starts);
    rise(names::MODEL_BRAKES_TOTAL, old.host.brakes, now.host.brakes);
    rise(names::MODEL_HALVED_TOTAL, old.halved, now.halved);
    rise(names::MODEL_SAID_DROPPED_TOTAL, old.host.said_dropped, now.host.said_dropped);
    let failed = Failure::ALL.iter().zip(old.failed.iter().zip(now.failed));
    let outcomes = failed.map(|(failure, (old, now))| (failure.as_str(), *old, now));
    let others = [
        ("scored", old.scored, now.scored),
        ("declined", old.skipped, now.skipped),
        ("left-out", old.left_out, now.left_out),
    ];
    for (outcome, old, now) in outcomes.chain(others) {
        let [model, version] = labels.clone();
        metrics::counter!(names::MODEL_ROWS_TOTAL, &[model, version, ("outcome", outcome.to_owned())])
            .increment(now.saturating_sub(old));
    }
    let [model, version] = labels.clone();
    metrics::gauge!(names::MODEL_MEMORY_PEAK_BYTES, &[model, version, ("partition", partition.to_string())])
        .set(now.host.memory_bytes_peak as f64);
}

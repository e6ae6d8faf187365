//! Metrics of the processor, from the books that were committed.

use crate::commit::Cycle;
use crate::view::View;
use chassis::metrics as names;
use schemas::record::Totals;

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

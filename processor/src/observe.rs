//! Metrics of the processor, from the books that were committed.

use crate::commit::Cycle;
use crate::view::View;
use chassis::metrics as names;

/// A cut is durable: its books are what is reported.
pub(crate) fn committed(view: &View, cycle: &Cycle) {
    metrics::counter!(names::COMMITS_TOTAL).increment(1);
    metrics::counter!(names::COMMIT_RECORDS_TOTAL).increment(cycle.transaction.records.len() as u64);
    for part in &cycle.parts {
        let Some(seen) = view.partition(part.partition.partition) else { continue };
        let partition = part.partition.partition.to_string();
        let totals = &seen.totals;
        let outcomes = [
            ("aggregated", totals.aggregated),
            ("filtered", totals.filtered),
            ("duplicate", totals.duplicate),
            ("late", totals.late),
            ("rejected", totals.rejected),
        ];
        for (outcome, count) in outcomes {
            let labels = [
                ("stage", "processor".to_owned()),
                ("outcome", outcome.to_owned()),
                ("partition", partition.clone()),
            ];
            metrics::counter!(names::READINGS_TOTAL, &labels).absolute(count.unsigned_abs());
        }
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

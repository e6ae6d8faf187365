//! Metrics of the processor, from the books that were committed.

use crate::commit::Cycle;
use crate::view::View;

/// A cut is durable: its books are what is reported.
pub(crate) fn committed(view: &View, cycle: &Cycle) {
    metrics::counter!("highwater_commits_total").increment(1);
    metrics::counter!("highwater_commit_records_total").increment(cycle.transaction.records.len() as u64);
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
            metrics::counter!("highwater_readings_total", &labels).absolute(count.unsigned_abs());
        }
        let gauge = |name: &'static str, value: f64| {
            metrics::gauge!(name, "partition" => partition.clone()).set(value)
        };
        gauge("highwater_devices", seen.devices as f64);
        gauge("highwater_panes", f64::from(seen.panes));
        gauge("highwater_late_partial_readings", totals.late_partial as f64);
        gauge("highwater_unnamed_values", seen.unnamed_values as f64);
        gauge("highwater_beyond_horizon_readings", totals.beyond_horizon as f64);
        gauge("highwater_lost_offsets", seen.lost as f64);
        gauge("highwater_since_snapshot_records", seen.since_snapshot as f64);
    }
}

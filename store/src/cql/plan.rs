//! What a call writes: statements with their values, grouped by partition.
//!
//! Invariants:
//! * All statements of a group lie in one partition (tables with the same key included), so that a group is one
//!   mutation at its replicas; a group is bounded in rows and bytes.
//! * What hangs on a device or a series is written once a call, with the last word of the call.
//! * The plan is a function of the writes alone: nothing is read.

use super::cells::Cells;
use super::config::Retention;
use super::statement::Put;
use crate::key::{bucket_of, day_of};
use crate::nested;
use crate::port::{StoreError, Write};
use schemas::Micros;
use schemas::record::{Aggregate, Alert, DeviceLatest, EmissionKind, Score};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

/// Statements of a group.
pub(super) const GROUP_ROWS_MAX: usize = 100;
/// Bytes of its values: below what Cassandra warns of and Scylla refuses in a batch.
pub(super) const GROUP_BYTES_MAX: usize = 32 << 10;

/// Owner of the list of days with alerts: no device can be called so.
pub(super) const FLEET: &str = "*";

/// Names in `buckets`.
pub(super) mod list {
    pub(in crate::cql) const WINDOWS: &str = "windows";
    pub(in crate::cql) const SCORES: &str = "scores";
    pub(in crate::cql) const ALERTS: &str = "alerts";
    pub(in crate::cql) const DAYS: &str = "days";
}

/// Statements of one partition.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub(super) puts: Vec<Put>,
    pub(super) cells: Vec<Cells>,
    bytes: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Partition<'a> {
    Series(&'a str, &'a str, &'a str, i64),
    Scores(&'a str, i64),
    Alerts(&'a str, i64),
    Day(i64),
    /// `latest`, `devices` and `buckets` have the same key.
    Owner(&'a str),
}

/// The last word of a call on a series.
#[derive(Clone, Copy, Default)]
struct Series<'a> {
    row: Option<&'a Aggregate>,
    live: Option<Micros>,
    retracted: Option<Micros>,
}

/// The last word of a call on a device, or on the fleet's days.
#[derive(Default)]
struct Owner<'a> {
    series: BTreeMap<(&'a str, &'a str), Series<'a>>,
    buckets: BTreeSet<(&'static str, &'a str, &'a str, i64)>,
    metadata: Option<&'a DeviceLatest>,
    seen_at: Option<Micros>,
    alerted: Option<(Micros, Micros)>,
}

/// Seconds as a TTL; 0 is for ever.
fn ttl(kept: Option<Duration>) -> i32 {
    kept.map_or(0, |kept| i32::try_from(kept.as_secs()).unwrap_or(i32::MAX))
}

/// The clock of a value that only grows: the value itself. The least number is no timestamp in CQL.
fn own_clock(value: Micros) -> Micros {
    value.max(Micros::MIN + 1)
}

struct Plan<'a> {
    retention: Retention,
    groups: Vec<Group>,
    /// The group of each partition that still has room.
    open: HashMap<Partition<'a>, usize>,
    owners: BTreeMap<&'a str, Owner<'a>>,
}

/// The groups of a call.
///
/// # Errors
/// [`StoreError::Fatal`] when a nested part cannot be written as text.
pub(super) fn groups(writes: &[Write], retention: Retention) -> Result<Vec<Group>, StoreError> {
    let (groups, open) = (Vec::with_capacity(writes.len()), HashMap::with_capacity(writes.len()));
    let mut plan = Plan { retention, groups, open, owners: BTreeMap::new() };
    for write in writes {
        match write {
            Write::Aggregate(row) => plan.aggregate(row)?,
            Write::Score(row) => plan.score(row),
            Write::Alert(row) => plan.alert(row),
            Write::Device(row) => {
                let owner = plan.owners.entry(&row.device.device_id).or_default();
                owner.metadata =
                    [owner.metadata, Some(row)].into_iter().flatten().max_by_key(|row| row.write_clock);
            }
        }
    }
    for (id, owner) in std::mem::take(&mut plan.owners) {
        plan.owner(id, &owner)?;
    }
    Ok(plan.groups)
}

fn text<T>(made: serde_json::Result<T>) -> Result<T, StoreError> {
    made.map_err(|error| StoreError::Fatal(format!("a nested part cannot be stored: {error}")))
}

impl<'a> Plan<'a> {
    fn put(&mut self, partition: Partition<'a>, put: Put, cells: Cells) {
        let fits = |group: &Group| {
            group.puts.len() < GROUP_ROWS_MAX && group.bytes + cells.size() <= GROUP_BYTES_MAX
        };
        let open = self.open.get(&partition).copied().filter(|&at| fits(&self.groups[at]));
        let at = open.unwrap_or_else(|| {
            self.groups.push(Group::default());
            self.open.insert(partition, self.groups.len() - 1);
            self.groups.len() - 1
        });
        let group = &mut self.groups[at];
        group.bytes += cells.size();
        group.puts.push(put);
        group.cells.push(cells);
    }

    fn aggregate(&mut self, row: &'a Aggregate) -> Result<(), StoreError> {
        let (device, metric, window) = (row.device_id.as_str(), row.metric.as_str(), row.window.as_str());
        let bucket = bucket_of(row.start);
        let partition = Partition::Series(device, metric, window, bucket);
        let key =
            |cells: Cells| cells.text(device).text(metric).text(window).bigint(bucket).bigint(row.start);
        let owner = self.owners.entry(device).or_default();
        owner.seen_at = owner.seen_at.max(Some(row.contributed_at));
        let series = owner.series.entry((metric, window)).or_default();
        if row.kind == EmissionKind::Retracted {
            series.retracted = series.retracted.max(Some(row.start));
            self.put(partition, Put::WindowGone, key(Cells::new(6).bigint(row.write_clock)));
            return Ok(());
        }
        series.live = series.live.max(Some(row.start));
        if row.newest {
            series.row = [series.row, Some(row)].into_iter().flatten().max_by_key(|row| row.write_clock);
        }
        owner.buckets.insert((list::WINDOWS, metric, window, bucket));
        let cells = window_cells(key(Cells::new(24)), row)?;
        let cells = cells.bigint(row.write_clock).int(ttl(self.retention.windows));
        self.put(partition, Put::Window, cells);
        Ok(())
    }

    fn score(&mut self, row: &'a Score) {
        let (device, bucket) = (row.device_id.as_str(), bucket_of(row.event_time));
        self.owners.entry(device).or_default().buckets.insert((list::SCORES, "", "", bucket));
        let cells = Cells::new(14)
            .text(device)
            .bigint(bucket)
            .bigint(row.event_time)
            .text(&row.model)
            .text(&row.metric)
            .bigint(row.source_offset)
            .text(&row.version)
            .double_or_null(row.value)
            .double(row.score)
            .double(row.threshold)
            .boolean(row.warm_up)
            .bigint(row.received_at)
            .bigint(row.write_clock)
            .int(ttl(self.retention.scores));
        self.put(Partition::Scores(device, bucket), Put::Score, cells);
    }

    fn alert(&mut self, row: &'a Alert) {
        let (device, day) = (row.device_id.as_str(), day_of(row.event_time));
        let bucket = alert_bucket(row.event_time);
        let owner = self.owners.entry(device).or_default();
        owner.buckets.insert((list::ALERTS, "", "", bucket));
        owner.alerted = owner.alerted.max(Some((row.write_clock, row.received_at)));
        self.owners.entry(FLEET).or_default().buckets.insert((list::DAYS, "", "", day));
        let kept = ttl(self.retention.alerts);
        let rest = |cells: Cells| {
            cells
                .text(row.kind.as_str())
                .text(&row.message)
                .text_or_empty(row.metric.as_deref())
                .double_or_null(row.value)
                .text_or_empty(row.model.as_deref())
                .text_or_empty(row.version.as_deref())
                .double_or_null(row.score)
                .double_or_null(row.threshold)
                .bigint(row.received_at)
                .bigint(row.generation)
                .bigint(row.write_clock)
                .int(kept)
        };
        let key = Cells::new(16).text(device).bigint(bucket).bigint(row.event_time).text(&row.id);
        self.put(Partition::Alerts(device, bucket), Put::Alert, rest(key));
        let key = Cells::new(16).bigint(day).bigint(row.event_time).text(&row.id).text(device);
        self.put(Partition::Day(day), Put::AlertOfDay, rest(key));
    }

    fn owner(&mut self, id: &'a str, owner: &Owner<'a>) -> Result<(), StoreError> {
        let partition = Partition::Owner(id);
        let Retention { windows, scores, alerts } = self.retention;
        for &(list, metric, window, bucket) in &owner.buckets {
            let kept = ttl(match list {
                list::WINDOWS => windows,
                list::SCORES => scores,
                _ => alerts,
            });
            let cells = Cells::new(6).text(id).text(list).text(metric).text(window).bigint(bucket).int(kept);
            self.put(partition, Put::Bucket, cells);
        }
        for ((metric, window), series) in &owner.series {
            let key = |cells: Cells| cells.text(id).text(metric).text(window);
            if let Some(row) = series.row {
                let cells = window_cells(key(Cells::new(22)).bigint(row.start), row)?;
                self.put(partition, Put::Latest, cells.bigint(row.write_clock));
            }
            for (put, start) in [(Put::LiveStart, series.live), (Put::RetractedStart, series.retracted)] {
                if let Some(start) = start {
                    self.put(partition, put, key(Cells::new(5).bigint(own_clock(start)).bigint(start)));
                }
            }
        }
        if let Some(row) = owner.metadata {
            let metadata = text(nested::metadata_text(row))?;
            self.put(
                partition,
                Put::Metadata,
                Cells::new(3).bigint(row.write_clock).text(&metadata).text(id),
            );
        }
        if let Some(seen_at) = owner.seen_at {
            let cells = Cells::new(3).bigint(own_clock(seen_at)).bigint(seen_at).text(id);
            self.put(partition, Put::SeenAt, cells);
        }
        if let Some((clock, received_at)) = owner.alerted {
            let cells = Cells::new(4).bigint(clock).int(ttl(alerts)).bigint(received_at).text(id);
            self.put(partition, Put::AlertedAt, cells);
        }
        Ok(())
    }
}

/// Bucket of a device's alert: weeks since the epoch.
pub(super) const fn alert_bucket(event_time: Micros) -> i64 {
    day_of(event_time).div_euclid(7)
}

/// The columns after the key. `merged_into` is none of them: only a retraction has it, which deletes.
fn window_cells(cells: Cells, row: &Aggregate) -> Result<Cells, StoreError> {
    let device = text(row.device.as_ref().map(nested::summary_text).transpose())?;
    let scores = text(nested::scores_text(&row.scores))?;
    Ok(cells
        .bigint(row.end)
        .int(row.revision)
        .text(row.kind.as_str())
        .boolean(row.newest)
        .bigint(row.count)
        .bigint(row.nulls)
        .double_or_null(row.sum)
        .double_or_null(row.min)
        .double_or_null(row.max)
        .double_or_null(row.first)
        .double_or_null(row.last)
        .double_or_null(row.mean)
        .double_or_null(row.m2)
        .text_or_empty(device.as_deref())
        .text_or_empty(scores.as_deref())
        .bigint(row.contributed_at)
        .bigint(row.generation))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::{aggregate, alert, device, retraction, score};

    fn plan(writes: &[Write]) -> Vec<Vec<Put>> {
        groups(writes, Retention::default()).unwrap().into_iter().map(|group| group.puts).collect()
    }

    #[test]
    fn a_row_is_one_statement_in_its_partition_and_a_device_is_written_once() {
        let minute = 60_000_000;
        let writes: Vec<Write> = (0..3)
            .map(|i| Write::Aggregate(aggregate("d", i * minute, 1, 100 + i)))
            .chain([Write::Aggregate(retraction("d", minute, 0, 200)), Write::Device(device("d", false, 7))])
            .collect();
        assert_eq!(
            plan(&writes),
            [
                vec![Put::Window, Put::Window, Put::Window, Put::WindowGone],
                vec![
                    Put::Bucket,
                    Put::Latest,
                    Put::LiveStart,
                    Put::RetractedStart,
                    Put::Metadata,
                    Put::SeenAt
                ],
            ]
        );
    }

    #[test]
    fn an_alert_goes_to_its_device_and_its_day() {
        let puts =
            plan(&[Write::Alert(alert("d", "0-0-0", 5, 100)), Write::Score(score("d", "m", 5, 1, 101))]);
        let expected = [
            vec![Put::Alert],
            vec![Put::AlertOfDay],
            vec![Put::Score],
            vec![Put::Bucket],
            vec![Put::Bucket, Put::Bucket, Put::AlertedAt],
        ];
        assert_eq!(puts, expected);
        assert_eq!(
            [-1, 0, 7 * 86_400_000_000 - 1, 7 * 86_400_000_000].map(alert_bucket),
            [-1, 0, 0, 1],
            "weeks, before the epoch too"
        );
    }

    #[test]
    fn groups_are_bounded_in_rows_and_in_bytes() {
        let small: Vec<Write> = (0..250).map(|i| Write::Score(score("d", "m", i, i, 100 + i))).collect();
        let sizes: Vec<usize> = plan(&small).iter().map(Vec::len).collect();
        assert_eq!(sizes, [100, 100, 50, 1]);
        let large: Vec<Write> = (0..9)
            .map(|i| {
                let mut row = score("d", "m", i, i, 100 + i);
                row.version = "v".repeat(GROUP_BYTES_MAX / 3);
                Write::Score(row)
            })
            .collect();
        let groups = groups(&large, Retention::default()).unwrap();
        assert!(groups.iter().all(|group| group.bytes <= GROUP_BYTES_MAX), "{groups:?}");
        assert_eq!(groups.iter().map(|group| group.cells.len()).sum::<usize>(), 10);
    }

    #[test]
    fn times_to_live_are_whole_seconds_and_none_is_for_ever() {
        assert_eq!(ttl(None), 0);
        assert_eq!(ttl(Some(Duration::from_millis(90_500))), 90);
        assert_eq!(own_clock(Micros::MIN), Micros::MIN + 1);
    }
}

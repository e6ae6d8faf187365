//! Expiry, in slices: rows whose write clock is older than their table's retention are deleted a few at a time,
//! after a write, so that no write waits long and the file's pages are used again.
//!
//! Age is measured by write clock (receipt time, practically), as a TTL does in a wide-row store; tombstones
//! expire like rows. "Now" is the greatest write clock stored, never ahead of the machine's clock: a file that is
//! written no more keeps what it has, and neither a fast nor a virtual clock empties it. `latest` is kept: it is
//! one row a series, and what was last known is worth knowing.

use super::write::{self, Counts, Touch};
use rusqlite::{Connection, Result, TransactionBehavior, params};
use schemas::Micros;
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

/// Rows of each table deleted after one write.
const SLICE_ROWS: u32 = 1_000;

/// How long rows are kept after they were written; none: for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Rows of `windows`.
    pub windows: Option<Duration>,
    /// Rows of `scores`.
    pub scores: Option<Duration>,
    /// Rows of `alerts_by_device` and `alerts_by_day`.
    pub alerts: Option<Duration>,
}

impl Default for Retention {
    /// 90 days of windows, 30 days of scores, a year of alerts.
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(86_400);
        Self { windows: Some(DAY * 90), scores: Some(DAY * 30), alerts: Some(DAY * 365) }
    }
}

/// The greatest write clock in the file.
pub(super) fn newest(connection: &Connection) -> Result<Micros> {
    connection.query_row(
        "SELECT max(coalesce((SELECT max(write_clock) FROM windows), 0),
                    coalesce((SELECT max(write_clock) FROM scores), 0),
                    coalesce((SELECT max(write_clock) FROM alerts_by_device), 0))",
        [],
        |row| row.get(0),
    )
}

/// Deletes at most one slice of every table; returns how many rows went.
pub(super) fn expire(connection: &mut Connection, retention: Retention, newest: Micros) -> Result<usize> {
    let clock = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let now = newest.min(Micros::try_from(clock.as_micros()).unwrap_or(Micros::MAX));
    let cutoff = |kept: Option<Duration>| {
        kept.map(|kept| now.saturating_sub(Micros::try_from(kept.as_micros()).unwrap_or(Micros::MAX)))
    };
    let mut rows = 0;
    if let Some(cutoff) = cutoff(retention.windows) {
        rows += windows(connection, cutoff)?;
    }
    if let Some(cutoff) = cutoff(retention.scores) {
        rows += scores(connection, cutoff)?;
    }
    if let Some(cutoff) = cutoff(retention.alerts) {
        rows += alerts(connection, cutoff)?;
    }
    Ok(rows)
}

fn windows(connection: &mut Connection, cutoff: Micros) -> Result<usize> {
    type Key = (String, String, String, i64, Micros, bool);
    let keys: Vec<Key> = connection
        .prepare_cached(
            "SELECT device_id, metric, \"window\", bucket, window_start, kind <> 'retracted' \
             FROM windows INDEXED BY windows_by_age WHERE write_clock < ?1 LIMIT ?2",
        )?
        .query_map(params![cutoff, SLICE_ROWS], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?))
        })?
        .collect::<Result<_>>()?;
    if keys.is_empty() {
        return Ok(0);
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut counts = Counts::default();
    for (device, metric, window, bucket, start, lived) in &keys {
        let gone = transaction
            .prepare_cached(
                "DELETE FROM windows WHERE device_id = ?1 AND metric = ?2 AND \"window\" = ?3 AND bucket = ?4 \
                 AND window_start = ?5 AND write_clock < ?6",
            )?
            .execute(params![device, metric, window, bucket, start, cutoff])?;
        counts.windows -= i64::from(gone > 0 && *lived);
    }
    write::add_counts(&transaction, counts)?;
    transaction.commit()?;
    Ok(keys.len())
}

fn scores(connection: &mut Connection, cutoff: Micros) -> Result<usize> {
    type Key = (String, Micros, String, String, i64);
    let keys: Vec<Key> = connection
        .prepare_cached(
            "SELECT device_id, event_time, model, metric, source_offset \
             FROM scores INDEXED BY scores_by_age WHERE write_clock < ?1 LIMIT ?2",
        )?
        .query_map(params![cutoff, SLICE_ROWS], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?))
        })?
        .collect::<Result<_>>()?;
    if keys.is_empty() {
        return Ok(0);
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut counts = Counts::default();
    for (device, time, model, metric, offset) in &keys {
        let gone = transaction
            .prepare_cached(
                "DELETE FROM scores WHERE device_id = ?1 AND event_time = ?2 AND model = ?3 AND metric = ?4 \
                 AND source_offset = ?5 AND write_clock < ?6",
            )?
            .execute(params![device, time, model, metric, offset, cutoff])?;
        counts.scores -= i64::from(gone > 0);
    }
    write::add_counts(&transaction, counts)?;
    transaction.commit()?;
    Ok(keys.len())
}

fn alerts(connection: &mut Connection, cutoff: Micros) -> Result<usize> {
    let keys: Vec<(String, Micros, String, i64)> = connection
        .prepare_cached(
            "SELECT device_id, event_time, id FROM alerts_by_device INDEXED BY alerts_by_age \
             WHERE write_clock < ?1 LIMIT ?2",
        )?
        .query_map(params![cutoff, SLICE_ROWS], |row| {
            let time = row.get(1)?;
            Ok((row.get(0)?, time, row.get(2)?, crate::key::day_of(time)))
        })?
        .collect::<Result<_>>()?;
    if keys.is_empty() {
        return Ok(0);
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut counts = Counts::default();
    let mut touched: BTreeMap<&str, Touch> = BTreeMap::new();
    for (device, time, id, day) in &keys {
        let gone = transaction
            .prepare_cached(
                "DELETE FROM alerts_by_device WHERE device_id = ?1 AND event_time = ?2 AND id = ?3 \
                 AND write_clock < ?4",
            )?
            .execute(params![device, time, id, cutoff])?;
        if gone > 0 {
            transaction
                .prepare_cached(
                    "DELETE FROM alerts_by_day WHERE day = ?1 AND event_time = ?2 AND id = ?3 AND device_id = ?4",
                )?
                .execute(params![day, time, id, device])?;
            counts.alerts -= 1;
            touched.entry(device).or_default().alerts -= 1;
        }
    }
    for (device, touch) in touched {
        write::touch_device(&transaction, device, touch, &mut counts)?;
    }
    write::add_counts(&transaction, counts)?;
    transaction.commit()?;
    Ok(keys.len())
}

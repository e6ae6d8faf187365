//! One call, one transaction: rows by write clock, with the counts that hang on them.
//!
//! Invariants:
//! * A row changes only by a write with a greater write clock than its own; a retracted row stays as a tombstone
//!   (`kind = 'retracted'`) until retention, so that an older row arriving later stays deleted.
//! * `latest` is the series' live row with the greatest start, and keeps the last one when that expires.
//! * `totals` and `devices.alerts` move in the same transaction as the rows they count.

use super::row;
use super::schema::AGGREGATE_COLUMNS;
use crate::key::{bucket_of, day_of};
use crate::nested;
use crate::port::Write;
use rusqlite::{Connection, OptionalExtension, Result, TransactionBehavior, params};
use schemas::Micros;
use schemas::record::{Aggregate, Alert, DeviceLatest, EmissionKind, Score};
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// Composed once: a row is written in microseconds.
static PUT_WINDOW: LazyLock<String> =
    LazyLock::new(|| put("windows", &format!("{AGGREGATE_COLUMNS}, bucket")));
static PUT_LATEST: LazyLock<String> = LazyLock::new(|| put("latest", AGGREGATE_COLUMNS));
static PUT_SCORE: LazyLock<String> = LazyLock::new(|| put("scores", row::SCORE_COLUMNS));
static PUT_ALERT: LazyLock<String> = LazyLock::new(|| put("alerts_by_device", row::ALERT_COLUMNS));

fn put(table: &str, columns: &str) -> String {
    let places = vec!["?"; columns.split(',').count()].join(",");
    format!("INSERT OR REPLACE INTO {table} ({columns}) VALUES ({places})")
}

/// Rows counted; differences while a transaction runs.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) windows: i64,
    pub(super) scores: i64,
    pub(super) alerts: i64,
    pub(super) devices: i64,
}

/// What a transaction changes of a device, written once at its end.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Touch {
    pub(super) seen_at: Option<Micros>,
    pub(super) alerts: i64,
}

/// Applies all writes in one durable transaction.
pub(super) fn apply(connection: &mut Connection, writes: &[Write]) -> Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut counts = Counts::default();
    let mut touched: BTreeMap<&str, Touch> = BTreeMap::new();
    for write in writes {
        match write {
            Write::Aggregate(row) => {
                let touch = touched.entry(&row.device_id).or_default();
                touch.seen_at = touch.seen_at.max(Some(row.contributed_at));
                aggregate(&transaction, row, &mut counts)?;
            }
            Write::Score(row) => score(&transaction, row, &mut counts)?,
            Write::Alert(row) => {
                let added = alert(&transaction, row)?;
                counts.alerts += added;
                touched.entry(&row.device_id).or_default().alerts += added;
            }
            Write::Device(row) => device(&transaction, row, &mut counts)?,
        }
    }
    for (id, touch) in touched {
        touch_device(&transaction, id, touch, &mut counts)?;
    }
    add_counts(&transaction, counts)?;
    transaction.commit()
}

/// Moves the totals.
pub(super) fn add_counts(connection: &Connection, counts: Counts) -> Result<()> {
    let Counts { windows, scores, alerts, devices } = counts;
    let mut add = connection.prepare_cached("UPDATE totals SET rows = rows + ?2 WHERE name = ?1")?;
    for (name, rows) in [("windows", windows), ("scores", scores), ("alerts", alerts), ("devices", devices)] {
        if rows != 0 {
            add.execute(params![name, rows])?;
        }
    }
    Ok(())
}

fn aggregate(connection: &Connection, new: &Aggregate, counts: &mut Counts) -> Result<()> {
    let old: Option<(Micros, bool)> = connection
        .prepare_cached(
            "SELECT write_clock, kind <> 'retracted' FROM windows \
             WHERE device_id = ?1 AND metric = ?2 AND \"window\" = ?3 AND bucket = ?4 AND window_start = ?5",
        )?
        .query_row(params![new.device_id, new.metric, new.window, bucket_of(new.start), new.start], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()?;
    if old.is_some_and(|(clock, _)| clock >= new.write_clock) {
        return Ok(());
    }
    let lives = new.kind != EmissionKind::Retracted;
    counts.windows += i64::from(lives) - i64::from(old.is_some_and(|(_, lived)| lived));
    row::put_aggregate(&mut connection.prepare_cached(&PUT_WINDOW)?, new, true)?;
    latest(connection, new, lives)
}

fn latest(connection: &Connection, new: &Aggregate, lives: bool) -> Result<()> {
    let series = params![new.device_id, new.metric, new.window];
    let old: Option<(Micros, Micros)> = connection
        .prepare_cached(
            "SELECT window_start, write_clock FROM latest \
             WHERE device_id = ?1 AND metric = ?2 AND \"window\" = ?3",
        )?
        .query_row(series, |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    if lives {
        if old.is_none_or(|old| old < (new.start, new.write_clock)) {
            put_latest(connection, new)?;
        }
        return Ok(());
    }
    if old.is_none_or(|(start, _)| start != new.start) {
        return Ok(());
    }
    let sql = format!(
        "SELECT {AGGREGATE_COLUMNS} FROM windows WHERE device_id = ?1 AND metric = ?2 AND \"window\" = ?3 \
         AND kind <> 'retracted' ORDER BY bucket DESC, window_start DESC LIMIT 1"
    );
    match connection.prepare_cached(&sql)?.query_row(series, row::aggregate).optional()? {
        Some(before) => put_latest(connection, &before),
        None => connection
            .prepare_cached("DELETE FROM latest WHERE device_id = ?1 AND metric = ?2 AND \"window\" = ?3")?
            .execute(series)
            .map(|_| ()),
    }
}

fn put_latest(connection: &Connection, new: &Aggregate) -> Result<()> {
    row::put_aggregate(&mut connection.prepare_cached(&PUT_LATEST)?, new, false)
}

fn score(connection: &Connection, new: &Score, counts: &mut Counts) -> Result<()> {
    let old: Option<Micros> = connection
        .prepare_cached(
            "SELECT write_clock FROM scores WHERE device_id = ?1 AND event_time = ?2 AND model = ?3 \
             AND metric = ?4 AND source_offset = ?5",
        )?
        .query_row(params![new.device_id, new.event_time, new.model, new.metric, new.source_offset], |row| {
            row.get(0)
        })
        .optional()?;
    if old.is_some_and(|clock| clock >= new.write_clock) {
        return Ok(());
    }
    counts.scores += i64::from(old.is_none());
    row::put_score(&mut connection.prepare_cached(&PUT_SCORE)?, new)
}

/// Returns how many alerts the device has gained.
fn alert(connection: &Connection, new: &Alert) -> Result<i64> {
    let old: Option<Micros> = connection
        .prepare_cached(
            "SELECT write_clock FROM alerts_by_device WHERE device_id = ?1 AND event_time = ?2 AND id = ?3",
        )?
        .query_row(params![new.device_id, new.event_time, new.id], |row| row.get(0))
        .optional()?;
    if old.is_some_and(|clock| clock >= new.write_clock) {
        return Ok(0);
    }
    row::put_alert(&mut connection.prepare_cached(&PUT_ALERT)?, new)?;
    connection
        .prepare_cached("INSERT OR REPLACE INTO alerts_by_day VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![day_of(new.event_time), new.event_time, new.id, new.device_id])?;
    Ok(i64::from(old.is_none()))
}

fn device(connection: &Connection, new: &DeviceLatest, counts: &mut Counts) -> Result<()> {
    let id = &new.device.device_id;
    let old: Option<Option<Micros>> = connection
        .prepare_cached("SELECT write_clock FROM devices WHERE device_id = ?1")?
        .query_row([id], |row| row.get(0))
        .optional()?;
    if old.flatten().is_some_and(|clock| clock >= new.write_clock) {
        return Ok(());
    }
    counts.devices += i64::from(old.is_none());
    let metadata = nested::metadata_text(new)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
    connection
        .prepare_cached(
            "INSERT INTO devices (device_id, metadata, write_clock) VALUES (?1, ?2, ?3) \
             ON CONFLICT DO UPDATE SET metadata = ?2, write_clock = ?3",
        )?
        .execute(params![id, metadata, new.write_clock])?;
    Ok(())
}

/// Moves what hangs on a device besides its metadata; the device becomes known by it.
pub(super) fn touch_device(
    connection: &Connection,
    id: &str,
    touch: Touch,
    counts: &mut Counts,
) -> Result<()> {
    let changed = connection
        .prepare_cached(
            "UPDATE devices SET alerts = alerts + ?2, \
             seen_at = CASE WHEN ?3 IS NULL THEN seen_at ELSE max(coalesce(seen_at, ?3), ?3) END \
             WHERE device_id = ?1",
        )?
        .execute(params![id, touch.alerts, touch.seen_at])?;
    if changed == 0 {
        connection
            .prepare_cached("INSERT INTO devices (device_id, alerts, seen_at) VALUES (?1, ?2, ?3)")?
            .execute(params![id, touch.alerts, touch.seen_at])?;
        counts.devices += 1;
    }
    Ok(())
}

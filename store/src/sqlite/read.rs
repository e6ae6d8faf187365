//! The queries, each a keyset page: at most `limit` rows after a key, never an offset that shifts under writes.

use super::row;
use super::schema::AGGREGATE_COLUMNS;
use crate::key::{bucket_of, day_of};
use crate::paging::{ROWS_MAX, after, listed, rows};
use crate::port::{DeviceRow, Listed, Page, Span, StoreError, StoreTotals};
use crate::{cursor, nested};
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, ToSql, params};
use schemas::Micros;
use schemas::record::{Aggregate, Alert, Score};

/// Either SQLite's error or one of ours.
pub(super) enum Fault {
    Sqlite(rusqlite::Error),
    Store(StoreError),
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

fn select<T>(
    connection: &Connection,
    sql: &str,
    params: &[&dyn ToSql],
    read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<Vec<T>, Fault> {
    let mut statement = connection.prepare_cached(sql)?;
    let found = statement.query_map(params, read)?.collect::<rusqlite::Result<Vec<T>>>()?;
    Ok(found)
}

pub(super) fn windows(
    connection: &Connection,
    (device, metric, window): (&str, &str, &str),
    span: Span,
    page: &Page,
) -> Result<Listed<Aggregate>, Fault> {
    let scope = cursor::scope(&["windows", device, metric, window]);
    // The exclusive upper bound of a span or the cursor's key, whichever is earlier, is where a page goes on.
    let before = after::<Micros>(page, scope)?.map_or(span.to, |start| start.min(span.to));
    if before <= span.from {
        return Ok(Listed { items: Vec::new(), next: None });
    }
    let sql = format!(
        "SELECT {AGGREGATE_COLUMNS} FROM windows WHERE device_id = ?1 AND metric = ?2 AND \"window\" = ?3 \
         AND bucket BETWEEN ?4 AND ?5 AND window_start >= ?6 AND window_start < ?7 AND kind <> 'retracted' \
         ORDER BY bucket DESC, window_start DESC LIMIT ?8"
    );
    let (first, last) = (bucket_of(span.from), bucket_of(before - 1));
    let items = select(
        connection,
        &sql,
        params![device, metric, window, first, last, span.from, before, rows(page)],
        row::aggregate,
    )?;
    Ok(listed(items, page, scope, |row| row.start)?)
}

pub(super) fn latest(connection: &Connection, device: &str) -> Result<Vec<Aggregate>, Fault> {
    let sql = format!(
        "SELECT {AGGREGATE_COLUMNS} FROM latest WHERE device_id = ?1 ORDER BY metric, \"window\" LIMIT {ROWS_MAX}"
    );
    select(connection, &sql, params![device], row::aggregate)
}

pub(super) fn scores(
    connection: &Connection,
    device: &str,
    model: Option<&str>,
    span: Span,
    page: &Page,
) -> Result<Listed<Score>, Fault> {
    let scope =
        cursor::scope(&["scores", device, if model.is_some() { "1" } else { "0" }, model.unwrap_or("")]);
    let columns = row::SCORE_COLUMNS;
    let order = "ORDER BY event_time DESC, model, metric, source_offset DESC LIMIT ?5";
    let range = "device_id = ?1 AND (?2 IS NULL OR model = ?2) AND event_time >= ?3 AND event_time < ?4";
    let items = match after::<(Micros, String, String, i64)>(page, scope)? {
        None => {
            let sql = format!("SELECT {columns} FROM scores WHERE {range} {order}");
            select(connection, &sql, params![device, model, span.from, span.to, rows(page)], row::score)?
        }
        Some((time, last_model, metric, offset)) => {
            let sql = format!(
                "SELECT {columns} FROM scores WHERE {range} AND event_time <= ?6 AND (event_time < ?6 \
                 OR (model, metric) > (?7, ?8) OR (model = ?7 AND metric = ?8 AND source_offset < ?9)) {order}"
            );
            select(
                connection,
                &sql,
                params![device, model, span.from, span.to, rows(page), time, last_model, metric, offset],
                row::score,
            )?
        }
    };
    Ok(listed(items, page, scope, |row| {
        (row.event_time, row.model.clone(), row.metric.clone(), row.source_offset)
    })?)
}

pub(super) fn alerts(
    connection: &Connection,
    device: Option<&str>,
    span: Span,
    page: &Page,
) -> Result<Listed<Alert>, Fault> {
    let scope = cursor::scope(&["alerts", if device.is_some() { "1" } else { "0" }, device.unwrap_or("")]);
    // Keys sort downwards, so "after" is "below"; without a cursor everything below the span's end is.
    let (time, id, by) = after::<(Micros, String, String)>(page, scope)?
        .filter(|(time, ..)| *time < span.to)
        .unwrap_or((span.to, String::new(), String::new()));
    let columns = row::ALERT_COLUMNS;
    let items = if let Some(device) = device {
        let sql = format!(
            "SELECT {columns} FROM alerts_by_device WHERE device_id = ?1 AND event_time >= ?2 \
             AND (event_time, id) < (?3, ?4) ORDER BY event_time DESC, id DESC LIMIT ?5"
        );
        select(connection, &sql, params![device, span.from, time, id, rows(page)], row::alert)?
    } else {
        let columns = columns.split(", ").map(|name| format!("a.{name}")).collect::<Vec<_>>().join(", ");
        let sql = format!(
            "SELECT {columns} FROM alerts_by_day d CROSS JOIN alerts_by_device a USING (device_id, event_time, id) \
             WHERE d.day BETWEEN ?1 AND ?2 AND d.event_time >= ?3 \
             AND (d.event_time, d.id, d.device_id) < (?4, ?5, ?6) \
             ORDER BY d.day DESC, d.event_time DESC, d.id DESC, d.device_id DESC LIMIT ?7"
        );
        let (first, last) = (day_of(span.from), day_of(time));
        select(connection, &sql, params![first, last, span.from, time, id, by, rows(page)], row::alert)?
    };
    Ok(listed(items, page, scope, |row| (row.event_time, row.id.clone(), row.device_id.clone()))?)
}

const DEVICE_COLUMNS: &str = "device_id, metadata, write_clock, seen_at, alerts";

/// Deleted metadata is kept as a tombstone: such a device is listed only while something else is known of it.
fn device_row(row: &Row<'_>) -> rusqlite::Result<Option<DeviceRow>> {
    let device_id: String = row.get(0)?;
    let text: Option<String> = row.get(1)?;
    let clock: Option<Micros> = row.get(2)?;
    let metadata = text
        .zip(clock)
        .map(|(text, clock)| nested::metadata(&device_id, clock, &text))
        .transpose()
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(1, Type::Text, Box::new(error)))?
        .filter(|latest| !latest.device.deleted);
    let seen_at: Option<Micros> = row.get(3)?;
    let alerts = row.get::<_, i64>(4)?.max(0).cast_unsigned();
    let known = metadata.is_some() || seen_at.is_some() || alerts > 0;
    Ok(known.then_some(DeviceRow { device_id, metadata, seen_at, alerts: Some(alerts) }))
}

pub(super) fn devices(connection: &Connection, page: &Page) -> Result<Listed<DeviceRow>, Fault> {
    let scope = cursor::scope(&["devices"]);
    let mut after = after::<String>(page, scope)?.unwrap_or_default();
    let wanted = rows(page);
    let sql =
        format!("SELECT {DEVICE_COLUMNS} FROM devices WHERE device_id > ?1 ORDER BY device_id LIMIT ?2");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut items = Vec::new();
    // Tombstones do not fill a page; further slices are read until it is full or the table ends.
    loop {
        let mut found = statement.query(params![after, wanted])?;
        let mut slice = 0;
        while let Some(row) = found.next()? {
            slice += 1;
            after = row.get(0)?;
            items.extend(device_row(row)?);
        }
        if slice < wanted || items.len() >= wanted as usize {
            break;
        }
    }
    Ok(listed(items, page, scope, |row| row.device_id.clone())?)
}

pub(super) fn device(connection: &Connection, device: &str) -> Result<Option<DeviceRow>, Fault> {
    let sql = format!("SELECT {DEVICE_COLUMNS} FROM devices WHERE device_id = ?1");
    Ok(connection.prepare_cached(&sql)?.query_row([device], device_row).optional()?.flatten())
}

pub(super) fn totals(connection: &Connection) -> Result<StoreTotals, Fault> {
    let mut totals = StoreTotals::default();
    let found = select(connection, "SELECT name, rows FROM totals", &[], |row| {
        Ok((row.get::<_, String>(0)?, row.get(1)?))
    })?;
    for (name, rows) in found {
        let rows = i64::max(rows, 0).cast_unsigned();
        match name.as_str() {
            "windows" => totals.windows = rows,
            "scores" => totals.scores = rows,
            "alerts" => totals.alerts = rows,
            "devices" => totals.devices = rows,
            _ => {}
        }
    }
    Ok(totals)
}

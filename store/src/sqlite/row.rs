//! Rows to records and back. Column order is [`super::schema::AGGREGATE_COLUMNS`] and the lists below.

use crate::key::bucket_of;
use crate::kind::{alert_kind, emission_kind};
use crate::nested;
use rusqlite::types::Type;
use rusqlite::{CachedStatement, Result, Row, params};
use schemas::record::{Aggregate, Alert, Score};

/// Columns of `scores`, in order.
pub(super) const SCORE_COLUMNS: &str = "device_id, event_time, model, metric, source_offset, version, value, \
     score, threshold, warm_up, received_at, write_clock";

/// Columns of `alerts_by_device`, in order.
pub(super) const ALERT_COLUMNS: &str = "device_id, event_time, id, kind, message, metric, value, model, version, \
     score, threshold, received_at, generation, write_clock";

fn text(error: serde_json::Error) -> rusqlite::Error {
    rusqlite::Error::ToSqlConversionFailure(Box::new(error))
}

fn unreadable(column: usize, what: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, what.into())
}

/// Puts an aggregate into a table; `with_bucket` for `windows`, whose last column the bucket is.
pub(super) fn put_aggregate(
    statement: &mut CachedStatement<'_>,
    row: &Aggregate,
    with_bucket: bool,
) -> Result<()> {
    let device = row.device.as_ref().map(nested::summary_text).transpose().map_err(text)?;
    let scores = nested::scores_text(&row.scores).map_err(text)?;
    let columns = params![
        row.device_id,
        row.metric,
        row.window,
        row.start,
        row.end,
        row.revision,
        row.kind.as_str(),
        row.newest,
        row.count,
        row.nulls,
        row.sum,
        row.min,
        row.max,
        row.first,
        row.last,
        row.mean,
        row.m2,
        row.merged_into,
        device,
        scores,
        row.contributed_at,
        row.generation,
        row.write_clock,
        bucket_of(row.start),
    ];
    statement.execute(if with_bucket { columns } else { &columns[..columns.len() - 1] })?;
    Ok(())
}

/// Reads an aggregate.
pub(super) fn aggregate(row: &Row<'_>) -> Result<Aggregate> {
    let kind: String = row.get(6)?;
    let device: Option<String> = row.get(18)?;
    let scores: Option<String> = row.get(19)?;
    Ok(Aggregate {
        device_id: row.get(0)?,
        metric: row.get(1)?,
        window: row.get(2)?,
        start: row.get(3)?,
        end: row.get(4)?,
        revision: row.get(5)?,
        kind: emission_kind(&kind).ok_or_else(|| unreadable(6, format!("unknown kind `{kind}`")))?,
        newest: row.get(7)?,
        count: row.get(8)?,
        nulls: row.get(9)?,
        sum: row.get(10)?,
        min: row.get(11)?,
        max: row.get(12)?,
        first: row.get(13)?,
        last: row.get(14)?,
        mean: row.get(15)?,
        m2: row.get(16)?,
        merged_into: row.get(17)?,
        device: device
            .map(|text| nested::summary(&text))
            .transpose()
            .map_err(|error| unreadable(18, error))?,
        scores: nested::scores(scores.as_deref()).map_err(|error| unreadable(19, error))?,
        contributed_at: row.get(20)?,
        generation: row.get(21)?,
        write_clock: row.get(22)?,
    })
}

/// Puts a score.
pub(super) fn put_score(statement: &mut CachedStatement<'_>, row: &Score) -> Result<()> {
    statement.execute(params![
        row.device_id,
        row.event_time,
        row.model,
        row.metric,
        row.source_offset,
        row.version,
        row.value,
        row.score,
        row.threshold,
        row.warm_up,
        row.received_at,
        row.write_clock,
    ])?;
    Ok(())
}

/// Reads a score.
pub(super) fn score(row: &Row<'_>) -> Result<Score> {
    Ok(Score {
        device_id: row.get(0)?,
        event_time: row.get(1)?,
        model: row.get(2)?,
        metric: row.get(3)?,
        source_offset: row.get(4)?,
        version: row.get(5)?,
        value: row.get(6)?,
        score: row.get(7)?,
        threshold: row.get(8)?,
        warm_up: row.get(9)?,
        received_at: row.get(10)?,
        window: None,
        window_end: None,
        write_clock: row.get(11)?,
    })
}

/// Puts an alert into `alerts_by_device`.
pub(super) fn put_alert(statement: &mut CachedStatement<'_>, row: &Alert) -> Result<()> {
    statement.execute(params![
        row.device_id,
        row.event_time,
        row.id,
        row.kind.as_str(),
        row.message,
        row.metric,
        row.value,
        row.model,
        row.version,
        row.score,
        row.threshold,
        row.received_at,
        row.generation,
        row.write_clock,
    ])?;
    Ok(())
}

/// Reads an alert.
pub(super) fn alert(row: &Row<'_>) -> Result<Alert> {
    let kind: String = row.get(3)?;
    Ok(Alert {
        device_id: row.get(0)?,
        event_time: row.get(1)?,
        id: row.get(2)?,
        kind: alert_kind(&kind).ok_or_else(|| unreadable(3, format!("unknown kind `{kind}`")))?,
        message: row.get(4)?,
        metric: row.get(5)?,
        value: row.get(6)?,
        model: row.get(7)?,
        version: row.get(8)?,
        score: row.get(9)?,
        threshold: row.get(10)?,
        feature: None,
        expected_low: None,
        expected_high: None,
        window: None,
        window_end: None,
        received_at: row.get(11)?,
        generation: row.get(12)?,
        write_clock: row.get(13)?,
    })
}

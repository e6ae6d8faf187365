//! Counting rows: the ring in ranges of tokens, each counted by the cluster, a few at a time.
//!
//! It reads everything that is stored. A range that the cluster cannot count in time is halved; the whole is given up
//! after [`super::CqlConfig::count_timeout`].

use super::config::CqlConfig;
use super::fault::{self, Class};
use super::statement::prepared;
use crate::port::{StoreError, StoreTotals};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use scylla::client::session::Session;
use scylla::response::query_result::QueryResult;
use scylla::statement::prepared::PreparedStatement;
use std::time::Instant;

/// Ranges of a table to begin with.
const RANGES: i128 = 16;
/// Ranges counted at a time: a check must not slow what the cluster is there for.
const RANGES_AT_ONCE: usize = 4;

/// Tokens above `from` up to `to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    from: i64,
    to: i64,
}

impl Range {
    /// The ring in equal parts. No key has the least token.
    fn all() -> Vec<Self> {
        let (least, width) = (i128::from(i64::MIN), i128::from(u64::MAX));
        let border = |part: i128| i64::try_from(least + width * part / RANGES).unwrap_or(i64::MAX);
        (0..RANGES).map(|part| Self { from: border(part), to: border(part + 1) }).collect()
    }

    /// Its halves; none: it is one token.
    fn halves(self) -> Option<[Self; 2]> {
        let middle = self.from.midpoint(self.to);
        (middle > self.from)
            .then_some([Self { from: self.from, to: middle }, Self { from: middle, to: self.to }])
    }
}

/// Counts the rows of every table.
///
/// # Errors
/// [`StoreError::Retry`] when it takes too long or the cluster does not answer.
pub(super) async fn totals(session: &Session, config: &CqlConfig) -> Result<StoreTotals, StoreError> {
    let deadline = Instant::now() + config.count_timeout;
    let count = async |table: &str, key: &str| -> Result<u64, StoreError> {
        let text = format!(
            "SELECT COUNT(*) FROM {}.{table} WHERE TOKEN({key}) > ? AND TOKEN({key}) <= ?",
            config.keyspace
        );
        let statement = prepared(session, &text, &config.place()).await?;
        table_rows(session, config, &statement, deadline).await
    };
    Ok(StoreTotals {
        windows: count("windows", "device_id, metric, window, bucket").await?,
        scores: count("scores", "device_id, bucket").await?,
        alerts: count("alerts_by_device", "device_id, bucket").await?,
        devices: count("devices", "device_id").await?,
    })
}

async fn table_rows(
    session: &Session,
    config: &CqlConfig,
    statement: &PreparedStatement,
    deadline: Instant,
) -> Result<u64, StoreError> {
    let mut ranges = Range::all();
    let mut running = FuturesUnordered::new();
    let mut rows = 0;
    loop {
        while running.len() < RANGES_AT_ONCE {
            let Some(range) = ranges.pop() else { break };
            running.push(
                async move { (range, session.execute_unpaged(statement, (range.from, range.to)).await) },
            );
        }
        let Some((range, counted)) = running.next().await else { return Ok(rows) };
        match counted {
            Ok(answer) => {
                rows += number(answer).map_err(|error| {
                    StoreError::Fatal(format!("{}: a count cannot be read: {error}", config.place()))
                })?
            }
            Err(error) if fault::class(&error) == Class::Overload => match range.halves() {
                Some(halves) => ranges.extend(halves),
                None => return Err(fault::of(&config.place(), &error)),
            },
            Err(error) => return Err(fault::of(&config.place(), &error)),
        }
        if Instant::now() >= deadline {
            return Err(StoreError::Retry(format!(
                "{}: its rows could not be counted within {:?}",
                config.place(),
                config.count_timeout
            )));
        }
    }
}

/// `COUNT(*)` has one row with one number.
fn number(answer: QueryResult) -> Result<u64, Box<dyn std::error::Error>> {
    let (rows,) = answer.into_rows_result()?.first_row::<(i64,)>()?;
    Ok(u64::try_from(rows)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_cover_the_ring_without_overlap() {
        let ranges = Range::all();
        assert_eq!((ranges[0].from, ranges[ranges.len() - 1].to), (i64::MIN, i64::MAX));
        assert!(ranges.windows(2).all(|pair| pair[0].to == pair[1].from));
        let [low, high] = Range { from: -3, to: 4 }.halves().unwrap();
        assert_eq!((low.from, low.to, high.from, high.to), (-3, high.from, low.to, 4));
        assert_eq!(Range { from: 7, to: 8 }.halves(), None);
        let [low, high] = Range { from: i64::MIN, to: i64::MAX }.halves().unwrap();
        assert_eq!(low.to, high.from);
    }
}

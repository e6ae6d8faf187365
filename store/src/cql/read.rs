//! The queries, each a keyset page. A list that spans partitions walks its buckets from the latest to the first, a few
//! at a time, until the page is full.
//!
//! Invariant: what is read for a page is bounded by the page and by the number of its buckets, never by the table.

use super::plan::{FLEET, alert_bucket, list};
use super::row::{AlertRow, LatestRow, Newest, ScoreRow, StoredDevice, WindowRow};
use super::statement::Asks;
use super::{config::CqlConfig, fault};
use crate::cursor;
use crate::key::{bucket_of, day_of};
use crate::paging::{ROWS_MAX, after, listed, rows};
use crate::port::{DeviceRow, Listed, Page, Span, StoreError};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use schemas::Micros;
use schemas::record::{Aggregate, Alert, Score};
use scylla::client::session::Session;
use scylla::deserialize::row::DeserializeRow;
use scylla::response::PagingState;
use scylla::serialize::row::SerializeRow;
use scylla::statement::prepared::PreparedStatement;
use std::ops::ControlFlow;

/// Buckets looked up at a time.
const BUCKETS_AT_ONCE: i32 = 64;
/// Partitions asked at a time: the latest alone, which usually fills the page, then more.
const PARTITIONS_AT_ONCE_MAX: usize = 8;
/// Alerts of one device counted for [`DeviceRow::alerts`]; a device with more has no number.
pub(super) const ALERTS_COUNTED_MAX: i32 = 10_000;

/// What asks.
pub(super) struct Reader<'a> {
    pub(super) session: &'a Session,
    pub(super) asks: &'a Asks,
    pub(super) config: &'a CqlConfig,
}

/// A list in `buckets`.
#[derive(Clone, Copy)]
struct List<'a> {
    owner: &'a str,
    name: &'a str,
    metric: &'a str,
    window: &'a str,
}

impl Reader<'_> {
    fn unreadable(&self, error: &dyn std::fmt::Display) -> StoreError {
        StoreError::Fatal(format!("{}: an answer cannot be read: {error}", self.config.place()))
    }

    /// Rows of a statement, fetched in slices, until `enough` have been kept.
    async fn rows<R, T>(
        &self,
        statement: &PreparedStatement,
        values: impl SerializeRow,
        enough: usize,
        mut keep: impl FnMut(R) -> Result<Option<T>, StoreError>,
    ) -> Result<Vec<T>, StoreError>
    where
        R: for<'frame> DeserializeRow<'frame, 'frame>,
    {
        let mut kept = Vec::new();
        let mut state = PagingState::start();
        loop {
            let asked = self.session.execute_single_page(statement, &values, state).await;
            let (answer, next) = asked.map_err(|error| fault::of(&self.config.place(), &error))?;
            let answer = answer.into_rows_result().map_err(|error| self.unreadable(&error))?;
            for row in answer.rows::<R>().map_err(|error| self.unreadable(&error))? {
                kept.extend(keep(row.map_err(|error| self.unreadable(&error))?)?);
            }
            state = match next.into_paging_control_flow() {
                ControlFlow::Continue(state) if kept.len() < enough => state,
                _ => return Ok(kept),
            };
        }
    }

    /// Walks the buckets of a list from `last` down to `first` until `wanted` rows are found; each bucket is asked by
    /// `ask` for at most so many.
    async fn walk<T, F: Future<Output = Result<Vec<T>, StoreError>>>(
        &self,
        of: List<'_>,
        (first, mut last): (i64, i64),
        wanted: usize,
        ask: impl Fn(i64, usize) -> F,
    ) -> Result<Vec<T>, StoreError> {
        let mut found: Vec<T> = Vec::new();
        let mut at_once = 1;
        loop {
            let values = (of.owner, of.name, of.metric, of.window, first, last, BUCKETS_AT_ONCE);
            let usual = BUCKETS_AT_ONCE.unsigned_abs() as usize;
            let buckets: Vec<i64> =
                self.rows(&self.asks.buckets, values, usual, |(bucket,): (i64,)| Ok(Some(bucket))).await?;
            let mut rest = buckets.as_slice();
            while !rest.is_empty() {
                let (now, later) = rest.split_at(at_once.min(rest.len()));
                let missing = wanted.saturating_sub(found.len());
                let asked = stream::iter(now.iter().copied().map(|bucket| ask(bucket, missing)));
                let parts: Vec<Vec<T>> = asked.buffered(PARTITIONS_AT_ONCE_MAX).try_collect().await?;
                found.extend(parts.into_iter().flatten());
                if found.len() >= wanted {
                    return Ok(found);
                }
                (rest, at_once) = (later, (at_once * 2).min(PARTITIONS_AT_ONCE_MAX));
            }
            match buckets.last() {
                Some(lowest) if buckets.len() >= usual && *lowest > first => last = lowest - 1,
                _ => return Ok(found),
            }
        }
    }

    pub(super) async fn windows(
        &self,
        (device, metric, window): (&str, &str, &str),
        span: Span,
        page: &Page,
    ) -> Result<Listed<Aggregate>, StoreError> {
        let scope = cursor::scope(&["windows", device, metric, window]);
        let before = after::<Micros>(page, scope)?.map_or(span.to, |start| start.min(span.to));
        let within = Span { from: span.from, to: before };
        let found = self.newest_windows((device, metric, window), within, rows(page)).await?;
        listed(found, page, scope, |row| row.start)
    }

    async fn newest_windows(
        &self,
        (device, metric, window): (&str, &str, &str),
        Span { from, to }: Span,
        wanted: u32,
    ) -> Result<Vec<Aggregate>, StoreError> {
        if to <= from {
            return Ok(Vec::new());
        }
        let of = List { owner: device, name: list::WINDOWS, metric, window };
        let ask = async |bucket: i64, limit: usize| {
            let most = i32::try_from(limit).unwrap_or(i32::MAX);
            let values = (device, metric, window, bucket, from, to, most);
            self.rows(&self.asks.windows, values, limit, |row: WindowRow| row.aggregate().map(Some)).await
        };
        self.walk(of, (bucket_of(from), bucket_of(to - 1)), wanted as usize, ask).await
    }

    /// The newest row of each series: as `latest` has it, or as `windows` has it where that cannot be sure.
    pub(super) async fn latest(&self, device: &str) -> Result<Vec<Aggregate>, StoreError> {
        let most = i32::try_from(ROWS_MAX).unwrap_or(i32::MAX);
        let series: Vec<Newest> = self
            .rows(&self.asks.latest, (device, most), ROWS_MAX as usize, |row: LatestRow| {
                row.newest().map(Some)
            })
            .await?;
        let rows = stream::iter(series.into_iter().map(|series| self.newest(device, series)));
        let rows: Vec<Option<Aggregate>> = rows.buffered(PARTITIONS_AT_ONCE_MAX).try_collect().await?;
        Ok(rows.into_iter().flatten().collect())
    }

    async fn newest(&self, device: &str, series: Newest) -> Result<Option<Aggregate>, StoreError> {
        if series.is_certain() {
            return Ok(series.row);
        }
        let always = Span { from: Micros::MIN, to: Micros::MAX };
        let key = (device, series.metric.as_str(), series.window.as_str());
        let found = self.newest_windows(key, always, 1).await?.into_iter().next();
        // Rows of `windows` expire; what was last known is kept, unless it may have been retracted.
        Ok(found.or_else(|| if series.lives() { series.row } else { None }))
    }

    pub(super) async fn scores(
        &self,
        device: &str,
        model: Option<&str>,
        span: Span,
        page: &Page,
    ) -> Result<Listed<Score>, StoreError> {
        let given = if model.is_some() { "1" } else { "0" };
        let scope = cursor::scope(&["scores", device, given, model.unwrap_or("")]);
        let after = after::<(Micros, String, String, i64)>(page, scope)?;
        // The columns of the key do not all go the same way, so no bound can say "after this row": the rows of its very
        // instant are read again, and those up to it left out.
        let last = after.as_ref().map_or(span.to, |(time, ..)| time.saturating_add(1).min(span.to));
        if last <= span.from {
            return Ok(Listed { items: Vec::new(), next: None });
        }
        let last = last - 1;
        let is_after = |row: &Score| {
            after.as_ref().is_none_or(|(time, model, metric, offset)| {
                let key = (-i128::from(row.event_time), row.model.as_str(), row.metric.as_str());
                let place = (-i128::from(*time), model.as_str(), metric.as_str());
                key > place || (key == place && row.source_offset < *offset)
            })
        };
        let keep = |row: ScoreRow| Ok(Some(Score::from(row)).filter(is_after));
        let ask = async |bucket: i64, limit: usize| match model {
            None => self.rows(&self.asks.scores, (device, bucket, span.from, last), limit, keep).await,
            Some(model) => {
                self.rows(&self.asks.scores_of, (device, bucket, span.from, last, model), limit, keep).await
            }
        };
        let of = List { owner: device, name: list::SCORES, metric: "", window: "" };
        let found = self.walk(of, (bucket_of(span.from), bucket_of(last)), rows(page) as usize, ask).await?;
        listed(found, page, scope, |row| {
            (row.event_time, row.model.clone(), row.metric.clone(), row.source_offset)
        })
    }

    pub(super) async fn alerts(
        &self,
        device: Option<&str>,
        span: Span,
        page: &Page,
    ) -> Result<Listed<Alert>, StoreError> {
        let given = if device.is_some() { "1" } else { "0" };
        let scope = cursor::scope(&["alerts", given, device.unwrap_or("")]);
        // Keys sort downwards, so "after" is "below"; without a cursor everything below the span's end is.
        let (time, id, by) = after::<(Micros, String, String)>(page, scope)?
            .filter(|(time, ..)| *time < span.to)
            .unwrap_or((span.to, String::new(), String::new()));
        let (time, id, by) = (time, id.as_str(), by.as_str());
        let keep = |row: AlertRow| Alert::try_from(row).map(Some);
        let wanted = rows(page) as usize;
        let found = if let Some(device) = device {
            let ask = async |bucket: i64, limit: usize| {
                let most = i32::try_from(limit).unwrap_or(i32::MAX);
                let values = (device, bucket, span.from, time, id, most);
                self.rows(&self.asks.alerts, values, limit, keep).await
            };
            let of = List { owner: device, name: list::ALERTS, metric: "", window: "" };
            self.walk(of, (alert_bucket(span.from), alert_bucket(time)), wanted, ask).await?
        } else {
            let ask = async |day: i64, limit: usize| {
                let most = i32::try_from(limit).unwrap_or(i32::MAX);
                let values = (day, span.from, time, id, by, most);
                self.rows(&self.asks.alerts_of_day, values, limit, keep).await
            };
            let of = List { owner: FLEET, name: list::DAYS, metric: "", window: "" };
            self.walk(of, (day_of(span.from), day_of(time)), wanted, ask).await?
        };
        listed(found, page, scope, |row| (row.event_time, row.id.clone(), row.device_id.clone()))
    }

    /// Devices in the order of their tokens.
    pub(super) async fn devices(&self, page: &Page) -> Result<Listed<DeviceRow>, StoreError> {
        let scope = cursor::scope(&["devices by token"]);
        let mut after = after::<(i64, String)>(page, scope)?;
        let wanted = rows(page);
        let most = i32::try_from(wanted).unwrap_or(i32::MAX);
        let mut items: Vec<(i64, DeviceRow)> = Vec::new();
        // Tombstones do not fill a page; further slices are read until it is full or the table ends.
        loop {
            let from = after.as_ref().map_or(i64::MIN, |(place, _)| *place);
            let slice: Vec<StoredDevice> = self
                .rows(&self.asks.devices, (from, most), wanted as usize, |row: StoredDevice| Ok(Some(row)))
                .await?;
            let ends = slice.len() < wanted as usize;
            let before = after.clone();
            after = slice.last().map(|last| (last.place, last.device_id.clone())).or(after);
            for row in slice {
                // Two ids may have one token; within it, rows come by id.
                let seen =
                    before.as_ref().is_some_and(|(place, id)| (row.place, &row.device_id) <= (*place, id));
                if !seen {
                    let place = row.place;
                    items.extend(row.known()?.map(|row| (place, row)));
                }
            }
            // A slice of nothing but what was seen: more ids share a token than a page has rows.
            let stuck = !ends && after == before;
            if ends || stuck || items.len() >= wanted as usize {
                break;
            }
        }
        let Listed { items, next } =
            listed(items, page, scope, |(place, row)| (*place, row.device_id.clone()))?;
        Ok(Listed { items: items.into_iter().map(|(_, row)| row).collect(), next })
    }

    /// One device, with its alerts counted up to a bound.
    pub(super) async fn device(&self, device: &str) -> Result<Option<DeviceRow>, StoreError> {
        let found = self.rows(&self.asks.device, (device,), 1, |row: StoredDevice| Ok(Some(row))).await?;
        let Some(mut row) = found.into_iter().next().map(StoredDevice::known).transpose()?.flatten() else {
            return Ok(None);
        };
        let ask = async |bucket: i64, limit: usize| {
            let values = (device, bucket, i32::try_from(limit).unwrap_or(i32::MAX));
            self.rows(&self.asks.alert_times, values, limit, |(_,): (i64,)| Ok(Some(()))).await
        };
        let of = List { owner: device, name: list::ALERTS, metric: "", window: "" };
        let most = ALERTS_COUNTED_MAX.unsigned_abs() as usize;
        let counted = self.walk(of, (i64::MIN, i64::MAX), most + 1, ask).await?.len();
        row.alerts = u64::try_from(counted).ok().filter(|_| counted <= most);
        Ok(Some(row))
    }
}

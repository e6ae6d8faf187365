//! Rows of the cluster as records. Columns are found by name.

use crate::kind::{alert_kind, emission_kind};
use crate::nested;
use crate::port::{DeviceRow, StoreError};
use schemas::Micros;
use schemas::record::{Aggregate, Alert, Score};
use scylla::DeserializeRow;

/// A row with the columns of a window and some more. Everything but the key can be missing: in `latest`, where a
/// series' last row may not have been stored yet, it is.
macro_rules! window_row {
    ($(#[$doc:meta])* $name:ident $(, $more:ident)*) => {
        $(#[$doc])*
        #[derive(Debug, DeserializeRow)]
        pub(super) struct $name {
            device_id: String,
            metric: String,
            window: String,
            window_start: Option<i64>,
            window_end: Option<i64>,
            revision: Option<i32>,
            kind: Option<String>,
            newest: Option<bool>,
            count: Option<i64>,
            nulls: Option<i64>,
            sum: Option<f64>,
            min: Option<f64>,
            max: Option<f64>,
            first: Option<f64>,
            last: Option<f64>,
            mean: Option<f64>,
            m2: Option<f64>,
            device: Option<String>,
            scores: Option<String>,
            contributed_at: Option<i64>,
            generation: Option<i64>,
            write_clock: Option<i64>,
            $($more: Option<i64>,)*
        }

        impl $name {
            /// The window of the row.
            ///
            /// # Errors
            /// [`StoreError::Fatal`] when it is incomplete or has an unknown kind: it was not written by us.
            pub(super) fn aggregate(self) -> Result<Aggregate, StoreError> {
                let kind = needed("kind", self.kind)?;
                let device = absent(self.device);
                let device = device.as_deref().map(nested::summary).transpose();
                let scores = absent(self.scores);
                Ok(Aggregate {
                    device_id: self.device_id,
                    metric: self.metric,
                    window: self.window,
                    start: needed("window_start", self.window_start)?,
                    end: needed("window_end", self.window_end)?,
                    revision: needed("revision", self.revision)?,
                    kind: emission_kind(&kind).ok_or_else(|| unreadable("kind", &kind))?,
                    newest: needed("newest", self.newest)?,
                    count: needed("count", self.count)?,
                    nulls: needed("nulls", self.nulls)?,
                    sum: self.sum,
                    min: self.min,
                    max: self.max,
                    first: self.first,
                    last: self.last,
                    mean: self.mean,
                    m2: self.m2,
                    merged_into: None,
                    device: device.map_err(|error| unreadable("metadata", &error))?,
                    scores: nested::scores(scores.as_deref()).map_err(|error| unreadable("scores", &error))?,
                    contributed_at: needed("contributed_at", self.contributed_at)?,
                    generation: needed("generation", self.generation)?,
                    write_clock: needed("kind", self.write_clock)?,
                })
            }
        }
    };
}

window_row!(
    /// A row of `windows`.
    WindowRow
);
window_row!(
    /// A row of `latest`.
    LatestRow,
    live_start,
    retracted_start
);

/// What `latest` knows of a series.
#[derive(Debug)]
pub(super) struct Newest {
    pub(super) metric: String,
    pub(super) window: String,
    /// The last row that was its series' newest when it was written.
    pub(super) row: Option<Aggregate>,
    pub(super) live_start: Option<Micros>,
    pub(super) retracted_start: Option<Micros>,
}

impl Newest {
    /// Whether the row is the newest that was not retracted, as far as `latest` can tell.
    pub(super) fn is_certain(&self) -> bool {
        self.row.as_ref().is_some_and(|row| Some(row.start) >= self.live_start) && self.lives()
    }

    /// Whether the row cannot have been retracted.
    pub(super) fn lives(&self) -> bool {
        self.row.as_ref().is_some_and(|row| Some(row.start) > self.retracted_start)
    }
}

fn needed<T>(column: &str, value: Option<T>) -> Result<T, StoreError> {
    value.ok_or_else(|| StoreError::Fatal(format!("a stored window lacks its column `{column}`")))
}

fn unreadable(what: &str, error: &dyn std::fmt::Display) -> StoreError {
    StoreError::Fatal(format!("a stored window's {what} cannot be read: {error}"))
}

fn absent(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

impl LatestRow {
    /// What the row says of its series.
    ///
    /// # Errors
    /// As [`Self::aggregate`].
    pub(super) fn newest(self) -> Result<Newest, StoreError> {
        Ok(Newest {
            metric: self.metric.clone(),
            window: self.window.clone(),
            live_start: self.live_start,
            retracted_start: self.retracted_start,
            row: if self.kind.is_some() { Some(self.aggregate()?) } else { None },
        })
    }
}

/// A row of `scores`.
#[derive(Debug, DeserializeRow)]
pub(super) struct ScoreRow {
    device_id: String,
    event_time: i64,
    model: String,
    metric: String,
    source_offset: i64,
    version: String,
    value: Option<f64>,
    score: f64,
    threshold: f64,
    warm_up: bool,
    received_at: i64,
    write_clock: i64,
}

impl From<ScoreRow> for Score {
    fn from(row: ScoreRow) -> Self {
        Self {
            device_id: row.device_id,
            model: row.model,
            version: row.version,
            metric: row.metric,
            event_time: row.event_time,
            value: row.value,
            score: row.score,
            threshold: row.threshold,
            warm_up: row.warm_up,
            source_offset: row.source_offset,
            received_at: row.received_at,
            window: None,
            window_end: None,
            write_clock: row.write_clock,
        }
    }
}

/// A row of either table of alerts.
#[derive(Debug, DeserializeRow)]
pub(super) struct AlertRow {
    device_id: String,
    event_time: i64,
    id: String,
    kind: String,
    message: String,
    metric: String,
    value: Option<f64>,
    model: String,
    version: String,
    score: Option<f64>,
    threshold: Option<f64>,
    received_at: i64,
    generation: i64,
    write_clock: i64,
}

impl TryFrom<AlertRow> for Alert {
    type Error = StoreError;

    fn try_from(row: AlertRow) -> Result<Self, StoreError> {
        Ok(Self {
            device_id: row.device_id,
            id: row.id,
            kind: alert_kind(&row.kind)
                .ok_or_else(|| StoreError::Fatal(format!("unknown kind of alert `{}`", row.kind)))?,
            message: row.message,
            event_time: row.event_time,
            metric: absent(Some(row.metric)),
            value: row.value,
            model: absent(Some(row.model)),
            version: absent(Some(row.version)),
            score: row.score,
            threshold: row.threshold,
            feature: None,
            expected_low: None,
            expected_high: None,
            window: None,
            window_end: None,
            received_at: row.received_at,
            generation: row.generation,
            write_clock: row.write_clock,
        })
    }
}

/// A row of `devices`.
#[derive(Debug, DeserializeRow)]
pub(super) struct StoredDevice {
    /// Its token.
    pub(super) place: i64,
    pub(super) device_id: String,
    metadata: Option<String>,
    write_clock: Option<i64>,
    seen_at: Option<i64>,
    alerted_at: Option<i64>,
}

impl StoredDevice {
    /// The device, if anything is known of it: deleted metadata stays as a row, so that older metadata cannot come
    /// back. Its alerts are not counted.
    ///
    /// # Errors
    /// [`StoreError::Fatal`] when the metadata cannot be read.
    pub(super) fn known(self) -> Result<Option<DeviceRow>, StoreError> {
        let Self { place: _, device_id, metadata, write_clock, seen_at, alerted_at } = self;
        let metadata = metadata
            .zip(write_clock)
            .map(|(text, clock)| nested::metadata(&device_id, clock, &text))
            .transpose()
            .map_err(|error| {
                StoreError::Fatal(format!("the metadata of {device_id} cannot be read: {error}"))
            })?
            .filter(|latest| !latest.device.deleted);
        let known = metadata.is_some() || seen_at.is_some() || alerted_at.is_some();
        Ok(known.then_some(DeviceRow { device_id, metadata, seen_at, alerts: None }))
    }
}

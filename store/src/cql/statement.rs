//! Every statement of the adapter, prepared once: what is written under which clock, and what is asked.
//!
//! Invariants:
//! * A row is written whole, every column each time and all under its record's write clock, so that no row mixes two
//!   results; its columns' `WRITETIME` is the write clock, and no column holds it besides.
//! * A value that only grows (`live_start`, `retracted_start`, `seen_at`) is written under itself as the clock, so that
//!   the greatest stays, whatever the order.
//! * Reads name a partition or a range of tokens; nothing scans.

use super::fault;
use crate::port::StoreError;
use scylla::client::session::Session;
use scylla::statement::Statement;
use scylla::statement::prepared::PreparedStatement;
use std::time::Duration;

/// Rows that the driver fetches at a time: few enough that the nulls among them stay far below the server's bound on
/// tombstones of one read.
const ROWS_AT_ONCE: i32 = 1_000;

/// Longest wait for a statement to be prepared; the driver has no bound of its own there.
const PREPARE_TIMEOUT: Duration = Duration::from_secs(10);

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Put {
    /// A row of `windows`.
    Window,
    /// The deletion of one.
    WindowGone,
    /// A series' row in `latest`.
    Latest,
    /// The greatest start of a row that was not retracted.
    LiveStart,
    /// The greatest start of a row that was.
    RetractedStart,
    /// A row of `scores`.
    Score,
    /// A row of `alerts_by_device`.
    Alert,
    /// A row of `alerts_by_day`.
    AlertOfDay,
    /// A device's metadata.
    Metadata,
    /// When it was last seen.
    SeenAt,
    /// That it has alerts, for as long as alerts are kept.
    AlertedAt,
    /// That a list has rows in a bucket.
    Bucket,
}

/// All, in the order of [`Put`].
const PUTS: [Put; 12] = [
    Put::Window,
    Put::WindowGone,
    Put::Latest,
    Put::LiveStart,
    Put::RetractedStart,
    Put::Score,
    Put::Alert,
    Put::AlertOfDay,
    Put::Metadata,
    Put::SeenAt,
    Put::AlertedAt,
    Put::Bucket,
];

const WINDOW_COLUMNS: &str = "window_end, revision, kind, newest, count, nulls, sum, min, max, first, last, mean, m2, \
     device, scores, contributed_at, generation";
const ALERT_COLUMNS: &str =
    "kind, message, metric, value, model, version, score, threshold, received_at, generation";

impl Put {
    fn cql(self, keyspace: &str) -> String {
        let insert = |table: &str, columns: &str, using: &str| {
            let places = vec!["?"; columns.split(',').count()].join(", ");
            format!("INSERT INTO {keyspace}.{table} ({columns}) VALUES ({places}) {using}")
        };
        let kept = "USING TIMESTAMP ? AND TTL ?";
        let update = |table: &str, using: &str, column: &str, key: &str| {
            format!("UPDATE {keyspace}.{table} {using} SET {column} = ? WHERE {key}")
        };
        let (clock, series) = ("USING TIMESTAMP ?", "device_id = ? AND metric = ? AND window = ?");
        match self {
            Self::Window => {
                let columns = format!("device_id, metric, window, bucket, window_start, {WINDOW_COLUMNS}");
                insert("windows", &columns, kept)
            }
            Self::WindowGone => format!(
                "DELETE FROM {keyspace}.windows {clock} WHERE {series} AND bucket = ? AND window_start = ?"
            ),
            Self::Latest => {
                insert("latest", &format!("device_id, metric, window, window_start, {WINDOW_COLUMNS}"), clock)
            }
            Self::LiveStart => update("latest", clock, "live_start", series),
            Self::RetractedStart => update("latest", clock, "retracted_start", series),
            Self::Score => insert(
                "scores",
                "device_id, bucket, event_time, model, metric, source_offset, version, value, score, threshold, \
                 warm_up, received_at",
                kept,
            ),
            Self::Alert => insert(
                "alerts_by_device",
                &format!("device_id, bucket, event_time, id, {ALERT_COLUMNS}"),
                kept,
            ),
            Self::AlertOfDay => {
                insert("alerts_by_day", &format!("day, event_time, id, device_id, {ALERT_COLUMNS}"), kept)
            }
            Self::Metadata => update("devices", clock, "metadata", "device_id = ?"),
            Self::SeenAt => update("devices", clock, "seen_at", "device_id = ?"),
            Self::AlertedAt => update("devices", kept, "alerted_at", "device_id = ?"),
            // Under the server's clock: whoever writes last keeps the bucket longest.
            Self::Bucket => insert("buckets", "device_id, list, metric, window, bucket", "USING TTL ?"),
        }
    }
}

/// Statements that write.
#[derive(Debug)]
pub(super) struct Puts(Vec<PreparedStatement>);

impl Puts {
    pub(super) async fn prepare(session: &Session, keyspace: &str, place: &str) -> Result<Self, StoreError> {
        let mut puts = Vec::with_capacity(PUTS.len());
        for put in PUTS {
            puts.push(prepared(session, &put.cql(keyspace), place).await?);
        }
        Ok(Self(puts))
    }

    /// The same, for a cluster that never answers in time.
    #[cfg(test)]
    pub(super) fn hurried(mut self) -> Self {
        for statement in &mut self.0 {
            statement.set_request_timeout(Some(Duration::from_nanos(1)));
        }
        self
    }

    pub(super) fn of(&self, put: Put) -> &PreparedStatement {
        &self.0[put as usize]
    }
}

/// Statements that read.
#[derive(Debug)]
pub(super) struct Asks {
    /// Buckets of a list within bounds, latest first.
    pub(super) buckets: PreparedStatement,
    /// A bucket of a series within bounds, newest first.
    pub(super) windows: PreparedStatement,
    /// All series of a device.
    pub(super) latest: PreparedStatement,
    /// A bucket of a device's scores within bounds, newest first.
    pub(super) scores: PreparedStatement,
    /// The same of one model.
    pub(super) scores_of: PreparedStatement,
    /// A bucket of a device's alerts from a time and below a key.
    pub(super) alerts: PreparedStatement,
    /// A day of all alerts from a time and below a key.
    pub(super) alerts_of_day: PreparedStatement,
    /// How many alerts a bucket of a device has, up to a bound: their times.
    pub(super) alert_times: PreparedStatement,
    /// Devices from a token on.
    pub(super) devices: PreparedStatement,
    /// One device.
    pub(super) device: PreparedStatement,
}

impl Asks {
    pub(super) async fn prepare(session: &Session, keyspace: &str, place: &str) -> Result<Self, StoreError> {
        let ask = async |columns: &str, table: &str, rest: &str| {
            let text = format!("SELECT {columns} FROM {keyspace}.{table} WHERE {rest}");
            let mut statement = prepared(session, &text, place).await?;
            statement.set_page_size(ROWS_AT_ONCE);
            Ok::<_, StoreError>(statement)
        };
        let series = "device_id = ? AND metric = ? AND window = ?";
        let windows = format!(
            "device_id, metric, window, window_start, {WINDOW_COLUMNS}, WRITETIME(kind) AS write_clock"
        );
        let latest = format!("{windows}, live_start, retracted_start");
        let scores = "device_id, event_time, model, metric, source_offset, version, value, score, threshold, warm_up, \
             received_at, WRITETIME(score) AS write_clock";
        let alerts = format!("device_id, event_time, id, {ALERT_COLUMNS}, WRITETIME(kind) AS write_clock");
        let within = "device_id = ? AND bucket = ? AND event_time >= ? AND event_time <= ?";
        let devices = "TOKEN(device_id) AS place, device_id, metadata, WRITETIME(metadata) AS write_clock, seen_at, \
             alerted_at";
        Ok(Self {
            buckets: ask(
                "bucket",
                "buckets",
                "device_id = ? AND list = ? AND metric = ? AND window = ? AND bucket >= ? AND bucket <= ? LIMIT ?",
            )
            .await?,
            windows: ask(
                &windows,
                "windows",
                &format!("{series} AND bucket = ? AND window_start >= ? AND window_start < ? LIMIT ?"),
            )
            .await?,
            latest: ask(&latest, "latest", "device_id = ? LIMIT ?").await?,
            scores: ask(scores, "scores", within).await?,
            // Within one bucket of one device: what it leaves out is at most what the device had in a day.
            scores_of: ask(scores, "scores", &format!("{within} AND model = ? ALLOW FILTERING")).await?,
            alerts: ask(
                &alerts,
                "alerts_by_device",
                "device_id = ? AND bucket = ? AND (event_time) >= (?) AND (event_time, id) < (?, ?) LIMIT ?",
            )
            .await?,
            alerts_of_day: ask(
                &alerts,
                "alerts_by_day",
                "day = ? AND (event_time) >= (?) AND (event_time, id, device_id) < (?, ?, ?) LIMIT ?",
            )
            .await?,
            alert_times: ask("event_time", "alerts_by_device", "device_id = ? AND bucket = ? LIMIT ?").await?,
            devices: ask(devices, "devices", "TOKEN(device_id) >= ? LIMIT ?").await?,
            device: ask(devices, "devices", "device_id = ?").await?,
        })
    }
}

/// Prepares a statement; all of ours may be repeated without effect.
pub(super) async fn prepared(
    session: &Session,
    text: &str,
    place: &str,
) -> Result<PreparedStatement, StoreError> {
    let preparing = session.prepare(Statement::new(text));
    let prepared = tokio::time::timeout(PREPARE_TIMEOUT, preparing).await.map_err(|_| {
        StoreError::Retry(format!("{place}: a statement was not prepared within {PREPARE_TIMEOUT:?}"))
    })?;
    let mut statement = prepared.map_err(|error| fault::of_prepare(place, &error))?;
    statement.set_is_idempotent(true);
    Ok(statement)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_lie_where_they_are_looked_for() {
        for (at, put) in PUTS.into_iter().enumerate() {
            assert_eq!(put as usize, at, "{put:?}");
        }
    }

    #[test]
    fn everything_but_a_bucket_is_written_under_a_clock_of_its_own() {
        for put in PUTS {
            assert_eq!(put.cql("k").contains("USING TIMESTAMP ?"), put != Put::Bucket, "{}", put.cql("k"));
        }
        assert_eq!(
            Put::SeenAt.cql("k"),
            "UPDATE k.devices USING TIMESTAMP ? SET seen_at = ? WHERE device_id = ?"
        );
    }
}

//! The keyspace and its tables: what they are, which version they have, and how they come to be.
//!
//! Invariants:
//! * `schema_version` is the first table made and its version the last thing written: a keyspace with the version has
//!   all tables of it, and one that was left half made is made again.
//! * Only one program makes tables at a time, by a lock in `schema_version` that expires; every statement may be
//!   repeated without effect besides.

use super::config::CqlConfig;
use super::fault;
use crate::port::StoreError;
use scylla::client::session::Session;
use scylla::errors::ExecutionError;
use scylla::response::query_result::QueryRowsResult;
use scylla::statement::{SerialConsistency, Statement};
use std::time::{Duration, Instant};

/// Version of the tables below.
pub(super) const VERSION: i32 = 1;

/// Row of `schema_version` with the version.
const TABLES: &str = "tables";
/// Row of `schema_version` that is there while tables are made.
const LOCK: &str = "lock";
/// Expiry of the lock, should its holder die.
const LOCK_SECONDS: i32 = 60;
/// Longest wait for another program that makes the tables.
const LOCK_WAIT: Duration = Duration::from_secs(90);
/// Between two looks at it.
const LOCK_POLL: Duration = Duration::from_millis(200);
/// Attempts at looking and making, and the wait between them: a node answers with faults of its own for a moment after a
/// table was made.
const ATTEMPTS_MAX: u32 = 5;
const ATTEMPT_WAIT: Duration = Duration::from_millis(500);
/// A change of the schema waits for all nodes to agree on it.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(60);
/// Time windows of compaction over the time that rows are kept: few enough files to read, enough to drop one by one.
const COMPACTION_WINDOWS: u64 = 30;

const WINDOW_COLUMNS: &str = "window_end bigint, revision int, kind text, newest boolean, count bigint, nulls bigint, \
     sum double, min double, max double, first double, last double, mean double, m2 double, device text, scores text, \
     contributed_at bigint, generation bigint";
const ALERT_COLUMNS: &str = "kind text, message text, metric text, value double, model text, version text, \
     score double, threshold double, received_at bigint, generation bigint";

/// The tables of [`VERSION`].
fn tables(config: &CqlConfig) -> Vec<String> {
    let retention = config.retention;
    let table = |name: &str, columns: &str, key: &str, with: &str| {
        format!(
            "CREATE TABLE IF NOT EXISTS {}.{name} ({columns}, PRIMARY KEY ({key})){with}",
            config.keyspace
        )
    };
    let series = |order: &str, kept: Option<Duration>| {
        let windows =
            kept.map(|kept| format!(" AND compaction = {}", time_windows(kept))).unwrap_or_default();
        format!(" WITH CLUSTERING ORDER BY ({order}){windows}")
    };
    vec![
        table(
            "windows",
            &format!(
                "device_id text, metric text, window text, bucket bigint, window_start bigint, {WINDOW_COLUMNS}"
            ),
            "(device_id, metric, window, bucket), window_start",
            &series("window_start DESC", retention.windows),
        ),
        table(
            "latest",
            &format!(
                "device_id text, metric text, window text, window_start bigint, {WINDOW_COLUMNS}, live_start bigint, \
                 retracted_start bigint"
            ),
            "(device_id), metric, window",
            "",
        ),
        table(
            "scores",
            "device_id text, bucket bigint, event_time bigint, model text, metric text, source_offset bigint, \
             version text, value double, score double, threshold double, warm_up boolean, received_at bigint",
            "(device_id, bucket), event_time, model, metric, source_offset",
            &series("event_time DESC, model ASC, metric ASC, source_offset DESC", retention.scores),
        ),
        table(
            "alerts_by_device",
            &format!("device_id text, bucket bigint, event_time bigint, id text, {ALERT_COLUMNS}"),
            "(device_id, bucket), event_time, id",
            &series("event_time DESC, id DESC", retention.alerts),
        ),
        table(
            "alerts_by_day",
            &format!("day bigint, event_time bigint, id text, device_id text, {ALERT_COLUMNS}"),
            "(day), event_time, id, device_id",
            &series("event_time DESC, id DESC, device_id DESC", retention.alerts),
        ),
        table("devices", "device_id text, metadata text, seen_at bigint, alerted_at bigint", "device_id", ""),
        table(
            "buckets",
            "device_id text, list text, metric text, window text, bucket bigint",
            "(device_id), list, metric, window, bucket",
            " WITH CLUSTERING ORDER BY (list ASC, metric ASC, window ASC, bucket DESC)",
        ),
    ]
}

/// Compaction by time: files of rows that expire together are dropped whole.
fn time_windows(kept: Duration) -> String {
    const MINUTE: u64 = 60;
    let seconds = kept.as_secs().div_ceil(COMPACTION_WINDOWS).max(MINUTE);
    let (unit, size) = match seconds {
        0..3_600 => ("MINUTES", seconds.div_ceil(MINUTE)),
        3_600..86_400 => ("HOURS", seconds.div_ceil(3_600)),
        _ => ("DAYS", seconds.div_ceil(86_400)),
    };
    format!(
        "{{'class': 'TimeWindowCompactionStrategy', 'compaction_window_unit': '{unit}', \
         'compaction_window_size': '{size}'}}"
    )
}

/// What the cluster has of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    NoKeyspace,
    /// A keyspace without tables, or with tables that were left half made.
    NoVersion,
    /// Tables, and none of ours.
    Foreign,
    Version(i32),
}

/// One keyspace, for as long as it is looked at or made.
struct Maker<'a> {
    session: &'a Session,
    config: &'a CqlConfig,
    place: String,
}

/// Makes sure of the tables; `create`: makes them where they are missing.
///
/// # Errors
/// [`StoreError::Fatal`] with what is missing and who may make it, or that the tables are newer or not ours;
/// [`StoreError::Retry`] when the cluster does not answer or another program is at it for too long.
pub(super) async fn ready(session: &Session, config: &CqlConfig) -> Result<(), StoreError> {
    let maker = Maker { session, config, place: config.place() };
    let mut attempts = 1;
    loop {
        match maker.ready().await {
            // All of it may be done again.
            Err(StoreError::Retry(why)) if attempts < ATTEMPTS_MAX => {
                tracing::info!(%why, "looking at the tables again");
                attempts += 1;
                tokio::time::sleep(ATTEMPT_WAIT).await;
            }
            outcome => return outcome,
        }
    }
}

impl Maker<'_> {
    async fn ready(&self) -> Result<(), StoreError> {
        let config = self.config;
        let found = self.found().await?;
        if self.is_ready(found)? {
            return Ok(());
        }
        if !config.create {
            let what = match found {
                Found::NoKeyspace => format!("the keyspace `{}` does not exist", config.keyspace),
                _ => format!(
                    "the tables of the keyspace `{}` do not exist, or not all of them",
                    config.keyspace
                ),
            };
            return Err(StoreError::Fatal(format!(
                "{}: {what}, and this program may not make it (`create` is off): let a role that may CREATE open it \
                 once with `create` on",
                self.place
            )));
        }
        self.make(found).await
    }

    fn is_ready(&self, found: Found) -> Result<bool, StoreError> {
        match found {
            Found::Version(VERSION) => Ok(true),
            Found::Version(newer) if newer > VERSION => Err(StoreError::Fatal(format!(
                "{} has tables of version {newer}; this build knows up to {VERSION}: run a newer highwater",
                self.place
            ))),
            Found::Foreign => Err(StoreError::Fatal(format!(
                "{} has tables of another program and none of ours; name a keyspace of its own",
                self.place
            ))),
            Found::Version(_) | Found::NoVersion | Found::NoKeyspace => Ok(false),
        }
    }

    async fn found(&self) -> Result<Found, StoreError> {
        let keyspace = (self.config.keyspace.as_str(),);
        let known = "SELECT keyspace_name FROM system_schema.keyspaces WHERE keyspace_name = ?";
        if self.rows(known, keyspace).await?.rows_num() == 0 {
            return Ok(Found::NoKeyspace);
        }
        let named = "SELECT table_name FROM system_schema.tables WHERE keyspace_name = ?";
        let rows = self.rows(named, keyspace).await?;
        let mut tables = rows.rows::<(&str,)>().map_err(|error| self.unreadable(&error))?;
        let mut any = false;
        let ours = tables.any(|row| {
            any = true;
            matches!(row, Ok(("schema_version",)))
        });
        if !ours {
            return Ok(if any { Found::Foreign } else { Found::NoVersion });
        }
        let text = format!("SELECT version FROM {}.schema_version WHERE name = ?", self.config.keyspace);
        let answer = match self.session.query_unpaged(text, (TABLES,)).await {
            Ok(answer) => answer,
            // A table that is being made is listed a moment before it can be asked.
            Err(error) if fault::is_invalid(&error) => return Ok(Found::NoVersion),
            Err(error) => return Err(self.refused(&error)),
        };
        let rows = answer.into_rows_result().map_err(|error| self.unreadable(&error))?;
        let row = rows.maybe_first_row::<(Option<i32>,)>().map_err(|error| self.unreadable(&error))?;
        Ok(row.and_then(|(version,)| version).map_or(Found::NoVersion, Found::Version))
    }

    async fn make(&self, found: Found) -> Result<(), StoreError> {
        let keyspace = &self.config.keyspace;
        if found == Found::NoKeyspace {
            let replication = self.replication()?;
            tracing::info!(%keyspace, %replication, "making the keyspace");
            self.change(&format!(
                "CREATE KEYSPACE IF NOT EXISTS {keyspace} WITH replication = {replication}"
            ))
            .await?;
        }
        self.change(&format!(
            "CREATE TABLE IF NOT EXISTS {keyspace}.schema_version (name text PRIMARY KEY, version int, holder text)"
        ))
        .await?;
        let Some(locked) = self.lock().await? else { return Ok(()) };
        let made = self.make_tables().await;
        if locked == Locked::Held
            && let Err(error) = self.unlock().await
        {
            tracing::warn!(%error, "the lock on the tables stays until it expires");
        }
        made
    }

    async fn make_tables(&self) -> Result<(), StoreError> {
        for table in tables(self.config) {
            self.change(&table).await?;
        }
        let version =
            format!("INSERT INTO {}.schema_version (name, version) VALUES (?, ?)", self.config.keyspace);
        let written = self.session.query_unpaged(version, (TABLES, VERSION)).await;
        written.map(drop).map_err(|error| self.refused(&error))?;
        tracing::info!(place = %self.place, version = VERSION, "the tables are made");
        Ok(())
    }

    /// Waits for the lock; none: another program has made the tables meanwhile.
    async fn lock(&self) -> Result<Option<Locked>, StoreError> {
        let text = format!(
            "INSERT INTO {}.schema_version (name, holder) VALUES (?, ?) IF NOT EXISTS USING TTL {LOCK_SECONDS}",
            self.config.keyspace
        );
        let mut statement = Statement::new(text);
        statement.set_serial_consistency(Some(SerialConsistency::Serial));
        let deadline = Instant::now() + LOCK_WAIT;
        loop {
            match self.session.query_unpaged(statement.clone(), (LOCK, self.holder())).await {
                Ok(answer) => {
                    let rows = answer.into_rows_result().map_err(|error| self.unreadable(&error))?;
                    if applied(&rows) {
                        break;
                    }
                }
                // Tables of a Scylla with tablets know no conditions in some versions; there the cluster itself puts
                // changes of the schema in order.
                Err(error) if fault::knows_no_conditions(&error) => {
                    tracing::info!(%error, "no lock is to be had here: making the tables without");
                    return Ok(Some(Locked::Without));
                }
                Err(error) if fault::class(&error) == fault::Class::Fatal => return Err(self.refused(&error)),
                Err(error) => tracing::debug!(%error, "the lock on the tables was not answered for"),
            }
            if Instant::now() >= deadline {
                return Err(StoreError::Retry(format!(
                    "{}: another program has been making the tables for {LOCK_WAIT:?}",
                    self.place
                )));
            }
            tokio::time::sleep(LOCK_POLL).await;
            let found = self.found().await?;
            if self.is_ready(found)? {
                return Ok(None);
            }
        }
        // Who held it before may have finished.
        let found = self.found().await?;
        if self.is_ready(found)? {
            self.unlock().await?;
            return Ok(None);
        }
        Ok(Some(Locked::Held))
    }

    async fn unlock(&self) -> Result<(), StoreError> {
        let mut statement = Statement::new(format!(
            "DELETE FROM {}.schema_version WHERE name = ? IF EXISTS",
            self.config.keyspace
        ));
        statement.set_serial_consistency(Some(SerialConsistency::Serial));
        let unlocked = self.session.query_unpaged(statement, (LOCK,)).await;
        unlocked.map(drop).map_err(|error| self.refused(&error))
    }

    fn holder(&self) -> String {
        format!("{} {}", std::process::id(), self.session.session_id())
    }

    fn replication(&self) -> Result<String, StoreError> {
        if let Some(replication) = &self.config.replication {
            return Ok(replication.cql());
        }
        let nodes = self.session.get_cluster_state().get_nodes_info().len();
        if nodes > 1 {
            return Err(StoreError::Fatal(format!(
                "{}: the keyspace `{}` does not exist, and in a cluster of {nodes} nodes nobody but you can say how \
                 many copies it shall keep: set the replication, or create the keyspace",
                self.place, self.config.keyspace
            )));
        }
        tracing::warn!("one node, and no replication is set: the keyspace keeps one copy of everything");
        Ok(super::config::Replication::Simple(1).cql())
    }

    async fn change(&self, text: &str) -> Result<(), StoreError> {
        let mut statement = Statement::new(text);
        statement.set_request_timeout(Some(CHANGE_TIMEOUT));
        match self.session.query_unpaged(statement, ()).await {
            Ok(_) => Ok(()),
            Err(error) if fault::is_already_there(&error) => Ok(()),
            Err(error) => Err(self.refused(&error)),
        }
    }

    async fn rows(
        &self,
        text: &str,
        values: impl scylla::serialize::row::SerializeRow,
    ) -> Result<QueryRowsResult, StoreError> {
        let answer = self.session.query_unpaged(text, values).await.map_err(|error| self.refused(&error))?;
        answer.into_rows_result().map_err(|error| self.unreadable(&error))
    }

    fn unreadable(&self, error: &dyn std::fmt::Display) -> StoreError {
        StoreError::Fatal(format!("{}: an answer about the tables cannot be read: {error}", self.place))
    }

    fn refused(&self, error: &ExecutionError) -> StoreError {
        if !fault::is_unauthorized(error) {
            return fault::of(&self.place, error);
        }
        StoreError::Denied(format!(
            "{}: {error}. To make the keyspace `{k}` and its tables takes `GRANT CREATE ON ALL KEYSPACES`, or `ON \
             KEYSPACE {k}` and MODIFY and SELECT there once it exists; programs that only use them take SELECT, and \
             the sink MODIFY too",
            self.place,
            k = self.config.keyspace
        ))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Locked {
    Held,
    Without,
}

/// Whether a conditional statement was applied: the first column of its answer.
fn applied(rows: &QueryRowsResult) -> bool {
    rows.maybe_first_row::<scylla::value::Row>()
        .ok()
        .flatten()
        .is_some_and(|row| matches!(row.columns.first(), Some(Some(scylla::value::CqlValue::Boolean(true)))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compaction_windows_follow_the_time_to_live() {
        let day = Duration::from_secs(86_400);
        for (kept, unit, size) in [
            (day * 90, "DAYS", 3),
            (day * 30, "DAYS", 1),
            (day * 365, "DAYS", 13),
            (day * 7, "HOURS", 6),
            (day, "MINUTES", 48),
            (Duration::from_secs(1), "MINUTES", 1),
        ] {
            let text = time_windows(kept);
            assert!(
                text.contains(&format!("'{unit}'")) && text.contains(&format!("'{size}'")),
                "{kept:?} {text}"
            );
        }
    }

    #[test]
    fn tables_that_are_kept_for_ever_are_not_compacted_by_time() {
        let mut config = CqlConfig::new(vec!["h".to_owned()], "k");
        let by_time =
            |config: &CqlConfig| tables(config).iter().filter(|text| text.contains("TimeWindow")).count();
        assert_eq!(by_time(&config), 4);
        config.retention.alerts = None;
        assert_eq!(by_time(&config), 2);
    }
}

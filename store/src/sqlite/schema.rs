//! The file: tables, settings of a connection, and what is said when a file is not ours.
//!
//! Invariants: `application_id` marks our files; `user_version` is [`VERSION`]; WAL with `synchronous=FULL`, so
//! that a committed transaction survives a power cut.

use super::fault;
use crate::port::StoreError;
use rusqlite::{Connection, OpenFlags};
use std::path::Path;
use std::time::Duration;

/// "HWst": marks a file as a Highwater store.
const APPLICATION_ID: i64 = 0x4857_7374;
/// Version of the tables below.
const VERSION: i64 = 1;

/// Columns that `windows` and `latest` share, in the order `row` reads and writes them.
pub(super) const AGGREGATE_COLUMNS: &str = "device_id, metric, \"window\", window_start, window_end, revision, \
     kind, newest, count, nulls, sum, min, max, first, last, mean, m2, merged_into, device, scores, \
     contributed_at, generation, write_clock";

const AGGREGATE_DEFINITIONS: &str = "
    device_id TEXT NOT NULL, metric TEXT NOT NULL, \"window\" TEXT NOT NULL,
    window_start INTEGER NOT NULL, window_end INTEGER NOT NULL, revision INTEGER NOT NULL,
    kind TEXT NOT NULL, newest INTEGER NOT NULL, count INTEGER NOT NULL, nulls INTEGER NOT NULL,
    sum REAL, min REAL, max REAL, first REAL, last REAL, mean REAL, m2 REAL, merged_into INTEGER,
    device TEXT, scores TEXT, contributed_at INTEGER NOT NULL, generation INTEGER NOT NULL,
    write_clock INTEGER NOT NULL";

const REST: &str = "
CREATE TABLE scores (
    device_id TEXT NOT NULL, event_time INTEGER NOT NULL, model TEXT NOT NULL, metric TEXT NOT NULL,
    source_offset INTEGER NOT NULL, version TEXT NOT NULL, value REAL, score REAL NOT NULL,
    threshold REAL NOT NULL, warm_up INTEGER NOT NULL, received_at INTEGER NOT NULL,
    write_clock INTEGER NOT NULL,
    PRIMARY KEY (device_id, event_time DESC, model, metric, source_offset DESC)
) WITHOUT ROWID;
CREATE TABLE alerts_by_device (
    device_id TEXT NOT NULL, event_time INTEGER NOT NULL, id TEXT NOT NULL, kind TEXT NOT NULL,
    message TEXT NOT NULL, metric TEXT, value REAL, model TEXT, version TEXT, score REAL, threshold REAL,
    received_at INTEGER NOT NULL, generation INTEGER NOT NULL, write_clock INTEGER NOT NULL,
    PRIMARY KEY (device_id, event_time DESC, id DESC)
) WITHOUT ROWID;
CREATE TABLE alerts_by_day (
    day INTEGER NOT NULL, event_time INTEGER NOT NULL, id TEXT NOT NULL, device_id TEXT NOT NULL,
    PRIMARY KEY (day DESC, event_time DESC, id DESC, device_id DESC)
) WITHOUT ROWID;
CREATE TABLE devices (
    device_id TEXT PRIMARY KEY, metadata TEXT, write_clock INTEGER, seen_at INTEGER,
    alerts INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE INDEX windows_by_age ON windows (write_clock);
CREATE INDEX scores_by_age ON scores (write_clock);
CREATE INDEX alerts_by_age ON alerts_by_device (write_clock);
CREATE TABLE totals (name TEXT PRIMARY KEY, rows INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO totals VALUES ('windows', 0), ('scores', 0), ('alerts', 0), ('devices', 0);";

/// Opens the writer's connection; makes the tables in a new file.
pub(super) fn open_writer(path: &Path, busy: Duration) -> Result<Connection, StoreError> {
    let connection = connect(path, busy)?;
    let fault = |error| fault::of(path, &error);
    let application: i64 =
        connection.query_row("PRAGMA application_id", [], |row| row.get(0)).map_err(fault)?;
    let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(fault)?;
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(fault)?;
    if tables > 0 && application != APPLICATION_ID {
        return Err(StoreError::Fatal(format!(
            "{} is an SQLite file of another program, not a Highwater store; name another file with `store.url`",
            path.display()
        )));
    }
    if version > VERSION {
        return Err(StoreError::Fatal(format!(
            "{} has tables of version {version}; this build knows up to {VERSION}: run a newer highwater",
            path.display()
        )));
    }
    // WAL needs a writable file and directory, so a read-only home is found out here and not at the first write.
    let mode: String =
        connection.query_row("PRAGMA journal_mode=WAL", [], |row| row.get(0)).map_err(fault)?;
    if mode != "wal" {
        return Err(StoreError::Fatal(format!(
            "{} cannot use a write-ahead log (its mode stays `{mode}`); put it on a local, writable disk",
            path.display()
        )));
    }
    connection.execute_batch("PRAGMA synchronous=FULL").map_err(fault)?;
    create(&connection).map_err(fault)?;
    Ok(connection)
}

/// Opens a connection that only reads.
pub(super) fn open_reader(path: &Path, busy: Duration) -> Result<Connection, StoreError> {
    let connection = connect(path, busy)?;
    connection.execute_batch("PRAGMA query_only=ON").map_err(|error| fault::of(path, &error))?;
    Ok(connection)
}

fn connect(path: &Path, busy: Duration) -> Result<Connection, StoreError> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(|error| fault::of(path, &error))?;
    connection.busy_timeout(busy).map_err(|error| fault::of(path, &error))?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(connection)
}

fn create(connection: &Connection) -> rusqlite::Result<()> {
    let sql = format!(
        "BEGIN IMMEDIATE;
         CREATE TABLE windows ({AGGREGATE_DEFINITIONS}, bucket INTEGER NOT NULL,
             PRIMARY KEY (device_id, metric, \"window\", bucket DESC, window_start DESC)) WITHOUT ROWID;
         CREATE TABLE latest ({AGGREGATE_DEFINITIONS},
             PRIMARY KEY (device_id, metric, \"window\")) WITHOUT ROWID;
         {REST}
         PRAGMA application_id={APPLICATION_ID};
         PRAGMA user_version={VERSION};
         COMMIT;"
    );
    let made = |connection: &Connection| -> rusqlite::Result<bool> {
        connection
            .query_row("SELECT count(*) > 0 FROM sqlite_schema WHERE name = 'windows'", [], |row| row.get(0))
    };
    if made(connection)? {
        return Ok(());
    }
    let outcome = connection.execute_batch(&sql);
    if outcome.is_err() && !connection.is_autocommit() {
        connection.execute_batch("ROLLBACK")?;
    }
    // Two processes may start on a new file at once: the one that lost finds the tables there.
    if outcome.is_err() && made(connection)? { Ok(()) } else { outcome }
}

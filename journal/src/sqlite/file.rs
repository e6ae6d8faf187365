//! The file: locking, opening, its tables, and what its errors mean.
//!
//! Invariants:
//! * One process at a time: whoever holds the lock file beside the journal owns it.
//! * A segment's row id is `(topic << 10 | partition) << 44 | offset of its first record`.

use super::SqliteConfig;
use crate::port::{JournalError, TopicPartition};
use rusqlite::{Connection, ErrorCode, OpenFlags};
use schemas::topic::Topic;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// "hwtr": tells a journal from other SQLite files.
const APPLICATION_ID: i64 = 0x6877_7472;
/// Version of the tables and of the packing.
const FORMAT: i64 = 1;
const OFFSET_BITS: u32 = 44;
const PARTITION_BITS: u32 = 10;
/// How long a connection waits for another one of this process.
const BUSY_WAIT_MAX: Duration = Duration::from_secs(10);
/// Page cache of a reading connection, in KiB.
const READ_CACHE_KIB: i64 = 1024;

const TABLES: &str = "
CREATE TABLE segments (
    id INTEGER PRIMARY KEY, count INTEGER NOT NULL, received_us INTEGER NOT NULL, crc INTEGER NOT NULL,
    body BLOB NOT NULL
);
CREATE TABLE partitions (
    topic TEXT NOT NULL, partition INTEGER NOT NULL, start INTEGER NOT NULL, next INTEGER NOT NULL,
    received_us INTEGER NOT NULL, bytes INTEGER NOT NULL, PRIMARY KEY (topic, partition)
) WITHOUT ROWID;
CREATE TABLE offsets (
    member_group TEXT NOT NULL, topic TEXT NOT NULL, partition INTEGER NOT NULL, position INTEGER NOT NULL,
    metadata TEXT NOT NULL, PRIMARY KEY (member_group, topic, partition)
) WITHOUT ROWID;
CREATE TABLE schemas (id INTEGER PRIMARY KEY, schema TEXT NOT NULL UNIQUE);
CREATE TABLE subjects (
    subject TEXT NOT NULL, version INTEGER NOT NULL, id INTEGER NOT NULL, PRIMARY KEY (subject, version)
) WITHOUT ROWID;
CREATE TABLE about (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
";

/// Row id of the segment that would begin at an offset.
pub(super) fn row_id(of: TopicPartition, offset: i64) -> i64 {
    let topic = match of.topic {
        Topic::Raw => 1,
        Topic::Aggregates => 2,
        Topic::Alerts => 3,
        Topic::Late => 4,
        Topic::DeadLetters => 5,
        Topic::Scores => 6,
        Topic::Control => 7,
        Topic::Devices => 8,
        Topic::Snapshots => 9,
        Topic::Audit => 10,
        Topic::Shadow => 11,
        Topic::Models => 12,
    };
    ((topic << PARTITION_BITS | i64::from(of.partition)) << OFFSET_BITS) + offset
}

/// The offset in a row id.
pub(super) const fn offset_of(row_id: i64) -> i64 {
    row_id & ((1 << OFFSET_BITS) - 1)
}

/// Takes the lock beside the journal.
pub(super) fn lock(path: &Path) -> Result<File, JournalError> {
    let directory = directory_of(path);
    std::fs::create_dir_all(directory).map_err(|error| {
        JournalError::Fatal(format!("cannot create the journal's directory {}: {error}", directory.display()))
    })?;
    let beside = lock_path(path).map_err(|error| {
        JournalError::Fatal(format!("cannot find the journal's directory {}: {error}", directory.display()))
    })?;
    let mut file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&beside).map_err(
            |error| {
                JournalError::Fatal(format!(
                    "cannot write in the journal's directory {}: {error}",
                    directory.display()
                ))
            },
        )?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            // Without a number in it the message just says less.
            let _ = file.read_to_string(&mut holder);
            let holder = holder.trim().parse::<u32>().map_or(String::new(), |pid| format!(" (pid {pid})"));
            return Err(JournalError::InUse { path: path.display().to_string(), holder });
        }
        Err(TryLockError::Error(error)) => {
            return Err(JournalError::Fatal(format!("cannot lock {}: {error}", beside.display())));
        }
    }
    file.set_len(0)
        .and_then(|()| file.write_all(format!("{}\n", std::process::id()).as_bytes()))
        .map_err(|error| JournalError::Fatal(format!("cannot write {}: {error}", beside.display())))?;
    Ok(file)
}

fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The lock file of a journal: one for all the names that links give it.
pub(super) fn lock_path(path: &Path) -> std::io::Result<PathBuf> {
    let real = match std::fs::canonicalize(path) {
        Ok(real) => real,
        Err(_) => std::fs::canonicalize(directory_of(path))?.join(path.file_name().unwrap_or_default()),
    };
    let mut name = real.into_os_string();
    name.push(".lock");
    Ok(PathBuf::from(name))
}

/// Opens the connection that writes, making or checking the tables.
pub(super) fn open_writer(config: &SqliteConfig) -> Result<Connection, JournalError> {
    let path = &config.path;
    let opening = |error: rusqlite::Error| open_error(path, &error);
    let mut connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )
    .map_err(opening)?;
    connection.busy_timeout(BUSY_WAIT_MAX).map_err(opening)?;
    identify(&connection, path)?;
    let mode: String =
        connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0)).map_err(opening)?;
    if mode != "wal" {
        return Err(JournalError::Fatal(format!(
            "{} lies on a file system without shared memory: a write-ahead log is not possible there",
            path.display()
        )));
    }
    connection.pragma_update(None, "synchronous", "FULL").map_err(opening)?;
    connection.pragma_update(None, "wal_autocheckpoint", config.checkpoint_pages).map_err(opening)?;
    if let Some(bytes) = config.file_bytes_max {
        let page: u64 =
            connection.pragma_query_value(None, "page_size", |row| row.get(0)).map_err(opening)?;
        connection.pragma_update(None, "max_page_count", (bytes / page).max(1)).map_err(opening)?;
    }
    create(&mut connection, config)?;
    Ok(connection)
}

/// Opens a connection that reads.
pub(super) fn open_reader(path: &Path) -> Result<Connection, JournalError> {
    let opening = |error: rusqlite::Error| open_error(path, &error);
    let connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )
    .map_err(opening)?;
    connection.busy_timeout(BUSY_WAIT_MAX).map_err(opening)?;
    connection.pragma_update(None, "query_only", true).map_err(opening)?;
    connection.pragma_update(None, "cache_size", -READ_CACHE_KIB).map_err(opening)?;
    Ok(connection)
}

/// Refuses files that are something else.
fn identify(connection: &Connection, path: &Path) -> Result<(), JournalError> {
    let opening = |error: rusqlite::Error| open_error(path, &error);
    let number = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(opening)?;
    if tables == 0 {
        return Ok(());
    }
    if number("application_id").map_err(opening)? != APPLICATION_ID {
        return Err(JournalError::Fatal(format!(
            "{} is not a journal: it is an SQLite file with other tables",
            path.display()
        )));
    }
    let format = number("user_version").map_err(opening)?;
    if format != FORMAT {
        return Err(JournalError::Fatal(format!(
            "{} has journal format {format}; this build reads format {FORMAT}",
            path.display()
        )));
    }
    Ok(())
}

/// Makes what is missing, in one transaction, and checks the partition count.
fn create(connection: &mut Connection, config: &SqliteConfig) -> Result<(), JournalError> {
    let path = &config.path;
    let opening = |error: rusqlite::Error| open_error(path, &error);
    let transaction = connection.transaction().map_err(opening)?;
    let tables: i64 =
        transaction.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(opening)?;
    if tables == 0 {
        transaction.execute_batch(TABLES).map_err(opening)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID).map_err(opening)?;
        transaction.pragma_update(None, "user_version", FORMAT).map_err(opening)?;
        transaction
            .execute("INSERT INTO about VALUES ('partitions', ?1), ('opened', 0)", [config.partitions])
            .map_err(opening)?;
    }
    let partitions: u32 = transaction
        .query_row("SELECT value FROM about WHERE name = 'partitions'", [], |row| row.get(0))
        .map_err(opening)?;
    if partitions != config.partitions {
        return Err(JournalError::Fatal(format!(
            "{} has {partitions} partitions, {} are configured: a key would change its partition; leave the \
             setting out, or begin another journal",
            path.display(),
            config.partitions
        )));
    }
    transaction.execute("UPDATE about SET value = value + 1 WHERE name = 'opened'", []).map_err(opening)?;
    transaction.commit().map_err(opening)
}

/// Partitions of the journal in a file, when there is one that can be read now.
pub(super) fn partitions_in(path: &Path) -> Option<u32> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).ok()?;
    connection.query_row("SELECT value FROM about WHERE name = 'partitions'", [], |row| row.get(0)).ok()
}

/// What an error while opening means.
pub(super) fn open_error(path: &Path, error: &rusqlite::Error) -> JournalError {
    let path = path.display();
    let text = match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => format!("{path} is not a journal: it is not an SQLite file"),
        Some(ErrorCode::DatabaseCorrupt) => format!("{path} is damaged: {error}"),
        Some(ErrorCode::CannotOpen) => format!("cannot open the journal {path}: {error}"),
        Some(ErrorCode::ReadOnly) => format!("the journal {path} cannot be written: {error}"),
        Some(ErrorCode::DiskFull) => format!("no room for the journal {path}: {error}"),
        _ => format!("cannot open the journal {path}: {error}"),
    };
    JournalError::Fatal(text)
}

/// What an error before the commit means: nothing has happened.
pub(super) fn statement_error(error: &rusqlite::Error) -> JournalError {
    if nothing_written(error) {
        JournalError::Retry(error.to_string())
    } else {
        JournalError::Fatal(format!("the journal's file failed: {error}"))
    }
}

/// What an error of the commit itself means. A failed sync leaves open whether the frames will survive a crash.
pub(super) fn commit_error(error: &rusqlite::Error) -> JournalError {
    if nothing_written(error) {
        JournalError::Retry(error.to_string())
    } else {
        JournalError::Unknown(format!("the journal's file failed while committing: {error}"))
    }
}

/// No room, no memory, or another connection in the way. A refused write counts: the log's last frame alone makes
/// a transaction, and a repetition overwrites the frames before it.
fn nothing_written(error: &rusqlite::Error) -> bool {
    let refused_write =
        error.sqlite_error().is_some_and(|error| error.extended_code == rusqlite::ffi::SQLITE_IOERR_WRITE);
    let code = error.sqlite_error_code();
    refused_write
        || matches!(
            code,
            Some(
                ErrorCode::DiskFull
                    | ErrorCode::DatabaseBusy
                    | ErrorCode::DatabaseLocked
                    | ErrorCode::OutOfMemory
            )
        )
}

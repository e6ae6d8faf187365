//! The embedded adapter: one SQLite file.
//!
//! Lives here: connections. One writes, behind a lock, one transaction a call; a few read, borrowed for one query
//! each. The tables are in `schema`, the rules in `write`, the queries in `read`, expiry in `retention`, and what
//! an error means in `fault`.
//!
//! Several processes may open the same file (one `sink`, any number of `dashboard`): SQLite's own locks keep
//! writers apart, and readers see whole transactions.

mod fault;
mod read;
mod retention;
mod row;
mod schema;
mod write;

use crate::port::{DeviceRow, Listed, Page, Span, Store, StoreError, StoreTotals, Write};
use rusqlite::Connection;
use schemas::Micros;
use schemas::record::{Aggregate, Alert, Score};
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub use retention::Retention;

/// How the file is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SqliteOptions {
    /// How long rows are kept.
    pub retention: Retention,
    /// Connections that read at the same time.
    pub readers_max: usize,
    /// How long to wait for a lock that another process holds, and for a free reading connection.
    pub busy: Duration,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self { retention: Retention::default(), readers_max: 4, busy: Duration::from_secs(5) }
    }
}

/// The store in one SQLite file.
#[derive(Debug)]
pub struct SqliteStore {
    path: PathBuf,
    options: SqliteOptions,
    writer: Mutex<Writer>,
    readers: Mutex<Vec<Connection>>,
    returned: Condvar,
}

#[derive(Debug)]
struct Writer {
    connection: Connection,
    /// Greatest write clock stored: what retention counts back from.
    newest: Micros,
}

impl SqliteStore {
    /// Opens the file, or makes it.
    ///
    /// # Errors
    /// [`StoreError::Retry`] when another process holds it for longer than `busy` or the disk is full;
    /// [`StoreError::Fatal`] when it is no database, not ours, of a newer version, or read-only.
    pub fn open(path: &Path, options: SqliteOptions) -> Result<Self, StoreError> {
        let connection = schema::open_writer(path, options.busy)?;
        let newest = retention::newest(&connection).map_err(|error| fault::of(path, &error))?;
        let readers = (0..options.readers_max.max(1))
            .map(|_| schema::open_reader(path, options.busy))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            path: path.to_path_buf(),
            options,
            writer: Mutex::new(Writer { connection, newest }),
            readers: Mutex::new(readers),
            returned: Condvar::new(),
        })
    }

    fn fault(&self, error: &rusqlite::Error) -> StoreError {
        fault::of(&self.path, error)
    }

    /// A writer that panicked has rolled its transaction back: the connection is good.
    fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read<T>(&self, query: impl FnOnce(&Connection) -> Result<T, read::Fault>) -> Result<T, StoreError> {
        let readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut readers, _) = self
            .returned
            .wait_timeout_while(readers, self.options.busy, |readers| readers.is_empty())
            .unwrap_or_else(PoisonError::into_inner);
        let Some(connection) = readers.pop() else {
            return Err(StoreError::Retry(format!(
                "all {} reading connections to {} are busy",
                self.options.readers_max.max(1),
                self.path.display()
            )));
        };
        drop(readers);
        let lent = Lent { store: self, connection: Some(connection) };
        query(lent.connection()).map_err(|error| match error {
            read::Fault::Sqlite(error) => self.fault(&error),
            read::Fault::Store(error) => error,
        })
    }
}

/// A reading connection that goes back to the pool whatever happens.
struct Lent<'a> {
    store: &'a SqliteStore,
    connection: Option<Connection>,
}

impl Lent<'_> {
    fn connection(&self) -> &Connection {
        self.connection.as_ref().expect("lent until dropped")
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.store.readers.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            self.store.returned.notify_one();
        }
    }
}

impl Store for SqliteStore {
    fn write(&self, writes: &[Write]) -> Result<(), StoreError> {
        if writes.is_empty() {
            return Ok(());
        }
        let mut writer = self.writer();
        let Writer { connection, newest } = &mut *writer;
        write::apply(connection, writes).map_err(|error| self.fault(&error))?;
        *newest = writes.iter().map(Write::write_clock).fold(*newest, Micros::max);
        // The writes are durable: what cannot be deleted now is deleted after a later write.
        if let Err(error) = retention::expire(connection, self.options.retention, *newest) {
            tracing::warn!(%error, path = %self.path.display(), "expired rows could not be deleted");
        }
        Ok(())
    }

    fn windows(
        &self,
        device: &str,
        metric: &str,
        window: &str,
        span: Span,
        page: &Page,
    ) -> Result<Listed<Aggregate>, StoreError> {
        self.read(|connection| read::windows(connection, (device, metric, window), span, page))
    }

    fn latest(&self, device: &str) -> Result<Vec<Aggregate>, StoreError> {
        self.read(|connection| read::latest(connection, device))
    }

    fn scores(
        &self,
        device: &str,
        model: Option<&str>,
        span: Span,
        page: &Page,
    ) -> Result<Listed<Score>, StoreError> {
        self.read(|connection| read::scores(connection, device, model, span, page))
    }

    fn alerts(&self, device: Option<&str>, span: Span, page: &Page) -> Result<Listed<Alert>, StoreError> {
        self.read(|connection| read::alerts(connection, device, span, page))
    }

    fn devices(&self, page: &Page) -> Result<Listed<DeviceRow>, StoreError> {
        self.read(|connection| read::devices(connection, page))
    }

    fn device(&self, device: &str) -> Result<Option<DeviceRow>, StoreError> {
        self.read(|connection| read::device(connection, device))
    }

    fn totals(&self) -> Result<Option<StoreTotals>, StoreError> {
        self.count().map(Some)
    }

    fn count(&self) -> Result<StoreTotals, StoreError> {
        self.read(read::totals)
    }
}

#[cfg(test)]
mod tests;

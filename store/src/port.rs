//! The port: idempotent writes by write clock, and the queries the API asks. Synchronous; a driver that is async
//! inside bridges by itself.

use schemas::Micros;
use schemas::record::{Aggregate, Alert, DeviceLatest, Score};

/// One write.
#[derive(Clone, Debug, PartialEq)]
pub enum Write {
    /// Into `windows` (a `retracted` one deletes its row), and into `latest` when no later window of its series
    /// is there.
    Aggregate(Aggregate),
    /// Into `scores`.
    Score(Score),
    /// Into `alerts_by_device` and `alerts_by_day`.
    Alert(Alert),
    /// Into `devices`.
    Device(DeviceLatest),
}

impl Write {
    /// The record's write clock.
    #[must_use]
    pub const fn write_clock(&self) -> Micros {
        match self {
            Self::Aggregate(row) => row.write_clock,
            Self::Score(row) => row.write_clock,
            Self::Alert(row) => row.write_clock,
            Self::Device(row) => row.write_clock,
        }
    }
}

/// A time range `[from, to)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// First instant.
    pub from: Micros,
    /// First instant after.
    pub to: Micros,
}

/// A page of a list: at most `limit` items after the place `cursor` stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Items.
    pub limit: u32,
    /// Opaque; from the answer before.
    pub cursor: Option<String>,
}

/// Items and where they go on.
#[derive(Clone, Debug, PartialEq)]
pub struct Listed<T> {
    /// The items.
    pub items: Vec<T>,
    /// Cursor of the next page; none: that was all.
    pub next: Option<String>,
}

/// A device as the store knows it.
#[derive(Clone, Debug, PartialEq)]
pub struct DeviceRow {
    /// Its id.
    pub device_id: String,
    /// Metadata, if any was sent.
    pub metadata: Option<DeviceLatest>,
    /// Receipt time of the last stored window's last reading.
    pub seen_at: Option<Micros>,
    /// Number of alerts stored; none: not counted here.
    pub alerts: Option<u64>,
}

/// Rows counted by table: what the books compare.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreTotals {
    /// Rows in `windows`.
    pub windows: u64,
    /// Rows in `scores`.
    pub scores: u64,
    /// Rows in `alerts_by_device`.
    pub alerts: u64,
    /// Rows in `devices`.
    pub devices: u64,
}

/// The serving store.
pub trait Store: Send + Sync {
    /// Applies writes; returns once all are durable. All of them may be applied again without effect.
    ///
    /// # Errors
    /// [`StoreError`]; some of the writes may then have been applied.
    fn write(&self, writes: &[Write]) -> Result<(), StoreError>;

    /// Windows of one series, newest first.
    ///
    /// # Errors
    /// [`StoreError`].
    fn windows(
        &self,
        device: &str,
        metric: &str,
        window: &str,
        span: Span,
        page: &Page,
    ) -> Result<Listed<Aggregate>, StoreError>;

    /// Newest window of every (metric, window) of a device, by metric then window name.
    ///
    /// # Errors
    /// [`StoreError`].
    fn latest(&self, device: &str) -> Result<Vec<Aggregate>, StoreError>;

    /// Scores of a device, newest first.
    ///
    /// # Errors
    /// [`StoreError`].
    fn scores(
        &self,
        device: &str,
        model: Option<&str>,
        span: Span,
        page: &Page,
    ) -> Result<Listed<Score>, StoreError>;

    /// Alerts, newest first, of one device or of all.
    ///
    /// # Errors
    /// [`StoreError`].
    fn alerts(&self, device: Option<&str>, span: Span, page: &Page) -> Result<Listed<Alert>, StoreError>;

    /// Devices, each once, in an order of the store's own that stays the same from page to page: by id in the
    /// embedded store, by hash of the id in a wide-row store, which does not count the alerts of a list either.
    ///
    /// # Errors
    /// [`StoreError`].
    fn devices(&self, page: &Page) -> Result<Listed<DeviceRow>, StoreError>;

    /// One device; its alerts are counted up to a bound of the store's own.
    ///
    /// # Errors
    /// [`StoreError`].
    fn device(&self, device: &str) -> Result<Option<DeviceRow>, StoreError>;

    /// Row counts, if the store keeps them: cheap, to be asked as often as one likes.
    ///
    /// # Errors
    /// [`StoreError`].
    fn totals(&self) -> Result<Option<StoreTotals>, StoreError>;

    /// Row counts, by reading everything where they are not kept: for checks, never for a page. Rows written or
    /// deleted meanwhile may or may not be counted.
    ///
    /// # Errors
    /// [`StoreError`]; [`StoreError::Retry`] when it takes longer than the store allows.
    fn count(&self) -> Result<StoreTotals, StoreError>;
}

/// What can go wrong, sorted by what the caller does next.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The world is at fault: back off and write all of it again.
    #[error("the store could not do it now: {0}")]
    Retry(String),
    /// The cursor or another argument cannot be read.
    #[error("{0}")]
    Argument(String),
    /// The login is refused, or the role lacks a right: stop. The text says what to grant.
    #[error("{0}")]
    Denied(String),
    /// Stop.
    #[error("{0}")]
    Fatal(String),
}

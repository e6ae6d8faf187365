//! What only the running pipeline knows, as a trait: the program fills it in from the processor, the sink, ingest
//! and the backlog monitor, or, in a dashboard of its own, by asking their admin addresses.

use serde_json::Value;

/// Nobody could say now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unavailable(pub String);

/// The running pipeline's own figures. Called off the async threads: an answer may wait, but for a bounded time.
///
/// Values are JSON objects. The page reads the members named here and shows others as they are.
pub trait LiveView: Send + Sync {
    /// The closed books: `{"balanced": bool, "stages": [{"stage", "unit", "balanced", "received",
    /// "outcomes": {name: n}, "in_flight", "difference", "besides": {name: n}, "partitions": [the same, with
    /// "partition"]}]}`.
    ///
    /// # Errors
    /// [`Unavailable`].
    fn books(&self) -> Result<Value, Unavailable>;

    /// The backlog: `{"sentence", "partitions": [{"topic", "partition", "lag_records", "lag_seconds",
    /// "arrival_rate", "service_rate", "drain_seconds": {"p10", "p50", "p90"}, "state"}]}`.
    ///
    /// # Errors
    /// [`Unavailable`].
    fn lag(&self) -> Result<Value, Unavailable>;

    /// A device's clock and open panes; none: no state is kept of it.
    ///
    /// # Errors
    /// [`Unavailable`].
    fn device_state(&self, device_id: &str) -> Result<Option<Value>, Unavailable>;

    /// Models and their roles: `{"items": [{"name", "component", "threshold", ...}]}`.
    ///
    /// # Errors
    /// [`Unavailable`].
    fn models(&self) -> Result<Value, Unavailable>;
}

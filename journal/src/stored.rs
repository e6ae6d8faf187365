//! A record taken out of a reader's buffer, for those who keep it.

use crate::port::{Header, RecordRef, TopicPartition};
use schemas::Micros;

/// A committed record, owned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRecord {
    /// Where it is.
    pub partition: TopicPartition,
    /// Offset.
    pub offset: i64,
    /// Receipt time.
    pub received_at: Micros,
    /// Key.
    pub key: Option<Vec<u8>>,
    /// Value.
    pub value: Vec<u8>,
    /// Headers.
    pub headers: Vec<Header>,
}

impl StoredRecord {
    /// Copies a record of a partition.
    #[must_use]
    pub fn copy(partition: TopicPartition, record: &RecordRef<'_>) -> Self {
        Self {
            partition,
            offset: record.offset,
            received_at: record.received_at,
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.to_vec(),
            headers: record.headers.to_vec(),
        }
    }
}

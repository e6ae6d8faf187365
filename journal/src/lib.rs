//! The log port: topics, partitions, offsets, groups, atomic commit of outputs with offsets; and its adapters.
//!
//! Lives here: the port ([`port`]), the in-memory adapter with virtual time and injected faults (`memory`), the
//! SQLite adapter (`sqlite`), the group coordinator both share (`group`), and the conformance suite every
//! adapter passes (`conformance`). Does not live here: what a record means (`schemas`).
//!
//! Invariants:
//! * An append or a commit answers only after it is durable.
//! * Receipt times are assigned by the journal and never go backwards within a partition.
//! * A reader sees committed records only, in offset order. Offsets rise; they need not be consecutive.
//! * Outputs, offsets and metadata of one commit become visible together or not at all.

#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod consumer;
pub mod group;
mod headers;
pub mod ids;
pub mod kafka;
mod layout;
pub mod memory;
pub mod port;
mod published;
mod retention;
mod segment;
pub mod sqlite;
mod stored;
mod wake;

pub use layout::{METADATA_BYTES_MAX, PARTITIONS_MAX, RECORD_BYTES_MAX};
pub use retention::Retention;
pub use stored::StoredRecord;

//! Every contract that crosses a process: topics, keys, record types, their Avro schemas and codecs.
//!
//! Lives here: what a byte on a topic means. Does not live here: how bytes get there (`journal`), what is
//! computed from them (`processor`), or any I/O but asking a schema registry ([`registry`], behind a feature).
//!
//! Invariants:
//! * Only this crate names `apache_avro` and `schema_registry_converter`.
//! * Every value on every topic is Confluent-framed Avro (`0x00`, 4-byte big-endian schema id, datum), except
//!   bare JSON readings that foreign producers put on `iot.raw`, told apart by the first byte.
//! * Times are integer microseconds since the epoch; intervals are half-open.
//! * Null ("measured, no value") and absent (not measured) are different and stay so end to end.

pub mod avro;
pub mod codec;
pub mod compatibility;
pub mod contract;
mod event_time;
pub mod grammar;
pub mod json;
pub mod partition;
pub mod pipeline;
pub mod raw;
pub mod reason;
pub mod record;
#[cfg(feature = "registry")]
pub mod registry;
pub mod roles;
pub mod topic;
pub mod usual;
pub mod view;

/// Microseconds since the Unix epoch, or a span of microseconds.
pub type Micros = i64;

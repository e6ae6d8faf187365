//! The serving port: latest windows, series, scores, alerts and devices, by device and time; and its adapters.
//!
//! Lives here: the port ([`port`]), the SQLite adapter ([`sqlite`]), the Cassandra and ScyllaDB adapter ([`cql`]), and
//! the suite that every adapter passes ([`conformance`]). Does not live here: deciding what to write (`sink`) or how a query is asked for
//! (`dashboard`).
//!
//! Invariants:
//! * Every write carries its record's write clock; an older one never covers a newer one; writing twice is as
//!   writing once.
//! * A retraction is a write: it deletes with its own write clock and keeps deleting older rows that arrive later.

pub mod conformance;
pub mod cql;
mod cursor;
pub mod feed;
mod key;
mod kind;
mod nested;
mod paging;
pub mod port;
pub mod sqlite;

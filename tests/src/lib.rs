//! The harness of the end-to-end scenarios: the real binary, started as a process of its own, reached over HTTP and
//! signals only.
//!
//! Does not live here: the scenarios (`tests/`), or any code of the pipeline.
//!
//! `cargo test -p e2e` builds the binary first. `HIGHWATER_BIN` names another one to be tested; `E2E_KILLS` and
//! `E2E_SEED` make the kills more, and other ones; `E2E_FULL=1` runs the faults that CI has no time for
//! (`tests/faults`). Scenarios with Kafka, Cassandra and a schema registry find them by what `tests/stack/up` prints.
//!
//! Invariants:
//! * Nothing waits for a length of time: every wait is for something, and bounded.
//! * A process that a test started is gone when the test is over, also when it fails.

mod binary;
mod cluster;
mod cql;
mod gate;
mod instance;
pub mod ledger;
pub mod past;
mod ports;
mod proxy;
mod real;
mod results;
pub mod stored;
mod wait;
pub mod watch;

pub use binary::{Finished, highwater};
pub use cluster::Cluster;
pub use cql::CqlConnection;
pub use gate::{Api, Awaited, Gate, Held, Moment};
pub use instance::{Answer, Home, Instance};
pub use proxy::RegistryProxy;
pub use real::{real, skipped};
pub use results::Results;
pub use wait::{WAIT_MAX, eventually, for_at_most};

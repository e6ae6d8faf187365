//! The door: `POST /v1/readings` and what else changes results from outside (`PUT` and `DELETE /v1/devices/{id}`,
//! `POST /v1/ends`). It takes readings apart, checks each, and acknowledges those that are durable in the journal.
//!
//! Lives here, in the order a request meets it: [`config`] its limits, `admission` the memory it may take,
//! `encoding` its compression, `split` one body to many readings, `batch` readings to records, `scrub` what is not to be kept of them, `door` records to
//! the journal, [`books`] what became of every reading, `http` the answers. Does not live here: what a reading may
//! look like (`schemas`), durability (`journal`), who may ask (`chassis::auth`).
//!
//! Invariants:
//! * A reading is acknowledged only after the journal says that it is durable.
//! * A reading that is refused is a dead letter in the same append, or the whole request is turned away.
//! * 413, 429 and 503 mean that nothing of the request was acknowledged.
//! * Event time is never invented here: a reading without `ts` stays without.

mod admission;
pub mod app;
mod batch;
pub mod books;
pub mod config;
mod door;
mod encoding;
mod http;
mod scrub;
mod split;

pub use app::{Ingest, IngestDeps, start};
pub use books::IngestBooks;
pub use config::{IngestConfig, RawIngest};

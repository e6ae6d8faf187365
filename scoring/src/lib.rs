//! Models that score readings: which versions are loaded, each partition's model state, and the columnar batches
//! that go through the WebAssembly host. Does not live here: wasmtime (`scoring_host`), what is done with a score
//! (`processor`), which models are in force (`schemas::pipeline`).
//!
//! ```text
//! let loader = Loader::new(source, LoaderConfig::default())?;      // one per process
//! let mut lane = Lane::new(&loader.load(&pipeline.models)?);       // one per partition
//! let mut flushed = Flushed::default();                            // reused
//! if !lane.fits(reading.values.len()) { lane.flush(&mut flushed)?; }
//! let row = lane.push(&reading, |metric| names[metric])?;
//! lane.flush(&mut flushed)?;
//! for verdict in flushed.verdicts(row, 0) { .. }                   // by model, for the first value of that reading
//! ```
//!
//! A model with `inputs: columns` has one row a reading; its verdict stands at the first of its columns that the
//! reading carries.
//!
//! Invariants:
//! * What a row scores depends on the rows before it in the log, the model's version and nothing else: not on how
//!   the log is cut into batches, not on the machine's speed (`runner` says why).
//! * The host owns the state: a failed row leaves its series as it was.
//! * A flush is all or nothing.

mod counters;
mod lane;
mod loader;
mod queue;
mod runner;
mod saved;
pub mod shipped;
mod slab;
mod source;
mod verdict;

pub use counters::Counters;
pub use lane::{Braked, Full, Input, Lane, Reading, Row};
pub use loader::{INPUTS_MAX, LoadError, Loader, LoaderConfig, ModelInfo, ModelSet, version_of};
pub use queue::ROWS_MAX;
pub use saved::LoadStateError;
pub use scoring_host::{Failure, HostLimits, Refused};
pub use source::{ComponentSource, SourceError};
pub use verdict::{FailedRow, Flushed, Verdict};

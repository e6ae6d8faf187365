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
//! * With trusted keys, bytes that are compiled and run are those that a trusted key has signed, or come with this build.

mod breaker;
pub mod conformance;
mod counters;
mod evidence;
mod gathered;
mod handover;
mod lane;
mod loader;
mod profile;
mod queue;
mod runner;
mod saved;
pub mod shipped;
mod signing;
mod slab;
mod source;
pub mod templates;
mod verdict;

pub use breaker::{FAILED_MAX, PAUSE_ROWS, WINDOW_ROWS};
pub use counters::Counters;
pub use evidence::{
    BATCH_FILE_BYTES_MAX, FailedBatch, FailedBatchRow, Recorded, ReplayError, Replayed, Witness,
};
pub use gathered::{GatheredRow, Onlooker, bystander};
pub use handover::Translated;
pub use lane::{Braked, ClosedRow, Full, Input, Lane, Reading, Row};
pub use loader::{
    ARTIFACT_BYTES_MAX, INPUTS_MAX, LoadError, Loader, LoaderConfig, ModelInfo, ModelSet, Role, version_of,
};
pub use profile::{Configured, FunctionShare, PROFILE_ROWS_MAX, Profile, profile, profile_batch};
pub use queue::ROWS_MAX;
pub use saved::LoadStateError;
pub use scoring_host::{
    ChildError, CompileOrder, CompilerChild, Compiling, Failure, HostLimits, Refused, compile_piped,
};
pub use signing::{KeyError, SIGNATURE_BYTES_MAX, SignatureError, TRUSTED_KEYS_MAX, TrustedKeys};
pub use source::{ComponentSource, Directory, Places, Provenance, SourceError};
pub use verdict::{FailedRow, Flushed, Verdict};

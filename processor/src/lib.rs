//! The fold from the log to results, and the machinery that makes its results appear exactly once.
//!
//! Lives here: the configuration of both ([`config`]); the fold ([`state`], [`step`], [`outputs`]), pure; the
//! machinery (`worker`, `commit`, `snapshot`, `recovery`, [`controller`]), started by [`run`]; what operators ask
//! ([`ops`], [`view`]). Does not live here: windows (`windowing`), models (`scoring`), bytes on topics (`schemas`),
//! the log (`journal`), the store (`sink`).
//!
//! Invariants:
//! * What is computed is a function of the log alone. `step` and `state` know no clock, no I/O, no randomness.
//! * Batches, commits, snapshots, workers and crashes change no byte of any output.
//! * A record that cannot be used is a dead letter; it never stops a partition.

mod commit;
pub mod components;
pub mod config;
pub mod controller;
mod decoded;
mod mutation;
mod observe;
pub mod ops;
pub mod outputs;
mod recovery;
pub mod rollout;
pub mod run;
mod snapshot;
pub mod state;
pub mod step;
pub mod view;
mod worker;

#[cfg(test)]
mod trials;

pub use controller::Controller;
pub use run::{Processor, Start};
pub use worker::WorkerError;

/// The group whose committed positions are the processor's.
pub const GROUP: &str = "highwater-processor";
/// The group whose one partition's owner decides.
pub const CONTROLLER_GROUP: &str = "highwater-controller";

//! The scoring path as the processor uses it, against real components. One binary, so that each component is
//! compiled once.

#![allow(clippy::unwrap_used, reason = "what fails in here fails the test")]

#[path = "scoring/batches.rs"]
mod batches;
#[path = "scoring/conformance.rs"]
mod conformance;
#[path = "scoring/detectors.rs"]
mod detectors;
#[path = "scoring/evidence.rs"]
mod evidence;
#[path = "scoring/forest.rs"]
mod forest;
#[path = "scoring/golden.rs"]
mod golden;
#[path = "scoring/hostile.rs"]
mod hostile;
#[path = "scoring/limits.rs"]
mod limits;
#[path = "scoring/native.rs"]
mod native;
#[path = "scoring/record.rs"]
mod record;
#[path = "scoring/rig.rs"]
mod rig;
#[path = "scoring/signing.rs"]
mod signing;
#[path = "scoring/state.rs"]
mod state;
#[path = "scoring/trees.rs"]
mod trees;

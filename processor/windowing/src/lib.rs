//! The pure event-time core: every device keeps its own time.
//!
//! Lives here: clocks, assigners, panes, timers, seals, duplicates, for all devices of one partition. Does not
//! live here: decoding, metadata, models, I/O, wall clocks, randomness, unordered iteration. The rules are in
//! `docs/windowing.md`, sentence by sentence.
//!
//! Invariants:
//! * Everything is a function of the calls in their order: same calls, same events, to the byte.
//! * Timers due at a receipt time fire before the record that brought it is applied; ties by (deadline, device
//!   id, window definition's index, start).
//! * One reading has one outcome.

pub mod api;
pub mod id;
pub mod pages;
pub mod partition;

mod accumulator;
mod assigner;
mod configure;
mod contribute;
mod device;
mod effects;
mod explain;
mod footprint;
#[cfg_attr(feature = "mutations", doc(hidden), allow(missing_docs, reason = "for this crate's tests only"))]
#[cfg(feature = "mutations")]
pub mod mutation;
#[cfg(not(feature = "mutations"))]
mod mutation;
mod pane;
mod seal;
mod sequence;
mod session;
mod shelf;
mod slices;
mod snapshot;
mod timers;
mod track;

//! The pure event-time core: every device keeps its own time.
//!
//! Lives here: clocks, assigners, panes, timers, seals, duplicates, for all devices of one partition. Does not
//! live here: decoding, metadata, models, I/O, wall clocks, randomness, unordered iteration.
//!
//! Invariants:
//! * Everything is a function of the calls in their order: same calls, same events, to the byte.
//! * Timers due at a receipt time fire before the record that brought it is applied; ties by (deadline, device
//!   id, window definition's index, start).
//! * One reading has one outcome.

pub mod api;

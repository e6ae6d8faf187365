//! The backlog: how much is unread, how old it is, and which way it goes.
//!
//! Lives here: pure functions over samples ([`Sample`], [`backlog`], [`Tracker`]), one adapter that takes samples
//! through the journal's port ([`Monitor`]), and the names under which the figures are published ([`series`]).
//! Does not live here: publishing them, or waiting for the next sample.
//!
//! Invariants:
//! * No figure is ever negative, NaN, infinite or a stand-in such as -1: what is not known is absent.
//! * Committed offsets are read before end offsets, so lag can be over-stated by a moment, never under zero.
//! * Lag in seconds is the age of the oldest unread record by receipt time; without unread records it is 0.
//!   Records that retention took are counted as lost and make nothing else larger.

mod monitor;
mod rate;
mod report;
mod sample;
mod series;
mod tracker;

pub use monitor::Monitor;
pub use report::{LagReport, Line, report};
pub use sample::{Backlog, Sample, backlog};
pub use series::{Labels, Series, series};
pub use tracker::{GroupLag, PartitionLag, Rules, State, Tracker, group};

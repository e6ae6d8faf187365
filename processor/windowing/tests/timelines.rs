//! Timelines with expectations worked out by hand, one name for each statement they show.

#[path = "oracle/naive.rs"]
mod naive;
#[path = "timelines/notation.rs"]
mod notation;

#[path = "timelines/clocks.rs"]
mod clocks;
#[path = "timelines/jumps.rs"]
mod jumps;
#[path = "timelines/offline.rs"]
mod offline;
#[path = "timelines/rules.rs"]
mod rules;
#[path = "timelines/sessions.rs"]
mod sessions;
#[path = "timelines/silence.rs"]
mod silence;
#[path = "timelines/together.rs"]
mod together;

//! The door as a client sees it: real HTTP on a free port, against a journal that does what the test tells it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod back_pressure;
mod bad_input;
mod described;
mod durable;
mod fake;
mod good_input;
mod stop;

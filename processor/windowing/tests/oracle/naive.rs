//! The rules of `docs/windowing.md` once more, by brute force, and what is needed to hold the engine against them.
//!
//! Lives here: the slow model, histories, the comparison. It shares no code with the engine: only the types that
//! both are asked in and answer with. Every test of this directory includes these modules.

#![allow(dead_code, reason = "every test includes all of it and uses its part")]

pub(crate) mod compare;
pub(crate) mod history;
pub(crate) mod model;
pub(crate) mod moves;
pub(crate) mod numbers;
pub(crate) mod observe;
pub(crate) mod pane;
pub(crate) mod rows;
pub(crate) mod seeded;
pub(crate) mod sequence;

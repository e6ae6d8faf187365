//! What the benchmarks share: the workload, the clock, the table. The benchmarks are `src/bin`; how to run them, what
//! came out and what limits it is in `README.md`.
//!
//! Does not live here: anything that the product runs.

pub mod alone;
pub mod at_least_once;
pub mod drain;
pub mod home;
pub mod measure;
pub mod nab;
pub mod workload;

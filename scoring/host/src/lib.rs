//! Runs scoring models: WebAssembly components of the world `highwater:scoring/scorer` (`scoring/wit`).
//!
//! Lives here: everything that names wasmtime - configuration of the engine, compiling and caching, the limits a
//! guest runs in, and one guarded call. Does not live here: which models are in force, whose state goes into a batch,
//! and what follows from a score (`scoring`, `processor`).
//!
//! Invariants:
//! * Whether a call succeeds depends on the component, its settings and the call's arguments; never on time. Fuel
//!   decides. The epoch deadline is a brake: what it stops has no result at all ([`CallError::Braked`]).
//! * An instance that failed in any way is never entered again.
//! * A guest reaches nothing but `host-log` and `host-metrics`, both bounded, and a WASI with nothing behind it (`inert`).
//! * What a guest returns is believed only after [`Scored`] was checked against the batch and the descriptor.

mod bindings;
mod cache;
mod compiling;
mod descriptor;
mod engine;
mod inert;
mod inside;
mod plugin;
mod session;

pub use cache::Cache;
pub use compiling::{ChildError, CompileOrder, CompilerChild, Compiling, compile_piped};
pub use descriptor::{Descriptor, Feature, MissingRule, StateId};
pub use engine::{Component, Host, HostLimits};
pub use inside::{LogLevel, LogLine};
pub use plugin::{Plugin, Refused};
pub use session::{Batch, CallError, Failure, ROW_SKIPPED, ROW_WARM_UP, Scored, Session, SessionCounts};

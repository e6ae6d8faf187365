//! A simulated fleet with known truth: devices with seeded faults, sent over HTTP on an open-loop schedule, with
//! everything that must come out of the pipeline written down while it is sent.
//!
//! Lives here: the fleet ([`Fleet`]), the load ([`run`]), the truth ([`Truth`]) and the comparison of the query
//! API with it ([`verify`]). Does not live here: anything of the pipeline. Not one line is shared with the
//! processor, so that an error cannot be made twice in the same way and cancel out.
//!
//! Invariants:
//! * The same seed, rate and start give the same readings, byte for byte.
//! * A slow server never slows the schedule: latency counts from the time a reading was due.
//! * A device stays behind one gateway (connection), so its readings leave in the order of the plan.
//! * A reading is in exactly one of: acknowledged, refused at the door, uncertain (sent, no answer).

mod device;
mod fleet;
mod http;
mod ledger;
mod preset;
mod profile;
mod random;
mod report;
mod run;
mod truth;
mod verify;

pub use fleet::{Expect, Fleet, Plan, Planned};
pub use profile::{FaultProfile, FleetConfig, FleetError, MetricProfile};
pub use random::Random;
pub use report::{Latency, Report};
pub use run::{Load, Progress, RunConfig, RunError, run};
pub use truth::{Anomaly, AnomalyKind, Expected, Series, Truth, TruthWindow, Value, WindowsOf};
pub use verify::{Difference, Verification, VerifyError, verify};

/// Microseconds since the Unix epoch, or a span of microseconds.
pub type Micros = i64;

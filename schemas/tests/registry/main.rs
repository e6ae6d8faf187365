//! The client of a schema registry: against a small server that gives every class of answer, and against a real
//! registry when `HIGHWATER_TEST_REGISTRY` names one.

mod answers;
mod fake;
mod real;
mod registering;
mod remembering;

use schemas::registry::{Registry, RegistryConfig};
use std::time::Duration;

/// Longest wait for what must come: a machine under load is slow, not wrong.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// Limits under which a test sees the answer itself, however slow the machine.
fn config(urls: &[&str]) -> RegistryConfig {
    RegistryConfig {
        timeout: WAIT_MAX,
        patience: 2 * WAIT_MAX,
        ..RegistryConfig::new(urls.iter().map(|url| (*url).to_owned()).collect())
    }
}

fn registry(urls: &[&str]) -> Registry {
    Registry::new(config(urls)).expect("a client")
}

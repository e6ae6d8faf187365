//! Ports for what a test starts.
//!
//! Does not live here: who listens on them.
//!
//! Invariant: a process gives every other port before it gives one again, and none that the system gives to outgoing
//! connections. A service that is killed and started again must find its port as it left it; one from the system's
//! range is soon some client's.

use anyhow::{Result, bail};
use std::net::TcpListener;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// Under Linux's `ip_local_port_range` and over the ports of `tests/stack`.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// How far the process has come, from a place of its own: another one may be looking as well.
static NEXT: LazyLock<AtomicU32> = LazyLock::new(|| AtomicU32::new(std::process::id().wrapping_mul(97)));

/// Ports on which nobody listens now.
///
/// # Errors
/// When all are in use.
pub(crate) fn free_ports<const COUNT: usize>() -> Result<[u16; COUNT]> {
    let mut ports = [0; COUNT];
    for port in &mut ports {
        *port = free_port(&NEXT)?;
    }
    Ok(ports)
}

fn free_port(next: &AtomicU32) -> Result<u16> {
    let ports: Vec<u16> = PORTS.collect();
    for _ in &ports {
        let port = ports[next.fetch_add(1, Ordering::Relaxed) as usize % ports.len()];
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("every port of {PORTS:?} is in use")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_differ_and_are_not_those_of_outgoing_connections() {
        let [first, second] = free_ports().unwrap();
        let [third] = free_ports().unwrap();
        assert!(first != second && second != third && first != third);
        assert!([first, second, third].iter().all(|port| PORTS.contains(port)));
    }

    #[test]
    fn one_in_use_is_passed_over() {
        let next = AtomicU32::new(7);
        let held = TcpListener::bind(("127.0.0.1", free_port(&next).unwrap())).unwrap();
        next.fetch_sub(1, Ordering::Relaxed);
        assert_ne!(free_port(&next).unwrap(), held.local_addr().unwrap().port());
    }
}

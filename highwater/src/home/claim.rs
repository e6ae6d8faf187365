//! One name, one process: two of them under the same name in a group would throw each other out again and again.
//!
//! The claim is a socket in the system's abstract namespace, so it ends with the process however that ends, and each
//! container has its own. Across hosts, and where the system has no such namespace, the journal tells: the older one
//! is fenced.

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};
#[cfg(target_os = "linux")]
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};

/// Held by the process that has the name.
#[derive(Debug)]
pub(super) struct Claim {
    _socket: Option<UnixListener>,
}

impl Claim {
    /// Takes `name` in `group` of the journal at `home`.
    ///
    /// # Errors
    /// When another process of this host has it.
    pub(super) fn take(home: &str, group: &str, name: &str) -> Result<Self> {
        let digest = Sha256::new().chain_update(home).chain_update([0]).chain_update(group);
        let digest = digest.chain_update([0]).chain_update(name).finalize();
        let short: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        let Some(address) = address(&short).context("naming this process's claim")? else {
            return Ok(Self { _socket: None });
        };
        match UnixListener::bind_addr(&address) {
            Ok(socket) => Ok(Self { _socket: Some(socket) }),
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => bail!(
                "another process of this host is `{name}` in {group} at {home}: give each its own name, such as \
                 --set process.instance={name}-2"
            ),
            Err(error) => Err(error).context("claiming the name of this process"),
        }
    }
}

#[cfg(target_os = "linux")]
fn address(name: &str) -> std::io::Result<Option<SocketAddr>> {
    SocketAddr::from_abstract_name(format!("highwater-{name}")).map(Some)
}

#[cfg(not(target_os = "linux"))]
fn address(_name: &str) -> std::io::Result<Option<SocketAddr>> {
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_taken_once_in_a_group_and_free_again_afterwards() {
        let home = format!("test-{}", std::process::id());
        let first = Claim::take(&home, "g", "a").expect("free");
        let told = Claim::take(&home, "g", "a").expect_err("taken").to_string();
        assert!(told.contains("process.instance=a-2"), "{told}");
        Claim::take(&home, "h", "a").expect("another group");
        Claim::take(&home, "g", "b").expect("another name");
        drop(first);
        Claim::take(&home, "g", "a").expect("free again");
    }
}

//! Of a process on a host: its name in the groups, its admin address, how long it waits at its start.

use chassis::config::Problems;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::time::Duration;

/// Longest name of an instance.
const NAME_CHARS_MAX: usize = 64;

/// `[admin]` as written.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct RawAdmin {
    /// Address.
    listen: Option<String>,
    /// How long a start waits for servers.
    start_patience: Option<String>,
}

/// `[admin]`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct AdminConfig {
    /// Address.
    pub(crate) listen: SocketAddr,
    /// How long a start waits for Kafka, the registry and the cluster; `/readyz` says for which.
    #[serde(serialize_with = "chassis::config::printed::duration")]
    pub(crate) start_patience: Duration,
}

impl RawAdmin {
    /// Checks and resolves.
    pub(crate) fn resolve(self, at: &str, problems: &mut Problems) -> AdminConfig {
        const PATIENCE: Duration = Duration::from_secs(60);
        let loopback = SocketAddr::from(([127, 0, 0, 1], 9600));
        AdminConfig {
            listen: problems.address(&format!("{at}.listen"), self.listen.as_deref(), loopback),
            start_patience: problems.duration(
                &format!("{at}.start-patience"),
                self.start_patience.as_deref(),
                PATIENCE,
            ),
        }
    }
}

/// The host's name, or the container's, as far as it can be the name of a group's member.
pub(super) fn host_name() -> Option<String> {
    let told = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let told = told.or_else(|| std::env::var("HOSTNAME").ok())?;
    let plain = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' };
    let name: String = told.trim().chars().map(plain).take(NAME_CHARS_MAX).collect();
    Some(name).filter(|name| !name.is_empty())
}

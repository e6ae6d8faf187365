//! Of a process on a host: its name in the groups, where it keeps what it may lose, how long it waits at its start.

use super::journal::JournalConfig;
use chassis::config::Problems;
use serde::{Deserialize, Serialize, Serializer};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Longest name of an instance.
const NAME_CHARS_MAX: usize = 64;
/// Says that machine code is kept nowhere.
const NOWHERE: &str = "none";

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

/// `[scoring]` as written.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct RawScoring {
    /// Directory, or `none`.
    cache_dir: Option<String>,
}

/// `[scoring]`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct ScoringConfig {
    /// Where compiled models are kept between starts; none: compiled at every start.
    #[serde(serialize_with = "directory")]
    pub(crate) cache_dir: Option<PathBuf>,
}

fn directory<S: Serializer>(path: &Option<PathBuf>, serializer: S) -> Result<S::Ok, S::Error> {
    match path {
        Some(path) => serializer.collect_str(&path.display()),
        None => serializer.serialize_str(NOWHERE),
    }
}

impl RawScoring {
    /// Beside the embedded journal; without one in the user's cache. Never in a directory that others can write to:
    /// what lies there is run.
    pub(crate) fn resolve(self, journal: &JournalConfig) -> ScoringConfig {
        let cache_dir = match self.cache_dir {
            Some(said) if said == NOWHERE => None,
            Some(said) => Some(PathBuf::from(said)),
            None => match journal.file() {
                Some(file) => Some(super::directory_of(file).join("models")),
                None => user_cache().map(|cache| cache.join("highwater").join("models")),
            },
        };
        ScoringConfig { cache_dir }
    }
}

fn user_cache() -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))
}

/// The host's name, or the container's, as far as it can be the name of a group's member.
pub(super) fn host_name() -> Option<String> {
    let told = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let told = told.or_else(|| std::env::var("HOSTNAME").ok())?;
    let plain = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' };
    let name: String = told.trim().chars().map(plain).take(NAME_CHARS_MAX).collect();
    Some(name).filter(|name| !name.is_empty())
}

//! Addresses of homes, and settings that belong to another one.

use chassis::config::Problems;
use serde::Serializer;
use std::fmt::Display;
use std::path::PathBuf;

/// The path of `sqlite:PATH`.
pub(super) fn sqlite_path(url: &str) -> Option<PathBuf> {
    url.strip_prefix("sqlite:").filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// `host:port,host:port`, each checked.
pub(super) fn hosts(text: &str) -> Result<Vec<String>, String> {
    let mut hosts = Vec::new();
    for host in text.split(',').map(str::trim) {
        let good = host.rsplit_once(':').is_some_and(|(name, port)| {
            let plain = |c: char| !c.is_whitespace() && !"/@?#".contains(c);
            !name.is_empty() && name.chars().all(plain) && port.parse::<u16>().is_ok_and(|port| port > 0)
        });
        if !good {
            return Err(format!("`{host}` is not `host:port`"));
        }
        hosts.push(host.to_owned());
    }
    Ok(hosts)
}

/// As the file has it.
pub(super) fn shown<T: Display, S: Serializer>(at: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(at)
}

/// What is said of settings that the home at `url` does not have.
pub(super) struct Other<'a, T> {
    /// Their section.
    pub(super) section: &'a str,
    /// The home that is configured.
    pub(super) url: &'a T,
    /// The home that has them.
    pub(super) wants: &'a str,
}

impl<T: Display> Other<'_, T> {
    /// Reports those that are there.
    pub(super) fn refuse(&self, settings: &[(&str, bool)], problems: &mut Problems) {
        let Self { section, url, wants } = self;
        for (name, _) in settings.iter().filter(|(_, said)| *said) {
            problems
                .add(format!("{section}.{name}"), format!("belongs to {wants}; `{section}.url` is `{url}`"));
        }
    }
}

//! What a registry's client is told: addresses, credentials, limits.

use std::path::PathBuf;
use std::time::Duration;

/// Addresses of one registry at most.
const URLS_MAX: usize = 8;
/// Longest wait for one address's answer, when nothing else is said.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(5);
/// How long a thread that decodes waits for a schema before it goes on with other partitions.
const PATIENCE: Duration = Duration::from_millis(500);
/// How long an id that the registry does not know is not asked for again.
const UNKNOWN_FOR: Duration = Duration::from_secs(10);
/// How long an id is not asked for again after a question that came to nothing.
const FAILED_FOR: Duration = Duration::from_secs(1);

/// Who we say we are.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum Access {
    /// Nobody.
    #[default]
    Open,
    /// A user with a password.
    Basic {
        /// User, or the name of a key.
        user: String,
        /// Password, or the key's secret.
        password: String,
    },
    /// The bearer of a token.
    Bearer {
        /// The token.
        token: String,
    },
}

impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Open => f.write_str("Open"),
            Self::Basic { user, .. } => f.debug_struct("Basic").field("user", user).finish_non_exhaustive(),
            Self::Bearer { .. } => f.debug_struct("Bearer").finish_non_exhaustive(),
        }
    }
}

/// A registry's client, configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryConfig {
    /// Addresses of the same registry, tried in turn, the one that answered last first.
    pub urls: Vec<String>,
    /// Credentials.
    pub access: Access,
    /// Certificates (PEM) that one of `https://` must lead to; none: those that the system trusts.
    pub ca: Option<PathBuf>,
    /// Longest wait for one answer of one address.
    pub timeout: Duration,
    /// How long [`crate::codec::IdTable::schema_of`] waits before it says "not yet".
    pub patience: Duration,
    /// How long an id that the registry does not know is not asked for again.
    pub unknown_for: Duration,
    /// How long an id is not asked for again after a question that came to nothing.
    pub failed_for: Duration,
}

impl RegistryConfig {
    /// A registry at these addresses, with the usual limits. See [`RegistryConfig::parse_urls`].
    #[must_use]
    pub fn new(urls: Vec<String>) -> Self {
        Self {
            urls,
            access: Access::Open,
            ca: None,
            timeout: TIMEOUT,
            patience: PATIENCE,
            unknown_for: UNKNOWN_FOR,
            failed_for: FAILED_FOR,
        }
    }

    /// Reads addresses as they are configured: `http://HOST:PORT[/PATH]`, with the feature `tls` `https://` too; several
    /// with commas.
    ///
    /// # Errors
    /// What is wrong, without repeating an address that carries a password.
    pub fn parse_urls(text: &str) -> Result<Vec<String>, String> {
        let urls: Vec<String> =
            text.split(',').map(|url| url.trim().trim_end_matches('/').to_owned()).collect();
        if urls.len() > URLS_MAX {
            return Err(format!("{} addresses, at most {URLS_MAX}", urls.len()));
        }
        for url in &urls {
            check_url(url)?;
        }
        Ok(urls)
    }
}

fn check_url(text: &str) -> Result<(), String> {
    let Ok(url) = text.parse::<reqwest::Url>() else {
        // What cannot be read could hold a password.
        let shown = if text.contains('@') { "an address" } else { text };
        return Err(format!("`{shown}` is not an address like http://127.0.0.1:8081"));
    };
    if !url.username().is_empty() || url.password().is_some() {
        return Err("an address carries a user or a password: they are settings of their own".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(format!("`{text}` goes on behind the path: an address ends there"));
    }
    match url.scheme() {
        "http" if url.has_host() => Ok(()),
        "https" if cfg!(feature = "tls") && url.has_host() => Ok(()),
        "https" => {
            Err(format!("`{text}`: this build has no TLS; build with `--features tls`, or use http://"))
        }
        _ => Err(format!("`{text}` is not an address like http://127.0.0.1:8081")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_separated_by_commas_and_end_without_a_slash() {
        let urls = RegistryConfig::parse_urls("http://a:8081/, http://b/apis/ccompat/v7");
        assert_eq!(urls, Ok(vec!["http://a:8081".to_owned(), "http://b/apis/ccompat/v7".to_owned()]));
    }

    #[test]
    fn what_is_no_address_is_named_and_a_password_is_not() {
        for (text, told) in [
            ("", "is not an address"),
            ("a:8081", "is not an address"),
            ("http://a,", "is not an address"),
            ("ftp://a", "is not an address"),
            ("http://a?x=1", "behind the path"),
            ("http://me:hunter2@a", "settings of their own"),
            ("http://me:hunter2@a:port", "an address"),
        ] {
            let why = RegistryConfig::parse_urls(text).unwrap_err();
            assert!(why.contains(told) && !why.contains("hunter2"), "{text}: {why}");
        }
        let encrypted = RegistryConfig::parse_urls("https://a");
        match cfg!(feature = "tls") {
            true => assert_eq!(encrypted, Ok(vec!["https://a".to_owned()])),
            false => assert!(encrypted.is_err_and(|why| why.contains("--features tls"))),
        }
        assert!(RegistryConfig::parse_urls(&["http://a"; URLS_MAX + 1].join(",")).is_err());
        assert!(RegistryConfig::parse_urls(&["http://a"; URLS_MAX].join(",")).is_ok());
    }

    #[test]
    fn credentials_are_not_printed() {
        let basic = Access::Basic { user: "me".to_owned(), password: "hunter2".to_owned() };
        let bearer = Access::Bearer { token: "hunter2".to_owned() };
        for access in [basic, bearer] {
            let printed = format!("{:?}", RegistryConfig { access, ..RegistryConfig::new(Vec::new()) });
            assert!(!printed.contains("hunter2"), "{printed}");
        }
    }
}

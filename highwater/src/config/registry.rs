//! `[registry]`: the schema registry that a Kafka home takes its schema ids from, and `schema` compares with.

use chassis::config::{Problems, Secret};
use schemas::registry::{Access, RegistryConfig};
use serde::{Deserialize, Serialize, Serializer};
use std::path::PathBuf;
use std::time::Duration;

/// Bounds on `timeout`.
const TIMEOUT_MIN: Duration = Duration::from_millis(10);
const TIMEOUT_MAX: Duration = Duration::from_secs(60);

/// `[registry]` as written.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct RawRegistry {
    /// Addresses, with commas.
    url: Option<String>,
    /// User of basic authentication.
    user: Option<String>,
    /// And the password.
    password: Option<Secret>,
    /// Bearer token instead.
    token: Option<Secret>,
    /// Certificates that an `https://` registry's must lead to.
    tls_ca: Option<PathBuf>,
    /// Longest wait for one answer.
    timeout: Option<String>,
}

/// `[registry]`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct RegistrySettings {
    #[serde(rename = "url", skip_serializing_if = "Vec::is_empty", serialize_with = "with_commas")]
    urls: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    password: Option<Secret>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<Secret>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls_ca: Option<PathBuf>,
    #[serde(serialize_with = "chassis::config::printed::duration")]
    timeout: Duration,
}

fn with_commas<S: Serializer>(urls: &[String], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&urls.join(","))
}

impl RawRegistry {
    /// Checks and resolves.
    pub(crate) fn resolve(self, at: &str, problems: &mut Problems) -> RegistrySettings {
        let key = |name: &str| format!("{at}.{name}");
        let urls = self.url.as_deref().map_or(Ok(Vec::new()), RegistryConfig::parse_urls);
        let urls = urls.unwrap_or_else(|why| {
            problems.add(key("url"), why);
            Vec::new()
        });
        match (&self.user, &self.password, &self.token) {
            (Some(_), _, Some(_)) | (_, Some(_), Some(_)) => {
                problems.add(key("token"), "stands beside a user or a password: one of the two");
            }
            (Some(_), None, None) => problems.add(key("password"), "is missing: `user` needs it"),
            (None, Some(_), None) => problems.add(key("user"), "is missing: `password` needs it"),
            _ => {}
        }
        for (name, secret) in [("password", &self.password), ("token", &self.token)] {
            let Some(secret) = secret else { continue };
            if self.url.is_none() {
                problems.add(key(name), "is set, and `url` is not");
            }
            if secret.expose() == secret.to_string() {
                problems.add(key(name), "is the asterisks that `config print` puts in its place");
            }
            if secret.expose().is_empty() || secret.expose().chars().any(char::is_control) {
                problems.add(key(name), "is empty or holds characters that no header can carry");
            }
        }
        let default = RegistryConfig::new(Vec::new()).timeout;
        let timeout = problems.duration(&key("timeout"), self.timeout.as_deref(), default);
        if !(TIMEOUT_MIN..=TIMEOUT_MAX).contains(&timeout) {
            problems.add(key("timeout"), format!("is outside {TIMEOUT_MIN:?} to {TIMEOUT_MAX:?}"));
        }
        if self.tls_ca.is_some() && !urls.iter().any(|url| url.starts_with("https:")) {
            problems.add(key("tls-ca"), "is set, and no address of `url` is https://");
        }
        let Self { user, password, token, tls_ca, .. } = self;
        RegistrySettings { urls, user, password, token, tls_ca, timeout }
    }
}

impl RegistrySettings {
    /// As the client takes it; none when no address is configured.
    pub(crate) fn client(&self) -> Option<RegistryConfig> {
        if self.urls.is_empty() {
            return None;
        }
        let exposed = |secret: &Secret| secret.expose().to_owned();
        let access = match (&self.user, &self.password, &self.token) {
            (Some(user), Some(password), _) => {
                Access::Basic { user: user.clone(), password: exposed(password) }
            }
            (_, _, Some(token)) => Access::Bearer { token: exposed(token) },
            _ => Access::Open,
        };
        let (ca, timeout) = (self.tls_ca.clone(), self.timeout);
        Some(RegistryConfig { access, ca, timeout, ..RegistryConfig::new(self.urls.clone()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(text: &str) -> (RegistrySettings, Vec<String>) {
        let raw: RawRegistry = toml::from_str(text).expect(text);
        let mut problems = Problems::default();
        let settings = raw.resolve("registry", &mut problems);
        (settings, problems.list().iter().map(|problem| problem.key.clone()).collect())
    }

    #[test]
    fn credentials_reach_the_client_and_no_page() {
        let basic = "url = \"http://a, http://b/\"\nuser = \"me\"\npassword = \"hunter2\"\ntimeout = \"2s\"";
        let (settings, wrong) = resolved(basic);
        assert!(wrong.is_empty(), "{wrong:?}");
        let client = settings.client().expect("an address");
        assert_eq!(client.urls, ["http://a", "http://b"]);
        assert_eq!(client.timeout, Duration::from_secs(2));
        assert_eq!(client.access, Access::Basic { user: "me".to_owned(), password: "hunter2".to_owned() });
        let printed = toml::to_string(&settings).expect("TOML");
        assert!(printed.contains("********") && !printed.contains("hunter2"), "{printed}");
        assert!(printed.contains("url = \"http://a,http://b\""), "{printed}");
        // The page is not a file that could be used by mistake.
        assert_eq!(resolved(&printed).1, ["registry.password"]);

        let (settings, wrong) = resolved("url = \"http://a\"\ntoken = \"hunter2\"");
        assert!(wrong.is_empty() && !format!("{settings:?}").contains("hunter2"), "{wrong:?} {settings:?}");
        let access = settings.client().expect("an address").access;
        assert_eq!(access, Access::Bearer { token: "hunter2".to_owned() });
    }

    #[test]
    fn without_an_address_there_is_no_registry() {
        let (settings, wrong) = resolved("");
        assert!(wrong.is_empty() && settings.client().is_none());
    }

    #[test]
    fn every_mistake_has_its_key() {
        for (text, keys) in [
            ("url = \"nonsense\"", &["registry.url"][..]),
            ("url = \"http://a\"\nuser = \"me\"", &["registry.password"]),
            ("url = \"http://a\"\npassword = \"x\"", &["registry.user"]),
            ("url = \"http://a\"\nuser = \"me\"\npassword = \"x\"\ntoken = \"y\"", &["registry.token"]),
            ("token = \"y\"", &["registry.token"]),
            ("url = \"http://a\"\ntoken = \"a\\nb\"", &["registry.token"]),
            ("url = \"http://a\"\ntoken = \"\"", &["registry.token"]),
            ("url = \"http://a\"\ntls-ca = \"ca.pem\"", &["registry.tls-ca"]),
            ("timeout = \"0s\"", &["registry.timeout"]),
            ("timeout = \"2m\"", &["registry.timeout"]),
            (
                "url = \"x\"\npassword = \"y\"\ntimeout = \"soon\"",
                &["registry.url", "registry.user", "registry.timeout"],
            ),
        ] {
            assert_eq!(resolved(text).1, keys, "{text}");
        }
    }
}

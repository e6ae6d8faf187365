//! `[store]`: where rows are, how long, and how a cluster is used.
//!
//! Invariant: a setting of the other home is a mistake that is reported, never one that does nothing.

use super::address::{self, Other, sqlite_path};
use anyhow::{Result, bail};
use chassis::config::{Problems, Secret};
use serde::{Deserialize, Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;
use store::cql::{Consistency, CqlConfig, Login, Replication, Tls};
use store::sqlite::{Retention, SqliteOptions};

/// Longest keyspace name that Cassandra takes.
const KEYSPACE_CHARS_MAX: usize = 48;
/// Longest time to live that Cassandra takes: 20 years.
const RETENTION_MAX: Duration = Duration::from_secs(630_720_000);

/// Where rows are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StoreAt {
    /// One file.
    Sqlite(PathBuf),
    /// A cluster's nodes to begin with, and the keyspace.
    Cql(Vec<String>, String),
}

impl fmt::Display for StoreAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Cql(nodes, keyspace) => write!(f, "cql://{}/{keyspace}", nodes.join(",")),
        }
    }
}

/// `[store]` as written.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct RawStore {
    /// `sqlite:PATH` or `cql://host:port,host:port/keyspace`.
    url: Option<String>,
    /// How long window rows are kept.
    windows_retention: Option<String>,
    /// How long scores are kept.
    scores_retention: Option<String>,
    /// How long alerts are kept.
    alerts_retention: Option<String>,
    /// CQL: role.
    user: Option<String>,
    /// CQL: its password.
    password: Option<Secret>,
    /// CQL: replicas that must answer.
    consistency: Option<String>,
    /// CQL: copies of a keyspace that is made: `3`, or `dc1:3,dc2:2`.
    replication: Option<String>,
    /// CQL: data centre whose nodes are asked.
    local_dc: Option<String>,
    /// CQL: requests of one write on the way at a time.
    concurrency_max: Option<u64>,
    /// CQL: for one request.
    request_timeout: Option<String>,
    /// CQL: for a connection to be made.
    connect_timeout: Option<String>,
    /// CQL: encrypted connections.
    tls: Option<bool>,
    /// CQL: certificates that the nodes' must lead to (PEM).
    tls_ca: Option<String>,
    /// CQL: our certificate (PEM).
    tls_certificate: Option<String>,
    /// CQL: its key (PEM).
    tls_key: Option<String>,
}

/// `[store]`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct StoreConfig {
    #[serde(rename = "url", serialize_with = "address::shown")]
    pub(crate) at: StoreAt,
    #[serde(serialize_with = "chassis::config::printed::duration")]
    pub(crate) windows_retention: Duration,
    #[serde(serialize_with = "chassis::config::printed::duration")]
    pub(crate) scores_retention: Duration,
    #[serde(serialize_with = "chassis::config::printed::duration")]
    pub(crate) alerts_retention: Duration,
    #[serde(flatten)]
    pub(crate) cql: Option<CqlSettings>,
}

/// What only a cluster has.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct CqlSettings {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) password: Option<Secret>,
    pub(crate) consistency: String,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "copies_or_none")]
    pub(crate) replication: Option<Copies>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) local_dc: Option<String>,
    pub(crate) concurrency_max: u64,
    #[serde(serialize_with = "chassis::config::printed::duration")]
    pub(crate) request_timeout: Duration,
    #[serde(serialize_with = "chassis::config::printed::duration")]
    pub(crate) connect_timeout: Duration,
    pub(crate) tls: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tls_ca: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tls_certificate: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tls_key: Option<PathBuf>,
}

/// Copies of a keyspace's rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Copies {
    /// So many, wherever.
    Anywhere(u32),
    /// So many in each data centre.
    Datacenters(BTreeMap<String, u32>),
}

impl Copies {
    fn parse(text: &str) -> Option<Self> {
        let count = |text: &str| text.trim().parse::<u32>().ok().filter(|count| (1..=100).contains(count));
        if let Some(count) = count(text) {
            return Some(Self::Anywhere(count));
        }
        let each = text.split(',').map(|part| {
            let (name, copies) = part.split_once(':')?;
            Some((Some(name.trim()).filter(|name| !name.is_empty())?.to_owned(), count(copies)?))
        });
        each.collect::<Option<_>>().map(Self::Datacenters)
    }
}

impl fmt::Display for Copies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anywhere(copies) => copies.fmt(f),
            Self::Datacenters(each) => {
                let each: Vec<String> =
                    each.iter().map(|(name, copies)| format!("{name}:{copies}")).collect();
                f.write_str(&each.join(","))
            }
        }
    }
}

fn copies_or_none<S: Serializer>(copies: &Option<Copies>, serializer: S) -> Result<S::Ok, S::Error> {
    match copies {
        Some(copies) => serializer.collect_str(copies),
        None => serializer.serialize_none(),
    }
}

fn place(key: &str, url: Option<&str>, problems: &mut Problems) -> StoreAt {
    const WANTED: &str = "`sqlite:PATH` or `cql://host:port,host:port/keyspace`";
    let url = url.unwrap_or("sqlite:data/store.db");
    if let Some(path) = sqlite_path(url) {
        return StoreAt::Sqlite(path);
    }
    let Some(rest) = url.strip_prefix("cql://") else {
        problems.add(key, format!("`{url}` is not {WANTED}"));
        return StoreAt::Sqlite(PathBuf::new());
    };
    let (nodes, keyspace) = rest.split_once('/').unwrap_or((rest, ""));
    let letters = |text: &str| text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_'));
    let begins = keyspace.bytes().next().is_some_and(|first| first.is_ascii_lowercase());
    if !begins || !letters(keyspace) || keyspace.len() > KEYSPACE_CHARS_MAX {
        problems.add(
            key,
            format!(
                "`{url}`: `{keyspace}` is no keyspace's name: a lower case letter, then such letters, digits and \
                 `_`, at most {KEYSPACE_CHARS_MAX} in all; wanted is {WANTED}"
            ),
        );
    }
    let nodes = address::hosts(nodes).unwrap_or_else(|why| {
        problems.add(key, format!("`{url}`: {why}; wanted is {WANTED}"));
        Vec::new()
    });
    StoreAt::Cql(nodes, keyspace.to_owned())
}

impl RawStore {
    /// Checks and resolves.
    pub(crate) fn resolve(self, at: &str, problems: &mut Problems) -> StoreConfig {
        const DAY: Duration = Duration::from_secs(86_400);
        let place = place(&format!("{at}.url"), self.url.as_deref(), problems);
        let mut kept = |name: &str, text: Option<&String>, days: u32| {
            let key = format!("{at}.{name}-retention");
            let kept = problems.duration(&key, text.map(String::as_str), DAY * days);
            let possible = Duration::from_secs(1)..=RETENTION_MAX;
            if matches!(place, StoreAt::Cql(..)) && !possible.contains(&kept) {
                problems.add(key, "a cluster keeps rows for a second to 20 years");
            }
            kept
        };
        let windows_retention = kept("windows", self.windows_retention.as_ref(), 90);
        let scores_retention = kept("scores", self.scores_retention.as_ref(), 30);
        let alerts_retention = kept("alerts", self.alerts_retention.as_ref(), 365);
        let cql = if matches!(place, StoreAt::Cql(..)) {
            Some(self.cql(at, problems))
        } else {
            Other { section: at, url: &place, wants: "a cluster, `cql://host:port/keyspace`" }
                .refuse(&self.of_cql(), problems);
            None
        };
        StoreConfig { at: place, windows_retention, scores_retention, alerts_retention, cql }
    }

    /// Settings that only a cluster has, and whether they are there.
    fn of_cql(&self) -> [(&'static str, bool); 12] {
        [
            ("user", self.user.is_some()),
            ("password", self.password.is_some()),
            ("consistency", self.consistency.is_some()),
            ("replication", self.replication.is_some()),
            ("local-dc", self.local_dc.is_some()),
            ("concurrency-max", self.concurrency_max.is_some()),
            ("request-timeout", self.request_timeout.is_some()),
            ("connect-timeout", self.connect_timeout.is_some()),
            ("tls", self.tls.is_some()),
            ("tls-ca", self.tls_ca.is_some()),
            ("tls-certificate", self.tls_certificate.is_some()),
            ("tls-key", self.tls_key.is_some()),
        ]
    }

    fn cql(self, at: &str, problems: &mut Problems) -> CqlSettings {
        let key = |name: &str| format!("{at}.{name}");
        let consistency = self.consistency.unwrap_or_else(|| "local-quorum".to_owned());
        if let Err(why) = consistency.parse::<Consistency>() {
            problems.add(key("consistency"), why);
        }
        let replication = self.replication.and_then(|text| {
            let copies = Copies::parse(&text);
            if copies.is_none() {
                let wanted =
                    "a number of copies, like \"3\", nor one for each data centre, like \"dc1:3,dc2:2\"";
                problems.add(key("replication"), format!("`{text}` is neither {wanted}"));
            }
            copies
        });
        if self.user.is_some() != self.password.is_some() {
            problems.add(key("user"), "`user` and `password` come together");
        }
        if self.tls_certificate.is_some() != self.tls_key.is_some() {
            problems.add(key("tls-certificate"), "`tls-certificate` and `tls-key` come together");
        }
        let files = self.tls_ca.is_some() || self.tls_certificate.is_some();
        let tls = self.tls.unwrap_or(files);
        if !tls && files {
            problems.add(key("tls"), "is false, and files for it are named");
        }
        if tls && !crate::telemetry::TLS {
            problems.add(key("tls"), "this build has no TLS; build with `--features tls`");
        }
        let span = |name: &str, text: Option<String>, seconds: u64, problems: &mut Problems| {
            problems.duration(&key(name), text.as_deref(), Duration::from_secs(seconds))
        };
        CqlSettings {
            user: self.user,
            password: self.password,
            consistency,
            replication,
            local_dc: self.local_dc,
            concurrency_max: problems.count(&key("concurrency-max"), self.concurrency_max, 128, 1, 4_096),
            request_timeout: span("request-timeout", self.request_timeout, 10, problems),
            connect_timeout: span("connect-timeout", self.connect_timeout, 5, problems),
            tls,
            tls_ca: self.tls_ca.map(PathBuf::from),
            tls_certificate: self.tls_certificate.map(PathBuf::from),
            tls_key: self.tls_key.map(PathBuf::from),
        }
    }
}

impl StoreConfig {
    /// How long rows are kept.
    pub(crate) const fn kept(&self) -> Retention {
        Retention {
            windows: Some(self.windows_retention),
            scores: Some(self.scores_retention),
            alerts: Some(self.alerts_retention),
        }
    }

    /// As the cluster's adapter takes it.
    ///
    /// # Errors
    /// When rows are in a file, or a consistency has no such name.
    pub(crate) fn cluster(&self) -> Result<CqlConfig> {
        let (StoreAt::Cql(nodes, keyspace), Some(cql)) = (&self.at, &self.cql) else {
            bail!("{} is no cluster", self.at);
        };
        let mut config = CqlConfig::new(nodes.clone(), keyspace);
        config.replication = cql.replication.clone().map(|copies| match copies {
            Copies::Anywhere(copies) => Replication::Simple(copies),
            Copies::Datacenters(each) => Replication::Datacenters(each),
        });
        config.consistency = cql.consistency.parse::<Consistency>().map_err(anyhow::Error::msg)?;
        if let (Some(user), Some(password)) = (&cql.user, &cql.password) {
            config.login = Some(Login { user: user.clone(), password: password.expose().to_owned() });
        }
        let certificate = cql.tls_certificate.clone().zip(cql.tls_key.clone());
        config.tls = cql.tls.then(|| Tls { ca: cql.tls_ca.clone(), certificate });
        config.local_dc.clone_from(&cql.local_dc);
        config.retention = self.kept();
        config.concurrency_max = usize::try_from(cql.concurrency_max).unwrap_or(usize::MAX);
        config.request_timeout = cql.request_timeout;
        config.connect_timeout = cql.connect_timeout;
        Ok(config)
    }

    /// As the embedded adapter takes it.
    pub(crate) fn sqlite(&self) -> SqliteOptions {
        SqliteOptions { retention: self.kept(), ..SqliteOptions::default() }
    }
}

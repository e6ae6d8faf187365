//! What the adapter is told: where the cluster is, who asks, and the bounds of what is asked at once.
//!
//! Invariant: a password is in no `Debug` output and in no error.

use crate::port::StoreError;
pub use crate::sqlite::Retention;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// Longest keyspace name that Cassandra takes.
const KEYSPACE_CHARS_MAX: usize = 48;
/// Longest time to live that Cassandra takes: 20 years.
const RETENTION_MAX: Duration = Duration::from_secs(630_720_000);

/// How a cluster is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CqlConfig {
    /// Nodes to begin with, `host:port`; the others are learnt from them.
    pub nodes: Vec<String>,
    /// Keyspace of the tables: lower case letters, digits and `_`.
    pub keyspace: String,
    /// Whether a missing keyspace, missing tables or an older version of them are made at opening. Without it they
    /// are only checked, which takes no more than the right to read.
    pub create: bool,
    /// Replication of a keyspace that is made. None: one copy, and only in a cluster of one node.
    pub replication: Option<Replication>,
    /// Replicas that must answer each request.
    pub consistency: Consistency,
    /// Name and password of the role.
    pub login: Option<Login>,
    /// Encrypts the connections; refused by a build without the feature `tls`.
    pub tls: Option<Tls>,
    /// Data centre whose nodes are asked; no other is, even if all of its nodes are down.
    pub local_dc: Option<String>,
    /// How long rows are kept. It also sets the compaction windows of tables that are made.
    pub retention: Retention,
    /// Requests of one write call on the way at a time, at most; overload lowers the number for a while.
    pub concurrency_max: usize,
    /// How long one request may take. Longer than the server's own limits (2 s a write, 5 s a read), or an overloaded
    /// server goes on with what nobody waits for any more.
    pub request_timeout: Duration,
    /// How long one connection may take to be made.
    pub connect_timeout: Duration,
    /// How long [`crate::port::Store::count`] may read.
    pub count_timeout: Duration,
}

impl CqlConfig {
    /// Settings for a keyspace, everything else as it is by default.
    #[must_use]
    pub fn new(nodes: Vec<String>, keyspace: &str) -> Self {
        Self {
            nodes,
            keyspace: keyspace.to_owned(),
            create: true,
            replication: None,
            consistency: Consistency::LocalQuorum,
            login: None,
            tls: None,
            local_dc: None,
            retention: Retention::default(),
            concurrency_max: 128,
            request_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(5),
            count_timeout: Duration::from_secs(60),
        }
    }

    /// Checks what can be checked without the cluster.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        let refused = |text: String| Err(StoreError::Fatal(text));
        if self.nodes.is_empty() {
            return refused("no node of the cluster is named".to_owned());
        }
        if self.tls.is_some() && !cfg!(feature = "tls") {
            return refused(
                "this build cannot encrypt connections to the store: it lacks the feature `tls`".to_owned(),
            );
        }
        let letters = |text: &str| text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_'));
        let begins = self.keyspace.bytes().next().is_some_and(|first| first.is_ascii_lowercase());
        if !begins || !letters(&self.keyspace) || self.keyspace.len() > KEYSPACE_CHARS_MAX {
            return refused(format!(
                "`{}` is no name for a keyspace: a lower case letter, then such letters, digits and `_`, at most \
                 {KEYSPACE_CHARS_MAX} in all",
                self.keyspace
            ));
        }
        let Retention { windows, scores, alerts } = self.retention;
        for kept in [windows, scores, alerts].into_iter().flatten() {
            if kept < Duration::from_secs(1) || kept > RETENTION_MAX {
                return refused(format!("rows can be kept from a second to 20 years, not {kept:?}"));
            }
        }
        Ok(())
    }

    /// The nodes and the keyspace, for messages.
    pub(super) fn place(&self) -> String {
        format!("{}/{}", self.nodes.join(","), self.keyspace)
    }
}

/// How many copies are kept, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Replication {
    /// So many copies, wherever (`SimpleStrategy`): for one data centre.
    Simple(u32),
    /// So many copies in each data centre (`NetworkTopologyStrategy`).
    Datacenters(BTreeMap<String, u32>),
}

impl Replication {
    /// The map of a `CREATE KEYSPACE`.
    pub(super) fn cql(&self) -> String {
        match self {
            Self::Simple(copies) => format!("{{'class': 'SimpleStrategy', 'replication_factor': {copies}}}"),
            Self::Datacenters(copies) => {
                let each: String = copies
                    .iter()
                    .map(|(name, copies)| format!(", '{}': {copies}", name.replace('\'', "''")))
                    .collect();
                format!("{{'class': 'NetworkTopologyStrategy'{each}}}")
            }
        }
    }
}

/// Replicas that must answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consistency {
    /// Any one.
    One,
    /// Any one of the local data centre.
    LocalOne,
    /// More than half of all.
    Quorum,
    /// More than half of those in the local data centre.
    LocalQuorum,
    /// All.
    All,
}

impl FromStr for Consistency {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "one" => Ok(Self::One),
            "local-one" => Ok(Self::LocalOne),
            "quorum" => Ok(Self::Quorum),
            "local-quorum" => Ok(Self::LocalQuorum),
            "all" => Ok(Self::All),
            other => Err(format!(
                "`{other}` is none of the consistencies: one, local-one, quorum, local-quorum, all"
            )),
        }
    }
}

impl From<Consistency> for scylla::statement::Consistency {
    fn from(consistency: Consistency) -> Self {
        match consistency {
            Consistency::One => Self::One,
            Consistency::LocalOne => Self::LocalOne,
            Consistency::Quorum => Self::Quorum,
            Consistency::LocalQuorum => Self::LocalQuorum,
            Consistency::All => Self::All,
        }
    }
}

/// Who asks.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// Name of the role.
    pub user: String,
    /// Its password; shown nowhere.
    pub password: String,
}

impl fmt::Debug for Login {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Login").field("user", &self.user).field("password", &"***").finish()
    }
}

/// Files of an encrypted connection, all PEM.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// Certificates that the nodes' certificates must lead to; none: those that the system trusts.
    pub ca: Option<PathBuf>,
    /// Our certificate and its key, for a cluster that asks for one.
    pub certificate: Option<(PathBuf, PathBuf)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_shown_nowhere() {
        let mut config = CqlConfig::new(vec!["h:1".to_owned()], "k");
        config.login = Some(Login { user: "sink".to_owned(), password: "s3cret".to_owned() });
        let shown = format!("{config:?} {config:#?}");
        assert!(shown.contains("sink") && !shown.contains("s3cret"), "{shown}");
    }

    #[test]
    fn names_and_times_are_checked() {
        let check = |keyspace: &str, kept: u64, nodes: &[&str]| {
            let mut config = CqlConfig::new(nodes.iter().map(|&node| node.to_owned()).collect(), keyspace);
            config.retention.scores = Some(Duration::from_secs(kept));
            config.check()
        };
        let long = "k".repeat(KEYSPACE_CHARS_MAX);
        for good in ["k", "iot_2", &long] {
            assert_eq!(check(good, 1, &["h"]), Ok(()));
        }
        for bad in ["", "2k", "K", "a-b", "a\"b", "a.b", &format!("{long}k")] {
            assert!(matches!(check(bad, 1, &["h"]), Err(StoreError::Fatal(text)) if text.contains(bad)));
        }
        assert!(check("k", 1, &[]).is_err());
        assert_eq!(check("k", RETENTION_MAX.as_secs(), &["h"]), Ok(()));
        for kept in [0, RETENTION_MAX.as_secs() + 1] {
            assert!(
                matches!(check("k", kept, &["h"]), Err(StoreError::Fatal(text)) if text.contains("20 years"))
            );
        }
    }

    #[test]
    fn replication_is_written_as_a_map() {
        let copies = [("dc'1".to_owned(), 3), ("dc2".to_owned(), 2)].into();
        assert_eq!(
            Replication::Datacenters(copies).cql(),
            "{'class': 'NetworkTopologyStrategy', 'dc''1': 3, 'dc2': 2}"
        );
        assert_eq!(Replication::Simple(3).cql(), "{'class': 'SimpleStrategy', 'replication_factor': 3}");
    }

    #[test]
    fn consistencies_have_names() {
        for (name, consistency) in [("one", Consistency::One), ("local-quorum", Consistency::LocalQuorum)] {
            assert_eq!(name.parse(), Ok(consistency));
        }
        assert!("ONE".parse::<Consistency>().unwrap_err().contains("local-one"));
    }
}

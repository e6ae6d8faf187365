//! A home on Kafka and Cassandra that a test shares with nobody: topics with a prefix and a keyspace of its own on
//! servers that all tests share, and its services as processes.

use crate::binary::{Finished, highwater};
use crate::instance::{Addresses, Instance};
use crate::ledger::Place;
use crate::ports::free_ports;
use crate::real::{self, real};
use anyhow::{Context, Result, ensure};
use journal::kafka::topics;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Bound of a command that makes topics, tables or subjects.
const MAKING_MAX: Duration = Duration::from_secs(120);
/// Bound of a broker's answer when they are removed.
const REMOVING_MAX: Duration = Duration::from_secs(10);

/// Topics, tables, and a directory for configuration, logs and truth.
#[derive(Debug)]
pub struct Cluster {
    directory: tempfile::TempDir,
    config: Option<PathBuf>,
    sets: Vec<String>,
    own: BTreeMap<String, Own>,
    /// Each service logs in as itself, commands as `operator`.
    logins: bool,
    /// There are topics, which others' servers would carry on with.
    made: bool,
    ingest: u16,
    dashboard: u16,
}

/// What one process has that the others do not.
#[derive(Debug, Default)]
struct Own {
    sets: Vec<String>,
    environment: Vec<(String, String)>,
}

impl Cluster {
    /// One on the servers that the environment names; none: the test prints that it is skipped, and has to return.
    /// Nothing is made yet.
    ///
    /// # Errors
    /// When the file system or the network refuses.
    #[track_caller]
    pub fn named() -> Option<Result<Self>> {
        let kafka = real("HIGHWATER_TEST_KAFKA")?;
        let cql = real("HIGHWATER_TEST_CQL")?;
        let registry = real("HIGHWATER_TEST_REGISTRY")?;
        Some(Self::new(&kafka, &cql, &registry))
    }

    /// The same on servers with logins: each service has its own, which may do nothing until it is given rights.
    ///
    /// # Errors
    /// As [`Cluster::named`].
    #[track_caller]
    pub fn secured() -> Option<Result<Self>> {
        let kafka = real("HIGHWATER_TEST_SECURED_KAFKA")?;
        let cql = real("HIGHWATER_TEST_SECURED_CQL")?;
        let registry = real("HIGHWATER_TEST_REGISTRY")?;
        Some(Self::new(&kafka, &cql, &registry).map(|mut cluster| {
            cluster.logins = true;
            cluster
        }))
    }

    fn new(kafka: &str, cql: &str, registry: &str) -> Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).context("asking for the time")?;
        let own = format!("t{}_{number}", now.as_millis());
        let sets = vec![
            format!("journal.url=kafka://{kafka}"),
            format!("journal.topic-prefix={own}."),
            // Short, so that a test of a member that is gone does not wait for long.
            "journal.session-timeout=6s".to_owned(),
            format!("store.url=cql://{cql}/{own}"),
            format!("registry.url={registry}"),
        ];
        let directory = tempfile::tempdir().context("making a directory")?;
        let [ingest, dashboard] = free_ports()?;
        Ok(Self {
            directory,
            config: None,
            sets,
            own: BTreeMap::new(),
            logins: false,
            made: false,
            ingest,
            dashboard,
        })
    }

    /// The same over encrypted connections: SASL_SSL with SCRAM, TLS to the store, and a registry of one's own in front
    /// of the real one. None also where the binary has no TLS; the test prints that it is skipped.
    ///
    /// # Errors
    /// As [`Cluster::named`], and when the binary does not say what it is.
    #[track_caller]
    pub fn encrypted() -> Option<Result<Self>> {
        match highwater(&["--version"], MAKING_MAX) {
            Err(why) => return Some(Err(why)),
            Ok(version) if !version.stdout.contains("with TLS") => {
                real::skipped("the binary has no TLS (`--features tls`)");
                return None;
            }
            Ok(_) => {}
        }
        let kafka = real("HIGHWATER_TEST_SECURED_KAFKA_TLS")?;
        let kafka_ca = real("HIGHWATER_TEST_SECURED_KAFKA_CA")?;
        let user = real("HIGHWATER_TEST_SECURED_KAFKA_USER")?;
        let password = real("HIGHWATER_TEST_SECURED_KAFKA_PASSWORD")?;
        let cql = real("HIGHWATER_TEST_SECURED_CQL")?;
        let cql_ca = real("HIGHWATER_TEST_SECURED_CQL_CA")?;
        let role = real("HIGHWATER_TEST_SECURED_CQL_USER")?;
        let secret = real("HIGHWATER_TEST_SECURED_CQL_PASSWORD")?;
        let registry = real("HIGHWATER_TEST_REGISTRY")?;
        let cluster = Self::new(&kafka, &cql, &registry).map(|cluster| {
            let prefix = format!("test.{}", cluster.setting("journal.topic-prefix").unwrap_or_default());
            let sets = [
                format!("journal.topic-prefix={prefix}"),
                "librdkafka.security.protocol=SASL_SSL".to_owned(),
                "librdkafka.sasl.mechanism=SCRAM-SHA-256".to_owned(),
                format!("librdkafka.sasl.username={user}"),
                format!("librdkafka.sasl.password={password}"),
                format!("librdkafka.ssl.ca.location={kafka_ca}"),
                format!("store.user={role}"),
                format!("store.password={secret}"),
                format!("store.tls-ca={cql_ca}"),
            ];
            sets.iter().fold(cluster, |cluster, set| cluster.set(set))
        });
        Some(cluster)
    }

    /// With this configuration (TOML).
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn configured(mut self, text: &str) -> Result<Self> {
        let file = self.path().join("highwater.toml");
        std::fs::write(&file, text).context("writing the configuration")?;
        self.config = Some(file);
        Ok(self)
    }

    /// With a setting over those of the file.
    #[must_use]
    pub fn set(mut self, setting: &str) -> Self {
        self.sets.push(setting.to_owned());
        self
    }

    /// With a setting of the process of this name only.
    #[must_use]
    pub fn set_of(mut self, name: &str, setting: &str) -> Self {
        self.own.entry(name.to_owned()).or_default().sets.push(setting.to_owned());
        self
    }

    /// With a variable in the environment of the process of this name only.
    #[must_use]
    pub fn environment_of(mut self, name: &str, variable: &str, value: &str) -> Self {
        self.own
            .entry(name.to_owned())
            .or_default()
            .environment
            .push((variable.to_owned(), value.to_owned()));
        self
    }

    /// What it was given for a setting of every service.
    #[must_use]
    pub fn setting(&self, key: &str) -> Option<&str> {
        self.sets.iter().rev().find_map(|set| set.strip_prefix(key)?.strip_prefix('='))
    }

    /// Its directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Where its ingest listens.
    #[must_use]
    pub fn ingest_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.ingest)
    }

    /// Where its query API listens.
    #[must_use]
    pub fn query_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.dashboard)
    }

    /// Who a service logs in as. Only sink and deployment have a role of their own in the store; the others read.
    fn login(&self, service: &str) -> Vec<String> {
        if !self.logins {
            return Vec::new();
        }
        let role = if ["sink", "operator"].contains(&service) { service } else { "dashboard" };
        let sets = [
            "librdkafka.security.protocol=SASL_PLAINTEXT".to_owned(),
            "librdkafka.sasl.mechanism=PLAIN".to_owned(),
            format!("librdkafka.sasl.username={service}"),
            format!("librdkafka.sasl.password={service}-secret"),
            format!("store.user={role}"),
            format!("store.password={role}-secret"),
        ];
        sets.into_iter().flat_map(|set| ["--set".to_owned(), set]).collect()
    }

    fn flags(&self, service: &str) -> Vec<String> {
        let mut flags = self.login(service);
        if let Some(config) = &self.config {
            flags.extend(["--config".to_owned(), config.display().to_string()]);
        }
        for setting in &self.sets {
            flags.extend(["--set".to_owned(), setting.clone()]);
        }
        flags
    }

    /// Runs a command that ends by itself on this home, such as `topics check`.
    ///
    /// # Errors
    /// As [`crate::highwater`].
    pub fn command(&self, args: &[&str], bound: Duration) -> Result<Finished> {
        let flags = self.flags("operator");
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        highwater(&[args, &flags].concat(), bound)
    }

    /// Makes topics, subjects and tables, as a deployment does.
    ///
    /// # Errors
    /// What a command said that did not end with 0.
    pub fn made(mut self) -> Result<Self> {
        self.made = true;
        for args in [["topics", "create"], ["schema", "register"], ["store", "create"]] {
            let made = self.command(&args, MAKING_MAX)?;
            ensure!(made.code == Some(0), "{args:?}: {made:?}");
        }
        Ok(self)
    }

    /// Starts one service under a name of its own and waits until it is ready.
    ///
    /// # Errors
    /// What it wrote, when it ends or is not ready in time.
    pub async fn start(&self, service: &str, name: &str) -> Result<Instance> {
        let mut instance = self.spawn(service, name)?;
        instance.ready().await?;
        Ok(instance)
    }

    /// Starts one service without waiting for anything. Its ingest and its query API are the home's.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn(&self, service: &str, name: &str) -> Result<Instance> {
        let [admin] = free_ports()?;
        let mut args = vec![service.to_owned()];
        args.extend(self.flags(service));
        let none = Own::default();
        let particular = self.own.get(name).unwrap_or(&none);
        let own = [
            format!("process.instance={name}"),
            format!("admin.listen=127.0.0.1:{admin}"),
            format!("ingest.listen=127.0.0.1:{}", self.ingest),
            format!("dashboard.listen=127.0.0.1:{}", self.dashboard),
        ];
        for setting in own.into_iter().chain(particular.sets.iter().cloned()) {
            args.extend(["--set".to_owned(), setting]);
        }
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let addresses = Addresses {
            ingest: self.ingest_url(),
            query: self.query_url(),
            admin: format!("http://127.0.0.1:{admin}"),
        };
        let log = self.path().join(format!("{name}.log"));
        Instance::launch(&args, self.path(), &log, addresses, &particular.environment)
    }
}

/// A broker that is killed looks through every partition it has before it is back: it must not have those of all tests
/// before. One with logins is not killed, and lets nobody remove anything.
impl Drop for Cluster {
    fn drop(&mut self) {
        if self.made && !self.logins && self.setting("librdkafka.security.protocol").is_none() {
            let _ = Place::of(self).and_then(|place| Ok(topics::delete(&place.kafka(REMOVING_MAX))?));
        }
    }
}

//! A home on Kafka and Cassandra that a test shares with nobody: topics with a prefix and a keyspace of its own on
//! servers that all tests share, and its services as processes.

use crate::binary::{Finished, highwater};
use crate::instance::{Addresses, Instance, free_ports};
use crate::real::real;
use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Bound of a command that makes topics, tables or subjects.
const MAKING_MAX: Duration = Duration::from_secs(120);

/// Topics, tables, and a directory for configuration, logs and truth.
#[derive(Debug)]
pub struct Cluster {
    directory: tempfile::TempDir,
    config: Option<PathBuf>,
    sets: Vec<String>,
    ingest: u16,
    dashboard: u16,
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
        Ok(Self { directory, config: None, sets, ingest, dashboard })
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

    fn flags(&self) -> Vec<String> {
        let mut flags = Vec::new();
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
        let flags = self.flags();
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        highwater(&[args, &flags].concat(), bound)
    }

    /// Makes topics, subjects and tables, as a deployment does.
    ///
    /// # Errors
    /// What a command said that did not end with 0.
    pub fn made(self) -> Result<Self> {
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
        args.extend(self.flags());
        let own = [
            format!("process.instance={name}"),
            format!("admin.listen=127.0.0.1:{admin}"),
            format!("ingest.listen=127.0.0.1:{}", self.ingest),
            format!("dashboard.listen=127.0.0.1:{}", self.dashboard),
        ];
        for setting in own {
            args.extend(["--set".to_owned(), setting]);
        }
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let addresses = Addresses {
            ingest: self.ingest_url(),
            query: self.query_url(),
            admin: format!("http://127.0.0.1:{admin}"),
        };
        Instance::launch(&args, self.path(), &self.path().join(format!("{name}.log")), addresses)
    }
}

//! A home on Kafka and Cassandra with its services as processes, and someone who watches its results as any
//! `read_committed` consumer would.
//!
//! Servers are those that `HIGHWATER_TEST_KAFKA`, `HIGHWATER_TEST_CQL` and `HIGHWATER_TEST_REGISTRY` name. Topics and the
//! keyspace are new ones, and stay behind.

use anyhow::{Context, Result, bail, ensure};
use journal::kafka::{KafkaConfig, KafkaJournal};
use journal::port::{ConsumerEvent, Journal, TopicPartition};
use schemas::Micros;
use schemas::codec::Codec;
use schemas::registry::{Registry, RegistryConfig};
use schemas::topic::Topic;
use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Partitions of a home.
pub const PARTITIONS: u32 = 4;
const READY_MAX: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_millis(20);
const POLL_RECORDS_MAX: usize = 10_000;
const POLL_WAIT: Duration = Duration::from_millis(100);

/// Epoch microseconds on this machine's clock, which is the broker's too.
#[must_use]
pub fn now() -> Micros {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Micros::try_from(since.as_micros()).unwrap_or(Micros::MAX)
}

/// A home; its processes are killed when it is dropped.
pub struct Home {
    directory: tempfile::TempDir,
    binary: PathBuf,
    brokers: String,
    registry: String,
    prefix: String,
    admins: BTreeMap<String, String>,
    running: BTreeMap<String, Child>,
    /// Address of ingest.
    pub ingest: String,
    /// Address of the query API.
    pub query: String,
}

impl Home {
    /// Makes topics, schemas and tables with this configuration; the rest of it is ours.
    ///
    /// # Errors
    /// When no server is named, or a command refuses.
    pub fn made(config: &str) -> Result<Self> {
        let named = |name: &str| std::env::var(name).with_context(|| format!("{name} names no server"));
        let (brokers, cql) = (named("HIGHWATER_TEST_KAFKA")?, named("HIGHWATER_TEST_CQL")?);
        let registry = named("HIGHWATER_TEST_REGISTRY")?;
        let binary = match std::env::var_os("HIGHWATER_BIN") {
            Some(path) => PathBuf::from(path),
            None => std::env::current_exe()?.with_file_name("highwater"),
        };
        let (prefix, keyspace) = (format!("b{}.", now()), format!("b{}", now()));
        let (ingest, query) = (free_address()?, free_address()?);
        let directory = tempfile::tempdir()?;
        let text = format!(
            "[journal]\nurl = \"kafka://{brokers}\"\ntopic-prefix = \"{prefix}\"\npartitions = {PARTITIONS}\n\
             [registry]\nurl = \"{registry}\"\n[store]\nurl = \"cql://{cql}/{keyspace}\"\n\
             [ingest]\nlisten = \"{ingest}\"\n[dashboard]\nlisten = \"{query}\"\n{config}"
        );
        std::fs::write(directory.path().join("highwater.toml"), text)?;
        let (ingest, query) = (format!("http://{ingest}"), format!("http://{query}"));
        let (admins, running) = (BTreeMap::new(), BTreeMap::new());
        let home = Self { directory, binary, brokers, registry, prefix, admins, running, ingest, query };
        for args in [["topics", "create"], ["schema", "register"], ["store", "create"]] {
            let made = home.configured(&args).output().context("starting highwater")?;
            ensure!(made.status.success(), "{args:?}: {}", String::from_utf8_lossy(&made.stderr));
        }
        Ok(home)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("HIGHWATER_") {
                command.env_remove(name);
            }
        }
        command.args(args).stdin(Stdio::null());
        command
    }

    fn configured(&self, args: &[&str]) -> Command {
        let mut command = self.command(args);
        command.arg("--config").arg(self.directory.path().join("highwater.toml"));
        command
    }

    /// Starts a service under a name of its own; [`Home::ready`] waits for it.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(&mut self, service: &str, name: &str) -> Result<()> {
        let admin = match self.admins.get(name) {
            Some(admin) => admin.clone(),
            None => free_address()?,
        };
        self.admins.insert(name.to_owned(), admin.clone());
        let log = self.directory.path().join(format!("{name}.log"));
        let log = std::fs::File::options().create(true).append(true).open(log)?;
        let mut command = self.configured(&[service]);
        command.args(["--set", &format!("process.instance={name}")]);
        command.args(["--set", &format!("admin.listen={admin}")]);
        let child = command.stdout(log.try_clone()?).stderr(log).spawn().context("starting highwater")?;
        self.running.insert(name.to_owned(), child);
        Ok(())
    }

    /// Waits until every service says that it is.
    ///
    /// # Errors
    /// The end of a log, when one ends or takes too long.
    pub fn ready(&mut self) -> Result<()> {
        let end = Instant::now() + READY_MAX;
        for name in self.running.keys().cloned().collect::<Vec<_>>() {
            let url = format!("http://{}", self.admins[&name]);
            loop {
                let asked = self.command(&["health", "--url", &url]).output()?;
                if asked.status.success() {
                    break;
                }
                self.alive()?;
                ensure!(Instant::now() < end, "{name} is not ready: {}", self.log(&name));
                std::thread::sleep(LOOK_EVERY);
            }
        }
        Ok(())
    }

    /// # Errors
    /// The log of a service that has ended by itself.
    pub fn alive(&mut self) -> Result<()> {
        for (name, child) in &mut self.running {
            if let Some(status) = child.try_wait()? {
                let log = self.directory.path().join(format!("{name}.log"));
                bail!("{name} ended with {status}: {}", std::fs::read_to_string(log)?);
            }
        }
        Ok(())
    }

    /// What a service wrote.
    #[must_use]
    pub fn log(&self, name: &str) -> String {
        std::fs::read_to_string(self.directory.path().join(format!("{name}.log"))).unwrap_or_default()
    }

    /// kill -9; returns when that was.
    ///
    /// # Errors
    /// When there is no such process.
    pub fn kill(&mut self, name: &str) -> Result<Micros> {
        let mut child = self.running.remove(name).with_context(|| format!("no {name}"))?;
        let at = now();
        child.kill()?;
        child.wait()?;
        Ok(at)
    }

    /// Processor seconds a service has used, and its most resident bytes.
    ///
    /// # Errors
    /// When there is no such process.
    pub fn used(&self, name: &str) -> Result<(f64, u64)> {
        crate::measure::used(self.running.get(name).with_context(|| format!("no {name}"))?.id())
    }

    /// Its log, to be read.
    ///
    /// # Errors
    /// When a server does not answer.
    pub fn open(&self) -> Result<(Arc<KafkaJournal>, Codec)> {
        let registry = Registry::new(RegistryConfig::new(vec![self.registry.clone()]))?;
        let prefix = self.prefix.clone();
        let config = KafkaConfig { prefix, statistics_every: None, ..KafkaConfig::new(&self.brokers) };
        let journal = KafkaJournal::open(config, Arc::new(registry), None)?;
        let codec = journal::ids::codec(Arc::clone(&journal) as Arc<dyn Journal>)?;
        Ok((journal, codec))
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        for child in self.running.values_mut() {
            // Gone already is as good.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// One that nobody has now.
pub(crate) fn free_address() -> Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}

/// A committed result at the moment it is seen.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// Partition.
    pub partition: u32,
    /// When the broker appended it, microseconds, of whole milliseconds.
    pub appended: Micros,
    /// When the consumer had it.
    pub seen: Micros,
    /// The record.
    pub value: &'a [u8],
}

/// Follows the results as a member of a group of its own, from the beginning, until it is told to stop.
///
/// # Errors
/// When the home does not answer.
pub fn follow(journal: &dyn Journal, stop: &AtomicBool, visit: &mut dyn FnMut(Seen<'_>)) -> Result<()> {
    let mut consumer = journal.consumer("bench", "bench", &[Topic::Aggregates])?;
    let mut gained: Vec<TopicPartition> = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        consumer.poll(POLL_WAIT, POLL_RECORDS_MAX, &mut |event| match event {
            ConsumerEvent::Assigned(assignments) => {
                gained.extend(assignments.iter().map(|assignment| assignment.partition));
            }
            ConsumerEvent::Batch { partition, records } => {
                let seen = now();
                for record in records {
                    let (appended, value) = (record.received_at, record.value);
                    visit(Seen { partition: partition.partition, appended, seen, value });
                }
            }
            ConsumerEvent::Revoked { .. } | ConsumerEvent::Reached { .. } => {}
        })?;
        for partition in gained.drain(..) {
            consumer.seek(partition, 0)?;
        }
    }
    Ok(())
}

/// The load of the last minute on this machine: others' work is in every figure.
#[must_use]
pub fn load_average() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().next().unwrap_or("unknown").to_owned()
}

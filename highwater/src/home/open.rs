//! Opening the home: the journal, the schema ids, the store, wherever each is.
//!
//! Lives here: which adapter stands behind which port, and the patience of a start with servers that are not there
//! yet. Does not live here: what a part does with them.
//!
//! Invariant: the embedded files are opened at once or not at all; only servers are waited for.

mod deferred;

use self::deferred::Deferred;
use super::measured::Told;
use super::whereabouts::Owners;
use super::{Parts, Stopped};
use crate::config::Settings;
use crate::config::journal::JournalAt;
use crate::config::store::StoreAt;
use crate::exit::Usage;
use anyhow::{Context, Result, anyhow};
use chassis::admin::Readiness;
use chassis::shutdown::{Phase, Shutdown};
use journal::kafka::{KafkaJournal, owners};
use journal::port::{Disposition, Journal, JournalError};
use journal::sqlite::SqliteJournal;
use schemas::codec::Codec;
use schemas::registry::Registry;
use schemas::topic::Topic;
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::cql::{CqlConfig, CqlStore};
use store::port::{Store, StoreError};
use store::sqlite::SqliteStore;

/// Between two attempts to reach a server.
const AGAIN_EVERY: Duration = Duration::from_secs(1);

/// An open journal. Closing is not the port's: what is shared ends with its last owner.
pub(crate) enum OpenJournal {
    /// A file.
    Sqlite(Arc<SqliteJournal>),
    /// Brokers.
    Kafka(Arc<KafkaJournal>),
}

impl OpenJournal {
    /// As everybody uses it.
    pub(crate) fn port(&self) -> Arc<dyn Journal> {
        match self {
            Self::Sqlite(journal) => Arc::clone(journal) as Arc<dyn Journal>,
            Self::Kafka(journal) => Arc::clone(journal) as Arc<dyn Journal>,
        }
    }

    /// Nothing more is appended; what was is durable.
    pub(crate) fn close(&self) {
        match self {
            Self::Sqlite(journal) => journal.close(),
            Self::Kafka(journal) => journal.close(),
        }
    }
}

/// What the parts work with.
pub(crate) struct Opened {
    pub(crate) journal: OpenJournal,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) codec: Codec,
    pub(crate) measured: Measured,
}

/// What measures itself, where there are servers.
#[derive(Clone, Default)]
pub(crate) struct Measured {
    pub(crate) told: Told,
    pub(crate) kafka: Option<Arc<KafkaJournal>>,
    pub(crate) cql: Option<Arc<CqlStore>>,
}

/// Why something is not open.
#[derive(Debug)]
pub(crate) struct NotOpen {
    why: anyhow::Error,
    /// Trying again may help.
    again: bool,
    /// The login is refused, or may not do that: no waiting helps.
    denied: bool,
}

impl NotOpen {
    fn lasting(why: impl Into<anyhow::Error>) -> Self {
        Self { why: why.into(), again: false, denied: false }
    }

    fn denied(why: impl Into<anyhow::Error>) -> Self {
        Self { why: why.into(), again: false, denied: true }
    }

    /// Whether another process holds the file.
    pub(crate) fn is_in_use(&self) -> bool {
        matches!(self.why.downcast_ref(), Some(JournalError::InUse { .. }))
    }

    /// Why, in words.
    pub(crate) fn into_error(self) -> anyhow::Error {
        self.why
    }

    fn for_now(why: impl Into<anyhow::Error>) -> Self {
        Self { why: why.into(), again: true, denied: false }
    }
}

impl From<JournalError> for NotOpen {
    fn from(why: JournalError) -> Self {
        match why.disposition() {
            _ if matches!(why, JournalError::Denied(_)) => Self::denied(why),
            Disposition::Retry | Disposition::Resolve | Disposition::Rejoin => Self::for_now(why),
            Disposition::Fatal => Self::lasting(why),
        }
    }
}

impl From<StoreError> for NotOpen {
    fn from(why: StoreError) -> Self {
        match why {
            StoreError::Retry(_) => Self::for_now(why),
            StoreError::Denied(_) => Self::denied(why),
            StoreError::Argument(_) | StoreError::Fatal(_) => Self::lasting(why),
        }
    }
}

/// Schema ids of a Kafka journal come from a registry.
#[derive(Debug, thiserror::Error)]
#[error("`registry.url` is missing: records on Kafka carry schema ids, which a schema registry gives out")]
pub(crate) struct NoRegistry;

impl NoRegistry {
    /// Whether one is missing.
    ///
    /// # Errors
    /// [`Usage`] when it is.
    pub(crate) fn check(settings: &Settings) -> Result<()> {
        if settings.journal.file().is_none() && settings.registry.client().is_none() {
            return Err(Usage(Self.to_string()).into());
        }
        Ok(())
    }
}

/// Opens the journal once.
///
/// # Errors
/// [`NotOpen`].
pub(crate) fn journal(settings: &Settings) -> Result<OpenJournal, NotOpen> {
    measured_journal(settings, None)
}

fn measured_journal(settings: &Settings, told: Option<&Told>) -> Result<OpenJournal, NotOpen> {
    if let Some(config) = settings.journal.sqlite() {
        return Ok(OpenJournal::Sqlite(SqliteJournal::open(config)?));
    }
    let registry = settings.registry.client().ok_or_else(|| NotOpen::lasting(NoRegistry))?;
    let registry = Registry::new(registry).map_err(JournalError::from)?;
    let config = settings.journal.kafka(&settings.process.instance, &settings.librdkafka);
    let mut config = config.ok_or_else(|| NotOpen::lasting(NoRegistry))?;
    if told.is_none() {
        config.statistics_every = None;
    }
    Ok(OpenJournal::Kafka(KafkaJournal::open(config, Arc::new(registry), told.map(Told::sink))?))
}

/// Opens the store once.
///
/// # Errors
/// [`NotOpen`].
pub(crate) fn store(settings: &Settings) -> Result<Arc<dyn Store>, NotOpen> {
    match &settings.store.at {
        StoreAt::Sqlite(path) => Ok(Arc::new(SqliteStore::open(path, settings.store.sqlite())?)),
        StoreAt::Cql(..) => Ok(cluster(settings)?),
    }
}

fn cluster(settings: &Settings) -> Result<Arc<CqlStore>, NotOpen> {
    let config = settings.store.cluster().map_err(NotOpen::lasting)?;
    Ok(Arc::new(CqlStore::open(CqlConfig { create: false, ..config })?))
}

/// A store that is opened when it is first asked: for parts that write no rows themselves.
pub(crate) fn store_when_asked(settings: &Settings) -> Arc<dyn Store> {
    let settings = settings.clone();
    Arc::new(Deferred::new(move || {
        store(&settings).map_err(|not_open| match not_open.why.downcast::<StoreError>() {
            Ok(StoreError::Denied(why)) => StoreError::Denied(why),
            Ok(why) => StoreError::Retry(why.to_string()),
            Err(why) => StoreError::Retry(format!("{why:#}")),
        })
    }))
}

/// Who has which partition of the processor's, where that is not always this process.
pub(crate) fn owners(settings: &Settings) -> Option<Owners> {
    let config = settings.journal.kafka(&settings.process.instance, &settings.librdkafka)?;
    Some(Box::new(move || owners::owners(&config, processor::GROUP, Topic::Raw)))
}

/// Opens both files and waits for nothing; none: a server is needed.
///
/// # Errors
/// What the files say that cannot be used.
pub(crate) async fn files(settings: &Settings) -> Result<Option<Opened>> {
    let embedded = matches!(settings.journal.at, JournalAt::Sqlite(_))
        && matches!(settings.store.at, StoreAt::Sqlite(_));
    if !embedded {
        return Ok(None);
    }
    let settings = settings.clone();
    let opening = move || {
        let journal = journal(&settings)?;
        let codec = journal::ids::codec(journal.port())?;
        let measured = Measured::default();
        Ok::<_, NotOpen>(Opened { store: store(&settings)?, codec, journal, measured })
    };
    let opened = tokio::task::spawn_blocking(opening).await.context("opening the home")?;
    opened.map(Some).map_err(|not_open| not_open.why)
}

/// What a start waits with.
pub(super) struct Waiting<'a> {
    pub(super) settings: &'a Settings,
    pub(super) parts: Parts,
    pub(super) readiness: &'a Readiness,
    pub(super) shutdown: &'a Shutdown,
}

impl Waiting<'_> {
    /// Opens everything the parts need; a server that does not answer is asked again until the patience is over.
    ///
    /// # Errors
    /// What was missing, and the command that helps; [`Stopped`] when a stop was asked for meanwhile.
    pub(super) async fn open(&self) -> Result<Opened> {
        let deadline = Instant::now() + self.settings.admin.start_patience;
        let settings = self.settings;
        let (at, owned) = (settings.journal.at.to_string(), settings.clone());
        let mut measured = Measured::default();
        let told = measured.told.clone();
        let opening = move || measured_journal(&owned, Some(&told));
        let journal = self.step("journal", &at, deadline, opening).await?;
        if let OpenJournal::Kafka(kafka) = &journal {
            measured.kafka = Some(Arc::clone(kafka));
        }
        let port = journal.port();
        let ids = move || Ok(journal::ids::codec(Arc::clone(&port))?);
        let codec = self.step("schema ids", &at, deadline, ids).await?;
        let needed = self.parts.sink || self.parts.dashboard;
        let (at, owned) = (settings.store.at.to_string(), settings.clone());
        let store = if matches!(settings.store.at, StoreAt::Sqlite(_)) {
            self.step("store", &at, deadline, move || store(&owned)).await?
        } else if needed {
            let cql = self.step("store", &at, deadline, move || cluster(&owned)).await?;
            measured.cql = Some(Arc::clone(&cql));
            cql
        } else {
            store_when_asked(settings)
        };
        Ok(Opened { journal, store, codec, measured })
    }

    async fn step<T: Send + 'static>(
        &self,
        what: &str,
        at: &str,
        deadline: Instant,
        attempt: impl Fn() -> Result<T, NotOpen> + Clone + Send + 'static,
    ) -> Result<T> {
        self.readiness.missing(what, format!("{at}: not asked yet"));
        let mut said = String::new();
        loop {
            let trying = tokio::task::spawn_blocking(attempt.clone());
            let tried = tokio::select! {
                tried = trying => tried.with_context(|| format!("opening the {what}"))?,
                () = self.shutdown.reached(Phase::StopIntake) => return Err(Stopped.into()),
            };
            let NotOpen { why, again, denied } = match tried {
                Ok(opened) => {
                    self.readiness.ready(what);
                    return Ok(opened);
                }
                Err(not_open) => not_open,
            };
            // Of a server, what is not there yet may come: topics, subjects, tables. Not a login.
            if denied || !again && at.starts_with("sqlite:") {
                return Err(why.context(format!("the {what} at {at}")));
            }
            if Instant::now() >= deadline {
                let patience = chassis::config::format_duration(self.settings.admin.start_patience);
                return Err(helped(why, what, again).context(format!(
                    "the {what} at {at} could not be used within {patience} (`admin.start-patience`)"
                )));
            }
            let text = format!("{:#}", helped(why, what, again));
            self.readiness.missing(what, format!("{at}: {text}"));
            if text != said {
                tracing::warn!("waiting for the {what} at {at}: {text}");
                said = text;
            }
            tokio::select! {
                () = tokio::time::sleep(AGAIN_EVERY) => {}
                () = self.shutdown.reached(Phase::StopIntake) => return Err(Stopped.into()),
            }
        }
    }
}

/// What a server that answers lacks is made by a step of a deployment.
fn helped(why: anyhow::Error, what: &str, again: bool) -> anyhow::Error {
    let command = match what {
        _ if again => return why,
        "store" => "highwater store create",
        "schema ids" => "highwater schema register",
        _ => "highwater topics create",
    };
    let text = format!("{why:#}");
    if text.contains("highwater ") { why } else { anyhow!("{text} (perhaps `{command}` has not been run)") }
}

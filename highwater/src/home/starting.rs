//! The parts, started one after the other.
//!
//! Does not live here: opening what they work with (`open`), stopping them (the shutdown's phases).

use super::live::Live;
use super::open::Opened;
use super::{Parts, Stopped, processor, watch};
use crate::config::Settings;
use ::processor::ops::Reach;
use anyhow::{Context, Result, bail};
use chassis::admin::Readiness;
use chassis::auth::Keys;
use chassis::clock::Clock;
use chassis::shutdown::Phase;
use chassis::supervise::Supervisor;
use dashboard::{DashboardDeps, DashboardHandle};
use ingest::{Ingest, IngestDeps};
use journal::port::JournalError;
use sink::{SinkDeps, SinkHandle};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Name of the configuration in the readiness of a door.
const CONFIGURATION: &str = "configuration";

pub(super) struct Starting {
    pub(super) settings: Settings,
    pub(super) parts: Parts,
    pub(super) supervisor: Supervisor,
    pub(super) readiness: Readiness,
    pub(super) keys: Arc<Keys>,
    pub(super) opened: Opened,
    pub(super) live: Arc<Live>,
}

impl Starting {
    /// Starts them; returns where door and page are.
    ///
    /// # Errors
    /// When a part cannot start; [`Stopped`] when a stop was asked for meanwhile.
    pub(super) async fn all(&self) -> Result<(Option<SocketAddr>, Option<SocketAddr>)> {
        self.sink()?;
        self.processor()?;
        self.watch();
        let dashboard = self.dashboard().await?.map(|dashboard| dashboard.address);
        self.configured().await?;
        let ingest = self.ingest().await?.map(|ingest| ingest.address());
        Ok((ingest, dashboard))
    }

    fn sink(&self) -> Result<()> {
        if !self.parts.sink {
            return Ok(());
        }
        let deps = SinkDeps {
            journal: self.opened.journal.port(),
            codec: self.opened.codec.clone(),
            store: Arc::clone(&self.opened.store),
            supervisor: self.supervisor.clone(),
            readiness: self.readiness.clone(),
            feed: self.live.feed().clone(),
            member: self.settings.process.instance.clone(),
        };
        let mut config = self.settings.sink;
        config.until_end = self.parts.until_end;
        let handle: SinkHandle = sink::start(deps, config)?;
        self.live.set_sink(handle);
        Ok(())
    }

    fn processor(&self) -> Result<()> {
        if !self.parts.process {
            return Ok(());
        }
        let running = processor::start(processor::Deps {
            settings: &self.settings,
            journal: self.opened.journal.port(),
            codec: self.opened.codec.clone(),
            supervisor: &self.supervisor,
            readiness: &self.readiness,
            apply: self.parts.apply,
            until_end: self.parts.until_end,
            close: self.parts.close,
        })?;
        self.live.set_processor(running);
        Ok(())
    }

    /// Waits until the configuration stands in every partition: a reading in front of it would be a dead letter.
    async fn configured(&self) -> Result<()> {
        if !self.parts.ingest {
            return Ok(());
        }
        let alone = self.settings.journal.file().is_some();
        match self.live.processor() {
            Some(running) if alone => self.written(running).await,
            _ => self.reached(alone).await,
        }
    }

    /// By the controller of this process, which nobody but it can be.
    async fn written(&self, running: &processor::Running) -> Result<()> {
        const PATIENCE: Duration = Duration::from_secs(30);
        const LOOK_EVERY: Duration = Duration::from_millis(5);
        let everywhere = async {
            let mut looks = tokio::time::interval(LOOK_EVERY);
            loop {
                looks.tick().await;
                let view = running.get().controller_view();
                if view.generation.is_some() && view.missing.is_empty() || self.supervisor.shutdown().begun()
                {
                    return;
                }
            }
        };
        tokio::time::timeout(PATIENCE, everywhere)
            .await
            .context("the configuration could not be written into every partition of the journal")
    }

    /// By whatever processor there is, as the journal shows it. Not bounded: a door without a processor is not ready,
    /// and says so.
    async fn reached(&self, alone: bool) -> Result<()> {
        const LOOK_EVERY: Duration = Duration::from_millis(500);
        self.readiness.missing(CONFIGURATION, "not looked for yet");
        let (journal, codec) = (self.opened.journal.port(), self.opened.codec.clone());
        let mut reach = Some(Reach::new(journal, codec));
        let mut looks = tokio::time::interval(LOOK_EVERY);
        loop {
            tokio::select! {
                _ = looks.tick() => {}
                () = self.supervisor.shutdown().reached(Phase::StopIntake) => return Err(Stopped.into()),
            }
            let mut looking = reach.take().context("looking for the configuration")?;
            let look = move || {
                let found = looking.look();
                (looking, found)
            };
            let (looked, found) = tokio::task::spawn_blocking(look).await?;
            reach = Some(looked);
            let why = match found {
                Ok(missing) if missing.is_empty() => {
                    self.readiness.ready(CONFIGURATION);
                    return Ok(());
                }
                Ok(_) if alone => bail!(
                    "this home has no configuration yet, so no reading could be used: write it with \
                     `highwater process --until-end` first, or start `highwater run`"
                ),
                Ok(missing) => {
                    let partitions: Vec<String> = missing.iter().map(u32::to_string).collect();
                    let partitions = partitions.join(", ");
                    format!(
                        "not in partitions {partitions} of iot.raw yet; a `highwater process` writes it there"
                    )
                }
                Err(why @ JournalError::Denied(_)) => return Err(why.into()),
                Err(why) => why.to_string(),
            };
            self.readiness.missing(CONFIGURATION, why);
        }
    }

    async fn ingest(&self) -> Result<Option<Ingest>> {
        if !self.parts.ingest {
            return Ok(None);
        }
        let deps = IngestDeps {
            journal: self.opened.journal.port(),
            codec: self.opened.codec.clone(),
            clock: Clock::system(),
            keys: Arc::clone(&self.keys),
            readiness: self.readiness.clone(),
            supervisor: self.supervisor.clone(),
        };
        let ingest = ingest::start(deps, self.settings.ingest.clone()).await.context("`ingest.listen`")?;
        self.live.set_ingest(ingest.clone());
        Ok(Some(ingest))
    }

    async fn dashboard(&self) -> Result<Option<DashboardHandle>> {
        if !self.parts.dashboard {
            return Ok(None);
        }
        let deps = DashboardDeps {
            store: Arc::clone(&self.opened.store),
            live: Arc::clone(&self.live) as _,
            feed: self.parts.sink.then(|| self.live.feed().clone()),
            keys: Arc::clone(&self.keys),
            supervisor: self.supervisor.clone(),
            readiness: self.readiness.clone(),
            clock: Clock::system(),
        };
        Ok(Some(dashboard::start(deps, self.settings.dashboard).await.context("`dashboard.listen`")?))
    }

    fn watch(&self) {
        let live = Arc::clone(&self.live);
        self.supervisor.task(
            "backlog monitor",
            watch::run(live, self.opened.measured.clone(), self.supervisor.shutdown().clone()),
        );
    }
}

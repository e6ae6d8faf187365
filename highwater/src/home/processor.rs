//! The processor in this process: started, stopped at its place in the shutdown, and watched.

use crate::config::{Settings, scoring as scoring_config};
use anyhow::{Context, Result, anyhow};
use chassis::BoxError;
use chassis::admin::Readiness;
use chassis::shutdown::Phase;
use chassis::supervise::Supervisor;
use journal::port::{Journal, NewRecord, TopicPartition};
use processor::components::Components;
use processor::view::PartitionView;
use processor::{Processor, Start};
use schemas::codec::Codec;
use schemas::record::{End, Raw};
use schemas::topic::Topic;
use scoring::Loader;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Name in the readiness and among the threads.
const NAME: &str = "processor";
/// Between two looks at whether a worker has ended or a stop is asked for.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What the processor works with.
pub(super) struct Deps<'a> {
    pub(super) settings: &'a Settings,
    pub(super) journal: Arc<dyn Journal>,
    pub(super) codec: Codec,
    pub(super) supervisor: &'a Supervisor,
    pub(super) readiness: &'a Readiness,
    pub(super) apply: bool,
    pub(super) until_end: bool,
    /// Write an end record for every partition first.
    pub(super) close: bool,
}

/// A handle that many may hold.
#[derive(Clone, Debug)]
pub(crate) struct Running {
    processor: Arc<Mutex<Processor>>,
    loader: Loader,
}

impl Running {
    /// The processor, for the moment of a question.
    pub(crate) fn get(&self) -> MutexGuard<'_, Processor> {
        self.processor.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where its models come from.
    pub(crate) const fn loader(&self) -> &Loader {
        &self.loader
    }

    /// Its partitions as last seen.
    pub(crate) fn partitions(&self) -> Vec<PartitionView> {
        let view = self.get().view().clone();
        view.partitions()
    }
}

/// Starts the processor; it stops when the drain has ended, after its last commit and snapshots.
///
/// # Errors
/// When the model host or a thread cannot be started, or a model of the configuration cannot be used.
pub(super) fn start(deps: Deps<'_>) -> Result<Running> {
    let components = Components::new(Arc::clone(&deps.journal), deps.codec.clone());
    // They stay there: a re-fold needs them when the file is long another one.
    for weights in deps.settings.scoring.weights.all() {
        components.put_weights(weights).context("putting weights of the configuration on iot.models")?;
    }
    let loader = deps.settings.scoring.loader(vec![Arc::new(components)])?;
    // Before anything of it stands in the log: a decision cannot be taken back, and partitions would wait for the model.
    // The sentence has its source in it already.
    scoring_config::check(&loader, &deps.settings.pipeline.models).map_err(|why| anyhow!("{why}"))?;
    deps.readiness.missing(NAME, "its partitions");
    if deps.close {
        // Before the start: the processor takes the end of the log as it finds it.
        end_all(&*deps.journal, &deps.codec)?;
    }
    let processor = Processor::start(Start {
        journal: Arc::clone(&deps.journal),
        codec: deps.codec,
        models: Arc::new(loader.clone()),
        config: deps.settings.process.clone(),
        pipeline: deps.settings.pipeline.clone(),
        apply: deps.apply,
        until_end: deps.until_end,
        build: crate::telemetry::identity(NAME).build.to_owned(),
    })?;
    let running = Running { processor: Arc::new(Mutex::new(processor)), loader };
    let (watched, readiness) = (running.clone(), deps.readiness.clone());
    let shutdown = deps.supervisor.shutdown().clone();
    // A file has one process: it owns everything. Of several, one may well have nothing to do.
    let alone = deps.settings.journal.file().is_some();
    let seats = Seats {
        workers: deps.settings.process.workers,
        partitions: if alone { deps.journal.partitions() } else { 0 },
    };
    deps.supervisor.thread(NAME, move || -> Result<(), BoxError> {
        // The sink stops after everything is committed.
        let _hold = shutdown.hold(Phase::Commit, NAME);
        let mut ready = false;
        loop {
            if watched.get().wait(Duration::ZERO)? {
                break;
            }
            // Once: what partitions do later, a rebalance among it, is told by their states.
            match seats.missing(&watched) {
                _ if ready => {}
                None => {
                    readiness.ready(NAME);
                    ready = true;
                }
                Some(why) => readiness.missing(NAME, why),
            }
            if shutdown.wait_reached(Phase::Drain, LOOK_EVERY) {
                watched.get().stop();
                while !watched.get().wait(LOOK_EVERY)? {}
                break;
            }
        }
        shutdown.begin("the processor has reached the end");
        Ok(())
    })?;
    Ok(running)
}

/// Says in every partition that no more readings are expected; durable when it returns.
fn end_all(journal: &dyn Journal, codec: &Codec) -> Result<()> {
    const PATIENCE: Duration = Duration::from_secs(30);
    let value = codec.to_bytes(&Raw::End(End { device_id: None }));
    let record = |partition| NewRecord {
        to: TopicPartition { topic: Topic::Raw, partition },
        key: None,
        value: value.clone(),
        headers: Vec::new(),
    };
    let (tell, written) = std::sync::mpsc::sync_channel(1);
    let done = Box::new(move |result| {
        // Nobody listens any more when the patience has run out.
        let _ = tell.send(result);
    });
    journal.appender().append((0..journal.partitions()).map(record).collect(), done)?;
    written.recv_timeout(PATIENCE).context("the journal did not take the end records")??;
    Ok(())
}

/// What makes a processor ready: its workers have been told what is theirs, and fold it.
struct Seats {
    workers: usize,
    /// Least number of partitions.
    partitions: u32,
}

impl Seats {
    /// What is missing, in words.
    fn missing(&self, running: &Running) -> Option<String> {
        use processor::view::PartitionPhase::{Degraded, Ok};
        let view = running.get().view().clone();
        let seated = view.seated();
        if seated < self.workers {
            return Some(format!(
                "its partitions: {seated} of {} workers have been given theirs",
                self.workers
            ));
        }
        let partitions = view.partitions();
        let waits = |partition: &&PartitionView| !matches!(partition.phase, Ok | Degraded { .. });
        if let Some(waiting) = partitions.iter().find(waits) {
            return Some(format!("partition {} is {}", waiting.partition, waiting.phase.name()));
        }
        let (owned, wanted) = (partitions.len(), self.partitions as usize);
        (owned < wanted).then(|| format!("its partitions: it has {owned} of {wanted}"))
    }
}

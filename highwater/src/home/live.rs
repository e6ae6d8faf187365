//! What is known of the running parts: books, backlog, device states, models. The dashboard and the admin address
//! ask here; so does the demo.
//!
//! What no part of this process knows comes from the journal, as it was committed: any process of a home answers for
//! the whole of it, but for what only the owner of a partition's state can say.

use super::books::{Books, Line, Stage};
use super::models::{self, Models};
use super::outputs;
use super::processor::Running;
use super::trail;
use super::watch;
use super::whereabouts::{Owners, Whereabouts};
use crate::config::scoring as scoring_config;
use anyhow::Result;
use dashboard::LiveView;
use dashboard::live::Unavailable;
use ingest::Ingest;
use journal::port::{Journal, JournalError, Reader, TopicPartition};
use lag::{GroupLag, LagReport, Monitor};
use processor::ops::{self, BooksLine, DeviceExplained, InForce, Letters, OpsError, PartitionExplained};
use processor::view::{PartitionView, View};
use schemas::codec::Codec;
use schemas::partition::partition_of;
use schemas::pipeline::{Inputs, Model, Pipeline};
use schemas::topic::Topic;
use serde_json::{Value, json};
use sink::SinkHandle;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use store::feed::Feed;
use store::port::{Store, StoreTotals};

/// The groups whose backlog is measured all the time; the others' is measured when somebody asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Watched {
    /// The processor's.
    pub(crate) processor: bool,
    /// The sink's.
    pub(crate) sink: bool,
}

impl Watched {
    fn is(self, group: &str) -> bool {
        if group == ::processor::GROUP { self.processor } else { self.sink }
    }
}

/// The running parts, as they come up.
pub(crate) struct Live {
    journal: Arc<dyn Journal>,
    store: Arc<dyn Store>,
    reader: Mutex<Box<dyn Reader>>,
    backlog: Mutex<Backlog>,
    watched: Watched,
    owners: Option<Owners>,
    feed: Feed,
    letters: Letters,
    models: Models,
    codec: Codec,
    pipeline: Pipeline,
    ingest: OnceLock<Ingest>,
    processor: OnceLock<Running>,
    sink: OnceLock<SinkHandle>,
}

struct Backlog {
    watched: Vec<Monitor>,
    last: Vec<GroupLag>,
    asked: Vec<Monitor>,
}

impl Backlog {
    fn look(monitors: &mut [Monitor], journal: &Arc<dyn Journal>) -> Result<Vec<GroupLag>, JournalError> {
        let now = || journal.now();
        monitors.iter_mut().map(|monitor| monitor.look(&now)).collect()
    }
}

fn locked<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Live {
    /// Nothing runs yet.
    ///
    /// # Errors
    /// When the journal has no reader.
    pub(crate) fn new(
        journal: Arc<dyn Journal>,
        codec: Codec,
        store: Arc<dyn Store>,
        pipeline: Pipeline,
        scoring: scoring_config::ScoringConfig,
        watched: Watched,
        owners: Option<Owners>,
    ) -> Result<Self> {
        let (all_the_time, asked) =
            watch::monitors(&*journal)?.into_iter().partition(|monitor| watched.is(monitor.group()));
        Ok(Self {
            watched,
            owners,
            reader: Mutex::new(journal.reader()?),
            backlog: Mutex::new(Backlog { watched: all_the_time, last: Vec::new(), asked }),
            feed: Feed::default(),
            ingest: OnceLock::new(),
            processor: OnceLock::new(),
            sink: OnceLock::new(),
            models: Models::new(&journal, &codec, scoring),
            letters: Letters::new(Arc::clone(&journal), codec.clone()),
            journal,
            codec,
            store,
            pipeline,
        })
    }

    /// Told by the sink, listened to by the dashboard.
    pub(crate) const fn feed(&self) -> &Feed {
        &self.feed
    }

    /// The door is open.
    pub(crate) fn set_ingest(&self, ingest: Ingest) {
        // A part starts once.
        let _ = self.ingest.set(ingest);
    }

    /// The processor runs.
    pub(crate) fn set_processor(&self, processor: Running) {
        let _ = self.processor.set(processor);
    }

    /// The sink runs.
    pub(crate) fn set_sink(&self, sink: SinkHandle) {
        let _ = self.sink.set(sink);
    }

    /// The processor, if it runs here.
    pub(crate) fn processor(&self) -> Option<&Running> {
        self.processor.get()
    }

    /// Where rows are.
    pub(crate) fn store(&self) -> &dyn Store {
        &*self.store
    }

    /// What could not be used.
    pub(crate) const fn letters(&self) -> &Letters {
        &self.letters
    }

    /// Versions of models.
    pub(crate) const fn versions(&self) -> &Models {
        &self.models
    }

    /// The configuration in force.
    ///
    /// # Errors
    /// When nothing was decided yet, or the journal does not answer.
    pub(crate) fn config_in_force(&self) -> Result<InForce, OpsError> {
        let in_force = ops::in_force(&*self.journal, &self.codec)?;
        in_force.ok_or_else(|| OpsError::NotFound("nothing was decided yet".to_owned()))
    }

    /// Decides on a pipeline; returns its generation.
    ///
    /// # Errors
    /// When it is in force already, a model of it cannot be used in this process, or the journal does not answer.
    pub(crate) fn propose(&self, pipeline: &Pipeline) -> Result<i64, OpsError> {
        if let Some(processor) = self.processor.get() {
            // What was in force stays in force; once it is decided, partitions would wait for the model.
            scoring_config::check(processor.loader(), &pipeline.models)
                .map_err(|why| OpsError::Refused(why.to_string()))?;
        }
        ops::propose(&*self.journal, &self.codec, pipeline)
    }

    /// The books: of the parts that run here as they stand, of the others as committed.
    ///
    /// # Errors
    /// When the journal does not answer.
    pub(crate) fn closed_books(&self) -> Result<Books, JournalError> {
        self.books_of(Watched { processor: true, sink: true })
    }

    /// The door's books, and those of the groups that are watched here.
    ///
    /// # Errors
    /// When the journal does not answer.
    pub(crate) fn watched_books(&self) -> Result<Books, JournalError> {
        self.books_of(self.watched)
    }

    fn books_of(&self, groups: Watched) -> Result<Books, JournalError> {
        let mut stages = Vec::new();
        if let Some(ingest) = self.ingest.get() {
            stages.push(Stage::ingest(ingest.books()));
        }
        let before = self.processor.get().map(Running::partitions);
        if groups.processor {
            stages.push(self.processor_stage()?);
        }
        if !groups.sink {
            return Ok(Books::of(stages));
        }
        let read = self.sink_books()?;
        stages.push(Stage::sink(&read));
        if let (Some(before), Some(after), Some(_)) =
            (before, self.processor.get().map(Running::partitions), self.sink.get())
        {
            let (positions, results) = outputs::written(&before);
            let still = stages.iter().all(|stage| stage.total.in_flight == 0)
                && positions == outputs::written(&after).0;
            if still {
                stages.push(outputs::stage(&results, &read));
            }
        }
        Ok(Books::of(stages))
    }

    /// The sink's books: its own lines where it runs here and has the partition, else as committed.
    fn sink_books(&self) -> Result<sink::books::Books, JournalError> {
        let whole = sink::TOPICS.len() * self.journal.partitions() as usize;
        let mut own = match self.sink.get() {
            Some(sink) => sink.books()?,
            None => sink::books::Books { entries: Vec::new() },
        };
        if own.entries.len() < whole {
            let mut reader = locked(&self.reader);
            let had: Vec<TopicPartition> = own.entries.iter().map(|entry| entry.partition).collect();
            let committed = trail::sink(&*self.journal, reader.as_mut())?;
            own.entries.extend(committed.entries.into_iter().filter(|entry| !had.contains(&entry.partition)));
            own.entries.sort_by_key(|entry| entry.partition);
        }
        Ok(own)
    }

    /// The same when everything has stopped, and nobody holds a partition any more: as committed.
    ///
    /// # Errors
    /// When the journal does not answer.
    pub(crate) fn committed_books(&self) -> Result<Books, JournalError> {
        let mut stages = Vec::new();
        if self.processor.get().is_some() {
            stages.push(Stage::sum("processor", "readings", trail::lines(&*self.journal, &self.codec)?));
        }
        if self.sink.get().is_some() {
            stages.push(Stage::sink(&trail::sink(&*self.journal, locked(&self.reader).as_mut())?));
        }
        Ok(Books::of(stages))
    }

    fn processor_stage(&self) -> Result<Stage, JournalError> {
        let view = self.view();
        let owned = ops::books(&view, &*self.journal).map_err(|why| JournalError::Retry(why.to_string()))?;
        let mut reader = locked(&self.reader);
        let mut lines = Vec::new();
        for partition in 0..self.journal.partitions() {
            let held = view.partition(partition).is_some_and(|seen| seen.phase.holds_state());
            let line = match owned.iter().find(|line| held && line.partition == partition) {
                Some(line) => processor_line(line, trail::in_flight(reader.as_mut(), partition)?),
                None => trail::line(reader.as_mut(), &self.codec, partition)?,
            };
            lines.push(line);
        }
        Ok(Stage::sum("processor", "readings", lines))
    }

    /// The processor's view, empty where it does not run.
    fn view(&self) -> View {
        self.processor.get().map(|processor| processor.get().view().clone()).unwrap_or_default()
    }

    /// Whether a partition's state is here; else who has it, in words.
    fn here(&self, partition: u32) -> Result<(), String> {
        if self.view().partition(partition).is_some() {
            return Ok(());
        }
        let whereabouts = Whereabouts::ask(self.owners.as_ref());
        Err(format!(
            "the state of partition {partition} is not in this process: {}",
            whereabouts.of(partition)
        ))
    }

    /// Every partition of the home: those of this process in full, the others as committed.
    ///
    /// # Errors
    /// When the journal does not answer.
    pub(crate) fn partitions(&self) -> Result<Vec<Value>, OpsError> {
        let told = |why: serde_json::Error| OpsError::Unavailable(why.to_string());
        let view = self.view();
        let partitions = 0..self.journal.partitions();
        let elsewhere = partitions.clone().any(|partition| view.partition(partition).is_none());
        let whereabouts = Whereabouts::ask(self.owners.as_ref().filter(|_| elsewhere));
        let mut reader = locked(&self.reader);
        let mut all = Vec::new();
        for partition in partitions {
            if let Some(seen) = view.partition(partition) {
                all.push(serde_json::to_value(seen).map_err(told)?);
                continue;
            }
            let committed = ops::committed_partition(reader.as_mut(), &self.codec, partition)?;
            let mut row = serde_json::to_value(committed).map_err(told)?;
            row["state"] = "elsewhere".into();
            row["why"] = whereabouts.of(partition).into();
            all.push(row);
        }
        Ok(all)
    }

    /// One partition of this process.
    ///
    /// # Errors
    /// [`OpsError::NotFound`] saying who has it.
    pub(crate) fn explain_partition(&self, partition: u32) -> Result<PartitionExplained, OpsError> {
        self.check(partition)?;
        ops::explain_partition(&self.view(), partition)
    }

    /// Lets a quarantined partition of this process go on.
    ///
    /// # Errors
    /// As [`Live::explain_partition`]; [`OpsError::Refused`] when it is not quarantined.
    pub(crate) fn release(&self, partition: u32) -> Result<(), OpsError> {
        self.check(partition)?;
        ops::release(&self.view(), partition)
    }

    /// A device's clock and open panes.
    ///
    /// # Errors
    /// [`OpsError::NotFound`] when no state is kept of it, or another process has it.
    pub(crate) fn explain_device(&self, device: &str) -> Result<DeviceExplained, OpsError> {
        let partitions = self.journal.partitions();
        self.here(partition_of(device.as_bytes(), partitions)).map_err(OpsError::NotFound)?;
        ops::explain_device(&self.view(), device)
    }

    fn check(&self, partition: u32) -> Result<(), OpsError> {
        let partitions = self.journal.partitions();
        if partition >= partitions {
            let last = partitions.saturating_sub(1);
            return Err(OpsError::NotFound(format!(
                "there is no partition {partition}: they are 0 to {last}"
            )));
        }
        self.here(partition).map_err(OpsError::NotFound)
    }

    /// Rows of the store.
    ///
    /// # Errors
    /// When the store does not answer.
    pub(crate) fn totals(&self) -> Result<StoreTotals> {
        Ok(self.store.count()?)
    }

    /// Dead letters kept in the journal. They are read, all of them: in Kafka ends of transactions take offsets too.
    ///
    /// # Errors
    /// When the journal does not answer.
    pub(crate) fn dead_letters(&self) -> Result<u64, JournalError> {
        const READ_RECORDS: usize = 1_000;
        let mut reader = locked(&self.reader);
        let mut letters = 0;
        for partition in 0..self.journal.partitions() {
            let at = TopicPartition { topic: Topic::DeadLetters, partition };
            let (mut from, end) = reader.bounds(at)?;
            while from < end {
                let next = reader.read(at, from, READ_RECORDS, &mut |_| letters += 1)?;
                if next == from {
                    break;
                }
                from = next;
            }
        }
        Ok(letters)
    }

    /// Measures the watched groups anew and returns each one's.
    ///
    /// # Errors
    /// When the journal does not answer.
    pub(crate) fn measure(&self) -> Result<Vec<GroupLag>, JournalError> {
        let mut backlog = locked(&self.backlog);
        backlog.last = Backlog::look(&mut backlog.watched, &self.journal)?;
        Ok(backlog.last.clone())
    }

    /// The backlog as last measured; of groups that are not watched here, as it is now.
    ///
    /// # Errors
    /// When the journal does not answer.
    pub(crate) fn backlog(&self) -> Result<LagReport, JournalError> {
        let mut backlog = locked(&self.backlog);
        let asked = Backlog::look(&mut backlog.asked, &self.journal)?;
        Ok(lag::report(backlog.last.iter().cloned().chain(asked).collect()))
    }
}

/// One partition's line. Two checks in one: every reading has one outcome, and every offset was one record.
fn processor_line(owned: &BooksLine, in_flight: i64) -> Line {
    let outcomes = [
        ("aggregated", owned.aggregated),
        ("filtered", owned.filtered),
        ("duplicate", owned.duplicate),
        ("late", owned.late),
        ("rejected", owned.rejected),
    ];
    let name = Some(trail::name(owned.partition));
    let mut line = Line::new(name, owned.received, &outcomes, owned.pending, in_flight);
    line.balanced &= owned.balanced && owned.lost == 0;
    let besides = [("offsets-unexplained", owned.offsets_unexplained), ("lost-to-retention", owned.lost)];
    line.besides.extend(besides.into_iter().filter(|(_, count)| *count != 0));
    line
}

/// One version of a model.
fn model_row((model, role): (&Model, &str), trial: &Value, ended: &Value, here: &[PartitionView]) -> Value {
    json!({
        "name": model.name,
        "version": scoring::version_of(model),
        "component": model.component,
        "artifact": model.artifact,
        "role": role,
        "inputs": model.inputs.names(),
        "of_window": of_window(&model.inputs),
        "route": (!model.route.is_open()).then_some(&model.route),
        "threshold": model.threshold,
        "sample_every": model.sample_every,
        "settings": serde_json::from_str::<Value>(&model.settings).unwrap_or(Value::Null),
        "trial": trial,
        "ended": ended,
        "here": models::done_here(here, model),
    })
}

/// Which windows a model scores and what it is given of them; none: it scores readings.
fn of_window(inputs: &Inputs) -> Option<Value> {
    match inputs {
        Inputs::Windows { window, features, .. } => Some(json!({ "window": window, "features": features })),
        Inputs::Each(_) | Inputs::Columns(_) => None,
    }
}

fn unavailable(error: impl std::fmt::Display) -> Unavailable {
    Unavailable(error.to_string())
}

impl LiveView for Live {
    fn books(&self) -> Result<Value, Unavailable> {
        let books = self.closed_books().map_err(unavailable)?;
        serde_json::to_value(books).map_err(unavailable)
    }

    fn lag(&self) -> Result<Value, Unavailable> {
        serde_json::to_value(self.backlog().map_err(unavailable)?).map_err(unavailable)
    }

    fn device_state(&self, device_id: &str) -> Result<Option<Value>, Unavailable> {
        self.here(partition_of(device_id.as_bytes(), self.journal.partitions())).map_err(Unavailable)?;
        match self.explain_device(device_id) {
            Ok(state) => Ok(Some(serde_json::to_value(state).map_err(unavailable)?)),
            Err(OpsError::NotFound(_)) => Ok(None),
            Err(error) => Err(unavailable(error)),
        }
    }

    fn models(&self) -> Result<Value, Unavailable> {
        let (generation, pipeline, statuses) = match self.config_in_force().ok() {
            None => (None, self.pipeline.clone(), Vec::new()),
            Some(in_force) => {
                let statuses = self.models.rollouts().status(&in_force).map_err(unavailable)?;
                (Some(in_force.generation), in_force.roles.over(in_force.pipeline), statuses)
            }
        };
        let here = self.processor.get().map(Running::partitions).unwrap_or_default();
        let mut items: Vec<Value> = Vec::new();
        for model in &pipeline.models {
            let (trial, ended) = models::trials(&statuses, &model.name);
            items.push(model_row((model, "active"), &trial, &ended, &here));
            if let Some(beside) = &model.trial {
                let mut other = model.clone();
                other.set_version(beside.version.clone());
                items.push(model_row((&other, &beside.stage.to_string()), &trial, &ended, &here));
            }
        }
        Ok(json!({ "generation": generation, "items": items }))
    }
}

//! What is known of the running parts: books, backlog, device states, models. The dashboard and the admin address
//! ask here; so does the demo.

use super::books::{Books, Line, Stage};
use super::outputs;
use super::processor::Running;
use super::trail;
use super::watch;
use anyhow::Result;
use dashboard::LiveView;
use dashboard::live::Unavailable;
use ingest::Ingest;
use journal::port::{Journal, JournalError, Reader, TopicPartition};
use lag::{GroupLag, LagReport, Monitor};
use processor::ops::{self, BooksLine, InForce, Letters, OpsError};
use schemas::codec::Codec;
use schemas::pipeline::Pipeline;
use schemas::topic::Topic;
use serde_json::{Value, json};
use sink::SinkHandle;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use store::feed::Feed;
use store::port::{Store, StoreTotals};

/// The running parts, as they come up.
pub(crate) struct Live {
    journal: Arc<dyn Journal>,
    store: Arc<dyn Store>,
    reader: Mutex<Box<dyn Reader>>,
    monitors: Mutex<Vec<Monitor>>,
    lag: Mutex<LagReport>,
    feed: Feed,
    letters: Letters,
    codec: Codec,
    pipeline: Pipeline,
    ingest: OnceLock<Ingest>,
    processor: OnceLock<Running>,
    sink: OnceLock<SinkHandle>,
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
    ) -> Result<Self> {
        let monitors = watch::monitors(&*journal)?;
        Ok(Self {
            reader: Mutex::new(journal.reader()?),
            monitors: Mutex::new(monitors),
            lag: Mutex::new(lag::report(Vec::new())),
            feed: Feed::default(),
            ingest: OnceLock::new(),
            processor: OnceLock::new(),
            sink: OnceLock::new(),
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

    /// What could not be used.
    pub(crate) const fn letters(&self) -> &Letters {
        &self.letters
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
    /// When it is in force already, or the journal does not answer.
    pub(crate) fn propose(&self, pipeline: &Pipeline) -> Result<i64, OpsError> {
        ops::propose(&*self.journal, &self.codec, pipeline)
    }

    /// The books of every part that runs here.
    ///
    /// # Errors
    /// When the journal does not answer.
    pub(crate) fn closed_books(&self) -> Result<Books, JournalError> {
        let mut stages = Vec::new();
        if let Some(ingest) = self.ingest.get() {
            stages.push(Stage::ingest(ingest.books()));
        }
        if let Some(processor) = self.processor.get() {
            stages.push(self.processor_stage(processor)?);
        }
        let before = self.processor.get().map(Running::partitions);
        if let Some(sink) = self.sink.get() {
            let read = sink.books()?;
            stages.push(Stage::sink(&read));
            if let (Some(before), Some(after)) = (before, self.processor.get().map(Running::partitions)) {
                let (positions, results) = outputs::written(&before);
                let still = stages.iter().all(|stage| stage.total.in_flight == 0)
                    && positions == outputs::written(&after).0;
                if still {
                    stages.push(outputs::stage(&results, &read));
                }
            }
        }
        Ok(Books::of(stages))
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
            stages.push(Stage::sink(&sink::books::committed(&*self.journal)?));
        }
        Ok(Books::of(stages))
    }

    fn processor_stage(&self, processor: &Running) -> Result<Stage, JournalError> {
        let view = processor.get().view().clone();
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

    /// Rows of the store.
    ///
    /// # Errors
    /// When the store does not answer.
    pub(crate) fn totals(&self) -> Result<StoreTotals> {
        Ok(self.store.count()?)
    }

    /// Dead letters kept in the journal.
    ///
    /// # Errors
    /// When the journal does not answer.
    pub(crate) fn dead_letters(&self) -> Result<u64, JournalError> {
        let mut reader = locked(&self.reader);
        let mut letters = 0;
        for partition in 0..self.journal.partitions() {
            let (start, end) = reader.bounds(TopicPartition { topic: Topic::DeadLetters, partition })?;
            letters += end.saturating_sub(start).max(0).unsigned_abs();
        }
        Ok(letters)
    }

    /// Measures the backlog anew and returns each group's.
    ///
    /// # Errors
    /// When the journal does not answer.
    pub(crate) fn measure(&self) -> Result<Vec<GroupLag>, JournalError> {
        let journal = Arc::clone(&self.journal);
        let now = move || journal.now();
        let groups = locked(&self.monitors)
            .iter_mut()
            .map(|monitor| monitor.look(&now))
            .collect::<Result<Vec<_>, _>>()?;
        *locked(&self.lag) = lag::report(groups.clone());
        Ok(groups)
    }

    /// The backlog as last measured.
    pub(crate) fn backlog(&self) -> LagReport {
        locked(&self.lag).clone()
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

fn unavailable(error: impl std::fmt::Display) -> Unavailable {
    Unavailable(error.to_string())
}

impl LiveView for Live {
    fn books(&self) -> Result<Value, Unavailable> {
        let books = self.closed_books().map_err(unavailable)?;
        serde_json::to_value(books).map_err(unavailable)
    }

    fn lag(&self) -> Result<Value, Unavailable> {
        serde_json::to_value(self.backlog()).map_err(unavailable)
    }

    fn device_state(&self, device_id: &str) -> Result<Option<Value>, Unavailable> {
        let Some(processor) = self.processor.get() else {
            return Err(Unavailable("no processor runs in this process; ask the one that does".to_owned()));
        };
        let view = processor.get().view().clone();
        match ops::explain_device(&view, device_id) {
            Ok(state) => Ok(Some(serde_json::to_value(state).map_err(unavailable)?)),
            Err(OpsError::NotFound(_)) => Ok(None),
            Err(error) => Err(unavailable(error)),
        }
    }

    fn models(&self) -> Result<Value, Unavailable> {
        let in_force = self.config_in_force().ok();
        let generation = in_force.as_ref().map(|in_force| in_force.generation);
        let pipeline = in_force.map_or_else(|| self.pipeline.clone(), |in_force| in_force.pipeline);
        let items: Vec<Value> = pipeline
            .models
            .iter()
            .map(|model| {
                json!({
                    "name": model.name,
                    "version": scoring::version_of(model),
                    "component": model.component,
                    "role": "active",
                    "inputs": model.inputs.names(),
                    "threshold": model.threshold,
                    "sample_every": model.sample_every,
                    "settings": serde_json::from_str::<Value>(&model.settings).unwrap_or(Value::Null),
                })
            })
            .collect();
        Ok(json!({ "generation": generation, "items": items }))
    }
}

//! What is known of the running parts: books, backlog, device states, models. The dashboard and the admin address
//! ask here; so does the demo.

use super::books::{Books, Line, Stage};
use super::offline::outcomes;
use anyhow::Result;
use dashboard::LiveView;
use dashboard::live::Unavailable;
use ingest::Ingest;
use journal::port::{Journal, JournalError, Reader, TopicPartition};
use lag::{GroupLag, LagReport, Monitor, Rules};
use super::processor::Running;
use processor::view::PartitionView;
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
    pub(crate) fn new(journal: Arc<dyn Journal>, store: Arc<dyn Store>, pipeline: Pipeline) -> Result<Self> {
        let mut watched = vec![(processor::GROUP, Topic::Raw)];
        watched.extend(sink::TOPICS.map(|topic| (sink::GROUP, topic)));
        let monitors = watched
            .into_iter()
            .map(|(group, topic)| {
                Ok(Monitor::new(journal.reader()?, group, topic, journal.partitions(), Rules::default()))
            })
            .collect::<Result<_, JournalError>>()?;
        Ok(Self {
            reader: Mutex::new(journal.reader()?),
            monitors: Mutex::new(monitors),
            lag: Mutex::new(lag::report(Vec::new())),
            feed: Feed::default(),
            ingest: OnceLock::new(),
            processor: OnceLock::new(),
            sink: OnceLock::new(),
            journal,
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

    /// The configuration of the file, which may differ from the one in force.
    pub(crate) const fn pipeline(&self) -> &Pipeline {
        &self.pipeline
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
        if let Some(sink) = self.sink.get() {
            stages.push(Stage::sink(&sink.books()?));
        }
        Ok(Books::of(stages))
    }

    fn processor_stage(&self, processor: &Running) -> Result<Stage, JournalError> {
        let views = processor.get().view().partitions();
        let mut reader = locked(&self.reader);
        let mut lines = Vec::new();
        for partition in 0..self.journal.partitions() {
            let raw = TopicPartition { topic: Topic::Raw, partition };
            let committed = reader.committed(processor::GROUP, raw)?.map(|committed| committed.offset);
            let (start, end) = reader.bounds(raw)?;
            let in_flight = end.saturating_sub(committed.unwrap_or(start)).max(0);
            let view = views.iter().find(|view| view.partition == partition);
            lines.push(processor_line(partition, view, in_flight));
        }
        Ok(Stage::sum("processor", "readings", lines))
    }

    /// Rows of the store.
    ///
    /// # Errors
    /// When the store does not answer.
    pub(crate) fn totals(&self) -> Result<StoreTotals> {
        Ok(self.store.totals()?)
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
        let groups = locked(&self.monitors).iter_mut().map(|monitor| monitor.look(&now)).collect::<Result<Vec<_>, _>>()?;
        *locked(&self.lag) = lag::report(groups.clone());
        Ok(groups)
    }

    /// The backlog as last measured.
    pub(crate) fn backlog(&self) -> LagReport {
        locked(&self.lag).clone()
    }

    /// The journal.
    pub(crate) const fn journal(&self) -> &Arc<dyn Journal> {
        &self.journal
    }
}

/// One partition's line. Two checks in one: every reading has one outcome, and every offset was one record.
fn processor_line(partition: u32, view: Option<&PartitionView>, in_flight: i64) -> Line {
    let name = Some(format!("{}/{partition}", Topic::Raw));
    let Some(view) = view else {
        return Line::new(name, 0, &[], 0, in_flight);
    };
    let totals = &view.totals;
    let outcomes = outcomes(totals);
    let mut line = Line::new(name, totals.received, &outcomes, 0, in_flight);
    let offsets = view.position - view.counted_from;
    let unexplained = offsets - totals.received - totals.others - view.lost;
    if unexplained != 0 || view.lost != 0 {
        line.balanced = false;
        line.besides.insert("offsets-unexplained", unexplained);
        line.besides.insert("lost-to-retention", view.lost);
    }
    let besides = [
        ("other-records", totals.others),
        ("late-partial", totals.late_partial),
        ("beyond-horizon", totals.beyond_horizon),
        ("scored", totals.scored),
        ("scoring-failed", totals.scoring_failed),
    ];
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
        let _ = (processor, device_id);
        Err(Unavailable("not yet".to_owned()))
    }

    fn models(&self) -> Result<Value, Unavailable> {
        let items: Vec<Value> = self
            .pipeline
            .models
            .iter()
            .map(|model| {
                json!({
                    "name": model.name,
                    "component": model.component,
                    "role": "active",
                    "inputs": model.inputs.names(),
                    "threshold": model.threshold,
                    "sample_every": model.sample_every,
                    "settings": serde_json::from_str::<Value>(&model.settings).unwrap_or(Value::Null),
                })
            })
            .collect();
        Ok(json!({ "items": items }))
    }
}

//! The fold over a workload, as the worker runs it: one partition, a cut every so many records.

use crate::workload::Records;
use anyhow::{Context, Result, anyhow, ensure};
use journal::port::{Headers, NewRecord, RecordRef};
use processor::outputs::Outputs;
use processor::state::PartitionState;
use processor::step::{Models, Tools};
use schemas::Micros;
use schemas::codec::Codec;
use schemas::pipeline::{
    ClockAhead, Inputs, Limits, Metrics, Model, Pipeline, Route, TimeRules, Window, WindowKind,
};
use schemas::record::{Control, Raw};
use scoring::shipped::{self, Shipped};
use scoring::{Loader, LoaderConfig};
use std::sync::Arc;

/// Records between two cuts.
const CUT_EVERY: usize = 10_000;
const SECOND: Micros = 1_000_000;

/// One-minute tumbling windows of one metric, nothing kept for late readings.
#[must_use]
pub fn pipeline(lateness: Micros) -> Pipeline {
    Pipeline {
        windows: vec![Window {
            name: "1m".into(),
            kind: WindowKind::Tumbling { size: 60 * SECOND, offset: 0 },
            early_every: None,
            early_count: None,
            metrics: None,
            disorder: None,
            quiet_after: None,
            lateness: None,
            settle: None,
        }],
        metrics: Metrics::Named(vec!["temperature".into()]),
        time: TimeRules {
            disorder: 10 * SECOND,
            quiet_after: None,
            lateness,
            settle: None,
            max_ahead: 300 * SECOND,
            clock_ahead: ClockAhead::Reject,
            idle_retention: 86_400 * SECOND,
            device_retention: 30 * 86_400 * SECOND,
        },
        filters: Vec::new(),
        models: Vec::new(),
        limits: Limits { devices_max: 1_000_000, panes_max: 10_000_000, backfill_panes_max: 1_000 },
        bare_json: true,
        drop_repeats: false,
        stalled_after: None,
    }
}

/// The same, and the shipped `ewma` scores the metric of every reading.
///
/// # Errors
/// When no such model is shipped.
pub fn scored(lateness: Micros) -> Result<Pipeline> {
    let model = Model {
        name: "ewma".into(),
        component: shipped::find("ewma").context("no `ewma` is shipped")?.digest.clone(),
        artifact: None,
        settings: "{}".into(),
        seed: 0,
        inputs: Inputs::Each(vec!["temperature".into()]),
        route: Route::default(),
        threshold: 6.0,
        // As a configuration has it that says nothing else.
        sample_every: 100,
        fuel_per_row: 1_000_000,
        trial: None,
    };
    Ok(Pipeline { models: vec![model], ..pipeline(lateness) })
}

/// Where models come from. It keeps what it has compiled.
///
/// # Errors
/// When there is no engine to be had.
pub fn models() -> Result<Arc<dyn Models>> {
    Ok(Arc::new(Loader::new(Arc::new(Shipped), LoaderConfig::default())?))
}

/// A partition that folds.
pub struct Drain {
    state: PartitionState,
    tools: Tools,
    outputs: Outputs,
    sealed: Vec<NewRecord>,
    offset: i64,
    emitted: u64,
    scored: bool,
}

impl Drain {
    /// An empty partition, configured; `models` has what the pipeline names.
    ///
    /// # Errors
    /// When the configuration is not taken.
    pub fn new(codec: &Codec, pipeline: &Pipeline, models: Arc<dyn Models>) -> Result<Self> {
        let mut drain = Self {
            state: PartitionState::new(0, 1, 0),
            tools: Tools::new(codec.clone(), models),
            scored: !pipeline.models.is_empty(),
            outputs: Outputs::new(codec.clone()),
            sealed: Vec::new(),
            offset: 0,
            emitted: 0,
        };
        let control = Control {
            generation: 0,
            pipeline: Some(serde_json::to_string(pipeline)?),
            models: None,
            skip_from: None,
            skip_to: None,
        };
        drain.one(None, &codec.to_bytes(&Raw::Control(control)), 1)?;
        Ok(drain)
    }

    fn one(&mut self, key: Option<&[u8]>, value: &[u8], received_at: Micros) -> Result<()> {
        let record = RecordRef { offset: self.offset, received_at, key, value, headers: Headers::NONE };
        self.offset += 1;
        self.state.step(&record, &mut self.tools, &mut self.outputs).map_err(|halt| anyhow!("{halt}"))
    }

    /// Folds everything, with cuts on the way and one at the end.
    ///
    /// # Errors
    /// When a step halts.
    pub fn fold(&mut self, records: &Records) -> Result<usize> {
        for (number, (key, value, received_at)) in records.iter().enumerate() {
            self.one(Some(key), value, received_at)?;
            if number % CUT_EVERY == CUT_EVERY - 1 {
                self.cut()?;
            }
        }
        self.cut()?;
        Ok(records.len())
    }

    fn cut(&mut self) -> Result<()> {
        self.state.settle(&mut self.tools, &mut self.outputs).map_err(|halt| anyhow!("{halt}"))?;
        self.state.seal(&mut self.outputs, Some(&mut self.sealed));
        self.emitted += self.sealed.len() as u64;
        // Whoever takes them keeps none of the room.
        self.sealed = Vec::new();
        Ok(())
    }

    /// Checks that every reading was aggregated, and scored if there is a model; returns how many results there were.
    ///
    /// # Errors
    /// The books, when it was not.
    pub fn check(&self, readings: usize) -> Result<u64> {
        let totals = self.state.totals();
        ensure!(
            totals.aggregated == i64::try_from(readings)?,
            "not every reading was aggregated: {totals:?}"
        );
        let scored = if self.scored { readings } else { 0 };
        ensure!(totals.scored == i64::try_from(scored)?, "not every reading was scored: {totals:?}");
        ensure!(self.emitted > 0, "no window was emitted");
        Ok(self.emitted)
    }

    /// The state, to be asked for its size.
    #[must_use]
    pub fn state(&self) -> &PartitionState {
        &self.state
    }
}

//! The rows a model is given, out of history: what it is trained with is made by what serves it.
//!
//! The log is folded from its beginning, with the configurations that were in force: calibration, filters, duplicates and clocks are
//! those of the day. Only the models are replaced in each of them by one: a bystander with the inputs that are asked for.
//! Nothing is published.

use super::OpsError;
use crate::controller;
use crate::decoded::read_decoded;
use crate::outputs::Outputs;
use crate::state::{PartitionState, canonical};
use crate::step::{Halt, Tools};
use journal::port::{Journal, Reader, RecordRef, TopicPartition};
use schemas::Micros;
use schemas::codec::{Codec, DecodeError};
use schemas::grammar::ReadingLimits;
use schemas::pipeline::{Model, Pipeline};
use schemas::raw::{RawDecoder, RawView};
use schemas::record::{Audit, Control, Raw};
use schemas::topic::Topic;
use scoring::shipped::{self, Shipped};
use scoring::{ComponentSource, GatheredRow, Loader, LoaderConfig, Onlooker, Places, SourceError, bystander};
use serde::Serialize;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

/// Records that are folded together.
const READ_RECORDS: usize = 1_024;

/// A row of a model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TrainingRow<'a> {
    /// Device.
    pub device_id: &'a str,
    /// Event time.
    pub event_time: Micros,
    /// The metric it is a row of; none: a row of columns.
    pub metric: Option<&'a str>,
    /// By column; NaN: missing.
    pub values: &'a [f64],
}

/// What an export went through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Exported {
    /// Records that were folded.
    pub records: u64,
    /// Rows that were given out.
    pub rows: u64,
    /// Partitions whose log does not have its beginning any more: windows and duplicates may differ from what was served.
    pub cut_partitions: u32,
}

/// Gives out the rows of a model with event times within the span, partition by partition in the order of the log.
///
/// # Errors
/// [`OpsError::Refused`] when the model's inputs cannot be gathered; [`OpsError::Unavailable`] when the journal does not
/// answer; what `each` says.
pub fn training_rows(
    journal: &dyn Journal,
    codec: &Codec,
    model: &Model,
    span: Range<Micros>,
    each: &mut dyn FnMut(&TrainingRow<'_>) -> Result<(), OpsError>,
) -> Result<Exported, OpsError> {
    if model.inputs.is_of_windows() {
        return Err(OpsError::Refused(format!(
            "`{}` is given closed windows, not readings: their numbers are in the query API and on iot.aggregates",
            model.name
        )));
    }
    let (model, weights) = bystander(model);
    let seen = Arc::new(Seen::default());
    let onlooker = Some(Arc::clone(&seen) as Arc<dyn Onlooker>);
    let source = Places(vec![Arc::new(Shipped), Arc::new(Given(weights))]);
    let loader = Loader::new(Arc::new(source), LoaderConfig { onlooker, ..LoaderConfig::default() })
        .map_err(|why| OpsError::Refused(why.to_string()))?;
    loader.load(std::slice::from_ref(&model)).map_err(|why| OpsError::Refused(why.to_string()))?;
    let mut export = Export {
        reader: journal.reader()?,
        tools: Tools::new(codec.clone(), Arc::new(loader)),
        decoder: RawDecoder::new(ReadingLimits::default()),
        model,
        seen,
        span,
        exported: Exported::default(),
    };
    for partition in 0..journal.partitions() {
        export.partition(partition, journal.partitions(), each)?;
    }
    Ok(export.exported)
}

/// An export under way.
struct Export {
    reader: Box<dyn Reader>,
    tools: Tools,
    decoder: RawDecoder,
    model: Model,
    seen: Arc<Seen>,
    span: Range<Micros>,
    exported: Exported,
}

impl Export {
    fn partition(
        &mut self,
        partition: u32,
        partitions: u32,
        each: &mut dyn FnMut(&TrainingRow<'_>) -> Result<(), OpsError>,
    ) -> Result<(), OpsError> {
        let at = TopicPartition { topic: Topic::Raw, partition };
        let (start, end) = self.reader.bounds(at)?;
        let mut state = PartitionState::new(partition, partitions, start);
        let mut out = Outputs::new(self.tools.codec.clone());
        if start > 0 {
            self.exported.cut_partitions += 1;
            self.begin_behind(&mut state, partition, start)?;
        }
        let mut from = start;
        while from < end {
            let (mut devices, mut failed) = (BTreeMap::new(), None);
            let Self { reader, tools, decoder, model, exported, .. } = self;
            let next = reader.read(at, from, READ_RECORDS, &mut |record| {
                if failed.is_some() || record.offset >= end {
                    return;
                }
                if let Some(key) = record.key.and_then(|key| std::str::from_utf8(key).ok()) {
                    devices.insert(record.offset, key.to_owned());
                }
                exported.records += 1;
                failed = fold(&mut state, &record, (decoder, model), tools, &mut out).err();
            })?;
            if let Some(why) = failed {
                return Err(why);
            }
            // A cut never splits a scoring batch: after it, every row has been seen.
            state.settle(tools, &mut out).map_err(halted)?;
            state.seal(&mut out, None);
            self.give_out(&devices, each)?;
            if next == from {
                break;
            }
            from = next;
        }
        Ok(())
    }

    /// Puts in force what was when the log's present beginning was written: the audit topic knows it, to a commit.
    fn begin_behind(
        &mut self,
        state: &mut PartitionState,
        partition: u32,
        start: i64,
    ) -> Result<(), OpsError> {
        let at = TopicPartition { topic: Topic::Audit, partition };
        let codec = self.tools.codec.clone();
        let (mut from, end) = self.reader.bounds(at)?;
        let mut generation = None;
        while from < end && generation.is_none() {
            let next =
                read_decoded(&mut *self.reader, &codec, at, (from, READ_RECORDS), &mut |_, audit: Audit| {
                    if audit.to > start && generation.is_none() {
                        generation = Some(audit.generation);
                    }
                })?;
            if next == from {
                break;
            }
            from = next;
        }
        let mut found = None;
        controller::read_decisions(&mut *self.reader, &codec, |offset, control| {
            let wanted = generation.is_none_or(|generation| offset <= generation);
            if wanted && control.pipeline.is_some() {
                found = Some(Control { generation: offset, ..control });
            }
        })?;
        let Some(control) = found.and_then(|control| only(&control, &self.model)) else { return Ok(()) };
        state.restore(&control, &self.tools).map_err(OpsError::Unavailable)
    }

    fn give_out(
        &mut self,
        devices: &BTreeMap<i64, String>,
        each: &mut dyn FnMut(&TrainingRow<'_>) -> Result<(), OpsError>,
    ) -> Result<(), OpsError> {
        for row in self.seen.take() {
            let Some(device_id) = devices.get(&row.offset).filter(|_| self.span.contains(&row.event_time))
            else {
                continue;
            };
            let (event_time, metric) = (row.event_time, row.metric.as_deref());
            each(&TrainingRow { device_id, event_time, metric, values: &row.values })?;
            self.exported.rows += 1;
        }
        Ok(())
    }
}

/// Applies one record; a configuration with the bystander in the place of its models.
fn fold(
    state: &mut PartitionState,
    record: &RecordRef<'_>,
    (decoder, model): (&mut RawDecoder, &Model),
    tools: &mut Tools,
    out: &mut Outputs,
) -> Result<(), OpsError> {
    if decoder.decode_usual(&tools.codec, record.value, true).is_none() {
        let control = match decoder.decode_unusual(&tools.codec, record.value, true) {
            Ok(RawView::Control(control)) => only(&control, model),
            Err(DecodeError::Retry(why)) => return Err(OpsError::Unavailable(why)),
            Ok(_) | Err(DecodeError::Reject(_)) => None,
        };
        if let Some(control) = control {
            let value = tools.codec.to_bytes(&Raw::Control(control));
            return state.step(&RecordRef { value: &value, ..*record }, tools, out).map_err(halted);
        }
    }
    state.step(record, tools, out).map_err(halted)
}

/// The decision with this model and no other; none: it is not about the pipeline, or cannot be read, as in the stream.
fn only(control: &Control, model: &Model) -> Option<Control> {
    let mut pipeline: Pipeline = serde_json::from_str(control.pipeline.as_deref()?).ok()?;
    pipeline.models = vec![model.clone()];
    Some(Control { pipeline: Some(canonical(&pipeline)), models: None, ..control.clone() })
}

fn halted(why: Halt) -> OpsError {
    OpsError::Unavailable(why.to_string())
}

/// The rows of a flush.
#[derive(Debug, Default)]
struct Seen(Mutex<Vec<SeenRow>>);

#[derive(Debug)]
struct SeenRow {
    offset: i64,
    event_time: Micros,
    metric: Option<String>,
    values: Vec<f64>,
}

impl Seen {
    fn take(&self) -> Vec<SeenRow> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Onlooker for Seen {
    fn saw(&self, row: &GatheredRow<'_>) {
        let (offset, event_time) = (row.offset, row.event_time);
        let (metric, values) = (row.metric.map(str::to_owned), row.values.to_vec());
        let row = SeenRow { offset, event_time, metric, values };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(row);
    }
}

/// The bystander's weights.
struct Given(Vec<u8>);

impl ComponentSource for Given {
    fn fetch(&self, digest: &str) -> Result<Option<Cow<'static, [u8]>>, SourceError> {
        Ok((shipped::digest_of(&self.0) == digest).then(|| Cow::Owned(self.0.clone())))
    }
}

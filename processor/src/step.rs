//! One record: the only way the state changes.
//!
//! Lives here: what kind of record it is, whether it belongs here, the order of effects. Below: a reading's way to
//! the windows (`reading`, `routes`, `queue`, `take`), what windows bring forth (`emit`, `closed`), scores (`scores`), refusals
//! (`letters`), configuration and metadata (`control`).
//!
//! Order of effects: what waits for scores is folded if this record could notice the difference; timers due at the
//! record's receipt time fire; the record is applied.
//!
//! When a step returns [`Halt`], it has changed nothing that a second call would not change the same way: call it
//! again with the same record.

mod closed;
mod control;
mod emit;
mod letters;
mod queue;
mod reading;
mod routes;
mod scores;
mod take;

pub(crate) use closed::Closed;
use control::Decision;
pub(crate) use queue::Queue;
pub(crate) use reading::Measure;

use crate::mutation::{self, Mutation};
use crate::outputs::Outputs;
use crate::state::{Core, PartitionState};
use journal::port::RecordRef;
use schemas::Micros;
use schemas::codec::{Codec, DecodeError};
use schemas::grammar::ReadingLimits;
use schemas::partition::partition_of;
use schemas::pipeline::Model;
use schemas::raw::{RawDecoder, RawView};
use schemas::reason::{Reject, RejectReason};
use schemas::record::Stage;
use scoring::ModelSet;
use std::sync::Arc;

/// Where models come from. The same digests and settings always give the same models.
pub trait Models: Send + Sync {
    /// Makes these models ready.
    ///
    /// # Errors
    /// A sentence; the partition waits until the model can be had.
    fn load(&self, models: &[Model]) -> Result<ModelSet, String>;
}

/// No models at all: a pipeline that names one makes the partition wait.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoModels;

impl Models for NoModels {
    fn load(&self, models: &[Model]) -> Result<ModelSet, String> {
        match models {
            [] => Ok(ModelSet::none()),
            [first, ..] => Err(format!("model `{}`: this process loads no models", first.name)),
        }
    }
}

impl Models for scoring::Loader {
    fn load(&self, models: &[Model]) -> Result<ModelSet, String> {
        Self::load(self, models).map_err(|why| why.to_string())
    }
}

/// What steps need besides the state: the same for all partitions of a worker.
pub struct Tools {
    /// Codec.
    pub codec: Codec,
    /// Scratch of the record at hand.
    pub decoder: RawDecoder,
    /// Scratch for readings that are looked at once more after their scores are known.
    again: RawDecoder,
    /// Models.
    pub models: Arc<dyn Models>,
}

impl std::fmt::Debug for Tools {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tools").field("codec", &self.codec).finish_non_exhaustive()
    }
}

impl Tools {
    /// Tools with the default limits of a reading.
    #[must_use]
    pub fn new(codec: Codec, models: Arc<dyn Models>) -> Self {
        let decoder = || RawDecoder::new(ReadingLimits::default());
        Self { codec, decoder: decoder(), again: decoder(), models }
    }
}

/// The world, not the record: nothing has happened, the same call may be made again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Halt {
    /// The schema table does not answer.
    #[error("{0}")]
    Schema(String),
    /// A model of the configuration cannot be had.
    #[error("the configuration of generation {generation} waits for a model: {why}")]
    Model {
        /// Offset of the decision.
        generation: i64,
        /// What is missing.
        why: String,
    },
    /// The models took longer than the emergency brake allows.
    #[error("scoring was stopped by the emergency brake: {0}")]
    Braked(String),
}

/// How often a record has been sent round, in decimal.
pub const REDRIVEN_HEADER: &str = "redriven";

impl PartitionState {
    /// Applies one record.
    ///
    /// # Errors
    /// [`Halt`]: call again with the same record.
    pub fn step(&mut self, record: &RecordRef<'_>, tools: &mut Tools, out: &mut Outputs) -> Result<(), Halt> {
        let receipt = self.core.receipt_now.max(received_at(record));
        let bare_json = self.core.rules.pipeline.as_ref().is_none_or(|pipeline| pipeline.bare_json);
        // What may have to wait for the world comes first: what falls due with a record is committed with it, or a
        // cut would come between the two.
        let Tools { codec, decoder, again, models } = tools;
        if self.core.closed.is_ready() {
            self.flush(codec, again, out)?;
        }
        if let Some(view) = decoder.decode_usual(codec, record.value, bare_json) {
            self.evict_due(record, receipt, codec, again, out)?;
            self.reading(record, receipt, &view, codec, again, out)?;
            self.applied(record, receipt);
            return Ok(());
        }
        match decoder.decode_unusual(codec, record.value, bare_json) {
            Ok(RawView::Reading(view)) => {
                self.evict_due(record, receipt, codec, again, out)?;
                self.reading(record, receipt, &view, codec, again, out)?;
            }
            Ok(other) => {
                let decision = match &other {
                    RawView::Control(control) => self.decision(control, &**models)?,
                    _ => Ok(Decision::Old),
                };
                self.evict_due(record, receipt, codec, again, out)?;
                self.flush(codec, again, out)?;
                let decision = self.translated(decision)?;
                self.core.pass(record.offset, receipt, &mut self.lane, out);
                self.score_closed(out)?;
                self.other(record, receipt, other, decision, out);
            }
            Err(DecodeError::Retry(why)) => return Err(Halt::Schema(why)),
            Err(DecodeError::Reject(reject)) => {
                self.evict_due(record, receipt, codec, again, out)?;
                self.refuse(record, receipt, Stage::Decode, &reject, None, out);
            }
        }
        self.applied(record, receipt);
        Ok(())
    }

    #[inline]
    fn applied(&mut self, record: &RecordRef<'_>, receipt: Micros) {
        self.core.receipt_now = receipt;
        self.core.position = record.offset + 1;
    }

    /// Evicts devices before a record that finds them gone. When to look may differ after a restart; what is found may
    /// not.
    #[inline]
    fn evict_due(
        &mut self,
        record: &RecordRef<'_>,
        receipt: Micros,
        codec: &Codec,
        again: &mut RawDecoder,
        out: &mut Outputs,
    ) -> Result<(), Halt> {
        if receipt < self.core.evictions_from {
            return Ok(());
        }
        if self.core.windows.next_eviction().is_some_and(|due| due <= receipt) {
            self.flush(codec, again, out)?;
            self.core.pass(record.offset, receipt, &mut self.lane, out);
            self.score_closed(out)?;
        }
        self.core.look_for_evictions(receipt);
        Ok(())
    }

    /// Folds what waits for its scores: before a cut.
    ///
    /// # Errors
    /// [`Halt::Braked`]: everything still waits.
    pub fn settle(&mut self, tools: &mut Tools, out: &mut Outputs) -> Result<(), Halt> {
        self.flush(&tools.codec, &mut tools.again, out)
    }

    /// A record that is no reading.
    fn other(
        &mut self,
        record: &RecordRef<'_>,
        receipt: Micros,
        view: RawView<'_>,
        decision: Result<Decision, Reject>,
        out: &mut Outputs,
    ) {
        let applied = match view {
            RawView::Reading(_) | RawView::Tick => Ok(()),
            RawView::Device(device) => self
                .core
                .gate(record, &device.device_id)
                .and_then(|()| self.core.describe(record, receipt, *device, out)),
            RawView::Control(control) => {
                decision.and_then(|decision| self.configure(record.offset, receipt, &control, decision, out))
            }
            RawView::End(end) => match &end.device_id {
                None => {
                    self.core.end(None, out);
                    Ok(())
                }
                Some(device) => self.core.gate(record, device).map(|()| {
                    if let Some(slot) = self.core.windows.find(device) {
                        self.core.end(Some(slot), out);
                    }
                }),
            },
        };
        match applied {
            Ok(()) => self.core.books.others += 1,
            Err(reject) => self.refuse(record, receipt, Stage::Step, &reject, None, out),
        }
    }
}

impl Core {
    /// Finds out up to when no device can be evicted: readings only put evictions off, and a device that comes later
    /// goes later.
    #[cold]
    fn look_for_evictions(&mut self, receipt: Micros) {
        let retention =
            self.rules.pipeline.as_ref().map_or(Micros::MAX, |pipeline| pipeline.time.device_retention);
        let next = self.windows.next_eviction().unwrap_or(Micros::MAX);
        self.evictions_from = next.min(receipt.saturating_add(retention));
    }

    /// Whether a record of a device belongs to this partition.
    fn gate(&self, record: &RecordRef<'_>, device_id: &str) -> Result<(), Reject> {
        if record.key != Some(device_id.as_bytes()) {
            return Err(key_mismatch(record.key, device_id));
        }
        let home = partition_of(device_id.as_bytes(), self.partitions);
        if home == self.partition { Ok(()) } else { Err(self.misrouted(device_id, home)) }
    }

    #[cold]
    fn misrouted(&self, device_id: &str, home: u32) -> Reject {
        let Self { partition, partitions, .. } = self;
        Reject::new(
            RejectReason::Misrouted,
            format!(
                "`{device_id}` belongs to partition {home} of {partitions} by murmur2, and was found in {partition}"
            ),
        )
    }
}

#[cold]
fn key_mismatch(key: Option<&[u8]>, device_id: &str) -> Reject {
    let found = match key {
        None => "there is no key".to_owned(),
        Some(key) => format!("the key is `{}`", String::from_utf8_lossy(key)),
    };
    Reject::new(RejectReason::KeyMismatch, format!("{found}; it must be the device id, `{device_id}`"))
}

/// Receipt time of a record.
#[inline]
fn received_at(record: &RecordRef<'_>) -> Micros {
    if mutation::is(Mutation::WallClock) {
        return mutation::wall_clock();
    }
    record.received_at
}

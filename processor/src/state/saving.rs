//! The bytes of a snapshot.

use super::bytes::{Bytes, Damaged, put_bytes, put_i64, put_len, put_part, put_u32};
use super::{Books, Contests, Core, Fleet, Names, Numbers, PartitionState, Rules, Scratch};
use crate::step::{Closed, Models, Queue};
use schemas::codec::Codec;
use schemas::pipeline::Pipeline;
use schemas::topic::Topic;
use scoring::{Lane, ModelSet};
use std::sync::Arc;
use windowing::partition::Partition;

/// Version of the bytes.
pub(crate) const FORMAT: i32 = 3;
/// The version before: fewer topics, no trials.
const BEFORE_TRIALS: i32 = 2;
/// Topics there were then.
const TOPICS_BEFORE: usize = 10;

/// Why a snapshot was not loaded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// These bytes will never load: try the snapshot before.
    #[error(transparent)]
    Damaged(#[from] Damaged),
    /// A model cannot be had at the moment: try again.
    #[error("a model of the snapshot cannot be loaded: {0}")]
    Model(String),
}

impl PartitionState {
    /// Appends the state's bytes; outputs must have been sealed, and nothing may wait for scores.
    pub fn save(&self, codec: &Codec, out: &mut Vec<u8>) {
        debug_assert!(self.queue.is_empty() && self.core.closed.is_empty(), "a snapshot is taken at a cut");
        let core = &self.core;
        put_u32(out, core.partition);
        put_u32(out, core.partitions);
        for value in [core.position, core.receipt_now, core.write_clock, core.rules.generation] {
            put_i64(out, value);
        }
        out.extend_from_slice(&core.chain);
        let pipeline = core.rules.pipeline.as_deref().map(canonical).unwrap_or_default();
        put_bytes(out, pipeline.as_bytes());
        core.books.save(out);
        core.names.save(out);
        core.models.save(out);
        put_part(out, |out| core.fleet.save(codec, out));
        put_len(out, core.skips.len());
        for (from, to) in &core.skips {
            put_i64(out, *from);
            put_i64(out, *to);
        }
        put_part(out, |out| core.windows.save(out));
        put_part(out, |out| self.lane.save(out));
        core.contests.save(out);
    }

    /// Reads what [`PartitionState::save`] wrote.
    ///
    /// # Errors
    /// When the bytes are damaged, or of another version; or when a model of theirs cannot be had.
    pub fn load(bytes: &[u8], codec: &Codec, models: &dyn Models) -> Result<Self, LoadError> {
        Self::load_format(FORMAT, bytes, codec, models)
    }

    /// Whether bytes of this version can be read.
    pub(crate) const fn reads(format: i32) -> bool {
        format == FORMAT || format == BEFORE_TRIALS
    }

    /// Reads what a build of that format wrote.
    pub(crate) fn load_format(
        format: i32,
        bytes: &[u8],
        codec: &Codec,
        models: &dyn Models,
    ) -> Result<Self, LoadError> {
        let mut bytes = Bytes::new(bytes);
        let partition = bytes.u32("the partition")?;
        let partitions = bytes.u32("the number of partitions")?;
        let position = bytes.i64("the position")?;
        let receipt_now = bytes.i64("the receipt time")?;
        let write_clock = bytes.i64("the write clock")?;
        let generation = bytes.i64("the generation")?;
        let chain = bytes.array("the digest")?;
        let pipeline: Option<Arc<Pipeline>> = match bytes.str("the pipeline")? {
            "" => None,
            text => Some(Arc::new(
                serde_json::from_str(text).map_err(|why| bytes.damaged(format!("the pipeline: {why}")))?,
            )),
        };
        let books = Books::load(&mut bytes, topics_of(format))?;
        let mut names = Names::load(&mut bytes)?;
        let mut numbers = Numbers::load(&mut bytes)?;
        let stalled_after = pipeline.as_ref().and_then(|pipeline| pipeline.stalled_after);
        let mut part = Bytes::new(bytes.bytes("the devices")?);
        let fleet = Fleet::load(stalled_after, &mut names, codec, &mut part)?;
        part.finish()?;
        let mut skips = Vec::new();
        for _ in 0..bytes.u32("number of skipped ranges")? {
            skips.push((bytes.i64("a skipped range")?, bytes.i64("a skipped range")?));
        }
        let windows = Partition::load(bytes.bytes("the windows")?)
            .map_err(|why| bytes.damaged(format!("the windows: {why}")))?;
        let set = match &pipeline {
            None => ModelSet::none(),
            Some(pipeline) => models.load(&pipeline.models).map_err(LoadError::Model)?,
        };
        if !numbers.resume(&set) {
            return Err(bytes.damaged("a number for each model").into());
        }
        let lane = Lane::load(&set, bytes.bytes("the models' state")?)
            .map_err(|why| bytes.damaged(format!("the models' state: {why}")))?;
        let mut contests = Contests::default();
        if format != BEFORE_TRIALS {
            contests = Contests::load(&mut bytes, &set)?;
        }
        bytes.finish()?;
        let mut rules = match pipeline {
            None => Rules::none(),
            Some(pipeline) => Rules::compile(generation, pipeline, &mut names)
                .map_err(|why| bytes.damaged(why.to_string()))?,
        };
        rules.generation = generation;
        Ok(Self {
            core: Core {
                partition,
                partitions,
                position,
                receipt_now,
                write_clock,
                chain,
                books,
                rules,
                names,
                models: numbers,
                contests,
                fleet,
                windows,
                evictions_from: i64::MIN,
                skips,
                closed: Closed::of(&set),
                scratch: Scratch::default(),
            },
            lane: lane.of_partition(partition),
            queue: Queue::default(),
        })
    }
}

/// Topics there were when a format was written.
const fn topics_of(format: i32) -> usize {
    if format == BEFORE_TRIALS { TOPICS_BEFORE } else { Topic::ALL.len() }
}

/// The one text of a pipeline: what stands in control records and is compared with the file's.
pub(crate) fn canonical(pipeline: &Pipeline) -> String {
    serde_json::to_string(pipeline).expect("a pipeline is plain data")
}

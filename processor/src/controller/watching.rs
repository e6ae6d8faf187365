//! What versions on trial have done, gathered from what workers commit: counts from `iot.audit`, pairs of scores from
//! `iot.shadow`.
//!
//! Does not live here: what follows from it (`rollout`).

use crate::decoded::read_decoded;
use crate::rollout::{Pairs, Sums};
use journal::port::{Journal, JournalError, Reader, TopicPartition};
use schemas::codec::Codec;
use schemas::contract::Contract;
use schemas::record::{Audit, Shadow, TrialCounts};
use schemas::roles::Roles;
use schemas::topic::Topic;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Records of one read.
const READ_RECORDS: usize = 1_024;
/// Reads of one look at a partition; the rest is for the next look.
const READS_MAX: usize = 16;
/// Offsets before the end that a first look begins with: the latest commits, and a sample of scores.
const BACK: i64 = 256;

/// Which trial: name of the model, digest of the version on trial, stage as text.
pub(crate) type Trial = (String, String, String);

/// Follows the topics of every partition.
pub(crate) struct Watching {
    journal: Arc<dyn Journal>,
    codec: Codec,
    reader: Option<Box<dyn Reader>>,
    next: BTreeMap<TopicPartition, i64>,
    /// The latest counts of each partition, and the generation in force there.
    counts: BTreeMap<u32, (i64, Vec<TrialCounts>)>,
    /// Pairs by model and version.
    pairs: BTreeMap<(String, String), Pairs>,
}

impl Watching {
    pub(crate) fn new(journal: Arc<dyn Journal>, codec: Codec) -> Self {
        Self {
            journal,
            codec,
            reader: None,
            next: BTreeMap::new(),
            counts: BTreeMap::new(),
            pairs: BTreeMap::new(),
        }
    }

    /// Reads what has been committed since the last look, if something is on trial; scores only if a gate asks for them.
    pub(crate) fn look(&mut self, roles: &Roles) -> Result<(), JournalError> {
        let mut trials = roles.roles.values().filter_map(|deployment| deployment.trial.as_ref()).peekable();
        if trials.peek().is_none() {
            return Ok(());
        }
        let with_scores = trials.any(|trial| trial.gates.rank_correlation_min.is_some());
        let mut reader = match self.reader.take() {
            Some(reader) => reader,
            None => self.journal.reader()?,
        };
        for partition in 0..self.journal.partitions() {
            let mut newest = None;
            let at = TopicPartition { topic: Topic::Audit, partition };
            self.follow::<Audit>(&mut *reader, at, &mut |audit| {
                newest = Some((audit.generation, audit.trials))
            })?;
            if let Some(newest) = newest {
                self.counts.insert(partition, newest);
            }
            if with_scores {
                let mut pairs = std::mem::take(&mut self.pairs);
                let at = TopicPartition { topic: Topic::Shadow, partition };
                let read = self.follow::<Shadow>(&mut *reader, at, &mut |shadow| {
                    if let (Some(served), false) = (shadow.served_score, shadow.warm_up) {
                        pairs.entry((shadow.model, shadow.version)).or_default().push(served, shadow.score);
                    }
                });
                self.pairs = pairs;
                read?;
            }
        }
        // After an error the reader is not kept; what was read is.
        self.reader = Some(reader);
        Ok(())
    }

    fn follow<T: Contract>(
        &mut self,
        reader: &mut dyn Reader,
        at: TopicPartition,
        each: &mut dyn FnMut(T),
    ) -> Result<(), JournalError> {
        let (start, end) = reader.bounds(at)?;
        let known = self.next.get(&at).copied();
        let mut from = known.unwrap_or(end - BACK).max(start);
        for _ in 0..READS_MAX {
            if from >= end {
                break;
            }
            let next =
                read_decoded(reader, &self.codec, at, (from, READ_RECORDS), &mut |_, record| each(record))?;
            if next == from {
                break;
            }
            from = next;
            self.next.insert(at, from);
        }
        Ok(())
    }

    /// The sums of a trial over all partitions that have come to this generation: what was counted before may be of an
    /// earlier trial of the same version.
    pub(crate) fn sums(&self, (model, version, stage): &Trial, generation: i64) -> Sums {
        let mut sums = Sums::default();
        let of_trial = |counts: &&TrialCounts| {
            (&counts.model, &counts.version, &counts.stage) == (model, version, stage)
        };
        self.counts
            .values()
            .filter(|(at, _)| *at >= generation)
            .flat_map(|(_, counts)| counts)
            .filter(of_trial)
            .for_each(|counts| sums.add(counts));
        let pairs = self.pairs.get(&(model.clone(), version.clone()));
        Sums { correlation: pairs.and_then(Pairs::correlation), ..sums }
    }
}

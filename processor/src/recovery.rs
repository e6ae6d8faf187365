//! Where a partition begins: what was committed, the nearest state that can be trusted, what is left to fold.
//!
//! Between the state's position and the committed one the log is folded silently; at the committed position the
//! digest of all outputs, the clocks and the generation must be the committed ones. So a wrong re-fold is noticed
//! before it can publish anything.

use crate::controller;
use crate::snapshot::{self, Unusable};
use crate::state::{LoadError, Mark, PartitionState};
use crate::step::Tools;
use journal::port::{Committed, JournalError, Reader, TopicPartition};
use schemas::codec::{Codec, DecodeError};
use schemas::record::{Audit, CommitMetadata, Control, SnapshotLocator};
use schemas::topic::Topic;

/// Version of [`CommitMetadata`] that this build writes and reads.
pub(crate) const METADATA_VERSION: i32 = 1;

/// What a partition is to become.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) state: PartitionState,
    /// What must hold when the state has reached its position; none: nothing was ever committed.
    pub(crate) expected: Option<Expected>,
    /// Locators to go on publishing.
    pub(crate) snapshot: Option<SnapshotLocator>,
    pub(crate) previous: Option<SnapshotLocator>,
    /// Why results may differ from an undisturbed run; none: they do not.
    pub(crate) degraded: Option<String>,
    /// Offsets that retention took before anybody read them.
    pub(crate) lost: Option<(i64, i64)>,
    /// What an operator should read about it.
    pub(crate) notes: Vec<String>,
}

/// What was committed with a position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Expected {
    pub(crate) mark: Mark,
    pub(crate) build: String,
    /// From the audit topic, which does not tell the receipt time.
    pub(crate) audited: bool,
}

impl Expected {
    fn is(&self, state: &Mark) -> bool {
        let receipt_now = if self.audited { state.receipt_now } else { self.mark.receipt_now };
        *state == Mark { receipt_now, ..self.mark.clone() }
    }
}

/// The last commit of a partition.
struct Published {
    offset: i64,
    metadata: CommitMetadata,
    audited: bool,
}

/// Why there is no plan yet, or cannot be one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoPlan {
    /// The world: try again.
    #[error("{0}")]
    Later(String),
    /// A person must decide.
    #[error("{0}")]
    Quarantine(String),
}

impl From<JournalError> for NoPlan {
    fn from(why: JournalError) -> Self {
        Self::Later(why.to_string())
    }
}

/// What a plan is made from.
pub(crate) struct Recovery<'a> {
    pub(crate) partition: u32,
    pub(crate) partitions: u32,
    pub(crate) reader: &'a mut dyn Reader,
    pub(crate) tools: &'a Tools,
}

impl Recovery<'_> {
    fn raw(&self) -> TopicPartition {
        TopicPartition { topic: Topic::Raw, partition: self.partition }
    }

    /// Decides how the partition begins.
    ///
    /// # Errors
    /// [`NoPlan`]: later, or by a person.
    pub(crate) fn plan(
        &mut self,
        committed: Option<&Committed>,
        warm: Option<PartitionState>,
    ) -> Result<Plan, NoPlan> {
        let (start, end) = self.reader.bounds(self.raw())?;
        let fresh = PartitionState::new(self.partition, self.partitions, start);
        let mut notes = Vec::new();
        let Some(published) = self.published(committed, &mut notes)? else {
            let mut plan = Plan::of(fresh, None, None);
            if start > 0 {
                plan.notes.push(format!("nothing was committed yet, and the log starts at {start}"));
            }
            return Ok(plan);
        };
        let Published { offset, metadata, audited } = published;
        if offset > end {
            return Err(NoPlan::Quarantine(format!(
                "offset {offset} is committed, but the log ends at {end}: the log has lost acknowledged records"
            )));
        }
        let mark = mark_of(offset, &metadata)?;
        let expected = Expected { mark, build: metadata.build.clone(), audited };
        if let Some(state) = warm.filter(|state| expected.is(&state.mark())) {
            let mut plan = Plan::of(state, Some(expected), Some(&metadata));
            plan.notes = notes;
            return self.beyond_retention(plan, start);
        }
        for locator in metadata.snapshot.iter().chain(&metadata.previous) {
            if locator.covers_to > offset {
                notes.push(format!("a snapshot covers more than is committed, {}", locator.covers_to));
                continue;
            }
            match self.load(locator) {
                Ok(state) => {
                    let mut plan = Plan::of(state, Some(expected), Some(&metadata));
                    plan.notes = notes;
                    return self.beyond_retention(plan, start);
                }
                Err(LoadFailure::Useless(why)) => notes.push(why),
                Err(LoadFailure::Later(why)) => return Err(NoPlan::Later(why)),
                Err(LoadFailure::Newer(why)) => return Err(NoPlan::Quarantine(why)),
            }
        }
        // No snapshot. As long as the log still has its beginning, folding all of it is exact.
        let mut plan = Plan::of(fresh, Some(expected), None);
        if start > 0 {
            let why = format!("no snapshot could be used; rebuilt from the log's start, {start}");
            plan.degraded = Some(why);
        }
        plan.notes = notes;
        self.beyond_retention(plan, start)
    }

    /// What was committed last. Positions that are gone, or that somebody else has set, say nothing: the audit topic
    /// has every commit too, and both are written at once.
    fn published(
        &mut self,
        committed: Option<&Committed>,
        notes: &mut Vec<String>,
    ) -> Result<Option<Published>, NoPlan> {
        if let Some(committed) = committed.filter(|committed| !committed.metadata.is_empty()) {
            let metadata = read_metadata(&self.tools.codec, committed)?;
            return Ok(Some(Published { offset: committed.offset, metadata, audited: false }));
        }
        let audit = self.newest_audit(|_| true)?;
        let (audit, found) = match (audit, committed) {
            (Some(audit), None) => (audit, "no position is committed any more".to_owned()),
            (Some(audit), Some(set)) => {
                (audit, format!("the position was set to {} by somebody else", set.offset))
            }
            (None, None) => return Ok(None),
            (None, Some(set)) => {
                return Err(NoPlan::Quarantine(format!(
                    "the position was set to {} by somebody else, and the audit topic knows no commit: delete it",
                    set.offset
                )));
            }
        };
        notes.push(format!(
            "{found}; the last commit, up to offset {}, was found in the audit topic",
            audit.to
        ));
        let metadata = CommitMetadata {
            version: METADATA_VERSION,
            build: audit.build,
            generation: audit.generation,
            digest: audit.digest,
            write_clock: audit.write_clock,
            // Nobody knows: the state's own stands.
            receipt_now: i64::MIN,
            snapshot: audit.snapshot,
            previous: None,
        };
        Ok(Some(Published { offset: audit.to, metadata, audited: true }))
    }

    /// Retention may have run over what is still to be folded, or even over what was never read.
    fn beyond_retention(&mut self, mut plan: Plan, start: i64) -> Result<Plan, NoPlan> {
        let Some(expected) = plan.expected.clone() else { return Ok(plan) };
        let committed = expected.mark.position;
        let position = plan.state.position();
        if position < start && position < committed {
            plan.degraded.get_or_insert_with(|| {
                format!("the log starts at {start}: offsets from {position} on could not be folded again")
            });
            plan.state.jump(start.min(committed));
        }
        if start > committed {
            plan.lost = Some((committed, start));
        }
        if plan.degraded.is_some() {
            if plan.state.position() >= committed {
                self.adopt(&mut plan.state, &expected.mark)?;
            } else {
                self.catch_up(&mut plan.state, &expected.mark)?;
            }
        }
        Ok(plan)
    }

    /// Puts in force what was decided in records that are gone: without it the readings that are left would be folded
    /// into no window. The audit topic knows what was in force, to a commit; where it does not, the committed stands.
    fn catch_up(&mut self, state: &mut PartitionState, committed: &Mark) -> Result<(), NoPlan> {
        let position = state.position();
        let mut next: Option<(i64, i64)> = None;
        self.newest_audit(|audit| {
            let later = audit.to > position;
            if later && next.is_none_or(|(to, _)| audit.to < to) {
                next = Some((audit.to, audit.generation));
            }
            !later
        })?;
        let generation = next.map_or(committed.generation, |(_, generation)| generation);
        if state.mark().generation < generation { self.restore(state, generation) } else { Ok(()) }
    }

    /// Makes a state that cannot be exact go on from what was committed: clocks, digest and books.
    pub(crate) fn adopt(&mut self, state: &mut PartitionState, mark: &Mark) -> Result<(), NoPlan> {
        let audit = self.last_audit(mark.position)?;
        state.adopt(mark, audit.as_ref().map(|audit| &audit.totals));
        if state.mark().generation < mark.generation {
            self.restore(state, mark.generation)?;
        }
        Ok(())
    }

    /// Puts a generation in force whose control record was not folded: no controller would copy it once more.
    fn restore(&mut self, state: &mut PartitionState, generation: i64) -> Result<(), NoPlan> {
        let mut found = None;
        controller::read_decisions(self.reader, &self.tools.codec, |offset, control| {
            if offset == generation {
                found = Some(Control { generation, ..control });
            }
        })?;
        let Some(control) = found else {
            let partition = self.partition;
            tracing::error!(
                partition,
                generation,
                "the decision that was in force is not in the log any more"
            );
            return Ok(());
        };
        state.restore(&control, self.tools).map_err(NoPlan::Later)
    }

    /// The audit record of the commit that reached this position.
    pub(crate) fn last_audit(&mut self, to: i64) -> Result<Option<Audit>, NoPlan> {
        self.newest_audit(|audit| audit.to == to)
    }

    /// The newest audit record that is wanted.
    fn newest_audit(&mut self, mut wanted: impl FnMut(&Audit) -> bool) -> Result<Option<Audit>, NoPlan> {
        /// Offsets looked at from the end, at first: markers, and commits that moved nothing but a locator.
        const BACK: i64 = 64;
        let at = TopicPartition { topic: Topic::Audit, partition: self.partition };
        let (start, end) = self.reader.bounds(at)?;
        let codec = &self.tools.codec;
        let (mut below, mut back) = (end, BACK);
        let (mut found, mut failed) = (None, None);
        while below > start && found.is_none() {
            let mut from = start.max(below - back);
            let (first, last) = (from, below);
            while from < last {
                let next = self.reader.read(at, from, 64, &mut |record| match codec
                    .decode::<Audit>(record.value)
                {
                    Ok(audit) if record.offset < last && wanted(&audit) => found = Some(audit),
                    Err(DecodeError::Retry(why)) => failed = Some(why),
                    _ => {}
                })?;
                if next == from {
                    break;
                }
                from = next;
            }
            if let Some(why) = failed {
                return Err(NoPlan::Later(why));
            }
            (below, back) = (first, back * 4);
        }
        Ok(found)
    }

    fn load(&mut self, locator: &SnapshotLocator) -> Result<PartitionState, LoadFailure> {
        let codec = &self.tools.codec;
        let read = snapshot::read(locator, self.partition, self.reader, codec);
        let (format, bytes) = read.map_err(|why| match why {
            Unusable::Damaged(why) => LoadFailure::Useless(why),
            Unusable::Newer(why) => LoadFailure::Newer(why),
            Unusable::Journal(why) => LoadFailure::Later(why.to_string()),
        })?;
        let state = PartitionState::load_format(format, &bytes, codec, &*self.tools.models).map_err(
            |why| match why {
                LoadError::Damaged(why) => LoadFailure::Useless(why.to_string()),
                LoadError::Model(why) => LoadFailure::Later(why),
            },
        )?;
        let belongs = state.partition() == self.partition && state.partitions() == self.partitions;
        if !belongs || state.position() != locator.covers_to {
            return Err(LoadFailure::Useless("the snapshot is of another partition or position".to_owned()));
        }
        Ok(state)
    }
}

enum LoadFailure {
    Useless(String),
    Later(String),
    /// Only a later version may go on from it: what it has written may be more than this one knows of.
    Newer(String),
}

impl Plan {
    fn of(state: PartitionState, expected: Option<Expected>, metadata: Option<&CommitMetadata>) -> Self {
        Self {
            state,
            expected,
            snapshot: metadata.and_then(|metadata| metadata.snapshot.clone()),
            previous: metadata.and_then(|metadata| metadata.previous.clone()),
            degraded: None,
            lost: None,
            notes: Vec::new(),
        }
    }
}

/// Reads what was committed with a position.
pub(crate) fn read_metadata(codec: &Codec, committed: &Committed) -> Result<CommitMetadata, NoPlan> {
    let metadata: CommitMetadata = codec.decode_text(&committed.metadata).map_err(|why| match why {
        DecodeError::Retry(why) => NoPlan::Later(why),
        DecodeError::Reject(why) => NoPlan::Quarantine(format!(
            "what was committed with offset {} cannot be read: {why}",
            committed.offset
        )),
    })?;
    if metadata.version == METADATA_VERSION {
        return Ok(metadata);
    }
    Err(NoPlan::Quarantine(format!(
        "what was committed with offset {} has version {}, this build reads {METADATA_VERSION}",
        committed.offset, metadata.version
    )))
}

fn mark_of(position: i64, metadata: &CommitMetadata) -> Result<Mark, NoPlan> {
    let digest = metadata.digest.as_slice().try_into().map_err(|_| {
        NoPlan::Quarantine(format!("the committed digest has {} bytes, not 16", metadata.digest.len()))
    })?;
    Ok(Mark {
        position,
        generation: metadata.generation,
        digest,
        write_clock: metadata.write_clock,
        receipt_now: metadata.receipt_now,
    })
}

/// Follows the build's name in what is committed while no re-fold can agree with it.
pub(crate) const CONTINUED: &str = " (continued)";

/// What to make of a state that has reached the committed position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is what was committed.
    Same,
    /// It differs, and another build wrote it, or this one after it had gone on from such a place and before it had
    /// a snapshot of its own: go on from what was committed, and say so.
    OtherBuild(String),
    /// It differs, and this build wrote it: never publish from it.
    Differs(String),
}

/// Compares a state at the committed position with what was committed.
pub(crate) fn compare(state: &Mark, expected: &Expected, build: &str) -> Verdict {
    if expected.is(state) {
        return Verdict::Same;
    }
    let hex = |digest: &[u8]| digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let show = |mark: &Mark| {
        format!(
            "position {}, digest {}, write clock {}, receipt time {}, generation {}",
            mark.position,
            hex(&mark.digest),
            mark.write_clock,
            mark.receipt_now,
            mark.generation
        )
    };
    let what = format!(
        "folding again gives ({}), committed by build {} was ({})",
        show(state),
        expected.build,
        show(&expected.mark)
    );
    if expected.build == build { Verdict::Differs(what) } else { Verdict::OtherBuild(what) }
}

//! Scores one model's queue so that the cut into batches cannot show.
//!
//! A row fails when it fails *alone*, in a new instance, with [`fuel_per_row`](schemas::pipeline::Model::fuel_per_row).
//! That is a property of the row and of its series' state. A batch is only a faster way to learn that its rows do
//! not fail: its result is accepted when the whole batch succeeded within **half of one row's fuel**. A guest is a
//! pure function that folds its rows one after the other, so no row of such a batch can cost more alone; the other
//! half covers what differs between a used and a new instance (its allocator). Otherwise the batch is cut in two, down
//! to single rows, whose own run decides. (A budget of rows x fuel would let an expensive row hide among cheap ones in
//! one run of the log and fail in another run that is cut differently.)
//!
//! A model that fails on many rows is left alone for a while (`breaker`), from the very row with which that is decided.
//!
//! So a model's `fuel_per_row` is generous - a thousand times a usual row - and an expensive model merely runs in
//! smaller batches, which the runner remembers. That memory changes speed, never results.

use crate::breaker::{Breaker, FAILED_MAX, PAUSE_ROWS, WINDOW_ROWS};
use crate::counters::Counters;
use crate::evidence::{Recorded, Witness};
use crate::loader::Loaded;
use crate::queue::{Queue, ROWS_MAX};
use crate::verdict::Verdict;
use scoring_host::{Batch, CallError, Failure, ROW_SKIPPED, ROW_WARM_UP, Scored, Session};
use std::fmt::Write as _;
use std::ops::Range;
use std::sync::Arc;

/// What a batch may use is this part of a row's fuel.
const BATCH_SHARE: u64 = 2;

/// Runs a model's queue; keeps buffers and the size of batches that fits.
pub(crate) struct Runner {
    pub(crate) session: Session,
    pub(crate) fuel_per_row: u64,
    pub(crate) threshold: f64,
    /// As it stands within the queue at hand.
    pub(crate) breaker: Breaker,
    /// Rows of the next batch.
    rows_fit: usize,
    /// State of the queue's series, being updated.
    pub(crate) state: Vec<u8>,
    /// Row -> verdict.
    pub(crate) verdicts: Vec<Verdict>,
    /// Rows over the threshold of which the model says what it would have expected.
    pub(crate) expected: Vec<(usize, [Option<f64>; 2])>,
    /// Rows that failed.
    pub(crate) failures: Vec<FailedCall>,
    witness: Option<Arc<dyn Witness>>,
    version: String,
    part: Part,
}

/// A row that failed alone.
pub(crate) struct FailedCall {
    pub(crate) row: usize,
    pub(crate) failure: Failure,
    /// In words.
    pub(crate) detail: String,
    /// For the witness, when there is one that wants it: the state of the row's series before it, and what was seen.
    pub(crate) evidence: Option<(Vec<u8>, Recorded)>,
}

/// Buffers for a batch that is part of a queue.
#[derive(Default)]
struct Part {
    series: Vec<u32>,
    /// Part's series -> queue's series.
    members: Vec<u32>,
    /// Queue's series -> part's series, or MAX.
    index: Vec<u32>,
    values: Vec<f64>,
    missing: Vec<u8>,
    state: Vec<u8>,
}

impl Runner {
    pub(crate) fn new(session: Session, loaded: &Loaded) -> Self {
        Self {
            session,
            fuel_per_row: loaded.fuel_per_row,
            threshold: loaded.info.threshold,
            witness: loaded.witness.clone(),
            version: loaded.info.version.clone(),
            breaker: Breaker::default(),
            rows_fit: ROWS_MAX,
            state: Vec::new(),
            verdicts: Vec::new(),
            expected: Vec::new(),
            failures: Vec::new(),
            part: Part::default(),
        }
    }

    /// Scores the whole queue, starting from `self.state`, into `self.verdicts` and `self.state`.
    ///
    /// # Errors
    /// The brake: no verdict, and what was computed so far must be dropped.
    pub(crate) fn run(&mut self, queue: &Queue, counters: &mut Counters) -> Result<(), String> {
        self.verdicts.clear();
        self.expected.clear();
        self.failures.clear();
        let mut begin = 0;
        while begin < queue.len() {
            let left_out = self.breaker.pass(queue.len() - begin);
            if left_out > 0 {
                begin += left_out;
                self.verdicts.resize(begin, Verdict::LeftOut);
                continue;
            }
            let end = queue.len().min(begin + self.rows_fit);
            begin = self.solve(queue, begin..end, counters)?;
        }
        Ok(())
    }

    /// Scores these rows, up to one with which the breaker opens; returns the first that has no verdict yet.
    fn solve(&mut self, queue: &Queue, rows: Range<usize>, counters: &mut Counters) -> Result<usize, String> {
        let budget = self.fuel_per_row / BATCH_SHARE;
        let failure = match self.attempt(queue, rows.clone(), budget) {
            Ok(fuel_used) => {
                if rows.len() == self.rows_fit && fuel_used < budget / 4 {
                    self.rows_fit = ROWS_MAX.min(self.rows_fit * 2);
                }
                self.breaker.succeeded(rows.len());
                return Ok(rows.end);
            }
            Err(CallError::Braked(reason)) => return Err(reason),
            Err(CallError::Failed { failure, .. }) => failure,
        };
        if rows.len() == 1 {
            self.decide(queue, rows.start)?;
            return Ok(rows.end);
        }
        counters.halved += 1;
        let middle = rows.start + rows.len() / 2;
        if failure == Failure::OutOfFuel {
            self.rows_fit = rows.len() / 2;
        }
        let reached = self.solve(queue, rows.start..middle, counters)?;
        if self.breaker.is_open() {
            return Ok(reached);
        }
        self.solve(queue, middle..rows.end, counters)
    }

    /// The verdict on a row: alone, in a new instance, with its own fuel.
    fn decide(&mut self, queue: &Queue, row: usize) -> Result<(), String> {
        self.session.renew();
        match self.attempt(queue, row..row + 1, self.fuel_per_row) {
            Ok(_) => {
                self.breaker.succeeded(1);
                Ok(())
            }
            Err(CallError::Braked(reason)) => Err(reason),
            Err(CallError::Failed { failure, mut detail, trace }) => {
                self.verdicts.push(Verdict::Failed(failure));
                let wanted =
                    self.witness.as_ref().is_some_and(|witness| witness.wants(&self.version, failure));
                let evidence = wanted.then(|| {
                    let recorded = Recorded::new(failure, detail.clone(), trace, &self.session);
                    (self.state_of(queue, row).to_vec(), recorded)
                });
                if self.breaker.failed() {
                    let _ = write!(
                        detail,
                        "; the {FAILED_MAX}th such row in {WINDOW_ROWS}: the next {PAUSE_ROWS} are kept from the model"
                    );
                }
                self.failures.push(FailedCall { row, failure, detail, evidence });
                Ok(())
            }
        }
    }

    /// The state of a row's series as the rows before it have left it.
    fn state_of(&self, queue: &Queue, row: usize) -> &[u8] {
        let stride = self.state.len() / queue.members.len().max(1);
        let at = queue.series[row] as usize * stride;
        &self.state[at..at + stride]
    }

    /// One call. When it succeeds, verdicts and state are taken over, and the fuel it used is returned.
    fn attempt(&mut self, queue: &Queue, rows: Range<usize>, fuel: u64) -> Result<u64, CallError> {
        self.part.fill_values(queue, &rows);
        let whole = rows.len() == queue.len();
        if !whole {
            self.part.fill_state(queue, &rows, &self.state);
        }
        let one_column = queue.columns.len() == 1;
        let batch = Batch {
            slots: u32::try_from(if whole { queue.members.len() } else { self.part.members.len() })
                .unwrap_or(u32::MAX),
            slot: if whole { &queue.series } else { &self.part.series },
            event_time: &queue.event_time[rows.clone()],
            values: if one_column { &queue.columns[0][rows.clone()] } else { &self.part.values },
            missing: &self.part.missing,
            state: if whole { &self.state } else { &self.part.state },
        };
        let scored = self.session.score(&batch, fuel)?;
        self.accept(queue, rows, &scored);
        if whole {
            self.state = scored.state;
        } else {
            self.part.take_state(&scored.state, &mut self.state);
        }
        Ok(scored.fuel_used)
    }

    fn accept(&mut self, queue: &Queue, rows: Range<usize>, scored: &Scored) {
        for (at, (score, row)) in scored.scores().iter().zip(rows).enumerate() {
            let flags = scored.flags(at);
            let warm_up = flags & ROW_WARM_UP != 0;
            let over_threshold = flags & ROW_SKIPPED == 0 && !warm_up && *score >= self.threshold;
            if over_threshold {
                let expected = scored.expected(at);
                if expected != [None; 2] {
                    self.expected.push((row, expected));
                }
            }
            self.verdicts.push(if flags & ROW_SKIPPED != 0 {
                Verdict::NotScored
            } else {
                Verdict::Score { score: *score, warm_up, over_threshold, sampled: queue.sampled[row] }
            });
        }
    }
}

impl Part {
    /// Values column-major, when there are several columns, and the bitmap of what is missing.
    fn fill_values(&mut self, queue: &Queue, rows: &Range<usize>) {
        self.values.clear();
        self.missing.clear();
        if queue.columns.len() > 1 {
            for column in &queue.columns {
                self.values.extend_from_slice(&column[rows.clone()]);
            }
        }
        let cells = queue.columns.iter().flat_map(|column| &column[rows.clone()]);
        for (cell, value) in cells.enumerate() {
            if value.is_nan() {
                if self.missing.is_empty() {
                    self.missing.resize((rows.len() * queue.columns.len()).div_ceil(8), 0);
                }
                self.missing[cell / 8] |= 1 << (cell % 8);
            }
        }
    }

    /// Numbers the series that occur in these rows anew, and collects their state.
    fn fill_state(&mut self, queue: &Queue, rows: &Range<usize>, state: &[u8]) {
        let stride = state.len() / queue.members.len().max(1);
        self.series.clear();
        self.members.clear();
        self.state.clear();
        self.index.clear();
        self.index.resize(queue.members.len(), u32::MAX);
        for series in &queue.series[rows.clone()] {
            let index = &mut self.index[*series as usize];
            if *index == u32::MAX {
                *index = u32::try_from(self.members.len()).unwrap_or(u32::MAX);
                self.members.push(*series);
                let at = *series as usize * stride;
                self.state.extend_from_slice(&state[at..at + stride]);
            }
            self.series.push(*index);
        }
    }

    fn take_state(&self, part: &[u8], whole: &mut [u8]) {
        let stride = part.len() / self.members.len().max(1);
        if stride == 0 {
            return;
        }
        for (series, bytes) in self.members.iter().zip(part.chunks_exact(stride)) {
            let at = *series as usize * stride;
            whole[at..at + stride].copy_from_slice(bytes);
        }
    }
}

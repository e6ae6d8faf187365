//! Closed windows on their way through the models that score windows: published, not yet scored.
//!
//! Their rows wait from the emission that closes them until all that their record brings forth is there, and then for
//! more rows or the cut, whichever comes first. What they bring forth stands behind everything else of their record,
//! in the order in which the windows were closed, so that the size of a batch cannot show.
//!
//! Invariants: nothing waits at a cut, nor when models change or a device is forgotten; while some of it lies in the
//! lane no reading does.

use super::Halt;
use super::letters::{Rounds, Source};
use super::scores::{OfWindow, Shown};
use crate::outputs::Outputs;
use crate::state::{Core, PartitionState};
use schemas::Micros;
use schemas::pipeline::{Inputs, Route, WindowFeature};
use schemas::reason::{Reject, RejectReason};
use schemas::record::{Aggregate, Stage};
use scoring::{ClosedRow, Flushed, Lane, ModelSet, ROWS_MAX, Role, Row, Verdict};
use windowing::api::{Emission, Slot, Stats};
use windowing::id::Id;

/// What waits, and for which models.
#[derive(Debug, Default)]
pub(crate) struct Closed {
    wants: Vec<Want>,
    rows: Vec<Waiting>,
    /// Features of the rows.
    values: Vec<f64>,
    /// The first row that was not scored yet.
    next: usize,
    /// The rows from `next` on that lie in the lane; none for one that a decision keeps from it.
    pushed: Vec<Option<Row>>,
    flushed: Flushed,
}

/// A model of windows.
#[derive(Debug)]
struct Want {
    /// Its index; that of the version in force when there are two.
    model: usize,
    window: String,
    each: Vec<String>,
    features: Vec<WindowFeature>,
    route: Route,
}

/// A row.
#[derive(Debug)]
struct Waiting {
    want: usize,
    stream: u16,
    slot: Slot,
    /// The device may be forgotten with the record that closes its windows.
    id: Id,
    offset: i64,
    receipt: Micros,
    start: Micros,
    end: Micros,
    /// Where its features begin.
    at: usize,
}

impl Closed {
    /// Nothing waits for these models.
    pub(crate) fn of(set: &ModelSet) -> Self {
        let mut closed = Self::default();
        closed.configure(set);
        closed
    }

    /// Other models are in force. Rows of the old ones must have been scored.
    pub(crate) fn configure(&mut self, set: &ModelSet) {
        debug_assert!(self.is_empty(), "a change of models is a barrier");
        let models = set.models().enumerate();
        let wants = models.filter(|(_, info)| !matches!(info.role, Role::Challenger(_)));
        self.wants.clear();
        self.wants.extend(wants.filter_map(|(model, info)| match info.inputs.clone() {
            Inputs::Each(_) | Inputs::Columns(_) => None,
            Inputs::Windows { window, each, features } => {
                Some(Want { model, window, each, features, route: info.route.clone() })
            }
        }));
    }

    /// Whether nothing waits.
    pub(crate) const fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Whether what waits is a batch, or lies in the lane.
    pub(crate) const fn is_ready(&self) -> bool {
        self.rows.len() - self.next >= ROWS_MAX || !self.pushed.is_empty()
    }

    /// Offsets of the oldest and the youngest record whose windows wait.
    pub(crate) fn range(&self) -> Option<(i64, i64)> {
        let waiting = &self.rows[self.next..];
        Some((waiting.first()?.offset, waiting.last()?.offset))
    }

    /// Takes what is emitted, as `row` says it, if it closes a window that a model wants.
    pub(super) fn take(&mut self, emission: &Emission<'_>, row: &Aggregate, out: &Outputs) {
        if self.wants.is_empty() || !emission.first {
            return;
        }
        for (want, wanted) in self.wants.iter().enumerate() {
            let stream = wanted.each.iter().position(|metric| *metric == row.metric);
            let Some(stream) = stream.filter(|_| wanted.window == row.window) else { continue };
            let tags = row.device.as_ref().map(|device| &device.tags);
            let value_of = |tag: &str| tags?.get(tag).map(String::as_str);
            if !wanted.route.takes_device(&row.device_id) || !wanted.route.takes_tags(value_of) {
                continue;
            }
            self.rows.push(Waiting {
                want,
                stream: u16::try_from(stream).unwrap_or(u16::MAX),
                slot: emission.slot,
                id: Id::new(&row.device_id),
                offset: out.source(),
                receipt: out.receipt(),
                start: emission.start,
                end: emission.end,
                at: self.values.len(),
            });
            self.values.extend(wanted.features.iter().map(|feature| number(&emission.stats, *feature)));
        }
    }

    /// Fills the lane.
    fn push(&mut self, skips: &[(i64, i64)], lane: &mut Lane) {
        for waiting in &self.rows[self.next..] {
            let want = &self.wants[waiting.want];
            if skips.iter().any(|(from, to)| (*from..*to).contains(&waiting.offset)) {
                self.pushed.push(None);
                continue;
            }
            let row = ClosedRow {
                slot: waiting.slot.0,
                stream: waiting.stream,
                event_time: waiting.start,
                offset: waiting.offset,
                values: &self.values[waiting.at..waiting.at + want.features.len()],
            };
            match lane.push_closed(want.model, &row) {
                Ok(row) => self.pushed.push(Some(row)),
                Err(_) => break,
            }
        }
    }

    /// Scores as many rows as one flush takes, and publishes what comes of it.
    fn score(&mut self, core: &mut Core, lane: &mut Lane, out: &mut Outputs) -> Result<(), Halt> {
        if self.pushed.is_empty() {
            self.push(&core.skips, lane);
        }
        lane.flush(&mut self.flushed).map_err(|why| Halt::Braked(why.to_string()))?;
        for (waiting, row) in self.rows[self.next..].iter().zip(&self.pushed) {
            out.at(waiting.offset, waiting.receipt);
            self.publish(waiting, *row, core, lane.models(), out);
        }
        self.next += self.pushed.len();
        self.pushed.clear();
        if self.next == self.rows.len() {
            self.rows.clear();
            self.values.clear();
            self.next = 0;
        }
        Ok(())
    }

    fn publish(
        &self,
        waiting: &Waiting,
        row: Option<Row>,
        core: &mut Core,
        set: &ModelSet,
        out: &mut Outputs,
    ) {
        let want = &self.wants[waiting.want];
        let Some(row) = row else {
            core.books.scoring_failed += 1;
            return self.letter(waiting, "a decision keeps this range from the models", core, out);
        };
        let verdicts = self.flushed.verdicts(row, 0);
        core.contests.count(verdicts);
        let value = self.values[waiting.at];
        let value = value.is_finite().then_some(value);
        let shown = Shown {
            device_id: waiting.id.as_str(),
            metric: &want.each[usize::from(waiting.stream)],
            value,
            given: value,
            event_time: waiting.start,
            source_offset: waiting.offset,
            received_at: waiting.receipt,
            window: Some(OfWindow { name: &want.window, end: waiting.end, feature: want.features[0] }),
        };
        let versions = verdicts.iter().zip(set.models()).enumerate().skip(want.model);
        let beside = |index: usize| if index == want.model { index + 1 } else { want.model };
        for (index, (verdict, model)) in versions.take_while(|(_, (_, model))| is_of(set, want, model)) {
            if !model.serves(shown.device_id.as_bytes()) {
                core.publish_shadow(&shown, model, verdict, &verdicts[beside(index)], out);
                continue;
            }
            match verdict {
                Verdict::NotScored => {}
                Verdict::LeftOut => core.books.scoring_failed += 1,
                Verdict::Failed(_) => {
                    core.books.scoring_failed += 1;
                    let is_it = |failure: &&scoring::FailedRow| (failure.row, failure.model) == (row, index);
                    let detail = self.flushed.failures().iter().find(is_it);
                    let detail = detail.map_or("?", |failure| failure.detail.as_str());
                    self.letter(waiting, &format!("model `{}`: {detail}", model.name), core, out);
                }
                Verdict::Score { .. } => {
                    core.books.scored += 1;
                    let expected = self.flushed.expected(row, 0, index);
                    core.publish_score(&shown, model, verdict, expected, out);
                }
            }
        }
    }

    /// The dead letter of a row; its bytes are the row as it is given to the model.
    fn letter(&self, waiting: &Waiting, detail: &str, core: &Core, out: &mut Outputs) {
        let want = &self.wants[waiting.want];
        let id = waiting.id.as_str();
        let metric = &want.each[usize::from(waiting.stream)];
        let mut row = serde_json::json!({
            "device_id": id, "metric": metric, "window": want.window, "start": waiting.start, "end": waiting.end,
        });
        for (feature, value) in want.features.iter().zip(&self.values[waiting.at..]) {
            row[feature.as_str()] = serde_json::json!(value);
        }
        let value = row.to_string();
        let source = Source {
            offset: waiting.offset,
            received_at: waiting.receipt,
            key: Some(id.as_bytes()),
            value: value.as_bytes(),
            rounds: Rounds::Counted(0),
        };
        let detail = format!("window `{}` of `{metric}`: {detail}", want.window);
        let reject = Reject::new(RejectReason::Scoring, detail);
        core.letter(source, Stage::Scoring, &reject, Some(id), out);
    }
}

/// Whether a model is the one wanted or the version on trial beside it.
fn is_of(set: &ModelSet, want: &Want, model: &scoring::ModelInfo) -> bool {
    set.models().nth(want.model).is_some_and(|wanted| wanted.name == model.name)
}

/// One number of a window's row; not a number: there is none.
fn number(stats: &Stats, feature: WindowFeature) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "counts beyond 2^53 are not reached")]
    let (count, nulls) = (stats.count as f64, stats.nulls as f64);
    let some = |value: f64| if stats.count > 0 { value } else { f64::NAN };
    match feature {
        WindowFeature::Count => count,
        WindowFeature::Nulls => nulls,
        WindowFeature::Sum => some(stats.sum),
        WindowFeature::Min => some(stats.min),
        WindowFeature::Max => some(stats.max),
        WindowFeature::First => some(stats.first),
        WindowFeature::Last => some(stats.last),
        WindowFeature::Mean => some(stats.mean),
        WindowFeature::Stddev => some((stats.m2 / count).sqrt()),
    }
}

impl PartitionState {
    /// Scores the closed windows that wait, then lets the models forget devices that are gone.
    ///
    /// # Errors
    /// [`Halt::Braked`]: they still wait.
    pub(super) fn score_closed(&mut self, out: &mut Outputs) -> Result<(), Halt> {
        let Self { core, lane, .. } = self;
        while !core.closed.is_empty() {
            let mut closed = std::mem::take(&mut core.closed);
            let scored = closed.score(core, lane, out);
            core.closed = closed;
            scored?;
        }
        core.forget_evicted(lane);
        Ok(())
    }
}

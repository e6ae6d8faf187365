//! What models said: summarised for the windows, published when it matters, a dead letter when a model failed.

use super::letters::{Rounds, Source};
use super::reading::Measure;
use super::take::Taking;
use crate::outputs::Outputs;
use crate::state::{Core, Numbers};
use schemas::Micros;
use schemas::pipeline::{Inputs, WindowFeature};
use schemas::reason::{Reject, RejectReason};
use schemas::record::{Alert, AlertKind, Score, Shadow, Stage};
use schemas::topic::Topic;
use scoring::{Flushed, ModelInfo, ModelSet, Role, Row, Verdict};
use std::fmt::Write as _;
use windowing::api::Scored;
use windowing::id::Id;

/// The verdicts of one flush as windows take them: reading by reading, value by value, by model number.
#[derive(Debug, Default)]
pub(super) struct Scores {
    /// Verdicts of a value.
    width: usize,
    verdicts: Vec<Scored>,
    /// Rows scored and rows failed.
    pub(super) counts: (i64, i64),
}

impl Scores {
    /// Starts a flush with model numbers below `width`.
    pub(super) fn begin(&mut self, width: usize) {
        self.width = width;
        self.verdicts.clear();
        self.counts = (0, 0);
    }

    /// Adds a reading's verdicts; returns where they begin.
    pub(super) fn add(
        &mut self,
        flushed: &Flushed,
        row: Row,
        values: usize,
        (set, numbers): (&ModelSet, &Numbers),
        device_id: &Id,
    ) -> usize {
        let start = self.verdicts.len();
        for value in 0..values {
            let at = self.next_value();
            let said = flushed.verdicts(row, value).iter().zip(numbers.in_force()).zip(set.models());
            for ((verdict, number), _) in said.filter(|(_, model)| model.serves(device_id.as_bytes())) {
                self.verdicts[at + number] = match verdict {
                    Verdict::NotScored => Scored::Not,
                    Verdict::Score { score, over_threshold, .. } => {
                        self.counts.0 += 1;
                        Scored::Score(*score, *over_threshold)
                    }
                    Verdict::Failed(_) | Verdict::LeftOut => {
                        self.counts.1 += 1;
                        Scored::Failed
                    }
                };
            }
        }
        start
    }

    /// Room for the verdicts on one more value.
    fn next_value(&mut self) -> usize {
        let at = self.verdicts.len();
        self.verdicts.resize(at + self.width, Scored::Not);
        at
    }

    /// Adds a reading that a decision keeps from the models: every model that would have looked at it has failed.
    pub(super) fn add_skipped(
        &mut self,
        (set, numbers): (&ModelSet, &Numbers),
        names: &[&str],
        unrouted: &[bool],
        device_id: &Id,
    ) -> usize {
        let start = self.verdicts.len();
        for (place, name) in names.iter().enumerate() {
            let at = self.next_value();
            let is_for = |index: usize| !unrouted.get(index).is_some_and(|unrouted| *unrouted);
            let serving = set.models().zip(numbers.in_force()).enumerate();
            let serving =
                serving.filter(|(index, (model, _))| is_for(*index) && model.serves(device_id.as_bytes()));
            for (_, (model, number)) in serving {
                let looked_at = match &model.inputs {
                    Inputs::Each(inputs) => inputs.iter().any(|input| input == name),
                    // Its verdict stands at the first of its columns that the reading carries.
                    Inputs::Columns(inputs) => {
                        let carried = |input: &String| names.iter().position(|other| other == input);
                        inputs.iter().find_map(carried) == Some(place)
                    }
                    Inputs::Windows { .. } => false,
                };
                if looked_at {
                    self.counts.1 += 1;
                    self.verdicts[at + number] = Scored::Failed;
                }
            }
        }
        start
    }

    /// The verdicts on the `value`-th value of the reading that begins at `start`.
    pub(super) fn of(&self, start: usize, value: usize) -> &[Scored] {
        let at = start + value * self.width;
        &self.verdicts[at..at + self.width]
    }
}

/// What a score is shown by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shown<'a> {
    pub(super) device_id: &'a str,
    pub(super) metric: &'a str,
    /// As it is published: of a reading before calibration.
    pub(super) value: Option<f64>,
    /// As the model was given it.
    pub(super) given: Option<f64>,
    pub(super) event_time: Micros,
    pub(super) source_offset: i64,
    pub(super) received_at: Micros,
    pub(super) window: Option<OfWindow<'a>>,
}

/// The window whose row was scored.
#[derive(Clone, Copy, Debug)]
pub(super) struct OfWindow<'a> {
    pub(super) name: &'a str,
    pub(super) end: Micros,
    /// What the value is of it.
    pub(super) feature: WindowFeature,
}

impl Core {
    /// Publishes what is over a threshold or in the sample, and one dead letter if a model failed on the reading.
    pub(super) fn publish_scores(
        &self,
        taking: &Taking<'_>,
        row: Row,
        measured: &[Measure],
        flushed: &Flushed,
        set: &ModelSet,
        out: &mut Outputs,
    ) {
        let mut failed = false;
        let id = self.fleet.entry(taking.slot).id.as_bytes();
        let notable = measured.iter().enumerate().filter(|(place, _)| flushed.is_notable(row, *place));
        for (place, measure) in notable {
            let verdicts = flushed.verdicts(row, place);
            for (index, (verdict, model)) in verdicts.iter().zip(set.models()).enumerate() {
                if !model.serves(id) {
                    let beside = if matches!(model.role, Role::Champion(_)) { index + 1 } else { index - 1 };
                    let shown = self.shown(taking, measure, measured, model);
                    self.publish_shadow(&shown, model, verdict, &verdicts[beside], out);
                    continue;
                }
                match verdict {
                    // What opened the breaker was told with the row that did.
                    Verdict::NotScored | Verdict::LeftOut => {}
                    Verdict::Failed(_) => failed = true,
                    Verdict::Score { over_threshold: false, sampled: false, .. } => {}
                    Verdict::Score { .. } => {
                        let shown = self.shown(taking, measure, measured, model);
                        let expected = flushed.expected(row, place, index);
                        self.publish_score(&shown, model, verdict, expected, out);
                    }
                }
            }
        }
        if failed {
            let serves = |model: usize| set.models().nth(model).is_some_and(|model| model.serves(id));
            let mut failures =
                flushed.failures().iter().filter(|failure| failure.row == row && serves(failure.model));
            let mut detail = String::new();
            if let Some(first) = failures.next() {
                let model = set.models().nth(first.model).map_or("?", |model| &model.name);
                detail = format!("model `{model}`: {}", first.detail);
            }
            let others = failures.count();
            if others > 0 {
                detail = format!("{detail} (and {others} more)");
            }
            self.scoring_letter(taking, detail, out);
        }
    }

    /// Publishes what a version that did not serve said, if the row is in the sample.
    pub(super) fn publish_shadow(
        &self,
        shown: &Shown<'_>,
        model: &ModelInfo,
        verdict: &Verdict,
        served: &Verdict,
        out: &mut Outputs,
    ) {
        let Verdict::Score { score, warm_up, sampled: true, .. } = verdict else { return };
        let record = Shadow {
            device_id: shown.device_id.to_owned(),
            model: model.name.clone(),
            version: model.version.clone(),
            metric: shown.metric.to_owned(),
            event_time: shown.event_time,
            value: shown.value,
            score: *score,
            threshold: model.threshold,
            warm_up: *warm_up,
            served_score: match served {
                Verdict::Score { score, .. } => Some(*score),
                Verdict::NotScored | Verdict::Failed(_) | Verdict::LeftOut => None,
            },
            source_offset: shown.source_offset,
            received_at: shown.received_at,
            window: shown.window.map(|window| window.name.to_owned()),
            window_end: shown.window.map(|window| window.end),
            write_clock: 0,
        };
        out.push(Topic::Shadow, Some(record.device_id.as_bytes()), &record);
    }

    /// What a row of a reading is shown by: of a model of columns the first of them.
    fn shown<'a>(
        &'a self,
        taking: &Taking<'_>,
        measure: &Measure,
        measured: &[Measure],
        model: &'a ModelInfo,
    ) -> Shown<'a> {
        let first = match &model.inputs {
            Inputs::Each(_) | Inputs::Windows { .. } => None,
            Inputs::Columns(names) => names.first(),
        };
        let (metric, measure) = match first {
            None => (self.names.name(measure.metric), Some(measure)),
            Some(name) => {
                let first = measured.iter().find(|other| self.names.name(other.metric) == name);
                (name.as_str(), first)
            }
        };
        Shown {
            device_id: self.fleet.entry(taking.slot).id.as_str(),
            metric,
            value: measure.and_then(|measure| measure.raw),
            given: measure.and_then(|measure| measure.value),
            event_time: taking.event_time,
            source_offset: taking.source.offset,
            received_at: taking.source.received_at,
            window: None,
        }
    }

    /// The dead letter of a reading that a model could not score; the reading itself is in its windows.
    pub(super) fn scoring_letter(&self, taking: &Taking<'_>, detail: String, out: &mut Outputs) {
        let reject = Reject::new(RejectReason::Scoring, detail);
        let id = &self.fleet.entry(taking.slot).id;
        // Never redriven, so nobody asks how often it was; and only a few of those that wait know.
        let source = Source { rounds: Rounds::Counted(0), ..taking.source };
        self.letter(source, Stage::Scoring, &reject, Some(id), out);
    }

    /// Publishes a score that is in the sample or over the threshold, and then its alert. `expected`: between which
    /// values the model would have expected the one it was given.
    pub(super) fn publish_score(
        &self,
        shown: &Shown<'_>,
        model: &ModelInfo,
        verdict: &Verdict,
        expected: [Option<f64>; 2],
        out: &mut Outputs,
    ) {
        let Verdict::Score { score, warm_up, over_threshold, sampled } = verdict else { return };
        if !over_threshold && !sampled {
            return;
        }
        let (window, window_end) =
            (shown.window.map(|window| window.name.to_owned()), shown.window.map(|window| window.end));
        let key = Some(shown.device_id.as_bytes());
        if *over_threshold {
            let message = reason(shown, model, *score, expected);
            let alert = Alert {
                event_time: shown.event_time,
                metric: Some(shown.metric.to_owned()),
                value: shown.value,
                model: Some(model.name.clone()),
                version: Some(model.version.clone()),
                score: Some(*score),
                threshold: Some(model.threshold),
                feature: shown.window.map(|window| window.feature.as_str().to_owned()),
                expected_low: expected[0],
                expected_high: expected[1],
                window: window.clone(),
                window_end,
                ..self.alert(shown.device_id, AlertKind::Score, message, shown.received_at, out)
            };
            out.push(Topic::Alerts, key, &alert);
        }
        let record = Score {
            device_id: shown.device_id.to_owned(),
            model: model.name.clone(),
            version: model.version.clone(),
            metric: shown.metric.to_owned(),
            event_time: shown.event_time,
            value: shown.value,
            score: *score,
            threshold: model.threshold,
            warm_up: *warm_up,
            source_offset: shown.source_offset,
            received_at: shown.received_at,
            window,
            window_end,
            write_clock: 0,
        };
        out.push(Topic::Scores, key, &record);
    }
}

/// A bound as people read it, to six digits; the record has all of them.
fn rounded(bound: f64) -> f64 {
    format!("{bound:.5e}").parse().unwrap_or(bound)
}

/// Characters of a version's digest that are told.
const VERSION_CHARS_TOLD: usize = 12;

/// Why a row is an alert, in one sentence.
fn reason(shown: &Shown<'_>, model: &ModelInfo, score: f64, expected: [Option<f64>; 2]) -> String {
    let mut text = String::new();
    if let Some(window) = &shown.window {
        text = format!("{} of ", window.feature.as_str());
    }
    let _ = write!(text, "`{}` of `{}`", shown.metric, shown.device_id);
    if let Some(window) = &shown.window {
        let _ = write!(text, " in `{}`", window.name);
    }
    if let Some(given) = shown.given {
        let _ = write!(text, " is {given}");
    }
    let expected = expected.map(|bound| bound.map(rounded));
    let _ = match expected {
        [None, None] => Ok(()),
        [Some(low), None] => write!(text, ", expected at least {low}"),
        [None, Some(high)] => write!(text, ", expected at most {high}"),
        [Some(low), Some(high)] => write!(text, ", expected {low} to {high}"),
    };
    let version = model.version.get(..VERSION_CHARS_TOLD).unwrap_or(&model.version);
    let _ = write!(text, ": score {score:.3} by `{}` {version}, threshold {}", model.name, model.threshold);
    text
}

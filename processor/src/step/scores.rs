//! What models said: summarised for the windows, published when it matters, a dead letter when a model failed.

use super::reading::Measure;
use super::take::Taking;
use crate::outputs::Outputs;
use crate::state::{Core, Numbers};
use schemas::pipeline::{Inputs, Model};
use schemas::reason::{Reject, RejectReason};
use schemas::record::{Alert, AlertKind, Score, Stage};
use schemas::topic::Topic;
use scoring::{Flushed, ModelInfo, ModelSet, Row, Verdict};
use windowing::api::Scored;

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
    pub(super) fn add(&mut self, flushed: &Flushed, row: Row, values: usize, models: &Numbers) -> usize {
        let start = self.verdicts.len();
        for value in 0..values {
            let at = self.next_value();
            for (verdict, number) in flushed.verdicts(row, value).iter().zip(models.in_force()) {
                self.verdicts[at + number] = match verdict {
                    Verdict::NotScored => Scored::Not,
                    Verdict::Score { score, over_threshold, .. } => {
                        self.counts.0 += 1;
                        Scored::Score(*score, *over_threshold)
                    }
                    Verdict::Failed(_) => {
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
    pub(super) fn add_skipped(&mut self, models: &[Model], numbers: &Numbers, names: &[&str]) -> usize {
        let start = self.verdicts.len();
        for (place, name) in names.iter().enumerate() {
            let at = self.next_value();
            for (model, number) in models.iter().zip(numbers.in_force()) {
                let looked_at = match &model.inputs {
                    Inputs::Each(inputs) => inputs.iter().any(|input| input == name),
                    // Its verdict stands at the first of its columns that the reading carries.
                    Inputs::Columns(inputs) => {
                        let carried = |input: &String| names.iter().position(|other| other == input);
                        inputs.iter().find_map(carried) == Some(place)
                    }
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
        for (place, measure) in measured.iter().enumerate() {
            for (verdict, model) in flushed.verdicts(row, place).iter().zip(set.models()) {
                match verdict {
                    Verdict::NotScored => {}
                    Verdict::Failed(_) => failed = true,
                    Verdict::Score { score, warm_up, over_threshold, sampled } => {
                        if *over_threshold || *sampled {
                            let mut record = self.score(taking, measure, measured, model, *score, out);
                            record.0.warm_up = *warm_up;
                            self.publish(record, *over_threshold, out);
                        }
                    }
                }
            }
        }
        if failed {
            let mut failures = flushed.failures().iter().filter(|failure| failure.row == row);
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

    /// The dead letter of a reading that a model could not score; the reading itself is in its windows.
    pub(super) fn scoring_letter(&self, taking: &Taking<'_>, detail: String, out: &mut Outputs) {
        let reject = Reject::new(RejectReason::Scoring, detail);
        let id = &self.fleet.entry(taking.slot).id;
        self.letter(taking.source, Stage::Scoring, &reject, Some(id), out);
    }

    fn score(
        &self,
        taking: &Taking<'_>,
        measure: &Measure,
        measured: &[Measure],
        model: &ModelInfo,
        score: f64,
        out: &Outputs,
    ) -> (Score, Alert) {
        let id = &self.fleet.entry(taking.slot).id;
        // A model of columns is shown by the first of them.
        let shown = match &model.inputs {
            Inputs::Each(_) => None,
            Inputs::Columns(names) => names.first(),
        };
        let (metric, raw) = match shown {
            None => (self.names.name(measure.metric), measure.raw),
            Some(name) => {
                let first = measured.iter().find(|other| self.names.name(other.metric) == name);
                (name.as_str(), first.and_then(|first| first.raw))
            }
        };
        let record = Score {
            device_id: id.to_string(),
            model: model.name.clone(),
            version: model.version.clone(),
            metric: metric.to_owned(),
            event_time: taking.event_time,
            value: raw,
            score,
            threshold: model.threshold,
            warm_up: false,
            source_offset: taking.source.offset,
            received_at: taking.source.received_at,
            write_clock: 0,
        };
        let message = format!(
            "`{metric}` of `{id}`: score {score:.3} by `{}`, threshold {}",
            model.name, model.threshold
        );
        let alert = Alert {
            event_time: taking.event_time,
            metric: Some(metric.to_owned()),
            value: raw,
            model: Some(model.name.clone()),
            version: Some(model.version.clone()),
            score: Some(score),
            threshold: Some(model.threshold),
            ..self.alert(id, AlertKind::Score, message, taking.source.received_at, out)
        };
        (record, alert)
    }

    fn publish(&self, (score, alert): (Score, Alert), over_threshold: bool, out: &mut Outputs) {
        let key = score.device_id.as_bytes();
        if over_threshold {
            out.push(Topic::Alerts, Some(key), &alert);
        }
        out.push(Topic::Scores, Some(key), &score);
    }
}

//! What a model says of itself, checked once when it is loaded.

use crate::bindings::exports::highwater::scoring::model;
use crate::plugin::Refused;

/// Most features of a model.
const FEATURES_MAX: usize = 256;
/// Most outputs of a model.
const OUTPUTS_MAX: usize = 64;
/// Most states of other versions that a model can translate.
const ACCEPTS_MAX: usize = 64;

/// What a feature without a value becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MissingRule {
    /// The row is not scored.
    SkipRow,
    /// NaN, marked in the bitmap.
    AsNan,
}

/// One column of the input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feature {
    /// The model's name for it.
    pub name: String,
    /// What it becomes without a value.
    pub missing: MissingRule,
}

/// Names the meaning of a slab's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateId {
    /// Name of the layout.
    pub schema: String,
    /// Revision of it.
    pub revision: u32,
}

/// A configured model's account of itself.
#[derive(Clone, Debug)]
pub struct Descriptor {
    /// Name given by its author.
    pub name: String,
    /// Version given by its author.
    pub version: String,
    /// Columns of the input, in order.
    pub features: Vec<Feature>,
    /// Meaning of the state.
    pub state: StateId,
    /// Bytes of state of a series; 0: none.
    pub stride: usize,
    /// States of other versions that it can translate into its own.
    pub accepts: Vec<StateId>,
    /// Rows of a series before its scores mean something.
    pub warm_up_rows: u32,
    /// Least and greatest value by output.
    pub(crate) ranges: Vec<(f64, f64)>,
    /// Which output is the score.
    pub(crate) score: usize,
    /// Which outputs bound what was expected of the first feature.
    pub(crate) expected: [Option<usize>; 2],
}

impl Descriptor {
    pub(crate) fn check(raw: model::Descriptor, stride_max: u32) -> Result<Self, Refused> {
        let refuse = |what: String| Err(Refused::Descriptor(what));
        if raw.features.is_empty() || raw.features.len() > FEATURES_MAX {
            return refuse(format!("{} features, 1 to {FEATURES_MAX} are possible", raw.features.len()));
        }
        if raw.outputs.len() > OUTPUTS_MAX {
            return refuse(format!("{} outputs, at most {OUTPUTS_MAX} are possible", raw.outputs.len()));
        }
        if raw.accepts.len() > ACCEPTS_MAX {
            return refuse(format!(
                "accepts {} states, at most {ACCEPTS_MAX} are possible",
                raw.accepts.len()
            ));
        }
        if raw.stride > stride_max {
            return refuse(format!(
                "{} bytes of state a series, at most {stride_max} are possible",
                raw.stride
            ));
        }
        if !raw.traits.contains(model::Traits::BATCH_INVARIANT | model::Traits::DETERMINISTIC) {
            return refuse("it does not promise to be batch-invariant and deterministic".to_owned());
        }
        let mut scores =
            raw.outputs.iter().enumerate().filter(|(_, output)| output.role == model::Role::Score);
        let (Some((score, _)), None) = (scores.next(), scores.next()) else {
            return refuse("not exactly one output has the role `score`".to_owned());
        };
        let one_of = |role: model::Role| {
            let mut found = raw.outputs.iter().enumerate().filter(|(_, output)| output.role == role);
            found.next().filter(|_| found.next().is_none()).map(|(at, _)| at)
        };
        let expected = [model::Role::LowerBound, model::Role::UpperBound].map(one_of);
        let bound = |limit: Option<f64>, or: f64| limit.filter(|value| !value.is_nan()).unwrap_or(or);
        let ranges =
            raw.outputs.iter().map(|output| (bound(output.min, f64::MIN), bound(output.max, f64::MAX)));
        Ok(Self {
            ranges: ranges.collect(),
            score,
            expected,
            name: raw.name,
            version: raw.version,
            features: raw.features.into_iter().map(Feature::from).collect(),
            state: raw.state.into(),
            stride: raw.stride as usize,
            accepts: raw.accepts.into_iter().map(StateId::from).collect(),
            warm_up_rows: raw.warm_up_rows,
        })
    }
}

impl From<model::StateIdResult> for StateId {
    fn from(raw: model::StateIdResult) -> Self {
        Self { schema: raw.schema, revision: raw.revision }
    }
}

impl From<model::Feature> for Feature {
    fn from(raw: model::Feature) -> Self {
        let missing = match raw.missing {
            model::MissingRule::SkipRow => MissingRule::SkipRow,
            model::MissingRule::AsNan => MissingRule::AsNan,
        };
        Self { name: raw.name, missing }
    }
}

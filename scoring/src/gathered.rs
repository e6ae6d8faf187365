//! The rows that models are given, for whoever wants to see them: training rows are made of what serves.
//!
//! Invariant: who looks on changes nothing: whether there is somebody shows in no verdict and no state.

use crate::loader::Loaded;
use crate::queue::Queue;
use crate::shipped;
use schemas::pipeline::{Inputs, Model};

/// What a row of the bystander may use: far more than it does.
const BYSTANDER_FUEL: u64 = 1_000_000;

/// A row as a model is given it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GatheredRow<'a> {
    /// Name of the model in the configuration.
    pub model: &'a str,
    /// Offset of the reading in its partition.
    pub offset: i64,
    /// Event time, microseconds.
    pub event_time: i64,
    /// The metric it is a row of; none: a row of columns.
    pub metric: Option<&'a str>,
    /// By feature; NaN: missing.
    pub values: &'a [f64],
}

/// Sees rows after they were scored, in log order, model by model of each flush. Called by the thread that scores: it must neither
/// wait nor fail.
pub trait Onlooker: Send + Sync + std::fmt::Debug {
    /// Takes a look.
    fn saw(&self, row: &GatheredRow<'_>);
}

/// Shows all rows of a queue.
pub(crate) fn show(onlooker: &dyn Onlooker, loaded: &Loaded, queue: &Queue) {
    let mut values = Vec::with_capacity(queue.columns.len());
    for row in 0..queue.len() {
        values.clear();
        values.extend(queue.columns.iter().map(|column| column[row]));
        let stream = queue.members[queue.series[row] as usize].stream;
        let metric = match &loaded.info.inputs {
            Inputs::Each(names) | Inputs::Windows { each: names, .. } => {
                names.get(usize::from(stream)).map(String::as_str)
            }
            Inputs::Columns(_) => None,
        };
        let (offset, event_time) = (queue.offset[row], queue.event_time[row]);
        onlooker.saw(&GatheredRow { model: &loaded.info.name, offset, event_time, metric, values: &values });
    }
}

/// A model that is given the rows of this one and says nothing of them, and its weights: the shipped `trees` with the
/// same inputs and not a single tree. It takes missing values, so it sees also the rows that this one may leave out.
#[must_use]
pub fn bystander(model: &Model) -> (Model, Vec<u8>) {
    let features = match &model.inputs {
        Inputs::Each(_) => 1,
        Inputs::Columns(names) => names.len(),
        Inputs::Windows { features, .. } => features.len(),
    };
    // No trees, no nodes, base 0, divisor 1: the head of its artifact says what each byte is.
    let mut weights = b"HWTREES1\x00\x02".to_vec();
    weights.extend(u16::try_from(features).unwrap_or(u16::MAX).to_le_bytes());
    weights.extend([0; 12 + 8]);
    weights.extend(1.0_f64.to_le_bytes());
    for feature in 0..features {
        let name = format!("column {feature}");
        weights.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
        weights.extend(name.into_bytes());
    }
    let component = shipped::find("trees").map_or_else(String::new, |found| found.digest.clone());
    let artifact = Some(shipped::digest_of(&weights));
    let (settings, threshold) = ("{}".to_owned(), f64::MAX);
    let stand_in = Model {
        component,
        artifact,
        settings,
        threshold,
        seed: 0,
        sample_every: 0,
        fuel_per_row: BYSTANDER_FUEL,
        trial: None,
        ..model.clone()
    };
    (stand_in, weights)
}

//! Trees that were trained elsewhere: isolation forests, and sums of trees (gradient boosting) as they are or as a
//! probability. The weights are the model's artifact; `weights` says what stands in it, `scoring/training` writes it.
//!
//! ```text
//! sum   = (base + what each tree adds, in order) / divisor
//! score = sum                     sums of trees: the value they predict
//!       = 1 / (1 + exp(-sum))     the probability of the second of two classes
//!       = 2 ^ -sum                isolation trees: what a tree adds is the length of the path to its leaf and c(rows
//!                                 in the leaf), the divisor is trees x c(rows of a sample)
//! ```
//!
//! c(n) is the mean length of an unsuccessful search in a binary search tree of n keys (Liu, Ting, Zhou: "Isolation forest",
//! 2008). A node asks whether a value is less or equal to its threshold: then the row goes left. A missing value goes where the node says;
//! weights that were trained without missing values refuse such rows. Where the library rounds values to 32 bits before it
//! asks, so does this. It keeps no state and learns nothing.

mod weights;

use guest::{Batch, Descriptor, Fault, Feature, MissingRule, Model, Output, Role, Scored, StateId, Traits};
use serde::Deserialize;
use std::sync::OnceLock;
use weights::{Ensemble, Link};

/// There are none: everything is in the weights.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {}

static ENSEMBLE: OnceLock<Ensemble> = OnceLock::new();

struct Trees;

fn ensemble() -> &'static Ensemble {
    ENSEMBLE.get().expect("the host configures first")
}

fn refused(why: impl Into<String>) -> Fault {
    Fault::BadConfig(why.into())
}

impl Model for Trees {
    fn configure(settings: String, artifact: Option<Vec<u8>>, _seed: u64) -> Result<(), Fault> {
        guest::report_panics();
        let text = if settings.trim().is_empty() { "{}" } else { &settings };
        let _: (Settings, _) = serde_json_core::from_str(text).map_err(|error| refused(error.to_string()))?;
        let bytes = artifact
            .ok_or_else(|| refused("it needs weights: an artifact, as scoring/training writes them"))?;
        let read = Ensemble::read(&bytes).map_err(|why| refused(format!("the weights: {why}")))?;
        ENSEMBLE.set(read).map_err(|_| Fault::Internal("configured twice".to_owned()))
    }

    fn describe() -> Descriptor {
        let ensemble = ensemble();
        let missing = if ensemble.takes_missing { MissingRule::AsNan } else { MissingRule::SkipRow };
        let feature = |name: &String| Feature { name: name.clone(), unit: None, missing };
        let (name, bounds) = match ensemble.link {
            Link::Sum => ("value", None),
            Link::Logistic => ("probability", Some((0.0, 1.0))),
            Link::Isolation => ("anomaly", Some((0.0, 1.0))),
        };
        Descriptor {
            name: "trees".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            features: ensemble.features.iter().map(feature).collect(),
            outputs: vec![Output {
                name: name.to_owned(),
                role: Role::Score,
                min: bounds.map(|(min, _)| min),
                max: bounds.map(|(_, max)| max),
            }],
            state: StateId { schema: "trees".to_owned(), revision: 1 },
            stride: 0,
            accepts: Vec::new(),
            warm_up_rows: 0,
            traits: Traits::BATCH_INVARIANT | Traits::DETERMINISTIC,
        }
    }

    fn score(rows: Batch, state: Vec<u8>) -> Result<Scored, Fault> {
        let ensemble = ensemble();
        let (mut values, rows) = (rows.values, rows.rows as usize);
        if values.len() != rows * ensemble.features.len() {
            return Err(Fault::BadInput("not one value for each row and feature".to_owned()));
        }
        if ensemble.narrow {
            for value in &mut values {
                *value = f64::from(*value as f32);
            }
        }
        Ok(Scored { values: ensemble.score(&values, rows), row_flags: Vec::new(), state })
    }

    fn upgrade_state(_: StateId, _: u32, state: Vec<u8>) -> Result<Vec<u8>, Fault> {
        // There is none, whoever kept it.
        if state.is_empty() { Ok(state) } else { Err(Fault::BadState("it keeps no state".to_owned())) }
    }
}

guest::export!(Trees with_types_in guest::bindings);

//! Models that score one value at a time: everything that is not their arithmetic.

use crate::{
    Batch, Descriptor, Fault, Feature, MissingRule, Output, Role, RowFlags, Scored, StateId, Traits,
};
use serde::de::DeserializeOwned;
use std::sync::OnceLock;

/// A number of a slab: a little-endian float.
pub type Word = [u8; 8];

/// What a model says of a value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Said {
    /// Greater is stranger.
    pub score: f64,
    /// Least and greatest value that would have been no event; finite. Shown by models with
    /// [`INTERVAL`](Univariate::INTERVAL) only.
    pub expected: [f64; 2],
}

impl Said {
    /// A score of a model that has no interval.
    #[must_use]
    pub const fn score(score: f64) -> Self {
        Self { score, expected: [0.0; 2] }
    }
}

/// One value in, one score out, and a slab of words for each series. [`export_univariate`](crate::export_univariate)
/// makes a component of it.
pub trait Univariate: 'static {
    /// Of the model's `settings`, JSON; unknown names should be refused.
    type Settings: Default + DeserializeOwned + Send + Sync;
    /// Name of the component, and of its state.
    const NAME: &'static str;
    /// Version of the component.
    const VERSION: &'static str;
    /// Changes with the meaning of the slab.
    const REVISION: u32;
    /// Name of the score.
    const SCORE: &'static str;
    /// Greatest score; the least is 0.
    const SCORE_MAX: f64;

    /// Whether it says which values would have been no event.
    const INTERVAL: bool;

    /// Refuses settings that make no sense.
    ///
    /// # Errors
    /// What is wrong, and what would be right.
    fn check(settings: &Self::Settings) -> Result<(), String>;

    /// Words of a slab.
    fn words(settings: &Self::Settings) -> usize;

    /// Rows of a series before its scores mean something.
    fn warm_up_rows(settings: &Self::Settings) -> u32;

    /// Scores a value and learns it. The first word of the slab counts the rows that were learned.
    fn fold(slab: &mut [Word], value: f64, event_time: i64, settings: &Self::Settings) -> Said;
}

/// A number of a slab.
#[must_use]
pub fn get(slab: &[Word], at: usize) -> f64 {
    slab.get(at).map_or(0.0, |word| f64::from_le_bytes(*word))
}

/// Changes a number of a slab.
pub fn put(slab: &mut [Word], at: usize, number: f64) {
    if let Some(word) = slab.get_mut(at) {
        *word = number.to_le_bytes();
    }
}

/// `configure` of the contract.
///
/// # Errors
/// Settings that do not read or make no sense, an artifact, a second call.
pub fn configure<M: Univariate>(
    text: &str,
    artifact: Option<&[u8]>,
    settings: &OnceLock<M::Settings>,
) -> Result<(), Fault> {
    crate::report_panics();
    if artifact.is_some() {
        return Err(Fault::BadConfig("takes no artifact".to_owned()));
    }
    let read: M::Settings = crate::settings::read(text).map_err(Fault::BadConfig)?;
    M::check(&read).map_err(Fault::BadConfig)?;
    settings.set(read).map_err(|_| Fault::Internal("configured twice".to_owned()))
}

/// `describe` of the contract.
#[must_use]
pub fn describe<M: Univariate>(settings: &M::Settings) -> Descriptor {
    Descriptor {
        name: M::NAME.to_owned(),
        version: M::VERSION.to_owned(),
        features: vec![Feature { name: "value".to_owned(), unit: None, missing: MissingRule::SkipRow }],
        outputs: outputs(M::SCORE, M::SCORE_MAX, M::INTERVAL),
        state: StateId { schema: M::NAME.to_owned(), revision: M::REVISION },
        stride: 8 * M::words(settings) as u32,
        accepts: Vec::new(),
        warm_up_rows: M::warm_up_rows(settings),
        traits: Traits::LEARNS | Traits::BATCH_INVARIANT | Traits::DETERMINISTIC,
    }
}

/// A score from 0 on and, of a model that has one, the interval of what would have been no event.
#[must_use]
pub fn outputs(score: &str, score_max: f64, interval: bool) -> Vec<Output> {
    let score = Output { name: score.to_owned(), role: Role::Score, min: Some(0.0), max: Some(score_max) };
    let bound = |name: &str, role| Output { name: name.to_owned(), role, min: None, max: None };
    let bounds = [bound("low", Role::LowerBound), bound("high", Role::UpperBound)];
    std::iter::once(score).chain(bounds.into_iter().filter(|_| interval)).collect()
}

/// `score` of the contract.
///
/// # Errors
/// A slab of another size, a row of a series that was not passed.
pub fn score<M: Univariate>(
    rows: Batch,
    mut state: Vec<u8>,
    settings: &M::Settings,
) -> Result<Scored, Fault> {
    let (all, rest) = state.as_chunks_mut::<8>();
    let words = M::words(settings);
    if !rest.is_empty() || all.len() % words != 0 {
        return Err(Fault::BadState("not a multiple of the stride".to_owned()));
    }
    let warm_up_rows = f64::from(M::warm_up_rows(settings));
    let count = rows.values.len();
    let mut values = rows.values;
    values.resize(if M::INTERVAL { 3 * count } else { count }, 0.0);
    let (scores, bounds) = values.split_at_mut(count);
    let (lows, highs) = bounds.split_at_mut(bounds.len() / 2);
    let mut row_flags = vec![0; count];
    let columns = scores.iter_mut().zip(&mut row_flags).zip(rows.slot.iter().zip(&rows.event_time));
    for (row, ((value, flags), (slot, event_time))) in columns.enumerate() {
        let from = *slot as usize * words;
        let Some(slab) = all.get_mut(from..from + words) else {
            return Err(Fault::BadInput("a row names a series that was not passed".to_owned()));
        };
        if get(slab, 0) < warm_up_rows {
            *flags = RowFlags::WARM_UP.bits();
        }
        let said = M::fold(slab, *value, *event_time, settings);
        *value = said.score;
        if M::INTERVAL
            && let (Some(low), Some(high)) = (lows.get_mut(row), highs.get_mut(row))
        {
            [*low, *high] = said.expected;
        }
    }
    Ok(Scored { values, row_flags, state })
}

/// `upgrade-state` of the contract, for models that have had one form of state only.
///
/// # Errors
/// Always.
pub fn upgrade_state(source: &StateId) -> Result<Vec<u8>, Fault> {
    Err(Fault::BadState(format!("cannot read {} revision {}", source.schema, source.revision)))
}

/// Makes a component of a [`Univariate`].
#[macro_export]
macro_rules! export_univariate {
    ($model:ty) => {
        struct Component;

        static SETTINGS: std::sync::OnceLock<<$model as $crate::univariate::Univariate>::Settings> =
            std::sync::OnceLock::new();

        fn settings() -> &'static <$model as $crate::univariate::Univariate>::Settings {
            SETTINGS.get().expect("the host configures first")
        }

        impl $crate::Model for Component {
            fn configure(text: String, artifact: Option<Vec<u8>>, _seed: u64) -> Result<(), $crate::Fault> {
                $crate::univariate::configure::<$model>(&text, artifact.as_deref(), &SETTINGS)
            }

            fn describe() -> $crate::Descriptor {
                $crate::univariate::describe::<$model>(settings())
            }

            fn score(rows: $crate::Batch, state: Vec<u8>) -> Result<$crate::Scored, $crate::Fault> {
                $crate::univariate::score::<$model>(rows, state, settings())
            }

            fn upgrade_state(source: $crate::StateId, _: u32, _: Vec<u8>) -> Result<Vec<u8>, $crate::Fault> {
                $crate::univariate::upgrade_state(&source)
            }
        }

        $crate::export!(Component with_types_in $crate::bindings);
    };
}

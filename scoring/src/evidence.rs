//! What a model failed on, in one piece: everything that is needed to see it fail again.
//!
//! Lives here: the form, the port through which it leaves, and the replay. Does not live here: files (the program's),
//! or the verdict itself (`runner`).
//!
//! Invariant: a witness changes nothing: whether there is one, and what it does, shows in no verdict and no state.

use crate::profile::Columns;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use scoring_host::{
    Batch, CallError, Descriptor, Failure, Host, HostLimits, LogLevel, Plugin, ROW_SKIPPED, ROW_WARM_UP,
    Refused, Session,
};
use serde::{Deserialize, Serialize};

/// Format of the file.
const FORMAT: u32 = 1;
/// Most bytes of such a file that are read.
pub const BATCH_FILE_BYTES_MAX: u64 = 256 << 20;

/// Rows, the state of their series before the first of them, and what ran on them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FailedBatch {
    /// Format of this document: 1.
    format: u32,
    /// Name of the model in the configuration.
    pub model: String,
    /// Its version: digest of component, weights, settings and seed.
    pub version: String,
    /// SHA-256 of the component, hexadecimal.
    pub component: String,
    /// SHA-256 of the weights, if it has any.
    pub artifact: Option<String>,
    /// What was handed to `configure`.
    pub settings: String,
    /// What was handed to `configure`.
    pub seed: u64,
    /// What a row may use.
    pub fuel_per_row: u64,
    /// Partition of `iot.raw`.
    pub partition: Option<u32>,
    /// In log order.
    pub rows: Vec<FailedBatchRow>,
    /// State of each series, Base64.
    pub state: Vec<String>,
    /// What came of the last row.
    pub failure: Recorded,
}

/// A row of such a batch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FailedBatchRow {
    /// Offset of the reading in its partition.
    pub offset: i64,
    /// Event time, microseconds.
    pub event_time: i64,
    /// Which series: index into the states.
    pub slot: u32,
    /// By feature; null: missing.
    pub values: Vec<Option<f64>>,
}

/// A failure as it was seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recorded {
    /// How.
    pub kind: String,
    /// In words.
    pub detail: String,
    /// Functions that were running, innermost first.
    pub trace: Vec<String>,
    /// What the guest logged in that call, oldest first; the last lines of it.
    pub log: Vec<String>,
}

/// Takes what a model failed on. Called between scoring and folding, by the thread that does both: it must neither wait
/// nor fail.
pub trait Witness: Send + Sync + std::fmt::Debug {
    /// Whether one more failure of that kind is of interest: putting a batch together costs a copy of the state.
    fn wants(&self, version: &str, failure: Failure) -> bool;

    /// Takes it.
    fn saw(&self, batch: FailedBatch);
}

/// Why a batch cannot be run again.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The document does not hold together.
    #[error("not a saved batch: {0}")]
    Unreadable(String),
    /// The component cannot be started.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The machine was too slow; nothing follows from it.
    #[error("row {row} did not end in time: {why}")]
    Braked {
        /// Which, from 0.
        row: usize,
        /// In words.
        why: String,
    },
}

/// What came of a row when it was run again.
#[derive(Clone, Debug, PartialEq)]
pub enum Replayed {
    /// A score.
    Score {
        /// It.
        score: f64,
        /// The series has had too few rows.
        warm_up: bool,
        /// The model declines; the score means nothing.
        skipped: bool,
        /// Fuel it used, alone in a new instance.
        fuel: u64,
    },
    /// It failed.
    Failed(Recorded),
}

impl FailedBatch {
    /// Reads a document that [`FailedBatch::to_json`] wrote, or one written by hand.
    ///
    /// # Errors
    /// It is none, or its parts do not fit each other.
    pub fn from_json(text: &[u8]) -> Result<Self, ReplayError> {
        let batch: Self =
            serde_json::from_slice(text).map_err(|why| ReplayError::Unreadable(why.to_string()))?;
        if batch.format != FORMAT {
            return Err(unreadable(format!("format {}, not {FORMAT}", batch.format)));
        }
        let features = batch.rows.first().map_or(0, |row| row.values.len());
        if let Some(row) = batch.rows.iter().position(|row| row.values.len() != features) {
            return Err(unreadable(format!("row {row} has another number of values than row 0")));
        }
        if let Some(row) = batch.rows.iter().position(|row| row.slot as usize >= batch.state.len()) {
            return Err(unreadable(format!(
                "row {row} is of series {}, which has no state",
                batch.rows[row].slot
            )));
        }
        Ok(batch)
    }

    /// The document.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Strings, integers, finite numbers: nothing that JSON cannot say.
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    /// Runs its rows again, one by one, as the verdict on a row is made: each alone in a new instance with its own fuel,
    /// on the state that the rows before it have left.
    ///
    /// # Errors
    /// The component cannot be started with these settings, or does not fit the rows.
    pub fn replay(
        &self,
        component: &[u8],
        artifact: Option<&[u8]>,
        limits: HostLimits,
    ) -> Result<Vec<Replayed>, ReplayError> {
        let plugin = started(component, &self.settings, artifact, self.seed, limits)?;
        let descriptor = plugin.descriptor();
        let mut state = self.states(descriptor.stride)?;
        let mut session = Session::new(plugin.clone());
        let mut found = Vec::with_capacity(self.rows.len());
        for (number, row) in self.rows.iter().enumerate() {
            if row.values.len() != descriptor.features.len() {
                let (given, takes) = (row.values.len(), descriptor.features.len());
                return Err(unreadable(format!(
                    "row {number} has {given} values, the component takes {takes}"
                )));
            }
            session.renew();
            let slab = &mut state[row.slot as usize];
            match score_alone(&mut session, row, slab, self.fuel_per_row) {
                Ok((replayed, after)) => {
                    *slab = after;
                    found.push(replayed);
                }
                Err(CallError::Braked(why)) => return Err(ReplayError::Braked { row: number, why }),
                Err(CallError::Failed { failure, detail, trace }) => {
                    found.push(Replayed::Failed(Recorded::new(failure, detail, trace, &session)));
                }
            }
        }
        Ok(found)
    }

    /// The rows as columns, for one call with all of them.
    ///
    /// # Errors
    /// They do not fit the component.
    pub(crate) fn columns(&self, descriptor: &Descriptor) -> Result<Columns, ReplayError> {
        let features = descriptor.features.len();
        if self.rows.iter().any(|row| row.values.len() != features) {
            return Err(unreadable(format!(
                "its rows do not have the {features} values that the component takes"
            )));
        }
        let mut values = Vec::with_capacity(features * self.rows.len());
        let mut missing = Vec::new();
        for (cell, value) in
            (0..features).flat_map(|feature| self.rows.iter().map(move |row| row.values[feature])).enumerate()
        {
            values.push(value.unwrap_or(f64::NAN));
            if value.is_none() {
                missing.resize((features * self.rows.len()).div_ceil(8), 0_u8);
                missing[cell / 8] |= 1 << (cell % 8);
            }
        }
        Ok(Columns {
            slots: u32::try_from(self.state.len()).unwrap_or(u32::MAX),
            slot: self.rows.iter().map(|row| row.slot).collect(),
            event_time: self.rows.iter().map(|row| row.event_time).collect(),
            values,
            missing,
            state: self.states(descriptor.stride)?.concat(),
        })
    }

    fn states(&self, stride: usize) -> Result<Vec<Vec<u8>>, ReplayError> {
        let one = |(number, text): (usize, &String)| {
            let bytes = STANDARD.decode(text).map_err(|why| unreadable(format!("state {number}: {why}")))?;
            if bytes.len() != stride {
                let length = bytes.len();
                let problem = format!("state {number} has {length} bytes, the component keeps {stride}");
                return Err(unreadable(problem));
            }
            Ok(bytes)
        };
        self.state.iter().enumerate().map(one).collect()
    }
}

fn unreadable(why: String) -> ReplayError {
    ReplayError::Unreadable(why)
}

/// A component that was compiled and started.
pub(crate) fn started(
    component: &[u8],
    settings: &str,
    artifact: Option<&[u8]>,
    seed: u64,
    limits: HostLimits,
) -> Result<Plugin, Refused> {
    let host = Host::new(limits)?;
    let component = host.component(component, None)?;
    Plugin::new(&host, &component, settings, artifact, seed)
}

fn score_alone(
    session: &mut Session,
    row: &FailedBatchRow,
    state: &[u8],
    fuel: u64,
) -> Result<(Replayed, Vec<u8>), CallError> {
    let values: Vec<f64> = row.values.iter().map(|value| value.unwrap_or(f64::NAN)).collect();
    let mut missing = Vec::new();
    for (place, _) in row.values.iter().enumerate().filter(|(_, value)| value.is_none()) {
        missing.resize(values.len().div_ceil(8), 0_u8);
        missing[place / 8] |= 1 << (place % 8);
    }
    let batch = Batch {
        slots: 1,
        slot: &[0],
        event_time: &[row.event_time],
        values: &values,
        missing: &missing,
        state,
    };
    let scored = session.score(&batch, fuel)?;
    let flags = scored.flags(0);
    let replayed = Replayed::Score {
        score: scored.scores().first().copied().unwrap_or(f64::NAN),
        warm_up: flags & ROW_WARM_UP != 0,
        skipped: flags & ROW_SKIPPED != 0,
        fuel: scored.fuel_used,
    };
    Ok((replayed, scored.state))
}

/// Everything about a failed row but the model's name: what `runner` and `lane` know together.
pub(crate) struct Failing<'a> {
    pub(crate) offset: i64,
    pub(crate) event_time: i64,
    pub(crate) values: Vec<f64>,
    pub(crate) state: &'a [u8],
    pub(crate) recorded: Recorded,
}

/// Who the model is.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) component: String,
    pub(crate) artifact: Option<String>,
    pub(crate) settings: String,
    pub(crate) seed: u64,
}

impl FailedBatch {
    pub(crate) fn of_one_row(
        (model, version): (&str, &str),
        identity: &Identity,
        fuel_per_row: u64,
        partition: Option<u32>,
        failing: Failing<'_>,
    ) -> Self {
        let Failing { offset, event_time, values, state, recorded } = failing;
        let values = values.iter().map(|value| Some(*value).filter(|value| !value.is_nan())).collect();
        Self {
            format: FORMAT,
            model: model.to_owned(),
            version: version.to_owned(),
            component: identity.component.clone(),
            artifact: identity.artifact.clone(),
            settings: identity.settings.clone(),
            seed: identity.seed,
            fuel_per_row,
            partition,
            rows: vec![FailedBatchRow { offset, event_time, slot: 0, values }],
            state: vec![STANDARD.encode(state)],
            failure: recorded,
        }
    }
}

impl Recorded {
    pub(crate) fn new(failure: Failure, detail: String, trace: Vec<String>, session: &Session) -> Self {
        let line = |line: &scoring_host::LogLine| {
            let level = match line.level {
                LogLevel::Error => "error",
                LogLevel::Warn => "warn",
                LogLevel::Info => "info",
                LogLevel::Debug => "debug",
                LogLevel::Trace => "trace",
            };
            format!("{level}: {}", line.message)
        };
        Self {
            kind: failure.as_str().to_owned(),
            detail,
            trace,
            log: session.last_words().iter().map(line).collect(),
        }
    }
}

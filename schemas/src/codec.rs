//! Framed values: the Confluent wire format around the datum, schema ids, and records that were written with
//! another version of their schema.
//!
//! Does not live here: the fields (`avro`), the borrowed view of a reading (`raw`), the id table (an adapter over
//! the journal or a schema registry implements [`IdTable`]).
//!
//! Invariants: what this build writes carries its own schema's id; a value of another version is resolved by the
//! rules of Avro or refused with a reason, never misread.

mod ids;
mod resolution;
#[cfg(test)]
mod tests;

use crate::avro::{Input, Malformed};
use crate::contract::{Contract, Subject};
use crate::reason::{Reject, RejectReason};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
pub use ids::LocalIds;
use resolution::Resolution;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// First byte of a framed value.
pub const MAGIC: u8 = 0;
/// Bytes before the datum: the magic byte and a big-endian schema id.
pub const FRAME_BYTES: usize = 5;
/// Schemas of other versions kept ready; beyond it they are all fetched again.
const FOREIGN_SCHEMAS_MAX: usize = 256;
/// What a record of another version may make the resolver allocate for one field.
const FOREIGN_FIELD_BYTES_MAX: usize = 16 << 20;

/// Schema ids, as a schema registry gives them out. Ids never change their meaning.
pub trait IdTable: Send + Sync {
    /// The id of a schema under a subject. A table of our own assigns one when the schema is new; a schema registry
    /// is only asked, because what may be registered is decided when a version is deployed.
    ///
    /// # Errors
    /// [`IdError`], by what the caller does next.
    fn id_of(&self, subject: &str, schema: &str) -> Result<u32, IdError>;

    /// The schema of an id; none: the table itself says that it knows no such id.
    ///
    /// # Errors
    /// [`IdError`] when there is no such answer: that is not "unknown id".
    fn schema_of(&self, id: u32) -> Result<Option<String>, IdError>;
}

/// Why an id table gave no answer, by what the caller does next.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// It cannot be asked now: ask again later.
    #[error("{0}")]
    Retry(String),
    /// It does not take the login, or the login may not ask that: stop.
    #[error("{0}")]
    Denied(String),
    /// It will say the same until somebody changes something: stop, or wait for that.
    #[error("{0}")]
    Fatal(String),
}

/// Why a value was not decoded, by what the caller does next.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// This value is unusable: a dead letter.
    #[error(transparent)]
    Reject(#[from] Reject),
    /// The id table does not answer, or not with a schema: wait, and decode the same value again. What the table
    /// calls fatal is among it, because it says nothing about the value.
    #[error("the schema table does not answer: {0}")]
    Retry(String),
}

impl From<Malformed> for DecodeError {
    fn from(malformed: Malformed) -> Self {
        Self::Reject(Reject::new(RejectReason::MalformedAvro, malformed.to_string()))
    }
}

/// Encodes and decodes every contract. Cheap to clone.
#[derive(Clone)]
pub struct Codec(Arc<Shared>);

struct Shared {
    table: Arc<dyn IdTable>,
    own: [u32; Subject::ALL.len()],
    foreign: Mutex<BTreeMap<(Subject, u32), Arc<Resolution>>>,
}

impl std::fmt::Debug for Codec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Codec").field("own", &self.0.own).finish_non_exhaustive()
    }
}

/// How the datum behind a frame is to be read.
pub(crate) enum Datum<'a> {
    /// In the layout of this build's schema.
    Own(&'a [u8]),
    /// In another layout, and now in this build's.
    Resolved(Vec<u8>),
}

impl Codec {
    /// Asks for the ids of every subject's schema and keeps them.
    ///
    /// # Errors
    /// [`IdError`], by what the caller does next.
    pub fn new(table: Arc<dyn IdTable>) -> Result<Self, IdError> {
        // The library's limit is one for the program; the first codec sets it.
        apache_avro::util::max_allocation_bytes(FOREIGN_FIELD_BYTES_MAX);
        let mut own = [0; Subject::ALL.len()];
        for (id, subject) in own.iter_mut().zip(Subject::ALL) {
            *id = table.id_of(subject.name(), subject.schema())?;
        }
        Ok(Self(Arc::new(Shared { table, own, foreign: Mutex::default() })))
    }

    /// A codec over a table of its own in memory, for tests and simulations that never leave the program.
    #[must_use]
    pub fn local() -> Self {
        match Self::new(Arc::new(LocalIds::default())) {
            Ok(codec) => codec,
            // `LocalIds` has no way to fail.
            Err(why) => unreachable!("{why}"),
        }
    }

    /// The id of this build's schema of a subject.
    #[must_use]
    pub fn id(&self, subject: Subject) -> u32 {
        self.0.own[subject as usize]
    }

    /// Appends the frame and the datum. The same record always gives the same bytes.
    pub fn encode<T: Contract>(&self, record: &T, out: &mut Vec<u8>) {
        self.frame(T::SUBJECT, out);
        record.write(out);
    }

    /// The framed value.
    #[must_use]
    pub fn to_bytes<T: Contract>(&self, record: &T) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode(record, &mut out);
        out
    }

    /// The framed value in base64 without padding, for places that hold text only (offset metadata).
    #[must_use]
    pub fn to_text<T: Contract>(&self, record: &T) -> String {
        STANDARD_NO_PAD.encode(self.to_bytes(record))
    }

    /// Reads a framed value.
    ///
    /// # Errors
    /// [`DecodeError`], by what the caller does next.
    pub fn decode<T: Contract>(&self, value: &[u8]) -> Result<T, DecodeError> {
        let datum = self.datum(T::SUBJECT, value)?;
        let mut input = Input::new(match &datum {
            Datum::Own(bytes) => bytes,
            Datum::Resolved(bytes) => bytes,
        });
        let record = T::read(&mut input)?;
        input.finish()?;
        Ok(record)
    }

    /// Reads what [`Codec::to_text`] wrote.
    ///
    /// # Errors
    /// [`DecodeError`], by what the caller does next.
    pub fn decode_text<T: Contract>(&self, text: &str) -> Result<T, DecodeError> {
        let value = STANDARD_NO_PAD
            .decode(text)
            .map_err(|why| Reject::new(RejectReason::ForeignBytes, format!("not base64: {why}")))?;
        self.decode(&value)
    }

    pub(crate) fn frame(&self, subject: Subject, out: &mut Vec<u8>) {
        out.push(MAGIC);
        out.extend_from_slice(&self.id(subject).to_be_bytes());
    }

    /// Takes the frame off.
    #[inline]
    pub(crate) fn datum<'a>(&self, subject: Subject, value: &'a [u8]) -> Result<Datum<'a>, DecodeError> {
        let (id, datum) = match value {
            [MAGIC, a, b, c, d, datum @ ..] => (u32::from_be_bytes([*a, *b, *c, *d]), datum),
            _ => return Err(foreign_bytes(value).into()),
        };
        if id == self.id(subject) { Ok(Datum::Own(datum)) } else { self.resolved(subject, id, datum) }
    }

    #[cold]
    fn resolved<'a>(&self, subject: Subject, id: u32, datum: &'a [u8]) -> Result<Datum<'a>, DecodeError> {
        match &*self.resolution(subject, id)? {
            Resolution::SameLayout => Ok(Datum::Own(datum)),
            Resolution::Differs(transcoder) => {
                transcoder.transcode(datum).map(Datum::Resolved).map_err(|why| {
                    Reject::new(RejectReason::MalformedAvro, format!("by schema id {id}: {why}")).into()
                })
            }
            Resolution::Incompatible(why) => Err(Reject::new(
                RejectReason::UnknownSchema,
                format!("schema id {id} cannot be read as {}: {why}", subject.name()),
            )
            .into()),
        }
    }

    fn resolution(&self, subject: Subject, id: u32) -> Result<Arc<Resolution>, DecodeError> {
        let lock = || self.0.foreign.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = lock().get(&(subject, id)) {
            return Ok(Arc::clone(known));
        }
        // Unknown ids are not remembered: a table that lags behind would make them unknown for ever.
        let schema = self
            .0
            .table
            .schema_of(id)
            .map_err(|why| DecodeError::Retry(why.to_string()))?
            .ok_or_else(|| {
                Reject::new(RejectReason::UnknownSchema, format!("schema id {id} is not in the schema table"))
            })?;
        let found = Arc::new(Resolution::of(&schema, subject));
        let mut cache = lock();
        if cache.len() >= FOREIGN_SCHEMAS_MAX {
            cache.clear();
        }
        cache.insert((subject, id), Arc::clone(&found));
        Ok(found)
    }
}

/// The refusal of bytes that are no framed value.
#[cold]
pub(crate) fn foreign_bytes(value: &[u8]) -> Reject {
    let found = match value {
        [] => "the value is empty".to_owned(),
        [MAGIC, ..] => format!("a frame of {} bytes", value.len()),
        [first, ..] => format!("the first byte is 0x{first:02x}"),
    };
    Reject::new(
        RejectReason::ForeignBytes,
        format!("{found}; expected 0x00 and a 4-byte schema id before Avro, or a JSON object on iot.raw"),
    )
}

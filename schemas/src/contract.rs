//! The contracts by name: which record stands under which subject, and with which schema.

use crate::avro::{Datum, Input, Malformed, write_bytes, write_count};
use crate::record::{
    Aggregate, Alert, Audit, CommitMetadata, Control, DeadLetter, DeviceLatest, Late, ModelPiece, Raw, Score,
    Shadow, SnapshotHeader,
};
use crate::topic::Topic;

/// A name under which a schema is registered: a topic's `-value`, or what is written with an offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// [`Raw`], a union.
    Raw,
    /// [`Aggregate`].
    Aggregates,
    /// [`Alert`].
    Alerts,
    /// [`Late`].
    Late,
    /// [`DeadLetter`].
    DeadLetters,
    /// [`Score`].
    Scores,
    /// [`Control`], decisions.
    Control,
    /// [`DeviceLatest`].
    Devices,
    /// [`SnapshotHeader`] and [`SnapshotChunk`], a union.
    Snapshots,
    /// [`Audit`].
    Audit,
    /// [`CommitMetadata`].
    CommitMetadata,
    /// [`Shadow`].
    Shadow,
    /// [`ModelPiece`].
    Models,
}

impl Subject {
    /// Every subject.
    pub const ALL: [Self; 13] = [
        Self::Raw,
        Self::Aggregates,
        Self::Alerts,
        Self::Late,
        Self::DeadLetters,
        Self::Scores,
        Self::Control,
        Self::Devices,
        Self::Snapshots,
        Self::Audit,
        Self::CommitMetadata,
        Self::Shadow,
        Self::Models,
    ];

    /// The name in the schema registry.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Raw => "iot.raw-value",
            Self::Aggregates => "iot.aggregates-value",
            Self::Alerts => "iot.alerts-value",
            Self::Late => "iot.late-value",
            Self::DeadLetters => "iot.dead-letters-value",
            Self::Scores => "iot.scores-value",
            Self::Control => "iot.control-value",
            Self::Devices => "iot.devices-value",
            Self::Snapshots => "iot.snapshots-value",
            Self::Audit => "iot.audit-value",
            Self::CommitMetadata => "highwater-commit-metadata",
            Self::Shadow => "iot.shadow-value",
            Self::Models => "iot.models-value",
        }
    }

    /// The subject of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|subject| subject.name() == name)
    }

    /// The Avro schema that this build writes, as JSON.
    #[must_use]
    pub const fn schema(self) -> &'static str {
        match self {
            Self::Raw => include_str!("../avro/raw.avsc"),
            Self::Aggregates => include_str!("../avro/aggregate.avsc"),
            Self::Alerts => include_str!("../avro/alert.avsc"),
            Self::Late => include_str!("../avro/late.avsc"),
            Self::DeadLetters => include_str!("../avro/dead-letter.avsc"),
            Self::Scores => include_str!("../avro/score.avsc"),
            Self::Control => include_str!("../avro/control.avsc"),
            Self::Devices => include_str!("../avro/device-latest.avsc"),
            Self::Snapshots => include_str!("../avro/snapshot.avsc"),
            Self::Audit => include_str!("../avro/audit.avsc"),
            Self::CommitMetadata => include_str!("../avro/commit-metadata.avsc"),
            Self::Shadow => include_str!("../avro/shadow.avsc"),
            Self::Models => include_str!("../avro/model-piece.avsc"),
        }
    }

    /// The topic whose values these are.
    #[must_use]
    pub fn topic(self) -> Option<Topic> {
        Topic::ALL.into_iter().find(|topic| self.name().strip_suffix("-value") == Some(topic.name()))
    }
}

/// A record with a contract. `write` appends the bare datum; [`crate::codec::Codec`] puts the frame around it.
pub trait Contract: Sized {
    /// The subject its schema is registered under.
    const SUBJECT: Subject;

    /// Appends the datum. The same value always gives the same bytes.
    fn write(&self, out: &mut Vec<u8>);

    /// Reads a datum.
    ///
    /// # Errors
    /// [`Malformed`] names the field, the place and what should have stood there.
    fn read(input: &mut Input<'_>) -> Result<Self, Malformed>;
}

macro_rules! contracts {
    ($($record:ident: $subject:ident,)+) => {
        $(impl Contract for $record {
            const SUBJECT: Subject = Subject::$subject;
            fn write(&self, out: &mut Vec<u8>) {
                Datum::write(self, out);
            }
            fn read(input: &mut Input<'_>) -> Result<Self, Malformed> {
                Datum::read(input, "record")
            }
        })+
    };
}

contracts! {
    Raw: Raw,
    Aggregate: Aggregates,
    Alert: Alerts,
    Late: Late,
    DeadLetter: DeadLetters,
    Score: Scores,
    Control: Control,
    DeviceLatest: Devices,
    Audit: Audit,
    CommitMetadata: CommitMetadata,
    Shadow: Shadow,
    ModelPiece: Models,
}

/// A piece of a snapshot blob, in order, after its [`SnapshotHeader`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotChunk {
    /// The piece.
    pub bytes: Vec<u8>,
}

/// First branch of the snapshots' union.
impl Contract for SnapshotHeader {
    const SUBJECT: Subject = Subject::Snapshots;
    fn write(&self, out: &mut Vec<u8>) {
        write_count(0, out);
        Datum::write(self, out);
    }
    fn read(input: &mut Input<'_>) -> Result<Self, Malformed> {
        input.index(1, "record").map_err(|m| Malformed { expected: "a snapshot header", ..m })?;
        Datum::read(input, "record")
    }
}

/// Second branch of the snapshots' union.
impl Contract for SnapshotChunk {
    const SUBJECT: Subject = Subject::Snapshots;
    fn write(&self, out: &mut Vec<u8>) {
        write_count(1, out);
        write_bytes(&self.bytes, out);
    }
    fn read(input: &mut Input<'_>) -> Result<Self, Malformed> {
        let start = input.clone();
        match input.index(2, "record")? {
            1 => Ok(Self { bytes: Datum::read(input, "bytes")? }),
            _ => Err(start.malformed("record", "a chunk of a snapshot")),
        }
    }
}

//! The record types, owned. Codecs are in `codec`; the borrowed view of a reading that the hot path uses is in
//! `view`. Field order here is field order in the `.avsc` files.

mod score;

pub use score::{Score, Shadow};

use crate::Micros;
use std::collections::BTreeMap;

/// What a device measured under one name.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Measured {
    /// Measured, no value.
    Null,
    /// A finite number.
    Number(f64),
    /// A boolean.
    Bool(bool),
}

/// One device's measurements at one event time.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// 1 to 128 characters of letters, digits and `._:-`; not `.` or `..`.
    pub device_id: String,
    /// Absent: the receipt time is the event time.
    pub event_time: Option<Micros>,
    /// The device's own counter.
    pub seq: Option<i64>,
    /// Changes when the device restarts.
    pub boot: Option<String>,
    /// Measurements in the order they were sent; names are unique.
    pub measurements: Vec<(String, Measured)>,
    /// Text fields in the order they were sent; names are unique.
    pub tags: Vec<(String, String)>,
}

/// How one measurement of a device is read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Channel {
    /// Unit after calibration.
    pub unit: Option<String>,
    /// `value x scale + offset` before windows.
    pub scale: Option<f64>,
    /// See `scale`.
    pub offset: Option<f64>,
}

/// A device's metadata, or its deletion.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Device {
    /// See [`Reading::device_id`].
    pub device_id: String,
    /// True: the metadata is gone (readings go on being accepted).
    pub deleted: bool,
    /// Where it stands.
    pub site: Option<String>,
    /// What it is.
    pub model: Option<String>,
    /// Free labels.
    pub tags: BTreeMap<String, String>,
    /// Units and calibration by measurement name.
    pub channels: BTreeMap<String, Channel>,
    /// Overrides the windows' `disorder`.
    pub disorder: Option<Micros>,
    /// Overrides `quiet-after`.
    pub quiet_after: Option<Micros>,
    /// Overrides `lateness`.
    pub lateness: Option<Micros>,
    /// Overrides `settle`.
    pub settle: Option<Micros>,
}

/// A generation of the pipeline's configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Control {
    /// Offset of the decision in `iot.control`.
    pub generation: i64,
    /// The whole configuration as canonical JSON of [`crate::pipeline::Pipeline`]; absent when only roles change.
    pub pipeline: Option<String>,
    /// Roles of models as JSON; absent when only the pipeline changes. Read by a later generation of software.
    pub models: Option<String>,
    /// Skips a range that the epoch brake stopped three times: first offset, in this partition.
    pub skip_from: Option<i64>,
    /// One past the last offset of that range.
    pub skip_to: Option<i64>,
}

/// No more readings are expected of a device, or of the whole partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// Absent: the whole partition.
    pub device_id: Option<String>,
}

/// What stands in `iot.raw`.
#[derive(Clone, Debug, PartialEq)]
pub enum Raw {
    /// A reading.
    Reading(Reading),
    /// Device metadata.
    Device(Device),
    /// Configuration.
    Control(Control),
    /// Time has passed: nothing but its journal timestamp.
    Tick,
    /// See [`End`].
    End(End),
}

/// Why a pane was emitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EmissionKind {
    /// Before the window was complete, by time or count.
    Early,
    /// The watermark, or silence, reached its end.
    OnTime,
    /// A revision after the first, or a back-fill pane.
    Late,
    /// By an end record.
    AtEnd,
    /// A session row that another session swallowed.
    Retracted,
}

impl EmissionKind {
    /// Public name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Early => "early",
            Self::OnTime => "on-time",
            Self::Late => "late",
            Self::AtEnd => "at-end",
            Self::Retracted => "retracted",
        }
    }
}

/// One model's scores within one pane.
#[derive(Clone, Debug, PartialEq)]
pub struct ScoreSummary {
    /// Name of the model in the configuration.
    pub model: String,
    /// Scored rows.
    pub count: i64,
    /// Mean score; 0 when `count` is 0.
    pub mean: f64,
    /// Greatest score; 0 when `count` is 0.
    pub max: f64,
    /// Rows over the model's threshold.
    pub alerts: i64,
    /// Rows on which the model failed.
    pub failed: i64,
}

/// The metadata that was in force at a pane's last reading.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeviceSummary {
    /// See [`Device::site`].
    pub site: Option<String>,
    /// See [`Device::model`].
    pub model: Option<String>,
    /// Unit of this metric.
    pub unit: Option<String>,
    /// See [`Device::tags`].
    pub tags: BTreeMap<String, String>,
}

/// One emission of one pane.
#[derive(Clone, Debug, PartialEq)]
pub struct Aggregate {
    /// Key.
    pub device_id: String,
    /// Measurement name.
    pub metric: String,
    /// Window definition's name.
    pub window: String,
    /// First instant of the window.
    pub start: Micros,
    /// First instant after the window.
    pub end: Micros,
    /// 1, 2, 3 ... of this (device, metric, window, start).
    pub revision: i32,
    /// Why it was emitted.
    pub kind: EmissionKind,
    /// No later window of this series has been emitted.
    pub newest: bool,
    /// Values aggregated.
    pub count: i64,
    /// Nulls: measured, no value.
    pub nulls: i64,
    /// Sum in log order; absent when `count` is 0, as are all below up to `m2`.
    pub sum: Option<f64>,
    /// Least.
    pub min: Option<f64>,
    /// Greatest.
    pub max: Option<f64>,
    /// By event time, ties by offset.
    pub first: Option<f64>,
    /// By event time, ties by offset.
    pub last: Option<f64>,
    /// Arithmetic mean (Welford/Chan).
    pub mean: Option<f64>,
    /// Sum of squared deviations from the mean (Welford/Chan).
    pub m2: Option<f64>,
    /// For `retracted`: start of the session that swallowed it.
    pub merged_into: Option<Micros>,
    /// Metadata in force.
    pub device: Option<DeviceSummary>,
    /// Scores of the readings in it.
    pub scores: Vec<ScoreSummary>,
    /// Receipt time of the last contribution.
    pub contributed_at: Micros,
    /// Configuration in force.
    pub generation: i64,
    /// Epoch microseconds, strictly increasing within a partition: the later write wins in the store.
    pub write_clock: Micros,
}

/// A piece of a model's component in `iot.models`; the key is `DIGEST/INDEX`. A component is there when all its pieces
/// are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelPiece {
    /// SHA-256 of the component, hexadecimal.
    pub digest: String,
    /// Place of this piece, from 0.
    pub index: i32,
    /// Pieces there are.
    pub count: i32,
    /// The piece.
    pub bytes: Vec<u8>,
    /// Text of a minisign signature over the component, with its first piece.
    pub signature: Option<String>,
}

/// What an alert is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AlertKind {
    /// A score over the threshold.
    Score,
    /// A device has stopped sending.
    Stalled,
    /// A device's clock is wrong.
    Clock,
}

impl AlertKind {
    /// Public name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Score => "score",
            Self::Stalled => "stalled",
            Self::Clock => "clock",
        }
    }
}

/// Something a person may want to look at.
#[derive(Clone, Debug, PartialEq)]
pub struct Alert {
    /// Key.
    pub device_id: String,
    /// Unique and stable under re-computation: `partition-offset-index`.
    pub id: String,
    /// What it is about.
    pub kind: AlertKind,
    /// One sentence.
    pub message: String,
    /// Event time, or start of the window.
    pub event_time: Micros,
    /// Metric, for scores.
    pub metric: Option<String>,
    /// Raw value, for scores; of a window the model's first feature.
    pub value: Option<f64>,
    /// Model's name, for scores.
    pub model: Option<String>,
    /// Version's digest, for scores.
    pub version: Option<String>,
    /// Score.
    pub score: Option<f64>,
    /// Threshold.
    pub threshold: Option<f64>,
    /// What the value is of its window, for scores of windows: `mean`, `max` ...
    pub feature: Option<String>,
    /// Least value that would have been expected, if the model says so.
    pub expected_low: Option<f64>,
    /// Greatest value that would have been expected, if the model says so.
    pub expected_high: Option<f64>,
    /// Window definition's name, for scores of windows.
    pub window: Option<String>,
    /// First instant after the window.
    pub window_end: Option<Micros>,
    /// Receipt time of what caused it.
    pub received_at: Micros,
    /// Configuration in force.
    pub generation: i64,
    /// See [`Aggregate::write_clock`].
    pub write_clock: Micros,
}

/// A sealed interval that refused a reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Window definition's name.
    pub window: String,
    /// Start of the window that would have taken it.
    pub start: Micros,
    /// Its end.
    pub end: Micros,
}

/// A reading too late for every window it belongs to.
#[derive(Clone, Debug, PartialEq)]
pub struct Late {
    /// The reading.
    pub reading: Reading,
    /// The windows that refused it.
    pub refusals: Vec<Refusal>,
    /// Its partition in `iot.raw`.
    pub source_partition: i32,
    /// Its offset.
    pub source_offset: i64,
    /// Its receipt time.
    pub received_at: Micros,
    /// See [`Aggregate::write_clock`].
    pub write_clock: Micros,
}

/// Where a record was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// At the door.
    Ingest,
    /// In the processor, reading bytes.
    Decode,
    /// In the processor, applying it.
    Step,
    /// In a model.
    Scoring,
    /// On the way into the store.
    Sink,
}

impl Stage {
    /// Public name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Decode => "decode",
            Self::Step => "step",
            Self::Scoring => "scoring",
            Self::Sink => "sink",
        }
    }
}

/// What could not be used.
#[derive(Clone, Debug, PartialEq)]
pub struct DeadLetter {
    /// [`crate::reason::RejectReason`] by name.
    pub reason: String,
    /// What was wrong and what would be right.
    pub detail: String,
    /// Where.
    pub stage: Stage,
    /// Topic it was read from; absent at the door.
    pub source_topic: Option<String>,
    /// Partition there.
    pub source_partition: Option<i32>,
    /// Offset there.
    pub source_offset: Option<i64>,
    /// Device, if it could be told.
    pub device_id: Option<String>,
    /// Record key as read.
    pub key: Option<Vec<u8>>,
    /// The bytes, cut at 256 KiB.
    pub value: Vec<u8>,
    /// Whether `value` was cut.
    pub truncated: bool,
    /// How often it had been redriven when it failed.
    pub redriven: i32,
    /// Receipt time of the source record; ingest's clock at the door.
    pub received_at: Micros,
    /// See [`Aggregate::write_clock`]; 0 at the door.
    pub write_clock: Micros,
}

/// A device's latest metadata, published to `iot.devices`.
#[derive(Clone, Debug, PartialEq)]
pub struct DeviceLatest {
    /// The metadata or its deletion.
    pub device: Device,
    /// Receipt time of the record that brought it.
    pub received_at: Micros,
    /// See [`Aggregate::write_clock`].
    pub write_clock: Micros,
}

/// Where an immutable snapshot blob lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotLocator {
    /// Partition in `iot.snapshots`.
    pub partition: i32,
    /// Offset of the header record there; chunks follow at consecutive offsets.
    pub offset: i64,
    /// Number of records: the header and its chunks.
    pub records: i32,
    /// First offset of `iot.raw` that is *not* in the snapshot.
    pub covers_to: i64,
    /// SHA-256 of the blob.
    pub sha256: Vec<u8>,
}

/// First record of a snapshot blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotHeader {
    /// Version of the state format.
    pub format: i32,
    /// Build that wrote it.
    pub build: String,
    /// Partition of `iot.raw`.
    pub partition: i32,
    /// See [`SnapshotLocator::covers_to`].
    pub covers_to: i64,
    /// Bytes of the blob.
    pub bytes: i64,
    /// Chunk records that follow.
    pub chunks: i32,
    /// SHA-256 of the blob.
    pub sha256: Vec<u8>,
}

/// The closed books of one partition since the beginning of its log: one reading, one outcome.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Readings in the log, measured where the record is read; bytes nobody can read count as one.
    pub received: i64,
    /// Device, control, tick and end records: `received + others` is the number of offsets read.
    pub others: i64,
    /// Taken by at least one window.
    pub aggregated: i64,
    /// Dropped by a rule of the configuration.
    pub filtered: i64,
    /// Seen before.
    pub duplicate: i64,
    /// Refused by every window.
    pub late: i64,
    /// Dead letters other than `scoring`.
    pub rejected: i64,
    /// Aggregated, but refused by at least one window; outside the sum.
    pub late_partial: i64,
    /// With a sequence number below the horizon; outside the sum.
    pub beyond_horizon: i64,
    /// Rows given to models; outside the sum.
    pub scored: i64,
    /// Rows models failed on; outside the sum.
    pub scoring_failed: i64,
    /// Records written per output topic, in [`crate::topic::Topic::ALL`] order.
    pub outputs: BTreeMap<String, i64>,
}

/// One commit of one partition.
#[derive(Clone, Debug, PartialEq)]
pub struct Audit {
    /// Partition of `iot.raw`.
    pub partition: i32,
    /// First offset of the range.
    pub from: i64,
    /// One past its last offset.
    pub to: i64,
    /// Totals after the range.
    pub totals: Totals,
    /// Chained digest of all outputs so far.
    pub digest: Vec<u8>,
    /// Write clock after the range.
    pub write_clock: Micros,
    /// Configuration after the range.
    pub generation: i64,
    /// Latest durable snapshot at or before `to`.
    pub snapshot: Option<SnapshotLocator>,
    /// Build that wrote it.
    pub build: String,
    /// What versions on trial and those beside them have done so far, in the stage that each is in.
    pub trials: Vec<TrialCounts>,
}

/// What a version on trial and the one in force have done in one partition since the trial came to its stage.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrialCounts {
    /// Name of the model.
    pub model: String,
    /// Digest of the version on trial, hexadecimal.
    pub version: String,
    /// The stage, as text.
    pub stage: String,
    /// Rows given to both.
    pub rows: i64,
    /// Rows that both have scored, neither while warming up.
    pub compared: i64,
    /// Rows that the version in force failed on.
    pub failed_active: i64,
    /// Rows that the version on trial failed on.
    pub failed_trial: i64,
    /// Of the rows compared, those over the threshold of the version in force.
    pub alerts_active: i64,
    /// Of the rows compared, those over the threshold of the version on trial.
    pub alerts_trial: i64,
    /// Of the rows compared, those over both.
    pub alerts_both: i64,
    /// Fuel that the version in force has used, since this process has the partition; a measurement.
    pub fuel_active: i64,
    /// Fuel that the version on trial has used, since this process has the partition; a measurement.
    pub fuel_trial: i64,
}

/// What is committed with an offset (at most 4096 bytes in base64).
#[derive(Clone, Debug, PartialEq)]
pub struct CommitMetadata {
    /// Version of this structure.
    pub version: i32,
    /// Build that wrote it.
    pub build: String,
    /// Configuration in force.
    pub generation: i64,
    /// Chained digest of all outputs so far.
    pub digest: Vec<u8>,
    /// Write clock.
    pub write_clock: Micros,
    /// Running maximum of receipt times.
    pub receipt_now: Micros,
    /// Latest durable snapshot at or before the committed offset.
    pub snapshot: Option<SnapshotLocator>,
    /// The one before, should that be damaged.
    pub previous: Option<SnapshotLocator>,
}

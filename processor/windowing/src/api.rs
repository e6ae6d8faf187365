//! What callers pass in and get out. The partition itself is `partition::Partition`:
//!
//! ```text
//! Partition::new() -> Self                                        // calls come in log order, offsets ascending
//! configure(&mut self, Settings, receipt_now, &mut impl Sink)      // new windows start at their next boundary
//! locate(&mut self, device: &str, receipt: Micros) -> Result<Slot, DeviceLimit>     // finds or creates
//! set_overrides(&mut self, Slot, Overrides)
//! sequence(&self, Slot, boot: Option<&str>, seq: i64, event_time) -> Sequence
//! mark(&mut self, Slot, boot: Option<&str>, seq: i64, event_time)
//! advance(&mut self, receipt: Micros, &mut impl Sink)              // fires what is due, evicts
//! observe(&mut self, Slot, &Observation, &mut impl Sink) -> Result<Taken, PaneLimit>
//! end(&mut self, Option<Slot>, &mut impl Sink)
//! panes(&self) -> u32;  panes_of_reading_max(&self, values: usize) -> u32   // how many accumulators one reading may add at most:
//!     a caller that queues readings flushes first when queued readings could reach `panes_max`, so that refusals do
//!     not depend on where its batches end
//! next_deadline(&self) -> Option<Micros>    // receipt time at which a timer is due if nothing arrives
//! wake_at(&mut self, by: Micros) -> Option<Micros>    // when to look again; cheap
//! next_eviction(&self) -> Option<Micros>
//! explain(&self, Slot) -> DeviceState;  find(&self, device: &str) -> Option<Slot>;  find_bytes(&self, device: &[u8]) -> Option<Slot>
//! device_id(Slot) -> &str
//! scored(&self) -> Vec<bool>                // by model number: whether an accumulator holds scores under it
//! footprint(&self) -> Footprint
//! save(&self, &mut Vec<u8>);  load(&[u8]) -> Result<Self, LoadError>   // byte-identical behaviour afterwards
//! ```

/// Microseconds since the epoch, or a span.
pub type Micros = i64;

/// A device of this partition: dense, reused after eviction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(pub u32);

/// A metric name of this partition, interned by the caller in order of first appearance in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Metric(pub u16);

/// How event times map to windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Assigner {
    /// Back to back.
    Tumbling {
        /// Length.
        size: Micros,
        /// Shift.
        offset: Micros,
    },
    /// Overlapping; slices of width gcd(size, advance) are shared.
    Hopping {
        /// Length.
        size: Micros,
        /// Distance between starts.
        advance: Micros,
    },
    /// Until `gap` after the last reading.
    Session {
        /// Silence that ends it.
        gap: Micros,
    },
}

/// One window definition, every rule resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WindowRule {
    /// Identity across configurations: a definition with the same name and assigner goes on where it was.
    pub name: String,
    /// Assigner.
    pub assigner: Assigner,
    /// Early emission every so much device-clock time.
    pub early_every: Option<Micros>,
    /// Early emission every so many readings of a pane.
    pub early_count: Option<u64>,
    /// Metrics this definition takes; none: every one observed.
    pub metrics: Option<Vec<Metric>>,
    /// How far out of order readings may come.
    pub disorder: Micros,
    /// Silence after which the device clock closes panes.
    pub quiet_after: Micros,
    /// How long an emitted pane still takes readings.
    pub lateness: Micros,
    /// Receipt time without contribution before a late pane is emitted.
    pub settle: Micros,
}

/// Configuration in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Window definitions in configuration order.
    pub windows: Vec<WindowRule>,
    /// Panes of a silent device are dropped so long after their end.
    pub idle_retention: Micros,
    /// Devices are evicted after so much receipt time without readings.
    pub device_retention: Micros,
    /// Most devices.
    pub devices_max: u32,
    /// Most panes.
    pub panes_max: u32,
    /// Most back-fill panes per device.
    pub backfill_panes_max: u32,
    /// Model numbers in use: the length of [`Value::scores`]. The caller gives the numbers out, and gives one to another
    /// model only when no accumulator holds scores under it (`Partition::scored`).
    pub models: u16,
}

/// A device's own time rules; absent: the window's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// See [`WindowRule::disorder`].
    pub disorder: Option<Micros>,
    /// See [`WindowRule::quiet_after`].
    pub quiet_after: Option<Micros>,
    /// See [`WindowRule::lateness`].
    pub lateness: Option<Micros>,
    /// See [`WindowRule::settle`].
    pub settle: Option<Micros>,
}

/// One accepted, non-duplicate, unfiltered reading.
#[derive(Clone, Copy, Debug)]
pub struct Observation<'a> {
    /// Event time.
    pub event_time: Micros,
    /// Offset in the log: breaks ties of event time.
    pub offset: i64,
    /// Metrics to aggregate.
    pub values: &'a [Value<'a>],
}

/// One metric of a reading.
#[derive(Clone, Copy, Debug)]
pub struct Value<'a> {
    /// Which.
    pub metric: Metric,
    /// Finite; none: measured, no value.
    pub value: Option<f64>,
    /// What each model said of it, by model number; empty when nothing scores.
    pub scores: &'a [Scored],
}

/// What one model said of one value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scored {
    /// The model does not look at this metric.
    Not,
    /// A score, and whether it is over the threshold.
    Score(f64, bool),
    /// The model failed on it.
    Failed,
}

/// What became of a reading.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Windows that took it.
    pub panes: u32,
    /// Windows that refused it: (window definition's index, start, end). Allocates only when it happens.
    pub refused: Vec<(u16, Micros, Micros)>,
}

/// Verdict on a sequence number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sequence {
    /// Not seen.
    Fresh,
    /// Seen before, under the same boot.
    Duplicate,
    /// Below the horizon: accepted, counted.
    BeyondHorizon,
}

/// Why a pane is emitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// By time or count, before completion.
    Early,
    /// Complete.
    OnTime,
    /// Revision after the first emission, or back-fill.
    Late,
    /// By an end record.
    AtEnd,
    /// Swallowed by the session that starts at this time.
    Retracted {
        /// Start of the merged session.
        into: Micros,
    },
}

/// One model's scores within one pane.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ScoreStats {
    /// Scored.
    pub count: u64,
    /// Mean, by Welford/Chan.
    pub mean: f64,
    /// Greatest.
    pub max: f64,
    /// Over the threshold.
    pub alerts: u64,
    /// Failures.
    pub failed: u64,
}

/// Aggregated values; every field but `count` and `nulls` is 0 while `count` is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Stats {
    /// Values.
    pub count: u64,
    /// Nulls.
    pub nulls: u64,
    /// In log order within a pane; slices and sessions pairwise in ascending start.
    pub sum: f64,
    /// Least.
    pub min: f64,
    /// Greatest.
    pub max: f64,
    /// By (event time, offset).
    pub first: f64,
    /// By (event time, offset).
    pub last: f64,
    /// Welford/Chan.
    pub mean: f64,
    /// Welford/Chan.
    pub m2: f64,
}

/// One emission.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Emission<'a> {
    /// Device.
    pub slot: Slot,
    /// Metric.
    pub metric: Metric,
    /// Index of the window definition.
    pub window: u16,
    /// Its name: a removed definition is emitted once more when its index means another already.
    pub window_name: &'a str,
    /// Start.
    pub start: Micros,
    /// End.
    pub end: Micros,
    /// From 1.
    pub revision: u32,
    /// Why.
    pub kind: Kind,
    /// No later window of this series was emitted.
    pub newest: bool,
    /// No emission before it was of a complete pane: what comes after it only revises.
    pub first: bool,
    /// Values.
    pub stats: Stats,
    /// By model number; empty when nothing scored.
    pub scores: &'a [ScoreStats],
    /// Receipt time of the last contribution.
    pub contributed_at: Micros,
}

/// Receives what happens.
pub trait Sink {
    /// A pane is emitted.
    fn emit(&mut self, emission: Emission<'_>);
    /// A device is forgotten; its slot will be reused. Called after its last emission.
    fn evict(&mut self, slot: Slot, device: &str);
}

/// The partition has `devices_max` devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the partition has {0} devices, as many as `limits.devices-max` allows")]
pub struct DeviceLimit(pub u32);

/// The reading would take the partition beyond `panes_max` accumulators; nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} panes are open, as many as `limits` allows")]
pub struct PaneLimit(pub u32);

/// What a device's time looks like, for people: where its clocks stand and why each pane is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceState {
    /// Id.
    pub device: String,
    /// Greatest event time of a reading that was taken; none: no reading yet.
    pub max_event: Option<Micros>,
    /// Receipt time of the reading that set it.
    pub seen_at: Option<Micros>,
    /// Receipt time of the last reading that was not late.
    pub last_receipt: Option<Micros>,
    /// Receipt time at which it was located first.
    pub created_at: Micros,
    /// Its clock at the greatest receipt time of the partition.
    pub clock: Option<Micros>,
    /// Receipt time at which it is forgotten if nothing arrives.
    pub evicted_at: Micros,
    /// Its own time rules.
    pub overrides: Overrides,
    /// By window definition, in configuration order.
    pub windows: Vec<WindowState>,
    /// Boots whose sequence numbers are remembered, the one marked longest ago first.
    pub boots: Vec<BootState>,
}

/// One window definition of one device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WindowState {
    /// Name.
    pub name: String,
    /// Watermark; none: no reading yet.
    pub watermark: Option<Micros>,
    /// Least window start that is taken; none: no boundary.
    pub not_before: Option<Micros>,
    /// Sealed starts, half-open (sessions: sealed event times), ascending.
    pub seals: Vec<(Micros, Micros)>,
    /// Ascending by start.
    pub panes: Vec<PaneState>,
}

/// One pane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaneState {
    /// Start.
    pub start: Micros,
    /// End.
    pub end: Micros,
    /// Readings it took.
    pub readings: u64,
    /// Where it is in its life.
    pub phase: Phase,
    /// Receipt time at which its next timer is due if nothing arrives; none: never.
    pub due_at: Option<Micros>,
    /// Receipt time of its last contribution.
    pub contributed_at: Micros,
    /// Each metric, the revisions emitted so far, and whether something was contributed since.
    pub metrics: Vec<(Metric, u32, bool)>,
}

/// Where a pane is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Ahead of the watermark: emitted when the watermark reaches its end, or in silence.
    Live,
    /// Emitted; takes readings until it is dropped.
    Emitted,
    /// Emitted; one reading carried the watermark far beyond its end, and it takes the rest until it is dropped.
    Held,
    /// Took readings behind the watermark: emitted once they settle.
    Waiting,
    /// Waiting, and dropped with its emission.
    Deep,
}

/// What is remembered of one boot's sequence numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootState {
    /// Boot; none: readings that name none.
    pub boot: Option<String>,
    /// Greatest number.
    pub greatest: i64,
    /// Newest event time marked under it.
    pub newest: Micros,
}

/// How much a partition holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Footprint {
    /// Devices.
    pub devices: u32,
    /// Accumulators, as `panes_max` counts them.
    pub panes: u32,
    /// Bytes of devices without their panes, by the sizes of what is reserved.
    pub device_bytes: u64,
    /// Bytes of panes and slices.
    pub pane_bytes: u64,
    /// Bytes of the index, the timers and the slots.
    pub index_bytes: u64,
}

/// A saved partition cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// It was written by another version.
    #[error("saved by version {0}, this is version {1}")]
    Version(u8, u8),
    /// It ends early, goes on too long or contradicts itself.
    #[error("saved windows are damaged: {0}")]
    Damaged(&'static str),
}

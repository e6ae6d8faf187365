//! The topics, by name. Names are public interface: dashboards, consoles and other people's consumers use them.

/// A topic of the pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    /// Readings and the other record kinds that change what is computed.
    Raw,
    /// Window emissions with their revisions.
    Aggregates,
    /// Scores over threshold, stalled devices, clock faults.
    Alerts,
    /// Readings that every window refused as late.
    Late,
    /// What could not be used, with its reason, origin and bytes.
    DeadLetters,
    /// Sampled scores.
    Scores,
    /// Decisions in order, one partition; the offset is the generation.
    Control,
    /// Latest device metadata, compacted.
    Devices,
    /// Immutable state blobs, read at exact offsets only.
    Snapshots,
    /// One record per commit and partition: range read, counts written, chained digest.
    Audit,
    /// Sampled scores of versions on trial.
    Shadow,
    /// Components of models in pieces, one partition, compacted.
    Models,
}

impl Topic {
    /// Every topic, in the order that `topics create` makes them and that breaks ties in an output order.
    pub const ALL: [Self; 12] = [
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
        Self::Shadow,
        Self::Models,
    ];

    /// The name on the journal.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Raw => "iot.raw",
            Self::Aggregates => "iot.aggregates",
            Self::Alerts => "iot.alerts",
            Self::Late => "iot.late",
            Self::DeadLetters => "iot.dead-letters",
            Self::Scores => "iot.scores",
            Self::Control => "iot.control",
            Self::Devices => "iot.devices",
            Self::Snapshots => "iot.snapshots",
            Self::Audit => "iot.audit",
            Self::Shadow => "iot.shadow",
            Self::Models => "iot.models",
        }
    }

    /// The topic of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|topic| topic.name() == name)
    }

    /// Whether the topic has as many partitions as `iot.raw` (the others have one).
    #[must_use]
    pub const fn co_partitioned(self) -> bool {
        !matches!(self, Self::Control | Self::Models)
    }
}

impl std::fmt::Display for Topic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

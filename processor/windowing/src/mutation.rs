//! Seeded faults: each changes one rule, and the tests must notice every one. Without the feature `mutations`
//! [`Mutant`] is empty and every question about it is `false` at compile time.

/// One rule, broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    not(feature = "mutations"),
    allow(dead_code, unreachable_pub, reason = "constructed by tests only, which the feature is for")
)]
pub enum Mutation {
    /// A pane completes only when the watermark is beyond its end.
    InclusiveWatermark,
    /// Sealed intervals take readings again.
    SealIgnored,
    /// Waiting panes are emitted at the next timer, without settling.
    SettleIgnored,
    /// Of readings with equal event times `last` keeps the first and `first` the last.
    TieOrderReversed,
    /// Once the early count is reached every further reading is emitted.
    EarlyCounterNotReset,
    /// A hopping row merges its slices in descending start.
    SlicesMergedBackwards,
    /// Silence closes panes without waiting for `quiet_after`.
    QuietIgnored,
    /// A joined session's old row is left standing.
    RetractionForgotten,
    /// Every row says it is the newest.
    NewestAlways,
    /// The device clock jumps to receipt time.
    ClockJumpsToReceipt,
    /// A pane is dropped although a revision of it waits.
    DropWhileWaiting,
    /// A number below the horizon, or a duplicate, marks the bitmap as if it were fresh.
    MarkedWhenRefused,
    /// Windows that the devices are in the middle of are taken by a new definition.
    BoundaryIgnored,
    /// The watermark goes back when `disorder` grows.
    FloorForgotten,
    /// Timers with equal deadlines fire in slot order, not by device id.
    TiesBySlot,
    /// Dropping does not seal.
    SealForgotten,
    /// Back-fill panes are not bounded.
    BackfillUnbounded,
    /// A back-fill pane behind lateness is kept after its emission until its idle retention.
    DeepKept,
    /// Deep panes settle like others.
    DeepSettlesEarly,
    /// The longest wait of one minute is not observed.
    WaitUnbounded,
    /// Sessions that only touch are joined.
    TouchingSessionsJoin,
    /// The merged session's revision starts again.
    MergedRevisionReset,
    /// Late readings keep a device from falling silent.
    LateCountsAsReceipt,
    /// Devices are not evicted.
    EvictionForgotten,
    /// Early emissions by clock do not move on when nothing changed.
    EarlyClockStands,
    /// Panes that a reading jumps over are dropped at once.
    HeldDropped,
}

/// The fault in force, if any.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Mutant {
    #[cfg(feature = "mutations")]
    active: Option<Mutation>,
}

impl Mutant {
    /// With this fault.
    #[cfg(feature = "mutations")]
    pub(crate) fn new(active: Option<Mutation>) -> Self {
        Self { active }
    }

    /// Whether that rule is broken.
    #[inline]
    #[cfg_attr(
        not(feature = "mutations"),
        allow(clippy::unused_self, reason = "constant without the feature")
    )]
    pub(crate) fn is(self, mutation: Mutation) -> bool {
        #[cfg(feature = "mutations")]
        {
            self.active == Some(mutation)
        }
        #[cfg(not(feature = "mutations"))]
        {
            let _ = mutation;
            false
        }
    }
}

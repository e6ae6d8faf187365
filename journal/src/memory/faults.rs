//! Faults by plan: what goes wrong at which call, and a seeded plan for simulations.

/// A call of the port, as a fault plan sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    /// [`crate::port::Appender::append`].
    Append,
    /// [`crate::port::Committer::commit`].
    Commit,
    /// [`crate::port::Consumer::commit`].
    CommitPositions,
    /// [`crate::port::Consumer::poll`].
    Poll,
    /// [`crate::port::Reader::read`].
    Read,
    /// Bounds, committed positions.
    Look,
    /// A consumer, committer or reader is opened; a consumer leaves.
    Open,
    /// Schema ids.
    Schema,
}

impl Call {
    /// Whether the call writes records or positions.
    #[must_use]
    pub const fn writes(self) -> bool {
        matches!(self, Self::Append | Self::Commit | Self::CommitPositions)
    }
}

/// What goes wrong at a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// Nothing happens: [`crate::port::JournalError::Retry`].
    Refuse,
    /// A write's answer is lost: [`crate::port::JournalError::Unknown`]. Other calls are refused.
    LoseAnswer {
        /// Whether the write has happened all the same.
        happened: bool,
    },
    /// The power goes before the call has an effect: every part answers [`crate::port::JournalError::Fatal`]
    /// until the journal is reopened.
    CrashBefore,
    /// The power goes when the write is durable, before it is answered. Other calls: as `CrashBefore`.
    CrashAfter,
}

/// Decides at every call, by its number (from 0, over the journal's life) and kind. It is called under the
/// journal's lock and must not call the journal.
pub type Plan = Box<dyn FnMut(u64, Call) -> Option<Fault> + Send>;

/// How often a seeded plan lets each thing go wrong, in calls of a thousand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rates {
    /// Any call refused.
    pub refuse: u32,
    /// Writes whose answer is lost.
    pub lose: u32,
    /// Crashes at any call.
    pub crash: u32,
}

/// A plan for one fault at one call.
#[must_use]
pub fn at(number: u64, fault: Fault) -> Plan {
    Box::new(move |call, _| (call == number).then_some(fault))
}

/// A plan for the next `count` calls of a kind.
#[must_use]
pub fn next(kind: Call, count: u64, fault: Fault) -> Plan {
    let mut left = count;
    Box::new(move |_, call| {
        let hit = call == kind && left > 0;
        left -= u64::from(hit);
        hit.then_some(fault)
    })
}

/// A plan from a seed: the same seed and the same calls meet the same faults.
#[must_use]
pub fn seeded(seed: u64, rates: Rates) -> Plan {
    Box::new(move |number, call| {
        let drawn = mix(seed ^ mix(number));
        let thousandth = u32::try_from(drawn % 1000).unwrap_or(0);
        let coin = drawn >> 32 & 1 == 1;
        if thousandth < rates.crash {
            Some(if coin { Fault::CrashBefore } else { Fault::CrashAfter })
        } else if thousandth < rates.crash + rates.refuse {
            Some(Fault::Refuse)
        } else if thousandth < rates.crash + rates.refuse + rates.lose && call.writes() {
            Some(Fault::LoseAnswer { happened: coin })
        } else {
            None
        }
    })
}

/// The finalizer of SplitMix64 (Steele, Lea and Flood 2014).
const fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

//! Seeded bugs, for the tests that prove that the checks can fail. Outside this crate's own tests every question
//! here is answered `false` at compile time.

/// A bug that can be switched on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(test), allow(dead_code, reason = "only tests switch bugs on"))]
pub(crate) enum Mutation {
    /// The host's clock instead of the record's receipt time.
    WallClock,
    /// Outputs in an order that differs from run to run.
    MapOrder,
    /// A snapshot's locator is committed with an offset the snapshot is ahead of.
    SnapshotAhead,
    /// What was cut under a lost assignment is sent again under the next one's token.
    TokenLate,
    /// The digest covers the last output only.
    DigestNotChained,
    /// A duplicate is dropped without being counted.
    UncountedDuplicate,
}

#[cfg(test)]
thread_local! {
    static ACTIVE: std::cell::Cell<Option<Mutation>> = const { std::cell::Cell::new(None) };
}

/// Whether the bug is in.
#[inline]
pub(crate) fn is(mutation: Mutation) -> bool {
    #[cfg(test)]
    return ACTIVE.get() == Some(mutation);
    #[cfg(not(test))]
    {
        let _ = mutation;
        false
    }
}

/// Puts a bug in on this thread until the guard goes.
#[cfg(test)]
pub(crate) fn seed(mutation: Mutation) -> impl Drop {
    struct Out;
    impl Drop for Out {
        fn drop(&mut self) {
            ACTIVE.set(None);
        }
    }
    ACTIVE.set(Some(mutation));
    Out
}

/// What the bug [`Mutation::WallClock`] reads.
pub(crate) fn wall_clock() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// What the bug [`Mutation::MapOrder`] sorts by.
pub(crate) fn map_order(index: u32) -> u64 {
    use std::hash::BuildHasher as _;
    std::hash::RandomState::new().hash_one(index)
}

//! Seeded faults: each breaks one rule of the engine, and the comparison must notice every one of them. Without a
//! fault the same histories agree.

#[path = "oracle/naive.rs"]
mod naive;

use naive::compare::{actual, expected};
use naive::history::History;
use naive::rows::Event;
use naive::seeded::seeded;
use windowing::mutation::Mutation;

const ALL: [Mutation; 26] = [
    Mutation::InclusiveWatermark,
    Mutation::SealIgnored,
    Mutation::SettleIgnored,
    Mutation::TieOrderReversed,
    Mutation::EarlyCounterNotReset,
    Mutation::SlicesMergedBackwards,
    Mutation::QuietIgnored,
    Mutation::RetractionForgotten,
    Mutation::NewestAlways,
    Mutation::ClockJumpsToReceipt,
    Mutation::DropWhileWaiting,
    Mutation::MarkedWhenRefused,
    Mutation::BoundaryIgnored,
    Mutation::FloorForgotten,
    Mutation::TiesBySlot,
    Mutation::SealForgotten,
    Mutation::BackfillUnbounded,
    Mutation::DeepKept,
    Mutation::DeepSettlesEarly,
    Mutation::WaitUnbounded,
    Mutation::TouchingSessionsJoin,
    Mutation::MergedRevisionReset,
    Mutation::LateCountsAsReceipt,
    Mutation::EvictionForgotten,
    Mutation::EarlyClockStands,
    Mutation::HeldDropped,
];

/// A new fault that is not in the list does not compile.
const fn number(mutation: Mutation) -> usize {
    match mutation {
        Mutation::InclusiveWatermark => 0,
        Mutation::SealIgnored => 1,
        Mutation::SettleIgnored => 2,
        Mutation::TieOrderReversed => 3,
        Mutation::EarlyCounterNotReset => 4,
        Mutation::SlicesMergedBackwards => 5,
        Mutation::QuietIgnored => 6,
        Mutation::RetractionForgotten => 7,
        Mutation::NewestAlways => 8,
        Mutation::ClockJumpsToReceipt => 9,
        Mutation::DropWhileWaiting => 10,
        Mutation::MarkedWhenRefused => 11,
        Mutation::BoundaryIgnored => 12,
        Mutation::FloorForgotten => 13,
        Mutation::TiesBySlot => 14,
        Mutation::SealForgotten => 15,
        Mutation::BackfillUnbounded => 16,
        Mutation::DeepKept => 17,
        Mutation::DeepSettlesEarly => 18,
        Mutation::WaitUnbounded => 19,
        Mutation::TouchingSessionsJoin => 20,
        Mutation::MergedRevisionReset => 21,
        Mutation::LateCountsAsReceipt => 22,
        Mutation::EvictionForgotten => 23,
        Mutation::EarlyClockStands => 24,
        Mutation::HeldDropped => 25,
    }
}

/// The first history that gives a fault away.
fn noticed(mutation: Option<Mutation>, histories: &[(History, Vec<Vec<Event>>)]) -> Option<usize> {
    histories.iter().position(|(history, expected)| actual(history, mutation) != *expected)
}

#[test]
fn every_fault_is_noticed_and_nothing_is_noticed_without_one() {
    let with_expected = |history: History| {
        let expected = expected(&history);
        (history, expected)
    };
    let histories: Vec<_> = seeded(7, 200, 60).into_iter().map(with_expected).collect();
    assert_eq!(noticed(None, &histories), None, "without a fault");
    let mut missed = Vec::new();
    for (k, mutation) in ALL.into_iter().enumerate() {
        assert_eq!(number(mutation), k, "the list holds every fault once");
        match noticed(Some(mutation), &histories) {
            Some(history) => println!("{mutation:?}: by history {history}"),
            None => missed.push(mutation),
        }
    }
    assert!(missed.is_empty(), "nobody noticed {missed:?}");
}

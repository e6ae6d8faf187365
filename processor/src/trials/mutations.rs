//! A checker that cannot fail proves nothing: each seeded bug must make the checks fail.

use super::world::{World, brisk, history, pipeline, prepared};
use crate::config::ProcessorConfig;
use crate::mutation::{Mutation, seed};
use journal::memory::faults::{self, Call, Fault};
use std::time::Duration;

fn config() -> ProcessorConfig {
    ProcessorConfig { poll_records_max: 16, ..brisk() }
}

/// Runs once, is started again after more history, and says what the checks find.
fn twice(mutation: Option<Mutation>) -> Result<(), String> {
    let _guard = mutation.map(seed);
    let world = prepared(21, 150);
    world.run_to_end(world.worker("one", &config(), true)).map_err(|why| why.to_string())?;
    history(&world, 22, 60);
    world.run_to_end(world.worker("one", &config(), true)).map_err(|why| why.to_string())?;
    world.check()?;
    world.check_books()
}

/// A worker stops polling with a refused cut in its hands, loses its partition, and gets it back.
fn away_and_back(mutation: Option<Mutation>) -> Result<(), String> {
    let _guard = mutation.map(seed);
    let world = World::new(1);
    world.configure(0, &pipeline());
    history(&world, 23, 120);
    world.end();
    world.journal.inject(Some(faults::next(Call::Commit, 1, Fault::Refuse)));
    let mut away = world.worker("away", &ProcessorConfig { poll_records_max: 50, ..config() }, true);
    for _ in 0..6 {
        away.turn().map_err(|why| why.to_string())?;
        world.pass(Duration::from_millis(8));
    }
    world.journal.inject(None);
    let mut other = world.worker("other", &config(), true);
    other.turn().map_err(|why| why.to_string())?;
    world.journal.advance(Duration::from_secs(120));
    world.run(&mut other).map_err(|why| why.to_string())?;
    drop(other);
    for _ in 0..20 {
        away.turn().map_err(|why| why.to_string())?;
        world.pass(Duration::from_millis(200));
    }
    world.check()?;
    world.check_books()
}

#[test]
fn without_a_bug_the_checks_are_silent() {
    assert_eq!(twice(None), Ok(()));
    assert_eq!(away_and_back(None), Ok(()));
}

#[test]
fn each_bug_in_the_fold_or_the_commit_is_noticed() {
    let bugs = [
        Mutation::WallClock,
        Mutation::MapOrder,
        Mutation::SnapshotAhead,
        Mutation::DigestNotChained,
        Mutation::UncountedDuplicate,
    ];
    for bug in bugs {
        assert!(twice(Some(bug)).is_err(), "{bug:?} went unnoticed");
    }
}

#[test]
fn a_token_taken_at_the_commit_is_noticed() {
    assert!(away_and_back(Some(Mutation::TokenLate)).is_err());
}

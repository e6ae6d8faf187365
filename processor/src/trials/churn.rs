//! Workers come, go, die and lose answers in a random order that a seed repeats.

use super::world::{Dice, TURNS_MAX, World, brisk, prepared};
use crate::config::ProcessorConfig;
use crate::worker::Worker;
use journal::memory::faults::{self, Rates};
use std::time::Duration;

/// One life of the group: returns when so many things have happened.
fn churn(world: &World, dice: &mut Dice, events: usize) {
    let config = ProcessorConfig { poll_records_max: 8, ..brisk() };
    let mut workers: Vec<Worker> = Vec::new();
    let mut born = 0;
    for _ in 0..events {
        world.pass(Duration::from_millis(dice.roll(40)));
        let any = usize::try_from(dice.roll(workers.len().max(1) as u64)).expect("small");
        match dice.roll(40) {
            0 | 1 if workers.len() < 3 => {
                born += 1;
                workers.push(world.worker(&format!("w{born}"), &config, true));
            }
            // It dies without a word; the group waits for it in vain.
            2 if !workers.is_empty() => drop(workers.remove(any)),
            3 if !workers.is_empty() => {
                let _ = workers.remove(any).finish();
            }
            4 => world.journal.advance(Duration::from_secs(dice.roll(40))),
            _ if workers.is_empty() => {
                born += 1;
                workers.push(world.worker(&format!("w{born}"), &config, true));
            }
            _ => match workers[any].turn() {
                Ok(false) => {}
                Ok(true) | Err(_) => drop(workers.remove(any)),
            },
        }
    }
}

#[test]
fn whatever_the_group_goes_through_the_bytes_are_the_same() {
    for seed in 0..16 {
        let world = prepared(80 + seed, 160);
        let mut dice = Dice(seed);
        let rates = Rates { refuse: 30, lose: 60, crash: 0 };
        world.journal.inject(Some(faults::seeded(seed, rates)));
        churn(&world, &mut dice, 120);
        world.journal.inject(None);
        world.journal.advance(Duration::from_secs(300));
        let mut last = world.worker("last", &brisk(), true);
        let mut done = false;
        for _ in 0..TURNS_MAX {
            world.pass(Duration::from_millis(30));
            world.journal.advance(Duration::from_secs(1));
            if last.turn().expect("all is well now") {
                done = true;
                break;
            }
        }
        assert!(done, "seed {seed}: {:#?}", world.view.partitions());
        last.finish().expect("it leaves");
        world.check().unwrap_or_else(|why| panic!("seed {seed}: {why}"));
        world.check_books().unwrap_or_else(|why| panic!("seed {seed}: {why}"));
        assert_eq!(world.view.incidents(), [], "seed {seed}");
    }
}

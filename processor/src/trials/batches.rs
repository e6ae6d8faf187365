//! Batches, commits, workers and restarts must not change a byte.

use super::world::{World, brisk, history, pipeline};

fn prepared(seed: u64, readings: u64) -> World {
    let world = World::new(2);
    world.configure(0, &pipeline());
    history(&world, seed, readings);
    world.end();
    world
}

#[test]
fn what_is_committed_is_the_straight_line_fold() {
    let world = prepared(1, 600);
    world.run_to_end(world.worker("one", &brisk(), true)).expect("it runs");
    world.check().expect("the same bytes");
    let (expected, ends) = world.oracle();
    assert!(expected.len() >= 8, "a history with a bit of everything: {:?}", expected.keys());
    let totals = &ends[&0].0;
    assert!(totals.aggregated > 100 && totals.duplicate > 0 && totals.rejected > 0 && totals.filtered > 0);
}

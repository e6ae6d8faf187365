//! The same random histories every time.

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::history::History;
use super::moves::histories;

/// So many histories of a seed.
pub(crate) fn seeded(seed: u8, count: usize, moves_max: usize) -> Vec<History> {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let strategy = histories(moves_max);
    let one = |_| strategy.new_tree(&mut runner).expect("nothing is filtered").current();
    (0..count).map(one).collect()
}

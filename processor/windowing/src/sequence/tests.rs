//! What is a duplicate, what is fresh, and how a restart is told.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

/// Asks, and marks unless it is a duplicate: what a caller does.
fn take(boots: &mut Boots, boot: Option<&str>, seq: i64, event_time: Micros) -> Sequence {
    let verdict = boots.ask(boot, seq, event_time);
    if verdict != Sequence::Duplicate {
        boots.mark(boot, seq, event_time, Mutant::default());
    }
    verdict
}

#[test]
fn repeated_skipped_and_forgotten_numbers() {
    let mut boots = Boots::default();
    assert_eq!(take(&mut boots, None, 10, 100), Sequence::Fresh);
    assert_eq!(take(&mut boots, None, 10, 100), Sequence::Duplicate);
    assert_eq!(take(&mut boots, None, 12, 102), Sequence::Fresh);
    assert_eq!(take(&mut boots, None, 11, 101), Sequence::Fresh, "skipped, then filled");
    assert_eq!(take(&mut boots, None, 11, 101), Sequence::Duplicate);
    assert_eq!(take(&mut boots, None, 12 + 1023, 200), Sequence::Fresh);
    assert_eq!(take(&mut boots, None, 12, 102), Sequence::Duplicate, "the last in range");
    assert_eq!(take(&mut boots, None, 11, 101), Sequence::BeyondHorizon);
    assert_eq!(take(&mut boots, None, 13, 103), Sequence::Fresh, "skipped, still in range");
}

#[test]
fn a_restart_is_recognized_by_its_times() {
    let mut boots = Boots::default();
    for seq in 0..2000 {
        assert_eq!(take(&mut boots, None, seq, seq), Sequence::Fresh);
    }
    assert_eq!(take(&mut boots, None, 0, 5000), Sequence::Fresh, "below the range, newer than all");
    assert_eq!(take(&mut boots, None, 1999, 1999), Sequence::Fresh, "the bitmap began anew at 0");
    assert_eq!(take(&mut boots, None, 1999, 6000), Sequence::Fresh, "marked, newer than all");
    assert_eq!(boots.list()[0].greatest(), 1999);
    assert_eq!(take(&mut boots, None, 1999, 6000), Sequence::Duplicate);
}

#[test]
fn the_boot_marked_longest_ago_makes_room() {
    let mut boots = Boots::default();
    for boot in [None, Some("a"), Some("b"), Some("c")] {
        take(&mut boots, boot, 1, 1);
    }
    take(&mut boots, None, 2, 2);
    take(&mut boots, Some("d"), 1, 1);
    assert_eq!(boots.list().len(), BOOTS_MAX);
    assert_eq!(boots.ask(None, 1, 1), Sequence::Duplicate);
    assert_eq!(boots.ask(Some("b"), 1, 1), Sequence::Duplicate);
    assert_eq!(boots.ask(Some("a"), 1, 1), Sequence::Fresh, "forgotten");
}

#[test]
fn extreme_numbers() {
    let mut boots = Boots::default();
    for seq in [i64::MIN, i64::MAX, i64::MIN + 1, 0, i64::MAX - 1] {
        boots.mark(None, seq, 0, Mutant::default());
        boots.ask(None, seq, 0);
    }
    assert_eq!(boots.ask(None, i64::MAX, 0), Sequence::Duplicate);
    assert_eq!(boots.ask(None, i64::MIN, 0), Sequence::BeyondHorizon);
}

proptest! {
    #[test]
    fn agrees_with_a_set(numbers in prop::collection::vec((-3000..3000_i64, 0..20_i64), 1..300)) {
        let mut boots = Boots::default();
        // The naive form of the rule, for one boot.
        let (mut marked, mut newest): (BTreeSet<i64>, Option<Micros>) = (BTreeSet::new(), None);
        for (seq, at) in numbers {
            let old = newest.is_some_and(|newest| at <= newest);
            let below = marked.last().is_some_and(|greatest| seq <= greatest - 1024);
            let known = marked.contains(&seq);
            let expected = match (known || below, old) {
                (true, true) if below => Sequence::BeyondHorizon,
                (true, true) => Sequence::Duplicate,
                _ => Sequence::Fresh,
            };
            prop_assert_eq!(take(&mut boots, None, seq, at), expected);
            if expected == Sequence::Fresh {
                if known || below {
                    marked.clear();
                }
                marked.insert(seq);
            }
            newest = newest.max(Some(at));
            let bits: u32 = boots.list()[0].bits().iter().map(|word| word.count_ones()).sum();
            let greatest = marked.last().copied().unwrap_or_default();
            prop_assert_eq!(bits as usize, marked.range(greatest - 1023..).count());
        }
    }
}

#[test]
fn only_holes_take_room() {
    let mut boots = Boots::default();
    let mark = |boots: &mut Boots, seq| boots.mark(None, seq, seq, Mutant::default());
    (0..3000).for_each(|seq| mark(&mut boots, seq));
    assert_eq!(boots.heap_bytes(), 0);
    (3001..4000).for_each(|seq| mark(&mut boots, seq));
    assert_eq!(boots.heap_bytes(), size_of::<Bits>());
    let whole = boots.list()[0].bits();
    mark(&mut boots, 3000);
    assert_eq!(boots.heap_bytes(), 0, "the hole was filled");
    assert_ne!(boots.list()[0].bits(), whole);
    (4001..5120).for_each(|seq| mark(&mut boots, seq));
    assert_eq!(boots.heap_bytes(), 0, "the hole has left the range");
    mark(&mut boots, 9000);
    assert_eq!(boots.heap_bytes(), 0, "all have left the range");
}

//! The books are closed: take one record away anywhere, and they say so.

use super::world::{World, brisk, history, prepared};
use crate::ops::BooksLine;
use crate::outputs::Outputs;
use crate::state::PartitionState;
use crate::step::Tools;
use journal::port::{Headers, RecordRef, TopicPartition};
use schemas::topic::Topic;
use std::sync::Arc;

/// Folds a partition without one of its records.
fn line_without(world: &World, partition: u32, missing: Option<usize>) -> BooksLine {
    let mut tools = Tools::new(world.codec.clone(), Arc::clone(&world.models));
    let mut state = PartitionState::new(partition, 2, 0);
    let mut out = Outputs::new(world.codec.clone());
    let records = world.journal.records(TopicPartition { topic: Topic::Raw, partition });
    for (index, stored) in records.iter().enumerate() {
        if Some(index) == missing {
            continue;
        }
        let record = RecordRef {
            offset: stored.offset,
            received_at: stored.received_at,
            key: stored.key.as_deref(),
            value: &stored.value,
            headers: Headers::NONE,
        };
        state.step(&record, &mut tools, &mut out).expect("the world is well");
    }
    let end = i64::try_from(records.len()).expect("few");
    let (counted_from, lost) = state.counted();
    // The end is the journal's word, not the fold's.
    BooksLine::of(partition, &state.totals(), state.pending(), (counted_from, end, end), lost)
}

#[test]
fn a_record_missing_from_the_log_is_missing_from_the_books() {
    let world = prepared(61, 60);
    for partition in 0..2 {
        let whole = line_without(&world, partition, None);
        assert!(whole.balanced && whole.received > 5, "{whole:?}");
        let records = world.journal.records(TopicPartition { topic: Topic::Raw, partition }).len();
        for missing in 1..records {
            let line = line_without(&world, partition, Some(missing));
            assert!(!line.balanced && line.offsets_unexplained == 1, "without {missing}: {line:?}");
        }
    }
}

#[test]
fn an_output_missing_from_a_topic_is_missing_from_the_books() {
    let world = prepared(1, 600);
    world.run_to_end(world.worker("one", &brisk(), true)).expect("it runs");
    world.check_books().expect("nothing is missing yet");
    let audits = world.audits();
    for topic in [Topic::Aggregates, Topic::DeadLetters, Topic::Late, Topic::Alerts, Topic::Devices] {
        let written: i64 = audits.values().filter_map(|audit| audit.totals.outputs.get(topic.name())).sum();
        assert!(written > 0, "{topic} has records to lose");
        for partition in 0..2 {
            let at = TopicPartition { topic, partition };
            let records = world.journal.records(at).len();
            let places = [0, records / 2, records.saturating_sub(1)];
            for place in places.into_iter().filter(|place| *place < records) {
                let found = world.check_books_without(Some((topic, partition, place)));
                assert!(found.is_err(), "{topic}/{partition} lost record {place} and nobody noticed");
            }
        }
    }
}

#[test]
fn a_reading_without_an_outcome_or_with_two_is_found() {
    let world = prepared(63, 60);
    world.run_to_end(world.worker("one", &brisk(), true)).expect("it runs");
    let audit = &world.audits()[&0];
    let line =
        |totals: &schemas::record::Totals| BooksLine::of(0, totals, 0, (0, audit.to, audit.to), 0).balanced;
    assert!(line(&audit.totals));
    let fields: [fn(&mut schemas::record::Totals) -> &mut i64; 7] = [
        |totals| &mut totals.received,
        |totals| &mut totals.others,
        |totals| &mut totals.aggregated,
        |totals| &mut totals.filtered,
        |totals| &mut totals.duplicate,
        |totals| &mut totals.late,
        |totals| &mut totals.rejected,
    ];
    for field in fields {
        for by in [-1, 1] {
            let mut totals = audit.totals.clone();
            *field(&mut totals) += by;
            assert!(!line(&totals), "{totals:?}");
        }
    }
}

/// Counters of a process begin at 0 and rise by what it has committed itself: partitions that move are counted once.
#[test]
fn outcomes_are_counted_where_they_were_committed() {
    let aggregated = |world: &World| {
        let text = chassis::metrics::recorded("processor", "1", || {
            world.run_to_end(world.worker("one", &brisk(), true)).expect("it runs");
        });
        let text = text.expect("a recorder");
        let lines = text.lines().filter(|line| {
            line.starts_with("highwater_readings_total{") && line.contains("outcome=\"aggregated\"")
        });
        let counts = lines.map(|line| line.rsplit(' ').next().and_then(|count| count.parse::<i64>().ok()));
        counts.sum::<Option<i64>>().expect("counts")
    };
    let world = prepared(61, 300);
    let total = |world: &World| world.audits().values().map(|audit| audit.totals.aggregated).sum::<i64>();
    let first = aggregated(&world);
    assert!(first > 100 && first == total(&world), "{first}");
    let world = world.reopened();
    history(&world, 62, 100);
    world.end();
    let second = aggregated(&world);
    assert!(second > 30 && first + second == total(&world), "{first} and {second}");
    let world = world.reopened();
    world.tick();
    assert_eq!(aggregated(&world), 0);
}

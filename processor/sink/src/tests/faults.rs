//! Whatever fails and wherever the power goes: after enough restarts, every record has been counted once and
//! every row is there.

use super::bench::{self, Bench, alert, at, until, window};
use super::complete;
use journal::memory::faults::{Call, Fault, Rates, next, seeded};
use journal::port::Journal;
use schemas::topic::Topic;
use std::time::Duration;

fn filled() -> Bench {
    let bench = Bench::new();
    for partition in 0..4 {
        let id = format!("d{partition}");
        let windows = (0..12).map(|i| bench.codec.to_bytes(&window(&id, i)));
        bench.append(at(Topic::Aggregates, partition), windows);
        bench.append(at(Topic::Alerts, partition), (0..5).map(|i| bench.codec.to_bytes(&alert(&id, i))));
        bench.append(at(Topic::Scores, partition), [b"nonsense".to_vec()]);
    }
    bench
}

fn check(bench: &Bench) {
    for topic in [Topic::Aggregates, Topic::Alerts, Topic::Scores] {
        for partition in 0..4 {
            assert!(complete(bench, at(topic, partition)), "{topic} {partition}: {:?}", bench.committed());
        }
    }
    assert_eq!((bench.stored().windows, bench.stored().alerts), (48, 20));
    // A letter may be sent twice around a crash; none is missing.
    let letters: std::collections::BTreeSet<u32> =
        bench.journal().topic(Topic::DeadLetters).iter().map(|record| record.partition.partition).collect();
    assert_eq!(letters.len(), 4);
}

#[test]
fn seeded_faults_and_crashes_lose_and_double_nothing() {
    for seed in 0..12 {
        let bench = filled();
        let config = crate::SinkConfig { batch_rows_max: 5, until_end: true, ..bench::quick() };
        bench.journal().inject(Some(seeded(seed, Rates { refuse: 120, lose: 80, crash: 40 })));
        bench.store.refuse(9);
        let mut starts = 0;
        loop {
            starts += 1;
            assert!(starts < 200, "seed {seed} does not end");
            let Some(sink) = bench.try_start(config) else {
                bench.reopen();
                continue;
            };
            if sink.ended().is_ok() {
                break;
            }
            bench.reopen();
        }
        bench.journal().inject(None);
        check(&bench);
    }
}

#[test]
fn a_commit_whose_answer_is_lost_is_made_again() {
    for happened in [false, true] {
        let bench = filled();
        bench.journal().inject(Some(next(Call::CommitPositions, 2, Fault::LoseAnswer { happened })));
        let config = crate::SinkConfig { until_end: true, ..bench::quick() };
        bench.start(config).ended().unwrap();
        check(&bench);
    }
}

#[test]
fn a_schema_table_that_does_not_answer_makes_no_dead_letters() {
    let bench = Bench::new();
    let place = at(Topic::Alerts, 0);
    let mut foreign = bench.codec.to_bytes(&alert("d", 1));
    // An id of another build with the same schema: it has to be asked for.
    let schema = schemas::contract::Subject::Alerts.schema();
    let respelled = format!(" {schema}");
    let id = journal::port::Journal::schema_id(&bench.journal(), "iot.alerts-value", &respelled).unwrap();
    foreign[1..5].copy_from_slice(&id.to_be_bytes());
    bench.append(place, [foreign, bench.codec.to_bytes(&alert("d", 2))]);
    bench.journal().inject(Some(next(Call::Schema, 3, Fault::Refuse)));
    let sink = bench.start(bench::quick());
    until("both are stored", || complete(&bench, place) && bench.stored().alerts == 2);
    assert!(bench.journal().topic(Topic::DeadLetters).is_empty());
    sink.stop();
}

#[test]
fn a_membership_that_was_taken_over_is_taken_again() {
    let bench = Bench::new();
    let place = at(Topic::Alerts, 0);
    bench.append(place, [bench.codec.to_bytes(&alert("d", 1))]);
    let sink = bench.start_as("one", bench::quick());
    until("the first is stored", || bench.stored().alerts == 1);
    let mut other = bench.journal().consumer(crate::GROUP, "one", &crate::TOPICS).unwrap();
    other.poll(Duration::ZERO, 1, &mut |_| {}).unwrap();
    other.leave(&mut |_| {}).unwrap();
    drop(other);
    bench.append(place, [bench.codec.to_bytes(&alert("d", 2))]);
    until("the next is stored", || bench.stored().alerts == 2);
    until("it is committed", || bench.committed()[&place].written == 2);
    assert!(sink.handle.books().unwrap().balanced());
    sink.stop();
}

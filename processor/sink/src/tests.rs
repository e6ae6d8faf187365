//! The sink over the in-memory journal and a real SQLite store.

mod bench;
mod faults;

use crate::books::Totals;
use crate::{GROUP, NAME, SinkConfig, TOPICS};
use bench::{Bench, alert, at, until, window};
use chassis::shutdown::Phase;
use journal::port::{Journal, TopicPartition};
use schemas::record::{DeadLetter, Stage};
use schemas::topic::Topic;
use std::time::Duration;
use store::conformance::{self, ALWAYS, first};
use store::port::{Store, StoreTotals, Write};

#[test]
fn every_topic_goes_to_its_table_and_the_books_say_so() {
    let bench = Bench::new();
    let mut listener = bench.feed.listen();
    for partition in 0..4 {
        let id = format!("d{partition}");
        bench
            .append(at(Topic::Aggregates, partition), (0..10).map(|i| bench.codec.to_bytes(&window(&id, i))));
        bench.append(at(Topic::Alerts, partition), [bench.codec.to_bytes(&alert(&id, 1))]);
        bench.append(
            at(Topic::Scores, partition),
            [bench.codec.to_bytes(&conformance::score(&id, "m", 5, 1, 9))],
        );
        bench.append(
            at(Topic::Devices, partition),
            [bench.codec.to_bytes(&conformance::device(&id, false, 9))],
        );
    }
    let sink = bench.start(SinkConfig::default());
    until("all is stored", || {
        bench.stored() == StoreTotals { windows: 40, scores: 4, alerts: 4, devices: 4 }
    });
    until("all is committed", || bench.committed().values().map(|totals| totals.written).sum::<i64>() == 52);
    let books = sink.handle.books().unwrap();
    assert_eq!(books.entries.len(), 16);
    assert!(books.balanced(), "{books:?}");
    assert_eq!((books.sum(|line| line.totals.read), books.sum(|line| line.in_flight)), (52, 0));
    assert!(bench.readiness.missing_parts().is_empty());
    let told = std::iter::from_fn(|| listener.try_recv().ok()).map(|batch| batch.len()).sum::<usize>();
    assert_eq!(told, 52, "the feed is told of every write");
    sink.stop();
    assert_eq!(bench.readiness.missing_parts().get(NAME), None);
}

#[test]
fn what_cannot_be_decoded_is_a_dead_letter_and_stops_nobody() {
    let bench = Bench::new();
    let place = at(Topic::Aggregates, 2);
    let good = |i| bench.codec.to_bytes(&window("d", i));
    let mut cut = good(1);
    cut.truncate(cut.len() - 3);
    bench
        .append(place, [good(0), cut.clone(), b"\x00\xff\xff\xff\xffrest".to_vec(), b"{}".to_vec(), good(2)]);
    let sink = bench.start(SinkConfig::default());
    until("all is committed", || bench.committed().get(&place).is_some_and(|totals| totals.read == 5));
    assert_eq!(bench.committed()[&place], Totals { read: 5, written: 2, dead_lettered: 3, lost: 0 });
    assert!(sink.handle.books().unwrap().balanced());
    assert_eq!(bench.stored().windows, 2);
    let letters: Vec<DeadLetter> = bench
        .journal()
        .topic(Topic::DeadLetters)
        .iter()
        .map(|record| {
            assert_eq!(record.partition.partition, 2);
            bench.codec.decode(&record.value).unwrap()
        })
        .collect();
    let reasons: Vec<(&str, Option<i64>)> =
        letters.iter().map(|letter| (letter.reason.as_str(), letter.source_offset)).collect();
    let expected = [("malformed-avro", Some(1)), ("unknown-schema", Some(2)), ("foreign-bytes", Some(3))];
    assert_eq!(reasons, expected);
    assert_eq!(letters[0].value, cut);
    assert!(letters.iter().all(|letter| letter.stage == Stage::Sink
        && letter.source_topic.as_deref() == Some("iot.aggregates")
        && letter.device_id.as_deref() == Some("d")));
    sink.stop();
}

#[test]
fn a_letter_fits_into_a_record_whatever_it_is_about() {
    let bench = Bench::new();
    let (key, value) = (vec![0xff; 500_000], vec![7; 500_000]);
    let record = journal::port::RecordRef {
        offset: 0,
        received_at: 1,
        key: Some(&key),
        value: &value,
        headers: journal::port::Headers::NONE,
    };
    let mut batch = crate::batch::Batch::default();
    batch.add(&bench.codec, at(Topic::Aggregates, 0), &record);
    let letter = batch.letters.remove(0);
    assert!(letter.value.len() + letter.key.map_or(0, |key| key.len()) <= journal::RECORD_BYTES_MAX);
    let letter: DeadLetter = bench.codec.decode(&letter.value).unwrap();
    assert!(letter.truncated);
    assert_eq!((letter.value.len(), letter.key.map(|key| key.len())), (256 << 10, Some(4 << 10)));
}

#[test]
fn letters_beyond_what_one_append_may_hold_are_all_sent() {
    let bench = Bench::new();
    let place = at(Topic::Alerts, 0);
    for _ in 0..2 {
        bench.append(place, (0..70).map(|_| vec![7; 256 << 10]));
    }
    bench.start(SinkConfig { until_end: true, ..bench::quick() }).ended().unwrap();
    assert_eq!(bench.committed()[&place], Totals { read: 140, written: 0, dead_lettered: 140, lost: 0 });
    assert_eq!(bench.journal().topic(Topic::DeadLetters).len(), 140);
}

#[test]
fn an_overloaded_store_is_lag_and_not_loss() {
    let bench = Bench::new();
    bench.store.refuse(u32::MAX);
    bench.append(at(Topic::Alerts, 0), (0..25).map(|i| bench.codec.to_bytes(&alert("d", i))));
    let sink = bench.start(SinkConfig { batch_rows_max: 10, ..bench::quick() });
    until("it tries again and again", || bench.store.attempts() > 3);
    assert!(bench.committed().is_empty(), "nothing is committed before it is written");
    let books = sink.handle.books().unwrap();
    assert!(books.balanced(), "{books:?}");
    assert_eq!((books.sum(|line| line.pending), books.sum(|line| line.in_flight)), (10, 15));
    bench.store.refuse(0);
    until("all is stored", || bench.stored().alerts == 25);
    until("all is committed", || bench.committed()[&at(Topic::Alerts, 0)].written == 25);
    sink.stop();
}

#[test]
fn a_restart_goes_on_with_position_and_totals() {
    let bench = Bench::new();
    let place = at(Topic::Alerts, 1);
    for round in 1..=3 {
        bench.append(place, (0..7).map(|i| bench.codec.to_bytes(&alert("d", round * 100 + i))));
        let sink = bench.start(SinkConfig::default());
        until("all is committed", || {
            bench.committed().get(&place).is_some_and(|found| found.read == 7 * round)
        });
        sink.stop();
    }
    assert_eq!(bench.committed()[&place], Totals { read: 21, written: 21, dead_lettered: 0, lost: 0 });
}

#[test]
fn until_end_stops_by_itself_where_the_topics_ended() {
    let bench = Bench::new();
    for partition in 0..4 {
        bench.append(at(Topic::Alerts, partition), (0..30).map(|i| bench.codec.to_bytes(&alert("d", i))));
    }
    let sink = bench.start(SinkConfig { until_end: true, batch_rows_max: 7, ..bench::quick() });
    sink.ended().unwrap();
    assert_eq!(bench.stored().alerts, 30, "the same 30 ids in every partition");
    assert_eq!(bench.committed().values().map(|totals| totals.written).sum::<i64>(), 120);
    bench.append(at(Topic::Alerts, 0), [bench.codec.to_bytes(&alert("d", 99))]);
    let empty = bench.start(SinkConfig { until_end: true, ..bench::quick() });
    empty.ended().unwrap();
    assert_eq!(bench.stored().alerts, 31);
}

#[test]
fn a_stop_first_stores_what_was_committed_by_then() {
    let bench = Bench::new();
    let sink = bench.start(SinkConfig { poll_wait: Duration::from_secs(600), ..SinkConfig::default() });
    until("it has its partitions", || bench.readiness.missing_parts().is_empty());
    // As the processor does: it holds the phase `Commit` until its last results are in the journal.
    let processor = sink.supervisor.shutdown().hold(Phase::Commit, "processor");
    sink.supervisor.shutdown().begin("test");
    bench.append(at(Topic::Alerts, 3), (0..40).map(|i| bench.codec.to_bytes(&alert("d", i))));
    drop(processor);
    sink.ended().unwrap();
    assert_eq!(bench.stored().alerts, 40);
    assert_eq!(bench.committed()[&at(Topic::Alerts, 3)].written, 40);
}

#[test]
fn a_stop_does_not_wait_for_a_broken_store_for_ever() {
    let bench = Bench::new();
    bench.store.refuse(u32::MAX);
    bench.append(at(Topic::Alerts, 0), [bench.codec.to_bytes(&alert("d", 1))]);
    let sink = bench.start(SinkConfig { drain_max: Duration::from_millis(30), ..bench::quick() });
    until("it tries", || bench.store.attempts() > 0);
    sink.stop();
    assert!(bench.committed().is_empty(), "the next start finds it again");
}

#[test]
fn what_retention_took_is_in_the_books_for_ever() {
    let bench = Bench::new();
    let place = at(Topic::Alerts, 0);
    bench.append(place, [bench.codec.to_bytes(&alert("d", 0))]);
    let sink = bench.start(SinkConfig::default());
    until("one is committed", || bench.committed().contains_key(&place));
    sink.stop();
    for i in 1..10 {
        bench.append(place, [bench.codec.to_bytes(&alert("d", i))]);
    }
    bench.journal().trim(place, 6).unwrap();
    let sink = bench.start(SinkConfig::default());
    until("the rest is committed", || bench.committed()[&place].read == 5);
    assert_eq!(bench.committed()[&place], Totals { read: 5, written: 5, dead_lettered: 0, lost: 5 });
    let books = sink.handle.books().unwrap();
    assert!(!books.balanced(), "{books:?}");
    sink.stop();
}

#[test]
fn members_share_the_partitions_and_their_totals_stay_exact() {
    let bench = Bench::new();
    let one = bench.start_as("one", bench::quick());
    let mut appended = 0;
    let mut more = |bench: &Bench| {
        for partition in 0..4 {
            let values = (0..20).map(|i| bench.codec.to_bytes(&alert("d", appended + i)));
            bench.append(at(Topic::Alerts, partition), values);
        }
        appended += 20;
    };
    more(&bench);
    let two = bench.start_as("two", bench::quick());
    until("both have partitions", || {
        let lines = |sink: &bench::Running| sink.handle.books().unwrap().entries.len();
        lines(&one) > 0 && lines(&two) > 0 && lines(&one) + lines(&two) == TOPICS.len() * 4
    });
    more(&bench);
    two.stop();
    more(&bench);
    until("all is committed", || bench.committed().values().map(|totals| totals.written).sum::<i64>() == 240);
    assert!(bench.committed().values().all(|totals| totals.read == totals.written));
    assert_eq!(bench.stored().alerts, 60);
    one.stop();
}

#[test]
fn a_fault_of_ours_ends_the_program_with_its_name() {
    let bench = Bench::new();
    bench.store.break_for_good();
    bench.append(at(Topic::Alerts, 0), [bench.codec.to_bytes(&alert("d", 1))]);
    let failure = bench.start(SinkConfig::default()).ended().unwrap_err().to_string();
    assert!(failure.contains("sink failed") && failure.contains("damaged for the test"), "{failure}");
    assert!(bench.committed().is_empty());
}

#[test]
fn metadata_of_somebody_else_begins_the_books_again() {
    let bench = Bench::new();
    let place = at(Topic::Alerts, 0);
    bench.append(place, (0..4).map(|i| bench.codec.to_bytes(&alert("d", i))));
    bench.commit_as_stranger(GROUP, place, 2);
    let sink = bench.start(SinkConfig::default());
    until("the rest is committed", || bench.committed().get(&place).is_some_and(|totals| totals.read == 2));
    assert_eq!(bench.stored().alerts, 2);
    sink.stop();
}

/// The store that the sink wrote answers as if it had been written directly.
#[test]
fn rows_are_those_of_the_records() {
    let bench = Bench::new();
    let (row, note) = (window("d", 3), alert("d", 4));
    bench.append(at(Topic::Aggregates, 0), [bench.codec.to_bytes(&row)]);
    bench.append(at(Topic::Alerts, 0), [bench.codec.to_bytes(&note)]);
    let sink = bench.start(SinkConfig { until_end: true, ..bench::quick() });
    sink.ended().unwrap();
    let direct = bench::scratch();
    direct.store.write(&[Write::Aggregate(row), Write::Alert(note)]).unwrap();
    assert_eq!(bench.store.latest("d").unwrap(), direct.store.latest("d").unwrap());
    let alerts = |store: &dyn Store| store.alerts(None, ALWAYS, &first(9)).unwrap();
    assert_eq!(alerts(&*bench.store), alerts(&direct.store));
    assert_eq!(bench.journal().partitions(), 4);
}

/// A partition's committed totals are what its log holds.
fn complete(bench: &Bench, place: TopicPartition) -> bool {
    let records = i64::try_from(bench.journal().records(place).len()).unwrap();
    let totals = bench.committed().get(&place).copied().unwrap_or_default();
    totals.read == records && totals.written + totals.dead_lettered == records && totals.lost == 0
}

//! The log: offsets, round trips, durability, receipt times, many appenders, schema ids.

use super::{Harness, PARTITIONS, WAIT_MAX, aggregates, append, at, raw, read_all, record, values};
use crate::StoredRecord;
use crate::port::{NewRecord, Transaction};
use schemas::partition::partition_of;
use schemas::topic::Topic;
use std::sync::Arc;
use std::sync::mpsc::channel;

pub(super) fn offsets_rise(harness: &mut dyn Harness) {
    let journal = harness.journal();
    let first = append(&*journal, vec![record(raw(0), "a"), record(raw(1), "b"), record(raw(0), "c")]);
    let second = append(&*journal, vec![record(raw(1), "d"), record(raw(0), "e")]);
    assert!(first[0] < first[2] && first[2] < second[1], "partition 0: {first:?} {second:?}");
    assert!(first[1] < second[0], "partition 1: {first:?} {second:?}");
    let in_0 = read_all(&*journal, raw(0));
    let in_1 = read_all(&*journal, raw(1));
    assert_eq!(values(&in_0), ["a", "c", "e"]);
    assert_eq!(values(&in_1), ["b", "d"]);
    let offsets = |records: &[StoredRecord]| records.iter().map(|record| record.offset).collect::<Vec<_>>();
    assert_eq!(offsets(&in_0), [first[0], first[2], second[1]]);
    assert_eq!(offsets(&in_1), [first[1], second[0]]);
    assert!(read_all(&*journal, raw(2)).is_empty());
    let (start, end) = journal.reader().unwrap().bounds(raw(0)).unwrap();
    assert_eq!((start, end), (first[0], second[1] + 1));
}

pub(super) fn round_trip(harness: &mut dyn Harness) {
    let header = |name: &str, value: &[u8]| (name.to_owned(), value.to_vec());
    let large: Vec<u8> = (0..300_000_u32).map(|index| (index % 251) as u8).collect();
    let shapes: Vec<NewRecord> = vec![
        NewRecord { to: raw(3), key: None, value: Vec::new(), headers: Vec::new() },
        NewRecord { to: raw(3), key: Some(Vec::new()), value: b"empty key".to_vec(), headers: Vec::new() },
        NewRecord {
            to: raw(3),
            key: Some(b"sensor-12".to_vec()),
            value: vec![0, 255, 128],
            headers: Vec::new(),
        },
        NewRecord {
            to: raw(3),
            key: Some("Gerät".as_bytes().to_vec()),
            value: b"headers".to_vec(),
            headers: vec![
                header("ingest-at", b"1627847280000000"),
                header("ingest-at", b""),
                header("ü", b"\0"),
            ],
        },
        NewRecord {
            to: raw(3),
            key: Some(vec![7; 1000]),
            value: large,
            headers: vec![header("", b"no name")],
        },
        NewRecord { to: raw(3), key: None, value: b"last".to_vec(), headers: Vec::new() },
    ];
    let journal = harness.journal();
    append(&*journal, shapes.clone());
    for shape in shapes.clone() {
        append(&*journal, vec![shape]);
    }
    let read = read_all(&*journal, raw(3));
    assert_eq!(read.len(), 2 * shapes.len());
    for (read, shape) in read.iter().zip(shapes.iter().chain(&shapes)) {
        assert_eq!((&read.key, &read.value, &read.headers), (&shape.key, &shape.value, &shape.headers));
    }
}

pub(super) fn durable(harness: &mut dyn Harness) {
    let journal = harness.journal();
    append(&*journal, (0..50).map(|index| record(raw(index % PARTITIONS), format!("{index}"))).collect());
    let mut member = super::Member::join(&*journal, "group", "member", &[Topic::Raw]);
    member.own(PARTITIONS as usize);
    let transaction =
        Transaction { records: vec![record(aggregates(1), "out")], offsets: vec![(raw(1), at(3, "state"))] };
    journal.committer("producer").unwrap().commit(&transaction, &member.token()).unwrap();
    member.consumer.commit(&[(raw(2), at(5, ""))]).unwrap();
    let before: Vec<_> = (0..PARTITIONS).map(|partition| read_all(&*journal, raw(partition))).collect();
    let output = read_all(&*journal, aggregates(1));
    drop((member, journal));

    harness.reopen();
    let journal = harness.journal();
    let after: Vec<_> = (0..PARTITIONS).map(|partition| read_all(&*journal, raw(partition))).collect();
    assert_eq!(after, before, "offsets, receipt times and bytes are the same");
    assert_eq!(read_all(&*journal, aggregates(1)), output);
    let mut reader = journal.reader().unwrap();
    assert_eq!(reader.committed("group", raw(1)).unwrap(), Some(at(3, "state")));
    assert_eq!(reader.committed("group", raw(2)).unwrap(), Some(at(5, "")));
    assert_eq!(reader.committed("group", raw(3)).unwrap(), None);
    let end = reader.bounds(raw(0)).unwrap().1;
    let next = append(&*journal, vec![record(raw(0), "next")]);
    assert!(next[0] >= end, "{next:?} would overwrite what ends at {end}");
    assert!(read_all(&*journal, raw(0)).last().unwrap().received_at >= before[0].last().unwrap().received_at);
}

pub(super) fn receipt_times(harness: &mut dyn Harness) {
    let journal = harness.journal();
    let earliest = journal.now();
    for index in 0..40 {
        append(&*journal, vec![record(raw(index % 2), "x"), record(raw(0), "y")]);
    }
    for partition in 0..2 {
        let records = read_all(&*journal, raw(partition));
        // A broker's clock counts milliseconds.
        assert!(
            records[0].received_at >= earliest - 1_000,
            "{} is before {earliest}",
            records[0].received_at
        );
        assert!(records.is_sorted_by_key(|record| record.received_at), "partition {partition}");
    }
}

pub(super) fn any_start(harness: &mut dyn Harness) {
    let journal = harness.journal();
    let mut value = 0;
    for size in [1_u32, 40, 1, 1, 7, 100, 3] {
        let records = (0..size).map(|_| {
            value += 1;
            record(raw(0), format!("{value}"))
        });
        append(&*journal, records.collect());
    }
    let all = read_all(&*journal, raw(0));
    let mut reader = journal.reader().unwrap();
    let end = reader.bounds(raw(0)).unwrap().1;
    for (index, first) in all.iter().enumerate() {
        for records_max in [1, 6, 1000] {
            let mut read = Vec::new();
            let next = reader
                .read(raw(0), first.offset, records_max, &mut |record| {
                    read.push(StoredRecord::copy(raw(0), &record));
                })
                .unwrap();
            let expected = &all[index..(index + records_max).min(all.len())];
            assert!(read.len() <= records_max && !read.is_empty());
            assert_eq!(read, expected[..read.len()], "from {} on", first.offset);
            assert!(next > read.last().unwrap().offset && next <= end);
        }
    }
    let after_end =
        reader.read(raw(0), end, 10, &mut |record| panic!("{record:?} lies after the end")).unwrap();
    assert_eq!(after_end, end);
}

pub(super) fn partitioner(harness: &mut dyn Harness) {
    let journal = harness.journal();
    let records = (0..200).map(|device| {
        let key = format!("sensor-{device}").into_bytes();
        let to = raw(partition_of(&key, journal.partitions()));
        NewRecord { to, key: Some(key), value: Vec::new(), headers: Vec::new() }
    });
    append(&*journal, records.collect());
    assert_eq!(journal.partitions(), PARTITIONS);
    let mut found = 0;
    for partition in 0..PARTITIONS {
        let records = read_all(&*journal, raw(partition));
        assert!(!records.is_empty(), "200 keys leave no partition empty");
        found += records.len();
        for record in records {
            assert_eq!(partition_of(record.key.as_deref().unwrap(), PARTITIONS), partition);
        }
    }
    assert_eq!(found, 200);
}

pub(super) fn concurrent_appenders(harness: &mut dyn Harness) {
    const APPENDERS: usize = 3;
    const EACH: usize = 60;
    let journal = harness.journal();
    let (sender, receiver) = channel();
    std::thread::scope(|scope| {
        for appender in 0..APPENDERS {
            let (journal, sender) = (Arc::clone(&journal), sender.clone());
            scope.spawn(move || {
                for number in 0..EACH {
                    let sender = sender.clone();
                    let done = Box::new(move |offsets: Result<Vec<i64>, _>| {
                        sender.send((appender, number, offsets.unwrap())).unwrap();
                    });
                    let values = (0..3).map(|part| record(raw(0), format!("{appender} {number} {part}")));
                    journal.appender().append(values.collect(), done).unwrap();
                }
            });
        }
        drop(sender);
        let mut acknowledged = Vec::new();
        for _ in 0..APPENDERS * EACH {
            acknowledged.push(receiver.recv_timeout(WAIT_MAX).unwrap());
        }
        let records = read_all(&*journal, raw(0));
        assert_eq!(records.len(), APPENDERS * EACH * 3);
        for (appender, number, offsets) in acknowledged {
            for (part, offset) in offsets.into_iter().enumerate() {
                let at = records.binary_search_by_key(&offset, |record| record.offset).unwrap();
                assert_eq!(records[at].value, format!("{appender} {number} {part}").into_bytes());
            }
        }
        for appender in 0..APPENDERS {
            let prefix = format!("{appender} ");
            let numbers: Vec<usize> = values(&records)
                .iter()
                .filter_map(|value| value.strip_prefix(&prefix)?.split(' ').next()?.parse().ok())
                .collect();
            assert!(numbers.is_sorted(), "one appender's records keep their order");
        }
    });
}

pub(super) fn schema_ids(harness: &mut dyn Harness) {
    let journal = harness.journal();
    let first = journal.schema_id("iot.raw-value", "\"string\"").unwrap();
    let second = journal.schema_id("iot.raw-value", "\"bytes\"").unwrap();
    assert_ne!(first, second);
    assert_eq!(journal.schema_id("iot.raw-value", "\"string\"").unwrap(), first);
    let elsewhere = journal.schema_id("iot.late-value", "\"long\"").unwrap();
    assert!(elsewhere != first && elsewhere != second);
    assert_eq!(journal.schema_of(second).unwrap().as_deref(), Some("\"bytes\""));
    assert_eq!(journal.schema_of(u32::MAX).unwrap(), None);
    drop(journal);
    harness.reopen();
    let journal = harness.journal();
    assert_eq!(journal.schema_of(first).unwrap().as_deref(), Some("\"string\""));
    assert_eq!(journal.schema_id("iot.raw-value", "\"bytes\"").unwrap(), second);
    assert_eq!(journal.schema_id("iot.late-value", "\"long\"").unwrap(), elsewhere);
    let new = journal.schema_id("iot.late-value", "\"int\"").unwrap();
    assert!(![first, second, elsewhere].contains(&new), "an id is never given twice");
}

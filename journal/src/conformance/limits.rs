//! Limits: retention, back-pressure, shapes that no home takes.

use super::{
    APPEND_QUEUE_BYTES_MAX, Harness, Member, PARTITIONS, TURN, WAIT_MAX, aggregates, append, at, raw,
    read_all, record, try_append, values,
};
use crate::port::{Disposition, JournalError, TopicPartition};
use crate::{METADATA_BYTES_MAX, RECORD_BYTES_MAX};
use schemas::topic::Topic;
use std::sync::mpsc::channel;
use std::time::Instant;

pub(super) fn out_of_range(harness: &mut dyn Harness) {
    let journal = harness.journal();
    let first = append(&*journal, (0..20).map(|_| record(raw(0), "old")).collect());
    append(&*journal, vec![record(aggregates(0), "elsewhere")]);
    let mut member = Member::join(&*journal, "group", "a", &[Topic::Raw]);
    member.own(PARTITIONS as usize);
    harness.expire(raw(0));
    append(&*journal, vec![record(raw(0), "young")]);
    let mut reader = journal.reader().unwrap();
    let (start, end) = reader.bounds(raw(0)).unwrap();
    assert!(start > first[19] && end == start + 1, "{start} {end}");
    let gone = JournalError::OutOfRange { partition: raw(0), offset: first[0], start };
    assert_eq!(reader.read(raw(0), first[0], 10, &mut |_| {}), Err(gone.clone()));
    assert_eq!(gone.disposition(), Disposition::Fatal);
    assert_eq!(values(&read_all(&*journal, raw(0))), ["young"]);
    assert_eq!(values(&read_all(&*journal, aggregates(0))), ["elsewhere"], "retention keeps to its topic");

    member.consumer.seek(raw(0), first[0]).unwrap();
    member.records.clear();
    let end = Instant::now() + WAIT_MAX;
    loop {
        assert!(Instant::now() < end, "the consumer is never told");
        match member.turn(TURN) {
            Ok(_) => assert!(member.records.iter().all(|record| record.partition != raw(0))),
            Err(error) => break assert_eq!(error, gone),
        }
    }
    member.consumer.seek(raw(0), start).unwrap();
    super::until(&mut [&mut member], |members| {
        members[0].records.iter().any(|record| record.value == b"young")
    });
}

pub(super) fn full(harness: &mut dyn Harness) {
    let journal = harness.journal();
    let appender = journal.appender();
    assert_eq!(appender.queued().bytes_max, APPEND_QUEUE_BYTES_MAX);
    harness.stall_appends();
    let value = vec![b'x'; 100_000];
    let (sender, receiver) = channel();
    let (mut queued, mut refusal) = (0, None);
    // One more may be taken than fits: the one that is on its way already.
    for _ in 0..2 * APPEND_QUEUE_BYTES_MAX / value.len() {
        let sender = sender.clone();
        let done = Box::new(move |offsets: Result<Vec<i64>, JournalError>| {
            let _ = sender.send(offsets);
        });
        match appender.append(vec![record(raw(0), value.clone())], done) {
            Ok(()) => queued += 1,
            Err(error) => {
                refusal = Some(error);
                break;
            }
        }
    }
    let refusal = refusal.expect("a bounded queue has a bound");
    assert!(matches!(refusal, JournalError::Full { bytes_max: APPEND_QUEUE_BYTES_MAX, .. }), "{refusal:?}");
    assert_eq!(refusal.disposition(), Disposition::Retry);
    let level = appender.queued();
    assert!(level.records > 0 && level.bytes > APPEND_QUEUE_BYTES_MAX / 2 && level.bytes <= level.bytes_max);
    harness.release_appends();
    for _ in 0..queued {
        receiver.recv_timeout(WAIT_MAX).unwrap().unwrap();
    }
    drop(sender);
    assert!(receiver.recv_timeout(WAIT_MAX).is_err(), "the refused append's completion is never called");
    assert_eq!(read_all(&*journal, raw(0)).len(), queued);
    append(&*journal, vec![record(raw(0), "room again")]);
    assert_eq!((appender.queued().records, appender.queued().bytes), (0, 0));
}

pub(super) fn impossible(harness: &mut dyn Harness) {
    let journal = harness.journal();
    let nowhere = TopicPartition { topic: Topic::Raw, partition: PARTITIONS };
    let second_control = TopicPartition { topic: Topic::Control, partition: 1 };
    for to in [nowhere, second_control] {
        let refusal = try_append(&*journal, vec![record(raw(0), "good"), record(to, "bad")]).unwrap_err();
        assert_eq!(refusal.disposition(), Disposition::Fatal, "{refusal:?}");
    }
    let large = vec![0; RECORD_BYTES_MAX + 1];
    try_append(&*journal, vec![record(raw(0), large)]).unwrap_err();
    assert!(read_all(&*journal, raw(0)).is_empty(), "all of an append or nothing");
    append(&*journal, vec![record(raw(1), vec![7; RECORD_BYTES_MAX])]);
    assert_eq!(read_all(&*journal, raw(1))[0].value.len(), RECORD_BYTES_MAX, "the largest record is taken");

    let mut member = Member::join(&*journal, "group", "a", &[Topic::Raw]);
    member.own(PARTITIONS as usize);
    member.consumer.commit(&[(raw(0), at(0, &"x".repeat(METADATA_BYTES_MAX)))]).unwrap();
    member.consumer.commit(&[(raw(0), at(0, &"x".repeat(METADATA_BYTES_MAX + 1)))]).unwrap_err();
    member.consumer.commit(&[(raw(0), at(-1, ""))]).unwrap_err();
    let committed = journal.reader().unwrap().committed("group", raw(0)).unwrap().unwrap();
    assert_eq!((committed.offset, committed.metadata.len()), (0, METADATA_BYTES_MAX));
    assert!(journal.reader().unwrap().bounds(nowhere).is_err());
}

//! The promise itself: workers on threads copy input to output in transactions while members come and go.

use super::{Harness, PARTITIONS, TURN, WAIT_MAX, append, at, raw, read_all, record};
use crate::port::{
    Committer, Consumer, ConsumerEvent, GroupToken, Journal, NewRecord, TopicPartition, Transaction,
};
use schemas::topic::Topic;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

const RECORDS: usize = 3_000;

/// What a worker has read and not committed.
#[derive(Default)]
struct Cycle {
    records: Vec<NewRecord>,
    reached: BTreeMap<TopicPartition, i64>,
}

impl Cycle {
    fn publish(&mut self, committer: &mut dyn Committer, token: &GroupToken) -> bool {
        let offsets = std::mem::take(&mut self.reached).into_iter();
        let offsets = offsets.map(|(of, next)| (of, at(next, "copied"))).collect();
        let transaction = Transaction { records: std::mem::take(&mut self.records), offsets };
        transaction.offsets.is_empty() || committer.commit(&transaction, token).is_ok()
    }
}

/// Copies until told to stop; leaves and joins again every so many polls.
fn work(journal: &dyn Journal, name: &str, leave_after: usize, stop: &AtomicBool) {
    while !stop.load(Ordering::Acquire) {
        let mut consumer = journal.consumer("copiers", name, &[Topic::Raw]).unwrap();
        let mut committer = journal.committer(name).unwrap();
        let mut cycle = Cycle::default();
        for _ in 0..leave_after {
            if stop.load(Ordering::Acquire) || !step(consumer.as_mut(), committer.as_mut(), &mut cycle) {
                break;
            }
        }
        // What was not committed is dropped with the cycle: the next owner reads it again.
        consumer.leave(&mut |_| {}).unwrap();
    }
}

fn step(consumer: &mut dyn Consumer, committer: &mut dyn Committer, cycle: &mut Cycle) -> bool {
    let token = consumer.token();
    let mut starts = Vec::new();
    let polled = consumer.poll(TURN, 40, &mut |event| match event {
        ConsumerEvent::Assigned(assignments) => {
            starts = assignments
                .iter()
                .map(|of| (of.partition, of.committed.as_ref().map_or(0, |committed| committed.offset)))
                .collect();
        }
        ConsumerEvent::Revoked { lost, .. } => {
            // Committed on the last moment, or thrown away.
            if !lost && let Some(token) = &token {
                cycle.publish(committer, token);
            }
            *cycle = Cycle::default();
        }
        ConsumerEvent::Reached { .. } => {}
        ConsumerEvent::Batch { partition, records } => {
            for source in records {
                let to = TopicPartition { topic: Topic::Aggregates, ..partition };
                cycle.records.push(record(to, source.value));
                cycle.reached.insert(partition, source.offset + 1);
            }
        }
    });
    for (partition, start) in starts {
        if consumer.seek(partition, start).is_err() {
            return false;
        }
    }
    let Some(token) = consumer.token() else { return polled.is_ok() };
    polled.is_ok() && cycle.publish(committer, &token)
}

pub(super) fn copies_once(harness: &mut dyn Harness) {
    let journal = harness.journal();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for (name, leave_after) in [("steady", usize::MAX), ("restless", 9), ("flighty", 3)] {
            let (journal, stop) = (Arc::clone(&journal), &stop);
            scope.spawn(move || work(&*journal, name, leave_after, stop));
        }
        for first in (0..RECORDS).step_by(100) {
            let records = (first..first + 100)
                .map(|number| record(raw(u32::try_from(number).unwrap() % PARTITIONS), format!("{number}")));
            append(&*journal, records.collect());
        }
        let mut reader = journal.reader().unwrap();
        let end = Instant::now() + WAIT_MAX;
        let copied = |reader: &mut dyn crate::port::Reader| {
            (0..PARTITIONS).all(|of| {
                let committed = reader.committed("copiers", raw(of)).unwrap().map_or(0, |at| at.offset);
                committed == reader.bounds(raw(of)).unwrap().1
            })
        };
        while !copied(reader.as_mut()) && Instant::now() < end {
            std::thread::park_timeout(TURN);
        }
        stop.store(true, Ordering::Release);
    });
    for of in 0..PARTITIONS {
        let input: Vec<_> = read_all(&*journal, raw(of)).into_iter().map(|record| record.value).collect();
        let output = read_all(&*journal, TopicPartition { topic: Topic::Aggregates, partition: of });
        let output: Vec<_> = output.into_iter().map(|record| record.value).collect();
        assert_eq!(input.len(), RECORDS / PARTITIONS as usize);
        assert_eq!(output, input, "partition {of}: each record once, in order");
    }
}

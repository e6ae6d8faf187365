//! Groups: who owns what, how it changes hands, and what a poll brings.

use super::{Harness, Member, PARTITIONS, TURN, WAIT_MAX, append, at, raw, record, until, values};
use crate::port::{ConsumerEvent, Journal, JournalError, TopicPartition, Transaction};
use schemas::topic::Topic;
use std::collections::BTreeSet;
use std::sync::mpsc::channel;
use std::time::Instant;

const BOTH: [Topic; 2] = [Topic::Raw, Topic::Aggregates];

fn fill(journal: &dyn Journal, each: usize) {
    let records =
        (0..PARTITIONS).flat_map(|of| (0..each).map(move |index| record(raw(of), format!("{of} {index}"))));
    append(journal, records.collect());
}

/// Every partition of both topics has one owner, which owns that number of the other topic too.
fn fair(members: &[&mut Member]) -> bool {
    let owned: Vec<TopicPartition> = members.iter().flat_map(|member| member.owned.clone()).collect();
    let distinct: BTreeSet<TopicPartition> = owned.iter().copied().collect();
    assert!(members.iter().all(|member| {
        let numbers = |topic| {
            let of_topic = member.owned.iter().filter(move |of| of.topic == topic);
            of_topic.map(|of| of.partition).collect::<BTreeSet<_>>()
        };
        numbers(Topic::Raw) == numbers(Topic::Aggregates)
    }));
    let fewest = members.iter().map(|member| member.owned.len()).min().unwrap_or(0);
    let most = members.iter().map(|member| member.owned.len()).max().unwrap_or(0);
    distinct.len() == 2 * PARTITIONS as usize && owned.len() == distinct.len() && most - fewest <= 2
}

pub(super) fn shares(harness: &mut dyn Harness) {
    let journal = harness.journal();
    let mut a = Member::join(&*journal, "group", "a", &BOTH);
    assert_eq!(a.consumer.token(), None);
    until(&mut [&mut a], fair);
    let first = a.token();
    let mut b = Member::join(&*journal, "group", "b", &BOTH);
    until(&mut [&mut a, &mut b], fair);
    assert!(a.token().generation > first.generation);
    let mut c = Member::join(&*journal, "group", "c", &BOTH);
    until(&mut [&mut a, &mut b, &mut c], fair);
    let mut revoked = Vec::new();
    b.consumer
        .leave(&mut |event| {
            if let ConsumerEvent::Revoked { partitions, lost: false } = event {
                revoked.extend_from_slice(partitions);
            }
        })
        .unwrap();
    assert_eq!(revoked, b.owned);
    until(&mut [&mut a, &mut c], fair);
    c.consumer.leave(&mut |_| {}).unwrap();
    until(&mut [&mut a], fair);
    let mut elsewhere = Member::join(&*journal, "another group", "a", &[Topic::Raw]);
    elsewhere.own(PARTITIONS as usize);
    a.turn(TURN).unwrap();
    assert_eq!(a.owned.len(), 2 * PARTITIONS as usize, "groups do not touch each other");
}

pub(super) fn last_commit(harness: &mut dyn Harness) {
    let journal = harness.journal();
    fill(&*journal, 5);
    let mut a = Member::join(&*journal, "group", "a", &[Topic::Raw]);
    a.own(PARTITIONS as usize);
    let token = a.token();
    let mut committer = journal.committer("producer").unwrap();
    let last = Transaction { records: Vec::new(), offsets: vec![(raw(3), at(4, "last"))] };
    let mut b = Member::join(&*journal, "group", "b", &[Topic::Raw]);
    let mut asked = 0;
    let end = Instant::now() + WAIT_MAX;
    while asked == 0 {
        assert!(Instant::now() < end, "nobody asked for the partitions");
        b.turn(TURN).unwrap();
        assert!(b.owned.is_empty(), "they are not given away before they are given up");
        a.consumer
            .poll(TURN, 1, &mut |event| {
                if let ConsumerEvent::Revoked { lost: false, .. } = event {
                    asked += 1;
                    committer.commit(&last, &token).unwrap();
                }
            })
            .unwrap();
    }
    let refusal = committer.commit(&last, &token).unwrap_err();
    assert!(matches!(refusal, JournalError::Fenced(_)), "{refusal:?}");
    a.owned.clear();
    until(&mut [&mut a, &mut b], |members| members[1].owned.len() == PARTITIONS as usize / 2);
    assert_eq!(b.committed.get(&raw(3)), Some(&at(4, "last")));
}

pub(super) fn handover(harness: &mut dyn Harness) {
    let journal = harness.journal();
    fill(&*journal, 10);
    let mut a = Member::join(&*journal, "group", "a", &[Topic::Raw]);
    until(&mut [&mut a], |members| members[0].records.len() == 10 * PARTITIONS as usize);
    let sixth = a.records.iter().filter(|record| record.partition == raw(3)).nth(6).unwrap().offset;
    a.consumer.commit(&[(raw(3), at(sixth, "six read"))]).unwrap();
    a.consumer.leave(&mut |_| {}).unwrap();
    let mut b = Member::join(&*journal, "group", "b", &[Topic::Raw]);
    until(&mut [&mut b], |members| members[0].records.len() == 10 * PARTITIONS as usize - 6);
    assert_eq!(b.committed.len(), 1);
    let of_3: Vec<_> = b.records.iter().filter(|record| record.partition == raw(3)).cloned().collect();
    assert_eq!(values(&of_3), ["3 6", "3 7", "3 8", "3 9"]);
}

pub(super) fn restarted_member(harness: &mut dyn Harness) {
    let journal = harness.journal();
    fill(&*journal, 3);
    let mut zombie = Member::join(&*journal, "group", "a", &[Topic::Raw]);
    let mut other = Member::join(&*journal, "group", "b", &[Topic::Raw]);
    let half = PARTITIONS as usize / 2;
    until(&mut [&mut zombie, &mut other], |members| members.iter().all(|member| member.owned.len() == half));
    let (old, seat) = (zombie.token(), zombie.owned.clone());
    let mut restarted = Member::join(&*journal, "group", "a", &[Topic::Raw]);
    until(&mut [&mut restarted, &mut other], |members| {
        members.iter().all(|member| member.owned.len() == half)
    });
    assert_eq!(restarted.owned, seat);
    let stale = Transaction { records: Vec::new(), offsets: vec![(seat[0], at(1, "stale"))] };
    let refusal = journal.committer("producer").unwrap().commit(&stale, &old).unwrap_err();
    assert!(matches!(refusal, JournalError::Fenced(_)), "{refusal:?}");
    let refusal = zombie.consumer.commit(&[(seat[0], at(1, "stale"))]).unwrap_err();
    assert!(matches!(refusal, JournalError::Fenced(_)), "{refusal:?}");
    let end = Instant::now() + WAIT_MAX;
    while zombie.turn(TURN).is_ok() {
        assert!(Instant::now() < end, "the zombie is never told");
    }
    assert!(zombie.lost && zombie.owned.is_empty(), "what it had is gone without asking");
    drop(zombie);
    restarted.consumer.commit(&[(seat[0], at(2, "fresh"))]).unwrap();
    restarted.turn(TURN).unwrap();
    assert_eq!(restarted.owned, seat, "the zombie's end takes nothing from its successor");
}

pub(super) fn dropped_member(harness: &mut dyn Harness) {
    let journal = harness.journal();
    let mut a = Member::join(&*journal, "group", "a", &[Topic::Raw]);
    let mut b = Member::join(&*journal, "group", "b", &[Topic::Raw]);
    let half = PARTITIONS as usize / 2;
    until(&mut [&mut a, &mut b], |members| members.iter().all(|member| member.owned.len() == half));
    drop(b);
    a.own(PARTITIONS as usize);
}

pub(super) fn seek_pause_resume(harness: &mut dyn Harness) {
    let journal = harness.journal();
    fill(&*journal, 4);
    let mut member = Member::join(&*journal, "group", "a", &[Topic::Raw]);
    member.seeks = false;
    member.own(PARTITIONS as usize);
    member.turn(TURN).unwrap();
    assert!(member.records.is_empty(), "nothing comes before the first seek");
    let (start, end) = member.consumer.bounds(raw(0)).unwrap();
    member.consumer.seek(raw(0), start + 2).unwrap();
    until(&mut [&mut member], |members| members[0].records.len() >= 2);
    assert_eq!(values(&member.records), ["0 2", "0 3"]);

    member.records.clear();
    member.consumer.pause(raw(0));
    member.consumer.seek(raw(0), start).unwrap();
    member.consumer.seek(raw(1), start).unwrap();
    until(&mut [&mut member], |members| members[0].records.len() >= 4);
    member.turn(TURN).unwrap();
    assert!(member.records.iter().all(|record| record.partition == raw(1)), "a paused partition is silent");
    member.records.clear();
    member.consumer.resume(raw(0));
    until(&mut [&mut member], |members| members[0].records.len() >= 4);
    assert_eq!(values(&member.records), ["0 0", "0 1", "0 2", "0 3"]);

    member.records.clear();
    member.consumer.seek(raw(0), end).unwrap();
    append(&*journal, vec![record(raw(0), "new")]);
    until(&mut [&mut member], |members| !members[0].records.is_empty());
    assert_eq!(values(&member.records), ["new"]);
    let elsewhere = TopicPartition { topic: Topic::Audit, partition: 0 };
    assert_eq!(member.consumer.seek(elsewhere, 0), Err(JournalError::NotAssigned(elsewhere)));
}

pub(super) fn records_max(harness: &mut dyn Harness) {
    let journal = harness.journal();
    fill(&*journal, 30);
    let mut member = Member::join(&*journal, "group", "a", &[Topic::Raw]);
    member.own(PARTITIONS as usize);
    let mut read = values(&member.records);
    let end = Instant::now() + WAIT_MAX;
    while read.len() < 30 * PARTITIONS as usize {
        assert!(Instant::now() < end, "only {} records came", read.len());
        let mut delivered = 0;
        let returned = member.consumer.poll(TURN, 7, &mut |event| {
            if let ConsumerEvent::Batch { records, .. } = event {
                assert!(!records.is_empty());
                assert!(records.is_sorted_by_key(|record| record.offset));
                delivered += records.len();
                read.extend(records.iter().map(|record| String::from_utf8(record.value.to_vec()).unwrap()));
            }
        });
        assert_eq!(returned.unwrap(), delivered);
        assert!(delivered <= 7, "{delivered} records, 7 were asked for");
    }
    for of in 0..PARTITIONS {
        let prefix = format!("{of} ");
        let of_partition: Vec<_> = read.iter().filter(|value| value.starts_with(&prefix)).cloned().collect();
        assert_eq!(of_partition, (0..30).map(|index| format!("{of} {index}")).collect::<Vec<_>>());
    }
}

pub(super) fn wakes_up(harness: &mut dyn Harness) {
    let journal = harness.journal();
    let mut member = Member::join(&*journal, "group", "a", &[Topic::Raw]);
    member.own(PARTITIONS as usize);
    let (sender, receiver) = channel();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            // Longer than the other side waits for it: only a wake-up is in time.
            while member.records.is_empty() {
                member.turn(2 * WAIT_MAX).unwrap();
            }
            sender.send(values(&member.records)).unwrap();
        });
        append(&*journal, vec![record(raw(2), "news")]);
        assert_eq!(receiver.recv_timeout(WAIT_MAX).unwrap(), ["news"]);
    });
}

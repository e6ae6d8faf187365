//! Transactions: whole or not at all, fenced by producer and by token, resolvable when the answer is lost.

use super::{Harness, Member, PARTITIONS, aggregates, append, at, raw, read_all, record, values};
use crate::port::{Disposition, Journal, JournalError, TopicPartition, Transaction};
use schemas::topic::Topic;

/// A member that owns everything, and some input.
fn owner(journal: &dyn Journal) -> Member {
    append(journal, (0..PARTITIONS).flat_map(|of| (0..10).map(move |_| record(raw(of), "in"))).collect());
    let mut member = Member::join(journal, "group", "member", &[Topic::Raw]);
    member.own(PARTITIONS as usize);
    member
}

fn copy(of: u32, value: &str, offset: i64) -> Transaction {
    Transaction { records: vec![record(aggregates(of), value)], offsets: vec![(raw(of), at(offset, value))] }
}

fn committed(journal: &dyn Journal, of: TopicPartition) -> Option<(i64, String)> {
    let committed = journal.reader().unwrap().committed("group", of).unwrap();
    committed.map(|committed| (committed.offset, committed.metadata))
}

pub(super) fn atomic(harness: &mut dyn Harness) {
    let journal = harness.journal();
    let member = owner(&*journal);
    let mut committer = journal.committer("producer").unwrap();
    let alerts = TopicPartition { topic: Topic::Alerts, partition: 1 };
    let transaction = Transaction {
        records: vec![record(aggregates(0), "a"), record(alerts, "b"), record(aggregates(0), "c")],
        offsets: vec![(raw(0), at(4, "m0")), (raw(1), at(7, "m1"))],
    };
    assert!(read_all(&*journal, aggregates(0)).is_empty() && committed(&*journal, raw(0)).is_none());
    committer.commit(&transaction, &member.token()).unwrap();
    assert_eq!(values(&read_all(&*journal, aggregates(0))), ["a", "c"]);
    assert_eq!(values(&read_all(&*journal, alerts)), ["b"]);
    assert_eq!(committed(&*journal, raw(0)), Some((4, "m0".to_owned())));
    assert_eq!(committed(&*journal, raw(1)), Some((7, "m1".to_owned())));

    // One part that cannot be: nothing of it happens.
    let mut half = copy(0, "half", 5);
    half.offsets.push((TopicPartition { topic: Topic::Raw, partition: PARTITIONS }, at(1, "")));
    committer.commit(&half, &member.token()).unwrap_err();
    assert_eq!(values(&read_all(&*journal, aggregates(0))), ["a", "c"]);
    assert_eq!(committed(&*journal, raw(0)), Some((4, "m0".to_owned())));
}

pub(super) fn metadata(harness: &mut dyn Harness) {
    let journal = harness.journal();
    let mut member = owner(&*journal);
    let long = "é".repeat(2048);
    member.consumer.commit(&[(raw(0), at(1, &long)), (raw(1), at(2, ""))]).unwrap();
    assert_eq!(committed(&*journal, raw(0)), Some((1, long)));
    assert_eq!(committed(&*journal, raw(1)), Some((2, String::new())));
    member.consumer.commit(&[(raw(0), at(0, "back"))]).unwrap();
    assert_eq!(committed(&*journal, raw(0)), Some((0, "back".to_owned())), "a position may also go back");
    let elsewhere = journal.reader().unwrap().committed("another", raw(0)).unwrap();
    assert_eq!(elsewhere, None, "another group's positions are its own");
}

pub(super) fn newer_producer(harness: &mut dyn Harness) {
    let journal = harness.journal();
    let member = owner(&*journal);
    let mut older = journal.committer("producer").unwrap();
    older.commit(&copy(0, "older", 1), &member.token()).unwrap();
    let mut other = journal.committer("another").unwrap();
    let mut newer = journal.committer("producer").unwrap();
    let refusal = older.commit(&copy(0, "zombie", 2), &member.token()).unwrap_err();
    assert!(matches!(refusal, JournalError::Fenced(_)), "{refusal:?}");
    assert_eq!(refusal.disposition(), Disposition::Rejoin);
    newer.commit(&copy(0, "newer", 3), &member.token()).unwrap();
    other.commit(&copy(0, "other", 4), &member.token()).unwrap();
    assert_eq!(values(&read_all(&*journal, aggregates(0))), ["older", "newer", "other"]);
    assert_eq!(committed(&*journal, raw(0)), Some((4, "other".to_owned())));
}

pub(super) fn old_token(harness: &mut dyn Harness) {
    let journal = harness.journal();
    let mut member = owner(&*journal);
    let old = member.token();
    let mut committer = journal.committer("producer").unwrap();
    committer.commit(&copy(3, "good", 1), &old).unwrap();
    let mut second = Member::join(&*journal, "group", "second", &[Topic::Raw]);
    super::until(&mut [&mut member, &mut second], |members| {
        members.iter().all(|member| member.owned.len() == PARTITIONS as usize / 2)
    });
    let refusal = committer.commit(&copy(3, "zombie", 2), &old).unwrap_err();
    assert!(matches!(refusal, JournalError::Fenced(_)), "{refusal:?}");
    let of = member.owned[0].partition;
    committer.commit(&copy(of, "current", 3), &member.token()).unwrap();
    assert_eq!(values(&read_all(&*journal, aggregates(3))), ["good"]);
    assert_eq!(values(&read_all(&*journal, aggregates(of))), ["current"]);

    let strange = crate::port::GroupToken { member: "nobody".to_owned(), ..member.token() };
    let refusal = committer.commit(&copy(of, "strange", 4), &strange).unwrap_err();
    assert!(matches!(refusal, JournalError::Fenced(_)), "{refusal:?}");
}

pub(super) fn unknown(harness: &mut dyn Harness) {
    let journal = harness.journal();
    let member = owner(&*journal);
    let mut committer = journal.committer("producer").unwrap();
    for (happened, offset) in [(true, 1), (false, 2)] {
        if !harness.lose_next_answer(happened) {
            return;
        }
        let transaction = copy(0, &format!("{offset}"), offset);
        let answer = committer.commit(&transaction, &member.token()).unwrap_err();
        assert_eq!(answer.disposition(), Disposition::Resolve, "{answer:?}");
        let found = committed(&*journal, raw(0)).is_some_and(|(position, _)| position == offset);
        assert_eq!(found, happened, "the committed position tells");
        if !found {
            committer.commit(&transaction, &member.token()).unwrap();
        }
    }
    assert_eq!(values(&read_all(&*journal, aggregates(0))), ["1", "2"]);
}

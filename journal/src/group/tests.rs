//! The coordinator: each transition, and its invariants under any sequence of events.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

const WAIT_MAX: Micros = 1_000_000;

fn raw(partition: u32) -> TopicPartition {
    TopicPartition { topic: Topic::Raw, partition }
}

fn coordinator() -> Coordinator {
    Coordinator::new(4, WAIT_MAX, 0)
}

fn assigned(notice: Option<Notice>) -> (Vec<TopicPartition>, u64) {
    match notice {
        Some(Notice::Assigned { partitions, generation }) => (partitions, generation),
        other => panic!("{other:?} is no assignment"),
    }
}

fn token(seat: &Seat, generation: u64) -> GroupToken {
    GroupToken { group: seat.group.clone(), member: seat.member.clone(), generation, proof: String::new() }
}

#[test]
fn partitions_change_hands_only_after_the_acknowledgement() {
    let mut groups = coordinator();
    let a = groups.join("g", "a", &[Topic::Raw], 0);
    let (all, first) = assigned(groups.next(&a, 0).unwrap());
    assert_eq!(all, [raw(0), raw(1), raw(2), raw(3)]);
    let b = groups.join("g", "b", &[Topic::Raw], 0);
    assert_eq!(groups.next(&b, 1).unwrap(), None);
    assert_eq!(groups.next(&a, 1).unwrap(), Some(Notice::Revoke(all.clone())));
    assert_eq!(groups.next(&a, 1).unwrap(), None, "told once");
    assert_eq!(groups.next(&b, 1).unwrap(), None);
    groups.admit(&token(&a, first), &all).unwrap();
    groups.acknowledge(&a).unwrap();
    assert!(matches!(groups.admit(&token(&a, first), &all), Err(JournalError::Fenced(_))));
    let (of_a, second) = assigned(groups.next(&a, 1).unwrap());
    let (of_b, also_second) = assigned(groups.next(&b, 1).unwrap());
    assert_eq!((of_a, of_b), (vec![raw(0), raw(1)], vec![raw(2), raw(3)]));
    assert!(second > first && also_second == second);
    assert_eq!(groups.admit(&token(&a, second), &[raw(2)]), Err(JournalError::NotAssigned(raw(2))));
    groups.admit(&token(&b, second), &[raw(2)]).unwrap();
}

#[test]
fn a_member_that_overruns_the_wait_loses_its_partitions_and_comes_back() {
    let mut groups = coordinator();
    let slow = groups.join("g", "slow", &[Topic::Raw], 0);
    let (all, generation) = assigned(groups.next(&slow, 0).unwrap());
    let b = groups.join("g", "b", &[Topic::Raw], 10);
    assert_eq!(groups.deadline("g"), Some(10 + WAIT_MAX));
    assert_eq!(groups.next(&b, 9 + WAIT_MAX).unwrap(), None);
    let (of_b, _) = assigned(groups.next(&b, 10 + WAIT_MAX).unwrap());
    assert_eq!(of_b, all);
    assert!(groups.admit(&token(&slow, generation), &all).is_err());
    assert_eq!(groups.next(&slow, 11 + WAIT_MAX).unwrap(), Some(Notice::Lost(all.clone())));
    assert_eq!(groups.next(&b, 12 + WAIT_MAX).unwrap(), Some(Notice::Revoke(all)));
    groups.acknowledge(&b).unwrap();
    let (of_slow, _) = assigned(groups.next(&slow, 13 + WAIT_MAX).unwrap());
    assert_eq!(of_slow.len(), 2);
    assert_eq!(groups.deadline("g"), None);
}

#[test]
fn a_restart_takes_the_seat_without_disturbing_the_others() {
    let mut groups = coordinator();
    let old = groups.join("g", "a", &[Topic::Raw], 0);
    let b = groups.join("g", "b", &[Topic::Raw], 0);
    let (of_a, first) = assigned(groups.next(&old, 0).unwrap());
    let (_, of_b) = assigned(groups.next(&b, 0).unwrap());
    let new = groups.join("g", "a", &[Topic::Raw], 0);
    assert!(matches!(groups.next(&old, 0), Err(JournalError::Fenced(_))));
    assert!(groups.acknowledge(&old).is_err());
    groups.leave(&old, 0);
    let (inherited, second) = assigned(groups.next(&new, 0).unwrap());
    assert_eq!(inherited, of_a);
    assert!(second > first);
    assert!(groups.admit(&token(&old, first), &of_a).is_err());
    groups.admit(&token(&new, second), &of_a).unwrap();
    assert_eq!(groups.next(&b, 0).unwrap(), None);
    groups.admit(&token(&b, of_b), &[]).unwrap();
}

#[test]
fn a_restart_with_another_subscription_is_a_rebalance() {
    let mut groups = coordinator();
    let a = groups.join("g", "a", &[Topic::Raw], 0);
    assigned(groups.next(&a, 0).unwrap());
    let again = groups.join("g", "a", &[Topic::Raw, Topic::Control], 0);
    let (partitions, _) = assigned(groups.next(&again, 0).unwrap());
    assert_eq!(partitions.len(), 5);
}

#[test]
fn more_members_than_partitions_leave_some_with_nothing() {
    let mut groups = coordinator();
    let seats: Vec<Seat> =
        (0..6).map(|index| groups.join("g", &format!("m{index}"), &[Topic::Raw], 0)).collect();
    let counts: Vec<usize> =
        seats.iter().map(|seat| assigned(groups.next(seat, 0).unwrap()).0.len()).collect();
    assert_eq!(counts, [1, 1, 1, 1, 0, 0]);
    groups.leave(&seats[0], 0);
    for seat in &seats[1..4] {
        assert!(matches!(groups.next(seat, 0).unwrap(), Some(Notice::Revoke(_))));
        groups.acknowledge(seat).unwrap();
    }
    let (of_last_but_one, _) = assigned(groups.next(&seats[4], 0).unwrap());
    assert_eq!(of_last_but_one, [raw(3)]);
}

#[test]
fn generations_start_above_those_of_earlier_openings() {
    let mut groups = Coordinator::new(4, WAIT_MAX, 7 << 32);
    let a = groups.join("g", "a", &[Topic::Raw], 0);
    let (partitions, generation) = assigned(groups.next(&a, 0).unwrap());
    assert!(generation > 7 << 32);
    assert!(groups.admit(&token(&a, 3), &partitions).is_err());
}

#[derive(Clone, Copy, Debug)]
enum Event {
    Join(usize),
    Turn(usize),
    Acknowledge(usize),
    Leave(usize),
    Time(Micros),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        2 => (0..4_usize).prop_map(Event::Join),
        6 => (0..4_usize).prop_map(Event::Turn),
        3 => (0..4_usize).prop_map(Event::Acknowledge),
        1 => (0..4_usize).prop_map(Event::Leave),
        1 => (0..WAIT_MAX).prop_map(Event::Time),
    ]
}

/// What a member believes that it may commit, and under which token.
#[derive(Clone)]
struct Belief {
    seat: Seat,
    held: Option<(Vec<TopicPartition>, GroupToken)>,
    asked: bool,
}

/// Partitions that the coordinator admits commits for, by believed tokens; none twice.
fn admitted(groups: &Coordinator, beliefs: &[Belief]) -> BTreeSet<TopicPartition> {
    let mut owned = BTreeSet::new();
    for (partitions, token) in beliefs.iter().filter_map(|belief| belief.held.as_ref()) {
        if groups.admit(token, partitions).is_ok() {
            for partition in partitions {
                assert!(owned.insert(*partition), "{partition:?} has two owners");
            }
        }
    }
    owned
}

fn apply(groups: &mut Coordinator, beliefs: &mut Vec<Belief>, now: &mut Micros, event: Event) {
    let name = |index: usize| format!("m{index}");
    let newest = |beliefs: &[Belief], index| beliefs.iter().rposition(|of| of.seat.member == name(index));
    match event {
        Event::Join(index) => {
            let seat = groups.join("g", &name(index), &[Topic::Raw, Topic::Aggregates], *now);
            beliefs.push(Belief { seat, held: None, asked: false });
        }
        Event::Turn(index) => {
            let Some(at) = newest(beliefs, index) else { return };
            let belief = &mut beliefs[at];
            match groups.next(&belief.seat, *now) {
                Ok(Some(Notice::Assigned { partitions, generation })) => {
                    belief.held = Some((partitions, token(&belief.seat, generation)));
                }
                Ok(Some(Notice::Revoke(partitions))) => {
                    let (held, token) = belief.held.as_ref().expect("only what is held is revoked");
                    assert_eq!(held, &partitions);
                    groups.admit(token, held).expect("a member commits until it has acknowledged");
                    belief.asked = true;
                }
                Ok(Some(Notice::Lost(_))) => belief.asked = false,
                Ok(None) | Err(_) => {}
            }
        }
        Event::Acknowledge(index) => {
            let Some(at) = newest(beliefs, index) else { return };
            if std::mem::take(&mut beliefs[at].asked) {
                let _ = groups.acknowledge(&beliefs[at].seat);
            }
        }
        Event::Leave(index) => {
            if let Some(at) = newest(beliefs, index) {
                groups.leave(&beliefs[at].seat, *now);
            }
        }
        Event::Time(by) => *now += by,
    }
}

proptest! {
    #[test]
    fn no_partition_ever_has_two_owners_and_a_quiet_group_owns_all(events in prop::collection::vec(event(), 0..80)) {
        let mut groups = coordinator();
        let (mut beliefs, mut now) = (Vec::new(), 0);
        for event in events {
            apply(&mut groups, &mut beliefs, &mut now, event);
            admitted(&groups, &beliefs);
        }
        // Everybody polls and acknowledges: it settles.
        for _ in 0..4 {
            for index in 0..4 {
                apply(&mut groups, &mut beliefs, &mut now, Event::Turn(index));
                apply(&mut groups, &mut beliefs, &mut now, Event::Acknowledge(index));
            }
        }
        let owned = admitted(&groups, &beliefs);
        let expected = if groups.members("g").is_empty() { 0 } else { 8 };
        prop_assert_eq!(owned.len(), expected);
    }
}

//! The group coordinator of the embedded homes: who owns which partition, as a pure state machine.
//!
//! Lives here: static members, eager rebalances, generations, revocation with acknowledgement, fencing. Does not
//! live here: threads, waiting, positions (`consumer`), committed offsets (the homes).
//!
//! Invariants:
//! * A partition is never owned by two members, and changes hands only after its owner has acknowledged the
//!   revocation, left, been replaced by a newer incarnation, or overrun the rebalance wait.
//! * A generation is given to one assignment only: a token admits exactly while its member owns that assignment.
//! * Members with the same subscription own the same partition numbers of every topic.

use crate::port::{GroupToken, JournalError, TopicPartition};
use schemas::Micros;
use schemas::topic::Topic;
use std::collections::BTreeMap;

/// What a member is told next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Give these up and acknowledge; commits are admitted until then.
    Revoke(Vec<TopicPartition>),
    /// These are gone already.
    Lost(Vec<TopicPartition>),
    /// These are owned from now on, all of them.
    Assigned {
        /// The partitions, in topic and partition order.
        partitions: Vec<TopicPartition>,
        /// Generation of the assignment.
        generation: u64,
    },
}

/// A membership: one incarnation of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seat {
    /// Group.
    pub group: String,
    /// Member.
    pub member: String,
    incarnation: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Share {
    partitions: Vec<TopicPartition>,
    generation: u64,
}

#[derive(Clone, Debug)]
enum Phase {
    /// Waits for the next assignment.
    Waiting,
    /// Has an assignment that it does not know of yet.
    Offered(Share),
    Owning(Share),
    /// Asked to give its partitions up.
    Revoking {
        share: Share,
        told: bool,
        deadline: Micros,
    },
    /// Overran the rebalance wait; it takes part again when it next asks.
    Evicted(Share),
}

#[derive(Clone, Debug)]
struct Member {
    incarnation: u64,
    topics: Vec<Topic>,
    phase: Phase,
}

type Group = BTreeMap<String, Member>;

/// Every group of a journal.
#[derive(Clone, Debug)]
pub struct Coordinator {
    partitions: u32,
    rebalance_wait_max_us: Micros,
    groups: BTreeMap<String, Group>,
    issued: u64,
}

impl Coordinator {
    /// A coordinator for topics of so many partitions. A member that has not acknowledged a revocation after
    /// `rebalance_wait_max_us` loses its partitions. Generations are above `generations_used`.
    #[must_use]
    pub const fn new(partitions: u32, rebalance_wait_max_us: Micros, generations_used: u64) -> Self {
        Self { partitions, rebalance_wait_max_us, groups: BTreeMap::new(), issued: generations_used }
    }

    const fn issue(&mut self) -> u64 {
        self.issued += 1;
        self.issued
    }

    /// Joins, or takes over the seat of an older incarnation of the member, whose assignment passes on at once.
    /// Times are monotonic microseconds of any origin.
    pub fn join(&mut self, group: &str, member: &str, topics: &[Topic], now: Micros) -> Seat {
        let incarnation = self.issue();
        let mut topics = topics.to_vec();
        topics.sort_unstable();
        topics.dedup();
        let seat = Seat { group: group.to_owned(), member: member.to_owned(), incarnation };
        let members = self.groups.entry(group.to_owned()).or_default();
        let before = members.insert(member.to_owned(), Member { incarnation, topics, phase: Phase::Waiting });
        let inherited = match before {
            Some(Member { topics, phase: Phase::Offered(share) | Phase::Owning(share), .. })
                if topics == members[member].topics =>
            {
                Some(share.partitions)
            }
            _ => None,
        };
        match inherited {
            Some(partitions) => {
                let share = Share { partitions, generation: self.issue() };
                self.phase_of(&seat).expect("it was just seated").phase = Phase::Offered(share);
            }
            None => self.rebalance(group, now),
        }
        seat
    }

    /// What the member is told next, if anything. A revocation is told once and must be acknowledged.
    ///
    /// # Errors
    /// [`JournalError::Fenced`] when a newer incarnation has the seat.
    pub fn next(&mut self, seat: &Seat, now: Micros) -> Result<Option<Notice>, JournalError> {
        self.expire(&seat.group, now);
        let member = self.phase_of(seat)?;
        match &mut member.phase {
            Phase::Offered(share) => {
                let share = share.clone();
                let Share { partitions, generation } = share.clone();
                member.phase = Phase::Owning(share);
                Ok(Some(Notice::Assigned { partitions, generation }))
            }
            Phase::Revoking { share, told, .. } if !*told => {
                *told = true;
                Ok(Some(Notice::Revoke(share.partitions.clone())))
            }
            Phase::Evicted(share) => {
                let lost = std::mem::take(&mut share.partitions);
                member.phase = Phase::Waiting;
                self.rebalance(&seat.group, now);
                Ok(Some(Notice::Lost(lost)))
            }
            Phase::Waiting | Phase::Owning(_) | Phase::Revoking { .. } => Ok(None),
        }
    }

    /// The member has given up what it was asked for.
    ///
    /// # Errors
    /// [`JournalError::Fenced`] when a newer incarnation has the seat.
    pub fn acknowledge(&mut self, seat: &Seat) -> Result<(), JournalError> {
        let member = self.phase_of(seat)?;
        if matches!(member.phase, Phase::Revoking { .. }) {
            member.phase = Phase::Waiting;
            self.complete(&seat.group);
        }
        Ok(())
    }

    /// Leaves; does nothing when a newer incarnation has the seat.
    pub fn leave(&mut self, seat: &Seat, now: Micros) {
        if self.phase_of(seat).is_ok() {
            if let Some(members) = self.groups.get_mut(&seat.group) {
                members.remove(&seat.member);
            }
            self.rebalance(&seat.group, now);
        }
    }

    /// Whether a commit under the token may be made: the one fence that every commit passes.
    ///
    /// # Errors
    /// [`JournalError::Fenced`] when the token's assignment is not the member's current one,
    /// [`JournalError::NotAssigned`] when it does not hold one of the partitions.
    pub fn admit<'a>(
        &self,
        token: &GroupToken,
        partitions: impl IntoIterator<Item = &'a TopicPartition>,
    ) -> Result<(), JournalError> {
        let member = self.groups.get(&token.group).and_then(|members| members.get(&token.member));
        let share = match member.map(|member| &member.phase) {
            Some(Phase::Owning(share) | Phase::Revoking { share, .. }) => Some(share),
            _ => None,
        };
        let Some(share) = share.filter(|share| share.generation == token.generation) else {
            return Err(JournalError::Fenced(format!(
                "generation {} of {} in {} is over",
                token.generation, token.member, token.group
            )));
        };
        match partitions.into_iter().find(|partition| !share.partitions.contains(partition)) {
            Some(partition) => Err(JournalError::NotAssigned(*partition)),
            None => Ok(()),
        }
    }

    /// When the group's next rebalance wait runs out, if one is running.
    #[must_use]
    pub fn deadline(&self, group: &str) -> Option<Micros> {
        let deadlines = self.groups.get(group)?.values().filter_map(|member| match member.phase {
            Phase::Revoking { deadline, .. } => Some(deadline),
            _ => None,
        });
        deadlines.min()
    }

    /// Members of a group that hold or await partitions, in name order, with what they hold.
    #[must_use]
    pub fn members(&self, group: &str) -> Vec<(String, Vec<TopicPartition>)> {
        let members = self.groups.get(group).into_iter().flatten();
        let held = members.map(|(name, member)| match &member.phase {
            Phase::Offered(share) | Phase::Owning(share) | Phase::Revoking { share, .. } => {
                (name.clone(), share.partitions.clone())
            }
            Phase::Waiting | Phase::Evicted(_) => (name.clone(), Vec::new()),
        });
        held.collect()
    }

    fn phase_of(&mut self, seat: &Seat) -> Result<&mut Member, JournalError> {
        let members = self.groups.get_mut(&seat.group);
        members
            .and_then(|members| members.get_mut(&seat.member))
            .filter(|member| member.incarnation == seat.incarnation)
            .ok_or_else(|| {
                JournalError::Fenced(format!("this {} is no member of {} any more", seat.member, seat.group))
            })
    }

    /// Asks every owner to give its partitions up, and assigns anew once all have.
    fn rebalance(&mut self, group: &str, now: Micros) {
        let deadline = now.saturating_add(self.rebalance_wait_max_us);
        for member in self.groups.get_mut(group).into_iter().flat_map(BTreeMap::values_mut) {
            member.phase = match std::mem::replace(&mut member.phase, Phase::Waiting) {
                Phase::Owning(share) if !share.partitions.is_empty() => {
                    Phase::Revoking { share, told: false, deadline }
                }
                kept @ (Phase::Revoking { .. } | Phase::Evicted(_)) => kept,
                Phase::Waiting | Phase::Offered(_) | Phase::Owning(_) => Phase::Waiting,
            };
        }
        self.complete(group);
    }

    fn expire(&mut self, group: &str, now: Micros) {
        let mut evicted = false;
        for member in self.groups.get_mut(group).into_iter().flat_map(BTreeMap::values_mut) {
            if let Phase::Revoking { share, deadline, .. } = &member.phase
                && *deadline <= now
            {
                member.phase = Phase::Evicted(share.clone());
                evicted = true;
            }
        }
        if evicted {
            self.complete(group);
        }
    }

    fn complete(&mut self, group: &str) {
        let Some(members) = self.groups.get(group) else { return };
        if members.values().any(|member| matches!(member.phase, Phase::Revoking { .. })) {
            return;
        }
        let waiting: Vec<(String, Vec<Topic>)> = members
            .iter()
            .filter(|(_, member)| matches!(member.phase, Phase::Waiting))
            .map(|(name, member)| (name.clone(), member.topics.clone()))
            .collect();
        let generation = self.issue();
        let shares = shares(&waiting, self.partitions);
        let members = self.groups.get_mut(group).expect("it was there a moment ago");
        for ((name, _), partitions) in waiting.into_iter().zip(shares) {
            members.get_mut(&name).expect("nobody left meanwhile").phase =
                Phase::Offered(Share { partitions, generation });
        }
    }
}

/// Range assignment: each topic's partitions in contiguous runs over its subscribers in name order, the first ones
/// one longer when it does not come out even. Kafka's range assignor, for the same co-partitioning.
fn shares(members: &[(String, Vec<Topic>)], partitions: u32) -> Vec<Vec<TopicPartition>> {
    let mut shares = vec![Vec::new(); members.len()];
    for topic in Topic::ALL {
        let subscribers: Vec<usize> =
            (0..members.len()).filter(|index| members[*index].1.contains(&topic)).collect();
        let count = if topic.co_partitioned() { partitions as usize } else { 1 };
        let (each, longer) = (count / subscribers.len().max(1), count % subscribers.len().max(1));
        let mut next = 0;
        for (place, index) in subscribers.into_iter().enumerate() {
            let length = u32::try_from(each + usize::from(place < longer)).expect("a part of a u32");
            shares[index].extend((next..next + length).map(|partition| TopicPartition { topic, partition }));
            next += length;
        }
    }
    shares
}

#[cfg(test)]
mod tests;

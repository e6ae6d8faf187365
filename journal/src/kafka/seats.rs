//! Which tokens are good, as far as this process knows.
//!
//! The broker checks a commit's member and generation, not who owns the partitions: a member that has given its
//! partitions up, and not joined again yet, would still be believed. So a token ends here when its assignment does.

use crate::port::{GroupToken, JournalError};
use crate::wake::locked;
use std::collections::BTreeMap;
use std::sync::Mutex;

/// The seats of this process, by group and member; none: its partitions were given up.
#[derive(Debug, Default)]
pub(super) struct Seats(Mutex<BTreeMap<(String, String), Option<GroupToken>>>);

impl Seats {
    /// A member has partitions under this token.
    pub(super) fn take(&self, token: &GroupToken) {
        let seat = (token.group.clone(), token.member.clone());
        locked(&self.0).insert(seat, Some(token.clone()));
    }

    /// It has them no more; a successor in the same seat keeps its own.
    pub(super) fn vacate(&self, token: &GroupToken) {
        if let Some(seat) = locked(&self.0).get_mut(&(token.group.clone(), token.member.clone()))
            && seat.as_ref() == Some(token)
        {
            *seat = None;
        }
    }

    /// Refuses a token whose assignment is over. Of members elsewhere the broker knows.
    pub(super) fn admit(&self, token: &GroupToken) -> Result<(), JournalError> {
        match locked(&self.0).get(&(token.group.clone(), token.member.clone())) {
            Some(current) if current.as_ref() != Some(token) => Err(JournalError::Fenced(format!(
                "the partitions that {} had in generation {} were given up",
                token.member, token.generation
            ))),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_ends_with_its_assignment_and_not_with_its_successors() {
        let token = |generation| GroupToken {
            group: "group".to_owned(),
            member: "a".to_owned(),
            generation,
            proof: String::new(),
        };
        let seats = Seats::default();
        assert!(seats.admit(&token(1)).is_ok(), "nothing is known of it");
        seats.take(&token(1));
        assert!(seats.admit(&token(1)).is_ok());
        seats.take(&token(2));
        assert!(seats.admit(&token(1)).is_err());
        seats.vacate(&token(1));
        assert!(seats.admit(&token(2)).is_ok());
        seats.vacate(&token(2));
        assert!(seats.admit(&token(2)).is_err());
    }
}

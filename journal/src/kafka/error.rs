//! What a broker's or librdkafka's answer means for the caller.
//!
//! Sorted by what to do next: somebody else has taken over, the world has to be set right by a person, or the same
//! again later. What is in doubt is retried: a broker that restarts says many things.

use super::native::Failure;
use crate::port::JournalError;
use rdkafka::error::RDKafkaErrorCode as Code;

/// Another member or producer has taken over.
pub(super) const fn is_fencing(code: Code) -> bool {
    matches!(
        code,
        Code::IllegalGeneration
            | Code::UnknownMemberId
            | Code::FencedInstanceId
            | Code::RebalanceInProgress
            | Code::ProducerFenced
            | Code::InvalidProducerEpoch
            | Code::Fenced
            | Code::AssignmentLost
            | Code::PollExceeded
    )
}

/// A partition's leader is not where it was, or not known yet.
pub(super) const fn is_moving(code: Code) -> bool {
    matches!(
        code,
        Code::NotLeaderForPartition
            | Code::LeaderNotAvailable
            | Code::UnknownTopicOrPartition
            | Code::UnknownPartition
            | Code::ReplicaNotAvailable
    )
}

/// What a request was about, by the names that access lists know. Empty: not said.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct About<'a> {
    /// What was to be done with topics: `Read`, `Write`, `Describe`.
    pub(super) operation: &'a str,
    /// The topics.
    pub(super) topics: &'a str,
    /// The group.
    pub(super) group: &'a str,
    /// The transactional id.
    pub(super) transactional_id: &'a str,
}

/// What is missing, for who may not do it; none: the failure says nothing of rights.
fn missing_right(code: Code, about: About<'_>) -> Option<String> {
    let or = |name: &str, other: &str| if name.is_empty() { other.to_owned() } else { format!("`{name}`") };
    let lacks = |operation: &str, on: &str, name: String| {
        Some(format!(
            "this login may not do that: it lacks {operation} on the {on} {name} (grant it with kafka-acls)"
        ))
    };
    match code {
        Code::TopicAuthorizationFailed => {
            let operation =
                if about.operation.is_empty() { "Read, Write or Describe" } else { about.operation };
            lacks(operation, "topic", or(about.topics, "of that request"))
        }
        Code::GroupAuthorizationFailed => {
            let operation = if about.operation == "Describe" { "Describe" } else { "Read" };
            lacks(operation, "group", or(about.group, "of that request"))
        }
        Code::TransactionalIdAuthorizationFailed => {
            lacks("Write", "transactional id", or(about.transactional_id, "of that request"))
        }
        Code::ClusterAuthorizationFailed => {
            lacks("Write", "topic", format!("{}, or any other", or(about.topics, "that it writes to")))
        }
        Code::SaslAuthenticationFailed | Code::Authentication => Some(LOGIN_REFUSED.to_owned()),
        _ => None,
    }
}

/// What to look at when the brokers refuse a login.
pub(super) const LOGIN_REFUSED: &str =
    "the brokers refuse this login: see `librdkafka.sasl.username`, `sasl.password` and `sasl.mechanism`";

/// Whether a code says that somebody has no right to ask, whatever is asked.
pub(super) fn is_denial(code: Code) -> bool {
    missing_right(code, About::default()).is_some()
}

/// Sorts a failure; `what` was being done.
pub(super) fn sorted(what: &str, failure: &Failure) -> JournalError {
    sorted_about(what, About::default(), failure)
}

/// The same, where the names of what was asked for are known.
pub(super) fn sorted_about(what: &str, about: About<'_>, failure: &Failure) -> JournalError {
    let Failure { code, text, .. } = failure;
    if is_fencing(*code) {
        return JournalError::Fenced(format!("{what}: {text}"));
    }
    if let Some(missing) = missing_right(*code, about) {
        return JournalError::Denied(format!("{what}: {text}: {missing}"));
    }
    match code {
        Code::MessageSizeTooLarge | Code::InvalidArgument | Code::OffsetMetadataTooLarge => {
            JournalError::Fatal(format!("{what}: {text}"))
        }
        Code::UnsupportedVersion | Code::UnsupportedFeature => JournalError::Fatal(format!(
            "{what}: {text}: the brokers are too old; 2.5 or newer are needed for transactions of groups"
        )),
        _ if failure.fatal => JournalError::Fenced(format!("{what}: {text}")),
        _ => JournalError::Retry(format!("{what}: {text}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::port::Disposition;

    fn failure(code: Code) -> Failure {
        Failure { code, text: "so".to_owned(), fatal: false, retriable: false, abort: false }
    }

    #[test]
    fn sorted_by_what_to_do_next() {
        let next = |code| sorted("committing", &failure(code)).disposition();
        assert_eq!(next(Code::ProducerFenced), Disposition::Rejoin);
        assert_eq!(next(Code::IllegalGeneration), Disposition::Rejoin);
        assert_eq!(next(Code::TopicAuthorizationFailed), Disposition::Fatal);
        assert_eq!(next(Code::NotCoordinator), Disposition::Retry);
        assert_eq!(next(Code::OperationTimedOut), Disposition::Retry);
        assert_eq!(next(Code::UnknownTopicOrPartition), Disposition::Retry);
    }

    #[test]
    fn who_lacks_a_right_is_told_which_one_on_what() {
        let about =
            About { operation: "Write", topics: "x.iot.raw", group: "x.g", transactional_id: "x.g-1" };
        for (code, told) in [
            (Code::TopicAuthorizationFailed, "Write on the topic `x.iot.raw`"),
            (Code::GroupAuthorizationFailed, "Read on the group `x.g`"),
            (Code::TransactionalIdAuthorizationFailed, "Write on the transactional id `x.g-1`"),
            (Code::ClusterAuthorizationFailed, "Write on the topic `x.iot.raw`, or any other"),
            (Code::SaslAuthenticationFailed, "sasl.password"),
        ] {
            let error = sorted_about("committing", about, &failure(code));
            let JournalError::Denied(text) = &error else { panic!("{error:?}") };
            assert!(text.starts_with("committing: so: ") && text.contains(told), "{text}");
            assert!(is_denial(code) && matches!(sorted("x", &failure(code)), JournalError::Denied(_)));
        }
    }
}

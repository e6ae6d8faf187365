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

/// What the principal may not do, and what would allow it.
const fn missing_permission(code: Code) -> Option<&'static str> {
    match code {
        Code::TopicAuthorizationFailed => {
            Some("the principal lacks a permission on a topic (Read, Write or Describe)")
        }
        Code::GroupAuthorizationFailed => Some("the principal may not use the group (Read on the group)"),
        Code::TransactionalIdAuthorizationFailed => {
            Some("the principal may not use the transactional id (Write and Describe on it)")
        }
        Code::ClusterAuthorizationFailed => {
            Some("the principal lacks a permission on the cluster (IdempotentWrite, or Describe)")
        }
        Code::SaslAuthenticationFailed | Code::Authentication => {
            Some("the brokers refuse the credentials: see `librdkafka.sasl.*`")
        }
        _ => None,
    }
}

/// Sorts a failure; `what` was being done.
pub(super) fn sorted(what: &str, failure: &Failure) -> JournalError {
    let Failure { code, text, .. } = failure;
    if is_fencing(*code) {
        return JournalError::Fenced(format!("{what}: {text}"));
    }
    if let Some(permission) = missing_permission(*code) {
        return JournalError::Fatal(format!("{what}: {text}: {permission}"));
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
        let text = sorted("reading iot.raw", &failure(Code::TopicAuthorizationFailed)).to_string();
        assert!(text.contains("reading iot.raw") && text.contains("Read"), "{text}");
    }
}

//! What the driver's errors mean for the caller, in a sentence with the cluster's name and the way out.
//!
//! Overload and passing faults are to be tried again; what no waiting cures is fatal: a statement that the cluster
//! does not take, a right that the role lacks.

use crate::port::StoreError;
use scylla::errors::{
    ConnectionError, ConnectionPoolError, ConnectionSetupRequestErrorKind, DbError, ExecutionError,
    MetadataError, NewSessionError, PrepareError, RequestAttemptError,
};

/// What helps against a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// Asking for less at a time.
    Overload,
    /// Waiting.
    Passing,
    /// Neither.
    Fatal,
}

/// Sorts an error of a request.
pub(super) fn class(error: &ExecutionError) -> Class {
    match error {
        ExecutionError::RequestTimeout(_) => Class::Overload,
        ExecutionError::LastAttemptError(attempt) => class_of_attempt(attempt),
        ExecutionError::PrepareError(error) => class_of_prepare(error),
        ExecutionError::BadQuery(_) => Class::Fatal,
        // No node, no connection, no agreement about the schema: for now.
        _ => Class::Passing,
    }
}

/// Sorts an error of preparing a statement.
pub(super) fn class_of_prepare(error: &PrepareError) -> Class {
    match error {
        PrepareError::AllAttemptsFailed { first_attempt } => class_of_attempt(first_attempt),
        _ => Class::Passing,
    }
}

fn class_of_attempt(error: &RequestAttemptError) -> Class {
    match error {
        RequestAttemptError::DbError(error, _) => match error {
            DbError::Overloaded
            | DbError::WriteTimeout { .. }
            | DbError::ReadTimeout { .. }
            | DbError::RateLimitReached { .. } => Class::Overload,
            DbError::SyntaxError
            | DbError::Invalid
            | DbError::Unauthorized
            | DbError::AuthenticationError
            | DbError::ConfigError
            | DbError::AlreadyExists { .. }
            | DbError::FunctionFailure { .. }
            | DbError::ProtocolError => Class::Fatal,
            // Unavailable, bootstrapping, failed replicas, a full disk, and whatever has no name yet.
            _ => Class::Passing,
        },
        RequestAttemptError::UnableToAllocStreamId => Class::Overload,
        RequestAttemptError::BrokenConnectionError(_) => Class::Passing,
        // What was sent or answered cannot be read: one of the two programs is wrong.
        _ => Class::Fatal,
    }
}

/// An error of a request as the port's.
pub(super) fn of(place: &str, error: &ExecutionError) -> StoreError {
    if is_unauthorized(error) { denied(place, error) } else { sorted(place, class(error), error) }
}

/// An error of preparing a statement as the port's.
pub(super) fn of_prepare(place: &str, error: &PrepareError) -> StoreError {
    let unauthorized = matches!(
        error,
        PrepareError::AllAttemptsFailed {
            first_attempt: RequestAttemptError::DbError(DbError::Unauthorized, _)
        }
    );
    if unauthorized { denied(place, error) } else { sorted(place, class_of_prepare(error), error) }
}

/// The cluster names the right and the table; what it does not say is how to give it. A place ends with the keyspace.
fn denied(place: &str, error: &dyn std::fmt::Display) -> StoreError {
    let keyspace = place.rsplit('/').next().unwrap_or_default();
    StoreError::Denied(format!(
        "{place}: {error}. Whoever reads rows needs `GRANT SELECT ON KEYSPACE {keyspace}`, the sink `GRANT MODIFY` too"
    ))
}

fn sorted(place: &str, class: Class, error: &dyn std::fmt::Display) -> StoreError {
    match class {
        Class::Overload => StoreError::Retry(format!("{place} is overloaded: {error}")),
        Class::Passing => StoreError::Retry(format!("{place}: {error}")),
        Class::Fatal => StoreError::Fatal(format!("{place}: {error}")),
    }
}

/// Whether it says that the role lacks a right.
pub(super) fn is_unauthorized(error: &ExecutionError) -> bool {
    matches!(error, ExecutionError::LastAttemptError(RequestAttemptError::DbError(DbError::Unauthorized, _)))
}

/// Whether the cluster refuses such a statement whoever asks.
pub(super) fn is_invalid(error: &ExecutionError) -> bool {
    matches!(error, ExecutionError::LastAttemptError(RequestAttemptError::DbError(DbError::Invalid, _)))
}

/// Whether it says that there are no conditional statements here: tables with tablets, in some versions of Scylla.
pub(super) fn knows_no_conditions(error: &ExecutionError) -> bool {
    let text = error.to_string().to_ascii_lowercase();
    is_invalid(error) && ["lwt", "tablets", "conditional"].iter().any(|word| text.contains(word))
}

/// Whether what was to be created is there.
pub(super) fn is_already_there(error: &ExecutionError) -> bool {
    matches!(
        error,
        ExecutionError::LastAttemptError(RequestAttemptError::DbError(DbError::AlreadyExists { .. }, _))
    )
}

/// Why no session could be made.
pub(super) fn of_session(place: &str, user: Option<&str>, error: &NewSessionError) -> StoreError {
    let NewSessionError::MetadataError(MetadataError::ConnectionPoolError(ConnectionPoolError::Broken {
        last_connection_error,
    })) = error
    else {
        return match error {
            NewSessionError::IllegalConfig(_) | NewSessionError::EmptyKnownNodesList => {
                StoreError::Fatal(format!("{place}: {error}"))
            }
            other => StoreError::Retry(format!("{place} cannot be reached: {other}")),
        };
    };
    let ConnectionError::ConnectionSetupRequestError(setup) = last_connection_error else {
        return StoreError::Retry(format!("{place} cannot be reached: {last_connection_error}"));
    };
    match (setup.get_error(), user) {
        (ConnectionSetupRequestErrorKind::MissingAuthentication, _) => StoreError::Denied(format!(
            "{place} asks for a login: name a role with `store.user` and `store.password`"
        )),
        (ConnectionSetupRequestErrorKind::DbError(DbError::AuthenticationError, said), Some(user)) => {
            StoreError::Denied(format!("{place} refuses the role `{user}` or its password ({said})"))
        }
        (ConnectionSetupRequestErrorKind::DbError(DbError::ProtocolError, said), _) => {
            StoreError::Fatal(format!("{place} speaks another version of the protocol ({said})"))
        }
        (other, _) => StoreError::Retry(format!("{place} cannot be reached: {other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use scylla::errors::WriteType;
    use scylla::statement::Consistency;
    use std::time::Duration;

    #[test]
    fn faults_are_sorted_by_what_helps() {
        let answered = |error: DbError| {
            ExecutionError::LastAttemptError(RequestAttemptError::DbError(error, "said so".to_owned()))
        };
        let late = DbError::WriteTimeout {
            consistency: Consistency::LocalQuorum,
            received: 1,
            required: 2,
            write_type: WriteType::Simple,
        };
        let few = DbError::Unavailable { consistency: Consistency::LocalQuorum, required: 2, alive: 1 };
        for (error, expected) in [
            (answered(late), Class::Overload),
            (answered(DbError::Overloaded), Class::Overload),
            (ExecutionError::RequestTimeout(Duration::from_secs(1)), Class::Overload),
            (answered(few), Class::Passing),
            (answered(DbError::ServerError), Class::Passing),
            (answered(DbError::Other(0x7777)), Class::Passing),
            (ExecutionError::EmptyPlan, Class::Passing),
            (answered(DbError::Unauthorized), Class::Fatal),
            (answered(DbError::Invalid), Class::Fatal),
        ] {
            assert_eq!(class(&error), expected, "{error}");
            let text = match of("a:1/k", &error) {
                StoreError::Retry(text) if expected != Class::Fatal => text,
                StoreError::Fatal(text) | StoreError::Denied(text) if expected == Class::Fatal => text,
                other => panic!("{other:?}"),
            };
            assert!(text.starts_with("a:1/k"), "{text}");
        }
    }
}

//! Exit codes, which scripts rely on.

use std::process::ExitCode;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Done.
    Done,
    /// The answer is no: books do not balance, schema incompatible, instance not ready.
    Negative,
    /// Stopped by a signal before it was done.
    Interrupted,
}

/// The command was used wrongly: a bad flag or configuration.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Usage(pub(crate) String);

/// The process's exit code: 0 done, 1 failed, 2 used wrongly, 3 negative, 130 interrupted.
pub(crate) fn code(result: &anyhow::Result<Outcome>) -> ExitCode {
    ExitCode::from(match result {
        Ok(Outcome::Done) => 0,
        Ok(Outcome::Negative) => 3,
        Ok(Outcome::Interrupted) => 130,
        Err(error) if error.downcast_ref::<Usage>().is_some() => 2,
        Err(_) => 1,
    })
}

//! `compile-model`: a service, started again by itself, compiles one component from its standard input to its standard
//! output, within caps that it takes upon itself (`scoring_host::compiling` is the other side).

use crate::cli::CompileArgs;
use crate::exit::Outcome;
use anyhow::Result;
use scoring::{ChildError, CompileOrder, compile_piped};

/// Runs the command. Exit code 3 says that the component is none; standard error says why.
///
/// # Errors
/// When it could not do its work for another reason.
pub(crate) fn run(args: CompileArgs) -> Result<Outcome> {
    let CompileArgs { stack_bytes, memory_bytes, seconds } = args;
    let order = CompileOrder { stack_bytes, memory_bytes, seconds };
    match compile_piped(order, std::io::stdin().lock(), std::io::stdout().lock()) {
        Ok(()) => Ok(Outcome::Done),
        Err(why @ ChildError::Refused(_)) => {
            eprintln!("{why}");
            Ok(Outcome::Negative)
        }
        Err(why) => Err(why.into()),
    }
}

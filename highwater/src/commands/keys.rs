//! `keys`: a new API key, and the line that goes into the configuration.

use crate::cli::KeysAction;
use crate::exit::{Outcome, Usage};
use anyhow::{Context, Result};

/// Runs the command.
///
/// # Errors
/// When the role does not exist or the system has no randomness.
pub(crate) fn run(action: &KeysAction) -> Result<Outcome> {
    let KeysAction::New { role } = action;
    if !["ingest", "read", "admin"].contains(&role.as_str()) {
        return Err(Usage(format!("--role: `{role}` is not ingest, read or admin")).into());
    }
    let generated = chassis::auth::generate().context("asking the system for randomness")?;
    println!("# The key, shown once; send it as `Authorization: Bearer KEY`:");
    println!("{}", generated.key.expose());
    println!("\n# For the configuration file:");
    println!("[[auth.key]]\nname = \"{role}-1\"\nroles = [\"{role}\"]\nhash = \"{}\"", generated.hash);
    Ok(Outcome::Done)
}

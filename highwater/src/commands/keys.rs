//! `keys`: a new API key, and the line that goes into the configuration.

use crate::cli::KeysAction;
use crate::exit::{Outcome, Usage};
use crate::output::out;
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
    out!("# The key, shown once; send it as `Authorization: Bearer KEY`:");
    out!("{}", generated.key.expose());
    out!("\n# For the configuration file:");
    out!("[[auth.key]]\nname = \"{role}-1\"\nroles = [\"{role}\"]\nhash = \"{}\"", generated.hash);
    Ok(Outcome::Done)
}

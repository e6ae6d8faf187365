//! `store`: keyspace and tables of a cluster.

use crate::cli::{DeployArgs, StoreAction};
use crate::config::store::StoreAt;
use crate::config::{Base, Settings};
use crate::exit::Outcome;
use crate::output::out;
use anyhow::{Result, bail};
use serde_json::json;

/// Runs the command.
///
/// # Errors
/// When the cluster does not answer in time, or refuses.
pub(crate) async fn run(action: StoreAction) -> Result<Outcome> {
    let StoreAction::Create(args) = action;
    create(args)
}

fn create(args: DeployArgs) -> Result<Outcome> {
    let settings = Settings::load(&args.config, Base::Run)?;
    let at = &settings.store.at;
    if let StoreAt::Sqlite(_) = at {
        if args.json {
            out!("{}", json!({ "store": at.to_string(), "done": "nothing" }));
        } else {
            out!("nothing to do: {at} makes its tables by itself");
        }
        return Ok(Outcome::Done);
    }
    bail!("{at}: this build has no CQL store")
}

//! `store`: keyspace and tables of a cluster.

use crate::cli::StoreAction;
use crate::config::store::StoreAt;
use crate::config::{Base, Settings};
use crate::exit::Outcome;
use crate::output::out;
use anyhow::{Context, Result, bail};
use chassis::config::format_duration;
use serde_json::json;
use std::time::{Duration, Instant};
use store::port::StoreError;

/// Between two attempts to reach a node.
const AGAIN_EVERY: Duration = Duration::from_secs(1);

/// Runs the command.
///
/// # Errors
/// When the cluster does not answer in time, or refuses.
pub(crate) async fn run(action: StoreAction) -> Result<Outcome> {
    let StoreAction::Create(args) = action;
    let settings = Settings::load(&args.config, Base::Run)?;
    let at = &settings.store.at;
    let file = matches!(at, StoreAt::Sqlite(_));
    if !file {
        make(&settings).await?;
    }
    if args.json {
        out!("{}", json!({ "store": at.to_string(), "made": !file }));
    } else if file {
        out!("nothing to do: {at} makes its tables by itself");
    } else {
        out!("{at} has its tables");
    }
    Ok(Outcome::Done)
}

async fn make(settings: &Settings) -> Result<()> {
    let config = settings.store.cluster()?;
    let deadline = Instant::now() + settings.admin.start_patience;
    loop {
        let config = config.clone();
        let making = tokio::task::spawn_blocking(move || store::cql::migrate(config));
        match making.await.context("making the tables")? {
            Ok(()) => return Ok(()),
            Err(StoreError::Retry(why)) if Instant::now() < deadline => eprintln!("{why}; trying again"),
            Err(StoreError::Retry(why)) => {
                let patience = format_duration(settings.admin.start_patience);
                bail!("{why} (tried for {patience}, `admin.start-patience`)");
            }
            Err(why) => return Err(why.into()),
        }
        tokio::time::sleep(AGAIN_EVERY).await;
    }
}

//! `run` and the single services: parts of the pipeline until a signal.

use crate::cli::{ProcessArgs, RunArgs, ServiceArgs, UntilEndArgs};
use crate::config::{Base, Settings};
use crate::exit::Outcome;
use crate::home::{Home, Parts};
use anyhow::Result;

/// `run`.
///
/// # Errors
/// When a part cannot start, or fails.
pub(crate) async fn run(args: RunArgs) -> Result<Outcome> {
    let settings = Settings::load(&args.config, Base::Run)?;
    serve(settings, Parts { apply: args.apply, ..Parts::all("highwater") }).await
}

/// `ingest`.
///
/// # Errors
/// As [`run`].
pub(crate) async fn ingest(args: ServiceArgs) -> Result<Outcome> {
    let settings = Settings::load(&args.config, Base::Run)?;
    serve(settings, Parts { ingest: true, ..Parts::none("ingest") }).await
}

/// `process`.
///
/// # Errors
/// As [`run`].
pub(crate) async fn process(args: ProcessArgs) -> Result<Outcome> {
    let settings = Settings::load(&args.config, Base::Run)?;
    let parts = Parts {
        process: true,
        apply: args.apply,
        until_end: args.until_end,
        close: args.close,
        ..Parts::none("process")
    };
    serve(settings, parts).await
}

/// `sink`.
///
/// # Errors
/// As [`run`].
pub(crate) async fn sink(args: UntilEndArgs) -> Result<Outcome> {
    let settings = Settings::load(&args.config, Base::Run)?;
    serve(settings, Parts { sink: true, until_end: args.until_end, ..Parts::none("sink") }).await
}

/// `dashboard`.
///
/// # Errors
/// As [`run`].
pub(crate) async fn dashboard(args: ServiceArgs) -> Result<Outcome> {
    let settings = Settings::load(&args.config, Base::Run)?;
    serve(settings, Parts { dashboard: true, ..Parts::none("dashboard") }).await
}

async fn serve(settings: Settings, parts: Parts) -> Result<Outcome> {
    let home = Home::start(settings, parts).await?;
    let addresses = [("ingest", home.ingest()), ("page", home.dashboard()), ("admin", Some(home.admin()))];
    for (what, address) in addresses {
        if let Some(address) = address {
            tracing::info!("{what} on http://{address}");
        }
    }
    home.until_signal();
    home.run_until_stopped().await?;
    Ok(Outcome::Done)
}

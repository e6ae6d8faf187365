//! `run` and the single services: parts of the pipeline until a signal.

use crate::cli::{ProcessArgs, RunArgs, ServiceArgs, UntilEndArgs};
use crate::config::{Base, Settings};
use crate::exit::Outcome;
use crate::home::{Home, Parts, Stopped};
use crate::output::out;
use anyhow::Result;
use chassis::shutdown::Phase;
use std::sync::Arc;

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
    let parts = Parts {
        process: true,
        apply: args.apply,
        until_end: args.until_end,
        close: args.close,
        ..Parts::none("process")
    };
    serve(Settings::load(&args.config, base(args.until_end))?, parts).await
}

/// `sink`.
///
/// # Errors
/// As [`run`].
pub(crate) async fn sink(args: UntilEndArgs) -> Result<Outcome> {
    let parts = Parts { sink: true, until_end: args.until_end, ..Parts::none("sink") };
    serve(Settings::load(&args.config, base(args.until_end))?, parts).await
}

const fn base(until_end: bool) -> Base {
    if until_end { Base::Job } else { Base::Run }
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
    let mut home = match Home::start(settings, Parts { signals: true, ..parts }).await {
        Err(why) if why.is::<Stopped>() => return Ok(Outcome::Done),
        started => started?,
    };
    let addresses = [("ingest", home.ingest()), ("page", home.dashboard()), ("admin", Some(home.admin()))];
    for (what, address) in addresses {
        if let Some(address) = address {
            tracing::info!("{what} on http://{address}");
        }
    }
    let (live, shutdown) = (Arc::clone(home.live()), home.shutdown().clone());
    let hold = home.last_look();
    let stopped = home.run_until_stopped();
    if !parts.until_end {
        stopped.await?;
        return Ok(Outcome::Done);
    }
    // Everything is committed, and the journal still answers.
    let last_look = async {
        shutdown.reached(Phase::Close).await;
        let books = live.committed_books();
        drop(hold);
        books
    };
    let (books, stopped) = tokio::join!(last_look, stopped);
    stopped?;
    let books = books?;
    out!("{books}");
    if shutdown.reason().is_some_and(|reason| reason.starts_with("SIG")) {
        return Ok(Outcome::Interrupted);
    }
    Ok(if books.balanced { Outcome::Done } else { Outcome::Negative })
}

//! One module a command, or a family of them.

mod ask;
pub(crate) mod compile;
mod config;
mod dead_letters;
mod demo;
mod import;
mod keys;
mod loadgen;
mod model;
mod run;
mod schema;
mod store;
mod topics;

use crate::cli::Command;
use crate::exit::Outcome;
use anyhow::Result;

/// Runs a command.
///
/// # Errors
/// What went wrong, in words for the user.
pub(crate) async fn run(command: Command) -> Result<Outcome> {
    match command {
        Command::Demo(args) => demo::run(args).await,
        Command::Run(args) => run::run(args).await,
        Command::Ingest(args) => run::ingest(args).await,
        Command::Process(args) => run::process(args).await,
        Command::Sink(args) => run::sink(args).await,
        Command::Dashboard(args) => run::dashboard(args).await,
        Command::Import(args) => import::run(args).await,
        Command::Lag(args) => ask::lag(args).await,
        Command::Books(args) => ask::books(args).await,
        Command::Partitions { action } => ask::partitions(action).await,
        Command::Devices { action } => ask::devices(action).await,
        Command::DeadLetters { action } => dead_letters::run(action).await,
        Command::Config { action } => config::run(action).await,
        Command::Health(target) => ask::health(target).await,
        Command::Loadgen(args) => loadgen::run(args).await,
        Command::Schema { action } => schema::run(action).await,
        Command::Model { action } => model::run(action).await,
        Command::CompileModel(args) => compile::run(args),
        Command::Topics { action } => topics::run(action).await,
        Command::Store { action } => store::run(action).await,
        Command::Keys { action } => keys::run(&action),
    }
}

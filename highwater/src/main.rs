//! The binary: parse, run one command, exit with its code. Everything else is a module's.

mod cli;
mod client;
mod commands;
mod config;
mod exit;
mod home;
mod import;
mod interrupt;
mod output;
mod progress;
#[cfg(test)]
mod reference;
mod table;
mod telemetry;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    if let cli::Command::CompileModel(args) = cli.command {
        // One thread, and no more memory than compiling takes.
        let result = commands::compile::run(args);
        return ended(&result);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("highwater: no runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(commands::run(cli.command));
    ended(&result)
}

fn ended(result: &anyhow::Result<exit::Outcome>) -> ExitCode {
    if let Err(error) = result {
        eprintln!("highwater: {error:#}");
    }
    exit::code(result)
}

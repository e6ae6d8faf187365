//! Tasks of this repository that need more than a shell line: `cargo xtask arch`, `cargo xtask plugins [--check]`.

mod arch;
mod plugins;

use std::process::ExitCode;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        // Without the backtrace that `anyhow` would print: what failed has been said by name.
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["arch"] => arch::check(),
        ["plugins"] => plugins::run(false),
        ["plugins", "--check"] => plugins::run(true),
        _ => anyhow::bail!("usage: cargo xtask arch | plugins [--check]"),
    }
}

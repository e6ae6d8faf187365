//! Tasks of this repository that need more than a shell line: `cargo xtask arch`, `cargo xtask plugins [--check]`.

mod arch;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["arch"] => arch::check(),
        _ => anyhow::bail!("usage: cargo xtask arch | plugins [--check]"),
    }
}

//! `cargo xtask plugins [--check]`: builds the guests of `scoring/plugins` and wraps them as components.
//!
//! The prebuilt files are committed, so that nobody needs the WebAssembly target to build Highwater; `--check` proves
//! that they come from the sources beside them. Hence the bytes must not depend on where the checkout, the registry
//! or the toolchain lie: paths are mapped away, the compiler is the pinned one, and the lock file is obeyed.

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const TARGET: &str = "wasm32-unknown-unknown";

/// Builds all guests; `check` compares with the committed files instead of replacing them.
pub(crate) fn run(check: bool) -> Result<()> {
    let root = crate::arch::root()?;
    let plugins = root.join("scoring/plugins");
    let prebuilt = plugins.join("prebuilt");
    let guests = guests(&plugins)?;
    let built = build(&root, &plugins, &guests)?;
    let mut differences = Vec::new();
    for guest in &guests {
        let module =
            fs::read(built.join(format!("{guest}.wasm"))).with_context(|| format!("reading {guest}"))?;
        let component = wit_component::ComponentEncoder::default()
            .validate(true)
            .module(&module)
            .and_then(|mut encoder| encoder.encode())
            .with_context(|| format!("wrapping {guest} as a component"))?;
        let path = prebuilt.join(format!("{guest}.wasm"));
        println!("{guest}: {} bytes, sha256 {}", component.len(), digest(&component));
        if !check {
            fs::create_dir_all(&prebuilt)?;
            fs::write(&path, &component)?;
        } else if let Some(difference) = difference(&path, &component) {
            differences.push(difference);
        }
    }
    ensure!(
        differences.is_empty(),
        "prebuilt guests and their sources disagree; run `cargo xtask plugins` and commit the result\n{}",
        differences.join("\n")
    );
    Ok(())
}

fn difference(path: &Path, built: &[u8]) -> Option<String> {
    let name = path.display();
    match fs::read(path) {
        Ok(committed) if committed == built => None,
        Ok(committed) => Some(format!(
            "  {name}: committed {} bytes with sha256 {}, built {} bytes with sha256 {}",
            committed.len(),
            digest(&committed),
            built.len(),
            digest(built)
        )),
        Err(error) => Some(format!("  {name}: {error}")),
    }
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Packages of the workspace that are made to be loaded.
fn guests(plugins: &Path) -> Result<Vec<String>> {
    let output = Command::new("cargo")
        .current_dir(plugins)
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .output()
        .context("starting cargo")?;
    let metadata: Value = serde_json::from_slice(&output.stdout).context("reading `cargo metadata`")?;
    let packages = metadata["packages"].as_array().context("packages")?;
    let is_guest = |package: &&Value| {
        let targets = package["targets"].as_array().into_iter().flatten();
        targets.flat_map(|target| target["crate_types"].as_array()).flatten().any(|kind| kind == "cdylib")
    };
    let names = packages.iter().filter(is_guest).filter_map(|package| package["name"].as_str());
    Ok(names.map(str::to_owned).collect())
}

/// Compiles the guests; the directory with the modules.
fn build(root: &Path, plugins: &Path, guests: &[String]) -> Result<PathBuf> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let target = target.join("plugins");
    let mut cargo = Command::new("cargo");
    cargo.current_dir(plugins).args(["build", "--release", "--locked", "--target", TARGET]);
    for guest in guests {
        cargo.args(["--package", guest]);
    }
    // What the caller's environment says about flags and profiles must not reach the bytes.
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name == "RUSTFLAGS" || name.starts_with("CARGO_PROFILE_") || name.ends_with("RUSTC_WRAPPER") {
            cargo.env_remove(name);
        }
    }
    let flags = remappings(plugins)?.join("\u{1f}");
    let status = cargo
        .env("CARGO_TARGET_DIR", &target)
        .env("CARGO_ENCODED_RUSTFLAGS", flags)
        .status()
        .context("starting cargo")?;
    ensure!(status.success(), "the guests do not build; is the target there? `rustup target add {TARGET}`");
    Ok(target.join(TARGET).join("release"))
}

/// Flags that give every source file a name that is the same on every machine.
fn remappings(plugins: &Path) -> Result<Vec<String>> {
    let version = rustc(plugins, &["-vV"])?;
    let commit =
        version.lines().find_map(|line| line.strip_prefix("commit-hash: ")).context("rustc's commit")?;
    let sysroot = rustc(plugins, &["--print", "sysroot"])?;
    let mut flags = Vec::new();
    let mut map = |from: &Path, to: &str| flags.push(format!("--remap-path-prefix={}={to}", from.display()));
    map(plugins, "/plugins");
    map(&Path::new(sysroot.trim()).join("lib/rustlib/src/rust"), &format!("/rustc/{commit}"));
    let registry = cargo_home()?.join("registry/src");
    if let Ok(entries) = fs::read_dir(&registry) {
        for entry in entries {
            map(&entry?.path(), "/registry");
        }
    }
    Ok(flags)
}

fn cargo_home() -> Result<PathBuf> {
    match std::env::var_os("CARGO_HOME") {
        Some(home) => Ok(PathBuf::from(home)),
        None => Ok(std::env::home_dir().context("neither CARGO_HOME nor a home directory")?.join(".cargo")),
    }
}

fn rustc(plugins: &Path, arguments: &[&str]) -> Result<String> {
    let output =
        Command::new("rustc").current_dir(plugins).args(arguments).output().context("starting rustc")?;
    if !output.status.success() {
        bail!("rustc {arguments:?} failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8(output.stdout)?)
}

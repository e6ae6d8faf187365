//! The architecture check: who may depend on whom, who may name which outside crate, what a crate may not contain.
//!
//! Rules are the tables below, in one place. Sizes are reported, and only the cap is enforced.

use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Which of our crates each of our crates may use. Arrows point down; services never use each other.
const MAY_USE: [(&str, &[&str]); 17] = [
    ("schemas", &[]),
    ("windowing", &[]),
    ("scoring-host", &[]),
    ("chassis", &[]),
    ("journal", &["schemas"]),
    ("store", &["schemas"]),
    ("scoring", &["schemas", "scoring-host"]),
    ("lag", &["schemas", "journal"]),
    ("ingest", &["schemas", "chassis", "journal"]),
    ("processor", &["schemas", "chassis", "journal", "windowing", "scoring", "lag"]),
    ("sink", &["schemas", "chassis", "journal", "store"]),
    ("dashboard", &["schemas", "chassis", "journal", "store", "lag"]),
    ("loadgen", &["schemas"]),
    (
        "highwater",
        &[
            "schemas",
            "chassis",
            "journal",
            "store",
            "scoring",
            "lag",
            "ingest",
            "processor",
            "sink",
            "dashboard",
            "loadgen",
        ],
    ),
    // The ledger folds a log anew, and is held against the rows that were stored.
    ("e2e", &["schemas", "journal", "processor", "scoring", "store", "loadgen"]),
    (
        "bench",
        &[
            "schemas",
            "chassis",
            "journal",
            "store",
            "windowing",
            "scoring",
            "ingest",
            "processor",
            "sink",
            "loadgen",
        ],
    ),
    ("xtask", &[]),
];

/// Outside crates that only one of ours may name.
const ONLY_IN: [(&str, &[&str]); 8] = [
    ("rdkafka", &["journal"]),
    ("scylla", &["store"]),
    ("rusqlite", &["journal", "store"]),
    ("wasmtime", &["scoring-host"]),
    ("rustix", &["scoring-host"]),
    ("minisign-verify", &["scoring"]),
    ("apache-avro", &["schemas"]),
    ("schema_registry_converter", &["schemas"]),
];

/// The pure cores name nothing but these.
const PURE: [(&str, &[&str]); 1] = [("windowing", &["thiserror", "hashbrown", "foldhash", "smallvec"])];

/// Text that must not stand under a path, and what to use instead.
const BANNED: [(&str, &str, &str); 9] = [
    ("processor/windowing/src", "SystemTime", "receipt times come with the records"),
    ("processor/windowing/src", "Instant::", "receipt times come with the records"),
    ("processor/src/step", "SystemTime", "receipt times come with the records"),
    ("processor/src/step", "Instant::", "receipt times come with the records"),
    ("processor/src/state", "SystemTime", "receipt times come with the records"),
    ("processor/src/step", "std::collections::HashMap", "a BTreeMap, or hashbrown for lookup only"),
    ("processor/windowing/src", "std::collections::HashMap", "a BTreeMap, or hashbrown for lookup only"),
    ("processor/windowing/src", "async ", "the core is synchronous"),
    ("ingest/src", "SystemTime::now", "chassis::clock"),
];

const FILE_LINES_MAX: usize = 600;
const FUNCTION_LINES_REPORT: usize = 70;

/// Checks everything and prints the size report; fails with every violation listed.
///
/// # Errors
/// The violations, or that `cargo metadata` could not be read.
pub(crate) fn check() -> Result<()> {
    let root = root()?;
    let mut faults = Vec::new();
    dependencies(&root, &mut faults)?;
    let files = sources(&root)?;
    for (path, text) in &files {
        banned(path, text, &mut faults);
    }
    sizes(&files, &mut faults);
    documents(&root, &mut faults)?;
    if faults.is_empty() {
        return Ok(());
    }
    for fault in &faults {
        eprintln!("arch: {fault}");
    }
    bail!("{} violations of the architecture", faults.len())
}

/// The checkout.
///
/// # Errors
/// When cargo did not start this.
pub(crate) fn root() -> Result<PathBuf> {
    // As cargo says when it runs this: one target directory may serve several checkouts, and this may be built by another.
    let manifest = std::env::var_os("CARGO_MANIFEST_DIR").context("run it by `cargo xtask`")?;
    Ok(Path::new(&manifest).parent().context("xtask lies in the workspace")?.to_path_buf())
}

fn dependencies(root: &Path, faults: &mut Vec<String>) -> Result<()> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version", "1", "--offline"])
        .current_dir(root)
        .output()?;
    let metadata: Value = serde_json::from_slice(&output.stdout).context("reading `cargo metadata`")?;
    let may_use: BTreeMap<_, _> = MAY_USE.into_iter().collect();
    for package in metadata["packages"].as_array().context("packages")? {
        let name = package["name"].as_str().unwrap_or_default();
        let Some(allowed) = may_use.get(name) else {
            faults.push(format!("{name} is not in the table of crates (xtask/src/arch.rs)"));
            continue;
        };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let on = dependency["name"].as_str().unwrap_or_default();
            let for_tests = dependency["kind"].as_str() == Some("dev");
            if may_use.contains_key(on) && !allowed.contains(&on) && !for_tests {
                faults.push(format!("{name} may not use {on}"));
            }
            if let Some((_, only)) = ONLY_IN.iter().find(|(outside, _)| *outside == on)
                && !only.contains(&name)
            {
                faults.push(format!("{name} names {on}: only {} may", only.join(", ")));
            }
            if let Some((_, pure)) = PURE.iter().find(|(core, _)| *core == name)
                && !pure.contains(&on)
                && !for_tests
            {
                faults.push(format!("{name} is pure and may not use {on}"));
            }
        }
    }
    Ok(())
}

fn sources(root: &Path) -> Result<Vec<(String, String)>> {
    let output = Command::new("git").args(["ls-files", "*.rs"]).current_dir(root).output()?;
    let listed = String::from_utf8(output.stdout).context("file names")?;
    let mut files = Vec::new();
    for path in listed.lines() {
        if let Ok(text) = std::fs::read_to_string(root.join(path)) {
            files.push((path.to_owned(), text));
        }
    }
    Ok(files)
}

fn banned(path: &str, text: &str, faults: &mut Vec<String>) {
    for (under, word, instead) in BANNED {
        if path.starts_with(under) && !path.contains("tests") {
            for (number, line) in text.lines().enumerate() {
                if line.contains(word) && !line.trim_start().starts_with("//") {
                    faults.push(format!("{path}:{}: `{word}`: {instead}", number + 1));
                }
            }
        }
    }
    let in_tests = path.starts_with("tests/") || path.contains("/tests/") || path.ends_with("tests.rs");
    if in_tests && (text.contains("thread::sleep(") || text.contains("time::sleep(")) {
        faults.push(format!("{path}: a sleep in a test: wait for a bounded predicate"));
    }
    if !text.starts_with("//!") {
        faults.push(format!("{path}: opens without saying what lives here (`//!`)"));
    }
    for name in ["utils.rs", "common.rs", "helpers.rs", "manager.rs", "mod.rs"] {
        if path.rsplit('/').next() == Some(name) {
            faults.push(format!("{path}: a file is named after its one job"));
        }
    }
}

fn sizes(files: &[(String, String)], faults: &mut Vec<String>) {
    let mut lines: Vec<(usize, &str)> =
        files.iter().map(|(path, text)| (text.lines().count(), path.as_str())).collect();
    lines.sort_unstable();
    for (count, path) in &lines {
        if *count > FILE_LINES_MAX {
            faults.push(format!("{path}: {count} lines, at most {FILE_LINES_MAX}"));
        }
        if path.ends_with("src/main.rs") && *count > 60 && !path.starts_with("scoring/plugins") {
            faults.push(format!("{path}: {count} lines, at most 60 in a main.rs"));
        }
    }
    let at = |share: usize| lines.get(lines.len() * share / 100).map_or(0, |(count, _)| *count);
    println!("files: {}, median {} lines, p90 {}, longest:", lines.len(), at(50), at(90));
    for (count, path) in lines.iter().rev().take(5) {
        println!("  {count:5}  {path}");
    }
    let mut functions: Vec<(usize, String)> =
        files.iter().flat_map(|(path, text)| functions_of(path, text)).collect();
    functions.sort_unstable();
    let long = functions.iter().filter(|(count, _)| *count > FUNCTION_LINES_REPORT).count();
    println!("functions: {}, over {FUNCTION_LINES_REPORT} lines: {long}, longest:", functions.len());
    for (count, name) in functions.iter().rev().take(5) {
        println!("  {count:5}  {name}");
    }
}

/// Functions of a formatted file by indentation: from `fn` to the closing brace in the same column.
fn functions_of(path: &str, text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut open: Vec<(usize, usize, String)> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let indent = line.len() - line.trim_start().len();
        let code = line.trim_start();
        if let Some((_, rest)) = code.split_once("fn ")
            && !code.starts_with("//")
            && !code.ends_with(';')
            && let Some(name) = rest.split(['(', '<']).next()
        {
            open.push((indent, number, name.to_owned()));
        }
        if code == "}"
            && let Some(position) = open.iter().rposition(|(column, ..)| *column == indent)
        {
            let (_, start, name) = open.swap_remove(position);
            open.truncate(position);
            found.push((number - start + 1, format!("{path}:{}: {name}", start + 1)));
        }
    }
    found
}

/// Every crate is named in ARCHITECTURE.md, and the README carries the test command.
fn documents(root: &Path, faults: &mut Vec<String>) -> Result<()> {
    let architecture = std::fs::read_to_string(root.join("ARCHITECTURE.md")).context("ARCHITECTURE.md")?;
    for (name, _) in MAY_USE {
        if !architecture.contains(&format!("`{name}`")) {
            faults.push(format!("ARCHITECTURE.md does not name `{name}`"));
        }
    }
    let readme = std::fs::read_to_string(root.join("README.md")).context("README.md")?;
    if !readme.contains("cargo test --workspace") {
        faults.push("README.md lacks the test command".to_owned());
    }
    Ok(())
}

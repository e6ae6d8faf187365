//! Counts instructions a reading under callgrind and compares them with `bench/reference/instructions.json`.
//!
//! `regress` compares and exits with 3 when a case needs more than the tolerance above its reference; `regress --write`
//! writes the reference. Counts do not depend on how busy the machine is, only on compiler and code.

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

const CASES: [&str; 5] = ["decode-json", "decode-avro", "fold-json", "fold-avro", "score-avro"];
/// More than this share above the reference is a regression.
const TOLERANCE: f64 = 0.05;

#[derive(Debug, Default, Serialize, Deserialize)]
struct Reference {
    /// Compiler that made the counted code.
    compiler: String,
    /// Instructions a reading.
    cases: BTreeMap<String, f64>,
}

#[expect(clippy::print_stdout, reason = "the result of a benchmark")]
fn main() -> Result<ExitCode> {
    let write = std::env::args().nth(1).is_some_and(|arg| arg == "--write");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("reference/instructions.json");
    let counted = std::env::current_exe()?.with_file_name("instructions");
    ensure!(counted.is_file(), "no {}: cargo build --release -p bench", counted.display());
    let compiler = compiler()?;
    let mut found = Reference { compiler: compiler.clone(), cases: BTreeMap::new() };
    for case in CASES {
        found.cases.insert(case.to_owned(), count(&counted, case)?);
    }
    if write {
        std::fs::write(&path, serde_json::to_string_pretty(&found)? + "\n")?;
    }
    let reference: Reference =
        serde_json::from_slice(&std::fs::read(&path).context("reading the reference")?)?;
    if reference.compiler != compiler {
        println!("the reference is of {}, this is {compiler}: expect differences", reference.compiler);
    }
    let mut worse = false;
    println!("| | instructions a reading | reference | ratio |\n|---|---|---|---|");
    for (case, count) in &found.cases {
        let before = reference.cases.get(case).with_context(|| format!("no reference for {case}"))?;
        let ratio = count / before;
        worse |= ratio > 1.0 + TOLERANCE;
        println!("| {case} | {count:.0} | {before:.0} | {ratio:.3} |");
    }
    Ok(ExitCode::from(if worse { 3 } else { 0 }))
}

fn compiler() -> Result<String> {
    let output = Command::new("rustc").arg("--version").output().context("asking for the compiler")?;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// Instructions a reading of one case.
fn count(binary: &Path, case: &str) -> Result<f64> {
    let directory = tempfile::tempdir()?;
    let out: PathBuf = directory.path().join("callgrind.out");
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--collect-atstart=no", "--toggle-collect=bench::measure::measured*"])
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(binary)
        .arg(case)
        .output()
        .context("starting valgrind")?;
    ensure!(output.status.success(), "{case}: {}", String::from_utf8_lossy(&output.stderr));
    let readings: f64 = String::from_utf8(output.stdout)?.trim().parse().context("no count of readings")?;
    let profile = std::fs::read_to_string(&out)?;
    let line =
        profile.lines().find_map(|line| line.strip_prefix("totals:").or(line.strip_prefix("summary:")));
    let total: f64 = line.context("no totals in the profile")?.trim().parse().context("unknown totals")?;
    if total == 0.0 {
        bail!("{case}: nothing was counted; is `bench::measure::measured` inlined?");
    }
    Ok(total / readings)
}

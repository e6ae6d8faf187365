//! Where the binary is, and one-shot commands.

use anyhow::{Context, Result, bail, ensure};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Names a binary to be tested instead of one that is built.
const GIVEN: &str = "HIGHWATER_BIN";

/// Path of the binary: the one named in `HIGHWATER_BIN`, else the one of this tree, which cargo brings up to date
/// first.
///
/// # Panics
/// When there is none and it cannot be built: nothing can be tested then.
pub(crate) fn binary() -> &'static Path {
    // The failure is kept too: one build that fails is enough.
    static BINARY: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    match BINARY.get_or_init(|| find().map_err(|error| format!("{error:#}"))) {
        Ok(path) => path,
        Err(error) => panic!("no binary to test: {error}"),
    }
}

fn find() -> Result<PathBuf> {
    if let Some(given) = std::env::var_os(GIVEN) {
        let path = PathBuf::from(given);
        ensure!(path.is_file(), "{GIVEN} names {}, which is no file", path.display());
        return Ok(path);
    }
    // .../target/debug/deps/scenarios-0123456789abcdef
    let here = std::env::current_exe().context("asking for our own path")?;
    let profile = here.ancestors().nth(2).context("not started by cargo")?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the crate has no parent directory")?;
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root).args(["build", "--quiet", "--package", "highwater", "--bin", "highwater"]);
    cargo.arg("--target-dir").arg(profile.parent().context("no target directory")?);
    if profile.ends_with("release") {
        cargo.arg("--release");
    }
    let built = cargo.status().context("starting cargo")?;
    ensure!(built.success(), "cargo build ended with {built}");
    let path = profile.join("highwater");
    ensure!(path.is_file(), "cargo built, but there is no {}", path.display());
    Ok(path)
}

/// A command that has ended.
#[derive(Debug)]
pub struct Finished {
    /// Exit code; none: ended by a signal.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Finished {
    /// Standard output as one JSON document.
    ///
    /// # Errors
    /// When it is none.
    pub fn json(&self) -> Result<serde_json::Value> {
        serde_json::from_str(&self.stdout)
            .with_context(|| format!("not JSON: {:?}; standard error: {}", self.stdout, self.stderr))
    }
}

/// Runs a command to its end, at most for `bound`; beyond it the process is killed.
///
/// # Errors
/// When it cannot be started or does not end.
pub fn highwater(args: &[&str], bound: Duration) -> Result<Finished> {
    let directory = tempfile::tempdir().context("making a directory for the output")?;
    let file = |name: &str| directory.path().join(name);
    let open = |name: &str| std::fs::File::create(file(name)).context("making a file for the output");
    let mut child = command(args)
        .current_dir(directory.path())
        .stdout(open("stdout")?)
        .stderr(open("stderr")?)
        .spawn()
        .with_context(|| format!("starting {args:?}"))?;
    let read = |name: &str| std::fs::read_to_string(file(name)).context("reading the output");
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait().context("waiting")? {
            return Ok(Finished { code: status.code(), stdout: read("stdout")?, stderr: read("stderr")? });
        }
        if begun.elapsed() > bound {
            child.kill().and_then(|()| child.wait()).context("killing")?;
            bail!("{args:?} did not end within {bound:?}: {}{}", read("stdout")?, read("stderr")?);
        }
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

/// The binary with arguments, without the environment's settings: a developer's must not decide a test.
pub(crate) fn command(args: &[&str]) -> Command {
    let mut command = Command::new(binary());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("HIGHWATER_") {
            command.env_remove(name);
        }
    }
    command.args(args).stdin(Stdio::null());
    command
}

//! A home in one process: the `highwater` beside the benchmark, or the one that `HIGHWATER_BIN` names.

use crate::home::free_address;
use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Windows of five seconds of one metric, `temperature`.
pub const WINDOWS: &str = r#"
[[window]]
name = "5s"
kind = "tumbling"
size = "5s"

[metrics]
only = ["temperature"]

[time]
disorder = "1s"
"#;
/// The shipped model that scores it, to be added.
pub const MODEL: &str = r#"
[[model]]
name = "ewma"
each = ["temperature"]
threshold = 6.0
"#;
const READY_MAX: Duration = Duration::from_mins(1);
const ANSWER_MAX: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// It; killed when it is dropped, with what it kept.
#[derive(Debug)]
pub struct Alone {
    child: Child,
    binary: PathBuf,
    http: reqwest::Client,
    /// Address of ingest.
    pub ingest: String,
    /// Address of the query API.
    pub query: String,
    /// Address of the admin API.
    pub admin: String,
    _directory: tempfile::TempDir,
}

impl Drop for Alone {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Alone {
    /// Starts one with this configuration, and waits until it is ready.
    ///
    /// # Errors
    /// When it cannot be started, or ends.
    pub async fn start(config: &str) -> Result<Self> {
        let binary = match std::env::var_os("HIGHWATER_BIN") {
            Some(path) => PathBuf::from(path),
            None => std::env::current_exe()?.with_file_name("highwater"),
        };
        let directory = tempfile::tempdir()?;
        let file = directory.path().join("highwater.toml");
        std::fs::write(&file, config)?;
        let (ingest, dashboard, admin) = (free_address()?, free_address()?, free_address()?);
        let mut command = Command::new(&binary);
        command.arg("run").arg("--config").arg(&file).arg("--data").arg(directory.path().join("data"));
        for (name, address) in [("ingest", &ingest), ("dashboard", &dashboard), ("admin", &admin)] {
            command.args(["--set", &format!("{name}.listen={address}")]);
        }
        let child = command.stdin(Stdio::null()).spawn();
        let child = child.with_context(|| format!("starting {}", binary.display()))?;
        let http = reqwest::Client::builder().timeout(ANSWER_MAX).no_proxy().build()?;
        let url = |address: String| format!("http://{address}");
        let (ingest, query, admin) = (url(ingest), url(dashboard), url(admin));
        let mut alone = Self { child, binary, http, ingest, query, admin, _directory: directory };
        let ready = format!("{}/readyz", alone.admin);
        alone.until(READY_MAX, async |alone| alone.get(&ready).await).await?;
        Ok(alone)
    }

    /// Looks again and again until it finds what it looks for.
    ///
    /// # Errors
    /// What it finds instead after so long; that the process has ended.
    pub async fn until<T>(
        &mut self,
        bound: Duration,
        mut look: impl AsyncFnMut(&Self) -> Result<T>,
    ) -> Result<T> {
        let begun = Instant::now();
        let mut looks = tokio::time::interval(LOOK_EVERY);
        loop {
            looks.tick().await;
            if let Some(status) = self.child.try_wait()? {
                bail!("highwater ended with {status}");
            }
            match look(self).await {
                Ok(found) => return Ok(found),
                Err(error) if begun.elapsed() > bound => return Err(error),
                Err(_) => {}
            }
        }
    }

    /// Waits until the books are balanced and nothing is on its way; returns them.
    ///
    /// # Errors
    /// The books as they are after so long.
    pub async fn settled(&mut self, bound: Duration) -> Result<Value> {
        self.until(bound, async |alone| {
            let books = alone.get(&format!("{}/v1/books", alone.query)).await?;
            let stages = books["stages"].as_array();
            let idle = stages.is_some_and(|stages| stages.iter().all(|stage| stage["in_flight"] == 0));
            ensure!(books["balanced"] == true && idle, "{books}");
            Ok(books)
        })
        .await
    }

    /// What an address answers.
    ///
    /// # Errors
    /// When it does not answer with success and JSON.
    pub async fn get(&self, url: &str) -> Result<Value> {
        let response = self.http.get(url).send().await?.error_for_status()?;
        Ok(serde_json::from_slice(&response.bytes().await?)?)
    }

    /// Runs another command of the same program to its end.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn command(&self, args: &[&str]) -> Result<Output> {
        Command::new(&self.binary).args(args).stdin(Stdio::null()).output().context("starting highwater")
    }

    /// Processor seconds that it has used, and its most resident bytes.
    ///
    /// # Errors
    /// When nobody can say.
    pub fn used(&self) -> Result<(f64, u64)> {
        crate::measure::used(self.child.id())
    }
}

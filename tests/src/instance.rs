//! A running instance and its data directory.

use crate::binary::{Finished, command, highwater};
use crate::ports::free_ports;
use crate::wait::{WAIT_MAX, eventually};
use anyhow::{Context, Result, anyhow, bail, ensure};
use reqwest::Method;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

/// A data directory with a configuration and ports, for any number of instances one after the other.
#[derive(Debug)]
pub struct Home {
    directory: tempfile::TempDir,
    config: Option<PathBuf>,
    sets: Vec<String>,
    ingest: u16,
    dashboard: u16,
    admin: u16,
}

impl Home {
    /// An empty home with the built-in configuration; addresses and the directory are added.
    ///
    /// # Errors
    /// When the file system or the network refuses.
    pub fn new() -> Result<Self> {
        let directory = tempfile::tempdir().context("making a directory")?;
        let [ingest, dashboard, admin] = free_ports()?;
        Ok(Self { directory, config: None, sets: Vec::new(), ingest, dashboard, admin })
    }

    /// With this configuration (TOML).
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn configured(mut self, text: &str) -> Result<Self> {
        let file = self.path().join("highwater.toml");
        std::fs::write(&file, text).context("writing the configuration")?;
        self.config = Some(file);
        Ok(self)
    }

    /// With a configuration file of the tree.
    #[must_use]
    pub fn configured_by(mut self, file: &str) -> Self {
        self.config = Some(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file));
        self
    }

    /// With a setting over those of the file, such as `time.disorder=1s`.
    #[must_use]
    pub fn set(mut self, setting: &str) -> Self {
        self.sets.push(setting.to_owned());
        self
    }

    /// Where ingest listens.
    #[must_use]
    pub fn ingest_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.ingest)
    }

    /// Where the query API listens.
    #[must_use]
    pub fn query_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.dashboard)
    }

    /// Where the admin API listens.
    #[must_use]
    pub fn admin_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.admin)
    }

    /// The directory; its `data` is the instance's.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Flags that point a command at this home.
    #[must_use]
    pub fn flags(&self) -> Vec<String> {
        let data = self.path().join("data").display().to_string();
        let mut flags = vec!["--data".to_owned(), data];
        if let Some(config) = &self.config {
            flags.extend(["--config".to_owned(), config.display().to_string()]);
        }
        let ports = [("ingest", self.ingest), ("dashboard", self.dashboard), ("admin", self.admin)];
        let ports = ports.into_iter().map(|(service, port)| format!("{service}.listen=127.0.0.1:{port}"));
        for setting in ports.chain(self.sets.iter().cloned()) {
            flags.extend(["--set".to_owned(), setting]);
        }
        flags
    }

    /// Starts `highwater run` here and waits until it is ready.
    ///
    /// # Errors
    /// What it wrote, when it ends or is not ready in time.
    pub async fn start(&self) -> Result<Instance> {
        self.start_service("run").await
    }

    /// Starts one service here, by its command, and waits until it is ready.
    ///
    /// # Errors
    /// As [`Home::start`].
    pub async fn start_service(&self, service: &str) -> Result<Instance> {
        let mut instance = self.spawn(service)?;
        instance.ready().await?;
        Ok(instance)
    }

    /// Runs a command that ends by itself here, such as `process --until-end`.
    ///
    /// # Errors
    /// As [`crate::highwater`].
    pub fn command(&self, args: &[&str], bound: Duration) -> Result<Finished> {
        let flags = self.flags();
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        highwater(&[args, &flags].concat(), bound)
    }

    /// Starts a service here without waiting for anything.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn(&self, service: &str) -> Result<Instance> {
        let flags = self.flags();
        let mut args = vec![service];
        args.extend(flags.iter().map(String::as_str));
        let (ingest, query, admin) = (self.ingest_url(), self.query_url(), self.admin_url());
        Instance::launch(
            &args,
            self.path(),
            &self.path().join("log"),
            Addresses { ingest, query, admin },
            &[],
        )
    }
}

/// Where the services of an instance's home listen.
#[derive(Debug)]
pub(crate) struct Addresses {
    pub(crate) ingest: String,
    pub(crate) query: String,
    pub(crate) admin: String,
}

/// A running instance; killed when dropped.
#[derive(Debug)]
pub struct Instance {
    child: Child,
    log: PathBuf,
    http: reqwest::Client,
    addresses: Addresses,
}

/// A status and a JSON body (null when there is none).
pub type Answer = (u16, Value);

impl Instance {
    /// Starts a process that writes into `log`.
    pub(crate) fn launch(
        args: &[&str],
        directory: &Path,
        log: &Path,
        addresses: Addresses,
        environment: &[(String, String)],
    ) -> Result<Self> {
        let output =
            std::fs::File::options().create(true).append(true).open(log).context("opening the log")?;
        let child = command(args)
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .current_dir(directory)
            .stdout(output.try_clone().context("opening the log twice")?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("starting highwater {}", args.first().unwrap_or(&"")))?;
        let http = reqwest::Client::builder()
            .timeout(Duration::from_secs(30))
            .no_proxy()
            .build()
            .context("building an HTTP client")?;
        Ok(Self { child, log: log.to_path_buf(), http, addresses })
    }

    /// Where its admin API listens.
    #[must_use]
    pub fn admin_url(&self) -> &str {
        &self.addresses.admin
    }

    /// Waits until it is ready.
    ///
    /// # Errors
    /// What it wrote, when it ends or is not ready in time.
    pub async fn ready(&mut self) -> Result<()> {
        let url = format!("{}/readyz", self.addresses.admin);
        let http = self.http.clone();
        let log = self.log.clone();
        let child = &mut self.child;
        eventually("ready", WAIT_MAX, async || {
            if let Some(status) = child.try_wait()? {
                bail!("ended with {status}: {}", tail(&log));
            }
            let response = http.get(&url).send().await?;
            ensure!(response.status().is_success(), "{}: {}", response.status(), response.text().await?);
            Ok(())
        })
        .await
        .map_err(|error| error.context(tail(&self.log)))
    }

    /// One request. The path's service is told by its first segment: `/ingest`, `/query` or `/admin`.
    ///
    /// # Errors
    /// When nobody answers, or not in JSON.
    pub async fn ask(&self, method: Method, path: &str, body: Option<(&str, String)>) -> Result<Answer> {
        let Addresses { ingest, query, admin } = &self.addresses;
        let (base, rest) = [("/ingest", ingest), ("/query", query), ("/admin", admin)]
            .into_iter()
            .find_map(|(service, base)| Some((base, path.strip_prefix(service)?)))
            .ok_or_else(|| anyhow!("`{path}` names no service"))?;
        let mut request = self.http.request(method, format!("{base}{rest}"));
        if let Some((content_type, body)) = body {
            request = request.header("content-type", content_type).body(body);
        }
        let response = request.send().await.with_context(|| format!("asking {path}: {}", tail(&self.log)))?;
        let status = response.status().as_u16();
        let text = response.text().await.with_context(|| format!("reading the answer of {path}"))?;
        let body = match text.as_str() {
            "" => Value::Null,
            text => {
                serde_json::from_str(text).with_context(|| format!("{path}: {status}, not JSON: {text}"))?
            }
        };
        Ok((status, body))
    }

    /// The body of a 2xx answer to a GET.
    ///
    /// # Errors
    /// As [`Instance::ask`], and any other status.
    pub async fn get(&self, path: &str) -> Result<Value> {
        let (status, body) = self.ask(Method::GET, path, None).await?;
        ensure!((200..300).contains(&status), "{path}: {status}: {body}");
        Ok(body)
    }

    /// Posts readings, one a line, and returns the answer.
    ///
    /// # Errors
    /// As [`Instance::ask`].
    pub async fn post_lines(&self, lines: &[String]) -> Result<Answer> {
        self.ask(Method::POST, "/ingest/v1/readings", Some(("application/x-ndjson", lines.join("\n")))).await
    }

    /// Posts a JSON document and returns the body of a 2xx answer.
    ///
    /// # Errors
    /// As [`Instance::get`].
    pub async fn post(&self, path: &str, body: &Value) -> Result<Value> {
        let (status, answer) =
            self.ask(Method::POST, path, Some(("application/json", body.to_string()))).await?;
        ensure!((200..300).contains(&status), "{path}: {status}: {answer}");
        Ok(answer)
    }

    /// Waits until nothing is in flight and the books balance; returns them.
    ///
    /// # Errors
    /// The books as they were at last.
    pub async fn settled(&self) -> Result<Value> {
        eventually("the books balance with nothing in flight", WAIT_MAX, async || {
            let books = self.get("/query/v1/books").await?;
            ensure!(books["balanced"] == true && in_flight(&books) == 0, "{books}");
            Ok(books)
        })
        .await
        .map_err(|error| error.context(tail(&self.log)))
    }

    /// Ends it at once, as a power cut does.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill().context("killing")?;
        self.child.wait().context("waiting for the killed")?;
        Ok(())
    }

    /// Asks it to end (SIGTERM) and waits until it has.
    ///
    /// # Errors
    /// When it does not end; it is then killed.
    pub async fn stop(mut self) -> Result<ExitStatus> {
        self.signal("TERM")?;
        let child = &mut self.child;
        let log = self.log.clone();
        eventually("ended after SIGTERM", WAIT_MAX, async || {
            child.try_wait()?.ok_or_else(|| anyhow!("still running: {}", tail(&log)))
        })
        .await
    }

    /// Sends a signal by name.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn signal(&self, name: &str) -> Result<()> {
        let sent = Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status();
        ensure!(sent.context("starting kill")?.success(), "kill -{name} failed");
        Ok(())
    }

    /// Completes when the process has ended by itself.
    pub async fn ended(&mut self) {
        let child = &mut self.child;
        // Bounded by whoever waits; an error of `try_wait` counts as ended.
        let mut looks = tokio::time::interval(Duration::from_millis(5));
        while matches!(child.try_wait(), Ok(None)) {
            looks.tick().await;
        }
    }

    /// The end of what it wrote.
    #[must_use]
    pub fn log(&self) -> String {
        tail(&self.log)
    }

    /// Everything that was written under its name, by earlier ones too.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn wrote(&self) -> Result<String> {
        std::fs::read_to_string(&self.log).context("reading the log")
    }

    /// Waits until it has ended by itself, and says how.
    ///
    /// # Errors
    /// What it wrote, when it goes on.
    pub async fn end(&mut self, bound: Duration) -> Result<ExitStatus> {
        let child = &mut self.child;
        let log = self.log.clone();
        eventually("ended by itself", bound, async || {
            child.try_wait()?.ok_or_else(|| anyhow!("still running: {}", tail(&log)))
        })
        .await
    }

    /// A metric of its admin address: the sum over all series of this name.
    ///
    /// # Errors
    /// When nobody answers.
    pub async fn metric(&self, name: &str) -> Result<f64> {
        let url = format!("{}/metrics", self.addresses.admin);
        let text = self.http.get(url).send().await?.error_for_status()?.text().await?;
        let of = |line: &str| {
            let (series, value) = line.rsplit_once(' ')?;
            let known = series == name || series.strip_prefix(name).is_some_and(|rest| rest.starts_with('{'));
            if known { value.parse::<f64>().ok() } else { None }
        };
        Ok(text.lines().filter_map(of).sum())
    }

    /// The number of its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        // Already gone is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The sum of everything called in flight, wherever it stands in the books.
fn in_flight(books: &Value) -> u64 {
    match books {
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| match value.as_u64() {
                Some(count) if name.replace('-', "_") == "in_flight" => count,
                _ => in_flight(value),
            })
            .sum(),
        Value::Array(items) => items.iter().map(in_flight).sum(),
        _ => 0,
    }
}

fn tail(log: &Path) -> String {
    const BYTES_MAX: usize = 6_000;
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let from = text.ceil_char_boundary(text.len().saturating_sub(BYTES_MAX));
    format!("log:\n{}", &text[from..])
}

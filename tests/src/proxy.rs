//! The stack's registry behind a login, as a process of its own (`tests/stack/registry-proxy`).

use crate::real::skipped;
use anyhow::{Context, Result, ensure};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// The running proxy; it ends with its standard input, which is dropped with it.
#[derive(Debug)]
pub struct RegistryProxy {
    child: Child,
    url: String,
}

impl RegistryProxy {
    /// Starts it in front of a registry; with a certificate it is reached over `https://`. None: there is no Python
    /// here; the test prints that it is skipped.
    ///
    /// # Errors
    /// When it does not start.
    #[track_caller]
    pub fn start(
        upstream: &str,
        user: &str,
        password: &str,
        certificate: Option<&Path>,
    ) -> Option<Result<Self>> {
        if Command::new("python3").arg("--version").output().is_err() {
            skipped("there is no python3");
            return None;
        }
        Some(Self::run(upstream, user, password, certificate))
    }

    fn run(upstream: &str, user: &str, password: &str, certificate: Option<&Path>) -> Result<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("stack/registry-proxy");
        let mut child = Command::new("python3")
            .arg(script)
            .args([upstream, user, password])
            .args(certificate)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("starting the proxy")?;
        let mut url = String::new();
        let out = child.stdout.take().context("the proxy's output")?;
        BufReader::new(out).read_line(&mut url).context("reading where the proxy is")?;
        let proxy = Self { child, url: url.trim().to_owned() };
        ensure!(proxy.url.starts_with("http"), "the proxy did not say where it is");
        Ok(proxy)
    }

    /// Where it is.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for RegistryProxy {
    fn drop(&mut self) {
        // Already gone is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

//! SIGINT and SIGTERM for commands with an end of their own: the first asks for it, the second leaves at once.

use anyhow::{Context, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// Exit code of a process that a signal has ended.
const INTERRUPTED: i32 = 130;

/// Whether a signal has come.
#[derive(Clone, Debug)]
pub(crate) struct Interrupt(watch::Receiver<bool>);

impl Interrupt {
    /// Begins to watch, in place of the system's ending of the process.
    ///
    /// # Errors
    /// When signals cannot be watched.
    pub(crate) fn watch() -> Result<Self> {
        let mut interrupt = signal(SignalKind::interrupt()).context("watching SIGINT")?;
        let mut terminate = signal(SignalKind::terminate()).context("watching SIGTERM")?;
        let (tell, told) = watch::channel(false);
        tokio::spawn(async move {
            next(&mut interrupt, &mut terminate).await;
            tell.send_replace(true);
            next(&mut interrupt, &mut terminate).await;
            std::process::exit(INTERRUPTED);
        });
        Ok(Self(told))
    }

    /// Waits for it.
    pub(crate) async fn come(&self) {
        if self.0.clone().wait_for(|come| *come).await.is_err() {
            // The watcher is gone with the runtime: no signal comes any more.
            std::future::pending::<()>().await;
        }
    }

    /// Whether it has come.
    pub(crate) fn has_come(&self) -> bool {
        *self.0.borrow()
    }
}

async fn next(interrupt: &mut Signal, terminate: &mut Signal) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

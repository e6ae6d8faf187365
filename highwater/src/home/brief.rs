//! A home opened for one job: fed through its own door on a port nobody knows, drained, closed.

use super::books::Books;
use super::drain::drained;
use super::{Home, Parts};
use crate::cli::ConfigArgs;
use crate::config::{Base, Settings};
use anyhow::{Context, Result, bail};
use chassis::auth::Keys;
use serde::Serialize;
use std::path::PathBuf;
use std::time::Duration;

/// Time for everything sent to be folded, committed and stored.
const DRAIN_PATIENCE: Duration = Duration::from_secs(600);

/// The home while it is open.
pub(crate) struct BriefHome {
    home: Home,
    directory: PathBuf,
}

/// What it held when it was closed.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Closed {
    /// Every line of the books balances.
    pub(crate) balanced: bool,
    /// Window rows stored, of all imports into this home.
    pub(crate) windows: u64,
    /// Alerts stored.
    pub(crate) alerts: u64,
    /// Dead letters in the journal.
    pub(crate) dead_letters: u64,
    /// The directory.
    pub(crate) directory: PathBuf,
    /// The books.
    pub(crate) books: Books,
}

impl std::fmt::Display for Closed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let directory = self.directory.display();
        writeln!(
            f,
            "{directory} now holds {} windows, {} alerts, {} dead letters",
            self.windows, self.alerts, self.dead_letters
        )?;
        writeln!(f, "{}", self.books)?;
        write!(f, "`highwater run --data {directory}` serves them")
    }
}

impl BriefHome {
    /// Opens it.
    ///
    /// # Errors
    /// As [`Home::start`].
    pub(crate) async fn open(args: &ConfigArgs) -> Result<Self> {
        let mut settings = Settings::load(args, Base::Job)?;
        // Only this process knows the port.
        settings.keys = Keys::none();
        let Some(file) = settings.journal.file() else {
            bail!(
                "nobody answers, and files go into {} through an ingest: start one, or name it with --url",
                settings.journal.at
            );
        };
        let directory = crate::config::directory_of(file);
        let home = Home::start(settings, Parts { dashboard: false, ..Parts::all("import") }).await?;
        Ok(Self { home, directory })
    }

    /// Where its door is.
    ///
    /// # Errors
    /// Never: it always has one.
    pub(crate) fn ingest_url(&self) -> Result<String> {
        Ok(format!("http://{}", self.home.ingest().context("an import runs an ingest")?))
    }

    /// Waits until everything is stored, and closes it.
    ///
    /// # Errors
    /// When it does not drain, or a part has failed.
    pub(crate) async fn close(self) -> Result<Closed> {
        let books = drained(self.home.live(), DRAIN_PATIENCE).await;
        let live = std::sync::Arc::clone(self.home.live());
        let totals = live.totals()?;
        let dead_letters = live.dead_letters()?;
        self.home.shutdown().begin("the import is over");
        self.home.run_until_stopped().await?;
        let books = books?;
        Ok(Closed {
            balanced: books.balanced,
            windows: totals.windows,
            alerts: totals.alerts,
            dead_letters,
            directory: self.directory,
            books,
        })
    }
}

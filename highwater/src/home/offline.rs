//! Backlog and books of a home that nobody runs: read from its journal, which is opened for the moment.

use super::books::{Books, Stage};
use super::trail;
use super::watch;
use crate::cli::ConfigArgs;
use crate::config::{Base, Settings};
use anyhow::{Result, bail};
use journal::port::{Journal, JournalError};
use journal::sqlite::SqliteJournal;
use serde_json::Value;
use std::sync::Arc;

/// The answer to `/v1/lag` or `/v1/books`; none when another process holds the home.
///
/// # Errors
/// When there is no such home, or it cannot be read.
pub(crate) async fn answer(config: &ConfigArgs, path: &str) -> Result<Option<Value>> {
    let settings = Settings::load(config, Base::Job)?;
    let path = path.to_owned();
    tokio::task::spawn_blocking(move || {
        if !settings.journal.path.exists() {
            bail!("there is no {}: name the directory with --data", settings.journal.path.display());
        }
        let sqlite = match SqliteJournal::open(settings.journal.sqlite()) {
            Err(JournalError::InUse { .. }) => return Ok(None),
            opened => opened?,
        };
        let journal = Arc::clone(&sqlite) as Arc<dyn Journal>;
        let answer = match path.as_str() {
            "/v1/lag" => backlog(&journal),
            _ => books(&journal).and_then(|books| Ok(serde_json::to_value(books)?)),
        };
        sqlite.close();
        answer.map(Some)
    })
    .await?
}

fn backlog(journal: &Arc<dyn Journal>) -> Result<Value> {
    let mut monitors = watch::monitors(&**journal)?;
    let groups =
        monitors.iter_mut().map(|monitor| monitor.look(&|| journal.now())).collect::<Result<_, _>>()?;
    Ok(serde_json::to_value(lag::report(groups))?)
}

/// The books as last committed: the processor's from its audit trail, the sink's from its position.
fn books(journal: &Arc<dyn Journal>) -> Result<Books> {
    let codec = journal::ids::codec(Arc::clone(journal))?;
    let processor = Stage::sum("processor", "readings", trail::lines(&**journal, &codec)?);
    Ok(Books::of(vec![processor, Stage::sink(&sink::books::committed(&**journal)?)]))
}

#[cfg(test)]
mod tests;

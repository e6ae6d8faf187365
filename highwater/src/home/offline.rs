//! A home's own answers without a process that runs it: the admin address's paths, answered in this process from
//! the journal, which is opened for the moment.
//!
//! The embedded file must be nobody else's; a Kafka journal may be read, and written to, beside any number of others.

use super::admin;
use super::live::{Live, Watched};
use super::open::{self, OpenJournal};
use crate::config::Settings;
use anyhow::{Context, Result, bail};
use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use chassis::{body, server};
use serde_json::Value;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// Bytes of an answer: a page of the longest list.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// For the whole of an answer.
const ANSWER_WAIT: Duration = Duration::from_secs(60);

/// A home that is open for questions.
pub(crate) struct Offline {
    journal: OpenJournal,
    router: Router,
}

impl Offline {
    /// Opens the home of these settings; none when another process holds its file.
    ///
    /// # Errors
    /// When there is no such home, or it cannot be read.
    pub(crate) async fn open(settings: Settings) -> Result<Option<Self>> {
        open::NoRegistry::check(&settings)?;
        if let Some(file) = settings.journal.file().filter(|file| !file.exists()) {
            bail!(
                "nothing runs here yet, or elsewhere: there is no {} (--data names the directory)",
                file.display()
            );
        }
        let opening = move || {
            let journal = match open::journal(&settings) {
                Err(why) if why.is_in_use() => return Ok(None),
                opened => opened.map_err(open::NotOpen::into_error)?,
            };
            let codec = journal::ids::codec(journal.port())?;
            let store = open::store_when_asked(&settings);
            let watched = Watched { processor: false, sink: false };
            let (pipeline, owners) = (settings.pipeline.clone(), open::owners(&settings));
            let scoring = settings.scoring.clone();
            let live = Live::new(journal.port(), codec, store, pipeline, scoring, watched, owners)?;
            let router = admin::router(Arc::new(OnceLock::from(Arc::new(live))));
            Ok::<_, anyhow::Error>(Some(Self { journal, router }))
        };
        tokio::task::spawn_blocking(opening).await.context("opening the home")?
    }

    /// The answer to a path of the admin address.
    ///
    /// # Errors
    /// When it is not JSON.
    pub(crate) async fn ask(&self, method: Method, path: &str, sent: String) -> Result<(StatusCode, Value)> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(sent))
            .context("a path that can be asked for")?;
        let response = server::answer(self.router.clone(), request).await;
        let status = response.status();
        let bytes = body::read(response.into_body(), ANSWER_BYTES_MAX, ANSWER_WAIT).await?;
        Ok((status, serde_json::from_slice(&bytes).context("an answer that is not JSON")?))
    }
}

impl Drop for Offline {
    fn drop(&mut self) {
        self.journal.close();
    }
}

#[cfg(test)]
mod tests;

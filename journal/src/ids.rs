//! The journal as the schema id table that `schemas::codec` asks for.

use crate::port::{Journal, JournalError};
use schemas::codec::{Codec, IdTable};
use std::sync::Arc;

/// Asks a journal for ids.
pub struct JournalIds(pub Arc<dyn Journal>);

impl IdTable for JournalIds {
    fn id_of(&self, subject: &str, schema: &str) -> Result<u32, String> {
        self.0.schema_id(subject, schema).map_err(|why| why.to_string())
    }

    fn schema_of(&self, id: u32) -> Result<Option<String>, String> {
        self.0.schema_of(id).map_err(|why| why.to_string())
    }
}

/// The codec over a journal's ids; registers the schemas of this build.
///
/// # Errors
/// [`JournalError::Retry`] when the id table does not answer.
pub fn codec(journal: Arc<dyn Journal>) -> Result<Codec, JournalError> {
    Codec::new(Arc::new(JournalIds(journal))).map_err(JournalError::Retry)
}

//! The journal as the schema id table that `schemas::codec` asks for, and what a table's errors are to a journal
//! that has its ids from elsewhere.

use crate::port::{Disposition, Journal, JournalError};
use schemas::codec::{Codec, IdError, IdTable};
use std::sync::Arc;

/// Asks a journal for ids.
pub struct JournalIds(pub Arc<dyn Journal>);

impl IdTable for JournalIds {
    fn id_of(&self, subject: &str, schema: &str) -> Result<u32, IdError> {
        self.0.schema_id(subject, schema).map_err(IdError::from)
    }

    fn schema_of(&self, id: u32) -> Result<Option<String>, IdError> {
        self.0.schema_of(id).map_err(IdError::from)
    }
}

/// Asking twice does no harm, so an unknown outcome is asked again.
impl From<JournalError> for IdError {
    fn from(why: JournalError) -> Self {
        match (why.disposition(), why) {
            // Their text without the journal's words: it may have crossed this border before.
            (_, JournalError::Retry(why)) => Self::Retry(why),
            (_, JournalError::Denied(why)) => Self::Denied(why),
            (Disposition::Fatal, why) => Self::Fatal(why.to_string()),
            (Disposition::Retry | Disposition::Resolve | Disposition::Rejoin, why) => {
                Self::Retry(why.to_string())
            }
        }
    }
}

impl From<IdError> for JournalError {
    fn from(why: IdError) -> Self {
        match why {
            IdError::Retry(why) => Self::Retry(why),
            IdError::Denied(why) => Self::Denied(why),
            IdError::Fatal(why) => Self::Fatal(why),
        }
    }
}

/// The codec over a journal's ids.
///
/// # Errors
/// [`JournalError::Retry`] when the id table does not answer, [`JournalError::Fatal`] when it answers that it has
/// no id for a schema of this build.
pub fn codec(journal: Arc<dyn Journal>) -> Result<Codec, JournalError> {
    Ok(Codec::new(Arc::new(JournalIds(journal)))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_keeps_its_class_across_the_border_and_its_words() {
        let text = || "so".to_owned();
        for error in [IdError::Retry(text()), IdError::Denied(text()), IdError::Fatal(text())] {
            assert_eq!(IdError::from(JournalError::from(error.clone())), error);
        }
        let unknown = JournalError::Unknown("no answer".to_owned());
        assert_eq!(IdError::from(unknown.clone()), IdError::Retry(unknown.to_string()));
        let held = JournalError::InUse { path: "p".to_owned(), holder: String::new() };
        assert!(matches!(IdError::from(held), IdError::Fatal(_)));
    }
}

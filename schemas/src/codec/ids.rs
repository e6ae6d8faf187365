//! An id table in memory, for tests and simulations.

use super::{IdError, IdTable};
use std::sync::{Mutex, PoisonError};

/// Gives out 1, 2, 3 ... in the order asked; the same schema text has the same id under every subject.
#[derive(Debug, Default)]
pub struct LocalIds(Mutex<Vec<String>>);

impl IdTable for LocalIds {
    fn id_of(&self, _subject: &str, schema: &str) -> Result<u32, IdError> {
        let mut schemas = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let index = schemas.iter().position(|known| known == schema).unwrap_or_else(|| {
            schemas.push(schema.to_owned());
            schemas.len() - 1
        });
        u32::try_from(index + 1).map_err(|_| IdError::Fatal("more than 2^32 schemas".to_owned()))
    }

    fn schema_of(&self, id: u32) -> Result<Option<String>, IdError> {
        let schemas = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(usize::try_from(id).ok().and_then(|id| schemas.get(id.checked_sub(1)?)).cloned())
    }
}

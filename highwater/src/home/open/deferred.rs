//! A store that is opened by the first question.

use schemas::record::{Aggregate, Alert, Score};
use std::sync::{Arc, Mutex, PoisonError};
use store::port::{DeviceRow, Listed, Page, Span, Store, StoreError, StoreTotals, Write};

type Opening = Box<dyn Fn() -> Result<Arc<dyn Store>, StoreError> + Send + Sync>;

/// Opens at the first question, and at the next one when that failed.
pub(super) struct Deferred {
    opening: Opening,
    store: Mutex<Option<Arc<dyn Store>>>,
}

impl Deferred {
    pub(super) fn new(
        opening: impl Fn() -> Result<Arc<dyn Store>, StoreError> + Send + Sync + 'static,
    ) -> Self {
        Self { opening: Box::new(opening), store: Mutex::new(None) }
    }

    fn store(&self) -> Result<Arc<dyn Store>, StoreError> {
        // Held while it opens: one connection, however many ask at once.
        let mut store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(store) = &*store {
            return Ok(Arc::clone(store));
        }
        let opened = (self.opening)()?;
        *store = Some(Arc::clone(&opened));
        Ok(opened)
    }
}

impl Store for Deferred {
    fn write(&self, writes: &[Write]) -> Result<(), StoreError> {
        self.store()?.write(writes)
    }

    fn windows(
        &self,
        device: &str,
        metric: &str,
        window: &str,
        span: Span,
        page: &Page,
    ) -> Result<Listed<Aggregate>, StoreError> {
        self.store()?.windows(device, metric, window, span, page)
    }

    fn latest(&self, device: &str) -> Result<Vec<Aggregate>, StoreError> {
        self.store()?.latest(device)
    }

    fn scores(
        &self,
        device: &str,
        model: Option<&str>,
        span: Span,
        page: &Page,
    ) -> Result<Listed<Score>, StoreError> {
        self.store()?.scores(device, model, span, page)
    }

    fn alerts(&self, device: Option<&str>, span: Span, page: &Page) -> Result<Listed<Alert>, StoreError> {
        self.store()?.alerts(device, span, page)
    }

    fn devices(&self, page: &Page) -> Result<Listed<DeviceRow>, StoreError> {
        self.store()?.devices(page)
    }

    fn device(&self, device: &str) -> Result<Option<DeviceRow>, StoreError> {
        self.store()?.device(device)
    }

    fn totals(&self) -> Result<Option<StoreTotals>, StoreError> {
        self.store()?.totals()
    }

    fn count(&self) -> Result<StoreTotals, StoreError> {
        self.store()?.count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use store::sqlite::{SqliteOptions, SqliteStore};

    #[test]
    fn it_opens_once_and_again_only_after_a_failure() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("store.db");
        let tries = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&tries);
        let deferred = Deferred::new(move || {
            if counted.fetch_add(1, Ordering::SeqCst) == 0 {
                return Err(StoreError::Retry("away".to_owned()));
            }
            Ok(Arc::new(SqliteStore::open(&path, SqliteOptions::default())?) as Arc<dyn Store>)
        });
        assert_eq!(tries.load(Ordering::SeqCst), 0, "nobody has asked yet");
        assert_eq!(deferred.latest("a"), Err(StoreError::Retry("away".to_owned())));
        assert_eq!(deferred.latest("a"), Ok(Vec::new()));
        assert_eq!(deferred.device("a"), Ok(None));
        assert_eq!(tries.load(Ordering::SeqCst), 2);
    }
}

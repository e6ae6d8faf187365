//! What was just stored, told to whoever shares the process: the dashboard's event stream.
//!
//! A convenience, not a source of truth: it is bounded, a slow listener is told that it missed something
//! (`RecvError::Lagged`) and asks the store. Writes that are repeated after a failure are told again.

use crate::port::Write;
use std::sync::Arc;
use tokio::sync::broadcast;

/// Batches kept for a slow listener.
const BATCHES_MAX: usize = 32;

/// Where the writer tells and listeners subscribe; clones are the same feed.
#[derive(Clone, Debug)]
pub struct Feed(broadcast::Sender<Arc<[Write]>>);

impl Default for Feed {
    fn default() -> Self {
        Self(broadcast::Sender::new(BATCHES_MAX))
    }
}

impl Feed {
    /// Tells every listener of writes that are durable; costs nothing when there is none.
    pub fn tell(&self, writes: &[Write]) {
        if !writes.is_empty() && self.0.receiver_count() > 0 {
            // It fails when the last listener has just left: then nobody missed anything.
            let _ = self.0.send(writes.into());
        }
    }

    /// Listens from now on.
    #[must_use]
    pub fn listen(&self) -> broadcast::Receiver<Arc<[Write]>> {
        self.0.subscribe()
    }
}

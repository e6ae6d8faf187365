//! The connections of a listener: how many, which are being served, and which one goes when another comes.

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};
use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use tokio::sync::Notify;

/// Every connection is being served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

/// All of a listener's connections.
#[derive(Clone, Debug)]
pub(super) struct Connections {
    connections_max: usize,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// Rises at every event, so that it orders connections by how long they have waited.
    moment: u64,
    open: BTreeMap<u64, Entry>,
}

#[derive(Debug)]
struct Entry {
    waiting_since: Option<u64>,
    served: bool,
    leave: Arc<Notify>,
}

impl Connections {
    pub(super) fn new(connections_max: usize) -> Self {
        Self { connections_max, state: Arc::default() }
    }

    pub(super) fn len(&self) -> usize {
        self.lock().open.len()
    }

    /// Takes a place; says whether another connection was told to leave for it.
    pub(super) fn enter(&self) -> Result<(Connection, bool), Full> {
        let mut state = self.lock();
        let full = state.open.len() >= self.connections_max;
        if full && !state.evict() {
            return Err(Full);
        }
        state.moment += 1;
        let id = state.moment;
        let leave = Arc::new(Notify::new());
        let entry = Entry { waiting_since: Some(id), served: false, leave: Arc::clone(&leave) };
        state.open.insert(id, entry);
        Ok((Connection { id, leave, all: self.clone() }, full))
    }

    /// Tells the connection that has waited longest to leave; false when none waits.
    pub(super) fn evict(&self) -> bool {
        self.lock().evict()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic runs under the lock, and its state is whole at every step.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn evict(&mut self) -> bool {
        let waiting = self.open.iter().filter_map(|(id, entry)| {
            let since = entry.waiting_since?;
            Some((entry.served, since, *id))
        });
        let Some((_, _, id)) = waiting.min() else { return false };
        if let Some(entry) = self.open.remove(&id) {
            entry.leave.notify_one();
        }
        true
    }
}

/// One connection's place; dropping it frees the place.
#[derive(Debug)]
pub(super) struct Connection {
    id: u64,
    leave: Arc<Notify>,
    all: Connections,
}

impl Connection {
    /// Waits until this connection has to leave.
    pub(super) async fn evicted(&self) {
        self.leave.notified().await;
    }

    /// Marks it as being served until the guard is dropped.
    pub(super) fn busy(&self) -> Busy {
        if let Some(entry) = self.all.lock().open.get_mut(&self.id) {
            entry.waiting_since = None;
            entry.served = true;
        }
        Busy { id: self.id, all: self.all.clone() }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.all.lock().open.remove(&self.id);
    }
}

/// A request in progress, up to the last byte of its answer.
#[derive(Debug)]
pub(super) struct Busy {
    id: u64,
    all: Connections,
}

impl Drop for Busy {
    fn drop(&mut self) {
        let mut state = self.all.lock();
        state.moment += 1;
        let now = state.moment;
        if let Some(entry) = state.open.get_mut(&self.id) {
            entry.waiting_since = Some(now);
        }
    }
}

/// An answer's body that keeps its connection marked as being served.
pub(super) struct Guarded {
    body: Body,
    _busy: Busy,
}

impl Guarded {
    pub(super) const fn new(body: Body, busy: Busy) -> Self {
        Self { body, _busy: busy }
    }
}

impl HttpBody for Guarded {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_never_asked_leaves_before_who_is_idle_and_who_is_served_stays() {
        let all = Connections::new(3);
        let (idle, _) = all.enter().unwrap();
        drop(idle.busy());
        let (served, _) = all.enter().unwrap();
        let request = served.busy();
        let (silent, evicted) = all.enter().unwrap();
        assert!(!evicted);
        let (next, evicted) = all.enter().unwrap();
        assert!(evicted && !all.lock().open.contains_key(&silent.id));
        let next_request = next.busy();
        let (last, evicted) = all.enter().unwrap();
        assert!(evicted && !all.lock().open.contains_key(&idle.id));
        let last_request = last.busy();
        assert_eq!(all.enter().unwrap_err(), Full);
        assert!(!all.evict());
        drop((request, next_request, last_request));
        assert!(all.evict());
        drop((idle, served, silent, next, last));
        assert_eq!(all.len(), 0);
    }
}

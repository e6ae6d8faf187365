//! Stopping in order: intake first, then what is on its way is drained, then flushed and committed, then files are
//! closed. Async tasks and plain threads watch the same [`Shutdown`].
//!
//! Invariants:
//! * Phases only advance, one at a time.
//! * A phase ends when every [`Hold`] on it (and on earlier ones) is gone; there is no coordinator that could hang.
//! * The grace period bounds the whole: [`Shutdown::closed`] names who held it up.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// How far a shutdown has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Not begun.
    Running,
    /// No new work is let in; what is in is answered.
    StopIntake,
    /// What was let in is worked off.
    Drain,
    /// Results are flushed and committed, snapshots taken.
    Commit,
    /// Files and connections are closed.
    Close,
    /// Over.
    Closed,
}

impl Phase {
    const fn next(self) -> Self {
        match self {
            Self::Running => Self::StopIntake,
            Self::StopIntake => Self::Drain,
            Self::Drain => Self::Commit,
            Self::Commit => Self::Close,
            Self::Close | Self::Closed => Self::Closed,
        }
    }
}

/// The grace period ran out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the shutdown did not finish within {grace:?}: phase {phase:?} waits for {}", waiting.join(", "))]
pub struct Overrun {
    /// Phase reached.
    pub phase: Phase,
    /// Names of the holds on it.
    pub waiting: Vec<String>,
    /// Time given.
    pub grace: Duration,
}

/// The state of one shutdown; clones share it.
#[derive(Clone, Debug)]
pub struct Shutdown(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    state: Mutex<State>,
    changed: Condvar,
    phase: watch::Sender<Phase>,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    reason: Option<String>,
    holds: Vec<(u64, Phase, String)>,
    holds_ever: u64,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self::new()
    }
}

impl Shutdown {
    /// Running, with nothing held.
    #[must_use]
    pub fn new() -> Self {
        let state = State { phase: Phase::Running, reason: None, holds: Vec::new(), holds_ever: 0 };
        Self(Arc::new(Inner {
            state: Mutex::new(state),
            changed: Condvar::new(),
            phase: watch::Sender::new(Phase::Running),
        }))
    }

    /// Begins, once; later reasons are ignored.
    pub fn begin(&self, reason: impl Into<String>) {
        let mut state = self.lock();
        if state.phase == Phase::Running {
            let reason = reason.into();
            tracing::info!(reason, "shutting down");
            state.reason = Some(reason);
            state.phase = Phase::StopIntake;
            self.advance(state);
        }
    }

    /// Why it began; nothing before.
    #[must_use]
    pub fn reason(&self) -> Option<String> {
        self.lock().reason.clone()
    }

    /// How far it has come.
    #[must_use]
    pub fn phase(&self) -> Phase {
        *self.0.phase.borrow()
    }

    /// Whether it has begun.
    #[must_use]
    pub fn begun(&self) -> bool {
        self.phase() > Phase::Running
    }

    /// Keeps `phase` from ending until the hold is dropped. Taken before the work it protects starts; on a phase
    /// that is over it does nothing.
    pub fn hold(&self, phase: Phase, name: impl Into<String>) -> Hold {
        let mut state = self.lock();
        state.holds_ever += 1;
        let id = state.holds_ever;
        state.holds.push((id, phase, name.into()));
        Hold { shutdown: self.clone(), id }
    }

    /// Waits until `phase` is reached.
    pub async fn reached(&self, phase: Phase) {
        let mut watching = self.0.phase.subscribe();
        // The sender lives in `self`, so that the wait cannot fail.
        let _ = watching.wait_for(|now| *now >= phase).await;
    }

    /// Waits on a plain thread until `phase` is reached, at most `max_wait`; says whether it was.
    #[must_use]
    pub fn wait_reached(&self, phase: Phase, max_wait: Duration) -> bool {
        let state = self.lock();
        let waited = self.0.changed.wait_timeout_while(state, max_wait, |state| state.phase < phase);
        waited.unwrap_or_else(PoisonError::into_inner).0.phase >= phase
    }

    /// Waits for the end of a shutdown, once begun at most `grace`.
    ///
    /// # Errors
    /// [`Overrun`] names who held it up.
    pub async fn closed(&self, grace: Duration) -> Result<(), Overrun> {
        self.reached(Phase::StopIntake).await;
        match tokio::time::timeout(grace, self.reached(Phase::Closed)).await {
            Ok(()) => Ok(()),
            Err(_) => Err(self.overrun(grace)),
        }
    }

    /// [`Shutdown::closed`] for a plain thread; the shutdown must have begun.
    ///
    /// # Errors
    /// [`Overrun`] names who held it up.
    pub fn closed_blocking(&self, grace: Duration) -> Result<(), Overrun> {
        if self.wait_reached(Phase::Closed, grace) { Ok(()) } else { Err(self.overrun(grace)) }
    }

    /// Begins at SIGINT or SIGTERM and ends the program with exit code 130 at the second one. Runs until then.
    ///
    /// # Errors
    /// When the signals cannot be listened to.
    pub async fn watch_signals(self) -> std::io::Result<()> {
        use tokio::signal::unix::{SignalKind, signal};
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        for round in 0.. {
            let name = tokio::select! {
                _ = interrupt.recv() => "SIGINT",
                _ = terminate.recv() => "SIGTERM",
            };
            if round > 0 || self.begun() {
                tracing::warn!(signal = name, "second signal: leaving at once");
                std::process::exit(130);
            }
            self.begin(name);
        }
        Ok(())
    }

    fn overrun(&self, grace: Duration) -> Overrun {
        let state = self.lock();
        let waiting = state.holds.iter().filter(|(_, phase, _)| *phase <= state.phase);
        Overrun { phase: state.phase, waiting: waiting.map(|(_, _, name)| name.clone()).collect(), grace }
    }

    fn release(&self, id: u64) {
        let mut state = self.lock();
        state.holds.retain(|(held, _, _)| *held != id);
        self.advance(state);
    }

    /// Goes through every phase that nobody holds, and tells those who wait.
    fn advance(&self, mut state: MutexGuard<'_, State>) {
        if state.phase == Phase::Running {
            return;
        }
        while state.phase < Phase::Closed && !state.holds.iter().any(|(_, phase, _)| *phase <= state.phase) {
            state.phase = state.phase.next();
        }
        self.0.phase.send_if_modified(|now| std::mem::replace(now, state.phase) != state.phase);
        drop(state);
        self.0.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic runs under the lock, and its state is whole at every step.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps a phase from ending; see [`Shutdown::hold`].
#[derive(Debug)]
#[must_use]
pub struct Hold {
    shutdown: Shutdown,
    id: u64,
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.shutdown.release(self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(10);

    #[test]
    fn without_holds_it_is_over_at_once() {
        let shutdown = Shutdown::new();
        assert!(!shutdown.begun());
        shutdown.begin("asked");
        shutdown.begin("asked again");
        assert_eq!(shutdown.phase(), Phase::Closed);
        assert_eq!(shutdown.reason().as_deref(), Some("asked"));
    }

    #[test]
    fn phases_end_in_order_when_their_holds_are_gone() {
        let shutdown = Shutdown::new();
        let intake = shutdown.hold(Phase::StopIntake, "door");
        let drain = shutdown.hold(Phase::Drain, "queue");
        let commit = shutdown.hold(Phase::Commit, "committer");
        shutdown.begin("asked");
        assert_eq!(shutdown.phase(), Phase::StopIntake);
        drop(commit);
        assert_eq!(shutdown.phase(), Phase::StopIntake);
        drop(intake);
        assert_eq!(shutdown.phase(), Phase::Drain);
        drop(drain);
        assert_eq!(shutdown.phase(), Phase::Closed);
    }

    #[test]
    fn a_hold_on_an_earlier_phase_taken_late_still_counts() {
        let shutdown = Shutdown::new();
        let commit = shutdown.hold(Phase::Commit, "committer");
        shutdown.begin("asked");
        assert_eq!(shutdown.phase(), Phase::Commit);
        let late = shutdown.hold(Phase::Drain, "straggler");
        drop(commit);
        assert_eq!(shutdown.phase(), Phase::Commit);
        drop(late);
        assert_eq!(shutdown.phase(), Phase::Closed);
    }

    #[test]
    fn a_thread_and_a_task_see_the_same_phases() {
        let shutdown = Shutdown::new();
        let hold = shutdown.hold(Phase::Drain, "test");
        let on_thread = shutdown.clone();
        let thread = std::thread::spawn(move || on_thread.wait_reached(Phase::Commit, LONG));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let reached = shutdown.reached(Phase::Commit);
            let (begun, ()) = tokio::join!(async { shutdown.begin("asked") }, async {
                shutdown.reached(Phase::Drain).await;
                drop(hold);
            });
            let () = begun;
            reached.await;
        });
        assert!(thread.join().unwrap());
        assert!(!Shutdown::new().wait_reached(Phase::StopIntake, Duration::ZERO));
    }

    #[tokio::test]
    async fn an_overrun_names_who_held_it_up() {
        let shutdown = Shutdown::new();
        let _stuck = shutdown.hold(Phase::Drain, "queue");
        let _later = shutdown.hold(Phase::Close, "file");
        shutdown.begin("asked");
        let overrun = shutdown.closed(Duration::ZERO).await.unwrap_err();
        assert_eq!(
            (overrun.phase, overrun.waiting.as_slice()),
            (Phase::Drain, ["queue".to_owned()].as_slice())
        );
        assert_eq!(shutdown.closed_blocking(Duration::ZERO).unwrap_err(), overrun);
    }
}

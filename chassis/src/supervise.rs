//! Named tasks and threads that live and die together: the first failure begins the shutdown of all, and a panic
//! is a failure with the name of who panicked. No task or thread is spawned beside it.

use crate::shutdown::{Phase, Shutdown};
use crate::{BoxError, error_chain};
use std::collections::BTreeMap;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// What brought the program down.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A task or thread ended with an error.
    #[error("{name} failed: {error}")]
    Failed {
        /// Its name.
        name: String,
        /// Its error with causes.
        error: String,
    },
    /// A task or thread panicked: a bug.
    #[error("{name} panicked: {message}")]
    Panicked {
        /// Its name.
        name: String,
        /// The panic's message.
        message: String,
    },
    /// Nothing failed, but these were still running when the grace period was over.
    #[error("still running {grace:?} after the shutdown began: {}", names.join(", "))]
    Overrun {
        /// Their names.
        names: Vec<String>,
        /// Time given.
        grace: Duration,
    },
}

/// The set; clones share it.
#[derive(Clone, Debug)]
pub struct Supervisor {
    shutdown: Shutdown,
    state: Arc<Mutex<State>>,
    changed: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct State {
    ever: u64,
    live: BTreeMap<u64, (String, Option<AbortHandle>)>,
    failure: Option<Failure>,
}

impl Supervisor {
    /// An empty set that begins `shutdown` at the first failure.
    #[must_use]
    pub fn new(shutdown: Shutdown) -> Self {
        Self { shutdown, state: Arc::default(), changed: watch::Sender::new(()) }
    }

    /// The shutdown that a failure begins.
    #[must_use]
    pub const fn shutdown(&self) -> &Shutdown {
        &self.shutdown
    }

    /// Runs a task on the current runtime. It should end once the shutdown asks for it; ending earlier with `Ok`
    /// is no failure.
    pub fn task<F>(&self, name: impl Into<String>, future: F)
    where
        F: Future<Output = Result<(), BoxError>> + Send + 'static,
    {
        let id = self.enter(name.into());
        let task = tokio::spawn(future);
        if let Some(entry) = self.lock().live.get_mut(&id) {
            entry.1 = Some(task.abort_handle());
        }
        let supervisor = self.clone();
        tokio::spawn(async move {
            let ended = task.await.unwrap_or_else(|error| match error.try_into_panic() {
                Ok(panic) => Err(Box::new(Panic(message_of(&*panic))) as BoxError),
                // Aborted at the end of the grace period, which reports by itself.
                Err(_) => Ok(()),
            });
            supervisor.leave(id, ended);
        });
    }

    /// Runs a thread.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn thread<F>(&self, name: impl Into<String>, body: F) -> std::io::Result<()>
    where
        F: FnOnce() -> Result<(), BoxError> + Send + 'static,
    {
        let name = name.into();
        let id = self.enter(name.clone());
        let supervisor = self.clone();
        let spawned = std::thread::Builder::new().name(name).spawn(move || {
            let ended = catch_unwind(AssertUnwindSafe(body))
                .unwrap_or_else(|panic| Err(Box::new(Panic(message_of(&*panic))) as BoxError));
            supervisor.leave(id, ended);
        });
        if let Err(error) = spawned {
            self.lock().live.remove(&id);
            return Err(error);
        }
        Ok(())
    }

    /// Names of those running now.
    #[must_use]
    pub fn running(&self) -> Vec<String> {
        self.lock().live.values().map(|(name, _)| name.clone()).collect()
    }

    /// Waits until all have ended; once the shutdown has begun at most `grace`, then aborts what is left of tasks
    /// (threads cannot be stopped).
    ///
    /// # Errors
    /// The first failure, or the names of those that overran.
    pub async fn join(&self, grace: Duration) -> Result<(), Failure> {
        let overrun = async {
            self.shutdown.reached(Phase::StopIntake).await;
            tokio::time::sleep(grace).await;
        };
        let late = tokio::select! {
            () = self.all_ended() => false,
            () = overrun => true,
        };
        let mut state = self.lock();
        let names: Vec<String> = state.live.values().map(|(name, _)| name.clone()).collect();
        for (_, task) in state.live.values() {
            task.iter().for_each(AbortHandle::abort);
        }
        if !names.is_empty() {
            tracing::warn!(?names, ?grace, "still running at the end of the grace period");
        }
        match state.failure.take() {
            Some(failure) => Err(failure),
            None if late && !names.is_empty() => Err(Failure::Overrun { names, grace }),
            None => Ok(()),
        }
    }

    async fn all_ended(&self) {
        let mut changes = self.changed.subscribe();
        while !self.lock().live.is_empty() {
            // The sender lives in `self`, so that the wait cannot fail.
            let _ = changes.changed().await;
        }
    }

    fn enter(&self, name: String) -> u64 {
        let mut state = self.lock();
        state.ever += 1;
        let id = state.ever;
        state.live.insert(id, (name, None));
        id
    }

    fn leave(&self, id: u64, ended: Result<(), BoxError>) {
        let mut state = self.lock();
        let name = state.live.remove(&id).map(|(name, _)| name).unwrap_or_default();
        if let Err(error) = ended {
            let failure = match error.downcast_ref::<Panic>() {
                Some(Panic(message)) => Failure::Panicked { name, message: message.clone() },
                None => Failure::Failed { name, error: error_chain(&*error) },
            };
            let text = failure.to_string();
            if state.failure.is_none() {
                state.failure = Some(failure);
            }
            drop(state);
            tracing::error!("{text}");
            self.shutdown.begin(text);
        } else {
            drop(state);
        }
        self.changed.send_replace(());
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic runs under the lock, and its state is whole at every step.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Panic(String);

fn message_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(10);

    fn supervisor() -> Supervisor {
        Supervisor::new(Shutdown::new())
    }

    #[tokio::test]
    async fn all_ending_well_is_no_failure() {
        let set = supervisor();
        set.task("a", async { Ok(()) });
        set.thread("b", || Ok(())).unwrap();
        set.join(GRACE).await.unwrap();
        assert!(!set.shutdown().begun() && set.running().is_empty());
    }

    #[tokio::test]
    async fn the_first_failure_stops_all_and_is_named_with_its_causes() {
        let set = supervisor();
        let (task, thread) = (set.shutdown().clone(), set.shutdown().clone());
        set.task("waiting task", async move {
            task.reached(Phase::Drain).await;
            Ok(())
        });
        set.thread("waiting thread", move || {
            if thread.wait_reached(Phase::Drain, GRACE) { Ok(()) } else { Err("not stopped".into()) }
        })
        .unwrap();
        set.task("reader", async { Err(std::io::Error::other("disk gone").into()) });
        let failure = set.join(GRACE).await.unwrap_err();
        assert_eq!(failure.to_string(), "reader failed: disk gone");
        assert_eq!(set.shutdown().reason().as_deref(), Some("reader failed: disk gone"));
    }

    #[tokio::test]
    async fn a_panic_is_a_failure_with_a_name() {
        for thread in [false, true] {
            let set = supervisor();
            if thread {
                set.thread("poller", || panic!("index {} of 3", 7)).unwrap();
            } else {
                set.task("poller", async { panic!("index {} of 3", 7) });
            }
            assert_eq!(set.join(GRACE).await.unwrap_err().to_string(), "poller panicked: index 7 of 3");
        }
    }

    #[tokio::test]
    async fn who_does_not_stop_is_named_and_aborted() {
        let set = supervisor();
        let alive = Arc::new(());
        let held = Arc::clone(&alive);
        set.task("stubborn", async move {
            std::future::pending::<()>().await;
            drop(held);
            Ok(())
        });
        set.shutdown().begin("asked");
        let failure = set.join(Duration::ZERO).await.unwrap_err();
        assert!(failure.to_string().ends_with("stubborn"), "{failure}");
        tokio::time::timeout(GRACE, set.all_ended()).await.unwrap();
        assert_eq!(Arc::strong_count(&alive), 1);
    }
}

//! The thread that asks. The blocking HTTP client panics when it is used or dropped where an async runtime runs; here
//! it is made, used and dropped on one thread of its own, whoever asks.
//!
//! One question at a time: what the pipeline asks for is remembered, and a flood of ids cannot become a flood of
//! connections.

use super::config::RegistryConfig;
use super::nodes::Nodes;
use crate::codec::IdError;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};

/// Questions that may wait.
const CALLS_MAX: usize = 64;

/// A question, with what is done with its answer.
pub(super) type Call = Box<dyn FnOnce(&Nodes) + Send>;

/// The way to the thread; dropping it ends the thread after the question it is at.
pub(super) struct Caller(SyncSender<Call>);

impl Caller {
    /// Starts the thread.
    pub(super) fn start(config: &RegistryConfig) -> Result<Self, IdError> {
        let (calls, waiting) = sync_channel::<Call>(CALLS_MAX);
        let (started, outcome) = sync_channel(1);
        let config = config.clone();
        std::thread::Builder::new()
            .name("schema-registry".to_owned())
            .spawn(move || {
                let nodes = match Nodes::new(&config) {
                    Ok(nodes) => nodes,
                    Err(why) => return drop(started.send(Err(why))),
                };
                if started.send(Ok(())).is_ok() {
                    for call in waiting {
                        call(&nodes);
                    }
                }
            })
            .map_err(|why| IdError::Retry(format!("no thread for the schema registry: {why}")))?;
        outcome.recv().map_err(|_| gone())??;
        Ok(Self(calls))
    }

    /// Queues a question.
    pub(super) fn submit(&self, call: Call) -> Result<(), IdError> {
        self.0.try_send(call).map_err(|why| match why {
            TrySendError::Full(_) => {
                IdError::Retry(format!("{CALLS_MAX} questions wait for the schema registry already"))
            }
            TrySendError::Disconnected(_) => gone(),
        })
    }

    /// Asks and waits for the answer.
    pub(super) fn call<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Nodes) -> T + Send + 'static,
    ) -> Result<T, IdError> {
        let (reply, answer) = sync_channel(1);
        self.submit(Box::new(move |nodes| drop(reply.send(question(nodes)))))?;
        answer.recv().map_err(|_| gone())
    }
}

fn gone() -> IdError {
    IdError::Fatal("the thread that asks the schema registry has ended".to_owned())
}

//! The processor as a program runs it: workers on threads, the controller beside them.

use crate::commit::{Committing, ThreadLane};
use crate::config::ProcessorConfig;
use crate::controller::{Controller, ControllerView};
use crate::snapshot::SnapshotThread;
use crate::step::{Models, Tools};
use crate::view::View;
use crate::worker::{Pace, Setup, Worker, WorkerError};
use journal::port::{Journal, JournalError};
use schemas::codec::Codec;
use schemas::pipeline::Pipeline;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long a controller's turn waits for decisions.
const CONTROLLER_WAIT: Duration = Duration::from_millis(200);

/// What the processor is started with.
pub struct Start {
    /// The log.
    pub journal: Arc<dyn Journal>,
    /// Codec over the journal's ids.
    pub codec: Codec,
    /// Where models come from.
    pub models: Arc<dyn Models>,
    /// How it runs.
    pub config: ProcessorConfig,
    /// The pipeline of the configuration file.
    pub pipeline: Pipeline,
    /// Whether it may replace the generation in force.
    pub apply: bool,
    /// Consume to the end of the log as it is now, commit, and stop.
    pub until_end: bool,
    /// Identity of this build: a re-fold must agree with what the same build committed.
    pub build: String,
}

/// A running processor. Dropped, it stops without waiting for its last commit.
#[derive(Debug)]
pub struct Processor {
    stop: Arc<AtomicBool>,
    workers: Vec<JoinHandle<()>>,
    controller: Option<JoinHandle<()>>,
    ended: Receiver<Result<(), WorkerError>>,
    left: usize,
    view: View,
    controller_view: Arc<Mutex<ControllerView>>,
}

impl Processor {
    /// Starts workers and the controller.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn start(start: Start) -> Result<Self, WorkerError> {
        let stop = Arc::new(AtomicBool::new(false));
        let view = View::default();
        let (tell, ended) = channel();
        let config = Arc::new(start.config.clone());
        let mut controller = Controller::new(
            Arc::clone(&start.journal),
            start.codec.clone(),
            &start.config.instance,
            &start.pipeline,
            start.apply,
        );
        let controller_view = controller.view();
        if start.until_end {
            // The end is taken as it is now: what the controller has to say must be in the log before.
            settle(&mut controller, &start.config.instance)?;
        }
        let mut processor =
            Self { stop, workers: Vec::new(), controller: None, ended, left: 0, view, controller_view };
        for number in 0..config.workers {
            let worker = processor.worker(&start, &config, number, tell.clone())?;
            processor.workers.push(worker);
            processor.left += 1;
        }
        processor.controller = Some(processor.controller(controller, &start.config.instance, tell)?);
        Ok(processor)
    }

    fn worker(
        &self,
        start: &Start,
        config: &Arc<ProcessorConfig>,
        number: usize,
        tell: Sender<Result<(), WorkerError>>,
    ) -> Result<JoinHandle<()>, WorkerError> {
        let name = if config.workers == 1 {
            config.instance.clone()
        } else {
            format!("{}-{number}", config.instance)
        };
        let failed = |why: std::io::Error| thread_error(&name, &why.to_string());
        let committing = Committing::new(Arc::clone(&start.journal), format!("{}-{name}", crate::GROUP));
        let committer = ThreadLane::start(committing, &name).map_err(failed)?;
        let snapshots = SnapshotThread::start(&*start.journal, start.codec.clone(), &name).map_err(failed)?;
        let began = Instant::now();
        let setup = Setup {
            name: name.clone(),
            build: start.build.clone(),
            config: Arc::clone(config),
            journal: Arc::clone(&start.journal),
            tools: Tools::new(start.codec.clone(), Arc::clone(&start.models)),
            committer: Box::new(committer),
            snapshots: Box::new(snapshots),
            view: self.view.clone(),
            pace: Pace { now: Box::new(move || began.elapsed()), rest: Box::new(std::thread::sleep) },
            until_end: start.until_end,
        };
        let stop = Arc::clone(&self.stop);
        let body = {
            let name = name.clone();
            move || {
                let run =
                    std::panic::AssertUnwindSafe(|| Worker::new(setup).run(&|| stop.load(Ordering::Acquire)));
                let ended = std::panic::catch_unwind(run)
                    .unwrap_or_else(|_| Err(thread_error(&name, "the worker thread has panicked")));
                if let Err(why) = &ended {
                    tracing::error!(%why, "a worker has stopped");
                }
                let _ = tell.send(ended);
            }
        };
        std::thread::Builder::new().name(name.clone()).spawn(body).map_err(failed)
    }

    /// Without a controller no configuration reaches the log: what ends it ends the processor.
    fn controller(
        &self,
        mut controller: Controller,
        instance: &str,
        tell: Sender<Result<(), WorkerError>>,
    ) -> Result<JoinHandle<()>, WorkerError> {
        let stop = Arc::clone(&self.stop);
        let name = format!("{instance}-controller");
        let worker = name.clone();
        let body = move || {
            while !stop.load(Ordering::Acquire) {
                if let Err(why) = controller.turn(CONTROLLER_WAIT) {
                    tracing::error!(%why, "the controller has stopped");
                    let _ = tell.send(Err(WorkerError::Journal { worker, why: why.to_string() }));
                    return;
                }
            }
        };
        let spawned = std::thread::Builder::new().name(name).spawn(body);
        spawned.map_err(|why| thread_error(instance, &why.to_string()))
    }

    /// What may be seen of it.
    #[must_use]
    pub fn view(&self) -> &View {
        &self.view
    }

    /// How the file's pipeline stands to the one in force.
    #[must_use]
    pub fn controller_view(&self) -> ControllerView {
        self.controller_view.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// Asks it to commit what there is, write snapshots and stop.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
    }

    /// Waits at most so long for a worker to end; true: all have ended.
    ///
    /// # Errors
    /// The first worker that could not go on.
    pub fn wait(&mut self, timeout: Duration) -> Result<bool, WorkerError> {
        let deadline = Instant::now() + timeout;
        while self.left > 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.ended.recv_timeout(left) {
                Ok(ended) => {
                    self.left -= 1;
                    ended?;
                }
                Err(RecvTimeoutError::Timeout) => return Ok(false),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        self.stop();
        for thread in self.workers.drain(..).chain(self.controller.take()) {
            // What a worker panicked with was told through the channel.
            let _ = thread.join();
        }
        Ok(true)
    }
}

impl Drop for Processor {
    fn drop(&mut self) {
        self.stop();
    }
}

fn thread_error(worker: &str, why: &str) -> WorkerError {
    WorkerError::Thread { worker: worker.to_owned(), why: why.to_owned() }
}

/// How long a controller may take to write the configuration into every partition, once it leads.
const SETTLE_MAX: Duration = Duration::from_secs(60);
/// How long it may take to lead, where nobody else does: a new group waits for its members at first.
const LEAD_MAX: Duration = Duration::from_secs(10);

/// Turns a controller until it has come to rest, before the workers look for the end of the log: a configuration that
/// came later would leave readings without one. Where another process leads, what it has to say is said already.
fn settle(controller: &mut Controller, instance: &str) -> Result<(), WorkerError> {
    let failed = |why: String| WorkerError::Journal { worker: instance.to_owned(), why };
    let begun = Instant::now();
    loop {
        let turned: Result<(), JournalError> = controller.turn(Duration::from_millis(20));
        turned.map_err(|why| failed(why.to_string()))?;
        if controller.settled() || !controller.leads() && begun.elapsed() > LEAD_MAX {
            return Ok(());
        }
        if begun.elapsed() > SETTLE_MAX {
            return Err(failed(format!(
                "the configuration could not be written into every partition within {SETTLE_MAX:?}"
            )));
        }
    }
}

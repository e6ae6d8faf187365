//! How long after a fault the first new results are committed: the committed results of a home, followed as any
//! read_committed reader can.
//!
//! Invariant: what had been seen when the fault was announced is not new. What is told is the slowest partition's
//! first result.

use crate::cluster::Cluster;
use crate::ledger::{Place, open_patient};
use crate::wait::{WAIT_MAX, eventually};
use anyhow::{Context, Result, ensure};
use journal::port::{Journal, Reader, TopicPartition};
use schemas::topic::Topic;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

const READ_MAX: usize = 5_000;
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// A reader that is not answered asks again after this time.
const ANSWER_MAX: Duration = Duration::from_secs(2);

#[derive(Default)]
struct Seen {
    /// Next offset of each partition.
    next: BTreeMap<u32, i64>,
    /// Partitions that have had results.
    alive: BTreeSet<u32>,
    /// Told once everything that is committed by now has been seen.
    asked: Option<(String, Sender<()>)>,
    fault: Option<Fault>,
}

struct Fault {
    name: String,
    begun: Instant,
    /// Partitions without a new result.
    left: BTreeSet<u32>,
}

/// A follower of a home's results.
pub struct Results {
    partitions: usize,
    seen: Arc<Mutex<Seen>>,
    stop: Arc<AtomicBool>,
}

fn locked(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Results {
    /// Begins to follow.
    ///
    /// # Errors
    /// When Kafka does not answer.
    pub fn follow(cluster: &Cluster) -> Result<Self> {
        let opened = open_patient(&Place::of(cluster)?, ANSWER_MAX)?;
        let mut reader = opened.journal.reader()?;
        let partitions = usize::try_from(opened.journal.partitions())?;
        let (seen, stop) = (Arc::<Mutex<Seen>>::default(), Arc::<AtomicBool>::default());
        let (shared, ended) = (Arc::clone(&seen), Arc::clone(&stop));
        std::thread::spawn(move || {
            while !ended.load(Ordering::Acquire) {
                let begun = Instant::now();
                let all =
                    (0..opened.journal.partitions()).all(|partition| look(&mut *reader, partition, &shared));
                round(&mut locked(&shared), begun, all);
                std::thread::park_timeout(LOOK_EVERY);
            }
            drop(reader);
            opened.journal.close();
        });
        Ok(Self { partitions, seen, stop })
    }

    /// Waits until every partition has had results.
    ///
    /// # Errors
    /// Those that have.
    pub async fn everywhere(&self, bound: Duration) -> Result<()> {
        eventually("every partition has results", bound, async || {
            let seen = locked(&self.seen);
            ensure!(seen.alive.len() == self.partitions, "only {:?}", seen.alive);
            Ok(())
        })
        .await
    }

    /// A fault follows at once: from here on results are new. One that had not brought any yet is forgotten.
    ///
    /// # Errors
    /// When what is committed cannot be read.
    pub fn fault_follows(&self, name: &str) -> Result<()> {
        let (tell, told) = channel();
        locked(&self.seen).asked = Some((name.to_owned(), tell));
        told.recv_timeout(WAIT_MAX).context("committed results cannot be read")
    }

    /// Waits until every partition has brought results since the last fault.
    ///
    /// # Errors
    /// The partitions that have not.
    pub async fn all_new(&self, bound: Duration) -> Result<()> {
        eventually("every partition has new results", bound, async || {
            let left = locked(&self.seen).fault.as_ref().map(|fault| fault.left.clone());
            ensure!(left.is_none(), "partitions without: {left:?}");
            Ok(())
        })
        .await
    }
}

impl Drop for Results {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
    }
}

/// Reads what is new in a partition; false: it was not answered.
fn look(reader: &mut dyn Reader, partition: u32, seen: &Mutex<Seen>) -> bool {
    let of = TopicPartition { topic: Topic::Aggregates, partition };
    let Ok((start, end)) = reader.bounds(of) else { return false };
    let mut next = locked(seen).next.get(&partition).copied().unwrap_or(start);
    while next < end {
        let mut found = false;
        let Ok(after) = reader.read(of, next, READ_MAX, &mut |_| found = true) else { return false };
        let mut seen = locked(seen);
        seen.next.insert(partition, after);
        if found {
            seen.alive.insert(partition);
            if let Some(fault) = &mut seen.fault {
                fault.left.remove(&partition);
            }
        }
        if after == next {
            break;
        }
        next = after;
    }
    true
}

/// All partitions have been looked at; `begun`: what was committed by then has been seen.
fn round(seen: &mut Seen, begun: Instant, all: bool) {
    if let Some(fault) = seen.fault.take_if(|fault| fault.left.is_empty()) {
        // Not `eprintln!`, which the test harness keeps to itself when a test passes.
        let after = fault.begun.elapsed().as_secs_f64();
        let line = format!("fault: {}: first new result after {after:.1} s\n", fault.name);
        // Nobody is there to be told that it failed.
        let _ = std::io::stderr().lock().write_all(line.as_bytes());
    }
    if all && let Some((name, tell)) = seen.asked.take() {
        seen.fault = Some(Fault { name, begun, left: seen.alive.clone() });
        let _ = tell.send(());
    }
}

//! How long results stay away after a kill -9 of their processor, on Kafka, with readings coming all the while.
//!
//! `recovery [ROUNDS] [RATE]`: so many kills (5) of each kind at so many readings a second (5,000). The servers are
//! `HIGHWATER_TEST_KAFKA`, `_CQL`, `_REGISTRY`.
//!
//! * again: 1,000 devices, the same instance is started again at once;
//! * cold: the same with 100,000 devices, whose state is read from its snapshot;
//! * gone: nobody starts it again, another process takes over once the session has run out.
//!
//! Windows of 100 ms, `disorder` 0: every reading closes the device's window before, so that results never pause by
//! themselves. A result is new if the broker appended it after the kill; the time is that of a `read_committed` consumer.

use anyhow::{Context, Result, bail, ensure};
use bench::home::{Home, PARTITIONS, follow, load_average};
use journal::port::Journal;
use loadgen::{Fleet, FleetConfig, Load, RunConfig};
use schemas::Micros;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

const CONFIG: &str = r#"
[[window]]
name = "w"
kind = "tumbling"
size = "100ms"

[metrics]
only = ["temperature"]

[time]
disorder = "0s"
lateness = "0s"
quiet-after = "5m"
"#;
const FEW: u32 = 1_000;
const MANY: u32 = 100_000;
const RECOVERY_MAX: Duration = Duration::from_secs(120);
/// Between two kills: catching up, and a snapshot.
const BETWEEN: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// The first result of each partition that was appended after a kill, as the time when it was seen.
#[derive(Default)]
struct News {
    since: AtomicI64,
    first: Mutex<[Option<Micros>; PARTITIONS as usize]>,
}

impl News {
    fn begin(&self, since: Micros) {
        *self.first.lock().unwrap_or_else(PoisonError::into_inner) = Default::default();
        self.since.store(since, Ordering::SeqCst);
    }

    fn note(&self, partition: u32, appended: Micros, seen: Micros) {
        let since = self.since.load(Ordering::SeqCst);
        let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = first.get_mut(partition as usize)
            && appended > since
        {
            slot.get_or_insert(seen);
        }
    }

    /// From the kill to the first partition's news, and to the last one's.
    fn wait(&self) -> Result<(Micros, Micros)> {
        let give_up = Instant::now() + RECOVERY_MAX;
        let since = self.since.load(Ordering::SeqCst);
        loop {
            let first = *self.first.lock().unwrap_or_else(PoisonError::into_inner);
            let seen: Vec<Micros> = first.iter().flatten().map(|seen| seen - since).collect();
            if seen.len() == first.len()
                && let (Some(least), Some(most)) = (seen.iter().min(), seen.iter().max())
            {
                return Ok((*least, *most));
            }
            ensure!(Instant::now() < give_up, "results of {} partitions only", seen.len());
            std::thread::sleep(LOOK_EVERY);
        }
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let mut number = |default: u32| args.next().map_or(Ok(default), |text| text.parse());
    let (rounds, rate) = (number(5)?, number(5_000)?);
    for (kind, devices) in [("again", FEW), ("cold", MANY), ("gone", FEW)] {
        scenario(kind, devices, rounds, rate).await.with_context(|| kind.to_owned())?;
    }
    Ok(())
}

/// Median, least and most in milliseconds.
fn span(mut of: Vec<Micros>) -> String {
    of.sort_unstable();
    let [least, median, most] =
        [0, of.len() / 2, of.len().saturating_sub(1)].map(|at| of.get(at).map_or(0, |took| took / 1_000));
    format!("{median} ms ({least} to {most})")
}

#[expect(clippy::print_stdout, reason = "the result of a benchmark")]
async fn scenario(kind: &str, devices: u32, rounds: u32, rate: u32) -> Result<()> {
    let mut home = Home::made(CONFIG)?;
    let names: &[&str] = if kind == "gone" { &["p", "q"] } else { &["p"] };
    for name in names {
        home.start("process", name)?;
    }
    home.start("ingest", "i")?;
    home.ready()?;
    let (journal, _) = home.open()?;
    let (stop, news) = (Arc::new(AtomicBool::new(false)), Arc::new(News::default()));
    let following = {
        let (journal, stop, news) = (Arc::clone(&journal), Arc::clone(&stop), Arc::clone(&news));
        let watch = move || {
            let mut note = |seen: bench::home::Seen<'_>| news.note(seen.partition, seen.appended, seen.seen);
            follow(journal.as_ref() as &dyn Journal, &stop, &mut note)
        };
        std::thread::spawn(watch)
    };
    let (enough, told) = oneshot::channel::<()>();
    let run = RunConfig {
        rate: f64::from(rate),
        duration: Duration::from_hours(1),
        ..RunConfig::new(&home.ingest)
    };
    let load = Load { fleet: Fleet::new(FleetConfig::telemetry(devices, 1))?, config: run };
    let sending = tokio::spawn(loadgen::run(load, async { drop(told.await) }));
    // Twice as long as it takes until every device was heard of.
    tokio::time::sleep(BETWEEN + Duration::from_secs(u64::from(devices / rate) * 2)).await;
    println!("{kind}: {devices} devices, {rate} readings a second; load average {}", load_average());
    let (mut firsts, mut lasts) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        if following.is_finished() || sending.is_finished() {
            bail!("the consumer or the load ended early");
        }
        home.alive()?;
        let killed = home.kill("p")?;
        news.begin(killed);
        if kind != "gone" {
            home.start("process", "p")?;
        }
        let (first, last) = tokio::task::block_in_place(|| news.wait())
            .with_context(|| format!("{}\nkilled at {killed}", home.log("p")))?;
        println!("  first result after {} ms, of every partition after {} ms", first / 1_000, last / 1_000);
        firsts.push(first);
        lasts.push(last);
        if kind == "gone" {
            home.start("process", "p")?;
            home.ready()?;
        }
        tokio::time::sleep(BETWEEN).await;
    }
    println!("{kind}: first {}, every partition {}\n", span(firsts), span(lasts));
    // Ended by an error of its own, which is told below.
    let _ = enough.send(());
    drop(sending.await?);
    stop.store(true, Ordering::Relaxed);
    tokio::task::block_in_place(|| following.join())
        .map_err(|_| anyhow::anyhow!("the consumer ended early"))?
}

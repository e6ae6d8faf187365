//! What the demo shows while it runs: a live block on a terminal, a plain line now and then elsewhere, nothing
//! but the summary with `--json`.

use crate::home::Home;
use crate::home::live::Live;
use crate::output::out;
use indicatif::{ProgressBar, ProgressStyle};
use loadgen::Progress;
use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::task::JoinHandle;

const BLOCK_EVERY: Duration = Duration::from_millis(500);
const LINE_EVERY: Duration = Duration::from_secs(5);

/// The display, until it is finished.
pub(super) struct Shown {
    task: Option<JoinHandle<()>>,
    bar: Option<ProgressBar>,
}

impl Shown {
    /// Takes the block away.
    pub(super) fn finish(self) {
        if let Some(task) = self.task {
            task.abort();
        }
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Begins to show.
pub(super) fn show(home: &Home, progress: &Arc<Progress>, json: bool) -> Shown {
    if json {
        return Shown { task: None, bar: None };
    }
    if let Some(address) = home.dashboard() {
        out!("page: http://{address}");
    }
    let terminal = std::io::stderr().is_terminal();
    let bar = terminal.then(|| {
        let bar = ProgressBar::new_spinner();
        let style = ProgressStyle::with_template("{spinner} {elapsed_precise}\n{msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        bar
    });
    let (live, progress, shown) = (Arc::clone(home.live()), Arc::clone(progress), bar.clone());
    let task = tokio::spawn(async move {
        let mut ticks = tokio::time::interval(if terminal { BLOCK_EVERY } else { LINE_EVERY });
        loop {
            ticks.tick().await;
            let lines = lines(&live, &progress);
            match &shown {
                Some(bar) => {
                    bar.set_message(lines.join("\n"));
                    bar.tick();
                }
                None => eprintln!("{}", lines.join("; ")),
            }
        }
    });
    Shown { task: Some(task), bar }
}

fn lines(live: &Live, progress: &Progress) -> Vec<String> {
    let sent = progress.sent.load(Ordering::Relaxed);
    let acknowledged = progress.acknowledged.load(Ordering::Relaxed);
    let rejected = progress.rejected.load(Ordering::Relaxed);
    let mut lines = vec![format!("sent {sent}, acknowledged {acknowledged}, refused {rejected}")];
    if let Ok(totals) = live.totals() {
        lines.push(format!("stored {} windows, {} alerts", totals.windows, totals.alerts));
    }
    if let Ok(books) = live.closed_books() {
        let verdict = if books.balanced { "balance" } else { "DO NOT BALANCE" };
        lines.push(format!("books {verdict}, {} in flight", books.in_flight));
    }
    lines
}

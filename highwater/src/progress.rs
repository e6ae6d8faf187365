//! Progress of long work: a bar on a terminal, a plain line now and then elsewhere, always on standard error.

use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Between two plain lines.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Progress of counted work.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    what: &'static str,
    total: Option<u64>,
    said_at: Instant,
}

impl Progress {
    /// Of as many lines as the files have; unknown when one cannot be counted.
    pub(crate) fn of_files(what: &'static str, files: &[PathBuf]) -> Self {
        let total = files.iter().map(lines_of).sum::<Option<u64>>();
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = total.map_or_else(ProgressBar::no_length, ProgressBar::new);
            let style =
                ProgressStyle::with_template("{msg} {wide_bar} {human_pos}/{human_len} {per_sec} {eta}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar.set_message(what);
            bar
        });
        Self { bar, what, total, said_at: Instant::now() }
    }

    /// So much is done.
    pub(crate) fn advance_to(&mut self, done: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(done);
        } else if self.said_at.elapsed() >= LINE_EVERY {
            self.said_at = Instant::now();
            let of = self.total.map_or_else(String::new, |total| format!(" of {total}"));
            eprintln!("{}: {done}{of}", self.what);
        }
    }

    /// A line that does not disturb the bar.
    pub(crate) fn say(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.println(line),
            None => eprintln!("{line}"),
        }
    }

    /// Done.
    pub(crate) fn finish(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}

fn lines_of(path: &PathBuf) -> Option<u64> {
    use std::io::BufRead;
    let header = u64::from(path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("csv")));
    let mut reader = std::io::BufReader::new(std::fs::File::open(path).ok()?);
    let mut lines = 0;
    loop {
        let chunk = reader.fill_buf().ok()?;
        if chunk.is_empty() {
            return Some(u64::saturating_sub(lines, header));
        }
        lines += chunk.iter().filter(|byte| **byte == b'\n').count() as u64;
        let read = chunk.len();
        reader.consume(read);
    }
}

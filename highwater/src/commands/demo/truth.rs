//! What is known of a demo's home across runs: its truth lies beside its data. It is taken away when a run begins
//! and put back when it ends, so that a run that was killed leaves none instead of a wrong one.

use anyhow::{Context, Result};
use loadgen::Truth;
use std::path::{Path, PathBuf};

/// Name of the directory.
const DIRECTORY: &str = "truth";

/// The truth of the runs before.
pub(super) struct Past {
    directory: PathBuf,
    /// None: the home holds readings that nobody knows.
    truth: Option<Truth>,
}

impl Past {
    /// Takes what is there; `resumed`: the home holds data.
    ///
    /// # Errors
    /// When the directory cannot be removed.
    pub(super) fn take(home: &Path, resumed: bool) -> Result<Self> {
        let directory = home.join(DIRECTORY);
        let truth = if resumed { Truth::read(&directory).ok() } else { Some(Truth::default()) };
        match std::fs::remove_dir_all(&directory) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("removing {}", directory.display()))
            }
            _ => Ok(Self { directory, truth }),
        }
    }

    /// The truth of everything in the home, and puts it back; none when it is not known, or about other windows.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn with(self, now: Truth) -> Result<Option<Truth>> {
        let Some(mut whole) = self.truth else { return Ok(None) };
        let first = whole.expected.is_empty();
        if now.windows.is_empty() || !(first || whole.windows == now.windows && whole.metrics == now.metrics)
        {
            return Ok(None);
        }
        whole.windows.clone_from(&now.windows);
        whole.metrics.clone_from(&now.metrics);
        whole.merge(now);
        whole.write(&self.directory).with_context(|| format!("writing {}", self.directory.display()))?;
        Ok(Some(whole))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use loadgen::TruthWindow;
    use std::time::Duration;

    fn truth(value: f64) -> Truth {
        let windows = vec![TruthWindow::tumbling("5s", Duration::from_secs(5))];
        let mut truth = Truth::new(windows, vec!["temp".to_owned()]);
        truth.add("a", "temp", 0, value);
        truth
    }

    #[test]
    fn runs_add_up_and_a_killed_one_leaves_nothing() {
        let home = tempfile::tempdir().unwrap();
        let first = Past::take(home.path(), false).unwrap().with(truth(1.0)).unwrap().unwrap();
        assert_eq!(first, truth(1.0));
        let both = Past::take(home.path(), true).unwrap().with(truth(2.0)).unwrap().unwrap();
        assert_eq!(
            both.expected
                .values()
                .flat_map(|windows| windows.values())
                .map(|window| window.count)
                .sum::<u64>(),
            2
        );
        // Killed: taken, never put back.
        drop(Past::take(home.path(), true).unwrap());
        assert_eq!(Past::take(home.path(), true).unwrap().with(truth(3.0)).unwrap(), None);
        assert_eq!(
            Past::take(home.path(), true).unwrap().with(truth(3.0)).unwrap(),
            None,
            "nor after the next run"
        );
    }

    #[test]
    fn other_windows_are_another_truth() {
        let home = tempfile::tempdir().unwrap();
        Past::take(home.path(), false).unwrap().with(truth(1.0)).unwrap().unwrap();
        let mut other = truth(1.0);
        other.windows = vec![TruthWindow::tumbling("5s", Duration::from_secs(6))];
        assert_eq!(Past::take(home.path(), true).unwrap().with(other).unwrap(), None);
    }
}

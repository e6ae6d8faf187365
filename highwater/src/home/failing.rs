//! What models failed on, kept as files that `highwater model run --batch` takes.
//!
//! Lives here: the directory and its bounds. Does not live here: what a batch is (`scoring::FailedBatch`), or the verdict.
//!
//! Invariants:
//! * Nobody waits: what the writing thread cannot take at once is dropped and counted, like what it cannot write.
//! * The directory holds at most so many files and bytes; the oldest go. Of one version and one way to fail only the
//!   first few are taken in the life of a process: a model that fails on every row says nothing new with each.

use chassis::metrics as names;
use scoring::{FailedBatch, Failure, Witness};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};

/// Batches that wait to be written.
const QUEUE_MAX: usize = 16;
/// Batches of one version and one way to fail that are kept of a process's life.
const ALIKE_MAX: u32 = 8;
/// Versions that are told apart; beyond them nothing more is kept.
const VERSIONS_MAX: usize = 1024;
/// How these files end.
const EXTENSION: &str = "json";

/// Bounds of the directory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Files.
    pub(crate) files: usize,
    /// Bytes of all files.
    pub(crate) bytes: u64,
}

/// Takes batches and has them written.
#[derive(Debug)]
pub(crate) struct Keeper {
    to: SyncSender<FailedBatch>,
    taken: Mutex<BTreeMap<(String, Failure), u32>>,
}

impl Keeper {
    /// Starts the thread that writes; it ends with the keeper.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(crate) fn start(directory: PathBuf, bounds: Bounds) -> std::io::Result<Self> {
        let (to, from) = sync_channel(QUEUE_MAX);
        std::thread::Builder::new()
            .name("failed-batches".to_owned())
            .spawn(move || write_all(&from, &directory, bounds))?;
        Ok(Self { to, taken: Mutex::default() })
    }
}

impl Witness for Keeper {
    fn wants(&self, version: &str, failure: Failure) -> bool {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (version.to_owned(), failure);
        let room = taken.len() < VERSIONS_MAX;
        let wanted = match taken.get_mut(&key) {
            Some(count) if *count < ALIKE_MAX => {
                *count += 1;
                true
            }
            None if room => {
                taken.insert(key, 1);
                true
            }
            _ => false,
        };
        if !wanted {
            count("dropped");
        }
        wanted
    }

    fn saw(&self, batch: FailedBatch) {
        if self.to.try_send(batch).is_err() {
            count("dropped");
        }
    }
}

fn count(outcome: &'static str) {
    metrics::counter!(names::SCORING_FAILED_BATCHES_TOTAL, "outcome" => outcome).increment(1);
}

fn write_all(from: &Receiver<FailedBatch>, directory: &Path, bounds: Bounds) {
    while let Ok(batch) = from.recv() {
        match write(&batch, directory, bounds) {
            Ok(true) => count("saved"),
            Ok(false) => count("dropped"),
            Err(why) => {
                tracing::warn!(%why, directory = %directory.display(), "a failed batch could not be saved");
                count("dropped");
            }
        }
    }
}

/// Whether it was written: not when it alone is over the bounds.
fn write(batch: &FailedBatch, directory: &Path, bounds: Bounds) -> std::io::Result<bool> {
    let text = batch.to_json();
    if text.len() as u64 > bounds.bytes || bounds.files == 0 {
        return Ok(false);
    }
    std::fs::create_dir_all(directory)?;
    make_room(directory, bounds, text.len() as u64)?;
    let partition = batch.partition.map_or_else(|| "x".to_owned(), |partition| partition.to_string());
    let offset = batch.rows.first().map_or(0, |row| row.offset);
    let version: String = batch.version.chars().take(12).collect();
    // A re-fold fails on the same rows: it finds its file there and says the same again.
    let path = directory.join(format!("{}-{version}-{partition}-{offset}.{EXTENSION}", batch.model));
    let draft = path.with_extension("draft");
    let mut file = private(&draft)?;
    file.write_all(text.as_bytes())?;
    drop(file);
    std::fs::rename(draft, path)?;
    Ok(true)
}

/// Removes the oldest files until one more of so many bytes fits.
fn make_room(directory: &Path, bounds: Bounds, bytes: u64) -> std::io::Result<()> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == EXTENSION) {
            let metadata = std::fs::metadata(&path)?;
            files.push((metadata.modified()?, path, metadata.len()));
        }
    }
    files.sort_unstable();
    let mut held: u64 = files.iter().map(|(_, _, length)| length).sum();
    let mut left = files.len();
    for (_, path, length) in files {
        if left < bounds.files && held + bytes <= bounds.bytes {
            break;
        }
        std::fs::remove_file(path)?;
        (left, held) = (left - 1, held - length);
    }
    Ok(())
}

/// Readings are nobody else's business.
fn private(path: &Path) -> std::io::Result<std::fs::File> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(offset: i64) -> FailedBatch {
        let document = serde_json::json!({
            "format": 1, "model": "m", "version": "0123456789abcdef", "component": "c", "artifact": null,
            "settings": "{}", "seed": 0, "fuel_per_row": 1, "partition": 3,
            "rows": [{ "offset": offset, "event_time": 0, "slot": 0, "values": [1.0] }], "state": [""],
            "failure": { "kind": "trap", "detail": "d", "trace": [], "log": [] },
        });
        FailedBatch::from_json(document.to_string().as_bytes()).expect("a batch")
    }

    fn files(directory: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(directory).expect("a directory");
        let mut names: Vec<String> =
            entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8")).collect();
        names.sort();
        names
    }

    #[test]
    fn the_directory_holds_no_more_than_so_many_files_and_bytes() {
        let dir = tempfile::tempdir().expect("a directory");
        let length = batch(1).to_json().len() as u64;
        let few = Bounds { files: 3, bytes: 1 << 20 };
        for offset in 1..=5 {
            assert!(write(&batch(offset), dir.path(), few).expect("written"));
            let path = dir.path().join(format!("m-0123456789ab-3-{offset}.json"));
            let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(offset.unsigned_abs());
            std::fs::File::open(path).expect("it is there").set_modified(time).expect("set");
        }
        assert_eq!(files(dir.path()), [3, 4, 5].map(|offset| format!("m-0123456789ab-3-{offset}.json")));
        let small = Bounds { files: 100, bytes: 2 * length };
        assert!(write(&batch(6), dir.path(), small).expect("written"));
        assert_eq!(files(dir.path()), [5, 6].map(|offset| format!("m-0123456789ab-3-{offset}.json")));
        let tiny = Bounds { files: 100, bytes: length - 1 };
        assert!(!write(&batch(7), dir.path(), tiny).expect("no error"), "alone too much");
        assert_eq!(files(dir.path()).len(), 2);
    }

    #[test]
    fn of_failures_alike_the_first_few_are_kept() {
        let dir = tempfile::tempdir().expect("a directory");
        let keeper =
            Keeper::start(dir.path().to_owned(), Bounds { files: 9, bytes: 1 << 20 }).expect("started");
        let wanted = (0..20).filter(|_| keeper.wants("v", Failure::Trap)).count();
        assert_eq!(wanted, ALIKE_MAX as usize);
        assert!(keeper.wants("v", Failure::Fault) && keeper.wants("w", Failure::Trap));
    }
}

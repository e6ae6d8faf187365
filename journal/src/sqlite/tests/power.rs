//! Other processes: a kill in the middle of the work, a second opener, a limit on file sizes. The child is this
//! test binary again, told by [`CHILD`] what to do.

use super::super::file::lock_path;
use super::{SqliteConfig, SqliteJournal, append, raw, read_all, record};
use crate::port::{Committed, ConsumerEvent, Journal, JournalError, TopicPartition, Transaction};
use schemas::topic::Topic;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;
use tempfile::TempDir;

const CHILD: &str = "JOURNAL_TEST_CHILD";
const FILE: &str = "JOURNAL_TEST_FILE";
const WAIT_MAX: Duration = Duration::from_secs(60);

/// A child process, ended with the test.
struct Other {
    child: Child,
    lines: Receiver<String>,
}

impl Other {
    fn start(command: &mut Command, task: &str, path: &Path) -> Self {
        let mut child = command
            .env(CHILD, task)
            .env(FILE, path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, lines) = channel();
        let output = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        Self { child, lines }
    }

    /// The next line that begins with a word, without it.
    fn line(&self, word: &str) -> Option<String> {
        loop {
            let line = self.lines.recv_timeout(WAIT_MAX).ok()?;
            // The first line comes behind what the test harness prints.
            if let Some(at) = line.find(word) {
                return Some(line[at + word.len()..].trim().to_owned());
            }
        }
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const ENTRY: [&str; 3] = ["--exact", "sqlite::tests::power::child", "--nocapture"];

fn itself() -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(ENTRY);
    command
}

fn file_in(directory: &TempDir) -> PathBuf {
    directory.path().join("journal.db")
}

fn say(line: &str) {
    let mut output = std::io::stdout().lock();
    writeln!(output, "{line}").unwrap();
    output.flush().unwrap();
}

/// What a child does; in the test run itself, nothing.
#[test]
fn child() {
    let Ok(task) = std::env::var(CHILD) else { return };
    let journal = SqliteJournal::open(SqliteConfig::new(std::env::var_os(FILE).unwrap())).unwrap();
    match task.as_str() {
        "hold" => {
            say("open");
            let _ = std::io::stdin().read(&mut [0]);
        }
        "copy" => copy_for_ever(&journal),
        "fill" => fill_up(&journal),
        other => panic!("{other} is no task"),
    }
}

/// Appends a number and copies it in a transaction, saying each thing only once it is acknowledged.
fn copy_for_ever(journal: &SqliteJournal) {
    let mut consumer = journal.consumer("copiers", "child", &[Topic::Raw]).unwrap();
    let mut start = 0;
    consumer
        .poll(Duration::ZERO, 0, &mut |event| {
            if let ConsumerEvent::Assigned(assignments) = event {
                start = assignments[0].committed.as_ref().map_or(0, |committed| committed.offset);
            }
        })
        .unwrap();
    let token = consumer.token().unwrap();
    let mut committer = journal.committer("child").unwrap();
    for number in start.. {
        let value = vec![b'x'; 300];
        assert_eq!(append(journal, vec![record(raw(0), value.clone())]).unwrap(), [number]);
        say(&format!("appended {number}"));
        let committed = Committed { offset: number + 1, metadata: format!("after {number}") };
        let to = TopicPartition { topic: Topic::Aggregates, partition: 0 };
        let records = vec![record(to, value.clone()), record(to, value)];
        committer.commit(&Transaction { records, offsets: vec![(raw(0), committed)] }, &token).unwrap();
        say(&format!("committed {number}"));
    }
}

/// Appends until it is refused, then says how many were acknowledged.
fn fill_up(journal: &SqliteJournal) {
    let mut acknowledged = 0;
    let refusal = loop {
        match append(journal, vec![record(raw(0), vec![b'x'; 10_000])]) {
            Ok(_) => acknowledged += 1,
            Err(error) => break error,
        }
        assert!(acknowledged < 10_000, "nothing stopped it");
    };
    assert!(matches!(refusal, JournalError::Retry(_)), "{refusal:?}");
    let end = journal.reader().unwrap().bounds(raw(0)).unwrap().1;
    assert_eq!(end, acknowledged, "what was refused is not there");
    say(&format!("acknowledged {acknowledged}"));
}

#[test]
fn a_killed_process_keeps_what_it_acknowledged() {
    let directory = TempDir::new().unwrap();
    let mut next = 0;
    for appends in [3, 40, 11] {
        let mut other = Other::start(&mut itself(), "copy", &file_in(&directory));
        let mut last = next;
        for _ in 0..appends {
            last = other.line("appended").expect("the child appends").parse().unwrap();
        }
        other.kill();
        // What it said before it died counts too.
        let said: Vec<String> = other.lines.try_iter().collect();
        let number = |word: &str| {
            let numbers = said.iter().filter_map(|line| line.strip_prefix(word)?.trim().parse::<i64>().ok());
            numbers.max()
        };
        let appended = number("appended").unwrap_or(last).max(last);
        let committed = number("committed").unwrap_or(last - 1);

        let journal = SqliteJournal::open(SqliteConfig::new(file_in(&directory))).unwrap();
        let input = read_all(&journal, raw(0));
        assert!(input.len() as i64 > appended, "{} records, {appended} was acknowledged", input.len());
        let position = journal.reader().unwrap().committed("copiers", raw(0)).unwrap().unwrap();
        assert!(position.offset > committed, "{position:?}, {committed} was committed");
        assert_eq!(position.metadata, format!("after {}", position.offset - 1));
        let output = read_all(&journal, TopicPartition { topic: Topic::Aggregates, partition: 0 });
        assert_eq!(output.len() as i64, 2 * position.offset, "outputs and positions are of the same commit");
        next = position.offset;
        // The next child starts at the position: what lies behind it must not be there twice.
        if input.len() as i64 > next {
            let offsets = vec![(raw(0), Committed { offset: input.len() as i64, metadata: String::new() })];
            let mut consumer = journal.consumer("copiers", "parent", &[Topic::Raw]).unwrap();
            consumer.poll(Duration::ZERO, 0, &mut |_| {}).unwrap();
            let token = consumer.token().unwrap();
            let to = TopicPartition { topic: Topic::Aggregates, partition: 0 };
            let missing = 2 * (input.len() - usize::try_from(next).unwrap());
            let records = (0..missing).map(|_| record(to, Vec::new())).collect();
            journal.committer("child").unwrap().commit(&Transaction { records, offsets }, &token).unwrap();
        }
    }
}

#[test]
fn a_second_process_is_told_who_has_the_file() {
    let directory = TempDir::new().unwrap();
    let path = file_in(&directory);
    let mut other = Other::start(&mut itself(), "hold", &path);
    other.line("open").expect("the child opens it");
    let refusal = SqliteJournal::open(SqliteConfig::new(&path)).err().expect("it is in use");
    let holder = format!(" (pid {})", other.child.id());
    assert_eq!(refusal, JournalError::InUse { path: path.display().to_string(), holder: holder.clone() });
    let text = refusal.to_string();
    assert!(text.contains(&path.display().to_string()) && text.contains(&holder), "{text}");
    other.kill();
    SqliteJournal::open(SqliteConfig::new(&path)).expect("the lock died with its process");
    assert!(lock_path(&path).unwrap().exists());
}

#[cfg(unix)]
#[test]
fn a_file_that_cannot_grow_refuses_and_keeps_what_it_acknowledged() {
    let directory = TempDir::new().unwrap();
    let mut shell = Command::new("sh");
    shell.args(["-c", "trap '' XFSZ; ulimit -f 400; exec \"$0\" \"$@\""]);
    shell.arg(std::env::current_exe().unwrap()).args(ENTRY);
    let other = Other::start(&mut shell, "fill", &file_in(&directory));
    let acknowledged: usize = other.line("acknowledged").expect("the child fills it").parse().unwrap();
    drop(other);
    assert!(acknowledged > 0);
    let journal = SqliteJournal::open(SqliteConfig::new(file_in(&directory))).unwrap();
    assert_eq!(read_all(&journal, raw(0)).len(), acknowledged);
    append(&journal, vec![record(raw(0), b"room again".to_vec())]).unwrap();
}

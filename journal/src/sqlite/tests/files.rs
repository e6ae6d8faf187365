//! Opening what is no journal, full and damaged files, receipt times over clock steps.

use super::{InFile, SetClock, SqliteConfig, SqliteJournal, append, raw, read_all, record};
use crate::conformance::{Harness as _, WAIT_MAX};
use crate::port::{Committed, Journal, JournalError, Transaction};
use rusqlite::Connection;
use schemas::topic::Topic;
use std::path::Path;
use std::sync::mpsc::channel;
use std::time::Duration;
use tempfile::TempDir;

fn refusal(path: &Path) -> String {
    match SqliteJournal::open(SqliteConfig::new(path)) {
        Ok(_) => panic!("{} was opened", path.display()),
        Err(JournalError::Fatal(text)) => text,
        Err(other) => panic!("{other:?}"),
    }
}

#[test]
fn what_is_no_journal_is_not_touched() {
    let directory = TempDir::new().unwrap();
    let text = directory.path().join("notes.txt");
    let notes = "These are notes, long enough to be taken for a header of a database file.\n".repeat(20);
    std::fs::write(&text, &notes).unwrap();
    assert_eq!(refusal(&text), format!("{} is not a journal: it is not an SQLite file", text.display()));
    assert_eq!(std::fs::read_to_string(&text).unwrap(), notes);

    let other = directory.path().join("other.db");
    Connection::open(&other).unwrap().execute_batch("CREATE TABLE songs (title TEXT)").unwrap();
    assert_eq!(
        refusal(&other),
        format!("{} is not a journal: it is an SQLite file with other tables", other.display())
    );

    let newer = directory.path().join("newer.db");
    drop(SqliteJournal::open(SqliteConfig::new(&newer)).unwrap());
    Connection::open(&newer).unwrap().pragma_update(None, "user_version", 99).unwrap();
    assert_eq!(
        refusal(&newer),
        format!("{} has journal format 99; this build reads format 1", newer.display())
    );
}

#[test]
fn a_directory_that_cannot_be_is_named() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, "not a directory").unwrap();
    let text = refusal(&file.join("below").join("journal.db"));
    assert!(text.starts_with("cannot create the journal's directory ") && text.contains("below"), "{text}");
    let text = refusal(&file.join("journal.db"));
    assert!(text.contains(&file.display().to_string()), "{text}");
    let missing = directory.path().join("a").join("b").join("journal.db");
    SqliteJournal::open(SqliteConfig::new(&missing)).expect("a missing directory is made");
}

#[test]
fn another_partition_count_is_refused() {
    let harness = InFile::new();
    let config = SqliteConfig { partitions: 7, ..harness.config() };
    harness.open().close();
    let refused = SqliteJournal::open(config).err().expect("keys would move");
    let text = refused.to_string();
    assert!(text.contains("has 4 partitions, 7 are configured"), "{text}");
    SqliteJournal::open(harness.config()).expect("the refusal left the lock");
}

#[test]
fn one_process_opens_a_file_once() {
    let harness = InFile::new();
    let refused = SqliteJournal::open(harness.config()).err().expect("it is open");
    let holder = format!(" (pid {})", std::process::id());
    assert!(matches!(&refused, JournalError::InUse { holder: found, .. } if *found == holder), "{refused:?}");
}

#[cfg(unix)]
#[test]
fn a_file_with_two_names_is_opened_once() {
    let directory = TempDir::new().unwrap();
    let (real, link) = (directory.path().join("real"), directory.path().join("link"));
    std::fs::create_dir(&real).unwrap();
    std::os::unix::fs::symlink(&real, &link).unwrap();
    let _journal = SqliteJournal::open(SqliteConfig::new(real.join("journal.db"))).unwrap();
    let refused = SqliteJournal::open(SqliteConfig::new(link.join("journal.db"))).err();
    assert!(matches!(refused, Some(JournalError::InUse { .. })), "{refused:?}");
}

#[test]
fn a_failing_file_stops_the_journal_and_wakes_the_pollers() {
    let mut harness = InFile::new();
    append(harness.open(), vec![record(raw(0), b"a".to_vec())]).unwrap();
    let mut consumer = harness.open().consumer("g", "m", &[Topic::Raw]).unwrap();
    consumer.poll(Duration::ZERO, 1, &mut |_| {}).unwrap();
    let file = Connection::open(harness.config().path).unwrap();
    file.execute_batch("ALTER TABLE segments RENAME TO elsewhere").unwrap();
    std::thread::scope(|scope| {
        let (sender, polled) = channel();
        scope.spawn(move || sender.send(consumer.poll(2 * WAIT_MAX, 1, &mut |_| {})).unwrap());
        let failed = append(harness.open(), vec![record(raw(0), b"b".to_vec())]).unwrap_err();
        assert!(matches!(&failed, JournalError::Fatal(text) if text.contains("segments")), "{failed:?}");
        let after = append(harness.open(), vec![record(raw(0), b"c".to_vec())]).unwrap_err();
        assert!(matches!(&after, JournalError::Fatal(text) if text.contains("stopped")), "{after:?}");
        assert_eq!(polled.recv_timeout(WAIT_MAX).unwrap(), Err(after.clone()));
        assert_eq!(harness.open().reader().err(), Some(after));
    });
    file.execute_batch("ALTER TABLE elsewhere RENAME TO segments").unwrap();
    drop(file);
    harness.reopen();
    assert_eq!(read_all(harness.open(), raw(0)).len(), 1);
    assert_eq!(append(harness.open(), vec![record(raw(0), b"d".to_vec())]).unwrap(), [1]);
}

#[test]
fn a_full_file_refuses_until_retention_makes_room() {
    let harness = InFile::new();
    harness.open().close();
    let config = SqliteConfig { file_bytes_max: Some(512 << 10), ..harness.config() };
    let journal = SqliteJournal::open(config).unwrap();
    let mut acknowledged = 0;
    let refused = loop {
        assert!(acknowledged < 1000, "nothing stopped it");
        match append(&journal, vec![record(raw(0), vec![b'x'; 5_000]); 3]) {
            Ok(_) => acknowledged += 3,
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, JournalError::Retry(_)), "{refused:?}");
    assert_eq!(read_all(&journal, raw(0)).len(), acknowledged);
    assert_eq!(append(&journal, vec![record(raw(0), vec![b'x'; 50_000])]).unwrap_err(), refused);
    assert_eq!((journal.stats().failed, journal.stats().appended), (2, acknowledged as u64));
    harness.clock.advance(Duration::from_secs(3601));
    assert_eq!(journal.retain().unwrap(), acknowledged as u64);
    let offsets = append(&journal, vec![record(raw(0), vec![b'x'; 50_000])]).unwrap();
    assert_eq!(offsets, [acknowledged as i64], "a refused append has used no offset");
    assert_eq!(read_all(&journal, raw(0)).len(), 1);
}

#[test]
fn a_damaged_segment_is_named_and_not_handed_out() {
    let mut harness = InFile::new();
    append(harness.open(), vec![record(raw(2), b"good".to_vec())]).unwrap();
    append(harness.open(), vec![record(raw(2), b"bad".to_vec())]).unwrap();
    let path = harness.config().path;
    harness.open().close();
    let file = Connection::open(&path).unwrap();
    let id: i64 = file.query_row("SELECT max(id) FROM segments", [], |row| row.get(0)).unwrap();
    let mut body: Vec<u8> =
        file.query_row("SELECT body FROM segments WHERE id = ?1", [id], |row| row.get(0)).unwrap();
    *body.last_mut().unwrap() ^= 1;
    file.execute("UPDATE segments SET body = ?2 WHERE id = ?1", rusqlite::params![id, body]).unwrap();
    drop(file);
    harness.reopen();
    let mut reader = harness.open().reader().unwrap();
    let mut seen = Vec::new();
    let next = reader.read(raw(2), 0, 10, &mut |record| seen.push(record.value.to_vec())).unwrap();
    assert_eq!((next, seen), (1, vec![b"good".to_vec()]), "what lies before it is still readable");
    let error = reader.read(raw(2), next, 10, &mut |record| panic!("{record:?}")).unwrap_err();
    assert_eq!(
        error,
        JournalError::Fatal("the segment at offset 1 is damaged: its checksum does not fit".to_owned())
    );
}

#[test]
fn receipt_times_do_not_follow_the_clock_back() {
    let mut harness = InFile::new();
    let clock = harness.clock.clone();
    append(harness.open(), vec![record(raw(0), b"a".to_vec())]).unwrap();
    clock.set(1_000);
    append(harness.open(), vec![record(raw(0), b"b".to_vec())]).unwrap();
    harness.reopen();
    append(harness.open(), vec![record(raw(0), b"c".to_vec())]).unwrap();
    let times: Vec<i64> = read_all(harness.open(), raw(0)).iter().map(|record| record.received_at).collect();
    assert_eq!(times.len(), 3);
    assert!(times.is_sorted() && times[0] >= SetClock::START, "{times:?}");
    assert!(harness.open().now() >= times[2]);
}

#[test]
fn a_token_of_an_earlier_opening_commits_nothing() {
    let mut harness = InFile::new();
    let own = |journal: &SqliteJournal| {
        let mut consumer = journal.consumer("g", "m", &[Topic::Raw]).unwrap();
        consumer.poll(Duration::ZERO, 0, &mut |_| {}).unwrap();
        let token = consumer.token().unwrap();
        (consumer, token)
    };
    let (before, old) = own(harness.open());
    drop(before);
    harness.reopen();
    let (_consumer, new) = own(harness.open());
    let mut committer = harness.open().committer("p").unwrap();
    let at = Committed { offset: 0, metadata: String::new() };
    let transaction = Transaction { records: Vec::new(), offsets: vec![(raw(0), at)] };
    let refused = committer.commit(&transaction, &old).unwrap_err();
    assert!(matches!(refused, JournalError::Fenced(_)), "{refused:?}");
    committer.commit(&transaction, &new).unwrap();
}

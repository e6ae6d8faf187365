//! The SQLite adapter: conformance, convergence under any order, files that are not ours, expiry.

use super::*;
use crate::conformance::{self, ALWAYS, aggregate, alert, device, first, retraction, score};
use proptest::prelude::*;
use schemas::record::EmissionKind;
use std::collections::BTreeMap;
use std::sync::Arc;

fn open(path: &Path) -> SqliteStore {
    SqliteStore::open(path, SqliteOptions::default()).unwrap()
}

/// A store whose folder goes with it.
struct Scratch {
    store: SqliteStore,
    _folder: tempfile::TempDir,
}

fn scratch(options: SqliteOptions) -> Scratch {
    let folder = tempfile::tempdir().unwrap();
    Scratch { store: SqliteStore::open(&folder.path().join("store.db"), options).unwrap(), _folder: folder }
}

#[test]
fn conforms() {
    let folder = tempfile::tempdir().unwrap();
    let opened = std::cell::Cell::new(0);
    conformance::all(|| {
        opened.set(opened.get() + 1);
        open(&folder.path().join(format!("{}.db", opened.get())))
    });
}

#[test]
fn devices_come_by_id_with_their_alerts_and_totals_are_kept() {
    let Scratch { store, _folder } = scratch(SqliteOptions::default());
    store.write(&["c", "a", "b"].map(|id| Write::Alert(alert(id, "0-0-0", 1, 100)))).unwrap();
    let rows = conformance::every(2, |page| store.devices(page));
    let found: Vec<_> = rows.iter().map(|row| (row.device_id.as_str(), row.alerts)).collect();
    assert_eq!(found, [("a", Some(1)), ("b", Some(1)), ("c", Some(1))]);
    assert_eq!(store.totals().unwrap(), Some(store.count().unwrap()));
}

#[test]
fn rows_and_counts_survive_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    open(&path).write(&[Write::Aggregate(aggregate("d", 0, 1, 100))]).unwrap();
    let store = open(&path);
    assert_eq!(store.count().unwrap().windows, 1);
    assert_eq!(store.latest("d").unwrap(), [aggregate("d", 0, 1, 100)]);
}

#[test]
fn a_failed_write_leaves_nothing_of_it() {
    let Scratch { store, _folder } = scratch(SqliteOptions::default());
    store.writer().connection.pragma_update(None, "max_page_count", 40).unwrap();
    let many: Vec<Write> =
        (0..2_000).map(|i| Write::Aggregate(aggregate("d", i * 60_000_000, 1, 100 + i))).collect();
    let error = store.write(&many).unwrap_err();
    assert!(
        matches!(&error, StoreError::Retry(text) if text.contains("is full: free some space")),
        "{error:?}"
    );
    assert_eq!(store.count().unwrap(), StoreTotals::default());
    store.writer().connection.pragma_update(None, "max_page_count", 100_000).unwrap();
    store.write(&many).unwrap();
    assert_eq!(store.count().unwrap().windows, 2_000);
}

#[test]
fn a_lock_held_elsewhere_is_said_and_passes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let store = SqliteStore::open(
        &path,
        SqliteOptions { busy: Duration::from_millis(20), ..SqliteOptions::default() },
    )
    .unwrap();
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let write = [Write::Device(device("d", false, 5))];
    let error = store.write(&write).unwrap_err();
    assert!(matches!(&error, StoreError::Retry(text) if text.contains("is in use")), "{error:?}");
    assert_eq!(store.count().unwrap().devices, 0, "readers do not wait for it");
    other.execute_batch("ROLLBACK").unwrap();
    store.write(&write).unwrap();
    assert_eq!(store.count().unwrap().devices, 1);
}

fn fatal(path: &Path) -> String {
    match SqliteStore::open(path, SqliteOptions::default()) {
        Err(StoreError::Fatal(text)) => text,
        other => panic!("{other:?}"),
    }
}

#[test]
fn files_that_are_not_ours_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes.txt");
    std::fs::write(&path, "Dear diary, this is a text file and was never meant to be a database.".repeat(40))
        .unwrap();
    let text = fatal(&path);
    assert!(text.contains("notes.txt is not a database file"), "{text}");

    let path = folder.path().join("music.db");
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE songs (name TEXT)").unwrap();
    let text = fatal(&path);
    assert!(text.contains("music.db is an SQLite file of another program"), "{text}");

    let path = folder.path().join("newer.db");
    drop(open(&path));
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let text = fatal(&path);
    assert!(text.contains("version 99"), "{text}");

    let text = fatal(&folder.path().join("missing/store.db"));
    assert!(text.contains("its folder must exist"), "{text}");
    let text = fatal(folder.path());
    assert!(text.contains("cannot be opened"), "{text}");
}

#[test]
fn a_read_only_file_is_said_at_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    drop(open(&path));
    // The administrator may write what nobody may, so the mode alone proves nothing: ask SQLite for it too.
    let error = fault::of(&path, &rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(8), None));
    assert!(
        matches!(&error, StoreError::Fatal(text) if text.contains("read-only for this user")),
        "{error:?}"
    );
    let connection = Connection::open_with_flags(&path, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let error = connection.execute("DELETE FROM windows", []).unwrap_err();
    assert!(matches!(fault::of(&path, &error), StoreError::Fatal(_)), "{error}");
}

#[test]
fn readers_are_bounded_and_come_back() {
    let options =
        SqliteOptions { readers_max: 1, busy: Duration::from_millis(20), ..SqliteOptions::default() };
    let Scratch { store, _folder } = scratch(options);
    let taken = store.readers.lock().unwrap().pop().unwrap();
    let error = store.count().unwrap_err();
    assert!(
        matches!(&error, StoreError::Retry(text) if text.contains("all 1 reading connections")),
        "{error:?}"
    );
    drop(Lent { store: &store, connection: Some(taken) });
    store.count().unwrap();
    assert!(store.devices(&Page { limit: 1, cursor: Some("?".to_owned()) }).is_err());
    store.count().unwrap();
}

#[test]
fn a_connection_that_comes_back_wakes_who_waits_for_it() {
    let options = SqliteOptions { readers_max: 1, busy: Duration::from_secs(60), ..SqliteOptions::default() };
    let Scratch { store, _folder } = scratch(options);
    let (store, (tell, told)) = (Arc::new(store), std::sync::mpsc::channel());
    // Whether the other waits already when the connection comes back is up to the scheduler: once in many rounds it does.
    for round in 0..50 {
        let taken = store.readers.lock().unwrap().pop().unwrap();
        let (other, done, begun) = (Arc::clone(&store), tell.clone(), Arc::new(std::sync::Barrier::new(2)));
        let begins = Arc::clone(&begun);
        let waiting = std::thread::spawn(move || {
            begins.wait();
            done.send(other.count().is_ok()).unwrap();
        });
        begun.wait();
        (0..round * 20).for_each(|_| std::thread::yield_now());
        drop(Lent { store: &store, connection: Some(taken) });
        assert_eq!(told.recv_timeout(Duration::from_secs(20)), Ok(true));
        waiting.join().unwrap();
    }
}

#[test]
fn a_page_has_no_more_rows_than_a_page_may_have() {
    let Scratch { store, _folder } = scratch(SqliteOptions::default());
    let rows = i64::from(crate::paging::ROWS_MAX) + 1;
    let many: Vec<Write> = (0..rows).map(|i| Write::Score(score("d", "m", i, i, 100 + i))).collect();
    store.write(&many).unwrap();
    let page = store.scores("d", None, ALWAYS, &first(u32::MAX)).unwrap();
    assert_eq!(page.items.len(), crate::paging::ROWS_MAX as usize);
    let rest = store.scores("d", None, ALWAYS, &Page { limit: u32::MAX, cursor: page.next }).unwrap();
    assert_eq!((rest.items.len(), rest.next), (1, None));
}

#[test]
fn reads_go_on_while_another_thread_writes() {
    let Scratch { store, _folder } = scratch(SqliteOptions::default());
    let store = Arc::new(store);
    std::thread::scope(|scope| {
        let writer = Arc::clone(&store);
        scope.spawn(move || {
            for i in 0..100 {
                let rows = [0, 1]
                    .map(|k| Write::Aggregate(aggregate("d", (2 * i + k) * 60_000_000, 1, 100 + 2 * i + k)));
                writer.write(&rows).unwrap();
            }
        });
        loop {
            let rows = store.windows("d", "temp", "1m", ALWAYS, &first(10_000)).unwrap().items.len();
            assert_eq!(rows % 2, 0, "a reader sees whole transactions");
            if rows == 200 {
                break;
            }
            std::thread::yield_now();
        }
    });
}

#[test]
fn rows_expire_by_write_clock_in_slices() {
    let second = 1_000_000;
    let hour = Some(Duration::from_secs(3600));
    let retention = Retention { windows: hour, scores: hour, alerts: None };
    let Scratch { store, _folder } = scratch(SqliteOptions { retention, ..SqliteOptions::default() });
    let old: Vec<Write> = (0..2_500)
        .flat_map(|i| {
            [
                Write::Aggregate(aggregate("d", i * second, 1, 100 + i)),
                Write::Score(score("d", "m", i, i, 100 + i)),
            ]
        })
        .collect();
    store.write(&old).unwrap();
    store
        .write(&[Write::Alert(alert("d", "0-0-0", 1, 100)), Write::Aggregate(retraction("d", 0, 5, 99))])
        .unwrap();
    assert_eq!((store.count().unwrap().windows, store.count().unwrap().scores), (2_500, 2_500));
    for left in [1_500, 500, 1, 1] {
        store.write(&[Write::Aggregate(aggregate("d", 0, 2, 3_700 * second))]).unwrap();
        assert_eq!(store.count().unwrap().windows, left);
    }
    let totals = store.count().unwrap();
    assert_eq!((totals.scores, totals.alerts), (0, 1), "alerts are kept for ever here");
    assert_eq!(store.latest("d").unwrap()[0].start, 2_499 * second, "what was last known stays");
}

#[test]
fn a_withdrawn_row_that_expires_was_counted_out_before() {
    let retention = Retention { windows: Some(Duration::from_secs(1)), scores: None, alerts: None };
    let Scratch { store, _folder } = scratch(SqliteOptions { retention, ..SqliteOptions::default() });
    let (first, second) = (aggregate("d", 0, 1, 100), aggregate("d", 60_000_000, 1, 100));
    store.write(&[Write::Aggregate(first), Write::Aggregate(second)]).unwrap();
    store.write(&[Write::Aggregate(retraction("d", 0, 2, 101))]).unwrap();
    assert_eq!(store.count().unwrap().windows, 1);
    store.write(&[Write::Aggregate(aggregate("d", 60_000_000, 2, 2_000_000))]).unwrap();
    assert_eq!(store.count().unwrap().windows, 1);
    let kept: i64 =
        store.writer().connection.query_row("SELECT count(*) FROM windows", [], |row| row.get(0)).unwrap();
    assert_eq!(kept, 1, "the withdrawn row is gone");
}

#[test]
fn a_clock_that_runs_ahead_empties_nothing() {
    let day = Duration::from_secs(86_400);
    let retention = Retention { windows: Some(day), scores: None, alerts: None };
    let Scratch { store, _folder } = scratch(SqliteOptions { retention, ..SqliteOptions::default() });
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let micros = |time: Duration| Micros::try_from(time.as_micros()).unwrap();
    store.write(&[Write::Aggregate(aggregate("d", 0, 1, micros(now)))]).unwrap();
    store.write(&[Write::Aggregate(aggregate("d", 60_000_000, 1, micros(now + day * 400)))]).unwrap();
    assert_eq!(store.count().unwrap().windows, 2);
}

#[test]
fn expired_alerts_leave_the_day_table_and_the_devices_count() {
    let retention = Retention { windows: None, scores: None, alerts: Some(Duration::from_secs(1)) };
    let Scratch { store, _folder } = scratch(SqliteOptions { retention, ..SqliteOptions::default() });
    store
        .write(&[Write::Alert(alert("d", "0-0-0", 1, 100)), Write::Alert(alert("d", "0-1-0", 2, 200))])
        .unwrap();
    store.write(&[Write::Alert(alert("d", "0-2-0", 3, 1_000_150))]).unwrap();
    let ids: Vec<_> =
        store.alerts(None, ALWAYS, &first(9)).unwrap().items.into_iter().map(|alert| alert.id).collect();
    assert_eq!(ids, ["0-2-0", "0-1-0"]);
    assert_eq!((store.device("d").unwrap().unwrap().alerts, store.count().unwrap().alerts), (Some(2), 2));
}

/// Every table as text, for comparison.
fn dump(store: &SqliteStore) -> Vec<String> {
    let devices = conformance::every(3, |page| store.devices(page));
    let ids: Vec<String> = ["a", "b"].map(str::to_owned).into();
    let mut lines: Vec<String> = devices.iter().map(|row| format!("{row:?}")).collect();
    for id in &ids {
        lines.extend(store.latest(id).unwrap().iter().map(|row| format!("latest {row:?}")));
        let windows = conformance::every(2, |page| store.windows(id, "temp", "1m", ALWAYS, page));
        lines.extend(windows.iter().map(|row| format!("{row:?}")));
        let scores = conformance::every(2, |page| store.scores(id, None, ALWAYS, page));
        lines.extend(scores.iter().map(|row| format!("{row:?}")));
    }
    let alerts = conformance::every(2, |page| store.alerts(None, ALWAYS, page));
    lines.extend(alerts.iter().map(|row| format!("{row:?}")));
    lines.push(format!("{:?}", store.count().unwrap()));
    lines
}

fn writes() -> impl Strategy<Value = Vec<Write>> {
    let one = (0..5_u8, 0..2_usize, 0..4_i64).prop_map(|(kind, device, key)| (kind, ["a", "b"][device], key));
    proptest::collection::vec(one, 1..24).prop_map(|picks| {
        let mut writes = Vec::new();
        for (clock, (kind, id, key)) in (100..).zip(picks) {
            let start = key * 60_000_000;
            let revision = i32::try_from(clock).unwrap();
            writes.push(match kind {
                0 => Write::Aggregate(retraction(id, start, 0, clock)),
                1 => Write::Score(score(id, "m", key, 0, clock)),
                2 => Write::Alert(alert(id, &format!("0-{key}-0"), key, clock)),
                3 => Write::Device(conformance::device(id, clock % 2 == 0, clock)),
                _ => Write::Aggregate(aggregate(id, start, revision, clock)),
            });
        }
        writes
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    /// Any order, any repetition, any batching of the same writes gives the same tables; and the series is what a
    /// map from key to the write with the greatest clock says.
    #[test]
    fn writes_converge(
        (all, shuffled) in writes().prop_flat_map(|writes| {
            let twice: Vec<Write> = writes.iter().chain(&writes).cloned().collect();
            (Just(writes), Just(twice).prop_shuffle())
        }),
        batch in 1..7_usize,
    ) {
        let (one, other) = (scratch(SqliteOptions::default()), scratch(SqliteOptions::default()));
        one.store.write(&all).unwrap();
        for writes in shuffled.chunks(batch) {
            other.store.write(writes).unwrap();
        }
        prop_assert_eq!(dump(&one.store), dump(&other.store));

        let mut oracle: BTreeMap<(String, i64), &Aggregate> = BTreeMap::new();
        for write in &all {
            if let Write::Aggregate(row) = write {
                let slot = oracle.entry((row.device_id.clone(), row.start)).or_insert(row);
                if row.write_clock > slot.write_clock {
                    *slot = row;
                }
            }
        }
        oracle.retain(|_, row| row.kind != EmissionKind::Retracted);
        for id in ["a", "b"] {
            let live: Vec<Aggregate> =
                oracle.iter().rev().filter(|((device, _), _)| device == id).map(|(_, row)| (*row).clone()).collect();
            let found = conformance::every(3, |page| one.store.windows(id, "temp", "1m", ALWAYS, page));
            prop_assert_eq!(&found, &live);
            prop_assert_eq!(one.store.latest(id).unwrap(), live.first().cloned().into_iter().collect::<Vec<_>>());
        }
        prop_assert_eq!(one.store.count().unwrap().windows, oracle.len() as u64);
    }
}

//! Any order, any repetition, any batching of the same writes gives the answers of the embedded adapter, which reads
//! before it writes and so decides one by one.

use super::*;
use crate::conformance::{ALWAYS, aggregate, alert, device, every, retraction, score};
use crate::sqlite::{SqliteOptions, SqliteStore};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use schemas::Micros;
use std::collections::BTreeMap;

const DEVICES: [&str; 2] = ["a", "b"];

/// What both adapters are asked about the devices of a case.
fn answers(store: &dyn Store, case: &str) -> Vec<String> {
    let mut lines = Vec::new();
    for name in DEVICES {
        let id = format!("{case}{name}");
        lines.push(format!("{:?}", store.device(&id).unwrap()));
        lines.extend(store.latest(&id).unwrap().iter().map(|row| format!("latest {row:?}")));
        for window in ["1m", "1h"] {
            let rows = every(2, |page| store.windows(&id, "temp", window, ALWAYS, page));
            lines.extend(rows.iter().map(|row| format!("{row:?}")));
        }
        let rows = every(2, |page| store.scores(&id, None, ALWAYS, page));
        lines.extend(rows.iter().map(|row| format!("{row:?}")));
        let rows = every(3, |page| store.scores(&id, Some("m"), ALWAYS, page));
        lines.extend(rows.iter().map(|row| format!("m {row:?}")));
        let rows = every(2, |page| store.alerts(Some(&id), ALWAYS, page));
        lines.extend(rows.iter().map(|row| format!("{row:?}")));
    }
    // Every case is in these lists.
    let rows = every(500, |page| store.alerts(None, ALWAYS, page));
    let mine = rows.iter().filter(|row| row.device_id.starts_with(case));
    lines.extend(mine.map(|row| format!("of all: {row:?}")));
    let mut rows = every(500, |page| store.devices(page));
    rows.retain(|row| row.device_id.starts_with(case));
    rows.sort_by(|one, other| one.device_id.cmp(&other.device_id));
    lines.extend(rows.iter().map(|row| format!("{} {:?} {:?}", row.device_id, row.metadata, row.seen_at)));
    lines
}

/// A window's row, now and then one that aggregated nothing and knows no metadata.
fn window(id: &str, name: &str, start: Micros, clock: Micros, empty: bool) -> Aggregate {
    let mut row = aggregate(id, start, i32::try_from(clock).unwrap(), clock);
    name.clone_into(&mut row.window);
    if empty {
        row.count = 0;
        for value in [&mut row.sum, &mut row.min, &mut row.max, &mut row.first, &mut row.last] {
            *value = None;
        }
        (row.mean, row.m2, row.device) = (None, None, None);
        row.scores.clear();
    }
    row
}

/// Writes as a processor makes them: clocks grow, and a row is marked as its series' newest when no later window was
/// written before. `marked`: all are, which no processor would say.
fn writes() -> impl Strategy<Value = Vec<Write>> {
    let one = (0..7_u8, 0..2_usize, -2..3_i64, any::<bool>());
    (proptest::collection::vec(one, 1..24), any::<bool>()).prop_map(|(picks, marked)| {
        let mut newest: BTreeMap<(usize, &str), Micros> = BTreeMap::new();
        let mut writes = Vec::new();
        for (clock, (kind, id, key, flag)) in (100..).zip(picks) {
            // Half a day apart: over several buckets, before the epoch too.
            let (name, start) = (DEVICES[id], key * 43_200_000_000);
            let series = if flag { "1m" } else { "1h" };
            writes.push(match kind {
                0 | 1 => {
                    let row = retraction(name, start, 0, clock);
                    Write::Aggregate(Aggregate { window: series.to_owned(), ..row })
                }
                2 => Write::Score(score(name, if flag { "m" } else { "n" }, key, 0, clock)),
                3 => Write::Alert(alert(name, &format!("0-{key}-0"), start, clock)),
                4 => Write::Device(device(name, flag, clock)),
                _ => {
                    let mut row = window(name, series, start, clock, key == 0);
                    let latest = newest.entry((id, series)).or_insert(start);
                    row.newest = marked || start >= *latest;
                    *latest = start.max(*latest);
                    Write::Aggregate(row)
                }
            });
        }
        writes
    })
}

fn renamed(write: &Write, case: &str) -> Write {
    let mut write = write.clone();
    let id = match &mut write {
        Write::Aggregate(row) => &mut row.device_id,
        Write::Score(row) => &mut row.device_id,
        Write::Alert(row) => &mut row.device_id,
        Write::Device(row) => &mut row.device.device_id,
    };
    id.insert_str(0, case);
    write
}

#[test]
fn writes_converge_to_what_the_embedded_adapter_answers() {
    let Some(node) = node("writes_converge_to_what_the_embedded_adapter_answers") else { return };
    let here = scratch(&node);
    let folder = tempfile::tempdir().unwrap();
    let embedded = SqliteStore::open(&folder.path().join("store.db"), SqliteOptions::default()).unwrap();
    let orders = writes().prop_flat_map(|writes| {
        let twice: Vec<Write> = writes.iter().chain(&writes).cloned().collect();
        (Just(writes), Just(twice).prop_shuffle(), 1..7_usize)
    });
    let next = AtomicU32::new(0);
    let config = Config { cases: 40, failure_persistence: None, max_shrink_iters: 200, ..Config::default() };
    TestRunner::new(config)
        .run(&orders, |(all, shuffled, batch)| {
            let case = format!("{}-", next.fetch_add(1, Ordering::Relaxed));
            let mine =
                |writes: &[Write]| writes.iter().map(|write| renamed(write, &case)).collect::<Vec<_>>();
            embedded.write(&mine(&all)).unwrap();
            for writes in shuffled.chunks(batch) {
                here.write(&mine(writes)).unwrap();
            }
            prop_assert_eq!(answers(&here, &case), answers(&embedded, &case));
            Ok(())
        })
        .unwrap();
    assert_eq!(here.count().unwrap(), embedded.count().unwrap());
}

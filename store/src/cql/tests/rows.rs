//! What lies in the tables, as any client sees it: clocks, times to live, nulls; and lists longer than a page.

use super::*;
use crate::conformance::{ALWAYS, aggregate, alert, device, every, first, retraction, score};
use schemas::Micros;
use scylla::value::CqlValue;
use std::time::{Duration, Instant};

/// Asks until it is so.
fn until(what: &str, mut so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !so() {
        assert!(Instant::now() < deadline, "not within a minute: {what}");
        std::thread::yield_now();
    }
}

fn bigint(value: Option<&CqlValue>) -> Option<i64> {
    match value {
        Some(CqlValue::BigInt(value)) => Some(*value),
        Some(CqlValue::Int(value)) => Some(i64::from(*value)),
        _ => None,
    }
}

#[test]
fn write_time_is_the_write_clock_and_time_to_live_the_retention() {
    let Some(node) = node("write_time_is_the_write_clock_and_time_to_live_the_retention") else { return };
    let here = scratch_with(&node, |config| config.retention.alerts = None);
    let clock: Micros = 1_700_000_000_000_001;
    here.write(&[
        Write::Aggregate(aggregate("d", clock - 90_000_000, 1, clock)),
        Write::Score(score("d", "m", clock, 1, clock + 1)),
        Write::Alert(alert("d", "0-0-0", clock, clock + 2)),
        Write::Device(device("d", false, clock + 3)),
    ])
    .unwrap();
    let client = Client::new(&here.config);
    let day = 86_400;
    for (table, columns, written, kept) in [
        ("windows", &["kind", "sum", "device", "generation"][..], clock, Some(90 * day)),
        ("latest", &["kind", "m2", "scores"], clock, None),
        ("latest", &["live_start"], clock - 90_000_000, None),
        ("scores", &["score", "value"], clock + 1, Some(30 * day)),
        ("alerts_by_device", &["message"], clock + 2, None),
        ("alerts_by_day", &["message"], clock + 2, None),
        ("devices", &["metadata"], clock + 3, None),
        ("devices", &["seen_at"], clock - 1, None),
    ] {
        for column in columns {
            let rows = client.rows(&format!("SELECT WRITETIME({column}), TTL({column}) FROM {{k}}.{table}"));
            let [row] = rows.as_slice() else { panic!("{table}: {rows:?}") };
            assert_eq!(bigint(row[0].as_ref()), Some(written), "{table}.{column}");
            let left = bigint(row[1].as_ref());
            assert_eq!(left.is_some(), kept.is_some(), "{table}.{column}");
            let fits = |(left, kept): (i64, i64)| (kept - 300..=kept).contains(&left);
            assert!(left.zip(kept).is_none_or(fits), "{table}.{column}: {left:?} of {kept:?}");
        }
    }
}

#[test]
fn a_null_covers_the_value_before_it_in_any_order() {
    let Some(node) = node("a_null_covers_the_value_before_it_in_any_order") else { return };
    let here = scratch(&node);
    let full = aggregate("d", 0, 1, 100);
    let mut bare = aggregate("d", 0, 2, 200);
    (bare.sum, bare.mean, bare.m2, bare.device) = (None, None, None, None);
    bare.scores.clear();
    let mut stalled = alert("d", "0-0-0", 5, 200);
    (stalled.metric, stalled.value, stalled.model, stalled.version) = (None, None, None, None);
    (stalled.score, stalled.threshold) = (None, None);
    let unscored = Score { value: None, ..score("d", "m", 5, 1, 200) };
    let (older, newer) = (
        [
            Write::Aggregate(full),
            Write::Alert(alert("d", "0-0-0", 5, 100)),
            Write::Score(score("d", "m", 5, 1, 100)),
        ],
        [Write::Aggregate(bare.clone()), Write::Alert(stalled.clone()), Write::Score(unscored.clone())],
    );
    for writes in [&older, &newer, &older] {
        here.write(writes).unwrap();
    }
    let always = first(9);
    assert_eq!(here.windows("d", "temp", "1m", ALWAYS, &always).unwrap().items, [bare.clone()]);
    assert_eq!(here.latest("d").unwrap(), [bare]);
    assert_eq!(here.alerts(None, ALWAYS, &always).unwrap().items, [stalled.clone()]);
    assert_eq!(here.alerts(Some("d"), ALWAYS, &always).unwrap().items, [stalled]);
    assert_eq!(here.scores("d", None, ALWAYS, &always).unwrap().items, [unscored]);
}

#[test]
fn a_retraction_hides_its_row_and_older_ones_and_latest_tells_the_truth() {
    let Some(node) = node("a_retraction_hides_its_row_and_older_ones_and_latest_tells_the_truth") else {
        return;
    };
    let here = scratch(&node);
    let minute = 60_000_000;
    let start = |row: &Aggregate| row.start;
    let latest = || here.latest("d").unwrap().iter().map(start).collect::<Vec<_>>();
    // Three sessions; then one reading joins all of them: the merged one is not marked, and starts first.
    for (at, clock) in [(0, 100), (5, 110), (9, 120)] {
        here.write(&[Write::Aggregate(aggregate("d", at * minute, 1, clock))]).unwrap();
    }
    assert_eq!(latest(), [9 * minute]);
    here.write(&[Write::Aggregate(retraction("d", 9 * minute, 0, 130))]).unwrap();
    assert_eq!(latest(), [5 * minute]);
    let merged = Aggregate { newest: false, ..aggregate("d", 0, 2, 132) };
    here.write(&[Write::Aggregate(retraction("d", 5 * minute, 0, 131)), Write::Aggregate(merged.clone())])
        .unwrap();
    assert_eq!(here.latest("d").unwrap(), std::slice::from_ref(&merged));
    // All of it again, in the worst order.
    for (at, clock) in [(9, 120), (5, 110), (0, 100)] {
        here.write(&[Write::Aggregate(aggregate("d", at * minute, 1, clock))]).unwrap();
        assert_eq!(here.latest("d").unwrap(), std::slice::from_ref(&merged));
        assert_eq!(
            here.windows("d", "temp", "1m", ALWAYS, &first(9)).unwrap().items,
            std::slice::from_ref(&merged)
        );
    }
    // The series goes on.
    here.write(&[Write::Aggregate(aggregate("d", 20 * minute, 1, 140))]).unwrap();
    assert_eq!(latest(), [20 * minute]);
}

#[test]
fn what_was_last_known_stays_when_its_window_expires() {
    let Some(node) = node("what_was_last_known_stays_when_its_window_expires") else { return };
    let here = scratch_with(&node, |config| config.retention.windows = Some(Duration::from_secs(1)));
    let (row, gone) = (aggregate("d", 0, 1, 100), aggregate("e", 0, 1, 100));
    here.write(&[Write::Aggregate(row.clone()), Write::Aggregate(gone)]).unwrap();
    here.write(&[Write::Aggregate(retraction("e", 0, 5, 101))]).unwrap();
    // A retraction of a later window makes `latest` look into `windows`, which are gone.
    here.write(&[Write::Aggregate(aggregate("d", -60_000_000, 1, 99))]).unwrap();
    until("the windows have expired", || here.count().unwrap().windows == 0);
    assert_eq!(here.latest("d").unwrap(), [row]);
    assert_eq!(here.latest("e").unwrap(), []);
    assert_eq!(here.windows("d", "temp", "1m", ALWAYS, &first(9)).unwrap().items, []);
}

#[test]
fn lists_go_over_many_buckets_and_many_pages() {
    let Some(node) = node("lists_go_over_many_buckets_and_many_pages") else { return };
    let here = scratch(&node);
    let days: Vec<Micros> = (-70..70).map(|day| day * 86_400_000_000).collect();
    let writes: Vec<Write> =
        (0..).zip(&days).map(|(i, day)| Write::Aggregate(aggregate("d", *day, 1, 100 + i))).collect();
    here.write(&writes).unwrap();
    for limit in [7, 200] {
        let rows = every(limit, |page| here.windows("d", "temp", "1m", ALWAYS, page));
        assert!(rows.iter().map(|row| row.start).eq(days.iter().rev().copied()), "by pages of {limit}");
    }
    let of = Span { from: days[3], to: days[5] };
    let rows = every(1, |page| here.windows("d", "temp", "1m", of, page));
    assert!(rows.iter().map(|row| row.start).eq([days[4], days[3]]));
    let writes: Vec<Write> =
        (0..200).map(|i| Write::Device(device(&format!("device-{i}"), false, 100 + i))).collect();
    here.write(&writes).unwrap();
    let mut ids: Vec<String> =
        every(9, |page| here.devices(page)).into_iter().map(|row| row.device_id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 201);
}

#[test]
fn a_page_and_a_count_of_alerts_have_their_bounds() {
    let Some(node) = node("a_page_and_a_count_of_alerts_have_their_bounds") else { return };
    let here = scratch(&node);
    let most = i64::from(read::ALERTS_COUNTED_MAX);
    let alerts = |range: std::ops::Range<i64>| {
        let rows = range.map(|i| Write::Alert(alert("d", &format!("0-{i}-0"), i * 1_000_000, 100 + i)));
        here.write(&rows.collect::<Vec<_>>()).unwrap();
    };
    alerts(0..most);
    assert_eq!(here.device("d").unwrap().unwrap().alerts, Some(most.unsigned_abs()));
    alerts(most..most + 1);
    assert_eq!(here.device("d").unwrap().unwrap().alerts, None, "too many to be counted");
    let page = here.alerts(Some("d"), ALWAYS, &first(u32::MAX)).unwrap();
    assert_eq!(page.items.len(), crate::paging::ROWS_MAX as usize);
    let rest = here.alerts(Some("d"), ALWAYS, &Page { limit: u32::MAX, cursor: page.next }).unwrap();
    assert_eq!((rest.items.len(), rest.next), (1, None));
    assert_eq!(here.count().unwrap().alerts, most.unsigned_abs() + 1);
}

#[test]
fn a_cluster_that_is_late_is_asked_for_less_and_the_caller_told() {
    const DEVICES: u64 = 2_000;
    let Some(node) = node("a_cluster_that_is_late_is_asked_for_less_and_the_caller_told") else { return };
    let here = scratch(&node);
    let cluster = Arc::clone(&here.store.cluster);
    let hurried = here.store.runtime.run(async move {
        let puts = Puts::prepare(&cluster.session, &cluster.config.keyspace, "").await?;
        Ok(cluster.puts.set(puts.hurried()).is_ok())
    });
    assert_eq!(hurried, Ok(true));
    let before = here.store.counts().concurrency;
    // So many at once that a millisecond, the least the runtime can wait, is too short for some of them every time.
    let writes: Vec<Write> =
        (0..DEVICES).map(|of| Write::Score(score(&format!("d{of}"), "m", 5, 1, 100))).collect();
    let error = here.write(&writes).unwrap_err();
    assert!(matches!(&error, StoreError::Retry(text) if text.contains("is overloaded")), "{error:?}");
    let counts = here.store.counts();
    assert!(counts.concurrency < before, "{counts:?}");
    // Two groups a device, each three times at most.
    assert!((3..=counts.requests).contains(&counts.overloads), "{counts:?}");
    assert!(counts.requests <= 6 * DEVICES && counts.repeats <= 4 * DEVICES, "{counts:?}");
    // The same again, by one that waits: nothing is lost or doubled.
    let patient = CqlStore::open(here.config.clone()).unwrap();
    patient.write(&writes).unwrap();
    assert_eq!(here.count().unwrap().scores, DEVICES);
}

#[test]
fn it_may_be_called_from_a_thread_of_another_runtime() {
    let Some(node) = node("it_may_be_called_from_a_thread_of_another_runtime") else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async move {
        let asked = tokio::task::spawn_blocking(move || {
            let here = scratch(&node);
            here.write(&[Write::Aggregate(aggregate("d", 0, 1, 100))]).unwrap();
            here.latest("d").unwrap().len()
        });
        assert_eq!(asked.await.unwrap(), 1);
    });
}

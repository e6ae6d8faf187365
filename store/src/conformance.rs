//! What every adapter must do, as functions over a store. An adapter's tests call [`all`] with a way to open an
//! empty one; a failure panics with what was expected.
//!
//! Does not live here: what only one adapter can do (files, errors of its own, expiry).

use crate::port::{Listed, Page, Span, Store, StoreError, StoreTotals, Write};
use schemas::Micros;
use schemas::record::{
    Aggregate, Alert, AlertKind, Channel, Device, DeviceLatest, DeviceSummary, EmissionKind, Score,
    ScoreSummary,
};

/// The whole time line.
pub const ALWAYS: Span = Span { from: Micros::MIN, to: Micros::MAX };

/// A page of at most `limit` items from the start.
#[must_use]
pub const fn first(limit: u32) -> Page {
    Page { limit, cursor: None }
}

/// A full aggregate row of `device`'s metric `temp` in windows `1m`.
#[must_use]
pub fn aggregate(device: &str, start: Micros, revision: i32, write_clock: Micros) -> Aggregate {
    let value = f64::from(revision) + 0.5;
    Aggregate {
        device_id: device.to_owned(),
        metric: "temp".to_owned(),
        window: "1m".to_owned(),
        start,
        end: start + 60_000_000,
        revision,
        kind: EmissionKind::OnTime,
        newest: true,
        count: 3,
        nulls: 1,
        sum: Some(value),
        min: Some(-value),
        max: Some(value),
        first: Some(0.1),
        last: Some(1e-300),
        mean: Some(value / 3.0),
        m2: Some(f64::MIN_POSITIVE),
        merged_into: None,
        device: Some(DeviceSummary {
            site: Some("hall \"7\"".to_owned()),
            unit: Some("°C".to_owned()),
            ..DeviceSummary::default()
        }),
        scores: vec![ScoreSummary {
            model: "zscore".to_owned(),
            count: 3,
            mean: 0.1,
            max: 0.3,
            alerts: 0,
            failed: 0,
        }],
        contributed_at: write_clock - 1,
        generation: 4,
        write_clock,
    }
}

/// The retraction of the row at `start`.
#[must_use]
pub fn retraction(device: &str, start: Micros, into: Micros, write_clock: Micros) -> Aggregate {
    Aggregate {
        kind: EmissionKind::Retracted,
        merged_into: Some(into),
        ..aggregate(device, start, 9, write_clock)
    }
}

/// A score of `device`.
#[must_use]
pub fn score(
    device: &str,
    model: &str,
    event_time: Micros,
    source_offset: i64,
    write_clock: Micros,
) -> Score {
    Score {
        device_id: device.to_owned(),
        model: model.to_owned(),
        version: "ab12".to_owned(),
        metric: "temp".to_owned(),
        event_time,
        value: Some(21.5),
        score: 0.25,
        threshold: 0.9,
        warm_up: true,
        source_offset,
        received_at: event_time + 5,
        window: None,
        window_end: None,
        write_clock,
    }
}

/// An alert of `device`.
#[must_use]
pub fn alert(device: &str, id: &str, event_time: Micros, write_clock: Micros) -> Alert {
    Alert {
        device_id: device.to_owned(),
        id: id.to_owned(),
        kind: AlertKind::Score,
        message: "temp scored 0.97 (threshold 0.9)".to_owned(),
        event_time,
        metric: Some("temp".to_owned()),
        value: Some(99.0),
        model: Some("zscore".to_owned()),
        version: Some("ab12".to_owned()),
        score: Some(0.97),
        threshold: Some(0.9),
        feature: None,
        expected_low: None,
        expected_high: None,
        window: None,
        window_end: None,
        received_at: event_time + 5,
        generation: 4,
        write_clock,
    }
}

/// Metadata of `device`, or its deletion.
#[must_use]
pub fn device(id: &str, deleted: bool, write_clock: Micros) -> DeviceLatest {
    let channel = Channel { unit: Some("°C".to_owned()), scale: Some(0.1), offset: None };
    DeviceLatest {
        device: Device {
            device_id: id.to_owned(),
            deleted,
            site: Some("hall 7".to_owned()),
            tags: [("line".to_owned(), "3".to_owned())].into(),
            channels: [("temp".to_owned(), channel)].into(),
            lateness: Some(7),
            ..Device::default()
        },
        received_at: write_clock - 2,
        write_clock,
    }
}

/// Runs every check, each on a store of its own.
///
/// # Panics
/// When the adapter does not do what the port promises.
pub fn all<S: Store>(open: impl Fn() -> S) {
    for check in [
        rows_come_back_whole,
        the_greater_write_clock_wins,
        a_retraction_deletes_and_stays,
        latest_follows_retractions,
        series_page_newest_first,
        scores_page_and_filter,
        alerts_page_by_device_and_overall,
        devices_appear_and_go,
        cursors_are_refused_elsewhere,
        totals_count_rows,
    ] {
        check(&open());
    }
}

fn write(store: &dyn Store, writes: &[Write]) {
    store.write(writes).expect("a write that the port allows");
}

/// Follows `next` to the end; checks that no page is longer than asked for and none but the last is shorter.
///
/// # Panics
/// When a page breaks that rule or a query fails.
pub fn every<T>(limit: u32, mut ask: impl FnMut(&Page) -> Result<Listed<T>, StoreError>) -> Vec<T> {
    let mut found = Vec::new();
    let mut page = first(limit);
    loop {
        let Listed { items, next } = ask(&page).expect("a page");
        assert!(items.len() <= limit as usize, "{} items on a page of {limit}", items.len());
        assert!(next.is_none() || items.len() == limit as usize, "a short page that goes on");
        found.extend(items);
        match next {
            Some(cursor) => page.cursor = Some(cursor),
            None => return found,
        }
    }
}

fn series(store: &dyn Store, device: &str) -> Vec<Aggregate> {
    every(2, |page| store.windows(device, "temp", "1m", ALWAYS, page))
}

fn rows_come_back_whole(store: &dyn Store) {
    let full = aggregate("d1", 60_000_000, 1, 100);
    let mut empty = aggregate("d1", 0, 1, 101);
    empty.count = 0;
    for value in [&mut empty.sum, &mut empty.min, &mut empty.max, &mut empty.first, &mut empty.last] {
        *value = None;
    }
    (empty.mean, empty.m2, empty.device, empty.newest) = (None, None, None, false);
    empty.scores.clear();
    let (score, alert, device) =
        (score("d1", "m", 5, 8, 102), alert("d1", "0-7-0", 6, 103), device("d1", false, 104));
    write(
        store,
        &[
            Write::Aggregate(full.clone()),
            Write::Aggregate(empty.clone()),
            Write::Score(score.clone()),
            Write::Alert(alert.clone()),
            Write::Device(device.clone()),
        ],
    );
    assert_eq!(series(store, "d1"), [full.clone(), empty]);
    assert_eq!(store.latest("d1").expect("latest"), [full]);
    assert_eq!(store.scores("d1", None, ALWAYS, &first(9)).expect("scores").items, [score]);
    assert_eq!(store.alerts(None, ALWAYS, &first(9)).expect("alerts").items, [alert]);
    let row = store.device("d1").expect("device").expect("known");
    assert_eq!((row.metadata, row.seen_at, row.alerts), (Some(device), Some(100), Some(1)));
    assert_eq!(store.device("d2").expect("device"), None);
    assert_eq!(series(store, "d2"), []);
}

fn the_greater_write_clock_wins(store: &dyn Store) {
    let (old, new) = (aggregate("d", 0, 1, 100), aggregate("d", 0, 2, 200));
    for row in [&new, &old, &new] {
        write(store, &[Write::Aggregate(row.clone())]);
        assert_eq!(series(store, "d"), std::slice::from_ref(&new));
    }
    let (was, is) = (device("d", false, 100), device("d", true, 200));
    write(store, &[Write::Device(is), Write::Device(was)]);
    assert_eq!(store.device("d").expect("device").expect("seen").metadata, None, "deletion wins");
    let mut newer = alert("d", "0-1-0", 5, 300);
    newer.message = "newer".to_owned();
    write(store, &[Write::Alert(newer.clone()), Write::Alert(alert("d", "0-1-0", 5, 299))]);
    assert_eq!(store.alerts(Some("d"), ALWAYS, &first(9)).expect("alerts").items, [newer]);
    let newer = Score { score: 0.5, ..score("d", "m", 5, 1, 300) };
    write(store, &[Write::Score(newer.clone()), Write::Score(score("d", "m", 5, 1, 299))]);
    assert_eq!(store.scores("d", None, ALWAYS, &first(9)).expect("scores").items, [newer]);
}

fn a_retraction_deletes_and_stays(store: &dyn Store) {
    write(store, &[Write::Aggregate(retraction("d", 10, 0, 200))]);
    write(store, &[Write::Aggregate(aggregate("d", 10, 1, 100))]);
    assert_eq!(series(store, "d"), [], "an older row that arrives after its retraction stays deleted");
    assert_eq!(store.latest("d").expect("latest"), []);
    let again = aggregate("d", 10, 10, 300);
    write(store, &[Write::Aggregate(again.clone())]);
    assert_eq!(series(store, "d"), [again], "a newer row lives again");
}

fn latest_follows_retractions(store: &dyn Store) {
    let (one, two) = (aggregate("d", 0, 1, 100), aggregate("d", 60_000_000, 1, 110));
    write(store, &[Write::Aggregate(one), Write::Aggregate(two.clone())]);
    assert_eq!(store.latest("d").expect("latest"), [two]);
    let merged = Aggregate { end: 120_000_000, ..aggregate("d", 0, 2, 131) };
    write(store, &[Write::Aggregate(retraction("d", 60_000_000, 0, 130)), Write::Aggregate(merged.clone())]);
    assert_eq!(store.latest("d").expect("latest"), [merged]);
    let humidity = Aggregate { metric: "humidity".to_owned(), ..aggregate("d", 0, 1, 140) };
    let hourly = Aggregate { window: "1h".to_owned(), ..aggregate("d", 0, 1, 141) };
    write(store, &[Write::Aggregate(humidity), Write::Aggregate(hourly)]);
    let names: Vec<_> =
        store.latest("d").expect("latest").into_iter().map(|row| (row.metric, row.window)).collect();
    let expected =
        [("humidity", "1m"), ("temp", "1h"), ("temp", "1m")].map(|(a, b)| (a.to_owned(), b.to_owned()));
    assert_eq!(names, expected, "by metric, then window name");
}

fn series_page_newest_first(store: &dyn Store) {
    // Across several buckets, before the epoch too.
    let starts: Vec<Micros> = (-3..4).map(|half_day| half_day * 43_200_000_000).collect();
    let rows: Vec<Write> =
        (0..).zip(&starts).map(|(i, start)| Write::Aggregate(aggregate("d", *start, 1, 100 + i))).collect();
    write(store, &rows);
    write(store, &[Write::Aggregate(aggregate("e", 7, 1, 500))]);
    let found: Vec<Micros> = series(store, "d").iter().map(|row| row.start).collect();
    assert!(found.iter().eq(starts.iter().rev()), "{found:?}");
    let span = Span { from: starts[1], to: starts[5] };
    let found = every(1, |page| store.windows("d", "temp", "1m", span, page));
    let found: Vec<Micros> = found.iter().map(|row| row.start).collect();
    assert!(found.iter().eq(starts[1..5].iter().rev()), "half-open: {found:?}");
    let empty = Span { from: 5, to: 5 };
    assert_eq!(store.windows("d", "temp", "1m", empty, &first(5)).expect("page").items, []);
}

fn scores_page_and_filter(store: &dyn Store) {
    let rows: Vec<Score> =
        (0..20).map(|i: i64| score("d", if i % 3 == 0 { "a" } else { "b" }, i / 4, i, 100 + i)).collect();
    write(store, &rows.iter().cloned().map(Write::Score).collect::<Vec<_>>());
    let mut expected = rows;
    expected.sort_by_key(|row| (-row.event_time, row.model.clone(), row.metric.clone(), -row.source_offset));
    assert_eq!(every(3, |page| store.scores("d", None, ALWAYS, page)), expected);
    let span = Span { from: 1, to: 4 };
    expected.retain(|row| row.model == "b" && (1..4).contains(&row.event_time));
    assert_eq!(every(2, |page| store.scores("d", Some("b"), span, page)), expected);
}

fn alerts_page_by_device_and_overall(store: &dyn Store) {
    let day = 86_400_000_000;
    let rows: Vec<Alert> = (0..24)
        .map(|i: i64| {
            alert(
                ["a", "b", "c"][usize::try_from(i % 3).unwrap_or(0)],
                &format!("0-{:02}-0", i / 2),
                (i / 5 - 2) * day,
                100 + i,
            )
        })
        .collect();
    write(store, &rows.iter().cloned().map(Write::Alert).collect::<Vec<_>>());
    let key = |row: &Alert| std::cmp::Reverse((row.event_time, row.id.clone(), row.device_id.clone()));
    let mut expected = rows;
    expected.sort_by_key(key);
    assert_eq!(every(4, |page| store.alerts(None, ALWAYS, page)), expected);
    let span = Span { from: -day, to: 2 * day };
    expected.retain(|row| (-day..2 * day).contains(&row.event_time));
    assert_eq!(every(3, |page| store.alerts(None, span, page)), expected);
    expected.retain(|row| row.device_id == "b");
    assert_eq!(every(1, |page| store.alerts(Some("b"), span, page)), expected);
    // A page goes on below the cursor and below the span's end, whichever is earlier.
    let cursor = store.alerts(None, ALWAYS, &first(1)).expect("alerts").next;
    let newest = every(100, |page| store.alerts(None, ALWAYS, page))[0].event_time;
    let before = Span { from: Micros::MIN, to: newest - 1 };
    let narrowed = store.alerts(None, before, &Page { limit: 100, cursor }).expect("alerts");
    assert!(!narrowed.items.is_empty() && narrowed.items.iter().all(|alert| alert.event_time < before.to));
}

fn devices_appear_and_go(store: &dyn Store) {
    // The order is the store's own; `every` walks it page by page, so that each device once is all of them.
    let ids = |store: &dyn Store| -> Vec<String> {
        let mut ids: Vec<_> =
            every(2, |page| store.devices(page)).into_iter().map(|row| row.device_id).collect();
        ids.sort_unstable();
        ids
    };
    assert_eq!(ids(store), [] as [String; 0]);
    write(
        store,
        &[
            Write::Device(device("c", false, 10)),
            Write::Aggregate(aggregate("a", 0, 1, 11)),
            Write::Alert(alert("b", "0-1-0", 0, 12)),
            Write::Device(device("d", false, 13)),
            Write::Device(device("e", true, 14)),
        ],
    );
    assert_eq!(ids(store), ["a", "b", "c", "d"]);
    write(store, &[Write::Device(device("c", true, 20))]);
    assert_eq!(ids(store), ["a", "b", "d"], "deleted, and nothing else is known of it");
    write(
        store,
        &[Write::Aggregate(aggregate("c", 0, 1, 31)), Write::Aggregate(aggregate("c", 60_000_000, 1, 21))],
    );
    let row = store.device("c").expect("device").expect("seen again");
    assert_eq!((row.metadata, row.seen_at), (None, Some(30)), "the greatest, whatever the order");
}

fn cursors_are_refused_elsewhere(store: &dyn Store) {
    let rows: Vec<Write> =
        (0..5).map(|i| Write::Aggregate(aggregate("d", i * 60_000_000, 1, 100 + i))).collect();
    write(store, &rows);
    write(store, &[Write::Device(device("e", false, 200))]);
    let page = store.windows("d", "temp", "1m", ALWAYS, &first(2)).expect("page");
    let cursor = page.next.expect("more");
    let with = |cursor: &str| Page { limit: 2, cursor: Some(cursor.to_owned()) };
    let refused = |outcome: Result<(), StoreError>| {
        assert!(matches!(outcome, Err(StoreError::Argument(_))), "{outcome:?}")
    };
    refused(store.windows("other", "temp", "1m", ALWAYS, &with(&cursor)).map(drop));
    refused(store.devices(&with(&cursor)).map(drop));
    refused(store.alerts(None, ALWAYS, &with(&cursor)).map(drop));
    refused(store.scores("d", None, ALWAYS, &with(&cursor)).map(drop));
    refused(store.windows("d", "temp", "1m", ALWAYS, &with(&cursor[1..])).map(drop));
    refused(store.windows("d", "temp", "1m", ALWAYS, &with("")).map(drop));
}

fn totals_count_rows(store: &dyn Store) {
    assert_eq!(store.count().expect("a count"), StoreTotals::default());
    let writes = [
        Write::Aggregate(aggregate("d", 0, 1, 100)),
        Write::Aggregate(aggregate("d", 0, 2, 101)),
        Write::Aggregate(aggregate("d", 60_000_000, 1, 102)),
        Write::Aggregate(retraction("d", 60_000_000, 0, 103)),
        Write::Aggregate(retraction("d", 120_000_000, 0, 104)),
        Write::Score(score("d", "m", 5, 1, 105)),
        Write::Alert(alert("e", "0-1-0", 5, 106)),
        Write::Device(device("f", false, 107)),
    ];
    for _ in 0..2 {
        write(store, &writes);
        let expected = StoreTotals { windows: 1, scores: 1, alerts: 1, devices: 3 };
        assert_eq!(store.count().expect("a count"), expected);
        assert!(store.totals().expect("totals").is_none_or(|kept| kept == expected));
    }
}

//! Records of every kind that nobody can use, and what stands at the edges of the configuration.

use super::world::{Dice, World, brisk, pipeline, resolved};
use journal::port::TopicPartition;
use schemas::record::{Alert, AlertKind, DeadLetter, Device, DeviceLatest, Late, Raw, Stage};
use schemas::topic::Topic;
use std::collections::BTreeSet;
use std::time::Duration;

fn letters(world: &World) -> Vec<DeadLetter> {
    let records = world.journal.topic(Topic::DeadLetters);
    records.iter().map(|record| world.codec.decode(&record.value).expect("a letter")).collect()
}

fn reasons(world: &World) -> Vec<String> {
    letters(world).into_iter().map(|letter| letter.reason).collect()
}

fn run(world: &World) {
    world.run_to_end(world.worker("one", &brisk(), true)).expect("it runs");
    world.check().expect("the same bytes");
    world.check_books().expect("balanced books");
}

#[test]
fn a_poison_record_of_any_kind_never_stops_a_partition() {
    let world = World::new(2);
    world.configure(0, &pipeline());
    let mut dice = Dice(5);
    for round in 0..120 {
        super::world::poison(&world, &mut dice, &format!("d{}", round % 7));
    }
    let now = chassis::clock::rfc3339(journal::port::Journal::now(&world.journal));
    world.json("good", &format!(r#"{{"device_id":"good","temp":20,"ts":"{now}"}}"#));
    world.end();
    run(&world);
    let found: BTreeSet<String> = reasons(&world).into_iter().collect();
    let expected =
        ["foreign-bytes", "key-mismatch", "malformed-avro", "malformed-json", "misrouted", "unknown-schema"];
    assert_eq!(found, expected.map(str::to_owned).into());
    assert_eq!(letters(&world).len(), 120);
    let aggregated: i64 = world.audits().values().map(|audit| audit.totals.aggregated).sum();
    assert_eq!(aggregated, 1);
}

#[test]
fn a_letter_says_where_it_came_from_and_keeps_the_bytes() {
    let world = World::new(1);
    world.configure(0, &pipeline());
    world.append_with(0, Some(b"k"), b"[1]".to_vec(), vec![("redriven".to_owned(), b"2".to_vec())]);
    run(&world);
    let letter = letters(&world).remove(0);
    assert_eq!((letter.reason.as_str(), letter.stage), ("foreign-bytes", Stage::Decode));
    assert_eq!(letter.source_topic.as_deref(), Some("iot.raw"));
    assert_eq!((letter.source_partition, letter.source_offset), (Some(0), Some(1)));
    assert_eq!((letter.key.as_deref(), letter.value.as_slice()), (Some(&b"k"[..]), &b"[1]"[..]));
    assert_eq!((letter.redriven, letter.truncated), (2, false));
    assert!(letter.write_clock > 0);
}

#[test]
fn nothing_is_computed_before_the_first_configuration() {
    let world = World::new(1);
    world.json("d", r#"{"device_id":"d","temp":1}"#);
    world.record("d", &Raw::Device(Device { device_id: "d".to_owned(), ..Device::default() }));
    world.tick();
    world.configure(3, &pipeline());
    world.configure(2, &resolved(serde_json::json!({"window": [{"name": "old", "size": "1s"}]})));
    world.json("d", r#"{"device_id":"d","temp":1}"#);
    world.end();
    run(&world);
    assert_eq!(reasons(&world), ["no-configuration", "no-configuration"]);
    let audit = &world.audits()[&0];
    assert_eq!(audit.generation, 3, "an older generation is ignored");
    assert_eq!((audit.totals.received, audit.totals.others, audit.totals.aggregated), (3, 4, 1));
}

#[test]
fn a_clock_ahead_is_refused_or_restamped() {
    let reading = |world: &World| {
        let ahead = journal::port::Journal::now(&world.journal) + 3_600_000_000;
        world.json("d", &format!(r#"{{"device_id":"d","temp":1,"ts":{ahead}}}"#));
        world.end();
    };
    let world = World::new(1);
    world.configure(0, &pipeline());
    reading(&world);
    run(&world);
    assert_eq!(reasons(&world), ["clock-ahead"]);

    let world = World::new(1);
    world.configure(0, &resolved(serde_json::json!({"time": {"clock-ahead": "restamp"}})));
    reading(&world);
    run(&world);
    assert_eq!(reasons(&world), [] as [&str; 0]);
    let alerts = world.journal.topic(Topic::Alerts);
    let alert: Alert = world.codec.decode(&alerts[0].value).expect("an alert");
    assert_eq!((alert.kind, alert.id.as_str()), (AlertKind::Clock, "0-1-0"));
    assert_eq!(world.audits()[&0].totals.aggregated, 1);
}

#[test]
fn limits_refuse_with_their_reason_and_a_refused_reading_may_come_again() {
    let world = World::new(1);
    let limited = serde_json::json!({"window": [{"name": "10s", "size": "10s"}], "limits": {"devices-max": 1, "panes-max": 1}});
    world.configure(0, &resolved(limited));
    let start = journal::port::Journal::now(&world.journal);
    let at = |second: i64, seq: i64| {
        let ts = start + second * 1_000_000;
        format!(r#"{{"device_id":"d","temp":1,"ts":{ts},"seq":{seq}}}"#)
    };
    world.json("d", &at(0, 1));
    world.json("d", &at(30, 2));
    world.json("e", r#"{"device_id":"e","temp":1}"#);
    world.end();
    world.journal.advance(Duration::from_secs(86_400 + 400));
    world.tick();
    world.json("d", &at(30, 2));
    world.end();
    run(&world);
    assert_eq!(reasons(&world), ["pane-limit", "device-limit"]);
    let totals = &world.audits()[&0].totals;
    assert_eq!((totals.aggregated, totals.duplicate, totals.rejected), (2, 0, 2), "{totals:?}");
}

#[test]
fn late_readings_name_the_windows_that_refused_them() {
    let world = World::new(1);
    let raw = serde_json::json!({"window": [{"name": "10s", "size": "10s"}], "time": {"disorder": "0s", "lateness": "0s"}});
    world.configure(0, &resolved(raw));
    world.journal.advance(Duration::from_secs(1_000));
    let now = journal::port::Journal::now(&world.journal) / 10_000_000 * 10_000_000;
    for second in [-100, -80, -99] {
        let ts = now + second * 1_000_000;
        world.json("d", &format!(r#"{{"device_id":"d","temp":1,"ts":{ts}}}"#));
    }
    world.end();
    run(&world);
    let late = world.journal.topic(Topic::Late);
    let late: Late = world.codec.decode(&late[0].value).expect("a late reading");
    assert_eq!(late.refusals.len(), 1);
    assert_eq!((late.refusals[0].window.as_str(), late.refusals[0].start), ("10s", now - 100_000_000));
    assert_eq!(late.reading.device_id, "d");
    assert_eq!(world.audits()[&0].totals.late, 1);
}

#[test]
fn device_records_calibrate_are_published_and_outlive_the_device() {
    let world = World::new(1);
    let raw =
        serde_json::json!({"window": [{"name": "10s", "size": "10s"}], "time": {"device-retention": "24h"}});
    world.configure(0, &resolved(raw));
    let channel =
        schemas::record::Channel { unit: Some("K".to_owned()), scale: Some(2.0), offset: Some(1.0) };
    let device = Device {
        device_id: "d".to_owned(),
        site: Some("roof".to_owned()),
        channels: [("temp".to_owned(), channel)].into(),
        ..Device::default()
    };
    world.record("d", &Raw::Device(device.clone()));
    world.json("d", r#"{"device_id":"d","temp":10}"#);
    world.end();
    world.journal.advance(Duration::from_secs(2 * 86_400));
    world.tick();
    world.json("d", r#"{"device_id":"d","temp":20}"#);
    world.end();
    run(&world);
    let published = world.journal.records(TopicPartition { topic: Topic::Devices, partition: 0 });
    let latest: DeviceLatest = world.codec.decode(&published[0].value).expect("metadata");
    assert_eq!(latest.device, device);
    let rows = world.aggregates();
    let sums: Vec<Option<f64>> = rows.iter().map(|row| row.sum).collect();
    assert_eq!(sums, [Some(21.0), Some(41.0)], "calibrated before and after it was forgotten");
    let summary = rows[1].device.as_ref().expect("metadata in the row");
    assert_eq!((summary.site.as_deref(), summary.unit.as_deref()), (Some("roof"), Some("K")));
}

#[test]
fn repeats_without_a_sequence_number_are_dropped_when_asked_for() {
    let world = World::new(1);
    world.configure(0, &resolved(serde_json::json!({"input": {"drop-repeats": true}})));
    let ts = journal::port::Journal::now(&world.journal);
    for temp in [1, 1, 2, 1] {
        world.json("d", &format!(r#"{{"device_id":"d","temp":{temp},"ts":{ts}}}"#));
    }
    world.journal.advance(Duration::from_secs(2));
    world.json("d", &format!(r#"{{"device_id":"d","temp":1,"ts":{ts}}}"#));
    world.json("e", r#"{"device_id":"e","temp":1}"#);
    world.journal.advance(Duration::from_millis(900));
    world.json("e", r#"{"device_id":"e","temp":1}"#);
    run(&world);
    let totals = &world.audits()[&0].totals;
    assert_eq!((totals.aggregated, totals.duplicate), (5, 2));
}

#[test]
fn a_retry_without_a_time_of_its_own_is_a_duplicate_for_a_minute() {
    let world = World::new(1);
    world.configure(0, &pipeline());
    let send = |seq: i64| world.json("d", &format!(r#"{{"device_id":"d","temp":1,"seq":{seq}}}"#));
    for seq in [5_005, 5_006, 5_007] {
        send(seq);
        world.journal.advance(Duration::from_secs(1));
    }
    world.journal.advance(Duration::from_secs(30));
    send(5_006);
    send(1);
    send(5_007);
    world.journal.advance(Duration::from_secs(40));
    send(5_005);
    send(5_005);
    world.end();
    run(&world);
    let totals = &world.audits()[&0].totals;
    // 5006 and 5007 were retries. 5005 came more than a minute after the newest reading: the counter has started anew.
    assert_eq!((totals.duplicate, totals.aggregated, totals.beyond_horizon), (3, 5, 1), "{totals:?}");
}

#[test]
fn a_silent_device_is_reported_once() {
    let world = World::new(1);
    world.configure(0, &resolved(serde_json::json!({"time": {"stalled-after": "10s"}})));
    world.json("d", r#"{"device_id":"d","temp":1}"#);
    for _ in 0..5 {
        world.journal.advance(Duration::from_secs(6));
        world.tick();
    }
    world.json("d", r#"{"device_id":"d","temp":1}"#);
    world.journal.advance(Duration::from_secs(11));
    world.tick();
    run(&world);
    let alerts = world.journal.topic(Topic::Alerts);
    let kinds: Vec<AlertKind> = alerts
        .iter()
        .map(|record| world.codec.decode::<Alert>(&record.value).expect("an alert").kind)
        .collect();
    assert_eq!(kinds, [AlertKind::Stalled, AlertKind::Stalled], "once for each silence");
}

#[test]
fn names_beyond_a_devices_limit_are_counted_and_not_aggregated() {
    let world = World::new(1);
    world.configure(0, &resolved(serde_json::json!({"metrics": {"per-device-max": 2}})));
    world.json("d", r#"{"device_id":"d","a":1,"b":2,"c":3,"on":true}"#);
    world.json("e", r#"{"device_id":"e","c":3,"b":null}"#);
    world.end();
    run(&world);
    let rows = world.aggregates();
    let metrics: Vec<(&str, &str)> =
        rows.iter().map(|row| (row.device_id.as_str(), row.metric.as_str())).collect();
    assert_eq!(metrics, [("d", "a"), ("d", "b"), ("e", "c"), ("e", "b")]);
    let mut worker = world.worker("two", &brisk(), false);
    for _ in 0..4 {
        worker.turn().expect("it runs");
    }
    assert_eq!(world.view.partition(0).expect("it is owned").unnamed_values, 1);
}

#[test]
fn filters_drop_by_value_and_by_tag() {
    let world = World::new(1);
    world.configure(
        0,
        &resolved(serde_json::json!({"filter": [
            {"metric": "t", "above": 0.0, "at-most": 10.0, "pass-missing": false},
            {"tag": "site", "none-of": ["lab"]},
        ]})),
    );
    for fields in
        [r#""t":5"#, r#""t":0"#, r#""t":10"#, r#""t":11"#, r#""t":null"#, r#""u":1"#, r#""t":5,"site":"lab""#]
    {
        world.json("d", &format!(r#"{{"device_id":"d",{fields}}}"#));
    }
    run(&world);
    let totals = &world.audits()[&0].totals;
    assert_eq!((totals.aggregated, totals.filtered), (2, 5), "{totals:?}");
}

#[test]
fn a_key_as_large_as_a_record_may_be_never_stops_a_partition() {
    let world = World::new(1);
    world.configure(0, &pipeline());
    let key = vec![0xff; 1_000_000];
    world.append(0, Some(&key), br#"{"device_id":"d","temp":1}"#.to_vec());
    world.append(0, Some(&key), vec![b'['; 40_000]);
    world.end();
    run(&world);
    assert_eq!(reasons(&world), ["key-mismatch", "foreign-bytes"]);
    assert!(letters(&world).iter().all(|letter| letter.truncated && letter.key.is_some()));
}

#[test]
fn metadata_as_large_as_a_record_may_be_never_stops_a_partition() {
    let world = World::new(1);
    world.configure(0, &pipeline());
    let site = "x".repeat(1_048_500);
    world.record(
        "d",
        &Raw::Device(Device { device_id: "d".to_owned(), site: Some(site), ..Device::default() }),
    );
    world.json("d", r#"{"device_id":"d","temp":1}"#);
    world.end();
    run(&world);
}

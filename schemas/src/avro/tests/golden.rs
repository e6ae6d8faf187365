//! Bytes that must never change while schema version 1 is written: logs outlive programs.

use super::bytes_of;
use crate::record::*;

fn text(text: &str) -> String {
    text.to_owned()
}

pub(super) fn reading() -> Raw {
    Raw::Reading(Reading {
        device_id: text("sensor-12"),
        event_time: Some(1_627_847_280_000_000),
        seq: Some(7),
        boot: Some(text("b1")),
        measurements: vec![
            (text("temp"), Measured::Number(23.5)),
            (text("door"), Measured::Bool(true)),
            (text("co2"), Measured::Null),
        ],
        tags: vec![(text("site"), text("hall 3"))],
    })
}

pub(super) fn device() -> DeviceLatest {
    let channel = Channel { unit: Some(text("C")), scale: Some(2.0), offset: None };
    DeviceLatest {
        device: Device {
            device_id: text("d"),
            deleted: false,
            site: Some(text("s")),
            model: None,
            tags: [(text("line"), text("7"))].into(),
            channels: [(text("t"), channel)].into(),
            disorder: Some(10_000_000),
            quiet_after: None,
            lateness: None,
            settle: Some(0),
        },
        received_at: 1,
        write_clock: 2,
    }
}

pub(super) fn aggregate() -> Aggregate {
    Aggregate {
        device_id: text("d"),
        metric: text("t"),
        window: text("1m"),
        start: 60_000_000,
        end: 120_000_000,
        revision: 2,
        kind: EmissionKind::Late,
        newest: true,
        count: 3,
        nulls: 1,
        sum: Some(6.0),
        min: Some(1.0),
        max: Some(3.0),
        first: Some(1.0),
        last: Some(3.0),
        mean: Some(2.0),
        m2: Some(2.0),
        merged_into: None,
        device: Some(DeviceSummary { site: Some(text("s")), ..DeviceSummary::default() }),
        scores: vec![ScoreSummary { model: text("z"), count: 3, mean: 0.5, max: 1.0, alerts: 1, failed: 0 }],
        contributed_at: 130_000_000,
        generation: 4,
        write_clock: 130_000_001,
    }
}

pub(super) fn late() -> Late {
    let Raw::Reading(reading) = reading() else { unreachable!() };
    let refusals = vec![Refusal { window: text("1m"), start: 0, end: 60_000_000 }];
    Late { reading, refusals, source_partition: 1, source_offset: 2, received_at: 3, write_clock: 4 }
}

pub(super) fn dead_letter() -> DeadLetter {
    DeadLetter {
        reason: text("bad-timestamp"),
        detail: text("x"),
        stage: Stage::Decode,
        source_topic: Some(text("iot.raw")),
        source_partition: Some(3),
        source_offset: Some(9),
        device_id: None,
        key: Some(vec![0xff]),
        value: vec![1, 2],
        truncated: false,
        redriven: 1,
        received_at: 5,
        write_clock: 0,
    }
}

fn locator() -> SnapshotLocator {
    SnapshotLocator { partition: 1, offset: 2, records: 3, covers_to: 4, sha256: vec![0xab; 4] }
}

pub(super) fn audit() -> Audit {
    Audit {
        partition: 1,
        from: 10,
        to: 20,
        totals: Totals {
            received: 9,
            others: 1,
            aggregated: 5,
            filtered: 1,
            duplicate: 1,
            late: 1,
            rejected: 1,
            outputs: [(text("iot.late"), 1)].into(),
            ..Totals::default()
        },
        digest: vec![0xcd; 4],
        write_clock: 6,
        generation: 7,
        snapshot: Some(locator()),
        build: text("b"),
        trials: vec![TrialCounts {
            model: text("m"),
            version: text("v"),
            stage: text("shadow"),
            rows: 3,
            compared: 2,
            alerts_trial: 1,
            ..TrialCounts::default()
        }],
    }
}

pub(super) fn commit_metadata() -> CommitMetadata {
    CommitMetadata {
        version: 1,
        build: text("b"),
        generation: 7,
        digest: vec![0xcd; 4],
        write_clock: 6,
        receipt_now: 5,
        snapshot: Some(locator()),
        previous: None,
    }
}

fn shadow() -> Shadow {
    Shadow {
        device_id: text("d"),
        model: text("z"),
        version: text("ab"),
        metric: text("t"),
        event_time: 1,
        value: None,
        score: 0.25,
        threshold: 3.0,
        warm_up: true,
        served_score: Some(0.5),
        source_offset: 8,
        received_at: 2,
        window: Some(text("w")),
        window_end: Some(7),
        write_clock: 3,
    }
}

fn score() -> Score {
    Score {
        device_id: text("d"),
        model: text("z"),
        version: text("ab"),
        metric: text("t"),
        event_time: 1,
        value: None,
        score: 0.25,
        threshold: 3.0,
        warm_up: true,
        source_offset: 8,
        received_at: 2,
        window: Some(text("w")),
        window_end: Some(7),
        write_clock: 3,
    }
}

fn alert() -> Alert {
    Alert {
        device_id: text("d"),
        id: text("0-8-0"),
        kind: AlertKind::Stalled,
        message: text("quiet"),
        event_time: 1,
        metric: None,
        value: None,
        model: None,
        version: None,
        score: None,
        threshold: None,
        feature: Some(text("mean")),
        expected_low: Some(0.5),
        expected_high: None,
        window: None,
        window_end: Some(7),
        received_at: 2,
        generation: 3,
        write_clock: 4,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn bytes_are_what_they_were() {
    let control = Control {
        generation: 1,
        pipeline: Some(text("{}")),
        models: None,
        skip_from: None,
        skip_to: Some(-1),
    };
    let header = SnapshotHeader {
        format: 1,
        build: text("b"),
        partition: 2,
        covers_to: 3,
        bytes: 4,
        chunks: 5,
        sha256: vec![0xab],
    };
    let chunk = crate::contract::SnapshotChunk { bytes: vec![1, 2, 3] };
    let piece = ModelPiece { digest: text("ab"), index: 1, count: 2, bytes: vec![7], signature: None };
    let written = [
        ("reading", bytes_of(&reading())),
        ("tick", bytes_of(&Raw::Tick)),
        ("end", bytes_of(&Raw::End(End { device_id: Some(text("d")) }))),
        ("control", bytes_of(&control)),
        ("device", bytes_of(&device())),
        ("aggregate", bytes_of(&aggregate())),
        ("late", bytes_of(&late())),
        ("dead letter", bytes_of(&dead_letter())),
        ("score", bytes_of(&score())),
        ("alert", bytes_of(&alert())),
        ("header", bytes_of(&header)),
        ("chunk", bytes_of(&chunk)),
        ("audit", bytes_of(&audit())),
        ("commit metadata", bytes_of(&commit_metadata())),
        ("shadow", bytes_of(&shadow())),
        ("model piece", bytes_of(&piece)),
    ];
    let written: Vec<_> = written.iter().map(|(name, bytes)| format!("{name}: {}", hex(bytes))).collect();
    let golden: Vec<_> = include_str!("golden.txt").lines().collect();
    assert_eq!(written, golden);
}

/// Worked out from the specification by hand, not by the program.
#[test]
fn the_reading_byte_by_byte() {
    let mut expected = vec![0x00]; // first branch
    expected.push(18); // zigzag(9)
    expected.extend(b"sensor-12");
    // the number doubled (it is positive), in groups of seven bits, least first
    expected.push(0x02);
    let mut rest = 1_627_847_280_000_000_u64 * 2;
    while rest > 0x7f {
        expected.push((rest % 128) as u8 + 128);
        rest /= 128;
    }
    expected.push(rest as u8);
    expected.extend([0x02, 14]); // seq 7
    expected.extend([0x02, 4, b'b', b'1']);
    expected.push(6); // a block of three
    expected.extend([8, b't', b'e', b'm', b'p', 2, 0, 0, 0, 0, 0, 0x80, 0x37, 0x40]); // 23.5
    expected.extend([8, b'd', b'o', b'o', b'r', 4, 1]);
    expected.extend([6, b'c', b'o', b'2', 0]);
    expected.push(0);
    expected.extend([2, 8, b's', b'i', b't', b'e', 12]);
    expected.extend(b"hall 3");
    expected.push(0);
    assert_eq!(bytes_of(&reading()), expected);
}

//! Arbitrary records of every contract.

use crate::contract::SnapshotChunk;
use crate::record::*;
use proptest::collection::{btree_map, vec};
use proptest::option::of;
use proptest::prelude::*;
use std::collections::BTreeMap;

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-zA-Z0-9._:-]{1,12}", "\\PC{0,6}", Just(String::new())]
}

/// Any number that equals itself.
fn number() -> impl Strategy<Value = f64> {
    use proptest::num::f64::{NORMAL, SUBNORMAL, ZERO};
    prop_oneof![NORMAL | SUBNORMAL | ZERO, -1e3..1e3_f64, Just(-0.0), Just(f64::MAX)]
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..40)
}

fn texts() -> impl Strategy<Value = BTreeMap<String, String>> {
    btree_map(text(), text(), 0..4)
}

pub(crate) fn measured() -> impl Strategy<Value = Measured> {
    prop_oneof![
        1 => Just(Measured::Null),
        4 => number().prop_map(Measured::Number),
        1 => any::<bool>().prop_map(Measured::Bool)
    ]
}

/// A reading within the grammar: measurements and tags have names of their own.
pub(crate) fn reading() -> impl Strategy<Value = Reading> {
    let name = "[a-zäµ_. ][a-z0-9_.-]{0,9}";
    (
        "[a-zA-Z0-9_:-][a-zA-Z0-9._:-]{0,20}",
        of(crate::grammar::EVENT_TIME_MIN..crate::grammar::EVENT_TIME_END),
        of(0..=i64::MAX),
        of("[a-z0-9-]{1,16}"),
        btree_map(name, measured(), 1..9),
        btree_map("T[a-z]{0,8}", "[^\\p{C}]{0,12}", 0..4),
        any::<bool>(),
    )
        .prop_map(|(device_id, event_time, seq, boot, measurements, tags, backwards)| {
            let mut measurements: Vec<_> = measurements.into_iter().collect();
            if backwards {
                measurements.reverse();
            }
            Reading { device_id, event_time, seq, boot, measurements, tags: tags.into_iter().collect() }
        })
}

fn channel() -> impl Strategy<Value = Channel> {
    (of(text()), of(number()), of(number())).prop_map(|(unit, scale, offset)| Channel { unit, scale, offset })
}

pub(crate) fn device() -> impl Strategy<Value = Device> {
    let spans = (of(any::<i64>()), of(any::<i64>()), of(any::<i64>()), of(any::<i64>()));
    (text(), any::<bool>(), of(text()), of(text()), texts(), btree_map(text(), channel(), 0..3), spans)
        .prop_map(
            |(device_id, deleted, site, model, tags, channels, (disorder, quiet_after, lateness, settle))| {
                Device {
                    device_id,
                    deleted,
                    site,
                    model,
                    tags,
                    channels,
                    disorder,
                    quiet_after,
                    lateness,
                    settle,
                }
            },
        )
}

pub(crate) fn control() -> impl Strategy<Value = Control> {
    (any::<i64>(), of(text()), of(text()), of(any::<i64>()), of(any::<i64>())).prop_map(
        |(generation, pipeline, models, skip_from, skip_to)| Control {
            generation,
            pipeline,
            models,
            skip_from,
            skip_to,
        },
    )
}

pub(crate) fn raw() -> impl Strategy<Value = Raw> {
    prop_oneof![
        4 => reading().prop_map(Raw::Reading),
        1 => device().prop_map(Raw::Device),
        1 => control().prop_map(Raw::Control),
        1 => Just(Raw::Tick),
        1 => of(text()).prop_map(|device_id| Raw::End(End { device_id }))
    ]
}

fn score_summary() -> impl Strategy<Value = ScoreSummary> {
    (text(), any::<i64>(), number(), number(), any::<i64>(), any::<i64>()).prop_map(
        |(model, count, mean, max, alerts, failed)| ScoreSummary { model, count, mean, max, alerts, failed },
    )
}

fn device_summary() -> impl Strategy<Value = DeviceSummary> {
    (of(text()), of(text()), of(text()), texts()).prop_map(|(site, model, unit, tags)| DeviceSummary {
        site,
        model,
        unit,
        tags,
    })
}

pub(crate) fn aggregate() -> impl Strategy<Value = Aggregate> {
    let key = (text(), text(), text(), any::<i64>(), any::<i64>(), any::<i32>());
    let kind = (prop::sample::select(EmissionKind::ALL), any::<bool>());
    let counts = (any::<i64>(), any::<i64>());
    let values = vec(of(number()), 7);
    let rest = (of(any::<i64>()), of(device_summary()), vec(score_summary(), 0..3));
    let clocks = (any::<i64>(), any::<i64>(), any::<i64>());
    (key, kind, counts, values, rest, clocks).prop_map(|(key, kind, counts, values, rest, clocks)| {
        Aggregate {
            device_id: key.0,
            metric: key.1,
            window: key.2,
            start: key.3,
            end: key.4,
            revision: key.5,
            kind: kind.0,
            newest: kind.1,
            count: counts.0,
            nulls: counts.1,
            sum: values[0],
            min: values[1],
            max: values[2],
            first: values[3],
            last: values[4],
            mean: values[5],
            m2: values[6],
            merged_into: rest.0,
            device: rest.1,
            scores: rest.2,
            contributed_at: clocks.0,
            generation: clocks.1,
            write_clock: clocks.2,
        }
    })
}

pub(crate) fn score() -> impl Strategy<Value = Score> {
    let names = (text(), text(), text(), text());
    let window = (of(text()), of(any::<i64>()));
    (names, vec(any::<i64>(), 4), of(number()), number(), number(), any::<bool>(), window).prop_map(
        |((device_id, model, version, metric), times, value, score, threshold, warm_up, window)| Score {
            device_id,
            model,
            version,
            metric,
            event_time: times[0],
            value,
            score,
            threshold,
            warm_up,
            source_offset: times[1],
            received_at: times[2],
            window: window.0,
            window_end: window.1,
            write_clock: times[3],
        },
    )
}

pub(crate) fn alert() -> impl Strategy<Value = Alert> {
    let names = (text(), text(), text(), of(text()), of(text()), of(text()));
    let numbers = (of(number()), of(number()), of(number()));
    let reason = (of(text()), of(number()), of(number()), of(text()), of(any::<i64>()));
    (names, prop::sample::select(AlertKind::ALL), numbers, reason, vec(any::<i64>(), 4)).prop_map(
        |(
            (device_id, id, message, metric, model, version),
            kind,
            (value, score, threshold),
            reason,
            times,
        )| Alert {
            device_id,
            id,
            kind,
            message,
            event_time: times[0],
            metric,
            value,
            model,
            version,
            score,
            threshold,
            feature: reason.0,
            expected_low: reason.1,
            expected_high: reason.2,
            window: reason.3,
            window_end: reason.4,
            received_at: times[1],
            generation: times[2],
            write_clock: times[3],
        },
    )
}

pub(crate) fn late() -> impl Strategy<Value = Late> {
    let refusal = (text(), any::<i64>(), any::<i64>());
    let refusal = refusal.prop_map(|(window, start, end)| Refusal { window, start, end });
    (reading(), vec(refusal, 0..3), any::<i32>(), vec(any::<i64>(), 3)).prop_map(
        |(reading, refusals, source_partition, times)| Late {
            reading,
            refusals,
            source_partition,
            source_offset: times[0],
            received_at: times[1],
            write_clock: times[2],
        },
    )
}

pub(crate) fn dead_letter() -> impl Strategy<Value = DeadLetter> {
    let texts = (text(), text(), of(text()), of(text()));
    let source = (of(any::<i32>()), of(any::<i64>()), of(bytes()), bytes());
    let rest = (any::<bool>(), any::<i32>(), any::<i64>(), any::<i64>());
    (texts, prop::sample::select(Stage::ALL), source, rest).prop_map(|(texts, stage, source, rest)| {
        DeadLetter {
            reason: texts.0,
            detail: texts.1,
            stage,
            source_topic: texts.2,
            source_partition: source.0,
            source_offset: source.1,
            device_id: texts.3,
            key: source.2,
            value: source.3,
            truncated: rest.0,
            redriven: rest.1,
            received_at: rest.2,
            write_clock: rest.3,
        }
    })
}

pub(crate) fn device_latest() -> impl Strategy<Value = DeviceLatest> {
    (device(), any::<i64>(), any::<i64>()).prop_map(|(device, received_at, write_clock)| DeviceLatest {
        device,
        received_at,
        write_clock,
    })
}

pub(crate) fn snapshot_header() -> impl Strategy<Value = SnapshotHeader> {
    (vec(any::<i32>(), 3), text(), vec(any::<i64>(), 2), bytes()).prop_map(|(small, build, large, sha256)| {
        SnapshotHeader {
            format: small[0],
            build,
            partition: small[1],
            covers_to: large[0],
            bytes: large[1],
            chunks: small[2],
            sha256,
        }
    })
}

pub(crate) fn snapshot_chunk() -> impl Strategy<Value = SnapshotChunk> {
    bytes().prop_map(|bytes| SnapshotChunk { bytes })
}

fn locator() -> impl Strategy<Value = SnapshotLocator> {
    (any::<i32>(), any::<i64>(), any::<i32>(), any::<i64>(), bytes()).prop_map(
        |(partition, offset, records, covers_to, sha256)| SnapshotLocator {
            partition,
            offset,
            records,
            covers_to,
            sha256,
        },
    )
}

fn totals() -> impl Strategy<Value = Totals> {
    (vec(any::<i64>(), 11), btree_map(text(), any::<i64>(), 0..4)).prop_map(|(n, outputs)| Totals {
        received: n[0],
        others: n[1],
        aggregated: n[2],
        filtered: n[3],
        duplicate: n[4],
        late: n[5],
        rejected: n[6],
        late_partial: n[7],
        beyond_horizon: n[8],
        scored: n[9],
        scoring_failed: n[10],
        outputs,
    })
}

fn trial_counts() -> impl Strategy<Value = TrialCounts> {
    (vec(text(), 3), vec(any::<i64>(), 9)).prop_map(|(texts, n)| TrialCounts {
        model: texts[0].clone(),
        version: texts[1].clone(),
        stage: texts[2].clone(),
        rows: n[0],
        compared: n[1],
        failed_active: n[2],
        failed_trial: n[3],
        alerts_active: n[4],
        alerts_trial: n[5],
        alerts_both: n[6],
        fuel_active: n[7],
        fuel_trial: n[8],
    })
}

pub(crate) fn shadow() -> impl Strategy<Value = Shadow> {
    (vec(text(), 4), of(any::<f64>()), vec(-1e9..1e9, 2), any::<bool>(), of(-1e9..1e9), vec(any::<i64>(), 4))
        .prop_map(|(texts, value, n, warm_up, served_score, at)| Shadow {
            device_id: texts[0].clone(),
            model: texts[1].clone(),
            version: texts[2].clone(),
            metric: texts[3].clone(),
            event_time: at[0],
            value: value.filter(|value| !value.is_nan()),
            score: n[0],
            threshold: n[1],
            warm_up,
            served_score,
            source_offset: at[1],
            received_at: at[2],
            window: served_score.map(|_| texts[0].clone()),
            window_end: served_score.map(|_| at[3]),
            write_clock: at[3],
        })
}

pub(crate) fn model_piece() -> impl Strategy<Value = ModelPiece> {
    (text(), any::<i32>(), any::<i32>(), bytes(), of(text())).prop_map(
        |(digest, index, count, bytes, signature)| ModelPiece { digest, index, count, bytes, signature },
    )
}

pub(crate) fn audit() -> impl Strategy<Value = Audit> {
    let trials = vec(trial_counts(), 0..3);
    (any::<i32>(), vec(any::<i64>(), 4), totals(), bytes(), of(locator()), text(), trials).prop_map(
        |(partition, n, totals, digest, snapshot, build, trials)| Audit {
            partition,
            from: n[0],
            to: n[1],
            totals,
            digest,
            write_clock: n[2],
            generation: n[3],
            snapshot,
            build,
            trials,
        },
    )
}

pub(crate) fn commit_metadata() -> impl Strategy<Value = CommitMetadata> {
    (any::<i32>(), text(), vec(any::<i64>(), 3), bytes(), of(locator()), of(locator())).prop_map(
        |(version, build, n, digest, snapshot, previous)| CommitMetadata {
            version,
            build,
            generation: n[0],
            digest,
            write_clock: n[1],
            receipt_now: n[2],
            snapshot,
            previous,
        },
    )
}

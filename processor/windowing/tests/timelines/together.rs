//! All of it at once: honest devices, devices offline, clocks that glitch, a restart, pauses, in one partition.
//! Every honest reading ends in its window, nothing honest is late, no window waits for another device.

use std::collections::{BTreeMap, BTreeSet};

use windowing::api::{Kind, Micros};
use windowing::partition::Partition;

use super::naive::history::{History, Names, Reading, Step, What, apply};
use super::naive::moves::DEVICES;
use super::naive::pane::SECOND;
use super::naive::rows::{Event, Row};
use super::naive::seeded::seeded;
use super::notation::settings;

const RULES: &str = "ten tumbling 10s
    minute tumbling 60s early-every=20s
    hop hopping 60s/20s disorder=5s
    visit session 90s";
/// A full minute.
const START: i64 = 999_960;
const HOURS: i64 = 3;

/// (receipt time, event time, number) of one device, in seconds.
type Sent = Vec<(i64, i64, Option<i64>)>;

fn live(from: i64, to: i64, every: i64) -> Sent {
    (from..to).step_by(every as usize).map(|t| (START + t, START + t, None)).collect()
}

/// What each device sends. Windows of the offline ones are complete when they fall silent: see `jumps`.
fn fleet() -> BTreeMap<&'static str, Sent> {
    let end = HOURS * 3_600;
    let offline = |upload: Vec<i64>, live_first: bool| {
        let mut sent = live(0, 1_800, 7);
        let back = START + 9_000;
        if live_first {
            sent.push((back - 1, back - 1, None));
        }
        sent.extend(upload.into_iter().zip(0..).map(|(t, k)| (back + k / 8, START + t, None)));
        sent.extend(live(9_120, end, 7));
        sent
    };
    let buffer: Vec<i64> = (1_920..9_000).step_by(12).collect();
    let disordered = live(0, end, 5)
        .into_iter()
        .map(|(receipt, t, _)| (if t % 100 < 5 { receipt + 9 } else { receipt }, t, None));
    let restarted = (0..).zip(live(0, end, 9)).map(|(k, (receipt, t, _))| (receipt, t, Some(k % 400)));
    let slow = live(0, end, 11).into_iter().map(|(receipt, t, _)| (receipt, t - 31_536_000, None));
    let mut glitched = live(0, end, 13);
    glitched.push((START + 5_000, START - 40_000_000, None));
    let mut ahead = live(240, end, 10);
    ahead.iter_mut().for_each(|(receipt, ..)| *receipt -= 240);
    let mut fleet = BTreeMap::from([
        ("ahead", ahead),
        ("disordered", disordered.collect()),
        ("glitched", glitched),
        ("live", live(0, end, 3)),
        ("live-first", offline(buffer.clone(), true)),
        ("newest-first", offline(buffer.iter().rev().copied().collect(), false)),
        ("oldest-first", offline(buffer, false)),
        ("restarted", restarted.collect()),
        ("silent", live(0, 600, 4)),
        ("slow", slow.collect()),
    ]);
    fleet.values_mut().for_each(|sent| sent.sort_by_key(|(receipt, ..)| *receipt));
    fleet
}

fn steps(fleet: &BTreeMap<&'static str, Sent>) -> History {
    let mut steps = vec![Step { receipt: 0, what: What::Configure(Box::new(settings(RULES))) }];
    for (device, sent) in fleet {
        steps.extend(sent.iter().map(|&(receipt, t, seq)| Step {
            receipt: receipt * SECOND,
            what: What::Reading(Reading {
                device,
                event_time: t * SECOND,
                values: vec![(0, Some(t as f64), Vec::new())],
                seq: seq.map(|seq| (None, seq)),
            }),
        }));
    }
    // The owner's ticks; a partition of one's own has them at the same times.
    steps.extend(
        (0..HOURS * 3_600 + 600)
            .step_by(10)
            .map(|t| Step { receipt: (START + t) * SECOND, what: What::Tick }),
    );
    steps.sort_by_key(|step| step.receipt);
    History(steps)
}

/// By device.
type Rows = BTreeMap<String, Vec<(Micros, Row)>>;

/// Rows with the receipt time at which they came out and without their slot, and how often something else was said.
fn rows_by_device(history: &History) -> (Rows, Vec<String>) {
    let mut partition = Partition::new();
    let mut rows = Rows::new();
    let mut else_said = Vec::new();
    let mut names = Names::default();
    for (offset, step) in history.0.iter().enumerate() {
        // Ties of event time are broken by the log's order, which is the same without the others.
        let events = apply(&mut partition, offset as i64, step);
        for (device, event) in names.of(&partition, step, events) {
            match event {
                Event::Row(row) => {
                    rows.entry(device.to_owned()).or_default().push((step.receipt, Row { slot: 0, ..row }));
                }
                Event::Taken(taken) if taken.refused.is_empty() => {}
                Event::Seen(windowing::api::Sequence::Fresh) => {}
                other => else_said.push(format!("{:?}: {other:?}", step.what)),
            }
        }
    }
    (rows, else_said)
}

/// The last row of each window that stands.
fn standing(rows: &[(Micros, Row)]) -> BTreeMap<(String, Micros), &Row> {
    let mut last = BTreeMap::new();
    for (_, row) in rows {
        if matches!(row.kind, Kind::Retracted { .. }) {
            last.remove(&(row.name.clone(), row.start));
        } else {
            last.insert((row.name.clone(), row.start), row);
        }
    }
    last
}

#[test]
fn every_honest_reading_ends_in_its_window_and_nothing_honest_is_late() {
    let fleet = fleet();
    let mut history = steps(&fleet);
    let closed = (START + HOURS * 3_600 + 600) * SECOND;
    history.0.push(Step { receipt: closed, what: What::End(None) });
    let (rows, else_said) = rows_by_device(&history);
    assert_eq!(else_said, [""; 0], "late, refused or taken for a duplicate");
    for (device, sent) in &fleet {
        let times: BTreeSet<i64> = sent.iter().map(|(_, t, _)| *t).collect();
        assert_eq!(times.len(), sent.len(), "{device} says everything once");
        for (name, size, advance) in [("ten", 10, 10), ("minute", 60, 60), ("hop", 60, 20)] {
            let mut expected: BTreeMap<i64, (u64, f64)> = BTreeMap::new();
            for t in &times {
                let mut start = t.div_euclid(advance) * advance;
                while start + size > *t {
                    let (count, sum) = expected.entry(start).or_default();
                    *count += 1;
                    *sum += *t as f64;
                    start -= advance;
                }
            }
            let standing = standing(&rows[*device]);
            let found: BTreeMap<i64, (u64, f64)> = standing
                .iter()
                .filter(|((window, _), _)| window == name)
                .map(|((_, start), row)| (start / SECOND, (row.counts[0], f64::from(row.numbers[0]))))
                .collect();
            assert_eq!(found, expected, "{device}, {name}");
        }
        let in_sessions: u64 = standing(&rows[*device])
            .iter()
            .filter(|((window, _), _)| window == "visit")
            .map(|(_, row)| row.counts[0])
            .sum();
        assert_eq!(in_sessions, times.len() as u64, "{device}, each reading in one session");
    }
}

#[test]
fn no_window_waits_for_another_device() {
    // To the byte and to the receipt time: a device alone in its partition, with the same ticks.
    let fleet = fleet();
    let (together, _) = rows_by_device(&alone(&steps(&fleet), None));
    assert_eq!(together.len(), fleet.len());
    for (device, rows) in &together {
        let (alone, _) = rows_by_device(&alone(&steps(&fleet), Some(device)));
        assert_eq!(Some(rows), alone.get(device), "{device}");
    }
}

#[test]
fn in_random_histories_no_device_sees_another() {
    for history in seeded(11, 60, 50) {
        let (together, _) = rows_by_device(&alone(&history, None));
        for device in DEVICES {
            let (alone, _) = rows_by_device(&alone(&history, Some(device)));
            assert_eq!(together.get(device), alone.get(device), "{device}: {history:?}");
        }
    }
}

/// The others' records become ticks; without the limits that all devices share.
fn alone(history: &History, kept: Option<&str>) -> History {
    let step = |step: &Step| {
        let mut step = step.clone();
        match &mut step.what {
            What::Configure(settings) => (settings.devices_max, settings.panes_max) = (u32::MAX, u32::MAX),
            What::Reading(Reading { device, .. }) | What::Overrides(device, _) | What::End(Some(device)) => {
                if kept.is_some_and(|kept| kept != *device) {
                    step.what = What::Tick;
                }
            }
            What::Tick | What::End(None) => {}
        }
        step
    };
    History(history.0.iter().map(step).collect())
}

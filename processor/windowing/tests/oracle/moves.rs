//! Random histories: moves of devices, uploads and operators, turned into steps. Times fall on half seconds, so that
//! windows end, sessions touch and timers tie often.

use std::collections::BTreeMap;

use proptest::prelude::*;
use windowing::api::{Assigner, Metric, Micros, Overrides, Scored, Settings, WindowRule};

use super::history::{History, Reading, Step, What};
use super::pane::SECOND;

const HALF: Micros = SECOND / 2;
const START: Micros = 1_000 * SECOND;
pub(crate) const DEVICES: [&str; 5] = ["m", "b", "a device with a long name", "z", "c"];

/// Where a reading lies in event time.
#[derive(Clone, Copy, Debug)]
pub(crate) enum At {
    /// Behind receipt time; negative: ahead of it.
    Behind(Micros),
    /// Beyond the device's last event time.
    After(Micros),
}

/// What readings say. Between configurations there may be more models or fewer.
#[derive(Clone, Debug)]
pub(crate) struct Say {
    values: Vec<(u16, Option<f64>, Vec<Scored>)>,
    seq: Option<(Option<&'static str>, i64)>,
}

/// One thing that somebody does.
#[derive(Clone, Debug)]
pub(crate) enum Move {
    Read(usize, At, Say),
    /// The last reading once more.
    Again(usize),
    /// Device, seconds back, readings, spacing, newest first, receipt time between them.
    Upload(usize, Micros, usize, Micros, bool, Micros, Say),
    /// Device, from its last event time on, receipt time that passes; then so many from the last event time, spaced.
    Jump(usize, Micros, Micros, usize, Micros, Say),
    Tick,
    End(Option<usize>),
    Overrides(usize, Overrides),
    Configure(Box<Settings>),
}

fn halves(range: std::ops::Range<i64>) -> impl Strategy<Value = Micros> + Clone {
    range.prop_map(|halves| halves * HALF)
}

fn one_of(seconds: &'static [i64]) -> impl Strategy<Value = Micros> + Clone {
    prop::sample::select(seconds).prop_map(|seconds| seconds * SECOND)
}

fn assigner() -> impl Strategy<Value = (&'static str, Assigner)> {
    let s = SECOND;
    prop::sample::select(vec![
        ("ten", Assigner::Tumbling { size: 10 * s, offset: 0 }),
        ("seven", Assigner::Tumbling { size: 7 * s, offset: 3 * s }),
        ("name", Assigner::Tumbling { size: 4 * s, offset: 0 }),
        ("name", Assigner::Hopping { size: 12 * s, advance: 4 * s }),
        ("hops", Assigner::Hopping { size: 12 * s, advance: 4 * s }),
        ("uneven", Assigner::Hopping { size: 10 * s, advance: 4 * s }),
        ("wide", Assigner::Hopping { size: 10 * s, advance: 3 * s }),
        ("even", Assigner::Hopping { size: 6 * s, advance: 6 * s }),
        ("stay", Assigner::Session { gap: 5 * s }),
        ("trip", Assigner::Session { gap: 12 * s }),
    ])
}

fn rule() -> impl Strategy<Value = WindowRule> {
    let times = (
        one_of(&[0, 2, 5, 10]),
        one_of(&[0, 3, 10, 30]),
        one_of(&[0, 5, 20, 100]),
        one_of(&[0, 2, 10, 25, 90]),
    );
    let metrics = prop_oneof![
        3 => Just(None),
        1 => Just(Some(vec![Metric(0)])),
        1 => Just(Some(vec![Metric(2), Metric(1)])),
    ];
    let early_count = prop_oneof![2 => Just(None), 1 => (1..4_u64).prop_map(Some)];
    let early_every = prop_oneof![2 => Just(None), 1 => one_of(&[3, 4, 9]).prop_map(Some)];
    (assigner(), times, metrics, early_count, early_every).prop_map(
        |((name, assigner), (disorder, quiet_after, lateness, settle), metrics, early_count, early_every)| {
            WindowRule {
                name: name.into(),
                assigner,
                early_every,
                early_count,
                metrics,
                disorder,
                quiet_after,
                lateness,
                settle,
            }
        },
    )
}

pub(crate) fn settings() -> impl Strategy<Value = Settings> {
    let limits = (
        prop_oneof![1 => 1..4_u32, 6 => Just(10)],
        prop_oneof![1 => 3..40_u32, 6 => Just(100_000)],
        prop_oneof![2 => 0..4_u32, 2 => Just(1_000)],
    );
    let rules = prop::collection::vec(rule(), 1..5);
    let retentions = (
        one_of(&[0, 15, 60, 300, 86_400]),
        prop_oneof![1 => one_of(&[30, 120]), 3 => one_of(&[900, 2_592_000])],
    );
    (rules, retentions, limits).prop_map(
        |(mut windows, (idle_retention, device_retention), (devices_max, panes_max, backfill_panes_max))| {
            let mut names = Vec::new();
            windows.retain(|rule: &WindowRule| {
                let new = !names.contains(&rule.name);
                names.push(rule.name.clone());
                new
            });
            Settings {
                windows,
                idle_retention,
                device_retention,
                devices_max,
                panes_max,
                backfill_panes_max,
                models: 2,
            }
        },
    )
}

fn number() -> impl Strategy<Value = f64> {
    let plain = (-500..500_i32).prop_map(|tenths| f64::from(tenths) / 10.0);
    prop_oneof![6 => plain, 1 => Just(0.0), 1 => Just(-0.0), 1 => Just(1e15), 1 => Just(-3e-9)]
}

fn scores() -> impl Strategy<Value = Vec<Scored>> {
    let one = prop_oneof![
        Just(Scored::Not),
        Just(Scored::Failed),
        ((0..100_i32).prop_map(|score| f64::from(score) / 7.0), any::<bool>())
            .prop_map(|(score, alert)| Scored::Score(score, alert)),
    ];
    prop_oneof![2 => Just(Vec::new()), 1 => prop::collection::vec(one, 1..4)]
}

fn say() -> impl Strategy<Value = Say> {
    let value = (prop_oneof![7 => number().prop_map(Some), 1 => Just(None)], scores());
    let metrics = prop_oneof![
        9 => prop::sample::subsequence(vec![0, 1, 2_u16], 1..4).prop_shuffle(),
        // One metric more than once: nobody should, and it has its meaning.
        1 => prop::collection::vec(0..3_u16, 1..4),
    ];
    let number = prop_oneof![6 => 0..4_i64, 1 => 1_020..1_030_i64, 1 => Just(5_000_i64), 1 => Just(-7_i64)];
    let boot =
        prop::sample::select(vec![None, None, None, Some("x"), Some("x"), Some("y"), Some("z"), Some("w")]);
    let seq = prop::option::weighted(0.4, (boot, number));
    (metrics, prop::collection::vec(value, 3), seq).prop_map(|(metrics, values, seq)| Say {
        values: metrics
            .into_iter()
            .zip(values)
            .map(|(metric, (value, scores))| (metric, value, scores))
            .collect(),
        seq,
    })
}

fn at() -> impl Strategy<Value = At> {
    prop_oneof![
        10 => halves(0..9).prop_map(At::Behind),
        3 => halves(0..100).prop_map(At::Behind),
        2 => halves(100..3_000).prop_map(At::Behind),
        2 => halves(-80..0).prop_map(At::Behind),
        1 => halves(-600..0).prop_map(At::Behind),
        8 => halves(-8..30).prop_map(At::After),
        3 => one_of(&[0, 5, -5, 12, -12, 10]).prop_map(At::After),
        1 => (-2..3_i64).prop_map(At::After),
    ]
}

fn overrides() -> impl Strategy<Value = Overrides> {
    let maybe = |seconds| prop::option::of(one_of(seconds));
    (maybe(&[0, 1, 4, 20]), maybe(&[0, 7, 20]), maybe(&[0, 1, 50]), maybe(&[0, 1, 70])).prop_map(
        |(disorder, quiet_after, lateness, settle)| Overrides { disorder, quiet_after, lateness, settle },
    )
}

/// Of few devices, so that something happens to each.
fn device() -> impl Strategy<Value = usize> + Clone {
    prop_oneof![6 => 0..2_usize, 2 => 2..3_usize, 1 => 3..DEVICES.len()]
}

fn a_move() -> impl Strategy<Value = Move> {
    let upload = (
        device(),
        prop_oneof![halves(0..120), halves(100..2_000)],
        2..10_usize,
        halves(1..14),
        any::<bool>(),
        halves(0..4),
        say(),
    );
    let jump = (device(), one_of(&[50, 75, 120, 400]), halves(0..200), 0..5_usize, halves(-4..8), say())
        .prop_map(|(device, ahead, pause, count, spacing, say)| {
            Move::Jump(device, ahead, pause, count, spacing, say)
        });
    prop_oneof![
        30 => (device(), at(), say()).prop_map(|(device, at, say)| Move::Read(device, at, say)),
        2 => upload.prop_map(|(device, back, count, spacing, newest_first, pause, say)| {
            Move::Upload(device, back, count, spacing, newest_first, pause, say)
        }),
        2 => jump,
        2 => device().prop_map(Move::Again),
        4 => Just(Move::Tick),
        1 => prop::option::of(device()).prop_map(Move::End),
        1 => (device(), overrides()).prop_map(|(device, overrides)| Move::Overrides(device, overrides)),
        1 => settings().prop_map(|settings| Move::Configure(Box::new(settings))),
    ]
}

fn pause() -> impl Strategy<Value = Micros> {
    prop_oneof![
        6 => Just(0),
        12 => halves(0..5),
        4 => halves(0..50),
        1 => halves(0..500),
        1 => halves(-10..0),
        1 => one_of(&[60, 59, 61, 900]),
    ]
}

/// Configured at first, then whatever happens.
pub(crate) fn histories(moves_max: usize) -> impl Strategy<Value = History> {
    let moves = prop::collection::vec((pause(), a_move()), 1..moves_max);
    // Rarely something happens before the first configuration.
    let first = prop_oneof![9 => Just(0_usize), 1 => 0..3_usize];
    (settings(), first, moves).prop_map(|(settings, first, mut moves)| {
        let at = first.min(moves.len());
        moves.insert(at, (0, Move::Configure(Box::new(settings))));
        steps(&moves)
    })
}

/// Moves on their way to steps.
struct Story {
    steps: Vec<Step>,
    receipt: Micros,
    /// Each device's last reading.
    last: BTreeMap<usize, Reading>,
}

impl Story {
    fn add(&mut self, what: What) {
        self.steps.push(Step { receipt: self.receipt, what });
    }

    fn read(&mut self, device: usize, event_time: Micros, say: &Say, seq_by: i64) {
        let seq = say.seq.map(|(boot, seq)| (boot, seq + seq_by));
        let reading = Reading { device: DEVICES[device], event_time, values: say.values.clone(), seq };
        self.last.insert(device, reading.clone());
        self.add(What::Reading(reading));
    }

    fn go(&mut self, a_move: &Move) {
        match a_move {
            Move::Read(device, At::Behind(by), say) => self.read(*device, self.receipt - by, say, 0),
            Move::Read(device, At::After(by), say) => {
                let last = self.last.get(device).map_or(self.receipt, |last| last.event_time);
                self.read(*device, last + by, say, 0);
            }
            Move::Again(device) => {
                if let Some(last) = self.last.get(device).cloned() {
                    self.add(What::Reading(last));
                }
            }
            Move::Upload(device, back, count, spacing, newest_first, pause, say) => {
                for k in 0..*count {
                    let k = if *newest_first { count - 1 - k } else { k } as i64;
                    self.receipt += pause;
                    self.read(*device, self.receipt - back + k * spacing, say, k);
                }
            }
            Move::Jump(device, ahead, pause, count, spacing, say) => {
                let last = self.last.get(device).map_or(self.receipt, |last| last.event_time);
                self.receipt += pause;
                self.read(*device, last + ahead, say, 0);
                for k in 1..=*count as i64 {
                    self.receipt += HALF;
                    self.read(*device, last + k * spacing, say, k);
                }
            }
            Move::Tick => self.add(What::Tick),
            Move::End(device) => self.add(What::End(device.map(|device| DEVICES[device]))),
            Move::Overrides(device, overrides) => self.add(What::Overrides(DEVICES[*device], *overrides)),
            Move::Configure(settings) => self.add(What::Configure(settings.clone())),
        }
    }
}

fn steps(moves: &[(Micros, Move)]) -> History {
    let mut story = Story { steps: Vec::new(), receipt: START, last: BTreeMap::new() };
    for (pause, a_move) in moves {
        story.receipt += pause;
        story.go(a_move);
    }
    // What is left comes out by itself.
    for after in [61, 3_600, 90_000, 3_000_000] {
        story.receipt += after * SECOND;
        story.add(What::Tick);
    }
    History(story.steps)
}

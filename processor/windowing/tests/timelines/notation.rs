//! Timelines as text.
//!
//! Rules, one a line: `NAME tumbling 60s [+5s] | hopping 60s/10s | session 30s`, then any of `disorder= quiet= lateness=
//! settle= early-every= early-count= metrics=0,1`. A line that starts with `limits` has any of `idle= retention= devices=
//! panes= backfill=`. Times that are not given are those of `docs/time.md`.
//!
//! Timeline, entries apart by `|` or line ends, each begins with its receipt time:
//! * `@5 a 1.5 t=3` - device `a` says 1.5 at event time 3; `1,null` are metrics 0 and 1; `seq=7`, `boot=x`.
//! * `@5 a 1 t=0..60/10 every=2` - six readings, the first received at 5, then one every 2; `t=50..-10/-10` newest first.
//! * `@5 tick`, `@5 end`, `@5 end a`, `@5 set a disorder=0s lateness=0s`, `@5 rules KEY` - another of the rules given.
//! * `A & B` - both, in the order of their receipt times.
//!
//! The owner of a partition writes a tick whenever a timer is due: so does this, and rows bear the time of that. After
//! a line `no ticks` nobody does, after `ticks` somebody does again. Readings too far ahead do not pass the caller's clock
//! guard: `clock-ahead`. Times are seconds unless `m`, `h` or `d` follows.
//!
//! What comes out, one line each: `@60 a minute 0..60 on-time 1 n=3 sum=4.5`; metrics but the first as `a/1`; `behind`
//! after a row that is not the newest of its series. Late readings name the windows that refused them.

#![allow(dead_code, reason = "every test includes all of it and uses its part")]

use windowing::api::{Assigner, Kind, Metric, Micros, Overrides, Sequence, Settings, Taken, WindowRule};
use windowing::partition::Partition;

use super::naive::history::{Names, Reading, Step, What, apply};
use super::naive::model::Model;
use super::naive::pane::SECOND;
use super::naive::rows::{Event, Row};

const MAX_AHEAD: Micros = 300 * SECOND;
/// Names live as long as the test.
fn keep(text: &str) -> &'static str {
    Box::leak(text.to_owned().into_boxed_str())
}

pub(crate) fn micros(text: &str) -> Micros {
    let (number, unit) = match text.char_indices().last() {
        Some((at, 's')) => (&text[..at], 1.0),
        Some((at, 'm')) => (&text[..at], 60.0),
        Some((at, 'h')) => (&text[..at], 3_600.0),
        Some((at, 'd')) => (&text[..at], 86_400.0),
        _ => (text, 1.0),
    };
    let number: f64 = number.parse().unwrap_or_else(|_| panic!("`{text}` is not a time"));
    (number * unit * SECOND as f64).round() as Micros
}

fn seconds(time: Micros) -> String {
    format!("{}", time as f64 / SECOND as f64)
}

fn field<'a>(words: &[&'a str], key: &str) -> Option<&'a str> {
    words.iter().find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
}

fn number<T: std::str::FromStr>(text: &str) -> T {
    text.parse().unwrap_or_else(|_| panic!("`{text}` is not a number"))
}

fn rule(words: &[&str]) -> WindowRule {
    let times: Vec<&str> = words[2].split('/').collect();
    let assigner = match words[1] {
        "tumbling" => Assigner::Tumbling {
            size: micros(times[0]),
            offset: words.get(3).and_then(|word| word.strip_prefix('+')).map_or(0, micros),
        },
        "hopping" => Assigner::Hopping { size: micros(times[0]), advance: micros(times[1]) },
        "session" => Assigner::Session { gap: micros(times[0]) },
        other => panic!("`{other}` assigns nothing"),
    };
    let time = |key, default| micros(field(words, key).unwrap_or(default));
    let metrics = |list: &str| list.split(',').map(|metric| Metric(number(metric))).collect();
    WindowRule {
        name: words[0].to_owned(),
        assigner,
        early_every: field(words, "early-every").map(micros),
        early_count: field(words, "early-count").map(number),
        metrics: field(words, "metrics").map(metrics),
        disorder: time("disorder", "10s"),
        quiet_after: time("quiet", field(words, "disorder").unwrap_or("10s")),
        lateness: time("lateness", "5m"),
        settle: time("settle", field(words, "disorder").unwrap_or("10s")),
    }
}

pub(crate) fn settings(text: &str) -> Settings {
    let lines: Vec<Vec<&str>> = text
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|words: &Vec<&str>| !words.is_empty())
        .collect();
    let limits: Vec<&str> = lines.iter().filter(|words| words[0] == "limits").flatten().copied().collect();
    let count = |key, default| number::<u32>(field(&limits, key).unwrap_or(default));
    Settings {
        windows: lines.iter().filter(|words| words[0] != "limits").map(|words| rule(words)).collect(),
        idle_retention: micros(field(&limits, "idle").unwrap_or("24h")),
        device_retention: micros(field(&limits, "retention").unwrap_or("30d")),
        devices_max: count("devices", "1000000"),
        panes_max: count("panes", "1000000"),
        backfill_panes_max: count("backfill", "1000"),
        models: 0,
    }
}

/// What an entry of a timeline stands for.
enum Entry {
    Steps(Vec<Step>),
    Ticks(bool),
}

fn readings(receipt: Micros, words: &[&str]) -> Vec<Step> {
    let device = keep(words[1]);
    let value = |text: &str| (text != "null").then(|| number::<f64>(text));
    let values: Vec<_> =
        (0..).zip(words[2].split(',')).map(|(metric, text)| (metric, value(text), Vec::new())).collect();
    let boot = field(words, "boot").map(keep);
    let seq = field(words, "seq").map(number::<i64>);
    let every = field(words, "every").map_or(0, micros);
    let t = field(words, "t").expect("a reading has a time");
    let mut times = Vec::new();
    match t.split_once("..") {
        None => times.push(micros(t)),
        Some((from, to)) => {
            let (to, step) = to.split_once('/').expect("a step");
            let (mut at, to, step) = (micros(from), micros(to), micros(step));
            while (to - at).signum() == step.signum() {
                times.push(at);
                at += step;
            }
        }
    }
    let step = |(k, event_time): (i64, Micros)| Step {
        receipt: receipt + k * every,
        what: What::Reading(Reading {
            device,
            event_time,
            values: values.clone(),
            seq: seq.map(|seq| (boot, seq + k)),
        }),
    };
    (0..).zip(times).map(step).collect()
}

fn entry(text: &str, variants: &[(&str, &str)]) -> Entry {
    let words: Vec<&str> = text.split_whitespace().collect();
    match words[..] {
        ["no", "ticks"] => return Entry::Ticks(false),
        ["ticks"] => return Entry::Ticks(true),
        _ => {}
    }
    let receipt = micros(words[0].strip_prefix('@').unwrap_or_else(|| panic!("no receipt time: {text}")));
    let time = |key| field(&words, key).map(micros);
    let what = match words[1] {
        "tick" => What::Tick,
        "end" => What::End(words.get(2).map(|device| keep(device))),
        "set" => What::Overrides(
            keep(words[2]),
            Overrides {
                disorder: time("disorder"),
                quiet_after: time("quiet"),
                lateness: time("lateness"),
                settle: time("settle"),
            },
        ),
        "rules" => {
            let variant = variants.iter().find(|(key, _)| *key == words[2]);
            What::Configure(Box::new(settings(variant.expect("the rules are given").1)))
        }
        _ => return Entry::Steps(readings(receipt, &words)),
    };
    Entry::Steps(vec![Step { receipt, what }])
}

/// `A & B` are received at the same time, in the order of their receipt times.
fn merged(text: &str, variants: &[(&str, &str)]) -> Entry {
    let mut steps = Vec::new();
    for part in text.split('&') {
        match entry(part, variants) {
            Entry::Steps(more) => steps.extend(more),
            ticks @ Entry::Ticks(_) => return ticks,
        }
    }
    steps.sort_by_key(|step| step.receipt);
    Entry::Steps(steps)
}

fn entries(timeline: &str, variants: &[(&str, &str)]) -> Vec<Entry> {
    let parts = timeline.split(['\n', '|']).map(str::trim).filter(|part| !part.is_empty());
    parts.map(|part| merged(part, variants)).collect()
}

fn row(row: &Row, device: &str) -> String {
    let kind = match row.kind {
        Kind::Early => "early".to_owned(),
        Kind::OnTime => "on-time".to_owned(),
        Kind::Late => "late".to_owned(),
        Kind::AtEnd => "at-end".to_owned(),
        Kind::Retracted { into } => format!("retracted->{}", seconds(into)),
    };
    let metric = if row.metric == 0 { String::new() } else { format!("/{}", row.metric) };
    let (start, end) = (seconds(row.start), seconds(row.end));
    let nulls = if row.counts[1] > 0 { format!(" nulls={}", row.counts[1]) } else { String::new() };
    let behind = if row.newest { "" } else { " behind" };
    let (name, revision, [count, _], sum) = (&row.name, row.revision, row.counts, row.numbers[0]);
    let sum = f64::from(sum);
    format!("{device}{metric} {name} {start}..{end} {kind} {revision} n={count}{nulls} sum={sum}{behind}")
}

fn answer(device: &str, taken: &Taken, names: &[String]) -> Option<String> {
    if taken.refused.is_empty() {
        return None;
    }
    let late = if taken.panes == 0 { "late" } else { "late-partial" };
    let windows: String = taken
        .refused
        .iter()
        .map(|(window, start, end)| {
            format!(" {} {}..{}", names[usize::from(*window)], seconds(*start), seconds(*end))
        })
        .collect();
    Some(format!("{device} {late}{windows}"))
}

/// A partition that a timeline runs through, and the slow model beside it.
pub(crate) struct Run {
    pub(crate) partition: Partition,
    model: Model,
    offset: i64,
    ticks: bool,
    names: Vec<String>,
    devices: Names,
    /// What came out.
    pub(crate) lines: Vec<String>,
}

impl Run {
    pub(crate) fn new(rules: &str) -> Self {
        let mut run = Self {
            partition: Partition::new(),
            model: Model::new(),
            offset: 0,
            ticks: true,
            names: Vec::new(),
            devices: Names::default(),
            lines: Vec::new(),
        };
        let configured = What::Configure(Box::new(settings(rules)));
        run.step(&Step { receipt: -1_000_000_000 * SECOND, what: configured });
        run
    }

    /// Goes through a timeline; `variants` are the rules that it may change to.
    pub(crate) fn go(&mut self, timeline: &str, variants: &[(&str, &str)]) {
        for entry in entries(timeline, variants) {
            match entry {
                Entry::Ticks(ticks) => self.ticks = ticks,
                Entry::Steps(steps) => steps.iter().for_each(|step| self.guarded(step)),
            }
        }
    }

    fn guarded(&mut self, step: &Step) {
        while let Some(due) = self.next_due().filter(|due| self.ticks && *due <= step.receipt) {
            self.step(&Step { receipt: due, what: What::Tick });
        }
        match &step.what {
            What::Reading(reading) if reading.event_time > step.receipt + MAX_AHEAD => {
                self.lines.push(format!("@{} {} clock-ahead", seconds(step.receipt), reading.device));
                self.step(&Step { receipt: step.receipt, what: What::Tick });
            }
            _ => self.step(step),
        }
    }

    fn next_due(&self) -> Option<Micros> {
        let (panes, evictions) = (self.partition.next_deadline(), self.partition.next_eviction());
        panes.into_iter().chain(evictions).min()
    }

    /// One record, through both.
    pub(crate) fn step(&mut self, step: &Step) {
        if let What::Configure(settings) = &step.what {
            self.names = settings.windows.iter().map(|rule| rule.name.clone()).collect();
        }
        let events = apply(&mut self.partition, self.offset, step);
        assert_eq!(events, apply(&mut self.model, self.offset, step), "the slow model disagrees: {step:?}");
        self.offset += 1;
        for (device, event) in self.devices.of(&self.partition, step, events) {
            let line = match event {
                Event::Row(emitted) => Some(row(&emitted, device)),
                Event::Evicted(_, device) => Some(format!("{device} evicted")),
                Event::Seen(Sequence::Fresh) => None,
                Event::Seen(Sequence::Duplicate) => Some(format!("{device} duplicate")),
                Event::Seen(Sequence::BeyondHorizon) => Some(format!("{device} beyond-horizon")),
                Event::Taken(taken) => answer(device, &taken, &self.names),
                Event::PaneLimit(count) => Some(format!("{device} pane-limit {count}")),
                Event::DeviceLimit(count) => Some(format!("{device} device-limit {count}")),
            };
            self.lines.extend(line.map(|line| format!("@{} {line}", seconds(step.receipt))));
        }
    }
}

/// The timeline under the rules gives exactly these lines.
#[track_caller]
pub(crate) fn check(rules: &str, timeline: &str, expected: &str) {
    check_with(rules, &[], timeline, expected);
}

/// With rules that the timeline changes to.
#[track_caller]
pub(crate) fn check_with(rules: &str, variants: &[(&str, &str)], timeline: &str, expected: &str) {
    let mut run = Run::new(rules);
    run.go(timeline, variants);
    let expected: Vec<String> = expected
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .filter(|line| !line.is_empty())
        .collect();
    assert!(run.lines == expected, "expected:\n{}\ncame out:\n{}", expected.join("\n"), run.lines.join("\n"));
}

//! One simulated device: what it measures, what its clock says, when it leaves what.

use crate::Micros;
use crate::fleet::{Expect, Planned};
use crate::profile::{FaultProfile, MetricProfile};
use crate::random::Random;
use crate::truth::{Anomaly, AnomalyKind, Value};
use std::fmt::Write as _;
use std::sync::Arc;

/// Devices in the way they differ for good, chosen by the fleet so that the shares come out exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Temper {
    Honest,
    BrokenClock,
    FastClock,
    SlowClock,
    Offline { newest_first: bool },
    Anomalous,
}

/// How a device writes its event time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimeStyle {
    Milliseconds,
    Text,
    Microseconds,
}

/// What all devices of a plan share.
#[derive(Debug)]
pub(crate) struct Surroundings {
    pub(crate) metrics: Vec<MetricProfile>,
    pub(crate) faults: FaultProfile,
    /// Epoch microseconds of the plan's zero.
    pub(crate) start: Micros,
    /// Span of the plan.
    pub(crate) span: Micros,
    /// Between two samples of a device.
    pub(crate) period: f64,
    /// Of this run, so that a second run with the same seed is no duplicate of the first.
    pub(crate) boot: String,
}

const HOUR: Micros = 3_600_000_000;
/// A second copy leaves at most so much later.
const COPY_DELAY_MAX: u64 = 2_000_000;
/// Spikes are what a threshold finds; the others teach that not every anomaly is one.
const EPISODES: [AnomalyKind; 6] = [
    AnomalyKind::Spike,
    AnomalyKind::Stuck,
    AnomalyKind::Spike,
    AnomalyKind::Drift,
    AnomalyKind::Spike,
    AnomalyKind::Dropout,
];

#[derive(Debug)]
struct Episode {
    kind: AnomalyKind,
    from: Micros,
    to: Micros,
    value: f64,
}

#[derive(Debug)]
pub(crate) struct Device {
    pub(crate) index: u32,
    pub(crate) id: Arc<str>,
    temper: Temper,
    style: TimeStyle,
    random: Random,
    sampled: u64,
    seq: i64,
    phase: f64,
    episodes: usize,
    next_episode: Micros,
    episode: Option<Episode>,
    last: f64,
}

/// What one sampling brought: sends in any order, times within the plan.
#[derive(Debug, Default)]
pub(crate) struct Sampled {
    pub(crate) sends: Vec<Planned>,
    pub(crate) anomaly: Option<Anomaly>,
}

impl Device {
    pub(crate) fn new(
        index: u32,
        id: Arc<str>,
        temper: Temper,
        style: TimeStyle,
        mut random: Random,
        around: &Surroundings,
    ) -> Self {
        let phase = random.unit();
        let spread = around.faults.anomaly_every.as_micros().min(2_000_000);
        let delay = random.below(u64::try_from(spread).unwrap_or(0));
        let next_episode = match temper {
            Temper::Anomalous => span_of(around.faults.anomaly_after).saturating_add_unsigned(delay),
            _ => Micros::MAX,
        };
        Self {
            index,
            id,
            temper,
            style,
            random,
            sampled: 0,
            seq: 0,
            phase,
            episodes: 0,
            next_episode,
            episode: None,
            last: 0.0,
        }
    }

    /// Microseconds after the plan's zero at which it samples next.
    #[expect(clippy::cast_precision_loss, reason = "sample numbers stay far below 2^52")]
    #[expect(clippy::cast_possible_truncation, reason = "a plan is shorter than 2^63 microseconds")]
    pub(crate) fn next_sample(&self, around: &Surroundings) -> Micros {
        ((self.sampled as f64 + self.phase) * around.period) as Micros
    }

    /// Takes the sample that is due at `at`.
    pub(crate) fn sample(&mut self, at: Micros, around: &Surroundings) -> Sampled {
        self.sampled += 1;
        let mut out = Sampled::default();
        let faults = &around.faults;
        let shift = (self.random.unit() - 0.5) * faults.jitter * around.period;
        #[expect(clippy::cast_possible_truncation, reason = "a share of a period")]
        let taken = (at + shift as Micros).clamp(0, around.span);
        out.anomaly = self.turn_episode(at, around);
        let values = self.measure(taken, around);
        if self.episode.as_ref().is_some_and(|episode| episode.kind == AnomalyKind::Dropout) {
            return out;
        }
        let glitch = self.random.chance(faults.glitch);
        let (error, expect) = match self.temper {
            Temper::BrokenClock => (HOUR, Expect::ClockAhead),
            _ if glitch => (HOUR, Expect::ClockAhead),
            Temper::FastClock => (span_of(faults.clock_error), Expect::Aggregated),
            Temper::SlowClock => (-span_of(faults.clock_error), Expect::Aggregated),
            _ => (0, Expect::Aggregated),
        };
        let event_time = (around.start + taken + error) / 1_000 * 1_000;
        self.seq += 1;
        let line = self.line(event_time, &values, around);
        let (leaves, rank) = self.departure(at, around);
        let planned = Planned {
            at: leaves,
            rank,
            device: self.index,
            device_id: Arc::clone(&self.id),
            event_time,
            seq: self.seq,
            expect,
            values,
            line,
        };
        if self.random.chance(faults.duplicate) {
            let later = planned.at.saturating_add_unsigned(self.random.below(COPY_DELAY_MAX));
            let expect = if expect == Expect::Aggregated { Expect::Duplicate } else { expect };
            // Behind everything due at the same time, or a copy could overtake its original at the plan's end.
            out.sends.push(Planned {
                at: later.min(around.span),
                rank: Micros::MAX,
                expect,
                ..planned.clone()
            });
        }
        if self.random.chance(faults.garbled) {
            out.sends.push(self.garbled(&planned));
        }
        out.sends.push(planned);
        out
    }

    fn departure(&mut self, at: Micros, around: &Surroundings) -> (Micros, Micros) {
        let faults = &around.faults;
        let offline = span_of(faults.offline_after)..span_of(faults.offline_after + faults.offline_for);
        if let Temper::Offline { newest_first } = self.temper
            && offline.contains(&at)
        {
            let rank = if newest_first { -self.seq } else { self.seq };
            return (offline.end.min(around.span), rank);
        }
        let delay = if self.random.chance(faults.out_of_order) {
            self.random.below(u64::try_from(faults.out_of_order_max.as_micros()).unwrap_or(0))
        } else {
            0
        };
        (at.saturating_add_unsigned(delay).min(around.span), self.seq)
    }

    fn turn_episode(&mut self, at: Micros, around: &Surroundings) -> Option<Anomaly> {
        if self.episode.as_ref().is_some_and(|episode| at >= episode.to) {
            self.episode = None;
        }
        if self.episode.is_some() || at < self.next_episode {
            return None;
        }
        let every = span_of(around.faults.anomaly_every);
        let kind = EPISODES[self.episodes % EPISODES.len()];
        self.episodes += 1;
        self.next_episode = if every == 0 { Micros::MAX } else { self.next_episode.saturating_add(every) };
        #[expect(clippy::cast_possible_truncation, reason = "a few periods")]
        let periods = |n: f64| (n * around.period) as Micros;
        let length = if kind == AnomalyKind::Spike { periods(1.0) } else { (every / 4).max(periods(8.0)) };
        let noise = around.metrics[0].noise;
        let value = match kind {
            AnomalyKind::Stuck => self.last,
            _ => around.faults.anomaly_height * noise.max(f64::MIN_POSITIVE),
        };
        self.episode = Some(Episode { kind, from: at, to: at + length, value });
        Some(Anomaly {
            device_id: self.id.to_string(),
            metric: around.metrics[0].name.clone(),
            kind,
            from: around.start + at,
            to: around.start + at + length,
        })
    }

    #[expect(clippy::cast_precision_loss, reason = "microseconds of a run stay far below 2^52")]
    fn measure(&mut self, at: Micros, around: &Surroundings) -> Vec<Value> {
        let mut values = Vec::with_capacity(around.metrics.len());
        for (index, metric) in around.metrics.iter().enumerate() {
            let turn = (around.start + at) as f64 / span_of(metric.cycle) as f64 + self.phase;
            let mut value = metric.base + metric.swing * wave(turn) + metric.noise * self.random.normal();
            if index == 0 {
                match &self.episode {
                    Some(Episode { kind: AnomalyKind::Spike, value: height, .. }) => value += height,
                    Some(Episode { kind: AnomalyKind::Stuck, value: stuck, .. }) => value = *stuck,
                    Some(Episode { kind: AnomalyKind::Drift, from, to, value: height }) => {
                        value += height * (at - from) as f64 / (to - from).max(1) as f64;
                    }
                    _ => {}
                }
                self.last = value;
            }
            let scale = 10_f64.powi(i32::from(metric.decimals));
            values.push(Value {
                metric: u16::try_from(index).unwrap_or(u16::MAX),
                value: (value * scale).round() / scale,
            });
        }
        values
    }

    fn line(&self, event_time: Micros, values: &[Value], around: &Surroundings) -> String {
        let mut line = String::with_capacity(64 + 24 * values.len());
        let _ = write!(line, r#"{{"device_id":"{}","ts":"#, self.id);
        let _ = match self.style {
            TimeStyle::Milliseconds => write!(line, "{}", event_time / 1_000),
            TimeStyle::Microseconds => write!(line, "{event_time}"),
            TimeStyle::Text => write!(line, "\"{}\"", rfc3339(event_time)),
        };
        let _ = write!(line, r#","seq":{},"boot":"{}""#, self.seq, around.boot);
        for value in values {
            let _ = write!(line, r#","{}":{}"#, around.metrics[usize::from(value.metric)].name, value.value);
        }
        line.push('}');
        line
    }

    /// Something that must be refused at the door, due with an honest reading.
    fn garbled(&mut self, beside: &Planned) -> Planned {
        let id = &self.id;
        let line = match self.random.below(6) {
            0 => r#"{"temp":21.5,"ts":1627847280}"#.to_owned(),
            1 => format!(r#"{{"device_id":"{id} / nowhere","temp":21.5}}"#),
            2 => format!(r#"{{"device_id":"{id}","ts":"yesterday","temp":21.5}}"#),
            3 => format!(r#"{{"device_id":"{id}","temp":[21.5,22]}}"#),
            4 => format!(r#"{{"device_id":"{id}","seq":"first","temp":21.5}}"#),
            _ => format!(r#"{{"device_id":"{id}","temp":21."#),
        };
        Planned { expect: Expect::Refused, line, values: Vec::new(), ..beside.clone() }
    }
}

/// One period of a smooth wave between -1 and 1: a parabola for each half, so that no platform's `sin` decides
/// what a seed means.
fn wave(turn: f64) -> f64 {
    let x = 2.0 * (turn - turn.floor()) - 1.0;
    4.0 * x * (1.0 - x.abs())
}

fn span_of(duration: std::time::Duration) -> Micros {
    Micros::try_from(duration.as_micros()).unwrap_or(Micros::MAX)
}

/// RFC 3339 in UTC.
pub(crate) fn rfc3339(at: Micros) -> String {
    jiff::Timestamp::from_microsecond(at).map_or_else(|_| at.to_string(), |time| time.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wave_is_one_smooth_period() {
        assert!(wave(0.0).abs() < 1e-12 && wave(0.5).abs() < 1e-12);
        assert!((wave(0.25) + 1.0).abs() < 1e-12);
        assert!((wave(0.75) - 1.0).abs() < 1e-12);
        assert!((wave(3.75) - 1.0).abs() < 1e-9);
    }
}

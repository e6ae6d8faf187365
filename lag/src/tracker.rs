//! Samples over time: rates, the age of progress, and the state that follows.

use crate::rate::Rate;
use crate::sample::{Backlog, Sample, backlog};
use schemas::Micros;
use serde::{Serialize, Serializer};
use std::time::Duration;

/// How a partition or a group is doing, the worst last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Nothing unread that is older than [`Rules::fresh`].
    Ok,
    /// Everything is read, and nothing has arrived for [`Rules::silent_after`].
    Silent,
    /// Behind, and getting less.
    Draining,
    /// Behind; which way it goes is not known yet.
    Behind,
    /// Behind, and not getting less.
    Growing,
    /// Unread records, and the position has not moved for [`Rules::stuck_after`].
    Stuck,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 6] =
        [Self::Ok, Self::Silent, Self::Draining, Self::Behind, Self::Growing, Self::Stuck];

    /// Its public name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Silent => "silent",
            Self::Draining => "draining",
            Self::Behind => "behind",
            Self::Growing => "growing",
            Self::Stuck => "stuck",
        }
    }
}

/// Where the states begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Unread records younger than this are no backlog: they are on their way.
    pub fresh: Duration,
    /// No progress with something to read, for so long, is being stuck.
    pub stuck_after: Duration,
    /// No arrival for so long is silence.
    pub silent_after: Duration,
    /// Half-life of the rates.
    pub half_life: Duration,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            fresh: Duration::from_secs(5),
            stuck_after: Duration::from_secs(30),
            silent_after: Duration::from_mins(5),
            half_life: Duration::from_secs(30),
        }
    }
}

/// One partition's backlog. The names in JSON are those of `/v1/lag`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PartitionLag {
    /// Partition number.
    pub partition: u32,
    /// See [`State`].
    pub state: State,
    /// Unread records.
    #[serde(rename = "lag_records")]
    pub records: u64,
    /// Age of the oldest of them; 0 when there are none, absent when it is not known.
    #[serde(rename = "lag_seconds", skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// Records per second appended; absent until it is known.
    #[serde(rename = "arrival_rate", skip_serializing_if = "Option::is_none")]
    pub arrival_per_second: Option<f64>,
    /// Records per second committed; absent until it is known.
    #[serde(rename = "service_rate", skip_serializing_if = "Option::is_none")]
    pub service_per_second: Option<f64>,
    /// Seconds since the position last moved while there was something to read; 0 otherwise.
    pub progress_age_seconds: f64,
    /// What the group has committed; absent: nothing yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub committed: Option<i64>,
    /// First offset kept.
    pub start: i64,
    /// The offset after the last record.
    pub end: i64,
    /// Unread records that retention took.
    pub lost: u64,
}

/// A group's backlog on one topic.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GroupLag {
    /// Consumer group.
    pub group: String,
    /// Topic.
    pub topic: String,
    /// When the last partition was looked at; RFC 3339 in JSON.
    #[serde(serialize_with = "rfc3339")]
    pub at: Micros,
    /// The worst of the partitions'.
    pub state: State,
    /// Sum of the partitions'.
    #[serde(rename = "lag_records")]
    pub records: u64,
    /// Greatest of the partitions'; absent when that of any partition is not known.
    #[serde(rename = "lag_seconds", skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// Sum of the partitions'.
    #[serde(rename = "arrival_rate", skip_serializing_if = "Option::is_none")]
    pub arrival_per_second: Option<f64>,
    /// Sum of the partitions'.
    #[serde(rename = "service_rate", skip_serializing_if = "Option::is_none")]
    pub service_per_second: Option<f64>,
    /// Sum of the partitions'.
    pub lost: u64,
    /// By number.
    #[serde(skip)]
    pub partitions: Vec<PartitionLag>,
}

fn rfc3339<S: Serializer>(at: &Micros, serializer: S) -> Result<S::Ok, S::Error> {
    match jiff::Timestamp::from_microsecond(*at) {
        Ok(time) => serializer.collect_str(&time),
        Err(error) => Err(serde::ser::Error::custom(error)),
    }
}

impl std::fmt::Display for GroupLag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} on {}: {}, {} records unread",
            self.group,
            self.topic,
            self.state.as_str(),
            self.records
        )?;
        if let Some(seconds) = self.seconds.filter(|_| self.records > 0) {
            write!(f, ", the oldest {seconds:.1} s old")?;
        }
        if let (Some(arrival), Some(service)) = (self.arrival_per_second, self.service_per_second) {
            write!(f, "; {arrival:.0}/s arrive, {service:.0}/s are done")?;
        }
        if self.lost > 0 {
            write!(f, "; {} were lost to retention unread", self.lost)?;
        }
        Ok(())
    }
}

/// Follows one partition.
#[derive(Clone, Debug)]
pub struct Tracker {
    partition: u32,
    rules: Rules,
    arrival: Rate,
    service: Rate,
    moved: Option<(i64, Micros)>,
    arrived: Option<(i64, Micros)>,
    latest: Micros,
}

impl Tracker {
    /// Knows nothing yet.
    #[must_use]
    pub const fn new(partition: u32, rules: Rules) -> Self {
        let half_life = rules.half_life.as_secs_f64();
        Self {
            partition,
            rules,
            arrival: Rate::new(half_life),
            service: Rate::new(half_life),
            moved: None,
            arrived: None,
            latest: Micros::MIN,
        }
    }

    /// Takes a sample; one from before the last one counts as taken with it.
    pub fn observe(&mut self, sample: &Sample) -> PartitionLag {
        self.latest = self.latest.max(sample.at);
        let at = self.latest;
        let found = backlog(&Sample { at, ..*sample });
        self.arrival.observe(at, sample.end);
        self.service.observe(at, found.position);
        // With nothing to read there is no progress to be made, so waiting begins anew.
        let moved = match self.moved {
            Some((position, since)) if position == found.position && found.records > 0 => since,
            _ => at,
        };
        self.moved = Some((found.position, moved));
        let arrived = match self.arrived {
            Some((end, since)) if end == sample.end => since,
            _ => at,
        };
        self.arrived = Some((sample.end, arrived));
        let waiting = if found.records > 0 { span(moved, at) } else { Duration::ZERO };
        PartitionLag {
            partition: self.partition,
            state: self.state(&found, waiting, span(arrived, at), sample.end > sample.start),
            records: found.records,
            seconds: found.seconds,
            arrival_per_second: self.arrival.per_second(),
            service_per_second: self.service.per_second(),
            progress_age_seconds: waiting.as_secs_f64(),
            committed: sample.committed,
            start: sample.start,
            end: sample.end,
            lost: found.lost,
        }
    }

    fn state(&self, found: &Backlog, waiting: Duration, quiet: Duration, used: bool) -> State {
        let fresh = found.seconds.is_some_and(|seconds| seconds <= self.rules.fresh.as_secs_f64());
        if found.records > 0 && waiting >= self.rules.stuck_after {
            return State::Stuck;
        }
        if found.records == 0 {
            return if used && quiet >= self.rules.silent_after { State::Silent } else { State::Ok };
        }
        if fresh {
            return State::Ok;
        }
        match (self.arrival.per_second(), self.service.per_second()) {
            (Some(arrival), Some(service)) if service > arrival => State::Draining,
            (Some(_), Some(_)) => State::Growing,
            _ => State::Behind,
        }
    }
}

fn span(from: Micros, to: Micros) -> Duration {
    Duration::from_micros(u64::try_from(to.saturating_sub(from)).unwrap_or(0))
}

/// A group's backlog from its partitions': the group is as far behind as its last partition, not as the mean.
#[must_use]
pub fn group(group: &str, topic: &str, at: Micros, partitions: Vec<PartitionLag>) -> GroupLag {
    // `None` of any partition makes the whole unknown: a sum or maximum without it would be too small.
    let sum = |of: fn(&PartitionLag) -> Option<f64>| {
        partitions.iter().map(of).try_fold(0.0, |sum, value| value.map(|value| sum + value))
    };
    GroupLag {
        group: group.to_owned(),
        topic: topic.to_owned(),
        at,
        state: partitions.iter().map(|partition| partition.state).max().unwrap_or(State::Ok),
        records: partitions.iter().map(|partition| partition.records).sum(),
        seconds: partitions
            .iter()
            .map(|partition| partition.seconds)
            .try_fold(0.0, |most: f64, value| value.map(|value| most.max(value))),
        arrival_per_second: sum(|partition| partition.arrival_per_second),
        service_per_second: sum(|partition| partition.service_per_second),
        lost: partitions.iter().map(|partition| partition.lost).sum(),
        partitions,
    }
}

#[cfg(test)]
mod tests;

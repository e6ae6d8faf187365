//! Ticks: when everything is folded and a timer is due, the live owner writes that time has passed. A tick is a
//! record like any other; one too many, or one from an owner that has lost its partition, does no harm.

use super::Worker;
use super::assigned::{Phase, Ticks};
use chassis::metrics as names;
use journal::port::{NewRecord, TopicPartition};
use schemas::Micros;
use schemas::record::Raw;
use schemas::topic::Topic;
use std::time::Duration;

/// A tick that seems to have got lost is written again after this time.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

impl Worker {
    /// How long until a tick may have to be written; none: nothing is due at any time.
    pub(super) fn until_tick(&mut self) -> Option<Duration> {
        if self.setup.until_end || !self.idle {
            return None;
        }
        let (now, journal_now) = (self.now(), self.setup.journal.now());
        let gap = self.setup.config.tick_gap_min;
        let waits =
            self.parts.values_mut().filter(|part| matches!(part.phase, Phase::Live)).filter_map(|part| {
                let deadline = part.state.as_mut()?.wake_at(journal_now)?;
                let due =
                    Duration::from_micros(u64::try_from(deadline.saturating_sub(journal_now)).unwrap_or(0));
                Some(due.max(part.ticks.not_before(deadline, gap).saturating_sub(now)))
            });
        waits.min().map(|wait| wait.max(Duration::from_millis(1)))
    }

    /// Writes the ticks that are due.
    pub(super) fn tick(&mut self) {
        if self.setup.until_end || !self.idle || self.throttled {
            return;
        }
        let (now, journal_now) = (self.now(), self.setup.journal.now());
        for part in self.parts.values_mut() {
            let live = matches!(part.phase, Phase::Live) && !part.paused;
            let Some(state) = part.state.as_mut().filter(|_| live) else { continue };
            let Some(deadline) = state.wake_at(journal_now).filter(|deadline| *deadline <= journal_now)
            else {
                continue;
            };
            if now < part.ticks.not_before(deadline, self.setup.config.tick_gap_min) {
                continue;
            }
            part.ticks.at = Some(now);
            part.ticks.deadline = Some(deadline);
            let record = NewRecord {
                to: TopicPartition { topic: Topic::Raw, partition: part.partition.partition },
                key: None,
                value: self.setup.tools.codec.to_bytes(&Raw::Tick),
                headers: Vec::new(),
            };
            let done = Box::new(|written: Result<Vec<i64>, journal::port::JournalError>| {
                if let Err(why) = written {
                    tracing::debug!(%why, "a tick was not written; the next one will do");
                }
            });
            match self.appender.append(vec![record], done) {
                Ok(()) => metrics::counter!(names::TICKS_TOTAL).increment(1),
                Err(why) => tracing::debug!(%why, "no room for a tick; the next one will do"),
            }
        }
    }
}

impl Ticks {
    /// The earliest time for a tick for this deadline.
    fn not_before(&self, deadline: Micros, gap: Duration) -> Duration {
        let Some(at) = self.at else { return Duration::ZERO };
        at + if self.deadline == Some(deadline) { AGAIN_AFTER } else { gap }
    }
}

//! Ticks: when everything is folded and a timer is due, the live owner writes that time has passed. A tick is a
//! record like any other; one too many, or one from an owner that has lost its partition, does no harm.

use super::Worker;
use super::assigned::Phase;
use journal::port::{NewRecord, TopicPartition};
use schemas::record::Raw;
use schemas::topic::Topic;
use std::time::Duration;

/// A tick that seems to have got lost is written again after this time.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

impl Worker {
    /// How long until a timer is due, at most a poll's wait; none: nothing is.
    pub(super) fn until_tick(&mut self) -> Option<Duration> {
        if self.setup.until_end || !self.idle {
            return None;
        }
        let deadlines = self.parts.values_mut().filter(|part| matches!(part.phase, Phase::Live));
        let next = deadlines.filter_map(|part| part.state.as_mut()?.next_deadline()).min()?;
        let left = next.saturating_sub(self.setup.journal.now());
        Some(Duration::from_micros(u64::try_from(left).unwrap_or(0)).max(Duration::from_millis(1)))
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
            let Some(deadline) = state.next_deadline().filter(|deadline| *deadline <= journal_now) else {
                continue;
            };
            let since = part.ticks.at.map(|at| now.saturating_sub(at));
            let gap = if part.ticks.deadline == Some(deadline) {
                AGAIN_AFTER
            } else {
                self.setup.config.tick_gap_min
            };
            if since.is_some_and(|since| since < gap) {
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
                Ok(()) => metrics::counter!("highwater_ticks_total").increment(1),
                Err(why) => tracing::debug!(%why, "no room for a tick; the next one will do"),
            }
        }
    }
}

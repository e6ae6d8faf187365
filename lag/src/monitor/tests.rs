//! Against a log in memory that keeps count of what it is asked.

use super::*;
use crate::tracker::State;
use journal::port::{Committed, Headers, RecordRef};
use std::sync::{Arc, Mutex};

/// Stands for an offset that is no record.
const MARKER: Micros = Micros::MIN;

#[derive(Default)]
struct Log {
    start: i64,
    /// Receipt times by offset from 0.
    records: Vec<Micros>,
    committed: Option<i64>,
    calls: Vec<&'static str>,
    down: bool,
    /// Appended and committed between the two questions of a look.
    meanwhile: bool,
}

#[derive(Clone, Default)]
struct Fake(Arc<Mutex<Log>>);

impl Reader for Fake {
    fn read(
        &mut self,
        partition: TopicPartition,
        from: i64,
        records_max: usize,
        visit: &mut dyn FnMut(RecordRef<'_>),
    ) -> Result<i64, JournalError> {
        let mut log = self.0.lock().unwrap();
        log.calls.push("read");
        if from < log.start {
            return Err(JournalError::OutOfRange { partition, offset: from, start: log.start });
        }
        let mut next = from;
        for received_at in log.records.iter().skip(usize::try_from(from).unwrap()).take(records_max) {
            if *received_at != MARKER {
                visit(RecordRef {
                    offset: next,
                    received_at: *received_at,
                    key: None,
                    value: &[],
                    headers: Headers::NONE,
                });
            }
            next += 1;
        }
        Ok(next)
    }

    fn bounds(&mut self, _: TopicPartition) -> Result<(i64, i64), JournalError> {
        let mut log = self.0.lock().unwrap();
        log.calls.push("bounds");
        Ok((log.start, i64::try_from(log.records.len()).unwrap()))
    }

    fn committed(&mut self, group: &str, _: TopicPartition) -> Result<Option<Committed>, JournalError> {
        assert_eq!(group, "g");
        let mut log = self.0.lock().unwrap();
        log.calls.push("committed");
        if log.down {
            return Err(JournalError::Retry("away".into()));
        }
        let committed = log.committed.map(|offset| Committed { offset, metadata: String::new() });
        if log.meanwhile {
            log.records.extend([7, 8]);
            log.committed = Some(i64::try_from(log.records.len()).unwrap());
        }
        Ok(committed)
    }
}

fn monitor(log: Log) -> (Monitor, Fake) {
    let fake = Fake(Arc::new(Mutex::new(log)));
    (Monitor::new(Box::new(fake.clone()), "g", Topic::Raw, 1, Rules::default()), fake)
}

#[test]
fn the_age_of_the_oldest_unread_record_is_looked_up_once() {
    let (mut monitor, fake) =
        monitor(Log { records: vec![1_000_000, 2_000_000, 3_000_000], committed: Some(1), ..Log::default() });
    let lag = monitor.look(&|| 4_000_000).unwrap();
    assert_eq!((lag.records, lag.seconds, lag.partitions[0].committed), (2, Some(2.0), Some(1)));
    let lag = monitor.look(&|| 9_000_000).unwrap();
    assert_eq!((lag.seconds, lag.state), (Some(7.0), State::Growing));
    let calls = std::mem::take(&mut fake.0.lock().unwrap().calls);
    assert_eq!(calls, ["committed", "bounds", "read", "committed", "bounds"]);
    fake.0.lock().unwrap().committed = Some(3);
    let lag = monitor.look(&|| 9_500_000).unwrap();
    assert_eq!((lag.records, lag.seconds, lag.state), (0, Some(0.0), State::Ok));
}

#[test]
fn progress_between_the_two_questions_never_makes_lag_negative() {
    let (mut monitor, _) =
        monitor(Log { records: vec![1, 2], committed: Some(2), meanwhile: true, ..Log::default() });
    for look in 1..10_u64 {
        let lag = monitor.look(&|| 10).unwrap();
        assert_eq!(lag.records, 2, "look {look}: over-stated by what happened meanwhile");
    }
}

#[test]
fn retention_that_ran_over_the_group_is_a_loss_and_no_lag() {
    let (mut monitor, _) =
        monitor(Log { start: 5, records: vec![1_000_000; 8], committed: Some(2), ..Log::default() });
    let lag = monitor.look(&|| 2_000_000).unwrap();
    assert_eq!((lag.lost, lag.records, lag.seconds), (3, 3, Some(1.0)));
}

#[test]
fn a_journal_that_does_not_answer_is_an_error_and_not_a_zero() {
    let (mut monitor, fake) = monitor(Log { records: vec![1], ..Log::default() });
    fake.0.lock().unwrap().down = true;
    assert!(matches!(monitor.look(&|| 10), Err(JournalError::Retry(_))));
}

#[test]
fn what_transactions_leave_behind_at_the_end_is_no_backlog() {
    let (mut monitor, fake) =
        monitor(Log { records: vec![1_000_000, MARKER], committed: Some(1), ..Log::default() });
    for _ in 0..3 {
        let lag = monitor.look(&|| 90_000_000).unwrap();
        assert_eq!((lag.records, lag.seconds, lag.state), (0, Some(0.0), State::Ok));
    }
    let reads = |fake: &Fake| fake.0.lock().unwrap().calls.iter().filter(|call| **call == "read").count();
    assert_eq!(reads(&fake), 1, "nothing has changed since");
    fake.0.lock().unwrap().records.push(80_000_000);
    let lag = monitor.look(&|| 90_000_000).unwrap();
    assert_eq!((lag.seconds, lag.partitions[0].end), (Some(10.0), 3));
    assert_eq!(reads(&fake), 3);
}

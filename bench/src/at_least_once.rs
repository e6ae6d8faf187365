//! A journal whose commits are no transactions: outputs are appended, and once they are durable the position is
//! committed by the group's member. What exactly once is held against.
//!
//! Does not live here: a mode of the product. There is none.

use journal::port::{
    Appender, Committed, Committer, Consumer, ConsumerEvent, GroupToken, Journal, JournalError, Reader,
    TopicPartition, Transaction,
};
use schemas::Micros;
use schemas::topic::Topic;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Bound of an append.
const APPEND_MAX: Duration = Duration::from_secs(30);

type Positions = Vec<(TopicPartition, Committed)>;

/// Positions whose outputs are durable; the member commits them with its next poll.
#[derive(Clone, Default)]
struct Durable(Arc<Mutex<Positions>>);

impl Durable {
    fn locked(&self) -> MutexGuard<'_, Positions> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The decorator.
pub struct AtLeastOnce {
    inner: Arc<dyn Journal>,
    durable: Durable,
}

impl AtLeastOnce {
    /// Over a journal; for one member at a time.
    #[must_use]
    pub fn over(inner: Arc<dyn Journal>) -> Self {
        Self { inner, durable: Durable::default() }
    }
}

impl Journal for AtLeastOnce {
    fn partitions(&self) -> u32 {
        self.inner.partitions()
    }

    fn now(&self) -> Micros {
        self.inner.now()
    }

    fn consumer(
        &self,
        group: &str,
        member: &str,
        topics: &[Topic],
    ) -> Result<Box<dyn Consumer>, JournalError> {
        let inner = self.inner.consumer(group, member, topics)?;
        Ok(Box::new(Member { inner, durable: self.durable.clone() }))
    }

    fn committer(&self, _: &str) -> Result<Box<dyn Committer>, JournalError> {
        Ok(Box::new(Plain { appender: self.inner.appender(), durable: self.durable.clone() }))
    }

    fn appender(&self) -> Arc<dyn Appender> {
        self.inner.appender()
    }

    fn reader(&self) -> Result<Box<dyn Reader>, JournalError> {
        self.inner.reader()
    }

    fn schema_id(&self, subject: &str, schema: &str) -> Result<u32, JournalError> {
        self.inner.schema_id(subject, schema)
    }

    fn schema_of(&self, id: u32) -> Result<Option<String>, JournalError> {
        self.inner.schema_of(id)
    }
}

struct Member {
    inner: Box<dyn Consumer>,
    durable: Durable,
}

impl Member {
    fn commit_durable(&mut self) -> Result<(), JournalError> {
        let positions = std::mem::take(&mut *self.durable.locked());
        if positions.is_empty() { Ok(()) } else { self.inner.commit(&positions) }
    }
}

impl Consumer for Member {
    fn poll(
        &mut self,
        max_wait: Duration,
        records_max: usize,
        visit: &mut dyn FnMut(ConsumerEvent<'_>),
    ) -> Result<usize, JournalError> {
        self.commit_durable()?;
        self.inner.poll(max_wait, records_max, visit)
    }

    fn seek(&mut self, partition: TopicPartition, offset: i64) -> Result<(), JournalError> {
        self.inner.seek(partition, offset)
    }

    fn pause(&mut self, partition: TopicPartition) {
        self.inner.pause(partition);
    }

    fn resume(&mut self, partition: TopicPartition) {
        self.inner.resume(partition);
    }

    fn token(&self) -> Option<GroupToken> {
        self.inner.token()
    }

    fn bounds(&mut self, partition: TopicPartition) -> Result<(i64, i64), JournalError> {
        self.inner.bounds(partition)
    }

    fn commit(&mut self, offsets: &[(TopicPartition, Committed)]) -> Result<(), JournalError> {
        self.inner.commit(offsets)
    }

    fn leave(&mut self, visit: &mut dyn FnMut(ConsumerEvent<'_>)) -> Result<(), JournalError> {
        self.commit_durable()?;
        self.inner.leave(visit)
    }
}

struct Plain {
    appender: Arc<dyn Appender>,
    durable: Durable,
}

impl Committer for Plain {
    fn commit(&mut self, transaction: &Transaction, _: &GroupToken) -> Result<(), JournalError> {
        if !transaction.records.is_empty() {
            let (tell, told) = channel();
            let done = move |appended| {
                // Nobody listens once the benchmark has failed.
                let _ = tell.send(appended);
            };
            self.appender.append(transaction.records.clone(), Box::new(done))?;
            told.recv_timeout(APPEND_MAX).map_err(|_| {
                JournalError::Unknown(format!("an append without an answer in {APPEND_MAX:?}"))
            })??;
        }
        self.durable.locked().extend_from_slice(&transaction.offsets);
        Ok(())
    }
}

//! Asks for a group's committed positions without being of the group.
//!
//! Invariant: a question that the brokers refuse is told as a refusal. librdkafka answers the question itself with a
//! timeout then, and tells the reason beside it.

use super::Shared;
use super::error::{About, is_denial, sorted_about};
use super::native::{Batch, Kind, Message, Native, Queue};
use crate::port::{Committed, JournalError, TopicPartition};
use std::time::Duration;

/// What librdkafka has told beside its answers, at most, that is looked at.
const TOLD_MAX: usize = 16;

/// One group's.
pub(super) struct Onlooker {
    // The order of the fields is the order of their end: messages, queue, client.
    told: Batch,
    queue: Queue,
    native: Native,
    group: String,
}

impl Onlooker {
    pub(super) fn new(shared: &Shared, group: &str) -> Result<Self, JournalError> {
        let fatal = |why| JournalError::Fatal(format!("asking for positions of {group}: {why}"));
        let config = shared.config.onlooker(group);
        let native =
            Native::new(Kind::Consumer, &format!("onlooker of {group}"), &config, None).map_err(fatal)?;
        let queue = native.consumer_queue().map_err(|why| fatal(why.text))?;
        Ok(Self { told: Batch::default(), queue, native, group: group.to_owned() })
    }

    /// A partition's committed position; none: the group has none there.
    pub(super) fn committed(
        &mut self,
        shared: &Shared,
        of: TopicPartition,
    ) -> Result<Option<Committed>, JournalError> {
        self.native.poll(Duration::ZERO);
        match shared.committed(&self.native, &self.group, &[of]) {
            Ok(mut committed) => Ok(committed.pop().flatten()),
            Err(why) => Err(self.denial(shared, of).unwrap_or(why)),
        }
    }

    /// Whether the brokers refuse the question.
    fn denial(&mut self, shared: &Shared, of: TopicPartition) -> Option<JournalError> {
        self.told.take(&self.queue, Duration::ZERO, TOLD_MAX);
        let failure =
            self.told.messages().iter().filter_map(Message::failure).find(|why| is_denial(why.code))?;
        let group = format!("{}{}", shared.config.prefix, self.group);
        let topics = shared.names.text(of.topic);
        let about = About { operation: "Describe", topics, group: &group, ..About::default() };
        Some(sorted_about("asking for committed positions", about, &failure))
    }
}

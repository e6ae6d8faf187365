//! Topics for one test, under a prefix that no other test has.

use crate::port::TopicPartition;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use schemas::topic::Topic;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Wake};
use std::thread::Thread;
use std::time::{Duration, SystemTime};

/// The topics; removed when it is dropped.
pub(super) struct Topics {
    prefix: String,
    admin: AdminClient<DefaultClientContext>,
}

impl Topics {
    /// Makes every topic.
    pub(super) fn create(broker: &str, partitions: u32) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos();
        let prefix = format!("t{since}-{}.", NEXT.fetch_add(1, Ordering::Relaxed));
        let admin: AdminClient<_> = ClientConfig::new().set("bootstrap.servers", broker).create().unwrap();
        let topics = Self { prefix, admin };
        let names: Vec<String> = topics.names();
        let new: Vec<NewTopic<'_>> = names
            .iter()
            .zip(Topic::ALL)
            .map(|(name, topic)| {
                let count = if topic.co_partitioned() { partitions } else { 1 };
                NewTopic::new(name, i32::try_from(count).unwrap(), TopicReplication::Fixed(1))
                    .set("message.timestamp.type", "LogAppendTime")
                    .set("max.message.bytes", "1200000")
            })
            .collect();
        for made in block_on(topics.admin.create_topics(&new, &options())).unwrap() {
            made.unwrap();
        }
        topics
    }

    fn names(&self) -> Vec<String> {
        Topic::ALL.iter().map(|topic| format!("{}{topic}", self.prefix)).collect()
    }

    /// What stands before each name.
    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Removes every record of a partition.
    pub(super) fn delete_records(&self, of: TopicPartition) {
        let mut list = TopicPartitionList::new();
        let name = format!("{}{}", self.prefix, of.topic);
        list.add_partition_offset(&name, i32::try_from(of.partition).unwrap(), Offset::End).unwrap();
        block_on(self.admin.delete_records(&list, &options())).unwrap();
    }
}

impl Drop for Topics {
    fn drop(&mut self) {
        let names = self.names();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let _ = block_on(self.admin.delete_topics(&names, &options()));
    }
}

fn options() -> AdminOptions {
    AdminOptions::new().operation_timeout(Some(Duration::from_secs(20)))
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits for a future on this thread.
fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = std::pin::pin!(future);
    let waker = Arc::new(Unpark(std::thread::current())).into();
    let mut context = Context::from_waker(&waker);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}

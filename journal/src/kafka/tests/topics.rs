//! Topics for one test, under a prefix that no other test has.

use crate::kafka::KafkaConfig;
use crate::kafka::topics::{Found, Plan, block_on, create, delete};
use crate::port::TopicPartition;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

/// The topics; removed when it is dropped.
pub(super) struct Topics {
    config: KafkaConfig,
    admin: AdminClient<DefaultClientContext>,
}

impl Topics {
    /// Makes every topic.
    pub(super) fn create(broker: &str, partitions: u32) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos();
        let prefix = format!("t{since}-{}.", NEXT.fetch_add(1, Ordering::Relaxed));
        let plan = Plan { partitions: Some(partitions), copies: Some(1), ..Plan::default() };
        let config = KafkaConfig { prefix, ..KafkaConfig::new(broker) };
        for line in create(&config, &plan).unwrap() {
            assert_eq!(line.found, Found::Made, "{line:?}");
        }
        let admin = ClientConfig::new().set("bootstrap.servers", broker).create().unwrap();
        Self { config, admin }
    }

    /// What stands before each name.
    pub(super) fn prefix(&self) -> &str {
        &self.config.prefix
    }

    /// Removes every record of a partition.
    pub(super) fn delete_records(&self, of: TopicPartition) {
        let mut list = TopicPartitionList::new();
        let name = format!("{}{}", self.config.prefix, of.topic);
        list.add_partition_offset(&name, i32::try_from(of.partition).unwrap(), Offset::End).unwrap();
        block_on(self.admin.delete_records(&list, &options())).unwrap();
    }
}

impl Drop for Topics {
    fn drop(&mut self) {
        let _ = delete(&self.config);
    }
}

fn options() -> AdminOptions {
    AdminOptions::new().operation_timeout(Some(Duration::from_secs(20)))
}

//! The in-memory home: conformance, virtual time, faults, power cuts at every call.

use super::*;
use crate::conformance::{self, Harness};

struct InMemory {
    journal: MemoryJournal,
}

impl InMemory {
    fn new() -> Self {
        let config = MemoryConfig {
            partitions: conformance::PARTITIONS,
            append_queue_bytes_max: conformance::APPEND_QUEUE_BYTES_MAX,
            ..MemoryConfig::default()
        };
        Self { journal: MemoryJournal::new(config).unwrap() }
    }
}

impl Harness for InMemory {
    fn journal(&self) -> Arc<dyn Journal> {
        Arc::new(self.journal.clone())
    }

    fn reopen(&mut self) {
        self.journal = self.journal.reopen();
    }

    fn expire(&mut self, partition: TopicPartition) {
        self.journal.trim(partition, i64::MAX).unwrap();
    }

    fn stall_appends(&mut self) {
        self.journal.hold();
    }

    fn release_appends(&mut self) {
        self.journal.release();
    }

    fn lose_next_answer(&mut self, happened: bool) -> bool {
        self.journal.inject(Some(faults::next(Call::Commit, 1, faults::Fault::LoseAnswer { happened })));
        true
    }
}

#[test]
fn conforms() {
    conformance::run(|| Box::new(InMemory::new()));
}

//! Lists of partitions with offsets and metadata, in librdkafka's form.
#![allow(unsafe_code, reason = "the foreign interface of librdkafka")]

use super::{Failure, Native, checked, millis};
use rdkafka::bindings as c;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::time::Duration;

/// One partition of a list.
#[derive(Clone, Debug)]
pub(in crate::kafka) struct Place {
    pub(in crate::kafka) topic: String,
    pub(in crate::kafka) partition: i32,
    /// None: no offset.
    pub(in crate::kafka) offset: Option<i64>,
    pub(in crate::kafka) metadata: String,
    pub(in crate::kafka) failure: Option<Failure>,
}

/// A list.
pub(in crate::kafka) struct Positions(TopicPartitionList);

impl Positions {
    /// An empty list.
    pub(in crate::kafka) fn new() -> Self {
        Self(TopicPartitionList::new())
    }

    /// Adds a partition without an offset.
    pub(in crate::kafka) fn add(&mut self, topic: &str, partition: u32) {
        self.0.add_partition(topic, signed(partition));
    }

    /// Adds a partition at an offset.
    pub(in crate::kafka) fn add_at(&mut self, topic: &str, partition: u32, offset: i64, metadata: &str) {
        let mut element = self.0.add_partition(topic, signed(partition));
        // An offset is a number from 0 on: it cannot be refused.
        let _ = element.set_offset(Offset::Offset(offset));
        if !metadata.is_empty() {
            element.set_metadata(metadata);
        }
    }

    pub(super) fn ptr(&self) -> *mut c::rd_kafka_topic_partition_list_t {
        self.0.ptr()
    }

    /// What the list says now.
    pub(in crate::kafka) fn places(&self) -> Vec<Place> {
        // SAFETY: the list is alive.
        unsafe { places_of(self.ptr()) }
    }
}

fn signed(partition: u32) -> i32 {
    i32::try_from(partition).unwrap_or(i32::MAX)
}

/// Copies a list.
///
/// # Safety
/// The pointer is null or a valid list.
pub(super) unsafe fn places_of(list: *const c::rd_kafka_topic_partition_list_t) -> Vec<Place> {
    if list.is_null() {
        return Vec::new();
    }
    // SAFETY: the list's own count bounds its elements; names are terminated; metadata is as long as said.
    unsafe {
        let count = usize::try_from((*list).cnt).unwrap_or(0);
        (0..count)
            .map(|index| {
                let element = &*(*list).elems.add(index);
                let metadata = if element.metadata.is_null() {
                    String::new()
                } else {
                    let bytes =
                        std::slice::from_raw_parts(element.metadata.cast::<u8>(), element.metadata_size);
                    String::from_utf8_lossy(bytes).into_owned()
                };
                Place {
                    topic: super::text_of(element.topic),
                    partition: element.partition,
                    offset: (element.offset >= 0).then_some(element.offset),
                    metadata,
                    failure: checked(element.err).err(),
                }
            })
            .collect()
    }
}

impl Native {
    /// Fills a list with what the client's group has committed.
    pub(in crate::kafka) fn committed(&self, of: &Positions, wait: Duration) -> Result<Vec<Place>, Failure> {
        // SAFETY: both are alive; the call fills the list.
        checked(unsafe { c::rd_kafka_committed(self.ptr(), of.ptr(), millis(wait)) })?;
        let places = of.places();
        match places.iter().find_map(|place| place.failure.clone()) {
            Some(failure) => Err(failure),
            None => Ok(places),
        }
    }

    /// Commits a list for the client's group and waits for the answer.
    pub(in crate::kafka) fn commit(&self, positions: &Positions) -> Result<(), Failure> {
        // SAFETY: both are alive.
        checked(unsafe { c::rd_kafka_commit(self.ptr(), positions.ptr(), 0) })
    }

    /// Reads these partitions from these offsets on, and no others.
    pub(in crate::kafka) fn assign(&self, positions: &Positions) -> Result<(), Failure> {
        // SAFETY: both are alive; the list is copied.
        checked(unsafe { c::rd_kafka_assign(self.ptr(), positions.ptr()) })
    }

    /// Gives every partition up.
    pub(in crate::kafka) fn unassign(&self) -> Result<(), Failure> {
        // SAFETY: no list: nothing is assigned.
        checked(unsafe { c::rd_kafka_assign(self.ptr(), std::ptr::null()) })
    }

    /// Stops fetching partitions that are assigned.
    pub(in crate::kafka) fn pause(&self, positions: &Positions) {
        // SAFETY: both are alive. A partition that is not assigned has its own error in the list: nothing to stop.
        unsafe { c::rd_kafka_pause_partitions(self.ptr(), positions.ptr()) };
    }

    /// Fetches them again.
    pub(in crate::kafka) fn resume(&self, positions: &Positions) {
        // SAFETY: as above.
        unsafe { c::rd_kafka_resume_partitions(self.ptr(), positions.ptr()) };
    }
}

//! Transactions: begun, filled, bound to a group's positions, ended.
#![allow(unsafe_code, reason = "the foreign interface of librdkafka")]

use super::{Failure, Native, Positions, millis};
use crate::port::NewRecord;
use rdkafka::bindings as c;
use std::ffi::CString;
use std::time::Duration;

/// Who a member was at an assignment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::kafka) struct Proof {
    /// The id that the broker gave.
    pub(in crate::kafka) member: String,
    /// The group's generation.
    pub(in crate::kafka) generation: i32,
}

impl Native {
    /// Takes the transactional id over: transactions of an older producer end now.
    pub(in crate::kafka) fn init_transactions(&self, wait: Duration) -> Result<(), Failure> {
        // SAFETY: the handle is alive; the answer is taken over.
        Failure::taken(unsafe { c::rd_kafka_init_transactions(self.ptr(), millis(wait)) })
    }

    /// Begins a transaction.
    pub(in crate::kafka) fn begin(&self) -> Result<(), Failure> {
        // SAFETY: as above.
        Failure::taken(unsafe { c::rd_kafka_begin_transaction(self.ptr()) })
    }

    /// Adds a record to it; refused ones are told by the end of the transaction too.
    pub(in crate::kafka) fn add(&self, record: &NewRecord) -> Result<(), Failure> {
        self.produce(record, std::ptr::null_mut())
    }

    /// Adds positions of a group, as the member that `proof` names.
    pub(in crate::kafka) fn add_positions(
        &self,
        positions: &Positions,
        group: &str,
        instance: &str,
        proof: &Proof,
        wait: Duration,
    ) -> Result<(), Failure> {
        let text = |of: &str| {
            CString::new(of).map_err(|_| Failure::of(c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__INVALID_ARG))
        };
        let (group, member, instance) = (text(group)?, text(&proof.member)?, text(instance)?);
        // SAFETY: the strings live during the calls; the metadata is ours until it is destroyed.
        unsafe {
            let metadata = c::rd_kafka_consumer_group_metadata_new_with_genid(
                group.as_ptr(),
                proof.generation,
                member.as_ptr(),
                instance.as_ptr(),
            );
            let answer =
                c::rd_kafka_send_offsets_to_transaction(self.ptr(), positions.ptr(), metadata, millis(wait));
            c::rd_kafka_consumer_group_metadata_destroy(metadata);
            Failure::taken(answer)
        }
    }

    /// Sends what is left and commits.
    pub(in crate::kafka) fn commit_transaction(&self, wait: Duration) -> Result<(), Failure> {
        // SAFETY: the handle is alive; the answer is taken over.
        Failure::taken(unsafe { c::rd_kafka_commit_transaction(self.ptr(), millis(wait)) })
    }

    /// Takes everything of the transaction back.
    pub(in crate::kafka) fn abort_transaction(&self, wait: Duration) -> Result<(), Failure> {
        // SAFETY: as above.
        Failure::taken(unsafe { c::rd_kafka_abort_transaction(self.ptr(), millis(wait)) })
    }
}

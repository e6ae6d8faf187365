//! Membership: subscribing, rebalances as they are told, leaving.
#![allow(unsafe_code, reason = "the foreign interface of librdkafka")]

use super::positions::places_of;
use super::transaction::Proof;
use super::{Failure, Native, Place, Positions, Queue, checked, context_of, text_of};
use crate::wake::locked;
use rdkafka::bindings as c;
use std::ffi::c_void;
use std::sync::atomic::Ordering;

/// What the group wants of this member. It waits until `assign` or `unassign` is called.
#[derive(Clone, Debug)]
pub(in crate::kafka) enum Change {
    /// These are its partitions.
    Assigned(Vec<Place>),
    /// It has to give these up; they may be lost already.
    Revoked { lost: bool },
}

impl Native {
    /// Makes callbacks and records come by one queue.
    pub(in crate::kafka) fn consumer_queue(&self) -> Result<Queue, Failure> {
        // SAFETY: the handle is alive and a group's member.
        checked(unsafe { c::rd_kafka_poll_set_consumer(self.ptr()) })?;
        // SAFETY: as above; the reference is given back by the queue's drop.
        let queue = unsafe { c::rd_kafka_queue_get_consumer(self.ptr()) };
        Queue::owned(queue)
            .ok_or_else(|| Failure::of(c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__UNKNOWN_GROUP))
    }

    /// Joins the group for these topics.
    pub(in crate::kafka) fn subscribe(&self, topics: &Positions) -> Result<(), Failure> {
        // SAFETY: both are alive; the list is copied.
        checked(unsafe { c::rd_kafka_subscribe(self.ptr(), topics.ptr()) })
    }

    /// Rebalances that were noticed since the last call.
    pub(in crate::kafka) fn changes(&self) -> Vec<Change> {
        std::mem::take(&mut *locked(&self.context.changes))
    }

    /// Whether the group has taken the partitions without asking.
    pub(in crate::kafka) fn assignment_lost(&self) -> bool {
        // SAFETY: the handle is alive.
        unsafe { c::rd_kafka_assignment_lost(self.ptr()) != 0 }
    }

    /// Who the member is in the group now.
    pub(in crate::kafka) fn proof(&self) -> Option<Proof> {
        // SAFETY: the answer is ours until it is destroyed; its strings live as long.
        unsafe {
            let metadata = c::rd_kafka_consumer_group_metadata(self.ptr());
            if metadata.is_null() {
                return None;
            }
            let proof = Proof {
                member: text_of(c::rd_kafka_consumer_group_metadata_member_id(metadata)),
                generation: c::rd_kafka_consumer_group_metadata_generation_id(metadata),
            };
            c::rd_kafka_consumer_group_metadata_destroy(metadata);
            Some(proof)
        }
    }

    /// Stops being a member that is polled. A static member's seat stays its own until the session times out.
    pub(in crate::kafka) fn close(&self) -> Result<(), Failure> {
        self.context.closing.store(true, Ordering::Release);
        // SAFETY: the handle is alive; rebalances are answered by the callback.
        checked(unsafe { c::rd_kafka_consumer_close(self.ptr()) })
    }
}

pub(super) unsafe extern "C" fn on_rebalance(
    rk: *mut c::rd_kafka_t,
    code: c::rd_kafka_resp_err_t,
    partitions: *mut c::rd_kafka_topic_partition_list_t,
    opaque: *mut c_void,
) {
    // SAFETY: our context, which the client keeps alive.
    let context = unsafe { context_of(opaque) };
    let assigned = code == c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
    if context.closing.load(Ordering::Acquire) {
        // SAFETY: the handle is alive. Nobody is told any more: the group need not wait.
        unsafe { c::rd_kafka_assign(rk, std::ptr::null()) };
        return;
    }
    // SAFETY: the list is librdkafka's, and alive during the call; the handle is alive.
    let change = unsafe {
        if assigned {
            Change::Assigned(places_of(partitions))
        } else {
            Change::Revoked { lost: c::rd_kafka_assignment_lost(rk) != 0 }
        }
    };
    locked(&context.changes).push(change);
    // The call that serves this returns, so that the change is told now.
    // SAFETY: the handle is alive.
    unsafe { c::rd_kafka_yield(rk) };
}

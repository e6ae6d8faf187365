//! Records on their way to the broker, and what became of them.
#![allow(unsafe_code, reason = "the foreign interface of librdkafka")]

use super::{Failure, Native, checked};
use crate::port::NewRecord;
use rdkafka::bindings as c;
use std::ffi::{CString, c_void};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

/// What became of the records of one parcel.
pub(in crate::kafka) struct Delivery {
    /// Their offsets, or the first failure.
    pub(in crate::kafka) outcome: Result<Vec<i64>, Failure>,
    /// With a failure: some of them may be in the log all the same.
    pub(in crate::kafka) possibly: bool,
    /// Greatest time the broker stamped, in milliseconds; none where it does not say.
    pub(in crate::kafka) stamped: Option<i64>,
}

type Done = Box<dyn FnOnce(Delivery) + Send>;

/// Records that are reported together. It owns itself from [`Parcel::send`] on: the last report frees it.
pub(in crate::kafka) struct Parcel {
    left: AtomicUsize,
    slots: Box<[Slot]>,
    failure: OnceLock<Failure>,
    possibly: AtomicUsize,
    stamped: AtomicI64,
    done: Option<Done>,
}

/// One record of it: what its report is found by.
struct Slot {
    parcel: *const Parcel,
    offset: AtomicI64,
}

impl Parcel {
    /// Hands records over to a client in their order; `done` is called once, when all have been reported.
    pub(in crate::kafka) fn send(native: &Native, records: &[NewRecord], done: Done) {
        let slots = records.iter().map(|_| Slot { parcel: std::ptr::null(), offset: AtomicI64::new(-1) });
        let parcel = Box::into_raw(Box::new(Self {
            // One more: that nothing is freed while records are still handed over.
            left: AtomicUsize::new(records.len() + 1),
            slots: slots.collect(),
            failure: OnceLock::new(),
            possibly: AtomicUsize::new(0),
            stamped: AtomicI64::new(-1),
            done: Some(done),
        }));
        // SAFETY: nobody else knows the parcel yet.
        for slot in unsafe { &mut (*parcel).slots } {
            slot.parcel = parcel;
        }
        for (index, record) in records.iter().enumerate() {
            // SAFETY: the parcel lives until the last `report`; the one held back keeps it here.
            let slot: *const Slot = unsafe { &raw const (*parcel).slots[index] };
            if let Err(failure) = native.produce(record, slot.cast_mut().cast()) {
                // SAFETY: as above; this record has no other report.
                unsafe { report(slot, Err((failure, false)), None) };
            }
        }
        // SAFETY: the one held back.
        unsafe { release(parcel) };
    }

    fn delivery(&mut self) -> Delivery {
        let failure = self.failure.take();
        let possibly = *self.possibly.get_mut() > 0;
        let stamped = *self.stamped.get_mut();
        let offsets = self.slots.iter().map(|slot| slot.offset.load(Ordering::Relaxed)).collect();
        Delivery {
            outcome: failure.map_or(Ok(offsets), Err),
            possibly,
            stamped: (stamped >= 0).then_some(stamped),
        }
    }
}

/// Notes what became of one record.
///
/// # Safety
/// The slot's parcel is alive, and the record is reported for the first time.
unsafe fn report(slot: *const Slot, outcome: Result<i64, (Failure, bool)>, stamped: Option<i64>) {
    // SAFETY: the caller's promise.
    let (slot, parcel) = unsafe { (&*slot, &*(*slot).parcel) };
    match outcome {
        Ok(offset) => {
            slot.offset.store(offset, Ordering::Relaxed);
            // What was written although another of them was not.
            parcel.possibly.fetch_add(1, Ordering::Relaxed);
        }
        Err((failure, possibly)) => {
            parcel.possibly.fetch_add(usize::from(possibly), Ordering::Relaxed);
            // The first one stands for all.
            let _ = parcel.failure.set(failure);
        }
    }
    parcel.stamped.fetch_max(stamped.unwrap_or(-1), Ordering::Relaxed);
    // SAFETY: this record's share.
    unsafe { release(slot.parcel.cast_mut()) };
}

/// Gives one share of a parcel back; the last one calls `done` and frees it.
///
/// # Safety
/// The share is held and not used afterwards.
unsafe fn release(parcel: *mut Parcel) {
    // SAFETY: alive while a share is held.
    if unsafe { &*parcel }.left.fetch_sub(1, Ordering::AcqRel) > 1 {
        return;
    }
    // SAFETY: the last share: nobody else knows it any more.
    let mut parcel = unsafe { Box::from_raw(parcel) };
    let done = parcel.done.take();
    let delivery = parcel.delivery();
    if let Some(done) = done {
        done(delivery);
    }
}

pub(super) unsafe extern "C" fn on_delivery(
    _: *mut c::rd_kafka_t,
    message: *const c::rd_kafka_message_t,
    _: *mut c_void,
) {
    // SAFETY: the message is alive during the call; its private pointer is the slot given to `produce`.
    unsafe {
        let slot = (*message)._private.cast::<Slot>();
        if slot.is_null() {
            return;
        }
        let stamped = c::rd_kafka_message_timestamp(message, std::ptr::null_mut());
        let outcome = match checked((*message).err) {
            Ok(()) => Ok((*message).offset),
            Err(failure) => {
                let status = c::rd_kafka_message_status(message);
                let not = c::rd_kafka_msg_status_t::RD_KAFKA_MSG_STATUS_NOT_PERSISTED;
                Err((failure, status != not))
            }
        };
        report(slot, outcome, (stamped >= 0).then_some(stamped));
    }
}

impl Native {
    /// Queues a record, copied; its report, if the client gives any, carries `opaque`.
    pub(super) fn produce(&self, record: &NewRecord, opaque: *mut c_void) -> Result<(), Failure> {
        let names: Result<Vec<CString>, _> =
            record.headers.iter().map(|(name, _)| CString::new(name.as_str())).collect();
        let names = names.map_err(|_| Failure {
            text: "the name of a header holds a NUL".to_owned(),
            ..Failure::of(c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__INVALID_ARG)
        })?;
        let mut fields = smallest_fields(self, record, opaque);
        for (name, (_, value)) in names.iter().zip(&record.headers) {
            let header = c::rd_kafka_vu_s__bindgen_ty_1__bindgen_ty_2 {
                name: name.as_ptr(),
                val: value.as_ptr().cast(),
                size: isize::try_from(value.len()).unwrap_or(isize::MAX),
            };
            let u = c::rd_kafka_vu_s__bindgen_ty_1 { header };
            fields.push(c::rd_kafka_vu_t { vtype: c::rd_kafka_vtype_t::RD_KAFKA_VTYPE_HEADER, u });
        }
        // SAFETY: every pointer in the fields lives during the call, which copies.
        Failure::taken(unsafe { c::rd_kafka_produceva(self.ptr(), fields.as_ptr(), fields.len()) })
    }
}

/// Everything but the headers.
fn smallest_fields(native: &Native, record: &NewRecord, opaque: *mut c_void) -> Vec<c::rd_kafka_vu_t> {
    use c::rd_kafka_vtype_t as kind;
    type Value = c::rd_kafka_vu_s__bindgen_ty_1;
    let bytes = |of: &[u8]| Value {
        mem: c::rd_kafka_vu_s__bindgen_ty_1__bindgen_ty_1 {
            ptr: of.as_ptr().cast_mut().cast(),
            size: of.len(),
        },
    };
    let field = |vtype, u| c::rd_kafka_vu_t { vtype, u };
    let partition = i32::try_from(record.to.partition).unwrap_or(i32::MAX);
    let mut fields = Vec::with_capacity(6 + record.headers.len());
    fields.push(field(kind::RD_KAFKA_VTYPE_RKT, Value { rkt: native.topic(record.to.topic) }));
    fields.push(field(kind::RD_KAFKA_VTYPE_PARTITION, Value { i32_: partition }));
    fields.push(field(kind::RD_KAFKA_VTYPE_MSGFLAGS, Value { i: c::RD_KAFKA_MSG_F_COPY }));
    fields.push(field(kind::RD_KAFKA_VTYPE_VALUE, bytes(&record.value)));
    fields.push(field(kind::RD_KAFKA_VTYPE_OPAQUE, Value { ptr: opaque }));
    if let Some(key) = &record.key {
        fields.push(field(kind::RD_KAFKA_VTYPE_KEY, bytes(key)));
    }
    fields
}

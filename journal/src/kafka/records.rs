//! Records of one partition as the port shows them, borrowed from a batch.

use super::native::Message;
use crate::port::{Headers, RecordRef};

/// Shows records of one partition that follow each other, from an offset on; returns how many there were. One list a
/// run: a record costs no allocation.
pub(super) fn show_run(messages: &[Message], from: i64, show: &mut dyn FnMut(&[RecordRef<'_>])) -> usize {
    let skipped = messages.iter().take_while(|message| message.offset() < from).count();
    let refer = |message| RecordRef {
        offset: Message::offset(message),
        received_at: message.timestamp().unwrap_or(0).saturating_mul(1000),
        key: message.key(),
        value: message.value(),
        headers: Headers::deferred(message),
    };
    let records: Vec<RecordRef<'_>> = messages[skipped..].iter().map(refer).collect();
    if !records.is_empty() {
        show(&records);
    }
    records.len()
}

//! Questions that only the owner of a state can answer, between two polls; and the copy for everybody else.

use super::Worker;
use super::assigned::Phase;
use super::snapshots::BY_REFOLD;
use crate::view::{DeviceView, Question};

impl Worker {
    /// Answers what waits in the mailbox.
    pub(super) fn answer(&mut self) {
        while let Ok(question) = self.inbox.try_recv() {
            match question {
                Question::Explain { device, reply } => {
                    let _ = reply.send(self.explain(&device));
                }
                Question::Devices { after, limit, reply } => {
                    let states = self.parts.values().filter_map(|part| part.state.as_ref());
                    let mut ids: Vec<String> =
                        states.flat_map(|state| state.device_ids(&after, limit)).collect();
                    ids.sort_unstable();
                    ids.truncate(limit);
                    let _ = reply.send(ids);
                }
                Question::Release { partition, reply } => {
                    let released = self.release(partition);
                    let _ = reply.send(released);
                }
            }
        }
    }

    fn explain(&self, device: &str) -> Option<DeviceView> {
        self.parts.values().filter_map(|part| part.state.as_ref()).find_map(|state| {
            let (windows, last_receipt) = state.explain(device)?;
            let mark = state.mark();
            Some(DeviceView {
                partition: state.partition(),
                windows,
                metrics: state.metric_names(),
                last_receipt,
                receipt_now: mark.receipt_now,
                generation: mark.generation,
            })
        })
    }

    /// A person has looked at a quarantined partition and lets it go on from what was committed.
    fn release(&mut self, partition: u32) -> bool {
        let Some(mut part) = self.parts.remove(&partition) else { return false };
        let expected = match &part.phase {
            Phase::Quarantined { expected: Some(expected), .. } => Some(expected.clone()),
            _ => None,
        };
        if let Some(expected) = &expected {
            part.degraded = Some("released from quarantine".to_owned());
            self.adopt(&mut part, expected);
            self.report(part.partition, "released from quarantine".to_owned());
            self.reseek.insert(partition);
        }
        self.parts.insert(partition, part);
        self.show(partition);
        expected.is_some()
    }

    /// Renews the copy of a partition.
    pub(super) fn show(&mut self, number: u32) {
        let Some(mut part) = self.parts.remove(&number) else { return };
        let bound = self.snapshot_bound(&part).unwrap_or(BY_REFOLD);
        let view = part.view(&self.setup.name, bound, self.fold_rate, self.setup.journal.now());
        self.parts.insert(number, part);
        self.setup.view.show(view);
    }
}

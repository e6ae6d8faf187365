//! Silence: a device that has sent nothing for the configured time.
//!
//! Each watched device has one entry in a heap, at or before its real deadline; an entry that comes up too early is
//! put back at the real one. So a reading costs nothing here, and what fires, and in which order, depends on the
//! readings alone: by (deadline, slot).

use super::Fleet;
use schemas::Micros;
use std::cmp::Reverse;
use windowing::api::Slot;

impl Fleet {
    /// A reading of this device has been taken.
    #[inline]
    pub(crate) fn touch(&mut self, slot: Slot, receipt: Micros) {
        let entry = &mut self.entries[slot.0 as usize];
        entry.hear(receipt);
        entry.stalled = false;
        if let Some(after) = self.stalled_after
            && !entry.armed
        {
            entry.armed = true;
            self.timers.push(Reverse((receipt.saturating_add(after), slot.0)));
        }
    }

    /// Sets how long a silence is; every device is watched anew.
    pub(crate) fn watch(&mut self, stalled_after: Option<Micros>) {
        self.stalled_after = stalled_after;
        self.timers.clear();
        for (slot, entry) in (0_u32..).zip(self.entries.iter_mut()) {
            let deadline = stalled_after.zip(entry.last_receipt()).filter(|_| !entry.stalled);
            entry.armed = deadline.is_some();
            if let Some((after, last)) = deadline {
                self.timers.push(Reverse((last.saturating_add(after), slot)));
            }
        }
    }

    /// The next device whose silence is long enough at `now`; it is not named again until it has sent something.
    pub(crate) fn next_stalled(&mut self, now: Micros) -> Option<Slot> {
        let (deadline, slot) = self.earliest()?;
        if deadline > now {
            return None;
        }
        self.timers.pop();
        let entry = &mut self.entries[slot as usize];
        entry.armed = false;
        entry.stalled = true;
        Some(Slot(slot))
    }

    /// When the next silence is long enough, if nothing arrives.
    pub(crate) fn stall_deadline(&mut self) -> Option<Micros> {
        self.earliest().map(|(deadline, _)| deadline)
    }

    /// Whether a look at the timers is worth while.
    #[inline]
    pub(crate) fn may_stall(&self, now: Micros) -> bool {
        self.timers.peek().is_some_and(|Reverse((deadline, _))| *deadline <= now)
    }

    /// Puts entries that came up too early back, until the first is at its real deadline.
    fn earliest(&mut self) -> Option<(Micros, u32)> {
        loop {
            let Reverse((deadline, slot)) = *self.timers.peek()?;
            let entry = &mut self.entries[slot as usize];
            let real =
                self.stalled_after.zip(entry.last_receipt()).map(|(after, last)| last.saturating_add(after));
            match real {
                Some(real) if real == deadline => return Some((deadline, slot)),
                Some(real) => {
                    self.timers.pop();
                    self.timers.push(Reverse((real, slot)));
                }
                None => {
                    self.timers.pop();
                    entry.armed = false;
                }
            }
        }
    }
}

//! Saving and loading. A small binary form of our own: integers as variable-length zigzag numbers, floats as their
//! bits, lists with their length first.
//!
//! Invariants: saving depends on the state alone, so equal partitions save equal bytes; loading never panics, never
//! allocates more than a small multiple of what it was given, and accepts only what could have been saved. Index,
//! timers, counts and cached bounds are derived again, not saved.

mod devices;
mod rules;
mod wire;

use crate::api::LoadError;
use crate::pages::Pages;
use crate::partition::Partition;
use crate::shelf::Shelf;
use wire::{Reader, Writer};

/// Version of the form.
const VERSION: u8 = 2;

impl Partition {
    /// Appends everything it knows.
    pub fn save(&self, out: &mut Vec<u8>) {
        let mut to = Writer::new(out);
        to.byte(VERSION);
        to.int(self.now());
        to.flag(self.configured());
        rules::save(self.settings(), &mut to);
        to.len(self.slots().len());
        for slot in self.slots().iter() {
            to.flag(slot.is_some());
            if let Some(device) = slot {
                devices::save(device, self.shelf(), &mut to);
            }
        }
    }

    /// A partition that behaves, to the byte, like the one that was saved.
    ///
    /// # Errors
    /// When the bytes are of another version or damaged.
    pub fn load(bytes: &[u8]) -> Result<Self, LoadError> {
        let mut from = Reader::new(bytes);
        let version = from.byte()?;
        if version != VERSION {
            return Err(LoadError::Version(version, VERSION));
        }
        let now = from.int()?;
        let configured = from.flag()?;
        let settings = rules::load(&mut from)?;
        let count = from.len()?;
        let (mut slots, mut shelf) = (Pages::default(), Shelf::default());
        for _ in 0..count {
            slots.push(if from.flag()? {
                Some(devices::load(&mut from, &settings, &mut shelf)?)
            } else {
                None
            });
        }
        from.finish()?;
        Self::restore(now, settings, configured, slots, shelf)
            .ok_or(LoadError::Damaged("two devices have one id"))
    }
}

#[cfg(test)]
mod tests;

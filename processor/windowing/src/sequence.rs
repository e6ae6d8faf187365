//! Which numbers of which boots of a device were accepted.
//!
//! Invariant: at most [`BOOTS_MAX`] boots, the one marked longest ago first; bit `seq mod 1024` of a boot's bitmap
//! stands for `seq` while `greatest - 1024 < seq <= greatest`, and every bit outside that range is clear.

use crate::api::{Micros, Sequence};
use crate::mutation::{Mutant, Mutation};

/// Boots remembered per device.
pub(crate) const BOOTS_MAX: usize = 4;
/// Numbers remembered per boot.
const HORIZON: i128 = 1024;
const WORDS: usize = 16;

/// The boots of one device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Boots {
    list: Vec<Boot>,
}

/// One boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Boot {
    pub(crate) id: Option<Box<str>>,
    pub(crate) greatest: i64,
    pub(crate) newest: Micros,
    pub(crate) bits: [u64; WORDS],
}

/// What a number is to a boot.
enum Place {
    Above,
    Unmarked,
    Marked,
    Below,
}

impl Boot {
    fn place(&self, seq: i64) -> Place {
        let back = i128::from(self.greatest) - i128::from(seq);
        if back < 0 {
            Place::Above
        } else if back >= HORIZON {
            Place::Below
        } else if self.bits[word(seq)] & bit(seq) == 0 {
            Place::Unmarked
        } else {
            Place::Marked
        }
    }

    fn verdict(&self, seq: i64, event_time: Micros) -> Sequence {
        match self.place(seq) {
            Place::Above | Place::Unmarked => Sequence::Fresh,
            Place::Marked | Place::Below if event_time > self.newest => Sequence::Fresh,
            Place::Marked => Sequence::Duplicate,
            Place::Below => Sequence::BeyondHorizon,
        }
    }

    fn mark(&mut self, seq: i64, event_time: Micros, mutant: Mutant) {
        match self.place(seq) {
            Place::Above => {
                let gap = i128::from(seq) - i128::from(self.greatest);
                if gap >= HORIZON {
                    self.bits = [0; WORDS];
                } else {
                    // Numbers that were skipped take over the bits of those that leave the range.
                    for skipped in self.greatest + 1..seq {
                        self.bits[word(skipped)] &= !bit(skipped);
                    }
                }
                self.greatest = seq;
                self.bits[word(seq)] |= bit(seq);
            }
            Place::Unmarked => self.bits[word(seq)] |= bit(seq),
            Place::Marked | Place::Below if event_time > self.newest => self.restart(seq),
            Place::Marked => {}
            Place::Below if mutant.is(Mutation::MarkedWhenRefused) => self.restart(seq),
            Place::Below => {}
        }
        self.newest = self.newest.max(event_time);
    }

    fn restart(&mut self, seq: i64) {
        self.bits = [0; WORDS];
        self.bits[word(seq)] |= bit(seq);
        self.greatest = seq;
    }
}

impl Boots {
    /// What a number is; remembers nothing.
    pub(crate) fn ask(&self, boot: Option<&str>, seq: i64, event_time: Micros) -> Sequence {
        // The current boot is the last one marked.
        self.list
            .iter()
            .rev()
            .find(|known| known.id.as_deref() == boot)
            .map_or(Sequence::Fresh, |known| known.verdict(seq, event_time))
    }

    /// Remembers an accepted number.
    pub(crate) fn mark(&mut self, boot: Option<&str>, seq: i64, event_time: Micros, mutant: Mutant) {
        let last = self.list.len().wrapping_sub(1);
        match self.list.iter().rposition(|known| known.id.as_deref() == boot) {
            Some(at) => {
                self.list[at].mark(seq, event_time, mutant);
                if at != last {
                    self.list[at..].rotate_left(1);
                }
            }
            None => {
                if self.list.len() >= BOOTS_MAX {
                    self.list.remove(0);
                }
                if self.list.len() == self.list.capacity() {
                    self.list.reserve_exact(1);
                }
                let mut new =
                    Boot { id: boot.map(Into::into), greatest: seq, newest: event_time, bits: [0; WORDS] };
                new.restart(seq);
                self.list.push(new);
            }
        }
    }

    /// The one marked longest ago first.
    pub(crate) fn list(&self) -> &[Boot] {
        &self.list
    }

    /// As saved; none when the invariant does not hold.
    pub(crate) fn restore(list: Vec<Boot>) -> Option<Self> {
        let distinct =
            list.iter().enumerate().all(|(k, boot)| list[..k].iter().all(|other| other.id != boot.id));
        (list.len() <= BOOTS_MAX && distinct).then_some(Self { list })
    }

    /// Bytes beyond its own size.
    pub(crate) fn heap_bytes(&self) -> usize {
        let ids: usize = self.list.iter().filter_map(|boot| boot.id.as_deref()).map(str::len).sum();
        self.list.capacity() * size_of::<Boot>() + ids
    }
}

fn word(seq: i64) -> usize {
    (seq.rem_euclid(HORIZON as i64) / 64) as usize
}

fn bit(seq: i64) -> u64 {
    1 << (seq.rem_euclid(64))
}

#[cfg(test)]
mod tests;

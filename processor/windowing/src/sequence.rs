//! Which numbers of which boots of a device were accepted.
//!
//! Invariant: at most [`BOOTS_MAX`] boots, the one marked longest ago first; bit `seq mod 1024` of a boot's bitmap
//! stands for `seq` while `greatest - 1024 < seq <= greatest`, and every bit outside that range is clear. A boot whose
//! marked numbers have no holes needs no bitmap: how it is kept is seen nowhere else, not even in what is saved.

use smallvec::SmallVec;

use crate::api::{Micros, Sequence};
use crate::mutation::{Mutant, Mutation};

/// Boots remembered per device.
pub(crate) const BOOTS_MAX: usize = 4;
/// Numbers remembered per boot.
const HORIZON: u64 = 1024;
const WORDS: usize = 16;

/// The boots of one device; most have one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Boots {
    list: SmallVec<[Boot; 1]>,
}

/// One boot.
#[derive(Clone, Debug)]
pub(crate) struct Boot {
    id: Option<Box<str>>,
    greatest: i64,
    newest: Micros,
    marks: Marks,
}

/// Numbers marked within the range.
#[derive(Clone, Debug)]
enum Marks {
    /// The greatest and those right below it, so many in all.
    Run(u16),
    /// There are holes, or there were some not long ago.
    Bits(Box<Bits>),
}

/// A bitmap of the range.
pub(crate) type Bits = [u64; WORDS];

/// What a number is to a boot.
enum Place {
    Above,
    Unmarked,
    Marked,
    Below,
}

impl Boot {
    fn new(id: Option<&str>, seq: i64, event_time: Micros) -> Self {
        Self { id: id.map(Into::into), greatest: seq, newest: event_time, marks: Marks::Run(1) }
    }

    /// As saved.
    pub(crate) fn restore(id: Option<Box<str>>, greatest: i64, newest: Micros, bits: Bits) -> Self {
        let mut boot = Self { id, greatest, newest, marks: Marks::Bits(Box::new(bits)) };
        boot.forget_bits();
        boot
    }

    pub(crate) fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    pub(crate) fn greatest(&self) -> i64 {
        self.greatest
    }

    pub(crate) fn newest(&self) -> Micros {
        self.newest
    }

    /// The numbers marked, as a bitmap.
    pub(crate) fn bits(&self) -> Bits {
        match &self.marks {
            Marks::Bits(bits) => **bits,
            Marks::Run(run) => run_bits(self.greatest, *run),
        }
    }

    #[inline]
    fn place(&self, seq: i64) -> Place {
        if seq > self.greatest {
            return Place::Above;
        }
        let back = self.greatest.abs_diff(seq);
        if back >= HORIZON {
            return Place::Below;
        }
        let marked = match &self.marks {
            Marks::Run(run) => back < u64::from(*run),
            Marks::Bits(bits) => bits[word(seq)] & bit(seq) != 0,
        };
        if marked { Place::Marked } else { Place::Unmarked }
    }

    #[inline]
    fn verdict(&self, seq: i64, event_time: Micros) -> Sequence {
        match self.place(seq) {
            Place::Above | Place::Unmarked => Sequence::Fresh,
            Place::Marked | Place::Below if event_time > self.newest => Sequence::Fresh,
            Place::Marked => Sequence::Duplicate,
            Place::Below => Sequence::BeyondHorizon,
        }
    }

    #[inline]
    fn mark(&mut self, seq: i64, event_time: Micros, mutant: Mutant) {
        match self.place(seq) {
            Place::Above => self.mark_above(seq),
            Place::Unmarked => self.fill(seq),
            Place::Marked | Place::Below if event_time > self.newest => self.restart(seq),
            Place::Marked => {}
            Place::Below if mutant.is(Mutation::MarkedWhenRefused) => self.restart(seq),
            Place::Below => {}
        }
        self.newest = self.newest.max(event_time);
    }

    #[inline]
    fn mark_above(&mut self, seq: i64) {
        let gap = seq.abs_diff(self.greatest);
        match &mut self.marks {
            Marks::Run(run) if gap == 1 => *run = (*run + 1).min(HORIZON as u16),
            _ if gap >= HORIZON => self.marks = Marks::Run(1),
            _ => self.skip_to(seq),
        }
        self.greatest = seq;
    }

    /// Marks a number a little above the greatest.
    fn skip_to(&mut self, seq: i64) {
        let greatest = self.greatest;
        let bits = self.bits_mut();
        // Numbers that were skipped take over the bits of those that leave the range.
        for skipped in greatest + 1..seq {
            bits[word(skipped)] &= !bit(skipped);
        }
        bits[word(seq)] |= bit(seq);
        self.greatest = seq;
        if seq % 64 == 0 {
            // Holes leave the range.
            self.forget_bits();
        }
    }

    /// Marks a number that was skipped.
    #[cold]
    fn fill(&mut self, seq: i64) {
        self.bits_mut()[word(seq)] |= bit(seq);
        self.forget_bits();
    }

    fn restart(&mut self, seq: i64) {
        self.marks = Marks::Run(1);
        self.greatest = seq;
    }

    fn bits_mut(&mut self) -> &mut Bits {
        if let Marks::Run(run) = self.marks {
            self.marks = Marks::Bits(Box::new(run_bits(self.greatest, run)));
        }
        match &mut self.marks {
            Marks::Bits(bits) => bits,
            Marks::Run(_) => unreachable!("it was made a bitmap"),
        }
    }

    /// Keeps a run where the bitmap is one.
    fn forget_bits(&mut self) {
        let Marks::Bits(bits) = &self.marks else { return };
        let marked: u32 = bits.iter().map(|word| word.count_ones()).sum();
        let run = marked as u16;
        if run > 0 && run_bits(self.greatest, run) == **bits {
            self.marks = Marks::Run(run);
        }
    }

    fn heap_bytes(&self) -> usize {
        let bits = if matches!(self.marks, Marks::Bits(_)) { size_of::<Bits>() } else { 0 };
        bits + self.id().map_or(0, str::len)
    }
}

/// The bitmap of so many numbers up to `greatest`.
fn run_bits(greatest: i64, run: u16) -> Bits {
    let mut bits = [0; WORDS];
    for back in 0..i64::from(run) {
        // Which bit a number has does not change when numbers go round.
        let seq = greatest.wrapping_sub(back);
        bits[word(seq)] |= bit(seq);
    }
    bits
}

impl Boots {
    /// What a number is; remembers nothing.
    #[inline]
    pub(crate) fn ask(&self, boot: Option<&str>, seq: i64, event_time: Micros) -> Sequence {
        // The current boot is the last one marked.
        match self.list.last() {
            None => return Sequence::Fresh,
            Some(last) if last.id.as_deref() == boot => return last.verdict(seq, event_time),
            Some(_) => {}
        }
        self.list
            .iter()
            .rev()
            .find(|known| known.id.as_deref() == boot)
            .map_or(Sequence::Fresh, |known| known.verdict(seq, event_time))
    }

    /// Remembers an accepted number.
    #[inline]
    pub(crate) fn mark(&mut self, boot: Option<&str>, seq: i64, event_time: Micros, mutant: Mutant) {
        if let Some(last) = self.list.last_mut()
            && last.id.as_deref() == boot
        {
            return last.mark(seq, event_time, mutant);
        }
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
                self.list.push(Boot::new(boot, seq, event_time));
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
        (list.len() <= BOOTS_MAX && distinct).then(|| Self { list: SmallVec::from_iter(list) })
    }

    /// Bytes beyond its own size.
    pub(crate) fn heap_bytes(&self) -> usize {
        let spilled = if self.list.spilled() { self.list.capacity() * size_of::<Boot>() } else { 0 };
        spilled + self.list.iter().map(Boot::heap_bytes).sum::<usize>()
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

//! What a step brought forth and no commit has taken yet: encoded, in the order that makes batches invisible.
//!
//! Every output carries (source offset, topic, index). At a cut they are put into that order and only then get their
//! write clock and their place in the digest chain, so neither the moment of the cut nor the size of a scoring batch
//! can change a byte.
//!
//! Every output record ends with its write clock: it is encoded with 0 there, one byte, which [`Outputs::seal`]
//! replaces.

use crate::mutation::{self, Mutation};
use crate::state::Books;
use journal::port::{NewRecord, TopicPartition};
use schemas::Micros;
use schemas::codec::Codec;
use schemas::contract::Contract;
use schemas::topic::Topic;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// The chained digest of a partition's outputs.
pub type Chain = [u8; 16];

/// The outputs of one partition since the last cut.
#[derive(Debug)]
pub struct Outputs {
    codec: Codec,
    arena: Vec<u8>,
    entries: Vec<Entry>,
    offset: i64,
    receipt: Micros,
    next: Next,
    /// The record has outputs: `next` is not all zeros.
    numbered: bool,
    /// Greatest offset so far.
    newest: i64,
    /// Where the numbering of records that are behind stands: while readings wait for their scores, a record has
    /// outputs when it is read and again when it is folded.
    behind: BTreeMap<i64, Next>,
}

/// Bytes and outputs that room is kept for between two cuts: when a window of a whole fleet ends at once there are a
/// hundred times as many, for one cut.
const ARENA_KEPT: usize = 1 << 20;
const ENTRIES_KEPT: usize = 8_192;

/// The index that the next output to each topic gets.
type Next = [u32; Topic::ALL.len()];

#[derive(Clone, Copy, Debug)]
struct Entry {
    offset: i64,
    topic: u8,
    index: u32,
    receipt: Micros,
    start: usize,
    key_len: u32,
    has_key: bool,
    end: usize,
}

impl Outputs {
    /// Nothing yet.
    #[must_use]
    pub fn new(codec: Codec) -> Self {
        Self {
            codec,
            arena: Vec::new(),
            entries: Vec::new(),
            offset: -1,
            receipt: 0,
            next: Next::default(),
            numbered: false,
            newest: -1,
            behind: BTreeMap::new(),
        }
    }

    /// Outputs from now on are the work of the record at `offset`, at the receipt time `receipt` of the partition.
    #[inline]
    pub(crate) fn at(&mut self, offset: i64, receipt: Micros) {
        if offset != self.offset {
            if self.numbered {
                self.behind.insert(self.offset, self.next);
                self.next = Next::default();
                self.numbered = false;
            }
            if offset > self.newest {
                self.newest = offset;
            } else if let Some(next) = self.behind.remove(&offset) {
                self.next = next;
                self.numbered = true;
            }
            self.offset = offset;
        }
        self.receipt = receipt;
    }

    /// Offset of the record whose work this is.
    pub(crate) fn source(&self) -> i64 {
        self.offset
    }

    /// Receipt time of the partition with that record.
    pub(crate) fn receipt(&self) -> Micros {
        self.receipt
    }

    /// The index that the next output to `topic` gets.
    pub(crate) fn next_index(&self, topic: Topic) -> u32 {
        self.next[topic as usize]
    }

    /// Adds an output. Its write clock must still be 0 and be its last field.
    pub(crate) fn push<T: Contract>(&mut self, topic: Topic, key: Option<&[u8]>, record: &T) {
        let start = self.arena.len();
        self.arena.extend_from_slice(key.unwrap_or_default());
        self.codec.encode(record, &mut self.arena);
        debug_assert_eq!(self.arena.last(), Some(&0), "the write clock is the last field and still 0");
        let index = self.next[topic as usize];
        self.next[topic as usize] += 1;
        self.numbered = true;
        self.entries.push(Entry {
            offset: self.offset,
            topic: topic as u8,
            index,
            receipt: self.receipt,
            start,
            key_len: u32::try_from(key.map_or(0, <[u8]>::len)).unwrap_or(u32::MAX),
            has_key: key.is_some(),
            end: self.arena.len(),
        });
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes that wait.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.arena.len()
    }

    /// Throws everything away.
    pub(crate) fn clear(&mut self) {
        self.arena.clear();
        self.arena.shrink_to(ARENA_KEPT);
        self.entries.clear();
        self.entries.shrink_to(ENTRIES_KEPT);
        self.offset = -1;
        self.next = Next::default();
        self.numbered = false;
        self.newest = -1;
        self.behind.clear();
    }

    /// Gives every waiting output its write clock and its link in the chain, counts it, and appends the finished
    /// records to `to`; without `to` (a silent re-fold) they are only clocked, chained and counted.
    pub(crate) fn seal(
        &mut self,
        partition: u32,
        clock: &mut Micros,
        chain: &mut Chain,
        books: &mut Books,
        mut to: Option<&mut Vec<NewRecord>>,
    ) {
        self.entries.sort_unstable_by_key(|entry| (entry.offset, entry.topic, entry.index));
        if mutation::is(Mutation::MapOrder) {
            self.entries.sort_by_cached_key(|entry| (entry.offset, mutation::map_order(entry.index)));
        }
        let mut clock_bytes = [0_u8; 10];
        for entry in &self.entries {
            *clock = (*clock + 1).max(entry.receipt);
            let topic = Topic::ALL[usize::from(entry.topic)];
            let tail = zigzag(*clock, &mut clock_bytes);
            let body = entry.start + entry.key_len as usize;
            let key = &self.arena[entry.start..body];
            let value = &self.arena[body..entry.end - 1];
            link(chain, topic, partition, key, &[value, tail]);
            books.outputs[usize::from(entry.topic)] += 1;
            if let Some(records) = to.as_deref_mut() {
                records.push(NewRecord {
                    to: TopicPartition { topic, partition },
                    key: entry.has_key.then(|| key.to_vec()),
                    value: [value, tail].concat(),
                    headers: Vec::new(),
                });
            }
        }
        self.clear();
    }
}

/// One link: `sha256(previous 16 bytes | topic | partition | length of key | key | value)`, its first 16 bytes.
fn link(chain: &mut Chain, topic: Topic, partition: u32, key: &[u8], value: &[&[u8]]) {
    let mut hash = Sha256::new();
    if !mutation::is(Mutation::DigestNotChained) {
        hash.update(*chain);
    }
    hash.update(topic.name().as_bytes());
    hash.update(partition.to_be_bytes());
    hash.update(u32::try_from(key.len()).unwrap_or(u32::MAX).to_be_bytes());
    hash.update(key);
    for part in value {
        hash.update(part);
    }
    chain.copy_from_slice(&hash.finalize()[..16]);
}

/// The chain after one more record: for checkers that compare a topic with what was committed.
#[must_use]
pub fn chained(mut chain: Chain, record: &NewRecord) -> Chain {
    link(
        &mut chain,
        record.to.topic,
        record.to.partition,
        record.key.as_deref().unwrap_or_default(),
        &[&record.value],
    );
    chain
}

/// Avro's long: zigzag, then seven bits a byte.
fn zigzag(value: i64, buffer: &mut [u8; 10]) -> &[u8] {
    let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
    let mut length = 0;
    loop {
        let low = (rest & 0x7f) as u8;
        rest >>= 7;
        buffer[length] = if rest == 0 { low } else { low | 0x80 };
        length += 1;
        if rest == 0 {
            return &buffer[..length];
        }
    }
}

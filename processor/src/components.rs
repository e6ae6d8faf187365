//! Components of models and trained weights on `iot.models`: whoever is to run one finds its bytes there by their digest.
//!
//! Does not live here: whether a component may be used (`scoring`).
//!
//! Invariant: pieces are believed only together, when their digest is the one asked for.

use crate::decoded::read_all_decoded;
use crate::ops::{OpsError, append_durably};
use journal::port::{Journal, JournalError, NewRecord, TopicPartition};
use schemas::codec::Codec;
use schemas::record::ModelPiece;
use schemas::topic::Topic;
use scoring::shipped::{self, Shipped};
use scoring::{ARTIFACT_BYTES_MAX, ComponentSource, Provenance, SourceError};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

const MODELS: TopicPartition = TopicPartition { topic: Topic::Models, partition: 0 };
/// Bytes of a piece: below the usual limit of a record.
const PIECE_BYTES: usize = 900_000;
/// Bytes of a component at most.
pub const COMPONENT_BYTES_MAX: usize = 64 << 20;
/// Pieces appended together.
const APPEND_RECORDS: usize = 8;
/// How long an append of them may take.
const APPEND_TIMEOUT: Duration = Duration::from_secs(30);
/// Records of one read.
const READ_RECORDS: usize = 16;

/// The components of a home: those that come with the program, and those that were put on the journal.
pub struct Components {
    journal: Arc<dyn Journal>,
    codec: Codec,
}

impl std::fmt::Debug for Components {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Components").finish_non_exhaustive()
    }
}

impl Components {
    /// Of this journal.
    #[must_use]
    pub const fn new(journal: Arc<dyn Journal>, codec: Codec) -> Self {
        Self { journal, codec }
    }

    /// Puts a component on the journal, with the text of its signature, and returns its digest; what is there already is
    /// not written again.
    ///
    /// # Errors
    /// [`OpsError::Refused`] when it is too large; [`OpsError::Unavailable`] when the journal does not answer.
    pub fn put(&self, bytes: &[u8], signature: Option<&str>) -> Result<String, OpsError> {
        within("a component", bytes, COMPONENT_BYTES_MAX)?;
        self.append(bytes, signature)
    }

    /// Puts trained weights on the journal, as [`Components::put`] does. Nobody signs them: they are data, as settings are.
    ///
    /// # Errors
    /// As [`Components::put`].
    pub fn put_weights(&self, bytes: &[u8]) -> Result<String, OpsError> {
        within("weights", bytes, ARTIFACT_BYTES_MAX)?;
        self.append(bytes, None)
    }

    fn append(&self, bytes: &[u8], signature: Option<&str>) -> Result<String, OpsError> {
        let digest = shipped::digest_of(bytes);
        let known = self.known(&digest)?;
        let signed = |known: &Whole| signature.is_none() || known.signature.as_deref() == signature;
        if shipped::all().iter().any(|shipped| shipped.digest == digest) || known.as_ref().is_some_and(signed)
        {
            return Ok(digest);
        }
        let number = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
        let count = number(bytes.len().div_ceil(PIECE_BYTES));
        let pieces = bytes.chunks(PIECE_BYTES).enumerate().map(|(index, piece)| {
            let piece = ModelPiece {
                digest: digest.clone(),
                index: number(index),
                count,
                bytes: piece.to_vec(),
                signature: signature.filter(|_| index == 0).map(str::to_owned),
            };
            NewRecord {
                to: MODELS,
                key: Some(format!("{digest}/{index}").into_bytes()),
                value: self.codec.to_bytes(&piece),
                headers: Vec::new(),
            }
        });
        let pieces: Vec<NewRecord> = pieces.collect();
        for group in pieces.chunks(APPEND_RECORDS) {
            append_durably(&*self.journal, group.to_vec(), APPEND_TIMEOUT)?;
        }
        Ok(digest)
    }

    /// A component of the journal, whole.
    fn known(&self, digest: &str) -> Result<Option<Whole>, JournalError> {
        let mut pieces = self.pieces(digest)?;
        let Some(first) = pieces.get_mut(&0) else { return Ok(None) };
        let (count, signature) = (usize::try_from(first.count).unwrap_or(0), first.signature.take());
        let all = pieces.into_values().flat_map(|piece| piece.bytes);
        let bytes: Vec<u8> = all.take(COMPONENT_BYTES_MAX + 1).collect();
        let complete = bytes.len().div_ceil(PIECE_BYTES) == count && shipped::digest_of(&bytes) == digest;
        Ok(complete.then_some(Whole { bytes, signature }))
    }

    fn pieces(&self, digest: &str) -> Result<BTreeMap<i32, ModelPiece>, JournalError> {
        let mut reader = self.journal.reader()?;
        let mut pieces = BTreeMap::new();
        let mut keep = |_, piece: ModelPiece| {
            if piece.digest == digest {
                pieces.insert(piece.index, piece);
            }
        };
        read_all_decoded(&mut *reader, &self.codec, MODELS, READ_RECORDS, &mut keep)?;
        Ok(pieces)
    }
}

impl ComponentSource for Components {
    fn fetch(&self, digest: &str) -> Result<Option<Cow<'static, [u8]>>, SourceError> {
        if let Some(shipped) = Shipped.fetch(digest)? {
            return Ok(Some(shipped));
        }
        let known = self.known(digest).map_err(|why| SourceError(why.to_string()))?;
        Ok(known.map(|known| Cow::Owned(known.bytes)))
    }

    fn provenance(&self, digest: &str) -> Result<Provenance, SourceError> {
        let known = self.known(digest).map_err(|why| SourceError(why.to_string()))?;
        let signature = known.and_then(|known| known.signature);
        Ok(Provenance { origin: format!("{digest} of iot.models"), signature })
    }
}

fn within(what: &str, bytes: &[u8], bytes_max: usize) -> Result<(), OpsError> {
    if (1..=bytes_max).contains(&bytes.len()) {
        return Ok(());
    }
    let found = bytes.len();
    Err(OpsError::Refused(format!("{what} of {found} bytes: 1 to {bytes_max} are possible")))
}

/// A component and who vouches for it.
struct Whole {
    bytes: Vec<u8>,
    signature: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use journal::memory::{MemoryConfig, MemoryJournal};

    fn components() -> (MemoryJournal, Components) {
        let journal = MemoryJournal::new(MemoryConfig::default()).expect("a journal");
        let port: Arc<dyn Journal> = Arc::new(journal.clone());
        let codec = journal::ids::codec(Arc::clone(&port)).expect("ids");
        (journal, Components::new(port, codec))
    }

    fn bytes(length: usize, seed: u8) -> Vec<u8> {
        (0..length).map(|at| u8::try_from(at % 251).expect("below 251") ^ seed).collect()
    }

    #[test]
    fn what_was_put_is_found_whole_by_its_digest_and_written_once() {
        let (journal, components) = components();
        for length in [1, PIECE_BYTES, 2 * PIECE_BYTES + 7] {
            let component = bytes(length, 3);
            let digest = components.put(&component, None).expect("room");
            assert_eq!(components.fetch(&digest).expect("an answer").as_deref(), Some(&component[..]));
        }
        let written = journal.topic(Topic::Models).len();
        assert_eq!(written, 1 + 1 + 3);
        components.put(&bytes(1, 3), None).expect("room");
        assert_eq!(journal.topic(Topic::Models).len(), written, "it is there already");
        assert_eq!(components.fetch(&"0".repeat(64)), Ok(None));
        let shipped = shipped::ewma();
        assert_eq!(components.put(shipped.bytes, None), Ok(shipped.digest.clone()));
        assert_eq!(journal.topic(Topic::Models).len(), written, "it comes with the program");
    }

    #[test]
    fn a_signature_that_comes_later_is_found_too() {
        let (_, components) = components();
        let component = bytes(PIECE_BYTES + 1, 5);
        let digest = components.put(&component, None).expect("room");
        assert_eq!(components.provenance(&digest).expect("an answer").signature, None);
        components.put(&component, Some("signed")).expect("room");
        assert_eq!(components.provenance(&digest).expect("an answer").signature.as_deref(), Some("signed"));
    }

    #[test]
    fn what_is_incomplete_or_empty_is_nothing() {
        let (_, components) = components();
        let component = bytes(2 * PIECE_BYTES, 9);
        let digest = shipped::digest_of(&component);
        let first = ModelPiece {
            digest: digest.clone(),
            index: 0,
            count: 2,
            bytes: component[..PIECE_BYTES].to_vec(),
            signature: None,
        };
        let value = components.codec.to_bytes(&first);
        append_durably(
            &*components.journal,
            vec![NewRecord { to: MODELS, key: None, value, headers: Vec::new() }],
            APPEND_TIMEOUT,
        )
        .expect("room");
        assert_eq!(components.fetch(&digest), Ok(None), "its second piece is not there");
        components.put(&component, None).expect("room");
        assert_eq!(components.fetch(&digest).expect("an answer").as_deref(), Some(&component[..]));
        assert!(matches!(components.put(&[], None), Err(OpsError::Refused(_))));
    }

    #[test]
    fn weights_are_found_as_components_are_and_have_their_own_limit() {
        let (_, components) = components();
        let weights = bytes(PIECE_BYTES + 3, 11);
        let digest = components.put_weights(&weights).expect("room");
        assert_eq!(components.fetch(&digest).expect("an answer").as_deref(), Some(&weights[..]));
        let refused = components.put_weights(&vec![0; ARTIFACT_BYTES_MAX + 1]).expect_err("too many");
        assert_eq!(refused.to_string(), "weights of 16777217 bytes: 1 to 16777216 are possible");
    }
}

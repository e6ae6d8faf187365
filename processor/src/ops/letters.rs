//! Dead letters: listing them, showing one, sending them round again.
//!
//! Redriving appends the original bytes to `iot.raw` with a count in a header; a letter that has been round three
//! times is refused.

use super::{OpsError, append_durably, rfc3339};
use crate::step::REDRIVEN_HEADER;
use journal::port::{Journal, NewRecord, TopicPartition};
use schemas::Micros;
use schemas::codec::Codec;
use schemas::partition::partition_of;
use schemas::reason::RejectReason;
use schemas::record::{DeadLetter, Stage};
use schemas::topic::Topic;
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;

/// How often a letter may be sent round.
pub const REDRIVEN_MAX: i32 = 3;
/// Letters read at a time.
const READ_RECORDS: usize = 512;
/// Letters sent round by one call at most.
const REDRIVE_MAX: usize = 10_000;
/// Bytes of a letter's record that a listing shows.
const PREVIEW_BYTES: usize = 512;
/// How long an append may take.
const APPEND_TIMEOUT: Duration = Duration::from_secs(10);

/// A dead letter, for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Letter {
    /// `partition-offset` on `iot.dead-letters`.
    pub id: String,
    /// Why.
    pub reason: String,
    /// What was found and what would be right.
    pub detail: String,
    /// Where it was refused.
    pub stage: &'static str,
    /// Device, if it could be told.
    pub device_id: Option<String>,
    /// Topic, partition and offset it was read from; none: refused at the door.
    pub source: Option<String>,
    /// Receipt time of the source record.
    #[serde(serialize_with = "rfc3339")]
    pub received_at: Micros,
    /// How often it had been sent round when it failed.
    pub redriven: i32,
    /// Length of the original bytes that were kept.
    pub bytes: usize,
    /// Whether they were cut.
    pub truncated: bool,
    /// The bytes, as text where they are text, else as an escaped string; a listing shows their beginning.
    pub value: String,
}

/// What became of a redrive.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Redriven {
    /// Sent round.
    pub redriven: Vec<String>,
    /// Letter and why not.
    pub refused: Vec<Refused>,
}

/// A letter that was not sent round.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Refused {
    /// Letter.
    pub id: String,
    /// `redrive-limit`, or the class of the problem.
    pub reason: String,
    /// A sentence.
    pub detail: String,
}

/// Partition and offset of a letter, and the letter.
type Found = ((u32, i64), DeadLetter);

/// Access to the dead letters of a journal. Cheap to clone.
#[derive(Clone)]
pub struct Letters {
    journal: Arc<dyn Journal>,
    codec: Codec,
}

impl Letters {
    /// Of this journal.
    #[must_use]
    pub fn new(journal: Arc<dyn Journal>, codec: Codec) -> Self {
        Self { journal, codec }
    }

    /// The youngest letters, youngest first, of one reason or of all.
    ///
    /// # Errors
    /// When the journal does not answer.
    pub fn list(&self, reason: Option<&str>, limit: usize) -> Result<Vec<Letter>, OpsError> {
        let mut found = self.scan(reason, limit)?;
        found.sort_by(|(a_id, a), (b_id, b)| b.received_at.cmp(&a.received_at).then_with(|| b_id.cmp(a_id)));
        found.truncate(limit);
        Ok(found.iter().map(|(id, letter)| shown(*id, letter, PREVIEW_BYTES)).collect())
    }

    /// One letter with all its bytes.
    ///
    /// # Errors
    /// [`OpsError::NotFound`].
    pub fn show(&self, id: &str) -> Result<Letter, OpsError> {
        let (at, letter) = self.find(id)?;
        Ok(shown(at, &letter, usize::MAX))
    }

    /// Sends letters round again: those named, or all of a reason.
    ///
    /// # Errors
    /// When nothing is named, or the journal does not answer. A letter that must not go round is in the answer.
    pub fn redrive(&self, ids: &[String], reason: Option<&str>) -> Result<Redriven, OpsError> {
        let mut chosen = Vec::new();
        for id in ids {
            chosen.push(self.find(id)?);
        }
        match (ids.is_empty(), reason) {
            (true, None) => return Err(OpsError::Refused("name letters, or a reason".to_owned())),
            (true, Some(reason)) => chosen.extend(self.scan(Some(reason), REDRIVE_MAX)?),
            _ => {}
        }
        let mut outcome = Redriven::default();
        for (at, letter) in chosen {
            let id = id_of(at);
            match self.round(&letter) {
                Ok(record) => {
                    append_durably(&*self.journal, vec![record], APPEND_TIMEOUT)?;
                    outcome.redriven.push(id);
                }
                Err((reason, detail)) => {
                    outcome.refused.push(Refused {
                        id,
                        reason: reason.to_owned(),
                        detail: detail.to_owned(),
                    });
                }
            }
        }
        Ok(outcome)
    }

    /// The record that sends a letter round, or why it must not go.
    fn round(&self, letter: &DeadLetter) -> Result<NewRecord, (&'static str, &'static str)> {
        if letter.redriven >= REDRIVEN_MAX {
            let reason = RejectReason::RedriveLimit.as_str();
            return Err((reason, "it has been round three times; mend what refuses it, or send it anew"));
        }
        if letter.stage == Stage::Scoring {
            return Err((
                "scoring",
                "its reading is in its windows already; sending it round would count it twice, and scoring alone is \
                 not possible yet",
            ));
        }
        if letter.stage == Stage::Sink {
            return Err(("sink", "it is no reading; the sink writes it again by itself"));
        }
        if letter.truncated {
            return Err(("truncated", "its bytes were cut when it was kept"));
        }
        let device = letter.device_id.as_ref().map(|device| device.as_bytes().to_vec());
        // A letter without a key of its own goes where its device lives; without either, back where it was.
        let key = match RejectReason::from_text(&letter.reason) {
            Some(RejectReason::KeyMismatch | RejectReason::Misrouted) => {
                device.or_else(|| letter.key.clone())
            }
            _ => letter.key.clone().or(device),
        };
        let partition = match (&key, letter.source_partition) {
            (Some(key), _) => partition_of(key, self.journal.partitions()),
            (None, Some(partition)) => u32::try_from(partition).unwrap_or(0),
            (None, None) => {
                return Err(("no-device", "its device cannot be told; mend it and send it to the door"));
            }
        };
        let count = (letter.redriven + 1).to_string().into_bytes();
        Ok(NewRecord {
            to: TopicPartition { topic: Topic::Raw, partition },
            key,
            value: letter.value.clone(),
            headers: vec![(REDRIVEN_HEADER.to_owned(), count)],
        })
    }

    fn find(&self, id: &str) -> Result<Found, OpsError> {
        let missing = || OpsError::NotFound(format!("there is no dead letter `{id}`"));
        let (partition, offset) = id.split_once('-').ok_or_else(missing)?;
        let (Ok(partition), Ok(offset)) = (partition.parse::<u32>(), offset.parse::<i64>()) else {
            return Err(missing());
        };
        if partition >= self.journal.partitions() || offset < 0 {
            return Err(missing());
        }
        let at = TopicPartition { topic: Topic::DeadLetters, partition };
        let mut found = None;
        let read = self.journal.reader()?.read(at, offset, 1, &mut |record| {
            if record.offset == offset {
                found = self.codec.decode::<DeadLetter>(record.value).ok();
            }
        });
        match read {
            Ok(_) => found.map(|letter| ((partition, offset), letter)).ok_or_else(missing),
            Err(journal::port::JournalError::OutOfRange { .. }) => Err(missing()),
            Err(why) => Err(why.into()),
        }
    }

    /// The youngest letters of each partition, at most so many of each.
    fn scan(&self, reason: Option<&str>, limit: usize) -> Result<Vec<Found>, OpsError> {
        let mut reader = self.journal.reader()?;
        let mut all = Vec::new();
        for partition in 0..self.journal.partitions() {
            let at = TopicPartition { topic: Topic::DeadLetters, partition };
            let (start, end) = reader.bounds(at)?;
            let step = i64::try_from(READ_RECORDS).unwrap_or(i64::MAX);
            let (mut below, mut kept) = (end, 0);
            while below > start && kept < limit {
                let from = start.max(below - step);
                let mut next = from;
                let mut page = Vec::new();
                while next < below {
                    let asked = next;
                    next = reader.read(at, asked, READ_RECORDS, &mut |record| {
                        if record.offset < below
                            && let Ok(letter) = self.codec.decode::<DeadLetter>(record.value)
                            && reason.is_none_or(|reason| letter.reason == reason)
                        {
                            page.push(((partition, record.offset), letter));
                        }
                    })?;
                    if next == asked {
                        break;
                    }
                }
                kept += page.len();
                all.extend(page);
                below = from;
            }
        }
        Ok(all)
    }
}

fn id_of((partition, offset): (u32, i64)) -> String {
    format!("{partition}-{offset}")
}

fn shown(at: (u32, i64), letter: &DeadLetter, bytes_max: usize) -> Letter {
    let cut = &letter.value[..letter.value.len().min(bytes_max)];
    let value = match std::str::from_utf8(cut) {
        Ok(text) => text.to_owned(),
        // A cut through a character is still text.
        Err(why) if why.error_len().is_none() && cut.len() < letter.value.len() => {
            String::from_utf8_lossy(&cut[..why.valid_up_to()]).into_owned()
        }
        Err(_) => cut.escape_ascii().to_string(),
    };
    let source = letter.source_topic.as_ref().zip(letter.source_partition).zip(letter.source_offset);
    Letter {
        id: id_of(at),
        reason: letter.reason.clone(),
        detail: letter.detail.clone(),
        stage: letter.stage.as_str(),
        device_id: letter.device_id.clone(),
        source: source.map(|((topic, partition), offset)| format!("{topic}/{partition}/{offset}")),
        received_at: letter.received_at,
        redriven: letter.redriven,
        bytes: letter.value.len(),
        truncated: letter.truncated,
        value,
    }
}

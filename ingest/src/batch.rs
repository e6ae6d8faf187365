//! Readings to records: each slice of a body becomes a reading on `iot.raw` or a dead letter that says why not.
//! Does not live here: the rules a reading is checked by (`schemas`), or writing anything.

use crate::scrub::Scrubber;
use journal::port::{Header, NewRecord, TopicPartition};
use schemas::Micros;
use schemas::codec::Codec;
use schemas::grammar::{ReadingLimits, is_device_id};
use schemas::json::ReadingParser;
use schemas::partition::partition_of;
use schemas::reason::Reject;
use schemas::record::{DeadLetter, Raw, Stage};
use schemas::topic::Topic;
use serde::{Deserialize, Serialize};

/// Name of the header with ingest's clock at receipt, decimal microseconds. It travels for latency only.
const INGEST_AT: &str = "ingest-at";
/// Bytes of a dead letter's value; the rest is cut off.
const LETTER_BYTES_MAX: usize = 256 << 10;
/// What a framed reading usually needs at most: two allocations less on the way there.
const READING_BYTES: usize = 160;

/// One line of the answer's `rejected`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Rejection {
    /// Place in the request, from 0.
    pub(crate) index: usize,
    /// [`schemas::reason::RejectReason`] by name.
    pub(crate) reason: &'static str,
    /// What was wrong and what would be right.
    pub(crate) detail: String,
}

/// What one request comes to.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// Readings, then dead letters.
    pub(crate) records: Vec<NewRecord>,
    /// How many of the records are readings.
    pub(crate) readings: usize,
    /// Why the others are not.
    pub(crate) rejections: Vec<Rejection>,
}

impl Batch {
    /// Memory held, roughly: what requests are admitted by.
    pub(crate) fn bytes(&self) -> usize {
        const RECORD_OVERHEAD: usize = size_of::<NewRecord>() + size_of::<Header>() + 32;
        let record = |record: &NewRecord| {
            RECORD_OVERHEAD + record.key.as_ref().map_or(0, Vec::len) + record.value.len()
        };
        let rejection = |rejection: &Rejection| size_of::<Rejection>() + rejection.detail.len();
        self.records.iter().map(record).sum::<usize>() + self.rejections.iter().map(rejection).sum::<usize>()
    }
}

/// Makes records. One of it serves any number of requests, each with a [`ReadingParser`] of its own.
#[derive(Clone, Debug)]
pub(crate) struct Recorder {
    pub(crate) codec: Codec,
    pub(crate) limits: ReadingLimits,
    pub(crate) partitions: u32,
    pub(crate) scrubber: Option<Scrubber>,
}

impl Recorder {
    /// Judges every slice. `now` is ingest's clock.
    pub(crate) fn batch(&self, slices: &[&[u8]], now: Micros) -> Batch {
        let mut parser = ReadingParser::new(self.limits);
        let headers = ingest_at(now);
        let mut batch = Batch { records: Vec::with_capacity(slices.len()), ..Batch::default() };
        let mut letters = Vec::new();
        for (index, slice) in slices.iter().enumerate() {
            match parser.parse(slice) {
                Ok(view) => {
                    let mut value = Vec::with_capacity(READING_BYTES);
                    match self.scrubber.as_ref().and_then(|scrubber| scrubber.reading(&view)) {
                        None => self.codec.encode_reading(&view, &mut value),
                        Some(reading) => self.codec.encode(&Raw::Reading(reading), &mut value),
                    }
                    batch.records.push(self.keyed(Topic::Raw, view.device_id(), value, headers.clone()));
                }
                Err(reject) => {
                    letters.push(self.letter(slice, &reject, now));
                    batch.rejections.push(rejection(index, reject));
                }
            }
        }
        batch.readings = batch.records.len();
        batch.records.append(&mut letters);
        batch
    }

    /// A body that could not be taken apart, as one rejected reading.
    pub(crate) fn unreadable(&self, body: &[u8], reject: Reject, now: Micros) -> Batch {
        Batch {
            records: vec![self.letter(body, &reject, now)],
            readings: 0,
            rejections: vec![rejection(0, reject)],
        }
    }

    /// A record of `iot.raw` about one device.
    pub(crate) fn keyed(
        &self,
        topic: Topic,
        device_id: &str,
        value: Vec<u8>,
        headers: Vec<Header>,
    ) -> NewRecord {
        let key = device_id.as_bytes().to_vec();
        let to = TopicPartition { topic, partition: partition_of(&key, self.partitions) };
        NewRecord { to, key: Some(key), value, headers }
    }

    fn letter(&self, bytes: &[u8], reject: &Reject, now: Micros) -> NewRecord {
        let device_id = told_device_id(bytes);
        let scrubbed = self.scrubber.as_ref().map(|scrubber| scrubber.refused(bytes, &reject.detail));
        let (bytes, detail, withheld) = match &scrubbed {
            None => (bytes, reject.detail.as_str(), false),
            Some(Some((bytes, detail))) => (bytes.as_slice(), detail.as_str(), false),
            Some(None) => (&[][..], "its bytes are withheld: what is to be scrubbed cannot be told", true),
        };
        let letter = DeadLetter {
            reason: reject.reason.as_str().to_owned(),
            detail: detail.to_owned(),
            stage: Stage::Ingest,
            source_topic: None,
            source_partition: None,
            source_offset: None,
            key: None,
            value: bytes[..bytes.len().min(LETTER_BYTES_MAX)].to_vec(),
            truncated: withheld || bytes.len() > LETTER_BYTES_MAX,
            redriven: 0,
            received_at: now,
            write_clock: 0,
            device_id: device_id.clone(),
        };
        let value = self.codec.to_bytes(&letter);
        match device_id {
            Some(device_id) => self.keyed(Topic::DeadLetters, &device_id, value, Vec::new()),
            None => {
                let to = TopicPartition { topic: Topic::DeadLetters, partition: 0 };
                NewRecord { to, key: None, value, headers: Vec::new() }
            }
        }
    }
}

/// The header of every record that comes through the door.
pub(crate) fn ingest_at(now: Micros) -> Vec<Header> {
    vec![(INGEST_AT.to_owned(), now.to_string().into_bytes())]
}

fn rejection(index: usize, reject: Reject) -> Rejection {
    Rejection { index, reason: reject.reason.as_str(), detail: reject.detail }
}

/// The device of a refused reading, where that can be told.
fn told_device_id(bytes: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Told {
        device_id: String,
    }
    if bytes.len() > LETTER_BYTES_MAX {
        return None;
    }
    let Told { device_id } = serde_json::from_slice(bytes).ok()?;
    is_device_id(&device_id).then_some(device_id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemas::raw::{RawDecoder, RawView};
    use schemas::reason::RejectReason;

    const SEED: &[u8] = br#"{"device_id":"sensor-12","temp":23.5,"ts":1627847280}"#;

    fn recorder() -> Recorder {
        Recorder { codec: Codec::local(), limits: ReadingLimits::DEFAULT, partitions: 4, scrubber: None }
    }

    #[test]
    fn a_reading_becomes_a_keyed_framed_record_with_its_receipt() {
        let recorder = recorder();
        let batch = recorder.batch(&[SEED], 77);
        assert_eq!((batch.readings, batch.rejections.len()), (1, 0));
        let record = &batch.records[0];
        assert_eq!(record.key.as_deref(), Some(b"sensor-12".as_slice()));
        assert_eq!(record.to, TopicPartition { topic: Topic::Raw, partition: partition_of(b"sensor-12", 4) });
        assert_eq!(record.headers, [("ingest-at".to_owned(), b"77".to_vec())]);
        let mut decoder = RawDecoder::new(ReadingLimits::DEFAULT);
        let RawView::Reading(view) = decoder.decode(&recorder.codec, &record.value, false).unwrap() else {
            panic!("no reading")
        };
        assert_eq!((view.device_id(), view.event_time()), ("sensor-12", Some(1_627_847_280_000_000)));
    }

    #[test]
    fn nothing_that_is_appended_holds_what_is_scrubbed() {
        let config = crate::config::IngestConfig {
            scrub_drop: vec!["patient".to_owned()],
            scrub_hash: vec!["badge".to_owned()],
            scrub_key: Some(chassis::config::Secret::new("00112233445566778899aabbccddeeff")),
            ..crate::config::IngestConfig::default()
        };
        let recorder = Recorder { scrubber: Scrubber::new(&config), ..recorder() };
        let taken = br#"{"device_id":"d","temp":1,"patient":"Ada Lovelace","badge":"4711-0815","line":"a"}"#;
        let refused = br#"{"device_id":"d","ts":0,"patient":"Ada Lovelace","badge":"4711-0815"}"#;
        let broken = br#"{"device_id":"d","patient":"Ada Lovelace","badge":"4711-0815""#;
        let batch = recorder.batch(&[taken, refused, broken, SEED], 77);
        assert_eq!((batch.readings, batch.records.len()), (2, 4));
        for record in &batch.records {
            let holds = |text: &[u8]| record.value.windows(text.len()).any(|part| part == text);
            assert!(!holds(b"Ada") && !holds(b"4711"), "{}", record.value.escape_ascii());
        }
        let mut decoder = RawDecoder::new(ReadingLimits::DEFAULT);
        let RawView::Reading(view) = decoder.decode(&recorder.codec, &batch.records[0].value, false).unwrap()
        else {
            panic!("no reading")
        };
        let tags: Vec<(&str, usize)> = view.tags().map(|(name, value)| (name, value.len())).collect();
        assert_eq!(tags, [("badge", 32), ("line", 1)]);
        let letter = |at: usize| recorder.codec.decode::<DeadLetter>(&batch.records[at].value).unwrap();
        assert_eq!((letter(2).truncated, letter(2).reason.as_str()), (false, "bad-timestamp"));
        assert_eq!((letter(3).truncated, letter(3).value), (true, Vec::new()));
    }

    #[test]
    fn a_refused_reading_becomes_a_letter_with_its_bytes_and_device_and_keeps_its_place() {
        let recorder = recorder();
        let no_time = br#"{"device_id":"sensor-12","temp":1,"ts":0}"#;
        let batch = recorder.batch(&[b"nonsense", SEED, no_time], 77);
        assert_eq!((batch.records.len(), batch.readings), (3, 1));
        let found: Vec<(usize, &str)> =
            batch.rejections.iter().map(|line| (line.index, line.reason)).collect();
        assert_eq!(found, [(0, "malformed-json"), (2, "bad-timestamp")]);
        let letters: Vec<DeadLetter> =
            batch.records[1..].iter().map(|record| recorder.codec.decode(&record.value).unwrap()).collect();
        assert_eq!(
            (letters[0].value.as_slice(), letters[0].device_id.as_deref()),
            (b"nonsense".as_slice(), None)
        );
        assert_eq!(
            (letters[1].value.as_slice(), letters[1].device_id.as_deref()),
            (no_time.as_slice(), Some("sensor-12"))
        );
        for letter in &letters {
            assert_eq!((letter.stage, letter.received_at, letter.write_clock), (Stage::Ingest, 77, 0));
            assert_eq!((&letter.source_topic, letter.redriven, letter.truncated), (&None, 0, false));
        }
        assert_eq!(batch.records[2].to.partition, batch.records[0].to.partition);
    }

    #[test]
    fn a_large_unreadable_body_is_one_letter_cut_to_size() {
        let recorder = recorder();
        let reject = Reject::new(RejectReason::MalformedJson, "broken");
        let batch = recorder.unreadable(&vec![b'x'; LETTER_BYTES_MAX + 1], reject, 77);
        let letter: DeadLetter = recorder.codec.decode(&batch.records[0].value).unwrap();
        assert!(letter.truncated && letter.value.len() == LETTER_BYTES_MAX && letter.detail == "broken");
        assert!(batch.bytes() > LETTER_BYTES_MAX);
    }

    proptest::proptest! {
        #[test]
        fn whatever_comes_every_slice_is_a_reading_or_a_letter_that_can_be_read(
            slices in proptest::collection::vec(slice(), 0..8),
        ) {
            let recorder = recorder();
            let slices: Vec<&[u8]> = slices.iter().map(Vec::as_slice).collect();
            let batch = recorder.batch(&slices, 77);
            proptest::prop_assert_eq!(batch.records.len(), slices.len());
            proptest::prop_assert_eq!(batch.readings + batch.rejections.len(), slices.len());
            let mut decoder = RawDecoder::new(ReadingLimits::DEFAULT);
            for record in &batch.records[..batch.readings] {
                let decoded = decoder.decode(&recorder.codec, &record.value, false).unwrap();
                let RawView::Reading(view) = decoded else { panic!("no reading") };
                proptest::prop_assert_eq!(record.key.as_deref(), Some(view.device_id().as_bytes()));
            }
            for (record, rejection) in batch.records[batch.readings..].iter().zip(&batch.rejections) {
                let letter: DeadLetter = recorder.codec.decode(&record.value).unwrap();
                proptest::prop_assert_eq!(letter.value.as_slice(), slices[rejection.index]);
                proptest::prop_assert_eq!(letter.reason.as_str(), rejection.reason);
            }
        }
    }

    /// The seed message with one byte changed, cut or doubled; or noise.
    fn slice() -> impl proptest::strategy::Strategy<Value = Vec<u8>> {
        use proptest::prelude::*;
        let damaged = (0..SEED.len(), any::<u8>(), 0..4_u8).prop_map(|(at, byte, how)| {
            let mut bytes = SEED.to_vec();
            match how {
                0 => bytes[at] = byte,
                1 => bytes.truncate(at),
                2 => bytes.insert(at, byte),
                _ => {}
            }
            bytes
        });
        prop_oneof![4 => damaged, 1 => proptest::collection::vec(any::<u8>(), 0..40)]
    }
}

//! Why a record could not be used. One list: its text is the dead letter's reason, the metric label, the API's
//! `reason` and the row in the documents.

macro_rules! reasons {
    ($(#[doc = $doc:literal] $name:ident = $text:literal,)+) => {
        /// Why a record could not be used.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum RejectReason { $(#[doc = $doc] $name,)+ }
        impl RejectReason {
            /// Every reason.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];
            /// Its public name: lower case, dashes.
            #[must_use]
            pub const fn as_str(self) -> &'static str { match self { $(Self::$name => $text,)+ } }
            /// What it means, in one sentence.
            #[must_use]
            pub const fn description(self) -> &'static str { match self { $(Self::$name => $doc.trim_ascii(),)+ } }
        }
    };
}

reasons! {
    /// The text is no JSON value.
    MalformedJson = "malformed-json",
    /// The bytes are not UTF-8.
    InvalidUtf8 = "invalid-utf8",
    /// The JSON value is no object.
    NotAnObject = "not-an-object",
    /// A field has a type that is not accepted there.
    WrongType = "wrong-type",
    /// Objects nested deeper than the limit.
    TooDeep = "too-deep",
    /// One reading is larger than the limit.
    TooLarge = "too-large",
    /// More measurements than the limit.
    TooManyMeasurements = "too-many-measurements",
    /// More text fields than the limit.
    TooManyTags = "too-many-tags",
    /// A key appears twice.
    DuplicateKey = "duplicate-key",
    /// The device id is absent.
    MissingDeviceId = "missing-device-id",
    /// The device id is empty, too long, or has a character that is not allowed.
    BadDeviceId = "bad-device-id",
    /// A measurement or tag name is empty, too long, or has a character that is not allowed.
    BadName = "bad-name",
    /// A text is too long or has a control character.
    BadText = "bad-text",
    /// The event time cannot be read or lies outside the accepted range.
    BadTimestamp = "bad-timestamp",
    /// A number is not finite in 64-bit floating point.
    NotFinite = "not-finite",
    /// The reading has no measurement.
    NoMeasurements = "no-measurements",
    /// `seq` or `boot` cannot be read.
    BadSequence = "bad-sequence",
    /// A device record cannot be read.
    BadDevice = "bad-device",
    /// The framed value names a schema id that the schema table does not know, or one that cannot be read here.
    UnknownSchema = "unknown-schema",
    /// The framed value does not follow its schema.
    MalformedAvro = "malformed-avro",
    /// The value is neither framed Avro nor bare JSON.
    ForeignBytes = "foreign-bytes",
    /// Bare JSON is switched off.
    BareJsonRefused = "bare-json-refused",
    /// The record's key is not its device id.
    KeyMismatch = "key-mismatch",
    /// The record lies in another partition than its key's.
    Misrouted = "misrouted",
    /// A reading before the partition's first configuration.
    NoConfiguration = "no-configuration",
    /// Event time further ahead of receipt time than `max-ahead`.
    ClockAhead = "clock-ahead",
    /// The partition has `max-devices` devices.
    DeviceLimit = "device-limit",
    /// The partition or device has as many panes as it may have.
    PaneLimit = "pane-limit",
    /// A model failed on this reading; it is aggregated all the same.
    Scoring = "scoring",
    /// Redriven as often as a letter may be.
    RedriveLimit = "redrive-limit",
}

impl RejectReason {
    /// The reason of that name.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|reason| reason.as_str() == text)
    }
}

impl std::fmt::Display for RejectReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A refusal: the reason, and a sentence that names what was found and what would be accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}: {detail}")]
pub struct Reject {
    /// The class.
    pub reason: RejectReason,
    /// What was wrong and what would be right; never longer than 512 bytes.
    pub detail: String,
}

impl Reject {
    /// A refusal; the detail is cut to 512 bytes at a character boundary.
    #[must_use]
    pub fn new(reason: RejectReason, detail: impl Into<String>) -> Self {
        const DETAIL_BYTES_MAX: usize = 512;
        let mut detail = detail.into();
        if detail.len() > DETAIL_BYTES_MAX {
            detail.truncate(detail.floor_char_boundary(DETAIL_BYTES_MAX));
        }
        Self { reason, detail }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_reason_has_a_name_of_its_own_and_a_sentence() {
        let names: BTreeSet<_> = RejectReason::ALL.iter().map(|reason| reason.as_str()).collect();
        assert_eq!(names.len(), RejectReason::ALL.len());
        for reason in RejectReason::ALL {
            let (name, description) = (reason.as_str(), reason.description());
            assert!(
                name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'),
                "{name}"
            );
            assert!(description.ends_with('.') && !description.starts_with(' '), "{name}: {description:?}");
            assert_eq!(RejectReason::from_text(name), Some(*reason));
        }
    }

    #[test]
    fn details_are_cut_between_characters() {
        let detail = Reject::new(RejectReason::BadName, "é".repeat(300)).detail;
        assert_eq!(detail, "é".repeat(256));
        let detail = Reject::new(RejectReason::BadName, format!("x{}", "é".repeat(300))).detail;
        assert_eq!(detail.len(), 511);
    }
}

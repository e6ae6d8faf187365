//! What must not be kept of people: names under which nothing is written, or a keyed hash only.
//!
//! Lives here: taking them out of readings, of devices' metadata, and of what is kept of a refused reading. It happens
//! at the door, before anything is appended, so that no topic, snapshot or row ever holds them.
//!
//! Invariant: what is written under a scrubbed name is nothing, or 32 hexadecimal digits that only who has the key can
//! tell anything from.

use crate::config::IngestConfig;
use chassis::config::Problems;
use hmac::{Hmac, Mac};
use schemas::record::Reading;
use schemas::view::ReadingView;
use serde_json::{Map, Value};
use sha2::Sha256;
use std::collections::BTreeMap;

/// Least characters of a key: 128 bits in hexadecimal.
const KEY_CHARS_MIN: usize = 32;
/// Bytes of a hash that are kept: enough that no two people meet in one.
const HASH_BYTES: usize = 16;
/// Names of a reading that the pipeline itself lives on.
const RESERVED: [&str; 4] = ["device_id", "ts", "seq", "boot"];

/// What is to be done under which name.
#[derive(Clone, Debug)]
pub(crate) struct Scrubber {
    drop: Vec<String>,
    hash: Vec<String>,
    mac: Option<Hmac<Sha256>>,
}

impl Scrubber {
    /// None when nothing is to be scrubbed.
    pub(crate) fn new(config: &IngestConfig) -> Option<Self> {
        let IngestConfig { scrub_drop: drop, scrub_hash: hash, scrub_key, .. } = config;
        if drop.is_empty() && hash.is_empty() {
            return None;
        }
        let mac = scrub_key.as_ref().and_then(|key| Hmac::new_from_slice(key.expose().as_bytes()).ok());
        Some(Self { drop: drop.clone(), hash: hash.clone(), mac })
    }

    /// Names what is wrong with its settings.
    pub(crate) fn check(config: &IngestConfig, at: &str, problems: &mut Problems) {
        let lists = [("scrub-drop", &config.scrub_drop), ("scrub-hash", &config.scrub_hash)];
        let mut seen = Vec::new();
        for (key, names) in lists {
            for name in names {
                if RESERVED.contains(&name.as_str()) || name.is_empty() {
                    problems.add(format!("{at}.{key}"), format!("`{name}` cannot be scrubbed"));
                } else if seen.contains(&name) {
                    problems.add(format!("{at}.{key}"), format!("`{name}` is there twice"));
                }
                seen.push(name);
            }
        }
        let key = config.scrub_key.as_ref().map(|key| key.expose().chars().count());
        match (config.scrub_hash.is_empty(), key) {
            (false, None) => problems.add(
                format!("{at}.scrub-key"),
                "is needed by `scrub-hash`: without one every value could be guessed from a list",
            ),
            (false, Some(chars)) if chars < KEY_CHARS_MIN => problems.add(
                format!("{at}.scrub-key"),
                format!(
                    "has {chars} characters; at least {KEY_CHARS_MIN}, from a generator of random numbers"
                ),
            ),
            (true, Some(_)) => problems.add(format!("{at}.scrub-key"), "means nothing without `scrub-hash`"),
            _ => {}
        }
    }

    /// A reading without what must not be kept; none: there was nothing of it.
    pub(crate) fn reading(&self, view: &ReadingView<'_>) -> Option<Reading> {
        let mut tags = view.tags().map(|(name, _)| name);
        let mut measured = view.measurements().map(|(name, _)| name);
        if !tags.any(|name| self.names(name)) && !measured.any(|name| self.names(name)) {
            return None;
        }
        let mut reading = view.to_owned();
        reading.tags.retain(|(name, _)| !covers(&self.drop, name));
        for (name, value) in reading.tags.iter_mut().filter(|(name, _)| covers(&self.hash, name)) {
            *value = self.hashed(name, value);
        }
        // A number can be no hash: whoever sends a badge as a number has it dropped.
        reading.measurements.retain(|(name, _)| !self.names(name));
        Some(reading)
    }

    /// Takes out of a device's tags what must not be kept.
    pub(crate) fn device(&self, tags: &mut BTreeMap<String, String>) {
        tags.retain(|name, _| !covers(&self.drop, name));
        for (name, value) in tags.iter_mut().filter(|(name, _)| covers(&self.hash, name)) {
            *value = self.hashed(name, value);
        }
    }

    /// What may be kept of a refused reading and of the words about it; none: that cannot be told.
    pub(crate) fn refused(&self, bytes: &[u8], detail: &str) -> Option<(Vec<u8>, String)> {
        let Ok(Value::Object(mut object)) = serde_json::from_slice(bytes) else { return None };
        self.object(&mut object, "");
        // Words about a field may quote what stood in it.
        let told = self.drop.iter().chain(&self.hash).any(|name| detail.contains(name.as_str()));
        let detail =
            if told { "about a scrubbed field; the sender was told".to_owned() } else { detail.to_owned() };
        Some((Value::Object(object).to_string().into_bytes(), detail))
    }

    /// Names of nested objects are put together with dots, as in a reading.
    fn object(&self, object: &mut Map<String, Value>, before: &str) {
        object.retain(|name, value| {
            let path = if before.is_empty() { name.clone() } else { format!("{before}.{name}") };
            match value {
                _ if covers(&self.drop, &path) => return false,
                Value::Object(inner) => self.object(inner, &path),
                Value::String(text) if covers(&self.hash, &path) => *text = self.hashed(&path, text),
                _ => return !covers(&self.hash, &path),
            }
            true
        });
    }

    fn names(&self, name: &str) -> bool {
        covers(&self.drop, name) || covers(&self.hash, name)
    }

    /// HMAC-SHA-256 (RFC 2104) over name and value: equal values of one name stay equal.
    fn hashed(&self, name: &str, value: &str) -> String {
        let Some(mac) = &self.mac else { return String::new() };
        let mac = mac.clone().chain_update(name).chain_update([0]).chain_update(value);
        let bytes = mac.finalize().into_bytes();
        bytes.iter().take(HASH_BYTES).map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Whether a name, or an object that it lies in, is in a list.
fn covers(list: &[String], name: &str) -> bool {
    let lies_in =
        |other: &String| name.strip_prefix(other.as_str()).is_some_and(|rest| rest.starts_with('.'));
    list.iter().any(|other| other == name || lies_in(other))
}

#[cfg(test)]
mod tests {
    use super::*;
    use chassis::config::Secret;
    use schemas::grammar::ReadingLimits;
    use schemas::json::ReadingParser;

    const KEY: &str = "00112233445566778899aabbccddeeff";

    fn config(drop: &[&str], hash: &[&str], key: Option<&str>) -> IngestConfig {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        IngestConfig {
            scrub_drop: list(drop),
            scrub_hash: list(hash),
            scrub_key: key.map(Secret::new),
            ..IngestConfig::default()
        }
    }

    fn scrubbed(config: &IngestConfig, json: &str) -> Option<Reading> {
        let scrubber = Scrubber::new(config).expect("something is to be scrubbed");
        let mut parser = ReadingParser::new(ReadingLimits::DEFAULT);
        scrubber.reading(&parser.parse(json.as_bytes()).expect("a reading"))
    }

    #[test]
    fn tags_and_numbers_under_a_scrubbed_name_are_gone_or_hashed() {
        let config = config(&["patient", "person"], &["badge"], Some(KEY));
        let json =
            r#"{"device_id":"d","temp":1,"patient":"Ada","person":{"name":"Ada"},"badge":"4711","line":"a"}"#;
        let reading = scrubbed(&config, json).expect("it was changed");
        let tags: Vec<(&str, &str)> =
            reading.tags.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let told = "5ed9c5474b72beeece01a07f17bbdcdc";
        // `printf 'badge\0004711' | openssl dgst -sha256 -hmac 00112233445566778899aabbccddeeff`, its first half.
        assert_eq!(tags, [("badge", told), ("line", "a")]);
        assert_eq!(reading.measurements.len(), 1);
        let numbers = scrubbed(
            &config,
            r#"{"device_id":"d","temp":1,"badge":4711,"patient":true,"person":{"name":2}}"#,
        );
        let numbers = numbers.expect("it was changed").measurements;
        assert_eq!(numbers.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["temp"]);
        assert_eq!(scrubbed(&config, r#"{"device_id":"d","temp":1,"line":"a"}"#), None);
    }

    #[test]
    fn a_hash_depends_on_key_name_and_value() {
        let of = |key: &str, name: &str, value: &str| {
            let scrubber = Scrubber::new(&config(&[], &[name], Some(key))).expect("something");
            scrubber.hashed(name, value)
        };
        assert_eq!(of(KEY, "badge", "4711"), of(KEY, "badge", "4711"));
        let others = [of("another", "badge", "4711"), of(KEY, "card", "4711"), of(KEY, "badge", "4712")];
        assert!(others.iter().all(|other| *other != of(KEY, "badge", "4711") && other.len() == 32));
    }

    #[test]
    fn nothing_of_it_is_kept_of_a_refused_reading() {
        let scrubber = Scrubber::new(&config(&["patient", "who"], &["badge"], Some(KEY))).expect("something");
        let bytes =
            br#"{"device_id":"d","ts":0,"patient":"Ada","who":{"first":"Ada"},"badge":"4711","x":[1]}"#;
        let (kept, detail) = scrubber.refused(bytes, "`ts` is 0").expect("it can be told");
        let kept = String::from_utf8(kept).expect("text");
        assert!(!kept.contains("Ada") && !kept.contains("4711") && kept.contains("\"ts\":0"), "{kept}");
        assert_eq!(detail, "`ts` is 0");
        let (_, detail) = scrubber.refused(bytes, "the tag `patient` is `Ada`").expect("it can be told");
        assert!(!detail.contains("Ada"));
        assert_eq!(scrubber.refused(br#"{"patient":"Ada""#, "ends early"), None);
        assert_eq!(scrubber.refused(br#"["Ada"]"#, "no object"), None);
    }

    #[test]
    fn its_mistakes_are_named_together() {
        let problems = |config: &IngestConfig| -> Vec<String> {
            let mut problems = Problems::default();
            Scrubber::check(config, "ingest", &mut problems);
            problems.list().iter().map(|one| format!("{}: {}", one.key, one.message)).collect()
        };
        assert_eq!(problems(&config(&["a"], &["b"], Some(KEY))), Vec::<String>::new());
        let found = problems(&config(&["device_id", "a", "a"], &["a"], Some("short")));
        assert_eq!(found.len(), 4, "{found:?}");
        assert!(!found.iter().any(|told| told.contains("short")), "a key is not told");
        assert_eq!(problems(&config(&[], &["a"], None)).len(), 1);
        assert_eq!(problems(&config(&["a"], &[], Some(KEY))).len(), 1);
    }
}

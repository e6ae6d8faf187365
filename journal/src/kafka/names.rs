//! Topics by the names they have on this cluster, and how many partitions they have.

use super::error::{About, sorted_about};
use super::native::PartitionCount;
use crate::layout::Layout;
use crate::port::JournalError;
use rdkafka::error::RDKafkaErrorCode as Code;
use schemas::topic::Topic;
use std::ffi::{CStr, CString};

/// The names, in the topics' order.
pub(super) struct Names(Vec<CString>);

impl Names {
    /// The topics' names with a prefix.
    pub(super) fn new(prefix: &str) -> Result<Self, JournalError> {
        let name = |topic: Topic| CString::new(format!("{prefix}{topic}"));
        let names: Result<Vec<CString>, _> = Topic::ALL.into_iter().map(name).collect();
        names.map(Self).map_err(|_| JournalError::Fatal("`journal.topic-prefix` holds a NUL".to_owned()))
    }

    /// Every name, by the topic's number.
    pub(super) fn all(&self) -> Vec<CString> {
        self.0.clone()
    }

    /// As librdkafka takes it.
    pub(super) fn name(&self, of: Topic) -> &CStr {
        &self.0[of as usize]
    }

    /// As text.
    pub(super) fn text(&self, of: Topic) -> &str {
        self.name(of).to_str().unwrap_or_default()
    }

    /// The topic of a name.
    pub(super) fn topic(&self, name: &[u8]) -> Option<Topic> {
        Topic::ALL.into_iter().find(|topic| self.name(*topic).to_bytes() == name)
    }

    /// What the brokers say of the topics, as a layout.
    ///
    /// # Errors
    /// [`JournalError::Retry`] while a topic is not known.
    pub(super) fn layout(&self, counts: &[PartitionCount]) -> Result<Layout, JournalError> {
        let count_of = |topic: Topic| {
            let name = self.text(topic);
            match counts.iter().find(|(found, _)| found == name) {
                Some((_, Ok(count))) if *count > 0 => Ok(*count),
                Some((_, Err(failure))) if failure.code == Code::TopicAuthorizationFailed => {
                    let about = About { operation: "Describe", topics: name, ..About::default() };
                    Err(sorted_about("looking for the topics", about, failure))
                }
                _ => Err(JournalError::Retry(format!(
                    "the topic {name} is not there: `highwater topics create` makes what is missing"
                ))),
            }
        };
        let partitions = count_of(Topic::Raw)?;
        let layout = Layout::new(partitions)?;
        for topic in Topic::ALL {
            let (found, wanted) = (count_of(topic)?, layout.partitions_of(topic));
            if found != wanted {
                return Err(JournalError::Fatal(format!(
                    "the topic {} has {found} partitions, and {wanted} are needed beside the {partitions} of {}: \
                     `highwater topics check` says more",
                    self.text(topic),
                    self.text(Topic::Raw)
                )));
            }
        }
        Ok(layout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_by_its_prefix() {
        let names = Names::new("test.").unwrap();
        for topic in Topic::ALL {
            assert_eq!(names.topic(names.text(topic).as_bytes()), Some(topic));
        }
        assert_eq!(names.topic(b"iot.raw"), None);
    }

    #[test]
    fn counts_that_do_not_fit_are_refused_by_name() {
        let names = Names::new("").unwrap();
        let counts = |late: u32| -> Vec<PartitionCount> {
            let count = |topic| match topic {
                Topic::Control | Topic::Models => 1,
                Topic::Late => late,
                _ => 4,
            };
            Topic::ALL.into_iter().map(|topic| (topic.to_string(), Ok(count(topic)))).collect()
        };
        assert_eq!(names.layout(&counts(4)).unwrap().partitions(), 4);
        let why = names.layout(&counts(5)).unwrap_err().to_string();
        assert!(why.contains("iot.late") && why.contains('5'), "{why}");
        let why = names.layout(&counts(4)[1..]).unwrap_err().to_string();
        assert!(why.contains("iot.raw") && why.contains("topics create"), "{why}");
    }
}

//! Who owns which partition, as the brokers' group coordinator knows it: for pointing people to the process that can
//! answer them.

use super::KafkaConfig;
use crate::port::JournalError;
use rdkafka::consumer::{BaseConsumer, Consumer};
use schemas::topic::Topic;

/// A member of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Name of its process, `process.instance`.
    pub instance: String,
    /// Address it comes from, as the brokers see it.
    pub host: String,
    /// Its partitions of the topic asked for.
    pub partitions: Vec<u32>,
}

/// The members of a group and their partitions of a topic. Empty while the group is between two assignments.
///
/// # Errors
/// [`JournalError::Retry`] when the coordinator does not answer.
pub fn owners(config: &KafkaConfig, group: &str, topic: Topic) -> Result<Vec<Owner>, JournalError> {
    let group = format!("{}{group}", config.prefix);
    let name = format!("{}{topic}", config.prefix);
    let failed = |why: String| JournalError::Retry(format!("asking who is in {group}: {why}"));
    let client: BaseConsumer = config.client().create().map_err(|why| failed(why.to_string()))?;
    let groups = client.client().fetch_group_list(Some(&group), config.answer_timeout);
    let groups = groups.map_err(|why| failed(why.to_string()))?;
    let mut owners = Vec::new();
    for member in groups.groups().iter().flat_map(|group| group.members()) {
        owners.push(Owner {
            instance: member.client_id().to_owned(),
            host: member.client_host().trim_start_matches('/').to_owned(),
            partitions: assigned(member.assignment().unwrap_or_default(), &name),
        });
    }
    Ok(owners)
}

/// Partitions of a topic in an assignment, as the classic protocol's clients encode it: a version, then topics, each
/// with its name and its partitions. What cannot be read is nothing.
fn assigned(bytes: &[u8], topic: &str) -> Vec<u32> {
    let mut rest = Rest(bytes);
    let mut found = Vec::new();
    let mut read = || {
        rest.number::<2>()?;
        for _ in 0..rest.number::<4>()? {
            let length = usize::try_from(rest.number::<2>()?).ok()?;
            let name = rest.take(length)?;
            for _ in 0..rest.number::<4>()? {
                let partition = u32::try_from(rest.number::<4>()?).ok()?;
                if name == topic.as_bytes() {
                    found.push(partition);
                }
            }
        }
        Some(())
    };
    // Whole or cut short: what was there is there.
    let _ = read();
    found
}

struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    /// A big-endian number of so many bytes.
    fn number<const BYTES: usize>(&mut self) -> Option<i64> {
        let bytes = self.take(BYTES)?;
        let negative = bytes.first()? & 0x80 != 0;
        let start = if negative { -1 } else { 0 };
        Some(bytes.iter().fold(start, |number, byte| (number << 8) | i64::from(*byte)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(topics: &[(&str, &[i32])]) -> Vec<u8> {
        let mut bytes = vec![0, 3];
        bytes.extend(i32::try_from(topics.len()).unwrap().to_be_bytes());
        for (name, partitions) in topics {
            bytes.extend(i16::try_from(name.len()).unwrap().to_be_bytes());
            bytes.extend(name.as_bytes());
            bytes.extend(i32::try_from(partitions.len()).unwrap().to_be_bytes());
            partitions.iter().for_each(|partition| bytes.extend(partition.to_be_bytes()));
        }
        bytes.extend([0xff; 4]);
        bytes
    }

    #[test]
    fn the_partitions_of_one_topic_are_read() {
        let bytes = encoded(&[("iot.alerts", &[1]), ("iot.raw", &[0, 300])]);
        assert_eq!(assigned(&bytes, "iot.raw"), [0, 300]);
        assert_eq!(assigned(&bytes, "iot.alerts"), [1]);
        assert_eq!(assigned(&bytes, "iot"), [] as [u32; 0]);
    }

    #[test]
    fn what_is_cut_short_or_not_ours_is_no_partition_and_no_panic() {
        let bytes = encoded(&[("iot.raw", &[5, 6])]);
        for length in 0..bytes.len() {
            assert!(assigned(&bytes[..length], "iot.raw").len() <= 2);
        }
        assert_eq!(assigned(&[0xff; 40], "iot.raw"), [] as [u32; 0]);
    }
}

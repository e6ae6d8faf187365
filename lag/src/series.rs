//! The figures under the names that scrapers know: ours, and those of kafka-lag-exporter and klag-exporter where
//! the meaning is the same. Labels are never added to a well-known series, and what is not known has no series.

use crate::tracker::{GroupLag, State};

/// Label names and values.
pub type Labels = Vec<(&'static str, String)>;

/// One gauge to be set.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Metric name.
    pub name: &'static str,
    /// Its labels.
    pub labels: Labels,
    /// Its value, never NaN, never below 0.
    pub value: f64,
}

/// Every series of a group. `cluster` is the well-known names' `cluster_name`.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "offsets beyond 2^52 are shown rounded by any scraper")]
pub fn series(lag: &GroupLag, cluster: &str) -> Vec<Series> {
    let mut out = Vec::new();
    let mut put = |name, labels: &Labels, value: Option<f64>| {
        if let Some(value) = value {
            out.push(Series { name, labels: labels.clone(), value });
        }
    };
    let ours = |partition: &u32| {
        vec![("group", lag.group.clone()), ("topic", lag.topic.clone()), ("partition", partition.to_string())]
    };
    let known_group = vec![("cluster_name", cluster.to_owned()), ("group", lag.group.clone())];
    let known_topic: Labels = [&known_group[..], &[("topic", lag.topic.clone())]].concat();
    for partition in &lag.partitions {
        let labels = ours(&partition.partition);
        put("highwater_lag_records", &labels, Some(partition.records as f64));
        put("highwater_lag_seconds", &labels, partition.seconds);
        put("highwater_arrival_records_per_second", &labels, partition.arrival_per_second);
        put("highwater_service_records_per_second", &labels, partition.service_per_second);
        put("highwater_progress_age_seconds", &labels, Some(partition.progress_age_seconds));
        put("highwater_records_lost", &labels, Some(partition.lost as f64));
        for state in State::ALL {
            let labels = [&labels[..], &[("state", state.as_str().to_owned())]].concat();
            put("highwater_lag_state", &labels, Some(f64::from(u8::from(partition.state == state))));
        }
        let known: Labels = [&known_topic[..], &[("partition", partition.partition.to_string())]].concat();
        put(
            "kafka_consumergroup_group_offset",
            &known,
            partition.committed.map(|offset| offset.max(0) as f64),
        );
        put("kafka_consumergroup_group_lag", &known, Some(partition.records as f64));
        put("kafka_consumergroup_group_lag_seconds", &known, partition.seconds);
        let log = vec![
            ("cluster_name", cluster.to_owned()),
            ("topic", lag.topic.clone()),
            ("partition", partition.partition.to_string()),
        ];
        put("kafka_partition_latest_offset", &log, Some(partition.end.max(0) as f64));
        put("kafka_partition_earliest_offset", &log, Some(partition.start.max(0) as f64));
    }
    let most = lag.partitions.iter().map(|partition| partition.records).max();
    put("kafka_consumergroup_group_topic_sum_lag", &known_topic, Some(lag.records as f64));
    put("kafka_consumergroup_group_sum_lag", &known_group, Some(lag.records as f64));
    put("kafka_consumergroup_group_max_lag", &known_group, most.map(|most| most as f64));
    put("kafka_consumergroup_group_max_lag_seconds", &known_group, lag.seconds);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::Sample;
    use crate::tracker::{Rules, Tracker, group};

    fn lag(oldest_unread_at: Option<i64>) -> GroupLag {
        let mut tracker = Tracker::new(0, Rules::default());
        let sample = Sample { at: 3_000_000, committed: Some(4), start: 1, end: 6, oldest_unread_at };
        group("g", "iot.raw", 3_000_000, vec![tracker.observe(&sample)])
    }

    #[test]
    fn well_known_series_have_their_well_known_labels() {
        let all = series(&lag(Some(1_000_000)), "home");
        let find = |name| all.iter().find(|series| series.name == name).unwrap();
        let labels = |name| find(name).labels.iter().map(|(label, _)| *label).collect::<Vec<_>>();
        assert_eq!(labels("kafka_consumergroup_group_lag"), ["cluster_name", "group", "topic", "partition"]);
        assert_eq!(labels("kafka_consumergroup_group_max_lag_seconds"), ["cluster_name", "group"]);
        assert_eq!(labels("kafka_partition_latest_offset"), ["cluster_name", "topic", "partition"]);
        assert_eq!(find("kafka_consumergroup_group_lag").value, 2.0);
        assert_eq!(find("highwater_lag_seconds").value, 2.0);
        let in_state: Vec<_> = all.iter().filter(|series| series.name == "highwater_lag_state").collect();
        assert_eq!(in_state.len(), State::ALL.len());
        assert_eq!(in_state.iter().map(|series| series.value).sum::<f64>(), 1.0);
    }

    #[test]
    fn what_is_not_known_has_no_series() {
        let all = series(&lag(None), "home");
        assert!(!all.iter().any(|series| series.name.ends_with("seconds") && series.name.contains("lag")));
        assert!(!all.iter().any(|series| series.name.contains("per_second")));
        assert!(all.iter().all(|series| series.value >= 0.0));
    }
}

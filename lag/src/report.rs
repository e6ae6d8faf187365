//! The answer of `/v1/lag` and of `highwater lag --json`.

use crate::tracker::{GroupLag, PartitionLag, State};
use serde::Serialize;

/// One partition's line, saying which group and topic it is of.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Line {
    /// Consumer group.
    pub group: String,
    /// Topic.
    pub topic: String,
    /// Its figures.
    #[serde(flatten)]
    pub lag: PartitionLag,
}

/// Every group's backlog.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LagReport {
    /// For people.
    pub sentence: String,
    /// The worst of the groups'.
    pub state: State,
    /// One line a group and topic.
    pub groups: Vec<GroupLag>,
    /// One line a partition.
    pub partitions: Vec<Line>,
}

/// Sums up.
#[must_use]
pub fn report(groups: Vec<GroupLag>) -> LagReport {
    let state = groups.iter().map(|group| group.state).max().unwrap_or(State::Ok);
    let records: u64 = groups.iter().map(|group| group.records).sum();
    let worst = groups.iter().filter(|group| group.state == state).max_by_key(|group| group.records);
    let sentence = match worst {
        _ if records == 0 => "Everything is read.".to_owned(),
        Some(worst) if state != State::Ok => format!("{worst}."),
        _ => format!("Keeping up: {records} records are on their way."),
    };
    let partitions = groups
        .iter()
        .flat_map(|group| {
            group.partitions.iter().map(|lag| Line {
                group: group.group.clone(),
                topic: group.topic.clone(),
                lag: lag.clone(),
            })
        })
        .collect();
    LagReport { sentence, state, groups, partitions }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::Sample;
    use crate::tracker::{Rules, Tracker, group};

    fn lag(name: &str, end: i64, age_seconds: i64) -> GroupLag {
        let mut tracker = Tracker::new(2, Rules::default());
        let at = 100_000_000;
        let oldest_unread_at = Some(at - age_seconds * 1_000_000);
        let sample = Sample { at, committed: Some(10), start: 0, end, oldest_unread_at };
        group(name, "iot.raw", at, vec![tracker.observe(&sample)])
    }

    #[test]
    fn the_sentence_names_the_worst() {
        assert_eq!(report(vec![lag("a", 10, 0)]).sentence, "Everything is read.");
        assert_eq!(report(vec![lag("a", 12, 1)]).sentence, "Keeping up: 2 records are on their way.");
        let report = report(vec![lag("a", 12, 1), lag("b", 70, 60)]);
        assert_eq!(report.sentence, "b on iot.raw: behind, 60 records unread, the oldest 60.0 s old.");
        assert_eq!(report.state, State::Behind);
    }

    #[test]
    fn lines_carry_the_names_of_the_api() {
        let json = serde_json::to_value(report(vec![lag("b", 70, 60)])).unwrap();
        let line = &json["partitions"][0];
        assert_eq!(line["lag_records"], 60);
        assert_eq!(line["lag_seconds"], 60.0);
        assert_eq!(
            (&line["topic"], &line["partition"], &line["state"]),
            (&"iot.raw".into(), &2.into(), &"behind".into())
        );
        assert_eq!(line.get("arrival_rate"), None, "what is not known is absent");
        assert_eq!(json["groups"][0]["lag_records"], 60);
    }
}

//! Timelines with known truth.

use super::*;
use proptest::prelude::*;

const SECOND: Micros = 1_000_000;

/// A partition into which `arrival(t)` and out of which `service(t)` records go in second `t`, looked at every
/// second; the age of the oldest unread record is exact.
fn follow(seconds: i64, arrival: impl Fn(i64) -> i64, service: impl Fn(i64) -> i64) -> Vec<PartitionLag> {
    let mut tracker = Tracker::new(0, Rules::default());
    let (mut position, mut appended) = (0_i64, Vec::new());
    (0..seconds)
        .map(|second| {
            appended.extend(std::iter::repeat_n(second * SECOND, usize::try_from(arrival(second)).unwrap()));
            let end = i64::try_from(appended.len()).unwrap();
            position = end.min(position + service(second));
            tracker.observe(&Sample {
                at: second * SECOND,
                committed: Some(position),
                start: 0,
                end,
                oldest_unread_at: appended.get(usize::try_from(position).unwrap()).copied(),
            })
        })
        .collect()
}

fn states(lags: &[PartitionLag]) -> Vec<State> {
    let mut states: Vec<State> = lags.iter().map(|lag| lag.state).collect();
    states.dedup();
    states
}

#[test]
fn keeping_up_is_ok_all_the_time() {
    let lags = follow(120, |_| 100, |_| 100);
    assert_eq!(states(&lags), [State::Ok]);
    assert!(lags.iter().all(|lag| lag.records == 0 && lag.seconds == Some(0.0)));
    assert!(lags[60].arrival_per_second.is_some_and(|rate| (rate - 100.0).abs() < 1e-9));
}

#[test]
fn too_slow_a_consumer_grows_and_a_faster_one_drains() {
    let lags = follow(300, |_| 100, |second| if second < 100 { 60 } else { 200 });
    assert_eq!(states(&lags), [State::Ok, State::Growing, State::Draining, State::Ok]);
    let worst = lags.iter().max_by_key(|lag| lag.records).unwrap();
    assert_eq!(worst.records, 4_000);
    // 6,000 of 10,000 are read: the oldest unread one arrived in second 60.
    assert_eq!(worst.seconds, Some(39.0));
}

#[test]
fn a_consumer_that_stops_is_stuck_and_not_merely_behind() {
    let lags = follow(90, |_| 10, |second| if second < 20 { 10 } else { 0 });
    assert_eq!(states(&lags), [State::Ok, State::Growing, State::Stuck]);
    let stuck = lags.iter().find(|lag| lag.state == State::Stuck).unwrap();
    assert_eq!(stuck.progress_age_seconds, 30.0);
}

#[test]
fn one_old_record_that_nobody_reads_is_stuck_without_any_arrival() {
    let lags = follow(60, |second| i64::from(second == 0), |_| 0);
    assert_eq!(states(&lags), [State::Ok, State::Growing, State::Stuck]);
    assert_eq!(lags[59].seconds, Some(59.0));
}

#[test]
fn silence_is_told_from_having_nothing_to_do_yet() {
    let lags = follow(400, |second| i64::from(second < 5), |_| 1);
    assert_eq!(states(&lags), [State::Ok, State::Silent]);
    assert_eq!(states(&follow(400, |_| 0, |_| 0)), [State::Ok]);
}

#[test]
fn sparse_traffic_is_not_stuck_between_two_records() {
    let lags = follow(400, |second| i64::from(second % 60 == 0), |second| i64::from(second % 60 == 2));
    assert_eq!(states(&lags), [State::Ok]);
}

#[test]
fn one_look_cannot_know_the_direction() {
    let mut tracker = Tracker::new(3, Rules::default());
    let sample = Sample { at: 100 * SECOND, committed: None, start: 0, end: 7, oldest_unread_at: Some(0) };
    let lag = tracker.observe(&sample);
    assert_eq!((lag.state, lag.arrival_per_second, lag.records), (State::Behind, None, 7));
}

#[test]
fn a_look_from_before_the_last_one_makes_nothing_older() {
    let mut tracker = Tracker::new(0, Rules::default());
    let look = |at: i64, position| Sample {
        at: at * SECOND,
        committed: Some(position),
        start: 0,
        end: 9,
        oldest_unread_at: Some(0),
    };
    tracker.observe(&look(100, 3));
    let back = tracker.observe(&look(40, 4));
    assert_eq!((back.seconds, back.progress_age_seconds), (Some(100.0), 0.0), "it counts as taken at 100 s");
    assert_eq!(tracker.observe(&look(120, 4)).progress_age_seconds, 20.0);
}

#[test]
fn a_group_is_as_bad_as_its_worst_partition() {
    let good = follow(30, |_| 10, |_| 10).pop().unwrap();
    let bad = PartitionLag { partition: 1, ..follow(60, |_| 10, |_| 1).pop().unwrap() };
    let whole = group("g", "t", 60 * SECOND, vec![good.clone(), bad.clone()]);
    assert_eq!((whole.state, whole.records, whole.seconds), (State::Growing, bad.records, bad.seconds));
    assert!(whole.arrival_per_second.is_some_and(|rate| (rate - 20.0).abs() < 1e-6));
    let blind = PartitionLag { seconds: None, ..bad };
    assert_eq!(group("g", "t", 0, vec![good, blind]).seconds, None);
    let json = serde_json::to_value(&whole).unwrap();
    assert_eq!((&json["state"], &json["at"]), (&"growing".into(), &"1970-01-01T00:01:00Z".into()));
    assert!(
        whole.to_string().starts_with("g on t: growing, 540 records unread, the oldest 53.0 s old"),
        "{whole}"
    );
}

proptest! {
    #[test]
    fn no_sequence_of_looks_yields_a_figure_that_is_none(
        looks in prop::collection::vec(
            (any::<i64>(), any::<Option<i64>>(), any::<i64>(), any::<i64>(), any::<Option<i64>>()), 1..20,
        ),
    ) {
        let mut tracker = Tracker::new(0, Rules::default());
        for (at, committed, start, end, oldest_unread_at) in looks {
            let lag = tracker.observe(&Sample { at, committed, start, end, oldest_unread_at });
            let figures = [
                lag.seconds, lag.arrival_per_second, lag.service_per_second, Some(lag.progress_age_seconds),
            ];
            prop_assert!(figures.iter().flatten().all(|figure| *figure >= 0.0 && figure.is_finite()));
        }
    }

    #[test]
    fn more_unread_is_never_shown_as_less(position in 0_i64..1_000, end in 0_i64..1_000, more in 1_i64..1_000) {
        prop_assume!(end >= position);
        let sample = Sample { at: 0, committed: Some(position), start: 0, end, oldest_unread_at: Some(0) };
        let grown = Sample { end: end + more, ..sample };
        prop_assert!(backlog(&grown).records > backlog(&sample).records);
    }
}

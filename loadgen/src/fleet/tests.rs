//! The plan is in order, reproducible, complete and as faulty as asked for.

use super::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const START: Micros = 1_700_000_000_000_000;

fn plan(config: FleetConfig, rate: f64, seconds: u64) -> Vec<Planned> {
    Fleet::new(config).unwrap().plan(rate, START, Duration::from_secs(seconds), 0, 1).unwrap().collect()
}

#[test]
fn an_honest_fleet_keeps_its_rate_and_order() {
    let sent = plan(FleetConfig::telemetry(100, 3), 1_000.0, 10);
    assert_eq!(sent.len(), 10_000);
    assert!(sent.is_sorted_by_key(|planned| planned.at));
    assert!(sent.iter().all(|planned| planned.expect == Expect::Aggregated && planned.values.len() == 4));
    let mut last: BTreeMap<u32, (i64, Micros)> = BTreeMap::new();
    for planned in &sent {
        if let Some((seq, time)) = last.insert(planned.device, (planned.seq, planned.event_time)) {
            assert_eq!(planned.seq, seq + 1);
            assert!(planned.event_time > time);
        }
    }
}

#[test]
fn gateways_share_out_the_same_readings() {
    let fleet = Fleet::new(FleetConfig::demo(5)).unwrap();
    let span = Duration::from_secs(15);
    let mut whole: Vec<String> =
        fleet.plan(300.0, START, span, 0, 1).unwrap().map(|planned| planned.line).collect();
    let mut parts: Vec<String> = (0..4)
        .flat_map(|gateway| fleet.plan(300.0, START, span, gateway, 4).unwrap().map(|planned| planned.line))
        .collect();
    whole.sort_unstable();
    parts.sort_unstable();
    assert_eq!(whole, parts);
}

#[test]
fn the_demo_has_one_of_every_fault() {
    let fleet = Fleet::new(FleetConfig::demo(1)).unwrap();
    let mut plan = fleet.plan(300.0, START, Duration::from_secs(30), 0, 1).unwrap();
    let sent: Vec<Planned> = plan.by_ref().collect();
    let count = |expect: Expect| sent.iter().filter(|planned| planned.expect == expect).count();
    assert!(count(Expect::Aggregated) > 8_000);
    assert!(count(Expect::Duplicate) > 30);
    assert!(count(Expect::ClockAhead) > 250);
    assert!(count(Expect::Refused) > 3);
    let anomalies = plan.take_anomalies();
    let early = START + 14_000_000;
    assert!(anomalies.iter().filter(|anomaly| anomaly.from < early).count() >= 5, "{anomalies:?}");
    let kinds: BTreeSet<_> = anomalies.iter().map(|anomaly| anomaly.kind).collect();
    assert!(kinds.len() >= 2, "{kinds:?}");
    let uploads = sent.iter().filter(|planned| planned.at == 10_000_000).count();
    assert!(uploads > 100, "three devices upload six seconds at ten readings a second: {uploads}");
}

#[test]
fn every_line_but_the_garbled_ones_is_a_reading() {
    for planned in plan(FleetConfig::demo(9), 300.0, 12) {
        let parsed: Result<serde_json::Value, _> = serde_json::from_str(&planned.line);
        if planned.expect == Expect::Refused {
            continue;
        }
        let reading = parsed.unwrap();
        assert_eq!(reading["device_id"], *planned.device_id);
        assert_eq!(reading["seq"], planned.seq);
        assert_eq!(reading["temp"].as_f64(), Some(planned.values[0].value));
        let time = match &reading["ts"] {
            serde_json::Value::String(text) => text.parse::<jiff::Timestamp>().unwrap().as_microsecond(),
            number if number.as_i64() < Some(100_000_000_000_000) => number.as_i64().unwrap() * 1_000,
            number => number.as_i64().unwrap(),
        };
        assert_eq!(time, planned.event_time);
    }
}

#[test]
fn impossible_fleets_are_refused() {
    let empty = FleetConfig { devices: 0, ..FleetConfig::default() };
    assert_eq!(Fleet::new(empty).err(), Some(FleetError::Empty));
    let mut share = FleetConfig::default();
    share.faults.offline = f64::NAN;
    assert_eq!(Fleet::new(share).err(), Some(FleetError::Share("offline")));
    let fleet = Fleet::new(FleetConfig::default()).unwrap();
    assert!(matches!(fleet.plan(0.0, START, Duration::from_secs(1), 0, 1), Err(FleetError::Rate)));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn plans_are_in_order_reproducible_and_within_the_span(
        seed in any::<u64>(), devices in 1_u32..60, rate in 10.0_f64..600.0, seconds in 1_u64..14,
    ) {
        let config = FleetConfig { devices, ..FleetConfig::demo(seed) };
        let first = plan(config.clone(), rate, seconds);
        prop_assert_eq!(&first, &plan(config, rate, seconds));
        prop_assert!(first.is_sorted_by_key(|planned| planned.at));
        let span = i64::try_from(seconds).unwrap() * 1_000_000;
        prop_assert!(first.iter().all(|planned| (0..=span).contains(&planned.at)));
        let mut seen = BTreeSet::new();
        for planned in first {
            let identity = (planned.device, planned.seq);
            match planned.expect {
                Expect::Aggregated => prop_assert!(seen.insert(identity), "sent twice as the original"),
                Expect::Duplicate => prop_assert!(seen.contains(&identity), "a copy before its original"),
                Expect::ClockAhead | Expect::Refused => {}
            }
        }
    }
}

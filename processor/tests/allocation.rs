//! The way of a reading through the fold allocates nothing in the steady state: counted, not believed.

use journal::port::{Headers, RecordRef};
use processor::config::RawPipelineConfig;
use processor::outputs::Outputs;
use processor::state::PartitionState;
use processor::step::{NoModels, Tools};
use schemas::codec::Codec;
use schemas::record::{Control, Raw};
use std::sync::Arc;

/// Devices that take turns.
const DEVICES: i64 = 50;
/// Where windows begin.
const START: i64 = 7_200_000_000 * 236_111;

fn state(codec: &Codec, tools: &mut Tools, out: &mut Outputs) -> PartitionState {
    let raw = serde_json::json!({
        "window": [
            {"name": "1h", "size": "1h"},
            {"name": "hop", "kind": "hopping", "size": "2h", "advance": "1h"},
            {"name": "trip", "kind": "session", "gap": "30m"},
        ],
        "filter": [{"metric": "temperature", "at-most": 1000.0}],
    });
    let raw: RawPipelineConfig = serde_json::from_value(raw).expect("a pipeline");
    let mut problems = chassis::config::Problems::default();
    let pipeline = raw.resolve(&|_: &str| None, &mut problems);
    assert_eq!(problems.list(), []);
    let control = Raw::Control(Control {
        generation: 0,
        pipeline: Some(serde_json::to_string(&pipeline).expect("plain data")),
        models: None,
        skip_from: None,
        skip_to: None,
    });
    let mut state = PartitionState::new(0, 1, 0);
    let value = codec.to_bytes(&control);
    let record = RecordRef { offset: 0, received_at: 0, key: None, value: &value, headers: Headers::NONE };
    state.step(&record, tools, out).expect("the world is well");
    state
}

/// Every device once a second.
fn readings() -> impl Iterator<Item = (String, String)> {
    (0..40 * DEVICES).map(move |number| {
        let (device, round) = (number % DEVICES, number / DEVICES);
        let id = format!("dev-{device:06}");
        let ts = START + round * 1_000_000;
        let text = format!(
            r#"{{"device_id":"{id}","ts":{ts},"seq":{round},"temperature":{round}.5,"on":true,"x":null}}"#
        );
        (id, text)
    })
}

/// Allocations of the first half, with which everything opens, and of the second.
fn allocations() -> (u64, u64) {
    let codec = Codec::local();
    let mut tools = Tools::new(codec.clone(), Arc::new(NoModels));
    let mut out = Outputs::new(codec.clone());
    let mut state = state(&codec, &mut tools, &mut out);
    let readings: Vec<(String, String)> = readings().collect();
    let mut fold = |from: usize, to: usize| {
        for (number, (id, text)) in (0..).zip(&readings).take(to).skip(from) {
            let record = RecordRef {
                offset: number + 1,
                received_at: START + number / DEVICES * 1_000_000,
                key: Some(id.as_bytes()),
                value: text.as_bytes(),
                headers: Headers::NONE,
            };
            state.step(&record, &mut tools, &mut out).expect("the world is well");
        }
    };
    let half = readings.len() / 2;
    let mut count = |from, to| allocation_counter::measure(|| fold(from, to)).count_total;
    let counts = (count(0, half), count(half, readings.len()));
    let totals = state.totals();
    assert_eq!(usize::try_from(totals.aggregated), Ok(readings.len()), "{totals:?}");
    counts
}

#[test]
fn a_reading_of_a_known_device_in_open_windows_allocates_nothing() {
    let (opening, steady) = allocations();
    assert!(opening > 100, "the counter counts: {opening}");
    assert_eq!(steady, 0);
}

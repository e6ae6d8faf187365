//! Training rows out of history: what was served, and nothing else.

use super::world::{World, brisk, history, resolved};
use crate::ops::{Exported, training_rows};
use journal::port::Journal;
use schemas::pipeline::{Inputs, Model, Pipeline};
use schemas::record::{Channel, Device, Raw};
use scoring::shipped::Shipped;
use scoring::{GatheredRow, HostLimits, Loader, LoaderConfig, Onlooker};
use std::ops::Range;
use std::sync::{Arc, Mutex};

/// Event time, metric, values as bits.
type Row = (i64, Option<String>, Vec<u64>);

#[derive(Debug, Default)]
struct Seen(Mutex<Vec<Row>>);

fn bits(values: &[f64]) -> Vec<u64> {
    values.iter().map(|value| value.to_bits()).collect()
}

impl Onlooker for Seen {
    fn saw(&self, row: &GatheredRow<'_>) {
        let row = (row.event_time, row.metric.map(str::to_owned), bits(row.values));
        self.0.lock().expect("nobody panicked").push(row);
    }
}

const ALWAYS: Range<i64> = i64::MIN..i64::MAX;

fn exported(world: &World, model: &Model, span: Range<i64>) -> (Vec<(String, Row)>, Exported) {
    let mut rows = Vec::new();
    let exported = training_rows(&world.journal, &world.codec, model, span, &mut |row| {
        let metric = row.metric.map(str::to_owned);
        rows.push((row.device_id.to_owned(), (row.event_time, metric, bits(row.values))));
        Ok(())
    });
    (rows, exported.expect("an answer"))
}

fn pipeline(models: serde_json::Value) -> Pipeline {
    resolved(serde_json::json!({
        "window": [{"name": "10s", "size": "10s"}],
        "model": models,
        "filter": [{"metric": "temp", "at-most": 1000.0}],
        "time": {"disorder": "2s", "lateness": "20s", "device-retention": "24h"},
    }))
}

#[test]
fn exported_rows_are_those_that_were_scored() {
    let seen = Arc::new(Seen::default());
    let limits = HostLimits { brake_ticks: u64::MAX / 2, ..HostLimits::default() };
    let onlooker = Some(Arc::clone(&seen) as Arc<dyn Onlooker>);
    let loader = Loader::new(Arc::new(Shipped), LoaderConfig { limits, onlooker, ..LoaderConfig::default() });
    let mut world = World::new(2);
    world.models = Arc::new(loader.expect("a host"));
    let scored = pipeline(serde_json::json!([
        {"name": "m", "component": "ewma", "each": ["temp", "hum"], "threshold": 3.0},
    ]));
    world.configure(0, &scored);
    history(&world, 81, 400);
    world.end();
    world.run_to_end(world.worker("one", &brisk(), true)).expect("it runs");
    let mut served = std::mem::take(&mut *seen.0.lock().expect("nobody panicked"));
    let (rows, told) = exported(&world, &scored.models[0], ALWAYS);
    let mut rows: Vec<Row> = rows.into_iter().map(|(_, row)| row).collect();
    // What is null in a reading is a row to the bystander, which takes missing values.
    rows.retain(|(.., values)| !f64::from_bits(values[0]).is_nan());
    served.sort();
    rows.sort();
    assert!(served.len() > 300, "{} rows", served.len());
    assert_eq!(rows, served);
    assert_eq!((told.cut_partitions, told.rows >= 300), (0, true));
}

fn columns(names: &[&str]) -> Model {
    let mut model = pipeline(serde_json::json!([
        {"name": "new", "component": "trees", "columns": names, "threshold": 1.0},
    ]));
    model.models.remove(0)
}

#[test]
fn rows_of_a_model_that_never_ran_are_calibrated_filtered_and_of_each_reading_once() {
    let world = World::new(1);
    world.configure(0, &pipeline(serde_json::json!([])));
    let channel = Channel { unit: None, scale: Some(2.0), offset: Some(1.0) };
    let channels = [("hum".to_owned(), channel)].into();
    let device = Device { device_id: "a".to_owned(), channels, ..Device::default() };
    world.record("a", &Raw::Device(device));
    let second = 1_000_000;
    let at = |n: i64| world.journal.now() - (100 - n) * second;
    let times: Vec<i64> = (0..5).map(at).collect();
    let send = |n: usize, rest: &str| {
        let text = format!(r#"{{"device_id":"a","seq":{n},"ts":{},{rest}}}"#, times[n]);
        world.json("a", &text);
    };
    send(0, r#""temp":20,"hum":3,"other":9"#);
    send(0, r#""temp":20,"hum":3,"other":9"#);
    send(1, r#""temp":5000,"hum":3"#);
    send(2, r#""hum":4"#);
    send(3, r#""other":1"#);
    send(4, r#""temp":21,"hum":null"#);
    let (rows, told) = exported(&world, &columns(&["hum", "temp"]), ALWAYS);
    let row = |n: usize, hum: f64, temp: f64| ("a".to_owned(), (times[n], None, bits(&[hum, temp])));
    assert_eq!(rows, [row(0, 7.0, 20.0), row(2, 9.0, f64::NAN), row(4, f64::NAN, 21.0)]);
    assert_eq!(told, Exported { records: 8, rows: 3, cut_partitions: 0 });
    let (rows, _) = exported(&world, &columns(&["hum", "temp"]), times[2]..times[4]);
    assert_eq!(rows, [row(2, 9.0, f64::NAN)], "from the first to below the second time");
    let model =
        Model { inputs: Inputs::Columns(vec!["temp".to_owned(), "temp".to_owned()]), ..columns(&["temp"]) };
    let refused = training_rows(&world.journal, &world.codec, &model, ALWAYS, &mut |_| Ok(()));
    assert!(refused.expect_err("no such rows").to_string().contains("different metrics"));
}

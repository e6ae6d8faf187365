//! How fast readings are windowed and how much memory a device and a pane take, on this machine:
//!
//! ```text
//! cargo run --release -p windowing --example window_speed
//! ```
//!
//! One thread, one metric, no decoding: what `locate`, `advance` and `observe` cost together. The first rounds warm
//! up and are not counted. The crate's tests switch on its feature `mutations`, and an example is built like a test:
//! a build without it is a little faster.

use std::hint::black_box;
use std::time::Instant;

use windowing::api::{
    Assigner, Emission, Metric, Micros, Observation, Settings, Sink, Slot, Value, WindowRule,
};
use windowing::partition::Partition;

const SECOND: Micros = 1_000_000;
const MINUTE: Micros = 60 * SECOND;

#[derive(Default)]
struct Counted {
    emissions: u64,
    evicted: u64,
}

impl Sink for Counted {
    fn emit(&mut self, emission: Emission<'_>) {
        self.emissions += 1;
        black_box(emission.stats.sum);
    }

    fn evict(&mut self, _: Slot, _: &str) {
        self.evicted += 1;
    }
}

fn settings(assigner: Assigner, lateness: Micros) -> Settings {
    Settings {
        windows: vec![WindowRule {
            name: "w".into(),
            assigner,
            early_every: None,
            early_count: None,
            metrics: None,
            disorder: 10 * SECOND,
            quiet_after: 10 * SECOND,
            lateness,
            settle: 10 * SECOND,
        }],
        idle_retention: 24 * 60 * MINUTE,
        device_retention: 30 * 24 * 60 * MINUTE,
        devices_max: 1_000_000,
        panes_max: 10_000_000,
        backfill_panes_max: 1_000,
        models: 0,
    }
}

/// Numbers that look random and are the same every time.
struct Lcg(u64);

impl Lcg {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }
}

/// Rounds of one reading per device and second; `late_percent` of them up to 8 s out of order.
fn speed(name: &str, assigner: Assigner, devices: usize, late_percent: u64) {
    const WARM_UP: usize = 150;
    const ROUNDS: usize = 240;
    let ids: Vec<String> = (0..devices).map(|k| format!("sensor-{k:06}")).collect();
    let mut partition = Partition::new();
    let mut sink = Counted::default();
    let mut random = Lcg(7);
    partition.configure(settings(assigner, 5 * MINUTE), 0, &mut sink);
    let mut rounds = Vec::with_capacity(ROUNDS);
    let mut offset = 0;
    for round in 0..WARM_UP + ROUNDS {
        if round == WARM_UP {
            rounds.clear();
            sink = Counted::default();
        }
        let began = Instant::now();
        let second = round as Micros * SECOND;
        for (k, id) in ids.iter().enumerate() {
            // Devices of a fleet are spread over the second, and their times jitter a little.
            let receipt = second + (k as Micros * SECOND) / devices as Micros;
            let random = random.next();
            let back = if random % 100 < late_percent { (random % 8) as Micros * SECOND } else { 0 };
            let event_time = receipt - 50_000 - (random % 20_000) as Micros - back;
            partition.advance(receipt, &mut sink);
            let slot = partition.locate(id, receipt).expect("there is room");
            let values = [Value { metric: Metric(0), value: Some((random % 1_000) as f64), scores: &[] }];
            let reading = Observation { event_time, offset, values: &values };
            black_box(partition.observe(slot, &reading, &mut sink).expect("there is room"));
            offset += 1;
        }
        rounds.push(began.elapsed().as_nanos() as f64 / devices as f64);
    }
    // Rounds tell what a busy machine hides from the mean: the least one was not interrupted.
    let mean = rounds.iter().sum::<f64>() / rounds.len() as f64;
    rounds.sort_unstable_by(f64::total_cmp);
    let (least, median) = (rounds[0], rounds[rounds.len() / 2]);
    let emitted = sink.emissions as f64 / (ROUNDS * devices) as f64;
    println!(
        "{name:<44} {median:>6.1} ns a reading (median round; least {least:.1}, mean {mean:.1}), {emitted:.3} emissions"
    );
}

fn resident_bytes() -> Option<u64> {
    let pages: u64 = std::fs::read_to_string("/proc/self/statm").ok()?.split(' ').nth(1)?.parse().ok()?;
    Some(pages * 4_096)
}

/// So many devices with five open panes each.
fn memory(devices: usize) {
    const PANES: usize = 5;
    let mut partition = Partition::new();
    let mut sink = Counted::default();
    partition.configure(settings(Assigner::Tumbling { size: MINUTE, offset: 0 }, 10 * MINUTE), 0, &mut sink);
    for minute in 0..PANES as Micros {
        for k in 0..devices {
            let receipt = minute * MINUTE;
            partition.advance(receipt, &mut sink);
            let slot = partition.locate(&format!("sensor-{k:06}"), receipt).expect("there is room");
            let values = [Value { metric: Metric(0), value: Some(k as f64), scores: &[] }];
            let reading = Observation { event_time: receipt, offset: 0, values: &values };
            partition.observe(slot, &reading, &mut sink).expect("there is room");
        }
    }
    let footprint = partition.footprint();
    assert_eq!(footprint.panes as usize, devices * PANES);
    let resident = resident_bytes();
    let began = Instant::now();
    let mut saved = Vec::new();
    partition.save(&mut saved);
    let saving = began.elapsed();
    let began = Instant::now();
    let loaded = Partition::load(&saved).expect("it was just saved");
    let loading = began.elapsed();
    assert_eq!(loaded.panes(), partition.panes());
    println!(
        "{devices:>7} devices x {PANES} panes: {:.0} bytes a device, {:.0} a pane, {:.0} of index a device; {} MB in all",
        footprint.device_bytes as f64 / devices as f64,
        footprint.pane_bytes as f64 / (devices * PANES) as f64,
        footprint.index_bytes as f64 / devices as f64,
        (footprint.device_bytes + footprint.pane_bytes + footprint.index_bytes) / 1_000_000,
    );
    if let Some(resident) = resident {
        println!("        the whole process: {} MB resident", resident / 1_000_000);
    }
    println!("        saved: {} MB in {saving:.0?}, loaded in {loading:.0?}", saved.len() / 1_000_000);
}

fn main() {
    let minute = Assigner::Tumbling { size: MINUTE, offset: 0 };
    let hopping = Assigner::Hopping { size: 5 * MINUTE, advance: MINUTE };
    speed("tumbling 1 min, 10,000 devices", minute, 10_000, 0);
    speed("tumbling 1 min, 10,000 devices, 5 % disorder", minute, 10_000, 5);
    speed("tumbling 1 min, 100 devices", minute, 100, 0);
    speed("hopping 5 min by 1 min, 10,000 devices", hopping, 10_000, 0);
    speed("session 30 s, 10,000 devices", Assigner::Session { gap: 30 * SECOND }, 10_000, 0);
    memory(10_000);
    memory(200_000);
}

//! One short history for each rule, in seconds for legibility. Timelines, the oracle and random histories are in
//! `tests/`.

use super::*;
use crate::api::{Assigner, Emission, Kind, Metric, Scored, Value, WindowRule};

#[derive(Default)]
struct Rows(Vec<String>);

impl Sink for Rows {
    fn emit(&mut self, row: Emission<'_>) {
        let kind = match row.kind {
            Kind::Early => "early".to_owned(),
            Kind::OnTime => "on-time".to_owned(),
            Kind::Late => "late".to_owned(),
            Kind::AtEnd => "at-end".to_owned(),
            Kind::Retracted { into } => format!("retracted into {}", into / S),
        };
        let newest = if row.newest { " newest" } else { "" };
        let (start, end, count, sum) = (row.start / S, row.end / S, row.stats.count, row.stats.sum);
        self.0.push(format!(
            "{}[{start}, {end}) r{} {kind} {count}x={sum}{newest}",
            row.window_name, row.revision
        ));
    }

    fn evict(&mut self, _: Slot, device: &str) {
        self.0.push(format!("evict {device}"));
    }
}

const S: Micros = 1_000_000;

fn rule(name: &str, assigner: Assigner) -> WindowRule {
    WindowRule {
        name: name.into(),
        assigner,
        early_every: None,
        early_count: None,
        metrics: None,
        disorder: 10 * S,
        quiet_after: 10 * S,
        lateness: 300 * S,
        settle: 10 * S,
    }
}

fn minute() -> WindowRule {
    rule("w", Assigner::Tumbling { size: 60 * S, offset: 0 })
}

struct Bench {
    partition: Partition,
    rows: Rows,
}

impl Bench {
    fn new(windows: Vec<WindowRule>) -> Self {
        let settings = Settings {
            windows,
            idle_retention: 86_400 * S,
            device_retention: 864_000 * S,
            devices_max: 3,
            panes_max: 100,
            backfill_panes_max: 2,
            models: 0,
        };
        let mut bench = Self { partition: Partition::new(), rows: Rows::default() };
        bench.partition.configure(settings, 0, &mut bench.rows);
        bench
    }

    /// One reading of value 1 at `at`, received at `receipt`; both in seconds.
    fn read(&mut self, device: &str, receipt: Micros, at: Micros) -> Taken {
        self.partition.advance(receipt * S, &mut self.rows);
        let slot = self.partition.locate(device, receipt * S).expect("there is room");
        let values = [Value { metric: Metric(0), value: Some(1.0), scores: &[] }];
        let reading = Observation { event_time: at * S, offset: 0, values: &values };
        self.partition.observe(slot, &reading, &mut self.rows).expect("there is room")
    }

    /// What came out since the last question, after everything due at `receipt` has fired.
    fn rows(&mut self, receipt: Micros) -> Vec<String> {
        self.partition.advance(receipt * S, &mut self.rows);
        std::mem::take(&mut self.rows.0)
    }
}

#[test]
fn the_own_watermark_completes() {
    let mut bench = Bench::new(vec![minute()]);
    bench.read("a", 1000, 30);
    bench.read("a", 1001, 59);
    bench.read("a", 1002, 69);
    assert_eq!(bench.rows(1002), [] as [&str; 0]);
    bench.read("a", 1003, 70);
    assert_eq!(bench.rows(1003), ["w[0, 60) r1 on-time 2x=2 newest"]);
}

#[test]
fn silence_completes_when_the_clock_and_the_quiet_say_so() {
    let mut bench = Bench::new(vec![minute()]);
    bench.read("a", 1000, 30);
    bench.read("b", 1035, 58);
    assert_eq!(bench.partition.next_deadline(), Some(1040 * S));
    assert_eq!(bench.rows(1039), [] as [&str; 0]);
    assert_eq!(bench.rows(1040), ["w[0, 60) r1 on-time 1x=1 newest"]);
    assert_eq!(bench.rows(1046), [] as [&str; 0]);
    assert_eq!(bench.rows(1047), ["w[0, 60) r1 on-time 1x=1 newest"], "58 + 12 s of silence");
}

#[test]
fn revisions_settle_and_sealed_windows_refuse() {
    let mut bench = Bench::new(vec![minute()]);
    bench.read("a", 1000, 30);
    bench.read("a", 1001, 100);
    bench.rows(1001);
    bench.read("a", 1002, 31);
    bench.read("a", 1008, 32);
    assert_eq!(bench.rows(1017), [] as [&str; 0]);
    assert_eq!(bench.rows(1018), ["w[0, 60) r2 late 3x=3 newest"]);
    bench.read("a", 1019, 370);
    assert_eq!(bench.rows(1019), ["w[60, 120) r1 on-time 1x=1 newest"]);
    let taken = bench.read("a", 1020, 33);
    assert_eq!((taken.panes, taken.refused), (0, vec![(0, 0, 60 * S)]));
}

#[test]
fn buffers_come_out_once_and_deep_ones_are_bounded() {
    let mut bench = Bench::new(vec![minute()]);
    bench.read("a", 10_000, 10_000);
    for k in 0..4 {
        bench.read("a", 10_001 + k, 60 * k);
        bench.read("a", 10_001 + k, 60 * k + 1);
    }
    assert_eq!(bench.rows(10_004), ["w[0, 60) r1 late 2x=2 newest", "w[60, 120) r1 late 2x=2 newest"]);
    assert_eq!(bench.rows(10_062), ["w[9960, 10020) r1 on-time 1x=1 newest"]);
    assert_eq!(bench.rows(10_064), ["w[120, 180) r1 late 2x=2", "w[180, 240) r1 late 2x=2"]);
    assert_eq!(bench.read("a", 10_065, 61).refused, [(0, 60 * S, 120 * S)]);
}

#[test]
fn early_by_clock_and_by_count() {
    let mut every = minute();
    every.early_every = Some(20 * S);
    let mut count = rule("n", Assigner::Tumbling { size: 60 * S, offset: 0 });
    count.early_count = Some(2);
    let mut bench = Bench::new(vec![every, count]);
    bench.read("a", 1000, 5);
    assert_eq!(bench.rows(1014), [] as [&str; 0]);
    assert_eq!(bench.rows(1015), ["w[0, 60) r1 early 1x=1 newest"]);
    assert_eq!(bench.rows(1040), [] as [&str; 0], "nothing changed");
    bench.read("a", 1041, 50);
    assert_eq!(bench.rows(1041), ["n[0, 60) r1 early 2x=2 newest"], "the clock moved on to 60 meanwhile");
    assert_eq!(
        bench.rows(1061),
        [
            "w[0, 60) r2 early 2x=2 newest",
            "w[0, 60) r3 on-time 2x=2 newest",
            "n[0, 60) r2 on-time 2x=2 newest"
        ]
    );
}

#[test]
fn hopping_windows_share_slices() {
    let mut bench = Bench::new(vec![rule("h", Assigner::Hopping { size: 60 * S, advance: 30 * S })]);
    bench.read("a", 1000, 40);
    bench.read("a", 1001, 65);
    assert_eq!(bench.partition.panes(), 5, "three windows, two slices");
    bench.read("a", 1002, 130);
    assert_eq!(
        bench.rows(1002),
        [
            "h[0, 60) r1 on-time 1x=1 newest",
            "h[30, 90) r1 on-time 2x=2 newest",
            "h[60, 120) r1 on-time 1x=1 newest"
        ]
    );
}

#[test]
fn sessions_join_and_withdraw() {
    let mut bench = Bench::new(vec![rule("s", Assigner::Session { gap: 20 * S })]);
    for at in [0, 5, 35, 80] {
        bench.read("a", 1000 + at, at);
    }
    assert_eq!(bench.rows(1080), ["s[0, 25) r1 on-time 2x=2 newest", "s[35, 55) r1 on-time 1x=1 newest"]);
    let taken = bench.read("a", 1081, 20);
    assert_eq!(taken.panes, 1);
    assert_eq!(bench.rows(1081), ["s[35, 55) r2 retracted into 0 1x=1 newest"]);
    assert_eq!(bench.rows(1091), ["s[0, 55) r3 late 4x=4 newest"]);
}

#[test]
fn an_end_record_and_eviction_leave_nothing_behind() {
    let mut bench = Bench::new(vec![minute()]);
    bench.read("b", 1000, 30);
    bench.read("a", 1000, 40);
    bench.partition.end(None, &mut bench.rows);
    assert_eq!(bench.rows(1000), ["w[0, 60) r1 at-end 1x=1 newest", "w[0, 60) r1 at-end 1x=1 newest"]);
    bench.read("a", 1001, 41);
    assert_eq!(bench.rows(1011), ["w[0, 60) r2 late 2x=2 newest"]);
    assert_eq!(bench.partition.next_eviction(), Some(865_000 * S));
    assert_eq!(bench.rows(865_001), ["evict b", "evict a"]);
    assert_eq!((bench.partition.panes(), bench.partition.next_deadline()), (0, None));
    assert!(bench.partition.shelf_is_tidy());
}

#[test]
fn limits_refuse_and_change_nothing() {
    let mut bench = Bench::new(vec![minute()]);
    for device in ["a", "b", "c"] {
        bench.read(device, 1000, 0);
    }
    assert_eq!(bench.partition.locate("d", 0), Err(DeviceLimit(3)));
    bench.partition.settings.panes_max = 3;
    let mut before = Vec::new();
    bench.partition.save(&mut before);
    let slot = bench.partition.find("a").expect("it was located");
    let values = [Value { metric: Metric(0), value: Some(1.0), scores: &[] }];
    let mut reading = Observation { event_time: 60 * S, offset: 0, values: &values };
    assert_eq!(bench.partition.observe(slot, &reading, &mut bench.rows), Err(PaneLimit(3)));
    let mut after = Vec::new();
    bench.partition.save(&mut after);
    assert_eq!(before, after);
    reading.event_time = S;
    assert!(bench.partition.observe(slot, &reading, &mut bench.rows).is_ok(), "its pane is there");
}

#[test]
fn a_configuration_removes_keeps_and_adds() {
    let mut bench = Bench::new(vec![minute(), rule("gone", Assigner::Tumbling { size: 30 * S, offset: 0 })]);
    bench.read("a", 1000, 40);
    let mut settings = bench.partition.settings.clone();
    settings.windows = vec![rule("new", Assigner::Tumbling { size: 50 * S, offset: 0 }), minute()];
    bench.partition.configure(settings, 1001 * S, &mut bench.rows);
    assert_eq!(bench.rows(1001), ["gone[30, 60) r1 at-end 1x=1 newest"]);
    assert_eq!(bench.read("a", 1002, 45).panes, 1, "the new one begins at 50");
    assert_eq!(bench.read("a", 1003, 55).panes, 2);
    bench.read("a", 1004, 110);
    assert_eq!(bench.rows(1004), ["w[0, 60) r1 on-time 3x=3 newest", "new[50, 100) r1 on-time 1x=1 newest"]);
}

#[test]
fn a_partition_says_which_models_its_open_panes_speak_of() {
    let hopping = rule("h", Assigner::Hopping { size: 60 * S, advance: 30 * S });
    let mut bench = Bench::new(vec![minute(), hopping]);
    bench.read("a", 1000, 30);
    assert_eq!(bench.partition.scored(), [] as [bool; 0]);
    let scores = [Scored::Not, Scored::Score(1.0, false), Scored::Not, Scored::Failed];
    let slot = bench.partition.locate("a", 1000 * S).expect("there is room");
    let values = [Value { metric: Metric(1), value: None, scores: &scores }];
    let reading = Observation { event_time: 30 * S, offset: 1, values: &values };
    bench.partition.observe(slot, &reading, &mut bench.rows).expect("there is room");
    assert_eq!(bench.partition.scored(), [false, true, false, true]);
    bench.read("a", 1001, 10_000);
    assert_eq!(bench.partition.scored(), [false, true, false, true], "they are held");
    bench.partition.advance(2_000 * S, &mut bench.rows);
    assert_eq!(bench.partition.scored(), [] as [bool; 0], "they are gone");
}

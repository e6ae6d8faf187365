//! Every limit at its bound: what is just within it, and what is just beyond.

#[path = "oracle/naive.rs"]
mod naive;
#[path = "timelines/notation.rs"]
mod notation;

use naive::history::{What, apply};
use naive::rows::Event;
use naive::seeded::seeded;
use notation::{Run, check};
use windowing::api::Micros;
use windowing::partition::Partition;

#[test]
fn one_device_more_than_devices_max_is_refused_until_one_is_evicted() {
    check(
        "limits devices=2 retention=100s
         minute tumbling 60s",
        "@0 a 1 t=0 | @1 b 1 t=1 | @2 c 1 t=2 | @3 a 1 t=3 | @150 c 1 t=150 | @151 d 1 t=151 | @152 e 1 t=152",
        "@2 c device-limit 2
         @70 a minute 0..60 on-time 1 n=2 sum=2
         @70 b minute 0..60 on-time 1 n=1 sum=1
         @101 b evicted
         @103 a evicted
         @152 e device-limit 2",
    );
}

#[test]
fn one_accumulator_more_than_panes_max_is_refused_though_the_reading_would_drop_others() {
    check(
        "limits panes=2
         minute tumbling 60s",
        "@100 a 1 t=0 | @101 a 1 t=60 | @102 a 1 t=120 | @103 a 1 t=61 | @104 a 1,1 t=62 | @105 a 1 t=400 | @106 end",
        "@102 a pane-limit 2
         @104 a pane-limit 2
         @105 a pane-limit 2
         @106 a minute 0..60 at-end 1 n=1 sum=1
         @106 a minute 60..120 at-end 1 n=2 sum=2",
    );
}

#[test]
fn panes_max_counts_the_slices_of_hopping_windows() {
    let at = |panes: u32| format!("limits panes={panes}\nhop hopping 60s/30s disorder=60s");
    // Two windows and a slice; the next window and the next slice.
    check(&at(2), "@0 a 1 t=0", "@0 a pane-limit 0");
    check(&at(3), "@0 a 1 t=0 | @1 a 1 t=29 | @2 a 1 t=30", "@2 a pane-limit 3");
    check(&at(5), "@0 a 1 t=0 | @1 a 1 t=29 | @2 a 1 t=30 | @3 a 1 t=59 | @4 a 1 t=60", "@4 a pane-limit 5");
}

#[test]
fn panes_max_counts_sessions_that_join_once() {
    check(
        "limits panes=2
         visit session 30s disorder=10m quiet=1h",
        "@100 a 1 t=0 | @101 a 1 t=40 | @102 a 1 t=20 | @103 a 1 t=100 | @104 a 1 t=200 | @105 end",
        "@104 a pane-limit 2
         @105 a visit 0..70 at-end 1 n=3 sum=3
         @105 a visit 100..130 at-end 1 n=1 sum=1",
    );
}

#[test]
fn a_reading_beyond_panes_max_changes_not_one_byte() {
    let mut refused = 0;
    for history in seeded(3, 60, 60) {
        let mut partition = Partition::new();
        for (offset, step) in history.0.iter().enumerate() {
            // The record's own timers, its device, and then nothing else.
            let mut before = partition.clone();
            let events = apply(&mut partition, offset as i64, step);
            if !matches!(events.last(), Some(Event::PaneLimit(_))) {
                continue;
            }
            let What::Reading(reading) = &step.what else { panic!("only readings meet this limit") };
            refused += 1;
            let mut rows = naive::rows::Events::default();
            before.advance(step.receipt, &mut rows);
            before.locate(reading.device, step.receipt).expect("it was");
            let (mut had, mut has) = (Vec::new(), Vec::new());
            before.save(&mut had);
            partition.save(&mut has);
            assert_eq!(had, has, "record {offset} of {history:?}");
        }
    }
    assert!(refused > 20, "only {refused} were refused");
}

#[test]
fn no_reading_adds_more_accumulators_than_it_is_said_to_at_most() {
    let mut reached = 0;
    for history in seeded(4, 60, 60) {
        let mut partition = Partition::new();
        for (offset, step) in history.0.iter().enumerate() {
            let before = {
                let mut before = partition.clone();
                before.advance(step.receipt, &mut naive::rows::Events::default());
                before.panes()
            };
            apply(&mut partition, offset as i64, step);
            if let What::Reading(reading) = &step.what {
                let most = partition.panes_of_reading_max(reading.values.len());
                let added = partition.panes().saturating_sub(before);
                assert!(added <= most, "record {offset} added {added}, not {most}: {history:?}");
                reached += u32::from(added == most);
            }
        }
    }
    assert!(reached > 20, "only {reached} reached the bound");
}

const DEEP: &str = "ten tumbling 10s";

#[test]
fn of_more_deep_panes_than_backfill_panes_max_the_longest_quiet_comes_out_at_once() {
    check(
        &format!("limits backfill=2\n{DEEP}"),
        "@100000 a 1 t=100000 | @100001 a 1 t=0 | @100002 a 1 t=20 | @100003 a 1 t=40 | @100004 a 1 t=1 | @100100 tick",
        "@100003 a ten 0..10 late 1 n=1 sum=1
         @100004 a late ten 0..10
         @100020 a ten 100000..100010 on-time 1 n=1 sum=1
         @100062 a ten 20..30 late 1 n=1 sum=1 behind
         @100063 a ten 40..50 late 1 n=1 sum=1 behind",
    );
    check(
        &format!("limits backfill=2\n{DEEP}"),
        "@100000 a 1 t=100000 | @100001 a 1 t=0 | @100002 a 1 t=20 | @100003 a 1 t=1 | @100004 a 1 t=40",
        "@100004 a ten 20..30 late 1 n=1 sum=1",
    );
    check(
        &format!("limits backfill=0\n{DEEP}"),
        "@100000 a 1 t=100000 | @100001 a 1 t=0 | @100002 a 1 t=20",
        "@100001 a ten 0..10 late 1 n=1 sum=1
         @100002 a ten 20..30 late 1 n=1 sum=1",
    );
}

#[test]
fn the_limit_of_deep_panes_is_each_devices_own() {
    check(
        &format!("limits backfill=1\n{DEEP}"),
        "@100000 a 1 t=100000 | @100000 b 1 t=100000 | @100001 a 1 t=0 | @100001 b 1 t=0 | @100002 b 1 t=20",
        "@100002 b ten 0..10 late 1 n=1 sum=1",
    );
}

#[test]
fn a_deep_pane_is_left_alone_for_a_minute_to_the_microsecond() {
    check(
        DEEP,
        "@100000 a 1 t=100000 | @100010 a 1 t=0 | @100069.999999 a 1 t=1 | @100200 tick",
        "@100020 a ten 100000..100010 on-time 1 n=1 sum=1
         @100129.999999 a ten 0..10 late 1 n=2 sum=2 behind",
    );
    check(
        DEEP,
        "@100000 a 1 t=100000 | @100010 a 1 t=0 | @100070 a 1 t=1 | @100200 tick",
        "@100020 a ten 100000..100010 on-time 1 n=1 sum=1
         @100070 a ten 0..10 late 1 n=1 sum=1 behind
         @100070 a late ten 0..10",
    );
}

#[test]
fn a_revision_waits_for_settle_and_for_a_minute_at_most() {
    let late = |settle: u32| format!("minute tumbling 60s settle={settle}s");
    check(
        &late(59),
        "@0 a 1 t=0 | @80 a 1 t=0 | @200 tick",
        "@70 a minute 0..60 on-time 1 n=1 sum=1
         @139 a minute 0..60 late 2 n=2 sum=2",
    );
    check(
        &late(61),
        "@0 a 1 t=0 | @80 a 1 t=0 | @139 a 1 t=0 | @200 tick",
        "@70 a minute 0..60 on-time 1 n=1 sum=1
         @140 a minute 0..60 late 2 n=3 sum=3",
    );
}

#[test]
fn a_window_is_complete_at_its_end_plus_disorder_and_not_a_microsecond_before() {
    check(
        "minute tumbling 60s quiet=1h",
        "@70 a 1 t=0 | @70 a 1 t=69.999999 | @71 tick | @72 a 1 t=70",
        "@72 a minute 0..60 on-time 1 n=1 sum=1",
    );
}

#[test]
fn a_window_takes_revisions_until_its_lateness_and_not_a_microsecond_longer() {
    check(
        "minute tumbling 60s quiet=1h",
        "@1000 a 1 t=0 | @1001 a 1 t=369.999999 | @1002 a 1 t=1 | @1020 a 1 t=370 | @1021 a 1 t=2",
        "@1001 a minute 0..60 on-time 1 n=1 sum=1
         @1012 a minute 0..60 late 2 n=2 sum=2
         @1021 a late minute 0..60",
    );
}

#[test]
fn a_silent_devices_window_is_kept_for_its_idle_retention() {
    let rules = "limits idle=100s
         minute tumbling 60s";
    check(
        rules,
        "@0 a 1 t=0 | @159.999999 a 1 t=0 | @165 tick | @170 tick",
        "@70 a minute 0..60 on-time 1 n=1 sum=1
         @169.999999 a minute 0..60 late 2 n=2 sum=2",
    );
    check(
        rules,
        "@0 a 1 t=0 | @160 a 1 t=0",
        "@70 a minute 0..60 on-time 1 n=1 sum=1
         @160 a late minute 0..60",
    );
}

#[test]
fn a_device_is_evicted_at_its_retention_and_its_next_reading_is_a_new_ones() {
    check(
        "limits retention=100s
         minute tumbling 60s",
        "@0 a 1 t=0 | @99.999999 a 1 t=1 | @199.999999 a 1 t=2 | @200 end",
        "@70 a minute 0..60 on-time 1 n=1 sum=1
         @109.999999 a minute 0..60 late 2 n=2 sum=2
         @199.999999 a evicted
         @200 a minute 0..60 at-end 1 n=1 sum=1",
    );
}

/// Lines that follow after so many windows apart from each other were sealed, and a reading for one between the first.
fn between_seals(sealed: i64) -> Vec<String> {
    let mut run = Run::new("ten tumbling 10s disorder=0s lateness=0s quiet=1h");
    let last = sealed * 20 + 1;
    run.go(&format!("@1000 a 1 t=0..{last}/20 | @1001 a 1 t=15 | @1100 tick"), &[]);
    run.lines.split_off(sealed as usize)
}

#[test]
fn sixteen_seals_are_kept_apart_and_of_seventeen_the_two_nearest_are_joined() {
    assert_eq!(between_seals(16), ["@1061 a ten 10..20 late 1 n=1 sum=1 behind"]);
    assert_eq!(between_seals(17), ["@1001 a late ten 10..20"]);
}

#[test]
fn four_boots_are_remembered_and_a_fifth_evicts_the_one_marked_longest_ago() {
    let four =
        "@0 a 1 t=9 seq=0 boot=v | @1 a 1 t=9 seq=0 boot=w | @2 a 1 t=9 seq=0 | @3 a 1 t=9 seq=0 boot=y";
    check(
        "minute tumbling 60s",
        &format!(
            "{four} | @4 a 1 t=9 seq=0 boot=v | @5 a 1 t=9 seq=0 boot=w | @6 a 1 t=9 seq=0 | @7 a 1 t=9 seq=0 boot=y"
        ),
        "@4 a duplicate
         @5 a duplicate
         @6 a duplicate
         @7 a duplicate",
    );
    check(
        "minute tumbling 60s",
        &format!(
            "{four} | @4 a 1 t=9 seq=1 boot=v | @5 a 1 t=9 seq=0 boot=z | @6 a 1 t=9 seq=0 boot=v | @7 a 1 t=9 seq=0 boot=w | @8 end"
        ),
        "@6 a duplicate
         @8 a minute 0..60 at-end 1 n=7 sum=7",
    );
}

#[test]
fn the_last_1024_numbers_of_a_boot_are_remembered() {
    check(
        "minute tumbling 60s",
        "@0 a 1 t=5 seq=0 | @1 a 1 t=9 seq=1023 | @2 a 1 t=5 seq=0 | @3 a 1 t=9 seq=1024 | @4 a 1 t=5 seq=0 | @5 a 1 t=5 seq=1",
        "@2 a duplicate
         @4 a beyond-horizon",
    );
}

#[test]
fn an_early_count_of_one_is_every_reading_and_the_clock_fires_to_the_microsecond() {
    check(
        "minute tumbling 60s early-count=1 quiet=1h",
        "@0 a 1 t=0 | @1 a 1 t=1",
        "@0 a minute 0..60 early 1 n=1 sum=1
         @1 a minute 0..60 early 2 n=2 sum=2",
    );
    check(
        "minute tumbling 60s early-every=20s quiet=1h",
        "no ticks
         @0 a 1 t=0 | @19.999999 tick | @20 tick | @40 tick | @59 a 1 t=59.999999 | @60 tick | @61 tick",
        // Nothing was new at 40; the clock shows 60 a microsecond after 59.
        "@20 a minute 0..60 early 1 n=1 sum=1
         @60 a minute 0..60 early 2 n=2 sum=2",
    );
}

#[test]
fn spans_at_the_ends_of_time_saturate() {
    // Settings of years, and readings at the first and last microsecond: no overflow, and everything comes out.
    let years: Micros = 290_000 * 365 * 86_400 * 1_000_000;
    let mut settings = notation::settings(DEEP);
    settings.idle_retention = years;
    settings.device_retention = years;
    settings.windows[0].lateness = years;
    settings.windows[0].quiet_after = years;
    let mut partition = Partition::new();
    let mut events = naive::rows::Events::default();
    partition.configure(settings, 0, &mut events);
    let slot = partition.locate("a", 0).expect("there is room");
    let values = [windowing::api::Value { metric: windowing::api::Metric(0), value: Some(1.0), scores: &[] }];
    for (offset, event_time) in [(0, 0), (1, Micros::MAX), (2, Micros::MIN)] {
        let reading = windowing::api::Observation { event_time, offset, values: &values };
        partition.observe(slot, &reading, &mut events).expect("there is room");
    }
    partition.end(None, &mut events);
    let readings: u64 = events
        .0
        .iter()
        .filter_map(|event| match event {
            Event::Row(row) => Some(row.counts[0]),
            _ => None,
        })
        .sum();
    assert_eq!(readings, 3, "{:?}", events.0);
}

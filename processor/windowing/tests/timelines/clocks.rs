//! Readings in order, out of order, and from clocks that are wrong.

use super::notation::{Run, check};

const MINUTE: &str = "minute tumbling 60s";

#[test]
fn a_window_comes_out_when_the_watermark_reaches_its_end() {
    check(
        MINUTE,
        "@0 a 1 t=0..80/20 every=20 | @69 a 1 t=69 | @70 a 1 t=70 | @200 tick",
        "@70 a minute 0..60 on-time 1 n=3 sum=3
         @130 a minute 60..120 on-time 1 n=3 sum=3",
    );
}

#[test]
fn windows_follow_each_other_with_one_row_each() {
    check(
        MINUTE,
        "@0 a 2.5 t=0..250/10 every=10",
        "@70 a minute 0..60 on-time 1 n=6 sum=15
         @130 a minute 60..120 on-time 1 n=6 sum=15
         @190 a minute 120..180 on-time 1 n=6 sum=15",
    );
}

/// A reading each second, each twentieth delayed.
fn delayed_by(delay: i64) -> String {
    let mut readings: Vec<(i64, i64)> =
        (0..=140).map(|t| (if t % 20 == 19 { t + delay } else { t }, t)).collect();
    readings.sort_unstable();
    readings.iter().map(|(receipt, t)| format!("@{receipt} a 1 t={t}\n")).collect()
}

#[test]
fn five_percent_of_the_readings_out_of_order_within_disorder_change_nothing() {
    check(
        MINUTE,
        &delayed_by(8),
        "@70 a minute 0..60 on-time 1 n=60 sum=60
         @130 a minute 60..120 on-time 1 n=60 sum=60",
    );
}

#[test]
fn five_percent_out_of_order_beyond_disorder_are_one_revision() {
    // 59 comes at 74, four seconds after its window; no further one comes within `settle`.
    check(
        MINUTE,
        &delayed_by(15),
        "@70 a minute 0..60 on-time 1 n=59 sum=59
         @84 a minute 0..60 late 2 n=60 sum=60
         @130 a minute 60..120 on-time 1 n=59 sum=59
         @144 a minute 60..120 late 2 n=60 sum=60",
    );
}

#[test]
fn a_device_an_hour_ahead_is_refused_and_moves_nobodys_clock() {
    check(
        MINUTE,
        "@0 a 1 t=0..60/20 every=20 & @1 b 1 t=0..60/20 every=20 & @45 b 1 t=3645
         @69 tick | @100 tick",
        "@45 b clock-ahead
         @70 a minute 0..60 on-time 1 n=3 sum=3
         @71 b minute 0..60 on-time 1 n=3 sum=3",
    );
}

#[test]
fn four_minutes_ahead_and_back_loses_nothing() {
    // The glitch closes what is open; what follows behind it is back-fill, in one row a minute of receipt time at least.
    check(
        MINUTE,
        "@0 a 1 t=0 | @10 a 1 t=10 | @20 a 1 t=260
         @30 a 1 t=30..120/5 every=5
         @400 tick",
        "@20 a minute 0..60 on-time 1 n=2 sum=2
         @65 a minute 0..60 late 2 n=8 sum=8
         @120 a minute 60..120 late 1 n=12 sum=12
         @125 a minute 240..300 on-time 1 n=1 sum=1",
    );
}

#[test]
fn a_year_behind_is_that_devices_own_time_and_nobody_elses() {
    check(
        MINUTE,
        "@0 slow 1 t=-31536000..-31535920/20 every=20 & @0 a 1 t=0..80/20 every=20
         @75 tick",
        "@70 a minute 0..60 on-time 1 n=3 sum=3
         @70 slow minute -31536000..-31535940 on-time 1 n=3 sum=3",
    );
}

#[test]
fn readings_with_one_event_time_are_all_counted_and_ordered_by_offset() {
    let mut run = Run::new(MINUTE);
    run.go("@0 a 5 t=0 | @1 a 6 t=1 | @2 a 7 t=1 | @3 a 8 t=0 | @3 end a", &[]);
    assert_eq!(run.lines, ["@3 a minute 0..60 at-end 1 n=4 sum=26"]);
}

#[test]
fn receipt_times_that_go_back_count_as_the_greatest_so_far() {
    // 105 was seen at 100, not at 40: its clock reaches 130 at 125.
    check(MINUTE, "@100 a 1 t=100 | @40 a 1 t=105 | @200 tick", "@125 a minute 60..120 on-time 1 n=2 sum=2");
}

#[test]
fn receipt_times_that_go_back_do_not_hold_timers_that_were_due() {
    // 62 was seen at 71.
    check(
        MINUTE,
        "@0 a 1 t=0..60/20 every=20 | @69 b 1 t=60 | @10 b 1 t=61 | @71 tick | @12 b 1 t=62 | @150 tick",
        "@70 a minute 0..60 on-time 1 n=3 sum=3
         @139 b minute 60..120 on-time 1 n=3 sum=3",
    );
}

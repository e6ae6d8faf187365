//! One glitched timestamp, or hours in one step: what a watermark that jumps does to the windows it jumps over.

use super::notation::check;

const MINUTE: &str = "minute tumbling 60s";

#[test]
fn one_glitched_old_timestamp_inside_an_import_is_a_row_of_its_own() {
    check(
        MINUTE,
        "@1000 a 1 t=0..60/20 every=1 | @1003 a 1 t=-8640000 | @1004 a 1 t=60..120/20 every=1
         @1007 a 1 t=130 | @1100 tick",
        "@1005 a minute 0..60 on-time 1 n=3 sum=3
         @1007 a minute 60..120 on-time 1 n=3 sum=3
         @1063 a minute -8640000..-8639940 late 1 n=1 sum=1 behind
         @1067 a minute 120..180 on-time 1 n=1 sum=1",
    );
}

#[test]
fn after_one_glitched_new_timestamp_inside_an_import_later_windows_are_back_fill() {
    check(
        MINUTE,
        "@10000000 a 1 t=0..60/20 every=1 | @10000003 a 1 t=10000003 | @10000004 a 1 t=60..180/20 every=1
         @10000100 tick",
        "@10000003 a minute 0..60 on-time 1 n=3 sum=3
         @10000030 a minute 9999960..10000020 on-time 1 n=1 sum=1
         @10000066 a minute 60..120 late 1 n=3 sum=3 behind
         @10000069 a minute 120..180 late 1 n=3 sum=3 behind",
    );
}

#[test]
fn a_timestamp_that_jumps_ahead_within_lateness_costs_one_revision() {
    check(
        MINUTE,
        "@0 a 1 t=0 | @10 a 1 t=10 | @20 a 1 t=300 | @25 a 1 t=25 | @30 a 1 t=30 | @50 tick",
        "@20 a minute 0..60 on-time 1 n=2 sum=2
         @40 a minute 0..60 late 2 n=4 sum=4",
    );
}

// The following two pin what the rules say today: the window that a single reading carries beyond its lateness is
// sealed at once, and the rest of it is late. Nothing is lost silently: the readings go where late ones go.

#[test]
fn the_rest_of_a_window_that_a_glitch_jumped_over_is_late_and_says_so() {
    check(
        MINUTE,
        "@10000000 a 1 t=0 | @10000001 a 1 t=20 | @10000002 a 1 t=10000002 | @10000003 a 1 t=40 | @10000004 a 1 t=60
         @10000100 tick",
        "@10000002 a minute 0..60 on-time 1 n=2 sum=2
         @10000003 a late minute 0..60
         @10000030 a minute 9999960..10000020 on-time 1 n=1 sum=1
         @10000064 a minute 60..120 late 1 n=1 sum=1 behind",
    );
}

#[test]
fn the_rest_of_the_window_a_device_fell_silent_in_is_late_once_a_live_reading_came_first() {
    check(
        "hour tumbling 1h",
        "@0 a 1 t=0 | @21600 a 1 t=21600 | @21601 a 1 t=600 | @21602 a 1 t=3600 | @21700 tick",
        "@3610 a hour 0..3600 on-time 1 n=1 sum=1
         @21601 a late hour 0..3600
         @21662 a hour 3600..7200 late 1 n=1 sum=1",
    );
}

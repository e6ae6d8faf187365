//! One glitched timestamp, or hours in one step: what a watermark that jumps does to the windows it jumps over.

use super::notation::check;

const MINUTE: &str = "minute tumbling 60s";
const HOUR: &str = "hour tumbling 1h";

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

#[test]
fn the_rest_of_a_window_that_a_glitch_jumped_over_is_a_revision() {
    check(
        MINUTE,
        "@10000000 a 1 t=0 | @10000001 a 1 t=20 | @10000002 a 1 t=10000002 | @10000003 a 1 t=40 | @10000004 a 1 t=60
         @10000100 tick",
        "@10000002 a minute 0..60 on-time 1 n=2 sum=2
         @10000013 a minute 0..60 late 2 n=3 sum=3
         @10000030 a minute 9999960..10000020 on-time 1 n=1 sum=1
         @10000064 a minute 60..120 late 1 n=1 sum=1 behind",
    );
}

#[test]
fn the_rest_of_the_window_a_device_fell_silent_in_is_a_revision_once_a_live_reading_came_first() {
    check(
        HOUR,
        "@0 a 1 t=0 | @21600 a 1 t=21600 | @21601 a 1 t=600 | @21602 a 1 t=3600 | @21700 tick",
        "@3610 a hour 0..3600 on-time 1 n=1 sum=1
         @21611 a hour 0..3600 late 2 n=2 sum=2
         @21662 a hour 3600..7200 late 1 n=1 sum=1",
    );
}

#[test]
fn uploaded_newest_first_the_window_it_fell_silent_in_gets_one_revision() {
    // The k-th reading, received at 21600 + k, is of 21600 - 600 k.
    check(
        HOUR,
        "@0 a 1 t=0 | @21600 a 1 t=21600..0/-600 every=1 | @22000 tick",
        "@3610 a hour 0..3600 on-time 1 n=1 sum=1
         @21645 a hour 0..3600 late 2 n=6 sum=6
         @21645 a hour 18000..21600 on-time 1 n=6 sum=6
         @21672 a hour 14400..18000 late 1 n=6 sum=6 behind
         @21678 a hour 10800..14400 late 1 n=6 sum=6 behind
         @21684 a hour 7200..10800 late 1 n=6 sum=6 behind
         @21690 a hour 3600..7200 late 1 n=6 sum=6 behind",
    );
}

#[test]
fn live_readings_between_those_of_the_buffer_do_not_forget_the_window() {
    check(
        MINUTE,
        "@0 a 1 t=0 | @10 a 1 t=10 | @3600 a 1 t=3600..3660/10 every=10 & @3601 a 1 t=20..60/10 every=9
         @3800 tick",
        "@70 a minute 0..60 on-time 1 n=2 sum=2
         @3638 a minute 0..60 late 2 n=6 sum=6
         @3670 a minute 3600..3660 on-time 1 n=6 sum=6",
    );
    check(
        HOUR,
        "@0 a 1 t=0 | @21600 a 1 t=21600..21660/10 every=10 & @21601 a 1 t=600..3600/600 every=9 | @21700 tick",
        "@3610 a hour 0..3600 on-time 1 n=1 sum=1
         @21647 a hour 0..3600 late 2 n=6 sum=6",
    );
}

#[test]
fn every_hopping_window_that_was_jumped_over_takes_the_rest() {
    check(
        "hops hopping 60s/20s",
        "@0 a 1 t=0 | @3600 a 1 t=3600 | @3601 a 1 t=10 | @3602 a 1 t=30 | @3700 tick",
        "@30 a hops -40..20 on-time 1 n=1 sum=1
         @50 a hops -20..40 on-time 1 n=1 sum=1
         @70 a hops 0..60 on-time 1 n=1 sum=1
         @3611 a hops -40..20 late 2 n=2 sum=2 behind
         @3612 a hops -20..40 late 2 n=3 sum=3 behind
         @3612 a hops 0..60 late 2 n=3 sum=3
         @3630 a hops 3560..3620 on-time 1 n=1 sum=1
         @3650 a hops 3580..3640 on-time 1 n=1 sum=1
         @3662 a hops 20..80 late 1 n=1 sum=1 behind
         @3670 a hops 3600..3660 on-time 1 n=1 sum=1",
    );
}

#[test]
fn a_session_that_was_jumped_over_grows_on() {
    check(
        "trip session 30s",
        "@0 a 1 t=0 | @3600 a 1 t=3600 | @3601 a 1 t=20 | @3602 a 1 t=45 | @3700 tick",
        "@40 a trip 0..30 on-time 1 n=1 sum=1
         @3612 a trip 0..75 late 2 n=3 sum=3
         @3640 a trip 3600..3630 on-time 1 n=1 sum=1",
    );
}

#[test]
fn it_is_held_for_lateness_and_for_a_minute_after_its_last_reading_and_then_sealed() {
    check(
        HOUR,
        "@0 a 1 t=0 | @21600 a 1 t=21600 | @21899 a 1 t=600 | @21958 a 1 t=1200 | @22018 a 1 t=1800 | @22100 tick",
        "@3610 a hour 0..3600 on-time 1 n=1 sum=1
         @21909 a hour 0..3600 late 2 n=2 sum=2
         @21968 a hour 0..3600 late 3 n=3 sum=3
         @22018 a late hour 0..3600",
    );
}

#[test]
fn held_beyond_idle_retention_when_the_jump_is_longer() {
    check(
        "minute tumbling 60s
         limits idle=1h",
        "@10000000 a 1 t=0 | @10000001 a 1 t=7200 | @10000061 a 1 t=40 | @10000300 tick",
        "@10000001 a minute 0..60 on-time 1 n=1 sum=1
         @10000071 a minute 0..60 late 2 n=2 sum=2
         @10000071 a minute 7200..7260 on-time 1 n=1 sum=1",
    );
}

#[test]
fn the_next_jump_publishes_what_waits_and_forgets_the_window_of_the_one_before() {
    check(
        MINUTE,
        "@10000 a 1 t=0 | @10001 a 1 t=1000 | @10002 a 1 t=20 | @10003 a 1 t=2000 | @10004 a 1 t=40
         @10004 a 1 t=1010 | @10100 tick",
        "@10001 a minute 0..60 on-time 1 n=1 sum=1
         @10003 a minute 960..1020 on-time 1 n=1 sum=1
         @10003 a minute 0..60 late 2 n=2 sum=2 behind
         @10004 a late minute 0..60
         @10014 a minute 960..1020 late 2 n=2 sum=2
         @10053 a minute 1980..2040 on-time 1 n=1 sum=1",
    );
}

#[test]
fn without_lateness_only_a_jump_of_more_than_a_minute_holds() {
    check(
        "minute tumbling 60s lateness=0s",
        "@0 a 1 t=0 | @70 a 1 t=70 | @71 a 1 t=50 | @190 a 1 t=190 | @191 a 1 t=100 | @300 tick",
        "@70 a minute 0..60 on-time 1 n=1 sum=1
         @71 a late minute 0..60
         @130 a minute 60..120 on-time 1 n=1 sum=1
         @201 a minute 60..120 late 2 n=2 sum=2
         @250 a minute 180..240 on-time 1 n=1 sum=1",
    );
}

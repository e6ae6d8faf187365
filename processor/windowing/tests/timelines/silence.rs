//! Devices and partitions that say nothing for a while.

use super::notation::check;

const MINUTE: &str = "minute tumbling 60s";

#[test]
fn a_silent_devices_window_comes_out_by_its_own_clock_while_others_go_on() {
    check(
        MINUTE,
        "@0 a 1 t=0..60/20 every=20 & @0 b 1 t=0..205/5 every=5",
        "@70 a minute 0..60 on-time 1 n=3 sum=3
         @70 b minute 0..60 on-time 1 n=12 sum=12
         @130 b minute 60..120 on-time 1 n=12 sum=12
         @190 b minute 120..180 on-time 1 n=12 sum=12",
    );
}

#[test]
fn a_device_that_still_speaks_is_not_silent_however_far_behind_its_clock_is() {
    // Its clock passes 60 at 50; it is quiet for half a minute only at 110.
    check(
        "minute tumbling 60s disorder=0s quiet=30s",
        "@0 a 1 t=10 | @20 a 1 t=9..5/-1 every=20 | @200 tick",
        "@110 a minute 0..60 on-time 1 n=5 sum=5",
    );
}

#[test]
fn a_silent_partitions_windows_come_out_by_the_owners_ticks() {
    check(
        MINUTE,
        "@0 a 1 t=0..60/20 every=20 & @5 b 1 t=0..60/20 every=20 | @500 tick",
        "@70 a minute 0..60 on-time 1 n=3 sum=3
         @75 b minute 0..60 on-time 1 n=3 sum=3",
    );
}

#[test]
fn without_ticks_they_come_out_before_the_next_record_in_the_order_of_their_deadlines() {
    check(
        MINUTE,
        "no ticks
         @0 b 1 t=0..60/20 every=20 & @5 a 1 t=0..60/20 every=20 | @500 c 1 t=500",
        "@500 b minute 0..60 on-time 1 n=3 sum=3
         @500 a minute 0..60 on-time 1 n=3 sum=3",
    );
}

#[test]
fn ticks_that_come_twice_or_too_early_do_nothing() {
    check(
        MINUTE,
        "no ticks
         @0 a 1 t=0..60/20 every=20 | @69 tick | @69 tick | @70 tick | @70 tick | @60 tick | @71 tick",
        "@70 a minute 0..60 on-time 1 n=3 sum=3",
    );
}

#[test]
fn an_import_that_pauses_in_a_window_is_revised_once_it_goes_on() {
    check(
        MINUTE,
        "@1000000 a 1 t=0..60/20
         @1000100 a 1 t=50
         @1000101 a 1 t=60..200/20
         @1000200 tick",
        "@1000030 a minute 0..60 on-time 1 n=3 sum=3
         @1000101 a minute 60..120 on-time 1 n=3 sum=3
         @1000110 a minute 0..60 late 2 n=4 sum=4 behind
         @1000111 a minute 120..180 on-time 1 n=3 sum=3
         @1000171 a minute 180..240 on-time 1 n=1 sum=1",
    );
}

#[test]
fn an_import_that_is_closed_leaves_nothing_open() {
    check(
        MINUTE,
        "@1000000 a 1 t=0..100/20 & @1000000 b 1 t=0..100/20 | @1000001 end | @1000200 tick",
        "@1000000 a minute 0..60 on-time 1 n=3 sum=3
         @1000000 b minute 0..60 on-time 1 n=3 sum=3
         @1000001 a minute 60..120 at-end 1 n=2 sum=2
         @1000001 b minute 60..120 at-end 1 n=2 sum=2",
    );
}

#[test]
fn after_an_end_further_readings_are_revisions() {
    check(
        MINUTE,
        "@0 a 1 t=0 | @5 end a | @6 a 1 t=6 | @8 a 1 t=8 | @9 end a | @10 a 1 t=10 | @100 tick",
        "@5 a minute 0..60 at-end 1 n=1 sum=1
         @9 a minute 0..60 at-end 2 n=3 sum=3
         @20 a minute 0..60 late 3 n=4 sum=4",
    );
}

#[test]
fn a_device_without_readings_for_its_retention_is_forgotten_with_its_seals() {
    // A silent device's window is dropped after its idle retention and sealed; once the device is forgotten it is new.
    check(
        "limits idle=100s retention=1000s
         minute tumbling 60s",
        "@0 a 1 t=0 | @200 a 1 t=1 | @1100 tick | @1101 a 1 t=1 | @1110 tick | @1300 tick",
        "@70 a minute 0..60 on-time 1 n=1 sum=1
         @200 a late minute 0..60
         @1000 a evicted
         @1170 a minute 0..60 on-time 1 n=1 sum=1",
    );
}

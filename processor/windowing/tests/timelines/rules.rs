//! Several windows at once, early rows, a device's own times, other rules, and numbers of readings.

use super::notation::{check, check_with};

#[test]
fn several_sizes_at_once_come_out_by_end_then_in_the_order_of_the_rules() {
    check(
        "ten tumbling 10s disorder=0s quiet=60s
         minute tumbling 60s disorder=0s quiet=60s
         hop hopping 60s/30s disorder=0s quiet=60s
         visit session 20s disorder=0s quiet=60s",
        "@0 a 1 t=0..70/10 every=10 | @61 end",
        "@10 a ten 0..10 on-time 1 n=1 sum=1
         @20 a ten 10..20 on-time 1 n=1 sum=1
         @30 a ten 20..30 on-time 1 n=1 sum=1
         @30 a hop -30..30 on-time 1 n=3 sum=3
         @40 a ten 30..40 on-time 1 n=1 sum=1
         @50 a ten 40..50 on-time 1 n=1 sum=1
         @60 a ten 50..60 on-time 1 n=1 sum=1
         @60 a minute 0..60 on-time 1 n=6 sum=6
         @60 a hop 0..60 on-time 1 n=6 sum=6
         @61 a ten 60..70 at-end 1 n=1 sum=1
         @61 a minute 60..120 at-end 1 n=1 sum=1
         @61 a hop 30..90 at-end 1 n=4 sum=4
         @61 a hop 60..120 at-end 1 n=1 sum=1
         @61 a visit 0..80 at-end 1 n=7 sum=7",
    );
}

#[test]
fn a_reading_that_one_size_refuses_and_another_takes_is_late_in_part() {
    check(
        "ten tumbling 10s disorder=0s lateness=0s settle=5s
         minute tumbling 60s disorder=0s quiet=60s",
        "@0 a 1 t=0 | @20 a 1 t=20 | @21 a 1 t=1 | @22 end",
        "@10 a ten 0..10 on-time 1 n=1 sum=1
         @21 a late-partial ten 0..10
         @22 a ten 20..30 at-end 1 n=1 sum=1
         @22 a minute 0..60 at-end 1 n=3 sum=3",
    );
}

#[test]
fn early_rows_by_count_and_by_clock_count_on_and_the_complete_one_comes_last() {
    check(
        "minute tumbling 60s quiet=60s early-count=2 early-every=25s",
        "@0 a 1 t=0 | @10 a 1 t=10 | @20 a 1 t=20 | @62 a 1 t=62 | @75 a 1 t=75",
        "@10 a minute 0..60 early 1 n=2 sum=2
         @25 a minute 0..60 early 2 n=3 sum=3
         @75 a minute 0..60 on-time 3 n=3 sum=3
         @75 a minute 60..120 early 1 n=2 sum=2",
    );
}

#[test]
fn a_device_that_uploads_every_five_minutes_has_its_own_quiet_after() {
    check(
        "minute tumbling 60s",
        "@0 set a quiet=5m | @0 a 1 t=0 | @0 b 1 t=0 | @200 a 1 t=10 | @520 tick",
        "@70 b minute 0..60 on-time 1 n=1 sum=1
         @500 a minute 0..60 on-time 1 n=2 sum=2",
    );
}

#[test]
fn a_watermark_does_not_go_back_when_disorder_grows() {
    // At 72 it stood at 62, and with a minute of disorder it stays there until more than 122 is seen.
    check(
        "minute tumbling 60s quiet=1h",
        "@0 a 1 t=0 | @72 a 1 t=72 | @73 set a disorder=60s | @74 a 1 t=59 | @85 a 1 t=130 | @86 a 1 t=180",
        "@72 a minute 0..60 on-time 1 n=1 sum=1
         @84 a minute 0..60 late 2 n=2 sum=2
         @86 a minute 60..120 on-time 1 n=1 sum=1",
    );
}

#[test]
fn new_rules_begin_at_the_next_boundary_and_old_ones_go_on() {
    let both = "minute tumbling 60s
                ten tumbling 10s";
    check_with(
        "minute tumbling 60s",
        &[("both", both), ("one", "ten tumbling 10s")],
        "@0 a 1 t=0 | @5 a 1 t=5 | @6 rules both | @7 a 1 t=7 | @12 a 1 t=12 | @13 rules one | @31 a 1 t=31",
        "@13 a minute 0..60 at-end 1 n=4 sum=4
         @30 a ten 10..20 on-time 1 n=1 sum=1",
    );
}

#[test]
fn a_device_that_restarts_its_numbers_from_zero_without_a_boot_is_believed_once_its_time_goes_on() {
    check(
        "minute tumbling 60s",
        "@0 a 1 t=0..30/10 every=9 seq=0 | @27 a 1 t=20 seq=2
         @36 a 1 t=40..70/10 every=9 seq=0 | @63 a 1 t=40 seq=0 | @71 a 1 t=71 seq=3",
        // Duplicates do not keep a device from falling silent.
        "@27 a duplicate
         @63 a duplicate
         @64 a minute 0..60 on-time 1 n=5 sum=5",
    );
}

#[test]
fn a_device_that_restarts_its_numbers_with_a_new_boot_is_believed_at_once() {
    check(
        "minute tumbling 60s quiet=1h",
        "@0 a 1 t=0..30/10 every=10 seq=0 boot=x
         @30 a 1 t=15 seq=0 boot=y | @31 a 1 t=15 seq=0 boot=y | @32 a 1 t=10 seq=1 boot=x
         @71 a 1 t=71 seq=1 boot=y",
        "@31 a duplicate
         @32 a duplicate
         @71 a minute 0..60 on-time 1 n=4 sum=4",
    );
}

#[test]
fn a_late_reading_does_not_use_up_its_number() {
    check(
        "minute tumbling 60s lateness=0s disorder=0s",
        "@0 a 1 t=0 seq=0 | @61 a 1 t=61 seq=2 | @62 a 1 t=1 seq=1 | @63 a 1 t=1 seq=1",
        "@60 a minute 0..60 on-time 1 n=1 sum=1
         @62 a late minute 0..60
         @63 a late minute 0..60",
    );
}

#[test]
fn numbers_below_the_horizon_are_taken_and_counted() {
    check(
        "minute tumbling 60s quiet=1h",
        "@0 a 1 t=9 seq=2000 | @1 a 1 t=1 seq=976 | @2 a 1 t=2 seq=977 | @3 a 1 t=2 seq=977 | @4 end",
        "@1 a beyond-horizon
         @3 a duplicate
         @4 a minute 0..60 at-end 1 n=3 sum=3",
    );
}

#[test]
fn nulls_are_counted_and_are_a_reading() {
    check(
        "minute tumbling 60s",
        "@0 a null,4 t=0 | @10 a 3,null t=10 | @100 tick",
        "@70 a minute 0..60 on-time 1 n=1 nulls=1 sum=3
         @70 a/1 minute 0..60 on-time 1 n=1 nulls=1 sum=4",
    );
}

//! Six hours offline, and the ways in which the buffer comes up. Hours, a reading every ten minutes; the device had
//! finished the hour before.

use super::notation::check;

const HOUR: &str = "hour tumbling 1h";

#[test]
fn uploaded_oldest_first_the_windows_come_out_as_if_it_were_live() {
    check(
        HOUR,
        "@0 a 1 t=-10 | @21600 a 1 t=0..21600/600 every=1 | @21640 a 1 t=21640",
        "@20 a hour -3600..0 on-time 1 n=1 sum=1
         @21607 a hour 0..3600 on-time 1 n=6 sum=6
         @21613 a hour 3600..7200 on-time 1 n=6 sum=6
         @21619 a hour 7200..10800 on-time 1 n=6 sum=6
         @21625 a hour 10800..14400 on-time 1 n=6 sum=6
         @21631 a hour 14400..18000 on-time 1 n=6 sum=6
         @21640 a hour 18000..21600 on-time 1 n=6 sum=6",
    );
}

#[test]
fn uploaded_oldest_first_the_window_it_fell_silent_in_gets_one_revision() {
    check(
        HOUR,
        "@0 a 1 t=0 | @21600 a 1 t=600..21600/600 every=1 | @21635 a 1 t=21635",
        "@3610 a hour 0..3600 on-time 1 n=1 sum=1
         @21612 a hour 3600..7200 on-time 1 n=6 sum=6
         @21612 a hour 0..3600 late 2 n=6 sum=6 behind
         @21618 a hour 7200..10800 on-time 1 n=6 sum=6
         @21624 a hour 10800..14400 on-time 1 n=6 sum=6
         @21630 a hour 14400..18000 on-time 1 n=6 sum=6
         @21635 a hour 18000..21600 on-time 1 n=6 sum=6",
    );
}

#[test]
fn uploaded_newest_first_every_window_comes_out_once_a_minute_after_its_last_reading() {
    // The k-th reading, received at 21600 + k, is of 21000 - 600 k.
    check(
        HOUR,
        "@0 a 1 t=-10 | @21600 a 1 t=21000..-600/-600 every=1 | @21640 a 1 t=21640 | @22000 tick",
        "@20 a hour -3600..0 on-time 1 n=1 sum=1
         @21640 a hour 18000..21600 on-time 1 n=6 sum=6
         @21671 a hour 14400..18000 late 1 n=6 sum=6 behind
         @21677 a hour 10800..14400 late 1 n=6 sum=6 behind
         @21683 a hour 7200..10800 late 1 n=6 sum=6 behind
         @21689 a hour 3600..7200 late 1 n=6 sum=6 behind
         @21695 a hour 0..3600 late 1 n=6 sum=6 behind",
    );
}

#[test]
fn after_a_live_reading_the_buffer_is_back_fill_and_nothing_of_it_is_late() {
    check(
        HOUR,
        "@0 a 1 t=-10 | @21600 a 1 t=21600 | @21601 a 1 t=0..21600/600 every=1
         @22000 tick",
        "@20 a hour -3600..0 on-time 1 n=1 sum=1
         @21646 a hour 18000..21600 on-time 1 n=6 sum=6
         @21666 a hour 0..3600 late 1 n=6 sum=6 behind
         @21672 a hour 3600..7200 late 1 n=6 sum=6 behind
         @21678 a hour 7200..10800 late 1 n=6 sum=6 behind
         @21684 a hour 10800..14400 late 1 n=6 sum=6 behind
         @21690 a hour 14400..18000 late 1 n=6 sum=6 behind",
    );
}

#[test]
fn interleaved_with_live_readings_the_buffer_and_the_live_windows_do_not_disturb_each_other() {
    check(
        HOUR,
        "@0 a 1 t=-10
         @21600 a 1 t=21600..21700/10 every=10 & @21605 a 1 t=0..6000/600 every=10
         @25300 tick",
        "@20 a hour -3600..0 on-time 1 n=1 sum=1
         @21715 a hour 0..3600 late 1 n=6 sum=6
         @21755 a hour 3600..7200 late 1 n=4 sum=4
         @25210 a hour 21600..25200 on-time 1 n=10 sum=10",
    );
}

#[test]
fn a_buffer_that_comes_slower_than_a_minute_a_reading_is_a_row_and_then_late() {
    // Deep behind the watermark a window is published and forgotten a minute after its last reading.
    check(
        HOUR,
        "@90000 a 1 t=90000 | @90010 a 1 t=0 | @90069 a 1 t=10 | @90130 a 1 t=20 | @90140 tick",
        "@90129 a hour 0..3600 late 1 n=2 sum=2
         @90130 a late hour 0..3600",
    );
}

#[test]
fn other_devices_windows_do_not_wait_for_an_upload() {
    check(
        "minute tumbling 60s",
        "@0 a 1 t=0..75/5 every=5 & @0 b 1 t=-21600..-21000/60 every=7",
        "@14 b minute -21600..-21540 on-time 1 n=1 sum=1
         @21 b minute -21540..-21480 on-time 1 n=1 sum=1
         @28 b minute -21480..-21420 on-time 1 n=1 sum=1
         @35 b minute -21420..-21360 on-time 1 n=1 sum=1
         @42 b minute -21360..-21300 on-time 1 n=1 sum=1
         @49 b minute -21300..-21240 on-time 1 n=1 sum=1
         @56 b minute -21240..-21180 on-time 1 n=1 sum=1
         @63 b minute -21180..-21120 on-time 1 n=1 sum=1
         @70 a minute 0..60 on-time 1 n=12 sum=12",
    );
}

#[test]
fn a_sparse_buffer_uploaded_newest_first_over_minutes_has_nothing_late() {
    // A reading every five minutes in windows of one, one sent every five seconds: as each is forgotten a minute later,
    // the oldest are still to come. More than sixteen windows apart from each other are sealed by then.
    let mut run = super::notation::Run::new("minute tumbling 60s");
    run.go("@0 a 1 t=0 | @12100 a 1 t=12000..0/-300 every=5 | @13000 tick", &[]);
    assert_eq!(run.lines.iter().filter(|line| line.contains(" late ")).count(), 39);
    assert_eq!(run.lines.iter().filter(|line| line.contains(" on-time ")).count(), 2);
    assert_eq!(run.lines.len(), 41, "{:#?}", run.lines);
}

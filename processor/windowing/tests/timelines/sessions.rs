//! Sessions that grow, join after they were emitted, and withdraw what they said.

use super::notation::check;

const VISIT: &str = "visit session 30s disorder=0s quiet=10s settle=5s";

#[test]
fn a_session_ends_a_gap_after_its_last_reading() {
    check(VISIT, "@0 a 1 t=0..60/20 every=20 | @100 tick", "@70 a visit 0..70 on-time 1 n=3 sum=3");
}

#[test]
fn sessions_that_only_touch_stay_apart() {
    check(
        VISIT,
        "@0 a 1 t=0 | @30 a 1 t=30 | @100 tick",
        "@30 a visit 0..30 on-time 1 n=1 sum=1
         @60 a visit 30..60 on-time 1 n=1 sum=1",
    );
}

#[test]
fn a_reading_that_joins_two_emitted_sessions_withdraws_the_later_one() {
    check(
        VISIT,
        "@0 a 1 t=0 | @40 a 2 t=40 | @80 a 4 t=20 | @100 tick",
        "@30 a visit 0..30 on-time 1 n=1 sum=1
         @70 a visit 40..70 on-time 1 n=1 sum=2
         @80 a visit 40..70 retracted->0 2 n=1 sum=2
         @90 a visit 0..70 late 3 n=3 sum=7",
    );
}

#[test]
fn a_reading_before_an_emitted_session_moves_its_start_and_withdraws_it() {
    check(
        VISIT,
        "@50 a 1 t=50 | @85 a 2 t=30 | @100 tick",
        "@80 a visit 50..80 on-time 1 n=1 sum=1
         @85 a visit 50..80 retracted->30 2 n=1 sum=1
         @95 a visit 30..80 late 3 n=2 sum=3",
    );
}

#[test]
fn a_session_that_was_not_emitted_is_swallowed_without_a_word() {
    check(
        "visit session 30s disorder=60s quiet=100s",
        "@0 a 1 t=0 | @1 a 2 t=40 | @2 a 4 t=20 | @200 tick",
        // The clock passes 70 + 60 at 91; quiet since 2.
        "@102 a visit 0..70 on-time 1 n=3 sum=7",
    );
}

#[test]
fn an_emitted_session_that_grows_keeps_its_row_and_counts_on() {
    check(
        VISIT,
        "no ticks
         @0 a 1 t=0 | @5 a 1 t=5 | @40 tick | @41 a 1 t=34 | @80 tick",
        // Completed by its clock, t = 34 still belongs to it: 34 < 35.
        "@40 a visit 0..35 on-time 1 n=2 sum=2
         @80 a visit 0..64 late 2 n=3 sum=3",
    );
}

#[test]
fn a_reading_inside_a_forgotten_session_is_late_and_one_beside_it_is_not() {
    check(
        "visit session 10s disorder=0s quiet=10s lateness=0s settle=5s",
        "@0 a 1 t=0 | @1 a 1 t=60 | @2 a 1 t=9 | @3 a 1 t=10 | @4 a 1 t=-1 | @70 tick",
        // Sealed is [0, 10): -1 reaches into it, but its event time is not in it.
        "@1 a visit 0..10 on-time 1 n=1 sum=1
         @2 a late visit 9..19
         @14 a visit 60..70 on-time 1 n=1 sum=1
         @63 a visit 10..20 late 1 n=1 sum=1 behind
         @64 a visit -1..9 late 1 n=1 sum=1 behind",
    );
}

#[test]
fn metrics_of_the_parts_that_the_joining_reading_does_not_have_come_out_again() {
    check(
        VISIT,
        "@0 a 1,10 t=0 | @40 a 2,20 t=40 | @80 a 4 t=20 | @100 tick",
        "@30 a visit 0..30 on-time 1 n=1 sum=1
         @30 a/1 visit 0..30 on-time 1 n=1 sum=10
         @70 a visit 40..70 on-time 1 n=1 sum=2
         @70 a/1 visit 40..70 on-time 1 n=1 sum=20
         @80 a visit 40..70 retracted->0 2 n=1 sum=2
         @80 a/1 visit 40..70 retracted->0 2 n=1 sum=20
         @90 a visit 0..70 late 3 n=3 sum=7
         @90 a/1 visit 0..70 late 3 n=2 sum=30",
    );
}

#[test]
fn early_clocks_go_on_to_the_moment_at_which_other_times_close_a_session() {
    // It would have been open until 82. The override closes it as of 52; its early clock has come to 74 by then, with
    // nothing new to say, so the reading that opens it again at 73.5 is not early.
    check(
        "stay session 5s disorder=0s quiet=30s early-every=3s lateness=0s settle=0s",
        "@30 b 1 t=30 | @52 b 1 t=26 | @73.5 set b quiet=0s | @73.5 b 1 t=26 | @73.9 tick",
        "@33 b stay 30..35 early 1 n=1 sum=1
         @52 b stay 30..35 retracted->26 2 n=1 sum=1
         @52 b stay 26..35 early 3 n=2 sum=2
         @52 b stay 26..35 on-time 4 n=2 sum=2
         @73.5 b stay 26..35 late 5 n=3 sum=3",
    );
}

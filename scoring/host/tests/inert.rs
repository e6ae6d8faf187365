//! What a guest finds where it asks WASI for something: nothing, and always the same. The guest is
//! `scoring/guests/wasi/model.c`: it asks for what its settings say, and scores the answer.

#![allow(clippy::unwrap_used, reason = "what fails in here fails the test")]

use scoring_host::{Batch, CallError, Failure, Host, HostLimits, LogLevel, Plugin, Session};
use std::sync::OnceLock;

static WASI: &[u8] = include_bytes!("data/wasi.wasm");
const FUEL: u64 = 100_000_000;

fn session(asks_for: &str, seed: u64) -> Session {
    static HOST: OnceLock<(Host, scoring_host::Component)> = OnceLock::new();
    let (host, component) = HOST.get_or_init(|| {
        let host = Host::new(HostLimits { brake_ticks: u64::MAX / 2, ..HostLimits::default() }).unwrap();
        let component = host.component(WASI, None).unwrap();
        (host, component)
    });
    Session::new(Plugin::new(host, component, asks_for, None, seed).unwrap())
}

fn score(session: &mut Session) -> Result<f64, CallError> {
    let batch = Batch { slots: 1, slot: &[0], event_time: &[0], values: &[3.0], missing: &[], state: &[] };
    session.score(&batch, FUEL).map(|scored| scored.scores()[0])
}

fn answer(asks_for: &str) -> f64 {
    score(&mut session(asks_for, 0)).unwrap()
}

fn failure(session: &mut Session) -> (Failure, String) {
    match score(session) {
        Err(CallError::Failed { failure, detail, .. }) => (failure, detail),
        other => panic!("{other:?} where a failure was expected"),
    }
}

#[test]
fn clocks_stand_still_and_waiting_is_over() {
    assert_eq!(answer("nothing"), 3.0);
    assert_eq!(answer("wall-clock"), 0.0);
    assert_eq!(answer("monotonic-clock"), 1.0);
    assert_eq!(answer("sleep"), 7.0);
}

#[test]
fn random_numbers_are_the_seeds_whatever_the_instance_has_seen() {
    let mut first = session("random", 1);
    let number = score(&mut first).unwrap();
    assert_eq!(score(&mut first).unwrap(), number);
    first.renew();
    assert_eq!(score(&mut first).unwrap(), number);
    assert_eq!(score(&mut session("random", 1)).unwrap(), number);
    assert_ne!(score(&mut session("random", 2)).unwrap(), number);
}

#[test]
fn there_is_no_environment_no_input_and_no_file() {
    assert_eq!(answer("environment"), 0.0);
    assert_eq!(answer("input"), 0.0);
    // An error number; -1, a file, would not be in the range of the scores.
    assert!(answer("file") > 0.0);
    assert!(answer("write-file") > 0.0);
}

#[test]
fn an_exit_fails_the_call() {
    let (kind, detail) = failure(&mut session("exit", 0));
    assert_eq!(kind, Failure::Trap);
    assert!(detail.contains("exits"), "{detail}");
}

#[test]
fn what_was_printed_travels_with_a_failure_and_is_logged() {
    let mut session = session("print", 0);
    let (kind, detail) = failure(&mut session);
    assert_eq!(kind, Failure::Trap);
    assert!(detail.contains("unreachable") && detail.contains("last words, before a trap"), "{detail}");
    let lines: Vec<_> = session.take_lines().into_iter().map(|line| (line.level, line.message)).collect();
    let line = |text: &str| (LogLevel::Info, text.to_owned());
    assert_eq!(lines, [line("to the output"), line("first line")]);
}

#[test]
fn what_is_printed_by_the_way_is_logged() {
    let mut session = session("print-and-go-on", 0);
    assert_eq!(score(&mut session).unwrap(), 0.0);
    assert_eq!(session.take_lines()[0].message, "value 3.0");
}

#[test]
fn a_flood_of_prints_is_stopped() {
    let mut session = session("flood", 0);
    let (kind, detail) = failure(&mut session);
    assert_eq!(kind, Failure::Trap);
    assert!(detail.contains("beyond what one call may say"), "{detail}");
    assert_eq!(session.take_lines().len(), HostLimits::default().log_lines_max);
}

#[test]
fn who_waits_for_the_clock_by_looking_at_it_runs_out_of_fuel() {
    assert_eq!(failure(&mut session("spin-on-the-clock", 0)).0, Failure::OutOfFuel);
}

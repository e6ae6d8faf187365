//! What a guest says is bounded, and comes out.

#![allow(clippy::unwrap_used, reason = "what fails in here fails the test")]

use scoring_host::{Batch, CallError, Failure, Host, HostLimits, LogLevel, Plugin, Session};

static FIXTURES: &[u8] = include_bytes!("../../plugins/prebuilt/fixtures.wasm");
const FUEL: u64 = 100_000_000;

fn session(mode: &str, limits: HostLimits) -> Session {
    let host = Host::new(limits).unwrap();
    let component = host.component(FIXTURES, None).unwrap();
    Session::new(Plugin::new(&host, &component, &format!(r#"{{"mode": "{mode}"}}"#), None, 0).unwrap())
}

fn poison(session: &mut Session) -> Result<Vec<f64>, CallError> {
    let batch =
        Batch { slots: 1, slot: &[0], event_time: &[0], values: &[666.0], missing: &[], state: &[0; 8] };
    session.score(&batch, FUEL).map(|scored| scored.scores().to_vec())
}

#[test]
fn a_flood_that_is_allowed_is_cut() {
    let limits = HostLimits {
        said_bytes_max: usize::MAX,
        log_lines_max: 5,
        log_line_bytes_max: 100,
        gauges_max: 3,
        ..HostLimits::default()
    };
    let mut session = session("flood", limits);
    for call in 1..=3 {
        assert_eq!(poison(&mut session).unwrap(), [0.0]);
        assert_eq!(session.gauges().len(), 3);
        assert_eq!(session.gauges()["gauge-1"], 1.0);
        // 200 lines and 200 gauges a call.
        assert_eq!(session.counts().said_dropped, call * (200 + 197) - 5, "call {call}");
    }
    let lines = session.take_lines();
    assert_eq!(lines.len(), 5);
    assert!(lines.iter().all(|line| line.level == LogLevel::Error && line.message == "x".repeat(100)));
    assert!(session.take_lines().is_empty());
}

#[test]
fn a_panic_is_logged_and_quoted() {
    let mut session = session("panic", HostLimits::default());
    let CallError::Failed { failure, detail, trace } = poison(&mut session).unwrap_err() else {
        panic!("not a failure")
    };
    assert_eq!(failure, Failure::Trap);
    assert!(detail.contains("unreachable") && detail.contains("poisoned on purpose"), "{detail}");
    assert!(trace.iter().any(|function| function.contains("misbehave")), "{trace:?}");
    assert_eq!(session.last_words().len(), 1);
    let [line] = session.take_lines().try_into().expect("one line");
    assert!(line.message.contains("fixtures/src/lib.rs") && line.message.ends_with("poisoned on purpose"));
}

#[test]
fn calls_of_the_same_instance_fare_alike() {
    let mut session = session("none", HostLimits::default());
    for _ in 0..3 {
        assert_eq!(poison(&mut session).unwrap(), [0.0]);
    }
    assert_eq!((session.counts().calls, session.counts().starts), (3, 1));
    session.renew();
    assert_eq!(poison(&mut session).unwrap(), [0.0]);
    assert_eq!((session.counts().calls, session.counts().starts), (4, 2));
}

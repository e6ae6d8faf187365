//! Where real servers are, for tests that need them: what `tests/stack/up` has written into the environment.
//!
//! Does not live here: starting servers. A test that calls this is named `real_...` (see CONTRIBUTING.md).
//!
//! Invariant: without its servers a test says by name that it was skipped, or fails where servers are required.

use std::io::Write;
use std::panic::Location;

/// `1`: a server that is not named is a failure, not a reason to skip.
const REQUIRED: &str = "HIGHWATER_TEST_REQUIRED";

/// The address that a variable such as `HIGHWATER_TEST_KAFKA` names. None: the test prints that it is skipped, and
/// has to return.
///
/// # Panics
/// When the variable is not set and `HIGHWATER_TEST_REQUIRED` is `1`.
#[must_use]
#[track_caller]
pub fn real(variable: &str) -> Option<String> {
    let test = test();
    let required = std::env::var_os(REQUIRED).is_some_and(|value| value == "1");
    // Not `eprintln!`, which the test harness keeps to itself when a test passes.
    address(variable, std::env::var(variable).ok(), required, &test, &mut std::io::stderr().lock())
}

/// The test that runs, by name.
#[track_caller]
fn test() -> String {
    // With one test thread the tests run on the main one, which is called that.
    match std::thread::current().name() {
        Some(name) if name != "main" => name.to_owned(),
        _ => Location::caller().to_string(),
    }
}

/// Prints that this test is skipped, and why. It has to return.
#[track_caller]
pub fn skipped(why: &str) {
    let line = format!("skipped: {}: {why}\n", test());
    // As below.
    let _ = std::io::stderr().lock().write_all(line.as_bytes());
}

fn address(
    variable: &str,
    value: Option<String>,
    required: bool,
    test: &str,
    out: &mut impl Write,
) -> Option<String> {
    let given = value.filter(|address| !address.is_empty());
    if given.is_none() {
        assert!(!required, "{variable} is not set, but {REQUIRED} is");
        let line = format!("skipped: {test}: {variable} is not set\n");
        // In one piece: other tests write at the same time. Nobody is there to be told that it failed.
        let _ = out.write_all(line.as_bytes());
    }
    given
}

#[cfg(test)]
mod tests {
    use super::address;

    fn asked(value: Option<&str>, required: bool) -> (Option<String>, String) {
        let mut out = Vec::new();
        let found = address("A_VARIABLE", value.map(str::to_owned), required, "a_test", &mut out);
        (found, String::from_utf8_lossy(&out).into_owned())
    }

    #[test]
    fn a_server_that_is_named_is_used() {
        for required in [false, true] {
            assert_eq!(asked(Some("127.0.0.1:1"), required), (Some("127.0.0.1:1".to_owned()), String::new()));
        }
    }

    #[test]
    fn a_test_without_its_server_says_so_by_name() {
        for value in [None, Some("")] {
            assert_eq!(asked(value, false), (None, "skipped: a_test: A_VARIABLE is not set\n".to_owned()));
        }
    }

    #[test]
    #[should_panic(expected = "A_VARIABLE is not set")]
    fn a_server_that_is_required_must_be_named() {
        asked(None, true);
    }
}

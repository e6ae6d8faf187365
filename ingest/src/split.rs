//! One body to many readings, as slices of it: a JSON object, an array of them, or one a line. Values are not built
//! here and not judged; only the outermost structure is followed.

use schemas::reason::{Reject, RejectReason};

/// Why a body has no readings to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SplitError {
    /// More readings than a request may have.
    TooMany {
        /// The limit.
        readings_max: usize,
    },
    /// The outermost structure is broken.
    Malformed(Reject),
}

/// Takes a body apart. With `lines` every line is a reading; without, the first byte decides.
pub(crate) fn split(body: &[u8], lines: bool, readings_max: usize) -> Result<Vec<&[u8]>, SplitError> {
    const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
    let body = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body);
    let start = body.trim_ascii_start();
    if start.is_empty() {
        return Err(malformed(
            "the body is empty; expected a JSON object, an array of objects, or one object a line",
        ));
    }
    if lines {
        return split_lines(body, readings_max);
    }
    match start[0] {
        b'[' => split_array(&start[1..], readings_max),
        b'{' => match value_end(start, true) {
            Some(end) if !start[end..].trim_ascii().is_empty() => split_lines(body, readings_max),
            _ => Ok(vec![start.trim_ascii_end()]),
        },
        // Nonsense in the first line should not cost the lines behind it.
        _ => split_lines(body, readings_max),
    }
}

fn split_lines(body: &[u8], readings_max: usize) -> Result<Vec<&[u8]>, SplitError> {
    let mut readings = Vec::new();
    for line in body.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty()) {
        push(&mut readings, line, readings_max)?;
    }
    Ok(readings)
}

/// `rest` begins behind the bracket.
fn split_array(mut rest: &[u8], readings_max: usize) -> Result<Vec<&[u8]>, SplitError> {
    let mut readings = Vec::new();
    if rest.trim_ascii_start().first() == Some(&b']') {
        return closed(rest.trim_ascii_start(), readings);
    }
    loop {
        let Some(end) = value_end(rest, false) else {
            return Err(malformed(format!(
                "the array ends within element {}; expected `]` at its end (was the body cut off?)",
                readings.len()
            )));
        };
        push(&mut readings, rest[..end].trim_ascii(), readings_max)?;
        if rest[end] == b']' {
            return closed(&rest[end..], readings);
        }
        rest = &rest[end + 1..];
    }
}

/// `rest` begins with the closing bracket; nothing may follow it.
fn closed<'a>(rest: &[u8], readings: Vec<&'a [u8]>) -> Result<Vec<&'a [u8]>, SplitError> {
    if rest[1..].trim_ascii().is_empty() {
        Ok(readings)
    } else {
        Err(malformed("something follows the array; expected one array, or one object a line"))
    }
}

fn push<'a>(readings: &mut Vec<&'a [u8]>, reading: &'a [u8], readings_max: usize) -> Result<(), SplitError> {
    if readings.len() == readings_max {
        return Err(SplitError::TooMany { readings_max });
    }
    readings.push(reading);
    Ok(())
}

/// Where a value ends: behind its last bracket when `whole`, else at the comma or bracket that ends an element.
fn value_end(bytes: &[u8], whole: bool) -> Option<usize> {
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => at = string_end(bytes, at + 1)?,
            b'{' | b'[' => depth += 1,
            b',' | b']' if depth == 0 => return Some(at),
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                if whole && depth == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
        at += 1;
    }
    None
}

/// Index of the quote that ends a string which began before `at`.
fn string_end(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match bytes.get(at)? {
            b'"' => return Some(at),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

fn malformed(detail: impl Into<String>) -> SplitError {
    SplitError::Malformed(Reject::new(RejectReason::MalformedJson, detail))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(body: &str, lines: bool) -> Result<Vec<&str>, String> {
        match split(body.as_bytes(), lines, 3) {
            Ok(pieces) => Ok(pieces.into_iter().map(|piece| std::str::from_utf8(piece).unwrap()).collect()),
            Err(SplitError::TooMany { readings_max }) => Err(format!("more than {readings_max}")),
            Err(SplitError::Malformed(reject)) => Err(reject.to_string()),
        }
    }

    #[test]
    fn objects_arrays_and_lines_are_told_apart() {
        let cases: &[(&str, bool, &[&str])] = &[
            ("{\"a\":1}", false, &["{\"a\":1}"]),
            (" {\"a\":\n 1}\n ", false, &["{\"a\":\n 1}"]),
            ("[]", false, &[]),
            (" [ ] ", false, &[]),
            ("[{\"a\":1} , {\"a\":[1,{}]}]", false, &["{\"a\":1}", "{\"a\":[1,{}]}"]),
            ("[{\"a\":\"],}\\\"]\"},1]", false, &["{\"a\":\"],}\\\"]\"}", "1"]),
            ("[1,,]", false, &["1", "", ""]),
            ("{\"a\":1}\n{\"a\":2}", false, &["{\"a\":1}", "{\"a\":2}"]),
            ("{\"a\":1}\r\n\n nonsense \n", true, &["{\"a\":1}", "nonsense"]),
            ("{\"a\":1", false, &["{\"a\":1"]),
            ("[1]\n[2]", true, &["[1]", "[2]"]),
            ("nonsense", false, &["nonsense"]),
            ("nonsense\n{\"a\":1}", false, &["nonsense", "{\"a\":1}"]),
            ("\u{feff}{}", false, &["{}"]),
        ];
        for (body, lines, expected) in cases {
            assert_eq!(pieces(body, *lines).unwrap(), *expected, "{body}");
        }
    }

    #[test]
    fn a_broken_structure_says_where() {
        for (body, expected) in [
            ("", "the body is empty"),
            (" \n ", "the body is empty"),
            ("[{\"a\":1},{\"a\":", "within element 1"),
            ("[{\"a\":1}", "within element 0"),
            ("[\"", "within element 0"),
            ("[\"\\", "within element 0"),
            ("[", "within element 0"),
            ("[1] [2]", "something follows"),
            ("[]]", "something follows"),
            ("[1,2,3,4]", "more than 3"),
            ("{}\n{}\n{}\n{}", "more than 3"),
        ] {
            let error = pieces(body, false).unwrap_err();
            assert!(error.contains(expected), "{body}: {error}");
        }
    }

    proptest::proptest! {
        #[test]
        fn an_array_is_cut_where_a_json_parser_cuts_it(texts in proptest::collection::vec(value(), 0..6), pretty: bool) {
            let list: Vec<serde_json::Value> = texts;
            let body = if pretty { serde_json::to_string_pretty(&list) } else { serde_json::to_string(&list) }.unwrap();
            let expected: Vec<&serde_json::value::RawValue> = serde_json::from_str(&body).unwrap();
            let expected: Vec<&str> = expected.into_iter().map(serde_json::value::RawValue::get).collect();
            let found = split(body.as_bytes(), false, 6).unwrap();
            let found: Vec<&str> = found.into_iter().map(|piece| std::str::from_utf8(piece).unwrap()).collect();
            proptest::prop_assert_eq!(found, expected);
        }

        #[test]
        fn no_bytes_make_it_panic_and_no_byte_of_a_line_is_lost(body in proptest::collection::vec(hostile(), 0..64)) {
            for lines in [false, true] {
                let found = split(&body, lines, 1_000);
                if lines && let Ok(found) = found {
                    let kept: usize = found.iter().map(|line| line.iter().filter(|byte| !byte.is_ascii_whitespace()).count()).sum();
                    proptest::prop_assert_eq!(kept, body.iter().filter(|byte| !byte.is_ascii_whitespace()).count());
                }
            }
        }
    }

    /// Bytes that mean something here, and some that do not.
    fn hostile() -> impl proptest::strategy::Strategy<Value = u8> {
        proptest::sample::select(b"[]{},:\"\\ \n1a\xff".to_vec())
    }

    fn value() -> impl proptest::strategy::Strategy<Value = serde_json::Value> {
        use proptest::prelude::*;
        let leaf = prop_oneof![
            any::<i64>().prop_map(serde_json::Value::from),
            any::<bool>().prop_map(serde_json::Value::from),
            Just(serde_json::Value::Null),
            "[\\[\\]{}\"\\\\,a ]{0,6}".prop_map(serde_json::Value::from),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(serde_json::Value::from),
                proptest::collection::btree_map("[a\"}]{0,3}", inner, 0..4)
                    .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
            ]
        })
    }
}

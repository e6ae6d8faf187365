//! What a person who mistypes a configuration sees.

use super::*;
use serde::Deserialize;

#[derive(Debug, Default, Deserialize, PartialEq, serde::Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
struct RawDoor {
    listen: Option<String>,
    body_max: Option<String>,
    workers: Option<u64>,
    name: Option<String>,
    key: Option<Secret>,
    limits: Option<RawLimits>,
}

#[derive(Debug, Default, Deserialize, PartialEq, serde::Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
struct RawLimits {
    readings: Option<u64>,
}

fn env(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
}

fn sets(arguments: &[&str]) -> Vec<String> {
    arguments.iter().map(|text| (*text).to_owned()).collect()
}

#[test]
fn a_later_layer_covers_an_earlier_one_key_by_key_and_the_source_is_known() {
    let file =
        "[door]\nlisten = \"127.0.0.1:1\"\nbody-max = \"1MiB\"\nworkers = 1\n[door.limits]\nreadings = 5\n";
    let mut problems = Problems::default();
    let layers = Layers::load(
        Some(("hw.toml", file)),
        env(&[("HIGHWATER_DOOR__BODY_MAX", "2MiB"), ("HIGHWATER_DOOR__WORKERS", "2"), ("PATH", "/bin")]),
        &sets(&["door.workers=3"]),
        &mut problems,
    );
    let door: RawDoor = layers.section("door", &mut problems);
    assert!(problems.is_empty(), "{problems:?}");
    assert_eq!(
        (door.listen.as_deref(), door.body_max.as_deref(), door.workers),
        (Some("127.0.0.1:1"), Some("2MiB"), Some(3))
    );
    assert_eq!(door.limits, Some(RawLimits { readings: Some(5) }));
    assert_eq!(layers.source("door.listen"), Source::File("hw.toml".to_owned()));
    assert_eq!(layers.source("door.body-max"), Source::Env("HIGHWATER_DOOR__BODY_MAX".to_owned()));
    assert_eq!(layers.source("door.workers"), Source::Flag);
    assert_eq!(layers.source("door.name"), Source::Default);
}

#[test]
fn all_mistakes_are_reported_together_with_key_value_place_and_what_would_be_accepted() {
    let file =
        "[door]\nlisen = \"x\"\nworkers = \"many\"\nbody-max = \"8mb\"\n[door.limits]\nreading = 5\n[dor]\n";
    let mut problems = Problems::default();
    let layers = Layers::load(
        Some(("hw.toml", file)),
        env(&[("HIGHWATER_DOOR__NME", "x")]),
        &sets(&["nonsense", "door.listen.x.y=1"]),
        &mut problems,
    );
    layers.check_sections(&["door"], &mut problems);
    let door: RawDoor = layers.section("door", &mut problems);
    problems.size("door.body-max", door.body_max.as_deref(), 1);
    let text = problems.finish().unwrap_err().to_string();
    for expected in [
        "the configuration has 8 mistakes",
        "--set: `nonsense` is not `section.key=value`",
        "dor: no such section (file hw.toml); did you mean `door`?",
        "door.lisen: `\"x\"`: no such key; did you mean `listen`? (file hw.toml)",
        "door.nme: `\"x\"`: no such key; did you mean `name`? (environment HIGHWATER_DOOR__NME)",
        "door.workers: `\"many\"`: invalid type: string \"many\", expected u64 (file hw.toml)",
        "door.listen: invalid type: map, expected a string (--set)",
        "door.limits.reading: `5`: no such key; did you mean `readings`? (file hw.toml)",
        "door.body-max: `8mb` is not a number with a unit, like \"64KiB\" or \"8MiB\"",
    ] {
        assert!(text.contains(expected), "no {expected:?} in\n{text}");
    }
}

#[test]
fn a_set_below_a_plain_value_is_a_mistake() {
    let mut problems = Problems::default();
    let file = "[door]\nlisten = \"x\"\n";
    Layers::load(Some(("f", file)), env(&[]), &sets(&["door.listen.port=1"]), &mut problems);
    assert_eq!(problems.list()[0].key, "door.listen.port");
    assert!(problems.list()[0].message.contains("`listen` is a value, not a section"), "{problems:?}");
}

#[test]
fn text_that_looks_like_a_number_is_text_where_text_is_wanted() {
    let mut problems = Problems::default();
    let layers = Layers::load(
        None,
        env(&[("HIGHWATER_DOOR__NAME", "007"), ("HIGHWATER_DOOR__KEY", "12")]),
        &sets(&["door.listen=2024-01-01"]),
        &mut problems,
    );
    let door: RawDoor = layers.section("door", &mut problems);
    assert!(problems.is_empty(), "{problems:?}");
    assert_eq!((door.name.as_deref(), door.listen.as_deref()), (Some("007"), Some("2024-01-01")));
    assert_eq!(door.key.unwrap().expose(), "12");
}

#[test]
fn variables_without_a_section_are_not_configuration() {
    let mut problems = Problems::default();
    let layers = Layers::load(
        None,
        env(&[("HIGHWATER_PORT", "tcp://10.0.0.1:80"), ("HIGHWATER_X", "1")]),
        &[],
        &mut problems,
    );
    assert!(layers.table().is_empty() && problems.is_empty());
}

#[test]
fn a_part_with_dots_can_be_quoted() {
    let mut problems = Problems::default();
    let layers = Layers::load(
        None,
        env(&[]),
        &sets(&["librdkafka.\"queue.max\"=5", "window=[{name=\"1m\"}]"]),
        &mut problems,
    );
    assert_eq!(layers.table()["librdkafka"]["queue.max"].as_integer(), Some(5));
    assert_eq!(layers.table()["window"][0]["name"].as_str(), Some("1m"));
}

#[test]
fn a_file_that_is_not_toml_is_one_mistake_with_its_line() {
    let mut problems = Problems::default();
    Layers::load(Some(("hw.toml", "a = 1\nb = = 2\n")), env(&[]), &[], &mut problems);
    assert_eq!(problems.list().len(), 1);
    assert!(problems.list()[0].message.contains("line 2"), "{problems:?}");
}

#[test]
fn a_secret_is_masked_wherever_it_can_be_printed() {
    let door = RawDoor { key: Some(Secret::new("hunter2")), workers: Some(2), ..RawDoor::default() };
    let mut problems = Problems::default();
    let layers = Layers::load(None, env(&[]), &sets(&["door.key=hunter2"]), &mut problems);
    let mut page = Printed::new(&layers);
    page.section("door", &door).unwrap();
    let page = page.into_text();
    assert!(page.contains("key = \"********\"") && page.contains("# --set"), "{page}");
    assert!(page.contains("workers = 2") && page.contains("# default"), "{page}");
    let key = door.key.as_ref().unwrap();
    for text in [page, format!("{door:?}"), format!("{key}"), serde_json::to_string(&door).unwrap()] {
        assert!(!text.contains("hunter2"), "{text}");
    }
}

#[test]
fn units_are_written_as_they_are_read() {
    for text in ["250ms", "10s", "5m", "23h", "30d", "7us"] {
        assert_eq!(format_duration(parse_duration(text).unwrap()), text);
    }
    for text in ["500B", "64KiB", "8MiB", "1GiB"] {
        assert_eq!(format_size(parse_size(text).unwrap()), text);
    }
    assert_eq!((format_duration(Duration::ZERO), format_size(0)), ("0us".to_owned(), "0B".to_owned()));
    for text in ["", "10", "s", "-1s", "1.5s", "10 parsecs", "99999999999999999999s", "18446744073709551615d"]
    {
        assert!(parse_duration(text).is_err(), "{text}");
    }
}

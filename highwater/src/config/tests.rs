//! Where values come from, what wins, and that what is printed can be read again.

use super::*;

const NONE: [(String, String); 0] = [];

fn resolved(file: &str, sets: &[&str]) -> Result<Settings, String> {
    let sets: Vec<String> = sets.iter().map(|&set| set.to_owned()).collect();
    Settings::resolve(Base::Run, ("test.toml", file), NONE, &sets)
}

#[test]
fn what_is_printed_is_a_file_that_says_the_same() {
    let key = "sha256:".to_owned() + &"ab".repeat(32);
    for file in [
        DEFAULT_FILE.1.to_owned(),
        DEMO_FILE.1.to_owned(),
        include_str!("../../../examples/hot-rooms.toml").to_owned(),
        "[journal]\nfile-bytes-max = \"1GiB\"\nretention-bytes = \"1MiB\"\n[metrics]\nonly = [\"temp\"]"
            .to_owned(),
    ] {
        let first =
            resolved(&file, &["ingest.listen=127.0.0.1:9", "journal.url=sqlite:x/j.db"]).expect(&file);
        let printed = first.print().expect("printable");
        let again = resolved(&printed, &[]).expect(&printed);
        let values = |text: &str| text.parse::<toml::Table>().expect("TOML");
        assert_eq!(values(&again.print().expect("printable")), values(&printed));
        assert_eq!(again.pipeline, first.pipeline);
        assert_eq!(again.journal.path, PathBuf::from("x/j.db"));
    }
    // Keys are no part of what is shown: a printed page has none that could be used.
    let with_key = format!("[[auth.key]]\nname = \"a\"\nroles = [\"read\"]\nhash = \"{key}\"");
    assert!(!resolved(&with_key, &[]).expect("a key").print().expect("printable").contains("abab"));
}

#[test]
fn the_line_of_a_value_names_its_source() {
    let page = resolved("[journal]\npartitions = 2", &["store.url=sqlite:s.db"]).expect("right");
    let page = page.print().expect("printable");
    let line = |start: &str| page.lines().find(|line| line.starts_with(start)).unwrap_or_default().to_owned();
    assert!(line("partitions = 2").ends_with("# file test.toml"), "{page}");
    assert!(page.contains("url = \"sqlite:data/journal.db\""), "{page}");
    assert!(
        page.lines().any(|line| line.starts_with("url = \"sqlite:s.db\"") && line.ends_with("# --set")),
        "{page}"
    );
    assert!(line("retention = ").ends_with("# default"), "{page}");
}

#[test]
fn every_mistake_is_told_at_once() {
    let told = resolved(
        "[journal]\npartitions = 0\n[ingest]\nlisten = \"here\"\nbodymax = 1\n[windows]\nx = 1",
        &["time.disorder=5"],
    )
    .expect_err("wrong");
    for key in ["journal.partitions", "ingest.listen", "ingest.bodymax", "windows", "time.disorder"] {
        assert!(told.contains(key), "{key}: {told}");
    }
}

#[test]
fn an_open_address_needs_keys_or_a_word() {
    let told = resolved("", &["dashboard.listen=0.0.0.0:1"]).expect_err("open to all");
    assert!(told.contains("dashboard.listen") && told.contains("--insecure"), "{told}");
    assert!(resolved("", &["dashboard.listen=0.0.0.0:1", "auth.insecure=true"]).is_ok());
}

#[test]
fn a_directory_is_named_once() {
    let args = ConfigArgs {
        data: Some(PathBuf::from("d")),
        set: vec!["journal.url=sqlite:q.db".to_owned()],
        ..ConfigArgs::default()
    };
    let told = flags(&args, Base::Run).expect_err("twice").to_string();
    assert!(told.contains("--data") && told.contains("journal.url"), "{told}");
}

#[test]
fn a_job_is_quiet_unless_told_otherwise_and_takes_no_usual_port() {
    let level = |sets: &[&str]| {
        let sets: Vec<String> = sets.iter().map(|&set| set.to_owned()).collect();
        let job = Settings::resolve(Base::Job, ("", ""), NONE, &sets).expect("right");
        toml::Value::try_from(&job.log).expect("a table")["level"].as_str().map(str::to_owned)
    };
    assert_eq!(level(&[]).as_deref(), Some("warn"));
    assert_eq!(level(&["log.level=debug"]).as_deref(), Some("debug"));
    let flags = flags(&ConfigArgs::default(), Base::Job).expect("right");
    assert!(flags.contains(&"admin.listen=127.0.0.1:0".to_owned()));
}

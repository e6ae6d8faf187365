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
        assert_eq!(again.journal.file(), Some(std::path::Path::new("x/j.db")));
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

#[test]
fn a_home_on_servers_is_printed_as_it_is_read_and_its_secrets_are_not() {
    let file = "[journal]\nurl = \"kafka://a:9092, b:9093\"\ntopic-prefix = \"x.\"\ncommit-timeout = \"20s\"\n\
        [store]\nurl = \"cql://c:9042,d:9042/iot\"\nuser = \"sink\"\npassword = \"hunter2\"\n\
        replication = \"dc1:3,dc2:2\"\n\
        [librdkafka]\nsocket.timeout.ms = 5000\n\"sasl.password\" = \"hunter3\"\nssl.key.location = \"k.pem\"\n";
    let settings = resolved(file, &[]);
    if !crate::telemetry::TLS {
        let told = settings.expect_err("no TLS");
        assert!(told.contains("librdkafka.") && told.contains("tls"), "{told}");
        return;
    }
    let page = settings.expect(file).print().expect("printable");
    for line in [
        "url = \"kafka://a:9092,b:9093\"",
        "url = \"cql://c:9042,d:9042/iot\"",
        "replication = \"dc1:3,dc2:2\"",
        "\"socket.timeout.ms\" = \"5000\"",
        "\"ssl.key.location\" = \"k.pem\"",
    ] {
        assert!(page.contains(line), "{line}: {page}");
    }
    assert!(!page.contains("hunter") && page.contains("********"), "{page}");
}

#[test]
fn no_secret_is_printed_whatever_this_build_can_do() {
    let file = "[journal]\nurl = \"kafka://a:9092\"\n\
        [store]\nurl = \"cql://c:9042/iot\"\nuser = \"sink\"\npassword = \"hunter2-of-the-store\"\n\
        [ingest]\nscrub-hash = [\"owner\"]\nscrub-key = \"hunter3-of-the-scrubber-which-is-long-enough\"\n";
    let page = resolved(file, &[]).expect(file).print().expect("printable");
    for line in ["scrub-hash = [\"owner\"]", "scrub-key = \"********\"", "password = \"********\""] {
        assert!(page.contains(line), "{line}: {page}");
    }
    assert!(!page.contains("hunter"), "{page}");
}

#[test]
fn settings_of_another_home_are_mistakes() {
    let kafka = ["journal.url=kafka://h:1", "store.url=cql://h:1/k"];
    for (sets, key) in [
        (vec!["journal.topic-prefix=x"], "journal.topic-prefix"),
        (vec!["journal.session-timeout=9s"], "journal.session-timeout"),
        (vec!["store.consistency=one"], "store.consistency"),
        (vec!["store.password=x"], "store.password"),
        (vec!["librdkafka.debug=broker"], "librdkafka"),
        (vec![kafka[0], "journal.file-bytes-max=1GiB"], "journal.file-bytes-max"),
    ] {
        let told = resolved("", &sets).expect_err(key);
        assert!(told.contains(&format!("{key}: ")) && told.contains("belongs to"), "{told}");
    }
    // A process may well have one home on servers and the other in a file.
    assert!(resolved("", &kafka[..1]).is_ok() && resolved("", &kafka[1..]).is_ok());
}

#[test]
fn what_librdkafka_must_not_be_told_is_named() {
    let told = resolved("", &["journal.url=kafka://h:1", "librdkafka.isolation.level=read_uncommitted"]);
    assert!(told.expect_err("ours").contains("librdkafka.isolation.level: "));
    let told = resolved("", &["journal.url=kafka://h:1", "librdkafka.no.such=1", "journal.partitions=0"]);
    let told = told.expect_err("unknown");
    assert!(told.contains("librdkafka.no.such: ") && told.contains("journal.partitions"), "{told}");
}

#[test]
fn an_address_that_is_none_says_what_it_should_be() {
    for (set, wanted) in [
        ("journal.url=kafka://h", "host:port"),
        ("journal.url=kafka://", "host:port"),
        ("journal.url=postgres://h:1", "kafka://"),
        ("store.url=cql://h:1", "keyspace"),
        ("store.url=cql://h/k", "host:port"),
        ("store.url=cql://h:1/Upper", "keyspace"),
        ("store.url=mysql:x", "cql://"),
    ] {
        let told = resolved("", &[set]).expect_err(set);
        assert!(told.contains(wanted), "{set}: {told}");
    }
}

#[test]
fn a_process_on_kafka_is_called_like_its_host() {
    let on_kafka = resolved("", &["journal.url=kafka://h:1"]).expect("right");
    assert_eq!(Some(on_kafka.process.instance), self::process::host_name());
    let named = resolved("", &["journal.url=kafka://h:1", "process.instance=p-7"]).expect("right");
    assert_eq!(named.process.instance, "p-7");
    assert_eq!(resolved("", &[]).expect("right").process.instance, "processor-0");
}

#[test]
fn compiled_models_are_kept_beside_the_file_or_where_it_is_said() {
    let kept = |sets: &[&str]| resolved("", sets).expect("right").scoring.cache_dir;
    assert_eq!(kept(&["journal.url=sqlite:x/j.db"]), Some(PathBuf::from("x/models")));
    assert_eq!(kept(&["scoring.cache-dir=here"]), Some(PathBuf::from("here")));
    assert_eq!(kept(&["scoring.cache-dir=none"]), None);
}

#[test]
fn weights_are_named_by_a_file_or_by_their_digest() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = |name: &str, bytes: &[u8]| {
        let path = directory.path().join(name);
        std::fs::write(&path, bytes).expect("written");
        path.display().to_string()
    };
    let (good, empty) = (file("good", b"numbers"), file("empty", b""));
    let large = file("large", &vec![0; ::scoring::ARTIFACT_BYTES_MAX + 1]);
    let model = |name: &str, artifact: &str| {
        format!(
            "[[model]]\nname = \"{name}\"\ncomponent = \"trees\"\neach = [\"t\"]\nthreshold = 1.0\nartifact = {artifact:?}\n"
        )
    };
    let digest = ::scoring::shipped::digest_of(b"numbers");
    let written = model("a", &good) + &model("b", &digest.to_uppercase()) + "[time]\ndisorder = \"1s\"";
    let settings = resolved(&written, &[]).expect("right");
    for model in &settings.pipeline.models {
        assert_eq!(model.artifact.as_ref(), Some(&digest));
    }
    assert_eq!(settings.scoring.weights.all().collect::<Vec<_>>(), [b"numbers"]);
    let printed = settings.print().expect("printable");
    assert_eq!(resolved(&printed, &[]).expect(&printed).pipeline, settings.pipeline);

    let wrong = model("a", "nowhere/x") + &model("b", &empty) + &model("c", &large);
    let told = resolved(&wrong, &["time.disorder=5"]).expect_err("four mistakes");
    for part in [
        "model[0].artifact: `nowhere/x` is neither",
        "model[1].artifact: ",
        "it is empty",
        "model[2].artifact: ",
        "it has more than 16777216 bytes",
        "time.disorder",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
}

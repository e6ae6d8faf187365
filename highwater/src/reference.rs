//! The pages of `docs/reference/`, held against the program: what is documented is there, what is there is documented.

use crate::cli::Cli;
use crate::client::Client;
use crate::config::{Base, Settings};
use crate::home::{Home, Parts};
use chassis::metrics::{CATALOGUE, Kind};
use clap::CommandFactory;
use schemas::topic::Topic;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::time::Duration;

const COMMANDS: &str = include_str!("../../docs/reference/commands.md");
const CONFIGURATION: &str = include_str!("../../docs/reference/configuration.md");
const METRICS: &str = include_str!("../../docs/reference/metrics.md");
const TOPICS: &str = include_str!("../../docs/reference/topics.md");

/// First cells of the tables under each `## [section]`, with the rest of the line.
fn documented() -> BTreeMap<String, BTreeMap<String, String>> {
    let mut sections: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    let mut section = String::new();
    for line in CONFIGURATION.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            section = title.trim_matches(['`', '[', ']']).to_owned();
        } else if let Some((key, rest)) = line.strip_prefix("| `").and_then(|line| line.split_once("` |")) {
            sections.entry(section.clone()).or_default().insert(key.to_owned(), rest.to_owned());
        }
    }
    sections
}

fn settings(sets: &[String]) -> Result<Settings, String> {
    let args = crate::cli::ConfigArgs { set: sets.to_vec(), ..Default::default() };
    Settings::load(&args, Base::Run).map_err(|error| error.to_string())
}

#[test]
fn every_setting_is_documented_with_its_default() {
    let printed = |sets: &[&str]| -> toml::Table {
        let sets: Vec<String> = sets.iter().map(|&set| set.to_owned()).collect();
        settings(&sets).expect("defaults").print().expect("printable").parse().expect("TOML")
    };
    let servers = ["journal.url=kafka://h:1", "store.url=cql://h:1/k", "registry.url=http://h"];
    let (files, servers) = (printed(&[]), printed(&servers));
    let documented = documented();
    let mut missing = String::new();
    for (section, value) in files.iter().chain(&servers) {
        let Some(table) = value.as_table() else { continue };
        for (key, default) in table {
            // What depends on the home is documented with the default of the file's.
            let of_home = matches!(&**key, "url" | "instance" | "cache-dir" | "failed-batch-dir");
            let default =
                files.get(section).and_then(|file| file.get(key)).filter(|_| of_home).unwrap_or(default);
            if section == "registry" && key == "url" {
                continue;
            }
            let told = documented.get(section).and_then(|keys| keys.get(key));
            let shown = default.as_str().map_or_else(|| default.to_string(), str::to_owned);
            if !told.is_some_and(|told| told.trim_start().starts_with(&format!("`{shown}`"))) {
                let _ = writeln!(missing, "[{section}] | `{key}` | `{shown}` |  (documented: {told:?})");
            }
        }
    }
    assert!(missing.is_empty(), "configuration.md lacks:\n{missing}");
}

#[test]
fn every_documented_setting_exists() {
    for (section, keys) in documented() {
        for key in keys.keys() {
            let listed = matches!(&*section, "window" | "filter" | "model" | "auth.key");
            // No setting is a table but `settings`: a key that exists complains of its kind, not of its name.
            let set = if listed {
                let (outer, inner) = section.rsplit_once('.').unwrap_or(("", &section));
                let path = if outer.is_empty() { inner.to_owned() } else { format!("{outer}.{inner}") };
                format!("{path}=[{{ {key} = {{ nothing = 1 }} }}]")
            } else {
                format!("{section}.{key}={{ nothing = 1 }}")
            };
            let told = settings(std::slice::from_ref(&set)).map_or_else(|told| told, |_| String::new());
            assert!(!told.contains("no such") && !told.contains("unknown field"), "{set}: {told}");
        }
    }
}

#[test]
fn every_command_and_flag_is_documented() {
    let mut missing = BTreeSet::new();
    let mut left: Vec<(String, clap::Command)> = vec![(String::new(), Cli::command())];
    while let Some((path, command)) = left.pop() {
        for inner in command.get_subcommands().filter(|inner| inner.get_name() != "help") {
            left.push((format!("{path} {}", inner.get_name()), inner.clone()));
            let name = format!("{path} {}", inner.get_name()).trim().to_owned();
            if !COMMANDS.contains(&format!("`{name}")) {
                missing.insert(name);
            }
        }
        for flag in command.get_arguments().filter_map(clap::Arg::get_long) {
            if !COMMANDS.contains(&format!("--{flag}")) && !matches!(flag, "help" | "version") {
                missing.insert(format!("{path} --{flag}"));
            }
        }
    }
    assert!(missing.is_empty(), "commands.md lacks {missing:?}");
}

#[test]
fn every_topic_is_documented() {
    for topic in Topic::ALL {
        assert!(TOPICS.contains(&format!("| `{topic}` |")), "topics.md lacks {topic}");
    }
}

#[test]
fn the_page_of_metrics_is_the_catalogue() {
    let mut table = String::from("| name | kind | says |\n|---|---|---|\n");
    for entry in CATALOGUE {
        let kind = match entry.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let _ = writeln!(table, "| `{}` | {kind} | {} |", entry.name, entry.help);
    }
    assert!(METRICS.contains(&table), "metrics.md should have\n{table}");
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_scraped_is_in_the_catalogue_and_described() {
    const BOUND: Duration = Duration::from_secs(30);
    let directory = tempfile::tempdir().expect("a directory");
    let args = crate::cli::ConfigArgs { data: Some(directory.path().to_owned()), ..Default::default() };
    let settings = Settings::load(&args, Base::Job).expect("right");
    let home = Home::start(settings, Parts::all("test")).await.expect("started");
    let door = Client::new(&format!("http://{}", home.ingest().expect("a door")), None).expect("an address");
    let reading = serde_json::json!({ "device_id": "a", "temp": 1, "ts": 1_627_847_280 });
    door.post("/v1/readings", &reading).await.expect("accepted");
    door.post("/v1/ends", &serde_json::json!({ "device_id": "a" })).await.expect("accepted");
    let url = format!("http://{}/metrics", home.admin());
    let wanted = ["highwater_commits_total", "highwater_lag_records", "highwater_sink_rows_total"];
    let scraped = tokio::time::timeout(BOUND, async {
        let mut looks = tokio::time::interval(Duration::from_millis(50));
        loop {
            looks.tick().await;
            let page = reqwest::get(&url).await.expect("an answer").text().await.expect("text");
            if wanted.iter().all(|name| page.contains(&format!("\n{name}"))) {
                return page;
            }
        }
    });
    let page = scraped.await.expect("figures in time");
    let known: BTreeSet<&str> = CATALOGUE.iter().map(|entry| entry.name).collect();
    for line in page.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let name = line.split(['{', ' ']).next().unwrap_or_default();
        let base =
            ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
        assert!(known.contains(name) || known.contains(base), "{name} is not in the catalogue");
        let help = format!("# HELP {} ", if known.contains(name) { name } else { base });
        assert!(page.contains(&help), "{name} is not described");
    }
    home.shutdown().begin("the test is over");
    home.run_until_stopped().await.expect("a clean end");
}

//! The whole configuration: every section read, resolved once, all mistakes reported together.
//!
//! Lives here: which sections there are, where the embedded home lies. Does not live here: what a section means
//! (each component resolves its own; below are those of the program: `journal`, `registry`, `store`, `process`).

mod address;
pub(crate) mod journal;
pub(crate) mod process;
pub(crate) mod registry;
pub(crate) mod scoring;
pub(crate) mod store;
pub(crate) mod weights;

use self::journal::{JournalConfig, Librdkafka, RawJournal};
use self::process::{AdminConfig, RawAdmin};
use self::registry::{RawRegistry, RegistrySettings};
use self::scoring::{RawScoring, ScoringConfig};
use self::store::{RawStore, StoreConfig};
use self::weights::Weights;
use crate::cli::ConfigArgs;
use crate::exit::Usage;
use anyhow::{Context, Result};
use chassis::auth::{Keys, RawAuth};
use chassis::config::{Layers, Printed, Problems};
use chassis::telemetry::{LogConfig, RawLog};
use dashboard::{DashboardConfig, RawDashboard};
use ingest::{IngestConfig, RawIngest};
use processor::config::{ProcessorConfig, RawPipelineConfig, RawProcessorConfig};
use schemas::pipeline::Pipeline;
use sink::{RawSink, SinkConfig};
use std::path::PathBuf;
use toml::{Table, Value};

/// Sections of the file.
const SECTIONS: [&str; 19] = [
    "journal",
    "librdkafka",
    "store",
    "registry",
    "ingest",
    "process",
    "sink",
    "dashboard",
    "scoring",
    "admin",
    "auth",
    "log",
    "window",
    "filter",
    "model",
    "time",
    "metrics",
    "limits",
    "input",
];

/// What runs without a file.
const DEFAULT_FILE: (&str, &str) = ("(built in)", include_str!("default.toml"));
/// What the demo runs without a file.
const DEMO_FILE: (&str, &str) = ("(built in, demo)", include_str!("demo.toml"));

/// Everything, resolved.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Journal.
    pub(crate) journal: JournalConfig,
    /// What is passed through to Kafka's client.
    pub(crate) librdkafka: Librdkafka,
    /// Store.
    pub(crate) store: StoreConfig,
    /// Schema registry.
    pub(crate) registry: RegistrySettings,
    /// Door.
    pub(crate) ingest: IngestConfig,
    /// Processor, as it runs.
    pub(crate) process: ProcessorConfig,
    /// Sink.
    pub(crate) sink: SinkConfig,
    /// Query API and page.
    pub(crate) dashboard: DashboardConfig,
    /// The models' host.
    pub(crate) scoring: ScoringConfig,
    /// Admin address.
    pub(crate) admin: AdminConfig,
    /// Keys.
    pub(crate) keys: Keys,
    /// Log.
    pub(crate) log: LogConfig,
    /// What is computed.
    pub(crate) pipeline: Pipeline,
    /// Where everything came from.
    layers: Layers,
}

/// Which file stands in when none is given, and where things are by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Base {
    /// `run` and the single services.
    Run,
    /// `demo`.
    Demo,
    /// A home opened for one job (`import`, `--until-end`): no fixed ports, a quiet log.
    Job,
}

impl Base {
    /// Whether the command's own output is what people look at.
    const fn quiet(self) -> bool {
        matches!(self, Self::Demo | Self::Job)
    }
}

impl Settings {
    /// Reads file, environment and flags.
    ///
    /// # Errors
    /// [`Usage`] listing every mistake.
    pub(crate) fn load(args: &ConfigArgs, base: Base) -> Result<Self> {
        let file = match &args.config {
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .with_context(|| format!("reading the configuration file {}", path.display()))
                    .map_err(|error| Usage(format!("{error:#}")))?;
                Some((path.display().to_string(), text))
            }
            None => None,
        };
        let built_in = if base == Base::Demo { DEMO_FILE } else { DEFAULT_FILE };
        let file = file.as_ref().map_or(built_in, |(name, text)| (name.as_str(), text.as_str()));
        let sets = flags(args, base)?;
        Self::resolve(base, file, std::env::vars(), &sets).map_err(|text| Usage(text).into())
    }

    fn resolve(
        base: Base,
        file: (&str, &str),
        env: impl IntoIterator<Item = (String, String)>,
        sets: &[String],
    ) -> Result<Self, String> {
        let mut problems = Problems::default();
        let layers = Layers::load(Some(file), env, sets, &mut problems);
        layers.check_sections(&SECTIONS, &mut problems);
        let keys = layers.section::<RawAuth>("auth", &mut problems).resolve("auth", &mut problems);
        let mut log: RawLog = layers.section("log", &mut problems);
        if base.quiet() {
            log.level.get_or_insert_with(|| "warn".to_owned());
        }
        let journal =
            layers.section::<RawJournal>("journal", &mut problems).resolve("journal", &mut problems);
        let librdkafka: Table = layers.section("librdkafka", &mut problems);
        let librdkafka = Librdkafka::resolve(&librdkafka, "librdkafka", &journal, &mut problems);
        let registry =
            layers.section::<RawRegistry>("registry", &mut problems).resolve("registry", &mut problems);
        let mut process: RawProcessorConfig = layers.section("process", &mut problems);
        if journal.file().is_none() {
            process.instance = process.instance.or_else(process::host_name);
        }
        let scoring = layers.section::<RawScoring>("scoring", &mut problems);
        let mut scoring = scoring.resolve("scoring", &journal, &mut problems);
        let settings = Self {
            librdkafka,
            store: layers.section::<RawStore>("store", &mut problems).resolve("store", &mut problems),
            registry,
            ingest: layers.section::<RawIngest>("ingest", &mut problems).resolve("ingest", &mut problems),
            process: process.resolve("process", &mut problems),
            sink: layers.section::<RawSink>("sink", &mut problems).resolve("sink", &mut problems),
            dashboard: layers
                .section::<RawDashboard>("dashboard", &mut problems)
                .resolve("dashboard", &mut problems),
            admin: layers.section::<RawAdmin>("admin", &mut problems).resolve("admin", &mut problems),
            log: log.resolve("log", &mut problems),
            pipeline: pipeline(&layers, &mut scoring, &mut problems),
            scoring,
            keys,
            journal,
            layers,
        };
        settings.keys.check_address("admin.listen", settings.admin.listen, &mut problems);
        settings.keys.check_address("ingest.listen", settings.ingest.listen, &mut problems);
        settings.keys.check_address("dashboard.listen", settings.dashboard.listen, &mut problems);
        problems.finish().map_err(|error| error.to_string())?;
        Ok(settings)
    }

    /// The resolved values as TOML with the source of each, secrets masked, and an estimate of the state's size.
    ///
    /// # Errors
    /// When a value cannot be written as TOML.
    pub(crate) fn print(&self) -> Result<String> {
        let mut page = Printed::new(&self.layers);
        page.section("journal", &self.journal)?;
        if !self.librdkafka.is_empty() {
            page.section("librdkafka", &self.librdkafka)?;
        }
        page.section("store", &self.store)?;
        page.section("registry", &self.registry)?;
        page.section("ingest", &self.ingest)?;
        page.section("process", &self.process)?;
        page.section("sink", &self.sink)?;
        page.section("dashboard", &self.dashboard)?;
        page.section("scoring", &self.scoring)?;
        page.section("admin", &self.admin)?;
        page.section("auth", &self.keys)?;
        page.section("log", &self.log)?;
        let pipeline = RawPipelineConfig::from(&self.pipeline);
        page.section("time", &pipeline.time)?;
        page.section("metrics", &pipeline.metrics)?;
        page.section("limits", &pipeline.limits)?;
        page.section("input", &pipeline.input)?;
        let mut text = page.into_text();
        if self.pipeline.windows.is_empty() {
            text.insert_str(0, "window = []\n\n");
        }
        text.push_str(&lists(&pipeline)?);
        text.push_str(&state_estimate(&self.pipeline));
        Ok(text)
    }
}

/// The sections that make the pipeline, read as one.
fn pipeline(layers: &Layers, scoring: &mut ScoringConfig, problems: &mut Problems) -> Pipeline {
    let mut raw = RawPipelineConfig {
        window: layers.table().contains_key("window").then(|| layers.section("window", problems)),
        filter: layers.section("filter", problems),
        model: layers.section("model", problems),
        time: layers.section("time", problems),
        metrics: layers.section("metrics", problems),
        limits: layers.section("limits", problems),
        input: layers.section("input", problems),
    };
    scoring.weights = Weights::read(&mut raw.model, problems);
    raw.resolve(&|name| scoring.component(name), problems)
}

/// The definitions, as the file has them. Empty ones are left out: behind a section they would belong to it.
fn lists(pipeline: &RawPipelineConfig) -> Result<String> {
    let lists = [
        ("window", Value::try_from(&pipeline.window)?),
        ("filter", Value::try_from(&pipeline.filter)?),
        ("model", Value::try_from(&pipeline.model)?),
    ];
    let written = lists.into_iter().filter(|(_, list)| list.as_array().is_some_and(|list| !list.is_empty()));
    let table: toml::Table = written.map(|(name, list)| (name.to_owned(), list)).collect();
    Ok(format!("\n{}", toml::to_string(&table)?))
}

/// What the pipeline keeps, as a comment: an hour of lateness on one-second windows should be no surprise.
fn state_estimate(pipeline: &Pipeline) -> String {
    let estimate = processor::config::estimate(pipeline);
    let windows: Vec<String> =
        estimate.windows.iter().map(|window| format!("{} {}", window.panes, window.window)).collect();
    format!(
        "\n# State, estimated: {} panes ({}) a device and metric, {} a device with one metric,\n\
         # {} a partition with as many devices as `limits.devices-max` allows.\n",
        estimate.panes_per_metric,
        windows.join(", "),
        readable(estimate.bytes_per_device),
        readable(estimate.bytes_max),
    )
}

fn readable(bytes: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    UNITS
        .into_iter()
        .find(|(unit, _)| bytes >= *unit)
        .map_or_else(|| format!("{bytes} B"), |(unit, name)| format!("{} {name}", bytes.div_ceil(unit)))
}

/// Flags that are short for settings come before `--set`, which wins.
fn flags(args: &ConfigArgs, base: Base) -> Result<Vec<String>, Usage> {
    let mut sets = Vec::new();
    if let Some(directory) = &args.data {
        let twice = |set: &&String| set.starts_with("journal.url=") || set.starts_with("store.url=");
        if let Some(set) = args.set.iter().find(twice) {
            let said = "--data says where journal and store are";
            return Err(Usage(format!("{said}, and `--set {set}` says it again: leave one of them out")));
        }
        let quoted =
            |file: &str| Value::String(format!("sqlite:{}", directory.join(file).display())).to_string();
        sets.push(format!("journal.url={}", quoted("journal.db")));
        sets.push(format!("store.url={}", quoted("store.db")));
    }
    if args.insecure {
        sets.push("auth.insecure=true".to_owned());
    }
    if base == Base::Job {
        for service in ["ingest", "dashboard", "admin"] {
            sets.push(format!("{service}.listen=127.0.0.1:0"));
        }
    }
    sets.extend(args.set.iter().cloned());
    Ok(sets)
}

/// The directory of a `sqlite:` address's file.
pub(crate) fn directory_of(path: &std::path::Path) -> PathBuf {
    path.parent().map_or_else(|| PathBuf::from("."), std::path::Path::to_path_buf)
}

#[cfg(test)]
mod tests;

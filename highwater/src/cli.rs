//! The command line: what can be typed. What each command does lives in a file of its own under `commands`.

mod model;

use clap::{Args, Parser, Subcommand};
pub(crate) use model::{
    COMPILE_MODEL, CompileArgs, ExportArgs, ModelAction, ModelProfileArgs, ModelRunArgs, ModelTestArgs,
    PushArgs,
};
use std::path::PathBuf;

/// IoT readings in; windows, scores and alerts out, exactly once.
#[derive(Debug, Parser)]
#[command(name = "highwater", version = crate::telemetry::VERSION, propagate_version = true, arg_required_else_help = true)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Configuration that every command takes: a file, then the environment, then `--set`.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct ConfigArgs {
    /// Configuration file (TOML).
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// One setting, over file and environment; may be repeated.
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// Data directory of the embedded home: `journal.url` and `store.url` point into it.
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Bind beyond this host without API keys.
    #[arg(long)]
    pub(crate) insecure: bool,
}

/// A running instance to talk to.
#[derive(Args, Clone, Debug)]
pub(crate) struct Target {
    /// Admin address of the running instance; default http://127.0.0.1:9600.
    #[arg(long, value_name = "URL", env = "HIGHWATER_URL")]
    pub(crate) url: Option<String>,
    /// API key with role admin.
    #[arg(long, value_name = "KEY", env = "HIGHWATER_KEY", hide_env_values = true)]
    pub(crate) key: Option<String>,
    /// One JSON document instead of text.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Whom to ask: a running instance, or the home itself.
#[derive(Args, Clone, Debug)]
pub(crate) struct AskArgs {
    /// Instance.
    #[command(flatten)]
    pub(crate) target: Target,
    /// Settings, to ask the home itself when no instance has it open.
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
}

/// Commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Everything in one process, with a simulated fleet pushing readings through the real door.
    #[command(after_help = "Example:\n  highwater demo --for 20s --json")]
    Demo(DemoArgs),
    /// All services in one process on the embedded home: a desk, an edge gateway.
    #[command(after_help = "Example:\n  highwater run --data ./data --config examples/hot-rooms.toml")]
    Run(RunArgs),
    /// Only the door: takes readings and appends them to the journal.
    #[command(after_help = "Example:\n  highwater ingest --config highwater.toml")]
    Ingest(ServiceArgs),
    /// Only the processor: windows, enrichment, scores.
    #[command(after_help = "Example:\n  highwater process --data ./data --until-end")]
    Process(ProcessArgs),
    /// Only the sink: committed results into the store.
    #[command(after_help = "Example:\n  highwater sink --data ./data --until-end")]
    Sink(UntilEndArgs),
    /// Only the query API and the page.
    #[command(after_help = "Example:\n  highwater dashboard --data ./data")]
    Dashboard(ServiceArgs),
    /// Files of readings through the real door.
    #[command(
        after_help = "Example:\n  highwater import machine.csv --device machine-1 --time-column timestamp --time-zone UTC --close"
    )]
    Import(ImportArgs),
    /// How far behind, in records and seconds, per partition.
    #[command(after_help = "Example:\n  highwater lag --watch")]
    Lag(WatchArgs),
    /// The closed books: received = aggregated + filtered + duplicate + late + rejected + in flight.
    #[command(after_help = "Example:\n  highwater books --json     # exit code 3 when they do not balance")]
    Books(WatchArgs),
    /// State of partitions; why one is quarantined; the way out.
    #[command(after_help = "Example:\n  highwater partitions explain 2")]
    Partitions {
        /// What to do.
        #[command(subcommand)]
        action: PartitionsAction,
    },
    /// Devices: their metadata, clocks and open panes.
    #[command(after_help = "Example:\n  highwater devices explain sensor-12")]
    Devices {
        /// What to do.
        #[command(subcommand)]
        action: DevicesAction,
    },
    /// What could not be used, and sending it round again.
    #[command(
        name = "dead-letters",
        after_help = "Example:\n  highwater dead-letters list --reason clock-ahead"
    )]
    DeadLetters {
        /// What to do.
        #[command(subcommand)]
        action: DeadLettersAction,
    },
    /// The resolved configuration, its difference from the one in force, and proposing it.
    #[command(after_help = "Example:\n  highwater config print --config highwater.toml")]
    Config {
        /// What to do.
        #[command(subcommand)]
        action: ConfigAction,
    },
    /// Asks an instance whether it is ready; for container health checks.
    #[command(after_help = "Example:\n  highwater health --url http://127.0.0.1:9600")]
    Health(Target),
    /// Open-loop load with known truth.
    #[command(
        after_help = "Example:\n  highwater loadgen --rate 2000 --for 60s --devices 500 --truth ./truth\n  highwater loadgen --verify ./truth"
    )]
    Loadgen(LoadgenArgs),
    /// The contracts, whether a change is compatible, and registering them.
    #[command(
        after_help = "Example:\n  highwater schema check new-aggregate.avsc --subject iot.aggregates-value\n  highwater schema register --registry http://127.0.0.1:8081"
    )]
    Schema {
        /// What to do.
        #[command(subcommand)]
        action: SchemaAction,
    },
    /// Models: those that come with this build, a project for a new one, whether a component keeps what the contract asks,
    /// and letting another version into the running stream.
    #[command(
        after_help = "Example:\n  highwater model new --lang python my-model\n  highwater model test my-model.wasm     # exit code 3 when it does not conform"
    )]
    Model {
        /// What to do.
        #[command(subcommand)]
        action: ModelAction,
    },
    /// Compiles a component from standard input to standard output, within caps: services start it for themselves.
    #[command(name = COMPILE_MODEL, hide = true)]
    CompileModel(CompileArgs),
    /// The topics of a Kafka journal: whether they are as they must be, and making them.
    #[command(after_help = "Example:\n  highwater topics create --set journal.url=kafka://127.0.0.1:9092")]
    Topics {
        /// What to do.
        #[command(subcommand)]
        action: TopicsAction,
    },
    /// Keyspace and tables of a cluster.
    #[command(
        after_help = "Example:\n  highwater store create --set store.url=cql://127.0.0.1:9042/highwater"
    )]
    Store {
        /// What to do.
        #[command(subcommand)]
        action: StoreAction,
    },
    /// API keys.
    #[command(after_help = "Example:\n  highwater keys new --role ingest")]
    Keys {
        /// What to do.
        #[command(subcommand)]
        action: KeysAction,
    },
}

/// `demo`.
#[derive(Args, Debug)]
pub(crate) struct DemoArgs {
    /// Settings.
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// Stop by itself after this long, drain, and say whether the books balance.
    #[arg(long = "for", value_name = "DURATION")]
    pub(crate) duration: Option<String>,
    /// One summary object on standard output.
    #[arg(long)]
    pub(crate) json: bool,
    /// Keep what is stored here (and go on from it when it is there).
    #[arg(long, value_name = "DIR")]
    pub(crate) keep: Option<PathBuf>,
    /// Devices of the simulated fleet.
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) devices: u32,
    /// Readings a second.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rate: u32,
    /// Seed of the fleet.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
}

/// `run`.
#[derive(Args, Debug)]
pub(crate) struct RunArgs {
    /// Settings.
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// Propose the file's pipeline when it differs from the one in force.
    #[arg(long)]
    pub(crate) apply: bool,
}

/// One service.
#[derive(Args, Debug)]
pub(crate) struct ServiceArgs {
    /// Settings.
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
}

/// `process`.
#[derive(Args, Debug)]
pub(crate) struct ProcessArgs {
    /// Settings.
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// Consume to the end of the log as it is at start, commit, and exit; open panes stay open.
    #[arg(long)]
    pub(crate) until_end: bool,
    /// With `--until-end`: write an end record for every partition first.
    #[arg(long, requires = "until_end")]
    pub(crate) close: bool,
    /// Propose the file's pipeline when it differs from the one in force.
    #[arg(long)]
    pub(crate) apply: bool,
}

/// `sink`.
#[derive(Args, Debug)]
pub(crate) struct UntilEndArgs {
    /// Settings.
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// Write everything committed at start to the store, and exit.
    #[arg(long)]
    pub(crate) until_end: bool,
}

/// `import`.
#[derive(Args, Debug)]
pub(crate) struct ImportArgs {
    /// CSV (with a header line) or NDJSON files.
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Settings, for when no instance is running: the files then go into this home.
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// Device of every row; else the column `device_id`.
    #[arg(long)]
    pub(crate) device: Option<String>,
    /// Column of the event time; default `ts`.
    #[arg(long, value_name = "COLUMN")]
    pub(crate) time_column: Option<String>,
    /// Time zone of times without offset: UTC, or a name like Europe/Berlin.
    #[arg(long, value_name = "ZONE")]
    pub(crate) time_zone: Option<String>,
    /// `max`, or a multiple of the pace of the event times, like `60x`.
    #[arg(long, default_value = "max", value_name = "max|Nx")]
    pub(crate) rate: String,
    /// Write an end record for each device at the end: emits what is open.
    #[arg(long)]
    pub(crate) close: bool,
    /// Rows of the first file to leave out: to go on where an import was interrupted.
    #[arg(long, default_value_t = 0, value_name = "ROWS")]
    pub(crate) skip: u64,
    /// Address of a running ingest; default http://127.0.0.1:8088 when it answers, else the files go into `--data`.
    #[arg(long, value_name = "URL")]
    pub(crate) url: Option<String>,
    /// API key with role ingest.
    #[arg(long, value_name = "KEY", env = "HIGHWATER_KEY", hide_env_values = true)]
    pub(crate) key: Option<String>,
    /// One JSON document instead of text.
    #[arg(long)]
    pub(crate) json: bool,
}

/// `lag`, `books`.
#[derive(Args, Debug)]
pub(crate) struct WatchArgs {
    /// Whom to ask.
    #[command(flatten)]
    pub(crate) ask: AskArgs,
    /// Again every two seconds until interrupted.
    #[arg(long)]
    pub(crate) watch: bool,
}

/// `partitions`.
#[derive(Debug, Subcommand)]
pub(crate) enum PartitionsAction {
    /// One line a partition.
    List(AskArgs),
    /// Everything known of one, and what to do about it.
    Explain {
        /// Number.
        partition: u32,
        /// Whom to ask.
        #[command(flatten)]
        ask: AskArgs,
    },
    /// Lets a quarantined partition go on from what was committed.
    Release {
        /// Number.
        partition: u32,
        /// Whom to ask.
        #[command(flatten)]
        ask: AskArgs,
    },
}

/// `devices`.
#[derive(Debug, Subcommand)]
pub(crate) enum DevicesAction {
    /// Devices by id.
    List(AskArgs),
    /// Metadata, when it was last seen, its alerts.
    Show {
        /// Device.
        device: String,
        /// Whom to ask.
        #[command(flatten)]
        ask: AskArgs,
    },
    /// Clock, watermark, open panes and why each is open.
    Explain {
        /// Device.
        device: String,
        /// Whom to ask.
        #[command(flatten)]
        ask: AskArgs,
    },
}

/// `dead-letters`.
#[derive(Debug, Subcommand)]
pub(crate) enum DeadLettersAction {
    /// Newest first.
    List {
        /// Only this reason.
        #[arg(long)]
        reason: Option<String>,
        /// Most letters.
        #[arg(long, default_value_t = 50)]
        limit: u32,
        /// Whom to ask.
        #[command(flatten)]
        ask: AskArgs,
    },
    /// One letter with its bytes; an id is PARTITION-OFFSET as listed.
    Show {
        /// Letter.
        id: String,
        /// Whom to ask.
        #[command(flatten)]
        ask: AskArgs,
    },
    /// Sends letters round again, at most three times each.
    Redrive {
        /// Letters; none with `--reason` means all of that reason.
        ids: Vec<String>,
        /// All letters of this reason.
        #[arg(long)]
        reason: Option<String>,
        /// Whom to ask.
        #[command(flatten)]
        ask: AskArgs,
    },
}

/// `config`.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigAction {
    /// The resolved configuration with the source of each value, secrets masked.
    Print {
        /// Settings.
        #[command(flatten)]
        config: ConfigArgs,
        /// JSON instead of TOML.
        #[arg(long)]
        json: bool,
    },
    /// What differs between the file and the generation in force.
    Diff {
        /// Settings, and whom to ask.
        #[command(flatten)]
        ask: AskArgs,
    },
    /// Proposes the file's pipeline as the next generation.
    Apply {
        /// Settings, and whom to ask.
        #[command(flatten)]
        ask: AskArgs,
    },
}

/// `loadgen`.
#[derive(Args, Debug)]
pub(crate) struct LoadgenArgs {
    /// Address of ingest.
    #[arg(long, default_value = "http://127.0.0.1:8088", value_name = "URL")]
    pub(crate) url: String,
    /// Address of the query API, for `--verify`.
    #[arg(long, default_value = "http://127.0.0.1:8080", value_name = "URL")]
    pub(crate) query_url: String,
    /// API key.
    #[arg(long, value_name = "KEY", env = "HIGHWATER_KEY", hide_env_values = true)]
    pub(crate) key: Option<String>,
    /// Readings a second.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rate: u32,
    /// How long.
    #[arg(long = "for", default_value = "30s", value_name = "DURATION")]
    pub(crate) duration: String,
    /// Devices.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) devices: u32,
    /// Readings a request.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) batch: u32,
    /// Seed.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// With the demo's faults: fast, slow and broken clocks, offline spells, copies, disorder, anomalies.
    #[arg(long)]
    pub(crate) faults: bool,
    /// Tumbling windows the truth is kept for, as the pipeline's configuration names them.
    #[arg(long = "window", value_name = "NAME=SIZE", default_values_t = [String::from("1m=1m")])]
    pub(crate) windows: Vec<String>,
    /// Write an end record for every device when all is sent, so that open windows are emitted.
    #[arg(long)]
    pub(crate) close: bool,
    /// Write the truth into this directory.
    #[arg(long, value_name = "DIR")]
    pub(crate) truth: Option<PathBuf>,
    /// Compare what the pipeline answers with the truth in this directory; sends nothing.
    #[arg(long, value_name = "DIR", conflicts_with = "truth")]
    pub(crate) verify: Option<PathBuf>,
    /// One JSON document instead of text.
    #[arg(long)]
    pub(crate) json: bool,
}

/// A schema registry to talk to.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct RegistryArgs {
    /// Address of the schema registry, or several with commas; default `registry.url` of the configuration.
    #[arg(long, value_name = "URL")]
    pub(crate) registry: Option<String>,
    /// Configuration file (TOML).
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// One setting, over file and environment; may be repeated.
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// JSON instead of text.
    #[arg(long)]
    pub(crate) json: bool,
}

/// `schema`.
#[derive(Debug, Subcommand)]
pub(crate) enum SchemaAction {
    /// Subjects and their fields; with a registry, what is registered of each.
    List(RegistryArgs),
    /// Whether a schema can take the place of this build's, and of every registered version, both ways; exit code 3
    /// if not.
    Check {
        /// File with the schema; default: this build's.
        #[arg(requires = "subject")]
        file: Option<PathBuf>,
        /// Subject, like `iot.aggregates-value`; default: all.
        #[arg(long)]
        subject: Option<String>,
        /// Registry.
        #[command(flatten)]
        at: RegistryArgs,
    },
    /// Registers this build's schemas where they are not registered yet, when all are compatible; before a new version
    /// is started.
    Register {
        /// Leaves the subjects' compatibility levels as they are; else FULL_TRANSITIVE is set.
        #[arg(long)]
        keep_level: bool,
        /// Registry.
        #[command(flatten)]
        at: RegistryArgs,
    },
}

/// A command of a deployment.
#[derive(Args, Debug)]
pub(crate) struct DeployArgs {
    /// Settings.
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// One JSON document instead of text.
    #[arg(long)]
    pub(crate) json: bool,
}

/// `topics`.
#[derive(Debug, Subcommand)]
pub(crate) enum TopicsAction {
    /// Makes what is missing; changes nothing that is there.
    Create(DeployArgs),
    /// Compares what is there; exit code 3 when something differs.
    Check(DeployArgs),
}

/// `store`.
#[derive(Debug, Subcommand)]
pub(crate) enum StoreAction {
    /// Makes the keyspace and the tables that are missing.
    Create(DeployArgs),
}

/// `keys`.
#[derive(Debug, Subcommand)]
pub(crate) enum KeysAction {
    /// A new key, and the line for the configuration file.
    New {
        /// ingest, read or admin.
        #[arg(long)]
        role: String,
    },
}

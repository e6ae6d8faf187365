//! The words of `model`.

use super::{AskArgs, ConfigArgs};
use clap::{Args, Subcommand};
use scoring::templates::Language;
use std::path::PathBuf;

/// `model`.
#[derive(Debug, Subcommand)]
pub(crate) enum ModelAction {
    /// The models that come with this build.
    List {
        /// One JSON document instead of a table.
        #[arg(long)]
        json: bool,
    },
    /// Runs a component through the trials of the contract: batches, state, odd values, memory, fuel. Exit code 3 when
    /// it fails one.
    Test(ModelTestArgs),
    /// Writes a project that builds a model, a detector that works, to be changed into another one.
    New {
        /// Directory of the project, which must not exist; its last part is the model's name.
        #[arg(value_name = "NAME")]
        directory: PathBuf,
        /// rust, c, python, go or javascript.
        #[arg(long, value_name = "LANGUAGE")]
        lang: Language,
    },
    /// Writes the rows that a model would have been given, out of a home's history and by what serves: device, event time
    /// and features, as CSV. The model is the one in force, or that of --config.
    #[command(
        after_help = "Example:\n  highwater model export-rows heat --data ./data --from 2026-05-01T00:00:00Z --out rows.csv"
    )]
    ExportRows(ExportArgs),
    /// Runs a saved batch again, row by row, as it was run when the model failed on it. Exit code 3 when a row fails.
    Run(ModelRunArgs),
    /// Where a model's fuel goes, by function and by row; its memory and time.
    Profile(ModelProfileArgs),
    /// Puts a version of a model on trial in the running stream: it looks on first, then serves ever more devices, and is
    /// taken back when it breaks a gate. What is not said is as in the version in force.
    #[command(
        after_help = "Example:\n  highwater model push temperature --settings '{\"alpha\": 0.02}' --shadow 2m"
    )]
    Push(Box<PushArgs>),
    /// The models in force, their versions on trial and what these wait for.
    Status {
        /// Only this one.
        name: Option<String>,
        /// Whom to ask.
        #[command(flatten)]
        ask: AskArgs,
    },
    /// Lets the version on trial in at once. Exit code 1 when a gate speaks against it.
    Activate {
        /// Public name of the model.
        name: String,
        /// Whatever the gates say.
        #[arg(long)]
        force: bool,
        /// Whom to ask.
        #[command(flatten)]
        ask: AskArgs,
    },
    /// Takes the newer version back, on trial or just let in: its state goes, the other version's was kept.
    Rollback {
        /// Public name of the model.
        name: String,
        /// For the record.
        #[arg(long, default_value = "asked for by hand")]
        why: String,
        /// Whom to ask.
        #[command(flatten)]
        ask: AskArgs,
    },
}

/// A version, and what it must keep.
#[derive(Args, Debug)]
pub(crate) struct PushArgs {
    /// Public name of a model of the configuration.
    pub(crate) name: String,
    /// File with the component, or the name of a shipped model.
    #[arg(long, value_name = "FILE|NAME")]
    pub(crate) component: Option<String>,
    /// File with trained weights, or `none`.
    #[arg(long, value_name = "FILE|none")]
    pub(crate) artifact: Option<String>,
    /// Settings, JSON.
    #[arg(long, value_name = "JSON")]
    pub(crate) settings: Option<String>,
    /// Seed.
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// Scores at or above it are alerts.
    #[arg(long)]
    pub(crate) threshold: Option<f64>,
    /// Fuel a row may use.
    #[arg(long, value_name = "FUEL")]
    pub(crate) fuel_per_row: Option<u64>,
    /// Least time in the shadow; 10m.
    #[arg(long, value_name = "SPAN")]
    pub(crate) shadow: Option<String>,
    /// Shares of the devices it serves one after the other, in percent; 1,10,50.
    #[arg(long, value_name = "PERCENT,...", value_delimiter = ',')]
    pub(crate) canary: Option<Vec<u8>>,
    /// Least time with each share; 10m.
    #[arg(long, value_name = "SPAN")]
    pub(crate) canary_each: Option<String>,
    /// How long the version before stays at hand; 1h.
    #[arg(long, value_name = "SPAN")]
    pub(crate) bake: Option<String>,
    /// Least rows that both versions have scored, in each stage; 10000.
    #[arg(long)]
    pub(crate) rows: Option<u64>,
    /// Rows it may fail on that the other version does not; 0.
    #[arg(long, value_name = "ROWS")]
    pub(crate) failed_max: Option<u64>,
    /// Most alerts for each one of the other version; 2.
    #[arg(long, value_name = "RATIO")]
    pub(crate) alert_ratio_max: Option<f64>,
    /// Alerts that are no matter, whatever the ratio; 20.
    #[arg(long, value_name = "ALERTS")]
    pub(crate) alerts_free: Option<u64>,
    /// Most fuel for each unit of the other version; 10.
    #[arg(long, value_name = "RATIO")]
    pub(crate) fuel_ratio_max: Option<f64>,
    /// Least rank correlation of both versions' scores in the shadow; they need not agree unless it is said.
    #[arg(long, value_name = "-1..1", allow_negative_numbers = true)]
    pub(crate) rank_correlation_min: Option<f64>,
    /// Whom to ask.
    #[command(flatten)]
    pub(crate) ask: AskArgs,
}

/// `model export-rows`.
#[derive(Args, Debug)]
pub(crate) struct ExportArgs {
    /// Public name of the model.
    pub(crate) name: String,
    /// Only rows with this event time or a later one.
    #[arg(long, value_name = "TIME")]
    pub(crate) from: Option<String>,
    /// Only rows with an earlier event time.
    #[arg(long, value_name = "TIME")]
    pub(crate) to: Option<String>,
    /// File, instead of standard output.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// The home, and a configuration with the model.
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
}

/// What is tried.
#[derive(Args, Debug)]
pub(crate) struct ModelTestArgs {
    /// File with the component, or the name of a shipped model.
    pub(crate) component: String,
    /// Settings, JSON.
    #[arg(long, value_name = "JSON", default_value = "{}")]
    pub(crate) settings: String,
    /// File with trained weights.
    #[arg(long, value_name = "FILE")]
    pub(crate) artifact: Option<PathBuf>,
    /// Seed.
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// What a row may use, as in the configuration.
    #[arg(long, value_name = "FUEL", default_value_t = 1_000_000)]
    pub(crate) fuel_per_row: u64,
    /// One JSON document instead of a table.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Name of the command by which a service starts itself to compile a component.
pub(crate) const COMPILE_MODEL: &str = "compile-model";

/// `compile-model`.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct CompileArgs {
    /// Bytes of native stack of a guest.
    #[arg(long)]
    pub(crate) stack_bytes: usize,
    /// Bytes of address space it may have.
    #[arg(long)]
    pub(crate) memory_bytes: u64,
    /// Seconds of processor time it may use.
    #[arg(long)]
    pub(crate) seconds: u64,
}

/// `model run`.
#[derive(Args, Debug)]
pub(crate) struct ModelRunArgs {
    /// File with the component, or the name of a shipped model.
    pub(crate) component: String,
    /// A batch that was saved when a model failed on it (`scoring.failed-batch-dir`).
    #[arg(long, value_name = "FILE")]
    pub(crate) batch: PathBuf,
    /// File with trained weights.
    #[arg(long, value_name = "FILE")]
    pub(crate) artifact: Option<PathBuf>,
    /// One JSON document instead of text.
    #[arg(long)]
    pub(crate) json: bool,
}

/// `model profile`.
#[derive(Args, Debug)]
pub(crate) struct ModelProfileArgs {
    /// File with the component, or the name of a shipped model.
    pub(crate) component: String,
    /// Rows, settings and seed of a saved batch.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["rows", "settings", "seed"])]
    pub(crate) batch: Option<PathBuf>,
    /// So many rows that are made up.
    #[arg(long, default_value_t = 256)]
    pub(crate) rows: usize,
    /// Settings, JSON.
    #[arg(long, value_name = "JSON", default_value = "{}")]
    pub(crate) settings: String,
    /// File with trained weights.
    #[arg(long, value_name = "FILE")]
    pub(crate) artifact: Option<PathBuf>,
    /// Seed.
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// One JSON document instead of text.
    #[arg(long)]
    pub(crate) json: bool,
}

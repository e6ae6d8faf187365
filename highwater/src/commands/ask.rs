//! One-shot questions to a running instance: backlog, books, partitions, devices, health.

use crate::cli::{AskArgs, DevicesAction, PartitionsAction, Target, WatchArgs};
use crate::client::{Client, encoded};
use crate::config::{Base, Settings};
use crate::exit::Outcome;
use crate::home::offline::Offline;
use crate::output::out;
use crate::table;
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::time::Duration;

/// Between two answers with `--watch`.
const WATCH_EVERY: Duration = Duration::from_secs(2);

const LAG_COLUMNS: [(&str, &str); 8] = [
    ("group", "/group"),
    ("topic", "/topic"),
    ("partition", "/partition"),
    ("state", "/state"),
    ("records", "/lag_records"),
    ("seconds", "/lag_seconds"),
    ("in/s", "/arrival_rate"),
    ("out/s", "/service_rate"),
];
const PARTITION_COLUMNS: [(&str, &str); 8] = [
    ("partition", "/partition"),
    ("state", "/state"),
    ("position", "/position"),
    ("committed", "/committed"),
    ("devices", "/devices"),
    ("panes", "/panes"),
    ("generation", "/generation"),
    ("why", "/why"),
];
const DEVICE_COLUMNS: [(&str, &str); 4] =
    [("device", "/device_id"), ("last seen", "/seen_at"), ("alerts", "/alerts"), ("site", "/metadata/site")];

/// Where an instance on this host is.
const LOCAL: &str = "http://127.0.0.1:9600";
/// What people look for first in an object.
const FIRST: [&str; 10] =
    ["id", "partition", "device_id", "window", "state", "why", "advice", "start", "end", "metric"];

impl Target {
    pub(super) fn url(&self) -> &str {
        self.url.as_deref().unwrap_or(LOCAL)
    }

    fn client(&self) -> Result<Client> {
        Client::new(self.url(), self.key.as_deref())
    }
}

impl AskArgs {
    /// Whom to ask: the instance, or the home itself when no instance has it open. A home that is named is asked
    /// first: the instance at the usual address may have another one open.
    ///
    /// # Errors
    /// When nobody answers and the home cannot be opened.
    pub(super) async fn client(&self) -> Result<Client> {
        self.client_of(self.config.data.is_some() || self.config.config.is_some()).await
    }

    /// The same where the file is that of a pipeline: a home is named by its directory, or by brokers.
    ///
    /// # Errors
    /// As [`AskArgs::client`].
    pub(super) async fn client_with_file(&self) -> Result<Client> {
        let kafka = Settings::load(&self.config, Base::Job)?.journal.file().is_none();
        self.client_of(self.config.data.is_some() || kafka).await
    }

    async fn client_of(&self, home_named: bool) -> Result<Client> {
        let client = self.target.client()?;
        if self.target.url.is_some() && !home_named {
            return Ok(client);
        }
        if !home_named && client.answers("/healthz").await {
            return Ok(client);
        }
        let settings = Settings::load(&self.config, Base::Job)?;
        if self.target.url.is_some() && settings.journal.file().is_none() {
            // Any number of processes share such a home: the one that was named is as good as any.
            return Ok(client);
        }
        let opened = Offline::open(settings).await;
        let opened = if home_named {
            opened?
        } else {
            opened.with_context(|| format!("nobody answers at {}", self.target.url()))?
        };
        match opened {
            Some(home) => Ok(Client::of_home(home)),
            None if client.answers("/healthz").await => Ok(client),
            None => bail!(
                "nobody answers at {}, and an instance has this home open, so only it can tell: give its admin \
                 address with --url",
                self.target.url()
            ),
        }
    }
}

/// `lag`.
///
/// # Errors
/// When nobody answers and the home cannot be opened.
pub(crate) async fn lag(args: WatchArgs) -> Result<Outcome> {
    watch(&args, "/v1/lag", |lag| {
        out!("{}", lag["sentence"].as_str().unwrap_or_default());
        print_table(&lag["partitions"], &LAG_COLUMNS);
        Outcome::Done
    })
    .await
}

/// `books`.
///
/// # Errors
/// When nobody answers and the home cannot be opened.
pub(crate) async fn books(args: WatchArgs) -> Result<Outcome> {
    watch(&args, "/v1/books", |books| {
        for stage in books["stages"].as_array().into_iter().flatten() {
            out!("{}", stage_line(stage));
        }
        out!("{}", if books["balanced"] == true { "the books balance" } else { "THE BOOKS DO NOT BALANCE" });
        Outcome::Done
    })
    .await
}

fn stage_line(stage: &Value) -> String {
    let outcomes: Vec<String> = stage["outcomes"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, count)| format!("{count} {name}"))
        .collect();
    let name = stage["stage"].as_str().unwrap_or_default();
    let unit = stage["unit"].as_str().unwrap_or_default();
    let difference = match stage["difference"].as_i64() {
        Some(0) | None => String::new(),
        Some(off) => format!("; OFF BY {off}"),
    };
    let (received, in_flight) = (&stage["received"], &stage["in_flight"]);
    format!("{name:<10} {received} {unit} = {}; {in_flight} in flight{difference}", outcomes.join(" + "))
}

async fn watch(args: &WatchArgs, path: &str, show: impl Fn(&Value) -> Outcome) -> Result<Outcome> {
    loop {
        // Anew each time: a home that was free may have been opened by an instance since, and the other way round.
        let answer = args.ask.client().await?.get(path).await?;
        let mut outcome = Outcome::Done;
        if args.ask.target.json {
            out!("{answer}");
        } else {
            outcome = show(&answer);
        }
        if answer.get("balanced") == Some(&json!(false)) {
            outcome = Outcome::Negative;
        }
        if !args.watch {
            return Ok(outcome);
        }
        tokio::select! {
            _ = tokio::signal::ctrl_c() => return Ok(Outcome::Interrupted),
            () = tokio::time::sleep(WATCH_EVERY) => out!(""),
        }
    }
}

fn print_table(rows: &Value, columns: &[(&str, &str)]) {
    for line in table::lines(rows.as_array().map_or(&[][..], Vec::as_slice), columns) {
        out!("{line}");
    }
}

/// Every state that has something to say has it in the column `why`.
fn with_reasons(rows: &Value) -> Value {
    let mut rows = rows.clone();
    for row in rows.as_array_mut().into_iter().flatten() {
        if let Some(until) = row["until"].as_i64() {
            row["why"] = json!(format!("folds again up to {until}"));
        }
    }
    rows
}

/// `partitions`.
///
/// # Errors
/// When the instance does not answer or refuses.
pub(crate) async fn partitions(action: PartitionsAction) -> Result<Outcome> {
    match action {
        PartitionsAction::List(ask) => {
            let answer = ask.client().await?.get("/v1/partitions").await?;
            say(&ask.target, &answer, |answer| {
                print_table(&with_reasons(&answer["items"]), &PARTITION_COLUMNS)
            });
        }
        PartitionsAction::Explain { partition, ask } => {
            let answer = ask.client().await?.get(&format!("/v1/partitions/{partition}")).await?;
            say(&ask.target, &answer, print_object);
        }
        PartitionsAction::Release { partition, ask } => {
            let answer =
                ask.client().await?.post(&format!("/v1/partitions/{partition}/release"), &json!({})).await?;
            say(&ask.target, &answer, print_object);
        }
    }
    Ok(Outcome::Done)
}

/// `devices`.
///
/// # Errors
/// When the instance does not answer.
pub(crate) async fn devices(action: DevicesAction) -> Result<Outcome> {
    match action {
        DevicesAction::List(ask) => {
            let client = ask.client().await?;
            let mut items = Vec::new();
            let mut query = String::new();
            loop {
                let mut answer = client.get(&format!("/v1/devices?limit=500{query}")).await?;
                if let Some(page) = answer["items"].as_array_mut() {
                    items.append(page);
                }
                match answer["next"].as_str() {
                    Some(next) => query = format!("&cursor={}", encoded(next)),
                    None => break,
                }
            }
            say(&ask.target, &json!({ "items": items }), |all| print_table(&all["items"], &DEVICE_COLUMNS));
        }
        DevicesAction::Show { device, ask } => {
            let answer = ask.client().await?.get(&format!("/v1/devices/{}", encoded(&device))).await?;
            say(&ask.target, &answer, print_object);
        }
        DevicesAction::Explain { device, ask } => {
            let answer = ask.client().await?.get(&format!("/v1/devices/{}/state", encoded(&device))).await?;
            say(&ask.target, &answer, print_object);
        }
    }
    Ok(Outcome::Done)
}

/// `health`: negative when something is missing.
///
/// # Errors
/// When nobody answers.
pub(crate) async fn health(target: Target) -> Result<Outcome> {
    let answer = target.client()?.send(reqwest::Method::GET, "/readyz", None).await?;
    let Some(ready) = answer.body["ready"].as_bool() else {
        bail!("{}/readyz answered {}: is it an admin address?", target.url(), answer.status);
    };
    if target.json {
        out!("{}", answer.body);
    } else if ready {
        out!("ready");
    } else {
        out!("not ready");
        for (part, waits_for) in answer.body["missing"].as_object().into_iter().flatten() {
            out!("  {part}: {}", waits_for.as_str().unwrap_or_default());
        }
    }
    Ok(if ready { Outcome::Done } else { Outcome::Negative })
}

pub(super) fn say(target: &Target, answer: &Value, show: impl Fn(&Value)) {
    if target.json { out!("{answer}") } else { show(answer) }
}

/// An object as indented lines, for people.
pub(super) fn print_object(answer: &Value) {
    lines_of(answer, 0);
}

fn lines_of(value: &Value, depth: usize) {
    let indent = "  ".repeat(depth);
    let mut fields: Vec<_> = value.as_object().into_iter().flatten().collect();
    fields.sort_by_key(|(name, _)| FIRST.iter().position(|first| first == name).unwrap_or(FIRST.len()));
    for (name, field) in fields {
        match field {
            Value::Array(items) if items.is_empty() => out!("{indent}{name}: none"),
            Value::Object(_) => {
                out!("{indent}{name}:");
                lines_of(field, depth + 1);
            }
            Value::Array(items) => {
                out!("{indent}{name}: {}", items.len());
                for item in items {
                    if item.is_object() {
                        out!("{indent}  -");
                        lines_of(item, depth + 2);
                    } else {
                        out!("{indent}  - {}", table::text(item));
                    }
                }
            }
            Value::Null => {}
            other => {
                out!("{indent}{name}: {}", other.as_str().map_or_else(|| other.to_string(), str::to_owned))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use processor::view::PartitionPhase as Phase;

    #[test]
    fn every_state_of_a_partition_has_its_line() {
        let why = || "so".to_owned();
        let phases = [
            Phase::Starting { why: None },
            Phase::Recovering { until: 7 },
            Phase::Ok,
            Phase::Degraded { why: why() },
            Phase::Blocked { why: why() },
            Phase::Quarantined { why: why() },
        ];
        let rows = serde_json::to_value(&phases).expect("serializable");
        let columns = [PARTITION_COLUMNS[1], PARTITION_COLUMNS[7]];
        let lines = table::lines(with_reasons(&rows).as_array().expect("rows"), &columns);
        let cells: Vec<Vec<&str>> =
            lines.iter().map(|line| line.splitn(2, ' ').map(str::trim).collect()).collect();
        let names: Vec<&str> = cells.iter().skip(1).map(|row| row[0]).collect();
        assert_eq!(names, Phase::NAMES);
        let reasons: Vec<&str> = cells.iter().map(|row| row[1]).collect();
        assert_eq!(reasons, ["why", "-", "folds again up to 7", "-", "so", "so", "so"]);
    }

    #[test]
    fn a_stage_that_is_off_says_by_how_much() {
        let stage = json!({"stage": "sink", "unit": "records", "received": 3, "outcomes": {"written": 2},
            "in_flight": 0, "difference": 1});
        assert_eq!(stage_line(&stage), "sink       3 records = 2 written; 0 in flight; OFF BY 1");
    }
}

//! One-shot questions to a running instance: backlog, books, partitions, devices, health.

use crate::cli::{DevicesAction, PartitionsAction, Target, WatchArgs};
use crate::client::Client;
use crate::exit::Outcome;
use crate::home::offline;
use crate::output::out;
use crate::table;
use anyhow::{Context, Result};
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

impl Target {
    pub(super) fn client(&self) -> Result<Client> {
        Client::new(&self.url, self.key.as_deref())
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
    let client = args.target.client()?;
    loop {
        let answer = if client.answers("/healthz").await || args.watch {
            client.get(path).await?
        } else {
            offline::answer(&args.config, path).await.with_context(|| {
                format!("nobody answers at {}, and the home itself could not be read", args.target.url)
            })?
        };
        let mut outcome = Outcome::Done;
        if args.target.json {
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

/// `partitions`.
///
/// # Errors
/// When the instance does not answer or refuses.
pub(crate) async fn partitions(action: PartitionsAction) -> Result<Outcome> {
    match action {
        PartitionsAction::List(target) => {
            let answer = target.client()?.get("/v1/partitions").await?;
            say(&target, &answer, |answer| print_table(&answer["items"], &PARTITION_COLUMNS));
        }
        PartitionsAction::Explain { partition, target } => {
            let answer = target.client()?.get(&format!("/v1/partitions/{partition}")).await?;
            say(&target, &answer, print_object);
        }
        PartitionsAction::Release { partition, target } => {
            let answer =
                target.client()?.post(&format!("/v1/partitions/{partition}/release"), &json!({})).await?;
            say(&target, &answer, print_object);
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
        DevicesAction::List(target) => {
            let client = target.client()?;
            let mut cursor = None;
            loop {
                let path = match &cursor {
                    None => "/v1/devices?limit=500".to_owned(),
                    Some(cursor) => format!("/v1/devices?limit=500&cursor={cursor}"),
                };
                let answer = client.get(&path).await?;
                say(&target, &answer, |answer| print_table(&answer["items"], &DEVICE_COLUMNS));
                match answer["next"].as_str() {
                    Some(next) => cursor = Some(next.to_owned()),
                    None => break,
                }
            }
        }
        DevicesAction::Show { device, target } => {
            let answer = target.client()?.get(&format!("/v1/devices/{device}")).await?;
            say(&target, &answer, print_object);
        }
        DevicesAction::Explain { device, target } => {
            let answer = target.client()?.get(&format!("/v1/devices/{device}/state")).await?;
            say(&target, &answer, print_object);
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
    let ready = answer.status.is_success();
    if target.json {
        out!("{}", answer.body);
    } else if ready {
        out!("ready");
    } else {
        out!("not ready: {}", answer.body);
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
    let fields = value.as_object().into_iter().flatten();
    for (name, field) in fields {
        match field {
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
                        out!("{indent}  - {}", item.as_str().map_or_else(|| item.to_string(), str::to_owned));
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

//! `dead-letters`: what could not be used, and sending it round again.

use super::ask::{print_object, say};
use crate::cli::DeadLettersAction;
use crate::client::encoded;
use crate::exit::{Outcome, Usage};
use crate::output::out;
use crate::table;
use anyhow::Result;
use serde_json::json;

const COLUMNS: [(&str, &str); 6] = [
    ("id", "/id"),
    ("received", "/received_at"),
    ("stage", "/stage"),
    ("reason", "/reason"),
    ("device", "/device_id"),
    ("detail", "/detail"),
];

/// Runs the command.
///
/// # Errors
/// When the instance does not answer or refuses.
pub(crate) async fn run(action: DeadLettersAction) -> Result<Outcome> {
    match action {
        DeadLettersAction::List { reason, limit, ask } => {
            let filter = reason.map_or_else(String::new, |reason| format!("&reason={}", encoded(&reason)));
            let answer = ask.client().await?.get(&format!("/v1/dead-letters?limit={limit}{filter}")).await?;
            say(&ask.target, &answer, |answer| {
                let items = answer["items"].as_array().map_or(&[][..], Vec::as_slice);
                for line in table::lines(items, &COLUMNS) {
                    out!("{line}");
                }
            });
            Ok(Outcome::Done)
        }
        DeadLettersAction::Show { id, ask } => {
            let answer = ask.client().await?.get(&format!("/v1/dead-letters/{}", encoded(&id))).await?;
            say(&ask.target, &answer, print_object);
            Ok(Outcome::Done)
        }
        DeadLettersAction::Redrive { ids, reason, ask } => {
            if ids.is_empty() && reason.is_none() {
                return Err(Usage("name letters, or give --reason".to_owned()).into());
            }
            let body = json!({ "ids": ids, "reason": reason });
            let answer = ask.client().await?.post("/v1/dead-letters/redrive", &body).await?;
            say(&ask.target, &answer, print_object);
            let refused = answer["refused"].as_array().is_some_and(|refused| !refused.is_empty());
            Ok(if refused { Outcome::Negative } else { Outcome::Done })
        }
    }
}

//! `schema`: the contracts, whether a change is compatible, and registering them before a version is started.
//!
//! Does not live here: how a registry is asked (`schemas::registry`), what makes two schemas compatible
//! (`schemas::compatibility`).

use crate::cli::{ConfigArgs, RegistryArgs, SchemaAction};
use crate::config::{Base, Settings};
use crate::exit::{Outcome, Usage};
use crate::output::out;
use crate::table;
use anyhow::{Context, Result};
use schemas::compatibility;
use schemas::contract::Subject;
use schemas::registry::{Compatibility, RegisterError, Registry};
use serde_json::{Value, json};
use std::path::Path;

#[cfg(test)]
mod tests;

/// Runs the command.
///
/// # Errors
/// When a file cannot be read, a subject does not exist, or the registry does not do what is asked.
pub(crate) async fn run(action: SchemaAction) -> Result<Outcome> {
    tokio::task::spawn_blocking(move || match action {
        SchemaAction::List(at) => list(registry(&at)?.as_ref(), at.json),
        SchemaAction::Check { file, subject, at } => {
            check(registry(&at)?.as_ref(), file.as_deref(), subject.as_deref(), at.json)
        }
        SchemaAction::Register { keep_level, at } => {
            let missing =
                || Usage("no registry: --registry URL, or `registry.url` in the configuration".to_owned());
            let registry = registry(&at)?.ok_or_else(missing)?;
            register(&registry, keep_level, at.json)
        }
    })
    .await
    .context("the command's thread")?
}

/// The registry that flags and configuration name, if any.
fn registry(at: &RegistryArgs) -> Result<Option<Registry>> {
    let mut set = at.set.clone();
    set.extend(at.registry.as_ref().map(|url| format!("registry.url={}", toml::Value::from(url.as_str()))));
    let args = ConfigArgs { config: at.config.clone(), set, ..ConfigArgs::default() };
    let config = Settings::load(&args, Base::Job)?.registry.client();
    Ok(config.map(Registry::new).transpose()?)
}

fn list(registry: Option<&Registry>, as_json: bool) -> Result<Outcome> {
    let mut all = Vec::new();
    for subject in Subject::ALL {
        let schema: Value = serde_json::from_str(subject.schema()).context("a schema of this build")?;
        let standing = registry.map(|registry| standing(registry, subject)).transpose()?;
        if as_json {
            let mut entry = json!({ "subject": subject.name(), "schema": schema });
            if let Some(standing) = standing {
                entry["registry"] = standing;
            }
            all.push(entry);
            continue;
        }
        match standing {
            Some(standing) => out!("{}  ({})", subject.name(), in_words(&standing)),
            None => out!("{}", subject.name()),
        }
        let records = schema.as_array().cloned().unwrap_or_else(|| vec![schema]);
        for record in records {
            let fields: Vec<&str> = record["fields"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|field| field["name"].as_str())
                .collect();
            out!("  {}: {}", record["name"].as_str().unwrap_or_default(), fields.join(", "));
        }
    }
    if as_json {
        out!("{}", Value::from(all));
    }
    Ok(Outcome::Done)
}

/// What a registry has of a subject: `newest` (this build's schema), `older` (that, and newer ones), `other` (only
/// others), `none`.
fn standing(registry: &Registry, subject: Subject) -> Result<Value> {
    let found = registry.find(subject.name(), subject.schema())?;
    let newest = registry.versions(subject.name())?.last().map(|known| known.version);
    let state = match (found, newest) {
        (Some(found), Some(newest)) if found.version < newest => "older",
        (Some(_), _) => "newest",
        (None, Some(_)) => "other",
        (None, None) => "none",
    };
    Ok(json!({
        "state": state,
        "id": found.map(|found| found.id),
        "version": found.map(|found| found.version),
        "newest_version": newest,
    }))
}

fn in_words(standing: &Value) -> String {
    let [id, version, newest] = ["id", "version", "newest_version"].map(|name| table::text(&standing[name]));
    match standing["state"].as_str() {
        Some("newest") => format!("registered: id {id}, version {version}"),
        Some("older") => format!("registered: id {id}, version {version}; the newest is {newest}"),
        Some("other") => format!("not registered: the newest version, {newest}, is another schema"),
        _ => "not registered: the registry has no such subject".to_owned(),
    }
}

fn check(
    registry: Option<&Registry>,
    file: Option<&Path>,
    subject: Option<&str>,
    as_json: bool,
) -> Result<Outcome> {
    let subjects = match subject {
        Some(name) => vec![Subject::from_name(name).ok_or_else(|| {
            let names: Vec<&str> = Subject::ALL.into_iter().map(Subject::name).collect();
            Usage(format!("--subject: `{name}` is none of {}", names.join(", ")))
        })?],
        None => Subject::ALL.to_vec(),
    };
    if file.is_none() && registry.is_none() {
        let what = "nothing to compare: a FILE with its --subject, or --registry URL";
        return Err(Usage(what.to_owned()).into());
    }
    let changed = file
        .map(|file| std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display())))
        .transpose()?;
    let mut all = Vec::new();
    for subject in subjects {
        let schema = changed.as_deref().unwrap_or_else(|| subject.schema());
        let mut reasons = compatibility::check(subject.schema(), schema).err().unwrap_or_default();
        if let Some(registry) = registry {
            match registry.check(subject.name(), schema) {
                Ok(()) => {}
                Err(RegisterError::Incompatible { reasons: found, .. }) => reasons.extend(found),
                Err(RegisterError::Registry(why)) => return Err(why.into()),
            }
        }
        let reasons: Vec<String> = reasons.iter().map(ToString::to_string).collect();
        all.push(json!({ "subject": subject.name(), "compatible": reasons.is_empty(), "reasons": reasons }));
    }
    Ok(verdict(&all, as_json))
}

/// Says what was found of each subject.
fn verdict(all: &[Value], as_json: bool) -> Outcome {
    let compatible = all.iter().all(|entry| entry["compatible"] == true);
    if as_json {
        out!("{}", Value::from(all));
    }
    for entry in all.iter().filter(|_| !as_json) {
        let subject = table::text(&entry["subject"]);
        if entry["compatible"] == true {
            out!("compatible with {subject}, in both directions");
        }
        for reason in entry["reasons"].as_array().into_iter().flatten() {
            out!("{subject}: {}", table::text(reason));
        }
    }
    if compatible { Outcome::Done } else { Outcome::Negative }
}

/// All or none: what is incompatible is found before anything is registered.
fn register(registry: &Registry, keep_level: bool, as_json: bool) -> Result<Outcome> {
    let mut refused = Vec::new();
    for subject in Subject::ALL {
        if registry.find(subject.name(), subject.schema())?.is_some() {
            continue;
        }
        match registry.check(subject.name(), subject.schema()) {
            Ok(()) => {}
            Err(RegisterError::Incompatible { reasons, .. }) => {
                let reasons: Vec<String> = reasons.iter().map(ToString::to_string).collect();
                refused.push(json!({ "subject": subject.name(), "compatible": false, "reasons": reasons }));
            }
            Err(RegisterError::Registry(why)) => return Err(why.into()),
        }
    }
    if !refused.is_empty() {
        return Ok(verdict(&refused, as_json));
    }
    let mut rows = Vec::new();
    for subject in Subject::ALL {
        let at = registry.register(subject.name(), subject.schema())?;
        if !keep_level {
            registry
                .set_compatibility(subject.name(), Compatibility::FullTransitive)
                .with_context(|| format!("{} is registered, but its level is not set", subject.name()))?;
        }
        let outcome = if at.new { "registered" } else { "already there" };
        rows.push(
            json!({ "subject": subject.name(), "id": at.id, "version": at.version, "outcome": outcome }),
        );
    }
    if as_json {
        out!("{}", Value::from(rows));
    } else {
        let columns = [("subject", "/subject"), ("id", "/id"), ("version", "/version"), ("", "/outcome")];
        table::lines(&rows, &columns).iter().for_each(|line| out!("{line}"));
    }
    Ok(Outcome::Done)
}
